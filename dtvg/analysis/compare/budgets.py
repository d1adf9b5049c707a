"""What each row of a comparison was trained with, and which of its steps was the best.

docs/methods.md "Rates and budgets", docs/method.md "Which step is the best".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from dtvg.analysis.compare.scores import Sheet
from dtvg.config.budgets import NOT_TUNED, rate_row
from dtvg.store.reader import Run, configs_but, read_table

COLUMNS = [
    *("method", "rates", "origin", "trials", "steps", "target_steps"),
    *("best_step", "at_start", "saturated"),
]
OFTEN = 0.5
"""Share of a row's runs from which on a sentence names it."""
UNKNOWN = "not readable"
"""Of a run whose configuration cannot be read."""


@dataclass(frozen=True, eq=False)
class BudgetInfo:
    """Rates and budget of the runs behind each row."""

    table: pd.DataFrame
    """`COLUMNS`, a method a row. `origin` says where the rates came from; `trials` how many tuning
    trials they were chosen from (0: not tuned); `target_steps` how many steps on the target the
    tuned prompt had at the end, Stage I's included (the mean where runs differ); `best_step` the
    mean over runs, `at_start` the share of runs whose best step is 0, the untouched start, and
    `saturated` the share whose best validation score several steps reached."""
    note: str


def budgets(sheet: Sheet) -> BudgetInfo:
    """Gather what the runs behind each row of a sheet were trained with."""
    made = []
    for row in sheet.rows:
        seeds = (sheet.behind.get((row, target), {}) for target in sheet.targets)
        runs = {r.path: r for by_seed in seeds for behind in by_seed.values() for r in behind}
        if runs:
            found = list(runs.values())
            made.append({"method": row, **_of_runs(found), **_of_steps(found)})
    table = pd.DataFrame(made, columns=COLUMNS)
    compared = table[table["method"].isin(sheet.headline)]
    return BudgetInfo(table, " ".join([*_note(compared), *_note_of_steps(compared)]))


def _of_runs(runs: Sequence[Run]) -> dict[str, object]:
    """What some runs of one row have in common; what differs stands side by side."""
    configs = configs_but(runs, ("name", "experiment", "seed"))
    rows = [rate_row(config) for config in configs if config is not None]
    if not rows:
        nothing = float("nan")
        return {
            "rates": UNKNOWN,
            "origin": "",
            "trials": 0,
            "steps": nothing,
            "target_steps": nothing,
        }
    return {
        "rates": _each([row.rates for row in rows]),
        "origin": _each([row.origin for row in rows]),
        "trials": min(row.trials for row in rows),
        "steps": _mean([row.steps for row in rows]),
        "target_steps": _mean([row.target_steps for row in rows]),
    }


def _each(texts: Sequence[str]) -> str:
    return " / ".join(dict.fromkeys(texts))


def _mean(numbers: Sequence[int]) -> float:
    return float(np.mean(numbers))


def _of_steps(runs: Sequence[Run]) -> dict[str, float]:
    """Return where the best steps of some runs lie, and how often several were the best."""
    best = [run.result.best_step for run in runs if run.result is not None]
    tied = [_tied(run) for run in runs if run.result is not None]
    if not best:
        return dict.fromkeys(COLUMNS[6:], float("nan"))
    return {
        "best_step": float(np.mean(best)),
        "at_start": float(np.mean([step == 0 for step in best])),
        "saturated": float(np.mean(tied)),
    }


def _tied(run: Run) -> bool:
    """Whether several evaluations of a run reached its best validation score."""
    if run.result is not None and run.result.at_best is not None:
        return run.result.at_best > 1
    data = read_table(run, "evals", ["split", "task", "metric", "value"])
    wanted = (("metric", "score"), ("split", "validation"), ("task", run.target))
    for column, value in wanted:
        data = data.filter(pc.equal(data.column(column), value))
    values = data.column("value").to_numpy()
    return len(values) > 1 and int((values == values.max()).sum()) > 1


def _note_of_steps(compared: pd.DataFrame) -> list[str]:
    """Say which rows are often their untouched start, and where validation cannot choose."""
    said = []
    start = compared[compared["at_start"] >= OFTEN]
    if len(start):
        shares = start["at_start"].to_numpy(dtype=float)
        rows = (f"{m} {100 * s:.0f} %" for m, s in zip(start["method"], shares, strict=True))
        said.append(
            f"The best step is often 0, the untouched start: {', '.join(rows)} of the runs; "
            "evaluation.count_start: false leaves it out."
        )
    flat = compared[compared["saturated"] >= OFTEN]
    if len(flat):
        said.append(
            f"Validation is saturated for {', '.join(flat['method'])}: several steps reach the "
            "best score, so the loss, not the score, chose among them. A larger "
            "evaluation.max_examples tells them apart."
        )
    return said


def _note(compared: pd.DataFrame) -> list[str]:
    """Say which rows were tuned, and which prompts had fewer steps on the target."""
    said = []
    tuned = compared[compared["trials"] > 0]
    if not len(tuned):
        said.append(f"{NOT_TUNED.capitalize()}: no rate was chosen on a development target.")
    elif len(tuned) < len(compared):
        rest = ", ".join(compared.loc[compared["trials"] == 0, "method"])
        said.append(f"{NOT_TUNED.capitalize()}: {rest}. The others were.")
    elif compared["trials"].nunique() > 1:
        said.append("Methods were tuned with unequal numbers of trials.")
    most = compared["target_steps"].max()
    fewer = compared[compared["target_steps"] < most]
    if len(fewer):
        said.append(
            f"The tuned prompt of {', '.join(fewer['method'])} had fewer steps on the target than "
            f"the {most:,.0f} of the others."
        )
    return said
