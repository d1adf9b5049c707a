"""What each row of a comparison was trained with: rates, where they came from, trials, steps.

docs/methods.md "Rates and budgets".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dtvg.analysis.compare.scores import Sheet
from dtvg.config.budgets import NOT_TUNED, rate_row
from dtvg.store.reader import Run

COLUMNS = ["method", "rates", "origin", "trials", "steps", "target_steps"]
UNKNOWN = "not readable"
"""Of a run whose configuration cannot be read."""


@dataclass(frozen=True, eq=False)
class BudgetInfo:
    """Rates and budget of the runs behind each row."""

    table: pd.DataFrame
    """`COLUMNS`, a method a row. `origin` says where the rates came from; `trials` how many tuning
    trials they were chosen from (0: not tuned); `target_steps` how many steps on the target the
    tuned prompt had at the end, Stage I's included (the mean where runs differ)."""
    note: str


def budgets(sheet: Sheet) -> BudgetInfo:
    """Gather what the runs behind each row of a sheet were trained with."""
    made = []
    for row in sheet.rows:
        seeds = (sheet.behind.get((row, target), {}) for target in sheet.targets)
        runs = {r.path: r for by_seed in seeds for behind in by_seed.values() for r in behind}
        if runs:
            made.append({"method": row, **_of_runs(list(runs.values()))})
    table = pd.DataFrame(made, columns=COLUMNS)
    return BudgetInfo(table, _note(table, sheet))


def _of_runs(runs: Sequence[Run]) -> dict[str, object]:
    """What some runs of one row have in common; what differs stands side by side."""
    configs = [run.config for run in runs]
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


def _note(table: pd.DataFrame, sheet: Sheet) -> str:
    """Say which rows were tuned, and which prompts had fewer steps on the target."""
    compared = table[table["method"].isin(sheet.headline)]
    said = []
    tuned = compared[compared["trials"] > 0]
    if not len(tuned):
        said.append(f"{NOT_TUNED.capitalize()}: none was chosen on a development target.")
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
    return " ".join(said)
