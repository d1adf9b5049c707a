"""The surrogate's coefficients: what each source adds in a linear model of trained subsets.

Fitted anew on the validation scores of the runs on subsets, over all seeds with an intercept
each; beside it, what each run had fitted when it chose. Must not import torch, plotly or
streamlit. arXiv 2303.14582, sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dtvg.analysis.subset_runs import PLAIN, subset_table
from dtvg.errors import NumericsError
from dtvg.methods.specs.trials import fit_surrogate
from dtvg.store.reader import Run

COLUMNS = ["source", "coefficient", "low", "high", "verdict"]
SEED_COLUMNS = ["seed", "source", "coefficient", "low", "high", "kept"]


@dataclass(frozen=True, eq=False)
class SurrogateInfo:
    """Coefficients of one target; scores 0..1."""

    target: str
    method: str
    """Whose runs on subsets were fitted: `surrogate` or `oracle`."""
    table: pd.DataFrame
    """`COLUMNS`: fitted over all seeds, 95 % t interval; helpful or harmful where it leaves out
    zero, else undecided."""
    seeds: pd.DataFrame
    """`SEED_COLUMNS`: what the final run of each seed had fitted, and whether it kept the
    source; empty for `oracle`, which keeps nothing."""
    r_squared: float
    trials: int
    notes: tuple[str, ...]


def surrogate_info(runs: Sequence[Run], target: str, method: str) -> SurrogateInfo | None:
    """Fit the score of a subset on its sources.

    Args:
        runs: of one experiment.
        target: whose.
        method: whose runs on subsets to fit, `surrogate` or `oracle`.

    Returns:
        None where too few subsets are trained to tell the sources apart.
    """
    mine = [r for r in runs if r.target == target and r.method_name == method]
    rows = subset_table(r for r in mine if r.method_name not in PLAIN)
    rows = rows.dropna(subset=["validation"])
    order = tuple(dict.fromkeys(s for r in mine for s in r.sources))
    if not len(rows) or not order:
        return None
    subsets = [tuple(s for s in order if s in held) for held in rows["subset"]]
    seeds = [int(s) for s in rows["seed"]]
    try:
        fit = fit_surrogate(order, subsets, rows["validation"].tolist(), blocks=seeds)
    except NumericsError:
        return None
    table = pd.DataFrame(
        {
            "source": order,
            "coefficient": fit.coefficients,
            "low": fit.low,
            "high": fit.high,
            "verdict": [_verdict(*pair) for pair in zip(fit.low, fit.high, strict=True)],
        },
        columns=COLUMNS,
    )
    note = (
        f"Least squares on the validation scores of {fit.n_trials} runs on subsets, an intercept "
        f"for each of {len(set(seeds))} seeds; 95 % t intervals, one by one, not corrected for "
        "their number. They take scores of one seed for independent, and sources to add up."
    )
    return SurrogateInfo(
        target, method, table, _of_seeds(mine, order), fit.r_squared, fit.n_trials, (note,)
    )


def _verdict(low: float, high: float) -> str:
    if np.isnan(low) or low <= 0 <= high:
        return "undecided"
    return "helpful" if low > 0 else "harmful"


def _of_seeds(mine: Sequence[Run], order: Sequence[str]) -> pd.DataFrame:
    """What each final run wrote into its result."""
    rows = []
    for run in mine:
        found = None if run.result is None else run.result.extra.get("coefficients")
        if not isinstance(found, dict) or run.result is None:
            continue
        kept = set(run.result.extra.get("subset") or ())
        for source in order:
            if source in found:
                bounds = [np.nan if x is None else float(x) for x in found[source]]
                rows.append([run.seed, source, *bounds, source in kept])
    return pd.DataFrame(rows, columns=SEED_COLUMNS)
