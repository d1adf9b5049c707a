"""Which rows are set against which, and what may be said of a difference.

Must not import torch, plotly or streamlit. docs/verdicts.md "Paired verdicts".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dtvg.analysis.scores import Sheet
from dtvg.analysis.statistics import ALPHA, FEWEST_SEEDS, holm, smallest_p
from dtvg.errors import DataError, unknown

__all__ = [
    "NOTE",
    "NOT_ENOUGH",
    "UNDECIDED",
    "check_subject",
    "holm",
    "pairs",
    "verdict",
    "verdict_on_runs",
]

NOTE = (
    "Differences are paired by seed (subject minus baseline) with Student's 95 % t interval. The "
    "p of a verdict is the larger of two: exact two-sided sign flips over seeds, and 10,000 "
    "resamples of seeds and examples together where answers were kept. It is corrected by Holm "
    "over the baselines of the average, and over all targets and baselines for the single "
    "targets; a verdict needs at most 0.05, which few seeds cannot reach whatever the scores. The "
    "verdict on these runs asks less: whether the prompts as trained would differ on other "
    "examples (McNemar's test for accuracy, else resampled examples; Holm again)."
)
NOT_ENOUGH = "not enough seeds for a verdict"
NONE_YET = "no seed in common yet"
UNDECIDED = "no difference shown"
SLACK = 1e-12


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
        (subject row, baseline row): within an experiment, but for baselines whose whole row
        ("experiment: method") was named.
    """
    subjects = [r for r in rows if subject in (r, names[r], _label(r))]
    exact = [r for r in subjects if subject in (r, _label(r))]
    found = []
    for mine in exact or subjects:
        for other in rows:
            named = baselines is not None and other in baselines
            if other == mine or (_experiment(other) != _experiment(mine) and not named):
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


def check_subject(sheet: Sheet, subject: str, baselines: Sequence[str] | None = None) -> None:
    """Refuse names that no finished run has, with the nearest one.

    Raises:
        DataError: an unknown subject or baseline; fine while nothing has finished.
    """
    known = {name for row in sheet.rows for name in (row, _label(row), sheet.names[row])}
    known -= {"stage1", "single_summary"}
    for kind, name in (("subject", subject), *(("baseline", b) for b in baselines or ())):
        if known and name not in known:
            raise DataError(unknown(f"method among finished runs ({kind})", name, known))


def verdict(n: int, difference: float, p_holm: float, compared: int) -> str:
    """Put one comparison of methods in words; never what no scores could have reached.

    Args:
        n: common seeds.
        difference: subject minus baseline.
        p_holm: corrected p; NaN: none.
        compared: comparisons of the family.
    """
    if n == 0:
        return NONE_YET
    if n < FEWEST_SEEDS or smallest_p(n, max(1, compared)) > ALPHA + SLACK:
        return NOT_ENOUGH
    if np.isnan(p_holm) or p_holm > ALPHA + SLACK:
        return UNDECIDED
    return "better" if difference > 0 else "worse"


def verdict_on_runs(difference: float, p_holm: float) -> str:
    """Put one comparison of trained runs in words; empty where answers are not at hand."""
    if np.isnan(p_holm):
        return ""
    if p_holm > ALPHA + SLACK:
        return UNDECIDED
    return "better" if difference > 0 else "worse"
