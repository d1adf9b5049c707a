"""Does a source help or harm a target? Its score with it minus without it, and linear fits.

From `single` runs (against `none`) and from runs on subsets of the sources (`oracle`,
`surrogate`), paired by seed. docs/compare.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dtvg.analysis.statistics import ALPHA, FEWEST_SEEDS, bootstrap_interval, holm
from dtvg.analysis.subsets.quality import Truth
from dtvg.analysis.subsets.runs import Subset, effect, searched, subset_table
from dtvg.errors import NumericsError
from dtvg.methods.specs import Role
from dtvg.methods.specs.trials import fit_surrogate
from dtvg.store.reader import Run

SINGLES = Role.SINGLE.value
"""Basis of single sources against no source."""
HELPFUL, HARMFUL, UNDECIDED = "helpful", "harmful", "undecided"
NOTE = (
    "Score with the source minus score without it, paired by seed: `single` against `none`; for "
    "runs on subsets the mean over pairs of subsets that differ only in this source (a linear fit "
    "where only a sample of subsets was trained). Interval: 95 % percentile bootstrap over seeds, "
    "too narrow with few of them. The verdict is stricter: Student's t over at least "
    f"{FEWEST_SEEDS} seeds, corrected by Holm over the sources of a target, at 0.05."
)
COLUMNS = [
    "experiment",
    "basis",
    "target",
    "source",
    "n_seeds",
    "pairs",
    "difference",
    "low",
    "high",
    "p",
    "p_holm",
    "verdict",
    "known",
]


@dataclass(frozen=True, eq=False)
class TransferInfo:
    """What each source does to each target; scores and differences 0..1."""

    split: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    """Columns of the heat map: targets, with their experiment where there are several."""
    bases: tuple[str, ...]
    """Where numbers come from: `single`, then the methods that train on subsets."""
    table: pd.DataFrame
    """`COLUMNS`, one row per basis, target and source; `pairs`: pairs of subsets over all
    seeds; `known`: the truth table's relation, empty where it says nothing."""
    points: pd.DataFrame
    """`basis, target, source, seed, difference`: what means and intervals rest on."""
    notes: tuple[str, ...]

    def of(self, basis: str) -> pd.DataFrame:
        """Return the rows of one basis."""
        return self.table[self.table["basis"] == basis]


def transfer_info(
    runs: Sequence[Run], split: str = "test", truth: Truth | None = None
) -> TransferInfo:
    """Measure what each source adds to each target.

    Args:
        runs: runs of any kind; finished ones that train on one subset throughout count.
        split: `test` or `validation`.
        truth: target → source → relation, shown beside the verdicts.
    """
    rows = subset_table(runs).dropna(subset=[split])
    several = rows["experiment"].nunique() > 1
    order = tuple(dict.fromkeys(s for r in runs if r.role == "transfer" for s in r.sources))
    points = pd.concat(
        [
            _seed_differences(cell, str(experiment), str(target), order, split)
            for (experiment, target), cell in rows.groupby(["experiment", "target"], sort=False)
        ]
        or [pd.DataFrame(columns=["experiment", "basis", "target", "source", "seed"])],
        ignore_index=True,
    )
    table = _table(points, truth or {})
    if several:
        for frame in (points, table):
            frame["target"] = frame["experiment"] + ": " + frame["target"]
    return TransferInfo(
        split=split,
        sources=order,
        targets=tuple(dict.fromkeys(table["target"])),
        bases=tuple(dict.fromkeys(table["basis"])),
        table=table,
        points=points,
        notes=_notes(table),
    )


def _seed_differences(
    cell: pd.DataFrame, experiment: str, target: str, order: Sequence[str], split: str
) -> pd.DataFrame:
    """One row per basis, seed and source of one target of one experiment."""
    found = []
    bases = [SINGLES, *dict.fromkeys(searched(cell)["method"])]
    by_seed: dict[int, dict[str, dict[Subset, float]]] = {}
    read = (cell[c] for c in ("seed", "method", "role", "subset", split))
    for seed, method, role, subset, score in zip(*read, strict=True):
        kind = method if Role(role).on_subset else SINGLES if role == Role.SINGLE else ""
        if kind or not subset:  # of the other plain methods only those without any source
            by_seed.setdefault(int(seed), {}).setdefault(kind, {})[subset] = float(score)
    for seed, of_seed in sorted(by_seed.items()):
        without = of_seed.get("", {})
        for basis in bases:
            scores = of_seed.get(basis, {})
            sources = [s for s in order if any(s in subset for subset in scores)]
            if basis == SINGLES:
                effects = _singles(scores, without, sources)
            else:
                effects = effect({**without, **scores}, sources)
            for source, (value, pairs) in effects.items():
                if not np.isnan(value):
                    found.append((experiment, basis, target, source, seed, value, pairs))
    columns = ["experiment", "basis", "target", "source", "seed", "difference", "pairs"]
    return pd.DataFrame(found, columns=columns)


def _singles(
    scores: dict[Subset, float],
    without: dict[Subset, float],
    sources: Sequence[str],
) -> dict[str, tuple[float, int]]:
    """Each source alone against no source; nothing where `none` has not finished."""
    if frozenset() not in without:
        return {}
    base = without[frozenset()]
    return {s: (scores[frozenset([s])] - base, 1) for s in sources if frozenset([s]) in scores}


def _table(points: pd.DataFrame, truth: Truth) -> pd.DataFrame:
    """Means, intervals and verdicts, corrected within each target."""
    made = []
    for _, family in points.groupby(["basis", "experiment", "target"], sort=False):
        rows = [_row(cell) for _, cell in family.groupby("source", sort=False)]
        for row, p in zip(rows, holm([r["p"] for r in rows]), strict=True):
            relation = truth.get(row["target"], {}).get(row["source"], "")
            made.append({**row, "p_holm": p, "verdict": _verdict(row, p), "known": relation})
    return pd.DataFrame(made, columns=COLUMNS)


def _row(cell: pd.DataFrame) -> dict[str, Any]:
    """One source on one target: mean difference over seeds with interval and p."""
    values = cell["difference"].to_numpy(dtype=np.float64)
    interval = bootstrap_interval(values)
    first = cell.iloc[0]
    return {
        "experiment": first["experiment"],
        "basis": first["basis"],
        "target": first["target"],
        "source": first["source"],
        "n_seeds": len(values),
        "pairs": int(cell["pairs"].sum()),
        "difference": float(values.mean()),
        "low": interval.low,
        "high": interval.high,
        "p": _student_p(values),
    }


def _student_p(values: np.ndarray) -> float:
    """Two-sided p of Student's t over seeds; NaN below `FEWEST_SEEDS` or without any spread.

    Scores move in steps of one example, so equal differences are no sign of certainty.
    """
    from scipy.special import stdtr  # scipy.stats takes half a second to import

    n = len(values)
    spread = float(values.std(ddof=1)) if n > 1 else 0.0
    if n < FEWEST_SEEDS or spread < 1e-12:
        return float("nan")
    return float(2 * stdtr(n - 1, -abs(float(values.mean())) / (spread / np.sqrt(n))))


def _verdict(row: dict[str, Any], p: float) -> str:
    if np.isnan(p) or p > ALPHA:
        return UNDECIDED
    return HELPFUL if row["difference"] > 0 else HARMFUL


def _notes(table: pd.DataFrame) -> tuple[str, ...]:
    """Say what the numbers rest on."""
    if not len(table):
        return ()
    notes = [NOTE]
    few = int((table["n_seeds"] < FEWEST_SEEDS).sum())
    if few:
        notes.append(
            f"{few} of {len(table)} cells are based on fewer than {FEWEST_SEEDS} seeds and stay "
            "undecided, whatever their scores are."
        )
    return tuple(notes)


COEFFICIENT_COLUMNS = ["source", "coefficient", "low", "high", "verdict"]
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
    rows = subset_table(r for r in mine if r.full_role.on_subset)
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
            "verdict": [
                _coefficient_verdict(*pair) for pair in zip(fit.low, fit.high, strict=True)
            ],
        },
        columns=COEFFICIENT_COLUMNS,
    )
    note = (
        f"Least squares on the validation scores of {fit.n_trials} runs on subsets, an intercept "
        f"for each of {len(set(seeds))} seeds; 95 % t intervals, each on its own, not corrected "
        "for their number. They assume that runs of one seed are independent and that the "
        "effects of sources add up."
    )
    return SurrogateInfo(
        target, method, table, _of_seeds(mine, order), fit.r_squared, fit.n_trials, (note,)
    )


def _coefficient_verdict(low: float, high: float) -> str:
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
