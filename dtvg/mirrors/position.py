"""How far a tracker has come with a run: `<run>/mirrors/<tracker>.json`.

Before rows are handed over the file says so, and afterwards that it is done. Rows of which it is
not known whether they arrived are compared with what the tracker has, or left out: a gap of one
stretch after a crash, and never a value twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dtvg.store.files import read_json, replace_json
from dtvg.store.layout import RunDir


class Reach(NamedTuple):
    """Up to where rows are meant."""

    step: int = 0
    """The last step of `steps` and `sources`."""
    evals: int = 0
    """Rows of `evals`."""
    seconds: float = 0.0
    """That the run had trained at the step."""


class Position(BaseModel):
    """Content of the file."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    key: str = Field(min_length=1)
    """The tracker's own name of the run."""
    done: Reach = Reach()
    sending: Reach | None = None
    """Handed over when the file was written; None: nothing was."""
    ended: bool = False
    """Whether the run has finished and the tracker has everything."""


def place_of(run: RunDir, tracker: str) -> Path:
    """Return the file of a run and a tracker."""
    return run.path / "mirrors" / f"{tracker}.json"


def load(run: RunDir, tracker: str) -> Position | None:
    """Return how far a tracker has come; None: not begun, or a damaged file (it begins anew)."""
    content = read_json(place_of(run, tracker))
    try:
        return None if content is None else Position.model_validate(content)
    except ValidationError:
        return None


def save(run: RunDir, tracker: str, position: Position) -> None:
    """Write how far a tracker has come.

    Raises:
        StoreError: the disk refuses.
    """
    replace_json(place_of(run, tracker), position.model_dump(mode="json"), durable=False)
