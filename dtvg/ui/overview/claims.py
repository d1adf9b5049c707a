"""The verdicts on the paper's claims as chips in the overview's first card."""

from __future__ import annotations

from dataclasses import dataclass

from dtvg.store.reader import Experiment


@dataclass(frozen=True)
class Chip:
    """One claim and its verdict."""

    title: str
    verdict: str
    colour: str
    """Of a badge."""


def chips(experiment: Experiment) -> tuple[Chip, ...]:
    """Return a chip per claim that an experiment says something about."""
    return ()
