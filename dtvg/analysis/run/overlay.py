"""Chosen runs laid over each other: differences from a baseline, and where each curve ends.

Stands on the curves of `curves.py`, a curve a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from dtvg.analysis.run.curves import STEP_QUANTITIES, Curve, CurveInfo
from dtvg.errors import DtvgError
from dtvg.records import LOSS
from dtvg.store.reader import Run, read_table

FIRST = ("loss", "score", "grad_norm", "group_size")
"""Quantities that are offered first."""


def names_of(runs: Sequence[Run]) -> dict[str, Run]:
    """Return the runs by the name of their curve: with the experiment's where there are several."""
    several = len({run.experiment for run in runs}) > 1
    return {f"{run.experiment}: {run.name}" if several else run.name: run for run in runs}


def quantities_of(runs: Sequence[Run]) -> list[str]:
    """Return what can be drawn of runs: columns of the steps and every evaluated metric."""
    metrics: dict[str, None] = {}
    for run in runs:
        try:
            found = read_table(run, "evals", ["metric"]).column("metric").unique().to_pylist()
        except DtvgError:  # its page says what is wrong
            continue
        metrics |= dict.fromkeys(sorted(found))
    every = [*FIRST, *(m for m in metrics if m != LOSS), *STEP_QUANTITIES]
    return list(dict.fromkeys(every))


def differences(info: CurveInfo, baseline: str) -> CurveInfo:
    """Return curves as differences from one of them, at the same x.

    Between two points of the baseline its value is interpolated; beyond its ends there is no
    difference.

    Args:
        info: curves of single runs, unthinned or thinned alike.
        baseline: name of the curve that is subtracted; its own becomes a line at 0.
    """
    base = next((curve for curve in info.curves if curve.name == baseline), None)
    if base is None:
        note = f"'{baseline}' has no value of '{info.quantity}', so no difference is shown."
        return replace(info, notes=(*info.notes, note))
    made = tuple(one for one in (_less(curve, base) for curve in info.curves) if len(one.x))
    return replace(info, curves=made)


def _less(curve: Curve, base: Curve) -> Curve:
    inside = (curve.x >= base.x[0]) & (curve.x <= base.x[-1])
    x = curve.x[inside]
    y = curve.y[inside] - np.interp(x, base.x, base.y)
    return replace(curve, x=x, y=y, lower=y, upper=y, n_runs=curve.n_runs[inside])


def ends(info: CurveInfo, baseline: str = "") -> pd.DataFrame:
    """Return where each curve ends: `run, at, value, lowest, highest, difference`.

    Args:
        info: curves of single runs.
        baseline: name of a curve; the difference is taken at the last x that both have.
    """
    base = next((curve for curve in info.curves if curve.name == baseline), None)
    rows = []
    for curve in info.curves:
        apart = float("nan")
        if base is not None and curve.name != baseline:
            less = _less(curve, base)
            apart = float(less.y[-1]) if len(less.y) else apart
        known = curve.y[~np.isnan(curve.y)]
        low, high = (float(known.min()), float(known.max())) if len(known) else (np.nan, np.nan)
        rows.append((curve.name, float(curve.x[-1]), float(curve.y[-1]), low, high, apart))
    columns = ["run", "at", "value", "lowest", "highest", "difference"]
    table = pd.DataFrame(rows, columns=columns)
    return table if base is not None else table.drop(columns="difference")
