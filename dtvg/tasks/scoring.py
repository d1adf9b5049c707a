"""What a metric is: one object that scores answers, single examples, and thousands of weightings.

A bootstrap over examples needs the metric of each resample, not the mean of single examples: a
`Scorer` holds what the metric sums over examples, computed once, and what is made of such sums.
One matrix product then gives the sums of all resamples (and of all runs). `metrics.py` holds the
metrics there are. docs/tasks.md "Metrics", docs/verdicts.md "By example".
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dtvg.tasks.spec import Example, TaskSpec

Floats = npt.NDArray[np.float64]
Fits = Literal["any", "classes", "two classes", "questions"]

COVERAGE = 0.95
"""Coverage of every interval."""


@dataclass(frozen=True)
class Interval:
    """Lower and upper end; NaN where the sample is too small."""

    low: float
    high: float


def percentile_interval(resampled: Floats) -> Interval:
    """Return the percentile bootstrap interval of a statistic from its values on resamples."""
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Interval(float(low), float(high))


def normal(text: str) -> str:
    """Return the form in which every metric compares texts: NFC, single spaces, none at the ends.

    A tokenizer may write a letter with its accent in one character or in two, and white space
    in its own way; neither makes an answer another one.
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def accepted(predictions: Sequence[str], examples: Sequence[Example]) -> list[bool]:
    """Whether each answer equals an accepted one, both in their `normal` form."""
    return [
        normal(p) in {normal(r) for r in e.references}
        for p, e in zip(predictions, examples, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class Answers:
    """What was answered to the examples of one task, in a fixed order of examples."""

    target: tuple[str, ...]
    prediction: tuple[str, ...]
    correct: Floats
    """1 where the answer was accepted."""
    words: tuple[str, ...]
    """Label words by class; empty: free text."""
    value: Floats | None = None
    """Score of each example alone, where a run stored it."""
    examples: tuple[Example, ...] | None = None
    """The examples themselves; None for stored answers, whose references are not kept."""
    task: str = ""
    """How messages name the task."""


def answers_of(spec: TaskSpec, predictions: Sequence[str], examples: Sequence[Example]) -> Answers:
    """Return what was answered to given examples, one output for each."""
    return Answers(
        target=tuple(e.target for e in examples),
        prediction=tuple(predictions),
        correct=np.array(accepted(predictions, examples), dtype=np.float64),
        words=tuple(spec.labels),
        examples=tuple(examples),
        task=spec.name,
    )


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


class MeanScorer(Scorer):
    """The weighted mean of one value an example.

    Scored alone it is a product of vectors: another order of addition than in the product of
    matrices, and the one whose last digit stands in recorded intervals.
    """

    def __call__(self, weights: Floats) -> Floats:
        """Score examples weighted `[B E]`; returns `[B]`."""
        counts, values = (np.ascontiguousarray(column) for column in self.features.T)
        return np.asarray((weights @ values) / (weights @ counts))


@dataclass(frozen=True)
class Metric:
    """A metric; a new one is one entry of `dtvg.tasks.metrics.METRICS`."""

    name: str
    """As in `TaskSpec.metrics` and in the log."""
    title: str
    score: Callable[[Answers], float]
    """The value of all answers together."""
    scorer: Callable[[Answers], Scorer | None]
    """The value under any weights of the examples, equal to `score` of the sample written out;
    None where it cannot be told from the answers (references or groups are not stored)."""
    per_example: Callable[[Answers], list[float] | None] = lambda answers: None
    """Each example's own value, where the metric is a mean over examples; None for any other."""
    fits: Fits = "any"
    """The kind of tasks it can score."""
    range: tuple[float, float] = (0.0, 1.0)
    higher_is_better: bool = True
    extra: str = ""
    """The extra of `dtvg.extras` whose packages compute it; empty: none is needed."""
    version: int = 1
    """Raised when a change alters its values; see `dtvg.tasks.metrics.versions`."""

    def misfit(self, classes: int, groups: bool) -> str | None:
        """Say why the metric cannot score a task, None if it can.

        Args:
            classes: how many classes the task has, 0 for free text.
            groups: whether examples belong to questions (`Example.group`).
        """
        has = f"the task has {classes or 'none'}"
        if self.range[1] > 1:
            return (
                f"{self.name} goes from 0 to {self.range[1]:g} and cannot be part of a mean of "
                "metrics that end at 1"
            )
        if self.fits == "classes" and not classes:
            return f"{self.name} needs a task with classes, and {has}"
        if self.fits == "two classes" and classes != 2:
            return f"{self.name} needs a task with two classes, and {has}"
        if self.fits == "questions" and not groups:
            return f"{self.name} needs answers that belong to questions, and the task has none"
        return None


def plain_mean(values: Sequence[float]) -> float:
    """Return the mean of values added in their order."""
    return float(sum(values) / len(values))


def mean_metric(
    name: str,
    title: str,
    values: Callable[[Answers], list[float] | None],
    aggregate: Callable[[list[float]], float] = plain_mean,
    fits: Fits = "any",
    extra: str = "",
    range: tuple[float, float] = (0.0, 1.0),
) -> Metric:
    """Return a metric that is the mean of a value of each example.

    Args:
        name: of the metric.
        title: of the metric.
        values: each example's value; None where it cannot be told from the answers.
        aggregate: how the mean is taken.
        fits: the kind of tasks it can score.
        extra: whose packages compute it.
        range: lowest and highest value.
    """

    def score(answers: Answers) -> float:
        return aggregate(values(answers) or [])

    def scorer(answers: Answers) -> Scorer | None:
        found = values(answers)
        if found is None:
            return None
        mean = share(np.array(found, dtype=np.float64))
        return MeanScorer(mean.features, mean.finish)

    return Metric(name, title, score, scorer, values, fits, range, extra=extra)


def columns(*values: Floats) -> Floats:
    """Stack what is summed over examples, 1 first."""
    return np.column_stack([np.ones(len(values[0])), *values])


def share(values: Floats) -> Scorer:
    """Return the weighted mean of values."""
    return Scorer(columns(values), lambda sums, _: np.asarray(sums[:, 1] / sums[:, 0]))


def ratio(above: Floats, below: Floats) -> Floats:
    """Divide, 0 where the divisor is 0."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def averaged(parts: Sequence[Scorer | None]) -> Scorer | None:
    """Return the scorer of the mean of several metrics; None if one of them is not known."""
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
