"""How answers are scored: the metrics there are, a task's score (their mean), and its intervals.

Every metric is one object of `METRICS`; scores, single examples' values, bootstrap intervals and
weighted scores all ask it. A new metric is one entry here. Examples that are scored together
(MultiRC's questions) are resampled together. docs/tasks.md "Metrics".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from dtvg.errors import DataError
from dtvg.extras import require
from dtvg.tasks import answer_metrics, class_metrics, number_metrics, scoring, text_metrics
from dtvg.tasks.scoring import (
    Answers,
    Floats,
    Metric,
    Scorer,
    answers_of,
    mean_metric,
    normal,
    percentile_interval,
)
from dtvg.tasks.spec import Example, TaskSpec

CORRELATION = (-1.0, 1.0)


def _of_text(name: str, title: str) -> Metric:
    """Return a ROUGE: the mean over texts of the best reference's F."""
    values = partial(text_metrics.rouge_values, name)
    return mean_metric(name, title, values, text_metrics.mean_of, extra="nlg")


def _of_corpus(name: str, title: str) -> Metric:
    """Return a metric of the whole corpus by sacrebleu."""
    score, scorer = text_metrics.corpus_score, text_metrics.corpus_scorer
    return Metric(name, title, partial(score, name), partial(scorer, name), extra="nlg")


def _f1_of_questions(answers: Answers) -> Scorer | None:
    """Return F1 under weights; None for stored answers, whose questions are not known."""
    return None if answers.examples is None else class_metrics.f1_scorer(answers)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        mean_metric("accuracy", "Accuracy", lambda answers: answers.correct.tolist()),
        Metric("f1", "F1 of class 1", class_metrics.f1, class_metrics.f1_scorer,
               fits="two classes"),
        Metric("macro_f1", "Macro F1", class_metrics.macro_f1, class_metrics.macro_f1_scorer,
               fits="classes", version=2),
        Metric("matthews", "Matthews correlation", class_metrics.matthews,
               class_metrics.matthews_scorer, fits="classes", range=CORRELATION),
        Metric("pearson", "Pearson correlation", number_metrics.pearson,
               number_metrics.pearson_scorer, range=CORRELATION),
        Metric("spearman", "Spearman correlation", number_metrics.spearman,
               number_metrics.spearman_scorer, range=CORRELATION),
        mean_metric("squad_f1", "F1 of words (SQuAD)", answer_metrics.squad_f1_values),
        mean_metric("squad_em", "Exact match (SQuAD)", answer_metrics.squad_em_values),
        Metric("multirc_f1a", "F1 over all answers (MultiRC)", class_metrics.f1,
               _f1_of_questions, fits="two classes", version=2),
        Metric("multirc_em", "Exact match of questions (MultiRC)", answer_metrics.multirc_em,
               answer_metrics.multirc_em_scorer, fits="questions", version=2),
        _of_text("rouge1", "ROUGE-1"),
        _of_text("rouge2", "ROUGE-2"),
        _of_text("rougeL", "ROUGE-L"),
        _of_corpus("bleu", "BLEU-4"),
        _of_corpus("bleu_lower", "BLEU-4, lower case"),
        mean_metric("meteor_stem", "METEOR without WordNet", text_metrics.meteor_values,
                    text_metrics.mean_of, extra="nlg"),
        _of_corpus("chrf", "chrF2"),
        mean_metric("cider", "CIDEr-D (0 to 10)", text_metrics.cider_values,
                    text_metrics.mean_of, range=(0.0, 10.0)),
    )
}  # fmt: skip


def check_packages(spec: TaskSpec) -> None:
    """Refuse a task that could be trained but not scored here.

    Raises:
        ConfigError: it is scored by a metric whose package is not installed.
    """
    for extra in {METRICS[name].extra for name in (*spec.metrics, *spec.beside)} - {""}:
        require(extra, f"Scoring task '{spec.name}'")


def score(
    spec: TaskSpec, predictions: Sequence[str], examples: Sequence[Example]
) -> dict[str, float]:
    """Score outputs with every metric of the task, plus `score`, their mean.

    Metrics that the task only shows (`TaskSpec.beside`) are there too, and not in the mean.

    Args:
        spec: the task.
        predictions: one output per example.
        examples: the examples that were answered, in the same order.

    Raises:
        DataError: if there is nothing to score or the numbers of rows differ.
    """
    return _scores(spec, _asked(spec, predictions, examples))


def _asked(spec: TaskSpec, predictions: Sequence[str], examples: Sequence[Example]) -> Answers:
    """Return what is scored: each question once."""
    if not examples or len(predictions) != len(examples):
        raise DataError(
            f"Task {spec.name}: got {len(predictions)} outputs for {len(examples)} examples; "
            "scoring needs at least one example and one output for each."
        )
    return answers_of(spec, *asked_once(predictions, examples))


def _scores(spec: TaskSpec, answers: Answers) -> dict[str, float]:
    values = {name: METRICS[name].score(answers) for name in spec.metrics}
    beside = {name: METRICS[name].score(answers) for name in spec.beside}
    return {**values, **beside, "score": sum(values.values()) / len(values)}


def asked_once(
    predictions: Sequence[str], examples: Sequence[Example]
) -> tuple[list[str], list[Example]]:
    """Drop examples of a group that ask what another one asks: ReCoRD's and generation's.

    Such rows differ only in which accepted answer is trained on; the first one counts. Answers
    to be judged (MultiRC's) are rows of their own, also where two of a question are equal.
    """
    kept = first_asked(examples)
    return [predictions[i] for i in kept], [examples[i] for i in kept]


def first_asked(examples: Sequence[Example]) -> list[int]:
    """Return the places of examples without those that ask what one before them asks."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for place, e in enumerate(examples):
        again = e.group is not None and e.label is None
        if again and (e.group or "", e.source) in seen:
            continue
        seen.add((e.group or "", e.source))
        kept.append(place)
    return kept


def versions(spec: TaskSpec) -> dict[str, int]:
    """Return what of a task's scores is not as it was first: metrics by their version.

    `normal` is 2 where a label word was compared as it stood and is compared in its normal form
    now. Empty for most tasks; it enters the identities of prompts that are chosen by such a score.
    """
    found = {name: METRICS[name].version for name in spec.metrics if METRICS[name].version > 1}
    by_word = {"f1", "macro_f1", "matthews", "multirc_f1a", "multirc_em"} & set(spec.metrics)
    if any(normal(word) != word for word in spec.labels) and by_word:
        found["normal"] = 2
    return found


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
    answers = answers_of(spec, predictions, examples)
    found = [METRICS[name].per_example(answers) for name in spec.metrics]
    known = [values for values in found if values is not None]
    if not known:
        return [None] * len(examples)
    return [float(sum(row) / len(row)) for row in zip(*known, strict=True)]


def mean_scorer(metrics: Sequence[str], answers: Answers) -> Scorer | None:
    """Return the scorer of a task's score, the mean of its metrics.

    None where one of them is unknown, or cannot be told from these answers.
    """
    if not set(metrics) <= set(METRICS):
        return None
    return scoring.averaged([METRICS[name].scorer(answers) for name in metrics])


def value_scorer(answers: Answers) -> Scorer | None:
    """Return the mean of the examples' own values; None where none were stored."""
    return None if answers.value is None else scoring.share(answers.value)


@dataclass(frozen=True)
class Scored:
    """A metric's value with its percentile bootstrap interval."""

    value: float
    low: float
    high: float


def score_with_intervals(
    spec: TaskSpec,
    predictions: Sequence[str],
    examples: Sequence[Example],
    seed: int = 0,
    resamples: int = 1000,
) -> dict[str, Scored]:
    """Score outputs with every metric of the task and `score`, each with its 95 % interval.

    All metrics see the same resamples, so `score`'s interval is that of their mean.

    Args:
        spec: the task.
        predictions: one output per example.
        examples: the examples that were answered.
        seed: of the resamples.
        resamples: how many.

    Raises:
        DataError: as `score`.
    """
    answers = _asked(spec, predictions, examples)
    values = _scores(spec, answers)
    weights = _weights(answers.examples or (), seed, resamples)
    drawn: dict[str, Floats] = {}
    for name in (*spec.metrics, *spec.beside):
        made = METRICS[name].scorer(answers)
        if made is None:
            raise ValueError(f"metric '{name}' has no weighted form for task '{spec.name}'")
        drawn[name] = np.concatenate([made(part) for part in np.array_split(weights, 8)])
    drawn["score"] = np.mean([drawn[name] for name in spec.metrics], axis=0)
    found = {}
    for name, value in values.items():
        interval = percentile_interval(drawn[name])
        found[name] = Scored(value, interval.low, interval.high)
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
