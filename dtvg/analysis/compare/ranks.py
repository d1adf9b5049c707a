"""Average ranks of methods over targets, Friedman's test, and performance profiles.

Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7 (2006): a
target is one block, its score the mean over seeds. docs/verdicts.md "Ranks".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from dtvg.analysis.compare.scores import Sheet, complete_block, shared_targets
from dtvg.analysis.statistics import ALPHA

Floats = npt.NDArray[np.float64]

PERMUTATIONS = 10_000
TIE = 1e-9
"""Scores nearer than this share a rank."""
MANY = 10_000
"""Targets beyond which none is named as needed."""


@dataclass(frozen=True, eq=False)
class RanksInfo:
    """Ranks over targets (1 = best, ties share the mean rank), and what can be told apart."""

    table: pd.DataFrame
    """`method, rank, mean, wins`, best first: average rank, mean score over the targets,
    targets on which it is best (ties count for each)."""
    per_target: pd.DataFrame
    """Method × target: rank."""
    targets: tuple[str, ...]
    """Blocks of the test: targets on which every ranked method has a score."""
    left_out: tuple[str, ...]
    """Methods that lack too many targets to be ranked."""
    statistic: float
    """Friedman's χ², corrected for ties; NaN below two targets or methods."""
    p: float
    """Of Friedman's χ² among 10,000 random rankings within each target (seed 0)."""
    p_chi2: float
    """Of Friedman's χ² by its large-sample distribution with k − 1 degrees of freedom."""
    p_f: float
    """Of Iman and Davenport's F, less conservative than χ²."""
    critical_difference: float
    """Nemenyi's, 5 %: average ranks further apart than this differ."""
    cliques: tuple[tuple[str, ...], ...]
    """Largest sets of methods that lie within the critical difference of one another."""
    targets_needed: int | None
    """Targets from which on the best and the worst possible method could differ; None: none."""
    note: str
    """In a sentence: what was ranked and what it can show."""


def ranks(sheet: Sheet, rows: Sequence[str] | None = None) -> RanksInfo:
    """Rank methods over targets.

    Args:
        sheet: from `scores.collect`.
        rows: methods to rank; None: those a person would choose between (no Stage I, no
            single sources but the one best by validation).
    """
    wanted = sheet.headline if rows is None else tuple(rows)
    kept, targets = shared_targets(sheet, wanted)
    left_out = tuple(r for r in wanted if r not in kept)
    scores = np.array(
        [[np.mean(list(sheet.scores[(row, t)].values())) for t in targets] for row in kept]
    ).reshape(len(kept), len(targets))
    return rank_scores(scores, tuple(kept), targets, left_out)


def rank_scores(
    scores: Floats,
    methods: Sequence[str],
    targets: Sequence[str],
    left_out: tuple[str, ...] = (),
) -> RanksInfo:
    """Rank rows of a matrix of scores.

    Args:
        scores: `[k N]`, higher is better.
        methods: names of its rows.
        targets: names of its columns.
        left_out: methods that could not be ranked, for the note.
    """
    k, n = scores.shape
    placed = column_ranks(scores)
    average = placed.mean(axis=1) if n else np.full(k, np.nan)
    order = np.argsort(average, kind="stable")
    best = scores.max(axis=0, initial=-np.inf)
    table = pd.DataFrame(
        {
            "method": [methods[i] for i in order],
            "rank": average[order],
            "mean": scores.mean(axis=1)[order] if n else np.full(k, np.nan),
            "wins": [int((scores[i] >= best - TIE).sum()) for i in order],
        }
    )
    statistic, p, p_chi2, p_f = _friedman(placed)
    difference = critical_difference(k, n)
    needed = _targets_needed(k)
    info = RanksInfo(
        table=table,
        per_target=pd.DataFrame(placed, index=list(methods), columns=list(targets)),
        targets=tuple(targets),
        left_out=left_out,
        statistic=statistic,
        p=p,
        p_chi2=p_chi2,
        p_f=p_f,
        critical_difference=difference,
        cliques=_cliques(table, difference),
        targets_needed=needed,
        note="",
    )
    object.__setattr__(info, "note", _note(info, k, n))
    return info


def column_ranks(scores: Floats) -> Floats:
    """Rank each column, 1 = highest; scores within 1e-9 share the mean of their ranks."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(-np.round(scores / TIE) * TIE, axis=0), dtype=np.float64)


def friedman_statistic(placed: Floats) -> float:
    """Friedman's χ² of ranks `[k N]`, corrected for ties; NaN where every rank is tied."""
    k, n = placed.shape
    sums = placed.sum(axis=1)
    spread = float(((sums - n * (k + 1) / 2) ** 2).sum())
    within = float((placed**2).sum()) - n * k * (k + 1) ** 2 / 4
    return (k - 1) * spread / within if within > TIE else float("nan")


def _friedman(placed: Floats) -> tuple[float, float, float, float]:
    """χ², its p by permutation and by its distribution, and Iman and Davenport's p."""
    from scipy.stats import chi2, f

    k, n = placed.shape
    if k < 2 or n < 2:
        return (float("nan"),) * 4
    statistic = friedman_statistic(placed)
    if np.isnan(statistic):
        return statistic, 1.0, 1.0, 1.0
    rng = np.random.default_rng(0)
    shuffled = rng.permuted(np.broadcast_to(placed.T, (PERMUTATIONS, n, k)), axis=-1)
    spread = ((shuffled.sum(axis=1) - n * (k + 1) / 2) ** 2).sum(axis=-1)
    seen = float(((placed.sum(axis=1) - n * (k + 1) / 2) ** 2).sum())
    p = (1 + float((spread >= seen - 1e-9).sum())) / (1 + PERMUTATIONS)
    rest = n * (k - 1) - statistic
    ratio = np.inf if rest <= 1e-12 else (n - 1) * statistic / rest
    p_f = float(f.sf(ratio, k - 1, (k - 1) * (n - 1)))
    return statistic, p, float(chi2.sf(statistic, k - 1)), p_f


def critical_difference(k: int, n: int) -> float:
    """Nemenyi's critical difference at 5 %: q √(k(k+1) / 6N), q of the studentised range / √2."""
    from scipy.stats import studentized_range

    if k < 2 or n < 1:
        return float("nan")
    q = float(studentized_range.ppf(1 - ALPHA, k, np.inf)) / np.sqrt(2)
    return float(q * np.sqrt(k * (k + 1) / (6 * n)))


def _targets_needed(k: int) -> int | None:
    """Fewest targets with which a critical difference below k − 1, the largest one, is got."""
    if k < 2:
        return None
    one = critical_difference(k, 1)
    needed = int(np.ceil((one / (k - 1)) ** 2 - 1e-12))
    return needed if needed <= MANY else None


def _cliques(table: pd.DataFrame, difference: float) -> tuple[tuple[str, ...], ...]:
    """Runs of neighbours in rank that lie within the critical difference, none inside another."""
    if np.isnan(difference):
        return ()
    names, average = table["method"].tolist(), table["rank"].to_numpy()
    found: list[tuple[int, int]] = []
    for first in range(len(names)):
        last = int(np.flatnonzero(average <= average[first] + difference + TIE)[-1])
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return tuple(tuple(names[first : last + 1]) for first, last in found)


def _p(p: float) -> str:
    """Write a p; where all targets rank alike that of F is 0, which no test shows."""
    return "below 1e-16" if p < 1e-16 else f"{p:.3g}"


def _note(info: RanksInfo, k: int, n: int) -> str:
    """Say what was ranked, and whether so few targets can tell anything apart."""
    if k < 2 or n < 1:
        return "Nothing to rank yet: two methods need a score on a common target."
    names = ", ".join(info.left_out)
    out = f" Left out because they have too few targets: {names}." if names else ""
    if n < 2:
        return f"Ranks of {k} methods on one target; a test over targets needs at least two.{out}"
    tested = (
        f"Friedman's χ² = {info.statistic:.2f}, p = {info.p:.3g} by permutation "
        f"({_p(info.p_chi2)} by χ², {_p(info.p_f)} by F)"
    )
    if np.isnan(info.statistic):
        tested = "all score alike on every target, so that Friedman's test has no ranks to compare"
    text = (
        f"{k} methods on {n} targets (means over seeds): {tested}; critical difference "
        f"{info.critical_difference:.2f} ranks."
    )
    if info.critical_difference >= k - 1:
        text += (
            f" The largest possible difference is {k - 1}, so with this few targets no two "
            "methods can be told apart by ranks, whatever their scores are"
        )
        needed = info.targets_needed
        text += f"; at least {needed} targets are needed." if needed else "."
    elif n < 10:
        text += " With fewer than ten targets, prefer the p by permutation to the two others."
    return text + out


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
        note=_profile_note(len(kept), len(cells), left_out),
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


def _profile_note(methods: int, cells: int, left_out: Sequence[str]) -> str:
    if methods < 2:
        return "No profile yet: two methods need a score on a common target and seed."
    text = (
        f"{methods} methods on {cells} pairs of target and seed; a curve at τ is the share of "
        "them on which the method is at most τ behind the best of these methods."
    )
    return text + (
        f" Left out because they have too few runs: {', '.join(left_out)}." if left_out else ""
    )
