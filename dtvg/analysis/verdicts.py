"""Is the subject better than a baseline? Paired by seed, exact, and silent on too few seeds.

Must not import torch, plotly or streamlit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from dtvg.analysis.statistics import (
    ALPHA,
    FEWEST_SEEDS,
    holm,
    seeds_needed,
    sign_flip_p,
    smallest_p,
    t_interval,
)

NOTE = (
    "Differences are paired by seed (subject minus baseline) with Student's 95 % t interval; p is "
    "an exact two-sided sign-flip test, corrected by Holm over the baselines of the average, and "
    "over all targets and baselines for the single targets. A verdict needs a corrected p of at "
    "most 0.05, which few seeds cannot reach whatever the scores."
)
COLUMNS = [
    "subject",
    "baseline",
    "target",
    "n_seeds",
    "difference",
    "low",
    "high",
    "p",
    "p_holm",
    "verdict",
    "seeds_needed",
]
NOT_ENOUGH = "not enough seeds for a verdict"


def pairs(
    rows: Sequence[str], names: Mapping[str, str], subject: str, baselines: Sequence[str] | None
) -> list[tuple[str, str]]:
    """Choose which rows are set against which.

    Args:
        rows: all rows, "method" or "experiment: method".
        names: row → name of its method (`single_summary` and `stage1` for those rows).
        subject: name or label of the subject.
        baselines: rows or labels; None: all but single sources one by one and Stage I.

    Returns:
        (subject row, baseline row), only within an experiment.
    """
    subjects = [r for r in rows if subject in (r, names[r], _label(r))]
    exact = [r for r in subjects if subject in (r, _label(r))]
    found = []
    for mine in exact or subjects:
        for other in rows:
            if other == mine or _experiment(other) != _experiment(mine):
                continue
            if baselines is None:
                wanted = names[other] not in ("single", "stage1")
            else:
                wanted = other in baselines or _label(other) in baselines
            if wanted:
                found.append((mine, other))
    return found


def _label(row: str) -> str:
    return row.rpartition(": ")[2]


def _experiment(row: str) -> str:
    return row.rpartition(": ")[0]


def verdict_table(
    scores: Mapping[tuple[str, str], Mapping[int, float]],
    against: Sequence[tuple[str, str]],
    targets: Sequence[str],
    average: str,
) -> pd.DataFrame:
    """Set each pair of rows against each other, per target and on average.

    Args:
        scores: (row, target) → seed → score.
        against: (subject row, baseline row).
        targets: targets in order.
        average: name of the average over targets.

    Returns:
        One row per pair and target, the average first; columns `COLUMNS`.
    """
    families = [[average]] if len(targets) > 1 else []
    families.append(list(targets))
    frames = [
        _family([(mine, other, target) for target in family for mine, other in against], scores)
        for family in families
    ]
    frames = [frame for frame in frames if len(frame)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=COLUMNS)


def _family(
    cells: Sequence[tuple[str, str, str]], scores: Mapping[tuple[str, str], Mapping[int, float]]
) -> pd.DataFrame:
    """One family of comparisons, corrected together; pairs without a common seed count too."""
    made = []
    for mine, other, target in cells:
        a, b = scores.get((mine, target), {}), scores.get((other, target), {})
        seeds = sorted(set(a) & set(b))
        d = np.array([a[s] - b[s] for s in seeds])
        interval = t_interval(d)
        made.append(
            {
                "subject": mine,
                "baseline": other,
                "target": target,
                "n_seeds": len(seeds),
                "difference": d.mean() if len(d) else np.nan,
                "low": interval.low,
                "high": interval.high,
                "p": sign_flip_p(d) if len(d) > 1 else np.nan,
            }
        )
    table = pd.DataFrame(made, columns=COLUMNS[:8])
    compared = int(table["p"].notna().sum())
    table["p_holm"] = holm(table["p"].to_numpy(dtype=np.float64))
    table["verdict"] = [
        _verdict(int(n), float(difference), float(p), compared)
        for n, difference, p in zip(
            table["n_seeds"], table["difference"], table["p_holm"], strict=True
        )
    ]
    table["seeds_needed"] = seeds_needed(max(1, compared))
    return table


def _verdict(n: int, difference: float, p_holm: float, compared: int) -> str:
    """Put one comparison in words; never a verdict that no scores could have reached."""
    if n == 0:
        return "no seed in common yet"
    if n < FEWEST_SEEDS or smallest_p(n, max(1, compared)) > ALPHA + 1e-12:
        return NOT_ENOUGH
    if np.isnan(p_holm) or p_holm > ALPHA + 1e-12:
        return "no difference shown"
    return "better" if difference > 0 else "worse"
