"""What the playground's page and its process say to each other: files in `<home>/playground`.

A question is a file in `asked/`, its answer one of the same name in `answered/`. The process
holds `.lock` while it lives, and its log is `log.txt`. docs/prompts.md "Playground".
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from dtvg import paths

LONGEST = 20_000
"""Characters of an input."""
MOST = 12
"""Prompts asked at once."""


class Prompted(BaseModel):
    """One prompt to be asked: that of a run's best step, maybe with a source taken out."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    run: str = Field(description="folder of the run")
    without: str = Field("", description="source whose scaled vector is taken out; empty: none")


class Asked(BaseModel):
    """One question."""

    model_config = ConfigDict(strict=True, extra="forbid")

    text: str = Field(max_length=LONGEST, description="input, as the model reads it")
    prompts: list[Prompted] = Field(min_length=1, max_length=MOST)


class Told(BaseModel):
    """What one prompt answered."""

    model_config = ConfigDict(strict=True, extra="forbid")

    answer: str = ""
    """Generated freely."""
    labels: dict[str, float] = {}
    """Label word → share of the likelihood of all label words."""
    group: list[str] | None = None
    """Sources merged into the prompt; None where the method groups none."""
    refused: str = ""
    """Why it could not be asked, in a sentence."""


class Answered(BaseModel):
    """The answer to one question: one entry per prompt, in order."""

    model_config = ConfigDict(strict=True, extra="forbid")

    told: list[Told] = []
    seconds: float = 0.0
    refused: str = ""
    """Why nothing could be answered at all."""


def folder() -> Path:
    """Return where the files lie."""
    return paths.home() / "playground"


def asked_in(place: Path) -> Path:
    """Return the folder of questions."""
    return place / "asked"


def answered_in(place: Path) -> Path:
    """Return the folder of answers."""
    return place / "answered"


def lock_of(place: Path) -> Path:
    """Return the file that the living process holds."""
    return place / ".lock"
