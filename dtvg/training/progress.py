"""How far a cohort is, for progress bars. Loads no torch, so that a driver needs none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dtvg.store.layout import RunDir
from dtvg.store.status import as_written


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
    """In place of how many runs train: `done`, `2 failed of 3 runs`, `starts`."""


Report = Callable[[Progress], None]


def ended_progress(cohort: str, runs: Sequence[tuple[RunDir, int]]) -> Progress:
    """Return how far a cohort came that nobody trains any more, by what its runs say.

    Args:
        cohort: its name.
        runs: folder and steps of each.
    """
    total = sum(steps for _, steps in runs)
    done, others = 0, Counter[str]()
    for run, steps in runs:
        said = as_written(run)
        if run.result_path.exists():
            done += steps
            continue
        done += min(said.step, steps) if said else 0
        others[said.state.value if said and not said.state.alive else "not trained"] += 1
    if len(runs) == 1 and others:
        return Progress(cohort, done, total, 0, None, next(iter(others)))
    words = ", ".join(f"{number} {state}" for state, number in others.items())
    return Progress(
        cohort, done, total, 0, None, f"{words} of {len(runs)} runs" if words else "done"
    )
