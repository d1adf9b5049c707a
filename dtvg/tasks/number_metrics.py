"""Metrics of answers that are numbers: Pearson's and Spearman's correlation.

Each is given twice: its value by scipy, and its weighted form from sums of products or from
counts of values. An output that is not a number counts as −1, an undefined correlation as 0.
docs/tasks.md "Metrics".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from dtvg.tasks.scoring import Answers, Floats, Scorer, columns, normal, ratio

Ints = npt.NDArray[np.int64]
HUGE = 1e100
"""Beyond it the squares of what was answered may have no number."""
LEAST = 1e-9
"""A sum of squares, in units of the spread, of which rounding leaves too little to divide by."""


def pearson(answers: Answers) -> float:
    """Pearson correlation of outputs and answers as numbers."""
    from scipy.stats import pearsonr

    return _correlation(pearsonr, answers)


def spearman(answers: Answers) -> float:
    """Spearman correlation of outputs and answers as numbers."""
    from scipy.stats import spearmanr

    return _correlation(spearmanr, answers)


def _correlation(measure: Callable[..., object], answers: Answers) -> float:
    """Correlate outputs with answers as numbers; constant or single values give 0."""
    found = [_number(p, -1.0) for p in answers.prediction]
    gold = [_number(t, 0.0) for t in answers.target]
    if len(set(found)) < 2 or len(set(gold)) < 2:
        return 0.0
    value = float(getattr(measure(found, gold), "statistic", math.nan))
    return value if math.isfinite(value) else 0.0


def is_number(text: str) -> bool:
    """Whether the correlations read a text as a number."""
    return not math.isnan(_number(text, math.nan))


def _number(text: str, otherwise: float) -> float:
    """Return `text` as a finite number, or `otherwise` where it is none."""
    try:
        value = float(normal(text))
    except ValueError:
        return otherwise
    return value if math.isfinite(value) else otherwise


def _numbers(answers: Answers) -> tuple[Floats, Floats]:
    """Right and answered numbers in units of their spread."""
    made = _floats(answers.target, 0.0), _floats(answers.prediction, -1.0)
    largest = (np.abs(v).max() for v in made)
    small = (v / top if top > HUGE else v for v, top in zip(made, largest, strict=True))
    gold, found = ((v - v.mean()) / (v.std() or 1.0) for v in small)
    return gold, found


def _floats(texts: Sequence[str], otherwise: float) -> Floats:
    return np.array([_number(text, otherwise) for text in texts], dtype=np.float64)


def pearson_scorer(answers: Answers) -> Scorer:
    """Return `pearson` under weights: from sums, squares and products.

    A sample whose numbers hardly differ beside the spread of all, as where the one answer of 1e9
    was not drawn, is correlated by itself.
    """
    x, y = _numbers(answers)
    gold, found = _floats(answers.target, 0.0), _floats(answers.prediction, -1.0)
    varies = np.ptp(gold) > 0 and np.ptp(found) > 0

    def finish(sums: Floats, weights: Floats) -> Floats:
        n, sx, sy, sxx, syy, sxy = sums.T
        sxx, syy = sxx - sx**2 / n, syy - sy**2 / n
        made = _from_sums(sxx, syy, sxy - sx * sy / n)
        for place in np.flatnonzero(varies & ((sxx <= LEAST) | (syy <= LEAST))):
            drawn = weights[place] > 0
            made[place] = _correlated(gold[drawn], found[drawn], weights[place][drawn])
        return made

    return Scorer(columns(x, y, x * x, y * y, x * y), finish)


def _correlated(gold: Floats, found: Floats, weights: Floats) -> float:
    """Weighted correlation of one sample; 0 where one side does not vary."""
    if not len(gold) or np.ptp(gold) == 0 or np.ptp(found) == 0:
        return 0.0
    x, y = (v / np.abs(v).max() for v in (gold, found))
    x, y = (v - np.average(v, weights=weights) for v in (x, y))
    x, y = (v / np.abs(v).max() for v in (x, y))
    return float((weights * x) @ y / np.sqrt(((weights * x) @ x) * ((weights * y) @ y)))


def _from_sums(sxx: Floats, syy: Floats, sxy: Floats) -> Floats:
    """Correlation from centred sums; 0 where one side does not vary."""
    varies = (sxx > LEAST) & (syy > LEAST)
    return ratio(sxy, np.sqrt(np.where(varies, sxx * syy, 0.0)))


def spearman_scorer(answers: Answers) -> Scorer:
    """Return `spearman` under weights.

    The ranks are those within each weighted sample, ties at the mean of their ranks.
    """
    # as they stand: in units of a spread of 1e30 all others would be one number
    (gold, of_gold), (found, of_found) = (
        _one_hot(_floats(texts, otherwise))
        for texts, otherwise in ((answers.target, 0.0), (answers.prediction, -1.0))
    )
    k = of_gold.shape[1]

    def finish(sums: Floats, weights: Floats) -> Floats:
        n = sums[:, 0]
        centre = ((n + 1) / 2)[:, None]
        counts = sums[:, 1 : 1 + k], sums[:, 1 + k :]
        rx, ry = (c.cumsum(axis=1) - c / 2 + 0.5 - centre for c in counts)
        sxx, syy = ((c * r * r).sum(axis=1) for c, r in zip(counts, (rx, ry), strict=True))
        sxy = np.einsum("be,be,be->b", weights, rx[:, gold], ry[:, found])
        return _from_sums(sxx, syy, sxy)

    return Scorer(columns(of_gold, of_found), finish)


def _one_hot(values: Floats) -> tuple[Ints, Floats]:
    """Place of each value among the distinct ones, rising, and that as columns of 0 and 1."""
    unique, place = np.unique(values, return_inverse=True)
    return place.astype(np.int64), (place[:, None] == np.arange(len(unique))).astype(np.float64)
