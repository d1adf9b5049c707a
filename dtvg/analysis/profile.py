"""Performance profile: on what share of targets and seeds a method is within τ of the best.

After Dolan and Moré, Mathematical Programming 91 (2002), with differences of scores instead of
ratios of times. Must not import torch, plotly or streamlit. docs/verdicts.md "Profile".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dtvg.analysis.scores import Sheet, complete_block


@dataclass(frozen=True, eq=False)
class ProfileInfo:
    """Step curves over τ, the distance to the best score of a target and seed."""

    table: pd.DataFrame
    """`method, tau, share`: the share of cells on which the method is at most τ behind the
    best; one row at τ = 0 and at each distance at which its share rises. τ in score, 0..1."""
    summary: pd.DataFrame
    """`method, at_best, mean_gap, worst_gap`, best first: share of cells won or tied, and the
    mean and largest distance to the best."""
    methods: tuple[str, ...]
    cells: tuple[tuple[str, int], ...]
    """(target, seed) on which every method of the profile has a score."""
    left_out: tuple[str, ...]
    """Methods that lack too many cells."""
    longest: float
    """Largest distance to the best; the curves are all 1 from here on."""
    note: str


def profile(sheet: Sheet, rows: Sequence[str] | None = None) -> ProfileInfo:
    """Compute the performance profile of methods over targets and seeds.

    Args:
        sheet: from `scores.collect`.
        rows: methods; None: those a person would choose between (no Stage I, no single
            sources but the one best by validation).
    """
    wanted = sheet.headline if rows is None else tuple(rows)
    have = {
        row: {(t, str(s)) for t in sheet.targets for s in sheet.scores.get((row, t), {})}
        for row in wanted
    }
    kept, shared = complete_block({row: cells for row, cells in have.items() if cells})
    cells = tuple(
        (t, s)
        for t in sheet.targets
        for s in sorted({int(s) for target, s in shared if target == t})
    )
    values = np.array([[sheet.scores[(row, t)][s] for t, s in cells] for row in kept])
    values = values.reshape(len(kept), len(cells))
    gaps = np.round(values.max(axis=0, initial=-np.inf) - values, 9)
    left_out = tuple(r for r in wanted if r not in kept)
    return ProfileInfo(
        table=_curves(kept, gaps),
        summary=_summary(kept, gaps),
        methods=tuple(kept),
        cells=cells,
        left_out=left_out,
        longest=float(gaps.max(initial=0.0)),
        note=_note(len(kept), len(cells), left_out),
    )


def _curves(methods: Sequence[str], gaps: np.ndarray) -> pd.DataFrame:
    """Where each method's share of cells rises."""
    rows = []
    for method, mine in zip(methods, gaps, strict=True):
        taus = np.unique(np.concatenate([[0.0], mine]))
        rows += [(method, float(tau), float((mine <= tau).mean())) for tau in taus]
    return pd.DataFrame(rows, columns=["method", "tau", "share"])


def _summary(methods: Sequence[str], gaps: np.ndarray) -> pd.DataFrame:
    made = pd.DataFrame(
        {
            "method": list(methods),
            "at_best": (gaps <= 0).mean(axis=1),
            "mean_gap": gaps.mean(axis=1),
            "worst_gap": gaps.max(axis=1, initial=0.0),
        }
        if gaps.size
        else {"method": [], "at_best": [], "mean_gap": [], "worst_gap": []}
    )
    return made.sort_values(["mean_gap", "method"], ignore_index=True)


def _note(methods: int, cells: int, left_out: Sequence[str]) -> str:
    if methods < 2:
        return "No profile yet: two methods need a score on a common target and seed."
    text = (
        f"{methods} methods on {cells} pairs of target and seed; a curve at τ is the share of "
        "them on which the method is at most τ behind the best of these methods."
    )
    return text + (f" Left out, for lack of runs: {', '.join(left_out)}." if left_out else "")
