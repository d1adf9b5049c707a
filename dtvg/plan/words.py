"""A plan in words: a row per cohort with what it starts after, on which tasks, and what it holds.

The command line and the launch page show the same rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from dtvg.config import RunConfig
from dtvg.plan.graph import Plan


class CohortRow(NamedTuple):
    """What is shown of a cohort."""

    cohort: str
    runs: int
    steps: int
    after: str
    """Cohorts that it starts after; empty: at once."""
    on: str
    what: str


def cohort_rows(made: Plan) -> list[CohortRow]:
    """Return a row per cohort, in the order in which they train."""
    return [
        CohortRow(c.id, len(c.runs), c.steps, shortened(c.after), on(c.runs), contents(c.runs))
        for c in made.cohorts
    ]


def on(runs: Sequence[RunConfig]) -> str:
    """Return targets and seeds of a cohort in words; Stage I runs have their tasks elsewhere."""
    targets = dict.fromkeys(run.target for run in runs if run.role == "transfer")
    seeds = sorted({run.seed for run in runs})
    which = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    return "; ".join([", ".join(targets), which] if targets else [which])


def shortened(ids: Sequence[str]) -> str:
    """Return ids of cohorts, neighbours of one kind as a range: `stage1-000 to 003`."""
    groups: dict[str, list[str]] = {}
    for id_ in ids:
        stem, _, number = id_.rpartition("-")
        groups.setdefault(stem, []).append(number)
    parts = []
    for stem, numbers in groups.items():
        whole = [f"{int(numbers[0]) + i:03d}" for i in range(len(numbers))] == numbers
        if whole and len(numbers) > 2:
            parts.append(f"{stem}-{numbers[0]} to {numbers[-1]}")
        else:
            parts += [f"{stem}-{number}" for number in numbers]
    return ", ".join(parts)


def contents(runs: Sequence[RunConfig]) -> str:
    """Return the tasks or methods of a cohort; the trials of a method as their number."""
    transfers = [run for run in runs if run.role == "transfer"]
    kinds = dict.fromkeys(run.target for run in runs if run.role != "transfer")
    kinds |= dict.fromkeys(run.method.label for run in transfers if not run.method.trial)
    trials = Counter(run.method.name for run in transfers if run.method.trial)
    return ", ".join([*kinds, *(f"{count} trials of {name}" for name, count in trials.items())])
