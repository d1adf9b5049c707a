"""How far a cohort is, for progress bars. Imports nothing, so that a driver needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a cohort is, for progress bars."""

    cohort: str
    steps_done: int
    """Optimiser steps summed over the cohort's runs."""
    steps_total: int
    runs_active: int
    loss: float | None
    message: str = ""


Report = Callable[[Progress], None]
