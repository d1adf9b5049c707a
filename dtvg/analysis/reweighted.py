"""A task's score with its examples weighted, for thousands of weightings at once.

A bootstrap over examples needs the metric of each resample, not the mean of single examples:
F1, Matthews and correlations are recomputed from weighted counts and moments. Equal to
`dtvg.tasks.metrics` on the sample written out (tested). Must not import torch, plotly or
streamlit. docs/verdicts.md "By example".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Scorer = Callable[[Floats], Floats]
"""Weights of examples `[B E]` → score of each weighting `[B]`."""


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
    return lambda weights: np.mean([part(weights) for part in known], axis=0)


def value_scorer(answers: Answers) -> Scorer:
    """Return the mean of the examples' own values."""
    return lambda weights: _share(weights, answers.value)


def _share(weights: Floats, values: Floats) -> Floats:
    return np.asarray(weights @ values / weights.sum(axis=1), dtype=np.float64)


def _accuracy(answers: Answers) -> Scorer:
    return lambda weights: _share(weights, answers.correct)


def _classes(answers: Answers) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
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
    hit = ((gold == 1) & (found == 1)).astype(np.float64)
    named = (gold == 1).astype(np.float64) + (found == 1)
    return lambda weights: _ratio(2 * (weights @ hit), weights @ named)


def _ratio(above: Floats, below: Floats) -> Floats:
    """Divide, 0 where the divisor is 0."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _macro_f1(answers: Answers) -> Scorer | None:
    made = _classes(answers)
    if made is None:
        return None
    gold, found = made

    def score(weights: Floats) -> Floats:
        per_class = []
        for c in range(len(answers.words)):
            hit = weights @ ((gold == c) & (found == c)).astype(np.float64)
            named = weights @ ((gold == c).astype(np.float64) + (found == c))
            per_class.append(_ratio(2 * hit, named))
        return np.asarray(np.mean(per_class, axis=0))

    return score


def _matthews(answers: Answers) -> Scorer | None:
    made = _classes(answers)
    if made is None:
        return None
    gold, found = made
    classes = np.arange(len(answers.words) + 1)
    of_gold = (gold[:, None] == classes).astype(np.float64)
    of_found = (found[:, None] == classes).astype(np.float64)
    hit = (gold == found).astype(np.float64)

    def score(weights: Floats) -> Floats:
        total = weights.sum(axis=1)
        t, p = weights @ of_gold, weights @ of_found
        cover = (weights @ hit) * total - (t * p).sum(axis=1)
        spread = (total**2 - (p**2).sum(axis=1)) * (total**2 - (t**2).sum(axis=1))
        spread = np.where(spread > 1e-9, spread, 0.0)
        return _ratio(cover, np.sqrt(spread))

    return score


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
    gold, found = _numbers(answers)
    return lambda weights: _correlation(weights, gold[None, :], found[None, :])


def _spearman(answers: Answers) -> Scorer:
    gold, found = _numbers(answers)
    return lambda weights: _correlation(
        weights, _midranks(weights, gold), _midranks(weights, found)
    )


def _midranks(weights: Floats, values: Floats) -> Floats:
    """Ranks `[B E]` of the values in each weighted sample, ties at the mean of their ranks."""
    unique, place = np.unique(values, return_inverse=True)
    counts = weights @ (place[:, None] == np.arange(len(unique))).astype(np.float64)
    return (counts.cumsum(axis=1) - counts / 2 + 0.5)[:, place]


def _correlation(weights: Floats, x: Floats, y: Floats) -> Floats:
    """Weighted correlation of each row; 0 where one side does not vary."""
    total = weights.sum(axis=1)
    mx, my = ((weights * v).sum(axis=1) / total for v in (x, y))
    dx, dy = x - mx[:, None], y - my[:, None]
    sxx, syy = (weights * dx**2).sum(axis=1), (weights * dy**2).sum(axis=1)
    spread = np.where((sxx > 1e-9) & (syy > 1e-9), np.sqrt(sxx * syy), 0.0)
    return _ratio((weights * dx * dy).sum(axis=1), spread)


METRICS: Mapping[str, Callable[[Answers], Scorer | None]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "macro_f1": _macro_f1,
    "matthews": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
}
"""By the names of `dtvg.tasks.metrics.METRICS`."""
