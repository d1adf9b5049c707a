"""Bootstrap intervals of a task's metrics over examples, and each example's own value.

What a metric sums over examples is computed once; a resample is then a weighted sum (the
metrics of `reweighted.py`, means, corpus statistics), so 1,000 resamples cost little. Examples
that are scored together (MultiRC's questions) are resampled together. Must not import torch.
docs/tasks.md "Metrics".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dtvg.tasks import answer_metrics, text_metrics
from dtvg.tasks.metrics import asked_once, score
from dtvg.tasks.reweighted import Answers, Scorer, scorer
from dtvg.tasks.spec import Example, TaskSpec

Floats = npt.NDArray[np.float64]
COVERAGE = 0.95


@dataclass(frozen=True)
class Interval:
    """A metric's value with its percentile bootstrap interval."""

    value: float
    low: float
    high: float


def example_values(
    metric: str, spec: TaskSpec, predictions: Sequence[str], examples: Sequence[Example]
) -> list[float] | None:
    """Return each example's value under a metric that is their mean; None for any other."""
    if metric == "accuracy":
        return _accepted(predictions, examples)
    if metric == "squad_f1":
        return answer_metrics.squad_f1_values(predictions, examples)
    if metric == "squad_em":
        return answer_metrics.squad_em_values(predictions, examples)
    if metric in text_metrics.ROUGE:
        return text_metrics.rouge_values(metric, predictions, examples)
    if metric == "meteor_stem":
        return text_metrics.meteor_values(predictions, examples)
    return None


def _accepted(predictions: Sequence[str], examples: Sequence[Example]) -> list[float]:
    return [
        float(" ".join(p.split()) in {" ".join(r.split()) for r in e.references})
        for p, e in zip(predictions, examples, strict=True)
    ]


def per_example(
    spec: TaskSpec, predictions: Sequence[str], examples: Sequence[Example]
) -> list[float | None]:
    """Return each example's own score 0..1: the mean of the task's metrics that have one.

    Args:
        spec: the task.
        predictions: one per example.
        examples: what was answered.

    Returns:
        One value per example, None for all where no metric of the task is a mean over examples
        (Matthews, correlations, BLEU).
    """
    found = [example_values(m, spec, predictions, examples) for m in spec.metrics]
    known = [values for values in found if values is not None]
    if not known:
        return [None] * len(examples)
    return [float(sum(row) / len(row)) for row in zip(*known, strict=True)]


def score_with_intervals(
    spec: TaskSpec,
    predictions: Sequence[str],
    examples: Sequence[Example],
    seed: int = 0,
    resamples: int = 1000,
) -> dict[str, Interval]:
    """Score outputs with every metric of the task and `score`, each with its 95 % interval.

    All metrics see the same resamples, so `score`'s interval is that of their mean.

    Args:
        spec: the task.
        predictions: one output per example.
        examples: the examples that were answered.
        seed: of the resamples.
        resamples: how many.

    Raises:
        DataError: as `dtvg.tasks.metrics.score`.
    """
    values = score(spec, predictions, examples)
    predictions, examples = asked_once(predictions, examples)
    weights = _weights(examples, seed, resamples)
    drawn: dict[str, Floats] = {}
    for metric in spec.metrics:
        made = _scorer(metric, spec, predictions, examples)
        drawn[metric] = np.concatenate([made(part) for part in np.array_split(weights, 8)])
    drawn["score"] = np.mean([drawn[metric] for metric in spec.metrics], axis=0)
    tail = 100 * (1 - COVERAGE) / 2
    found = {}
    for name, value in values.items():
        low, high = np.percentile(drawn[name], [tail, 100 - tail])
        found[name] = Interval(value, float(low), float(high))
    return found


def _weights(examples: Sequence[Example], seed: int, resamples: int) -> Floats:
    """Draw how often each example is in each resample, `[B E]`; groups are drawn whole."""
    units: dict[str | int, int] = {}
    of = np.array(
        [units.setdefault(i if e.group is None else e.group, len(units))
         for i, e in enumerate(examples)]
    )  # fmt: skip
    count = len(units)
    generator = np.random.default_rng([seed, count])
    drawn = generator.multinomial(count, np.full(count, 1.0 / count), size=resamples)
    return drawn[:, of].astype(np.float64)


def _scorer(
    metric: str, spec: TaskSpec, predictions: Sequence[str], examples: Sequence[Example]
) -> Callable[[Floats], Floats]:
    """Return how a metric scores weighted examples `[B E]`."""
    values = example_values(metric, spec, predictions, examples)
    if values is not None:
        return _mean(np.array(values), np.ones(len(values)))
    if metric == "multirc_em":
        right = answer_metrics.question_values(predictions, examples, spec)
        first, hit = np.zeros(len(examples)), np.zeros(len(examples))
        seen: set[str] = set()
        for i, e in enumerate(examples):
            if e.group is not None and e.group not in seen:
                seen.add(e.group)
                first[i], hit[i] = 1.0, right[e.group]
        return _mean(hit, first)
    if metric in ("bleu", "chrf"):
        statistics, finish = text_metrics.corpus_statistics(metric, predictions, examples)
        return lambda weights: finish(weights @ statistics)
    hits = np.array(_accepted(predictions, examples))
    answers = Answers(
        tuple(e.target for e in examples), tuple(predictions), hits, hits, tuple(spec.labels)
    )
    made: Scorer | None = scorer("f1" if metric == "multirc_f1a" else metric, answers)
    if made is None:
        raise ValueError(f"metric '{metric}' has no weighted form for task '{spec.name}'")
    return made


def _mean(values: Floats, counts: Floats) -> Callable[[Floats], Floats]:
    return lambda weights: np.asarray((weights @ values) / (weights @ counts))
