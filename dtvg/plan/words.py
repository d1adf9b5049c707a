"""A plan in words: a row per cohort with what it starts after, on which tasks, and what it holds;
a row per method with its rates and budget.

The command line and the launch page show the same rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from dtvg.config import RunConfig
from dtvg.config.budgets import RateRow, rate_row
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


RATE_COLUMNS = ("method", "rates", "from", "tuned", "steps", "target steps")
"""Of the table of rates and budgets."""


def rate_rows(made: Plan) -> list[RateRow]:
    """Return a row per method of a plan, runs on single sources and subsets taken together."""
    found: dict[RateRow, None] = {}
    for run in (run for cohort in made.transfer for run in cohort.runs):
        found[replace(rate_row(run), method=run.method.stackable().label)] = None
    return list(found)


def rate_cells(row: RateRow) -> tuple[str, str, str, str, int, int]:
    """Return what stands in a row of the table, in the order of `RATE_COLUMNS`."""
    return row.method, row.rates, row.origin, row.tuned, row.steps, row.target_steps


def budget_note(rows: Sequence[RateRow]) -> str:
    """Say that methods differ in how many steps their prompts had on the target; else empty."""
    steps = sorted({row.target_steps for row in rows})
    if len(steps) < 2:
        return ""
    fewer = ", ".join(dict.fromkeys(row.method for row in rows if row.target_steps < steps[-1]))
    return (
        f"The tuned prompt of {fewer} has fewer steps on the target than the others' "
        f"{steps[-1]:,}; optim.equal_target_steps, or a method's own steps, makes them equal."
    )


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
    counted = (f"{n} trial{'s' * (n != 1)} of {name}" for name, n in trials.items())
    return ", ".join([*kinds, *counted])
