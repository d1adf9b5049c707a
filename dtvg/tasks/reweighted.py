"""A task's score with its examples weighted, for thousands of weightings at once.

A bootstrap over examples needs the metric of each resample, not the mean of single examples:
F1, Matthews and correlations are recomputed from weighted sums. One matrix product gives the
sums of all runs. Equal to `dtvg.tasks.metrics` on the sample written out (tested). Must not
import torch, plotly or streamlit. docs/verdicts.md "By example".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Answers:
    """What one run answered to the examples of one task, in a fixed order of examples."""

    target: tuple[str, ...]
    prediction: tuple[str, ...]
    correct: Floats
    """1 where the answer was accepted."""
    value: Floats
    """Score of each example alone."""
    words: tuple[str, ...]
    """Label words by class; empty: free text."""


@dataclass(frozen=True, eq=False)
class Scorer:
    """A metric as weighted sums over examples, and what is made of them."""

    features: Floats
    """`[E c]`: what is summed over the examples; the first column is 1."""
    finish: Callable[[Floats, Floats], Floats]
    """(sums `[B c]`, weights `[B E]`) → score of each weighting `[B]`."""

    def __call__(self, weights: Floats) -> Floats:
        """Score examples weighted `[B E]`; returns `[B]`."""
        return self.finish(weights @ self.features, weights)


def scorer(metric: str, answers: Answers) -> Scorer | None:
    """Return how a metric scores weighted examples; None where that is not known."""
    made = METRICS.get(metric)
    return None if made is None else made(answers)


def mean_scorer(metrics: Sequence[str], answers: Answers) -> Scorer | None:
    """Return the scorer of a task's score, the mean of its metrics; None if one is unknown."""
    parts = [scorer(metric, answers) for metric in metrics]
    known = [part for part in parts if part is not None]
    if not parts or len(known) < len(parts):
        return None
    if len(known) == 1:
        return known[0]
    ends = np.cumsum([part.features.shape[1] for part in known])

    def finish(sums: Floats, weights: Floats) -> Floats:
        each = zip(known, np.split(sums, ends[:-1], axis=1), strict=True)
        return np.asarray(np.mean([part.finish(own, weights) for part, own in each], axis=0))

    return Scorer(np.concatenate([part.features for part in known], axis=1), finish)


def value_scorer(answers: Answers) -> Scorer:
    """Return the mean of the examples' own values."""
    return _share(answers.value)


def _columns(*columns: Floats) -> Floats:
    """Stack what is summed, 1 first."""
    return np.column_stack([np.ones(len(columns[0])), *columns])


def _share(values: Floats) -> Scorer:
    return Scorer(_columns(values), lambda sums, _: np.asarray(sums[:, 1] / sums[:, 0]))


def _accuracy(answers: Answers) -> Scorer:
    return _share(answers.correct)


def _classes(answers: Answers) -> tuple[Ints, Ints] | None:
    """Right and answered class of each example, the number of classes for no label."""
    at = {word: i for i, word in enumerate(answers.words)}
    gold = np.array([at.get(t.strip(), -1) for t in answers.target], dtype=np.int64)
    found = np.array([at.get(p.strip(), len(at)) for p in answers.prediction], dtype=np.int64)
    return None if not at or (gold < 0).any() else (gold, found)


def _f1(answers: Answers) -> Scorer | None:
    made = _classes(answers)
    if made is None:
        return None
    gold, found = made
    found = np.where(found == len(answers.words), 1 - gold, found)
    hit = (gold == 1) & (found == 1)
    named = (gold == 1).astype(np.float64) + (found == 1)
    return Scorer(
        _columns(hit.astype(np.float64), named),
        lambda sums, _: _ratio(2 * sums[:, 1], sums[:, 2]),
    )


def _ratio(above: Floats, below: Floats) -> Floats:
    """Divide, 0 where the divisor is 0."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _macro_f1(answers: Answers) -> Scorer | None:
    made = _classes(answers)
    if made is None:
        return None
    gold, found = made
    classes = np.arange(len(answers.words))
    of_gold, of_found = gold[:, None] == classes, found[:, None] == classes
    hit = (of_gold & of_found).astype(np.float64)
    named = of_gold.astype(np.float64) + of_found
    k = len(classes)
    return Scorer(
        _columns(hit, named),
        lambda sums, _: _ratio(2 * sums[:, 1 : k + 1], sums[:, k + 1 :]).mean(axis=1),
    )


def _matthews(answers: Answers) -> Scorer | None:
    made = _classes(answers)
    if made is None:
        return None
    gold, found = made
    classes = np.arange(len(answers.words) + 1)
    of_gold = (gold[:, None] == classes).astype(np.float64)
    of_found = (found[:, None] == classes).astype(np.float64)
    hit = (gold == found).astype(np.float64)
    k = len(classes)

    def finish(sums: Floats, weights: Floats) -> Floats:
        total, hits, t, p = sums[:, 0], sums[:, 1], sums[:, 2 : 2 + k], sums[:, 2 + k :]
        cover = hits * total - (t * p).sum(axis=1)
        spread = (total**2 - (p**2).sum(axis=1)) * (total**2 - (t**2).sum(axis=1))
        return _ratio(cover, np.sqrt(np.where(spread > 1e-9, spread, 0.0)))

    return Scorer(_columns(hit, of_gold, of_found), finish)


def _numbers(answers: Answers) -> tuple[Floats, Floats]:
    """Right and answered numbers in units of their spread; no number counts as 0 and −1."""
    made = _floats(answers.target, 0.0), _floats(answers.prediction, -1.0)
    gold, found = ((v - v.mean()) / (v.std() or 1.0) for v in made)
    return gold, found


def _floats(texts: Sequence[str], otherwise: float) -> Floats:
    found = np.full(len(texts), otherwise)
    for i, text in enumerate(texts):
        try:
            value = float(text)
        except ValueError:
            continue
        found[i] = value if math.isfinite(value) else otherwise
    return found


def _pearson(answers: Answers) -> Scorer:
    x, y = _numbers(answers)

    def finish(sums: Floats, weights: Floats) -> Floats:
        n, sx, sy, sxx, syy, sxy = sums.T
        return _correlation(sxx - sx**2 / n, syy - sy**2 / n, sxy - sx * sy / n)

    return Scorer(_columns(x, y, x * x, y * y, x * y), finish)


def _correlation(sxx: Floats, syy: Floats, sxy: Floats) -> Floats:
    """Correlation from centred sums; 0 where one side does not vary."""
    varies = (sxx > 1e-9) & (syy > 1e-9)
    return _ratio(sxy, np.sqrt(np.where(varies, sxx * syy, 0.0)))


def _spearman(answers: Answers) -> Scorer:
    """Ranks of each weighted sample, ties at the mean of their ranks, then their correlation."""
    (gold, of_gold), (found, of_found) = (_one_hot(v) for v in _numbers(answers))
    k = of_gold.shape[1]

    def finish(sums: Floats, weights: Floats) -> Floats:
        n = sums[:, 0]
        centre = ((n + 1) / 2)[:, None]
        counts = sums[:, 1 : 1 + k], sums[:, 1 + k :]
        rx, ry = (c.cumsum(axis=1) - c / 2 + 0.5 - centre for c in counts)
        sxx, syy = ((c * r * r).sum(axis=1) for c, r in zip(counts, (rx, ry), strict=True))
        sxy = np.einsum("be,be,be->b", weights, rx[:, gold], ry[:, found])
        return _correlation(sxx, syy, sxy)

    return Scorer(_columns(of_gold, of_found), finish)


def _one_hot(values: Floats) -> tuple[Ints, Floats]:
    """Place of each value among the distinct ones, rising, and that as columns of 0 and 1."""
    unique, place = np.unique(values, return_inverse=True)
    return place.astype(np.int64), (place[:, None] == np.arange(len(unique))).astype(np.float64)


METRICS: Mapping[str, Callable[[Answers], Scorer | None]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "macro_f1": _macro_f1,
    "matthews": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
}
"""By the names of `dtvg.tasks.metrics.METRICS`."""
