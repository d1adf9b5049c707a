"""How answers are scored: each metric is one function, a task's score is their mean.

Every value is 0..1, or a correlation in -1..1. `multirc_f1a` is the F1 of class 1 over all
answers. An output that is no label is handled as METHOD.md "Metrics" says, metric by metric.
Must not import torch; scikit-learn and scipy are imported when first used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from dtvg.errors import DataError
from dtvg.tasks.answer_metrics import multirc_em, squad_em, squad_f1
from dtvg.tasks.spec import Example, TaskSpec
from dtvg.tasks.text_metrics import bleu, chrf, meteor_stem, rouge1, rouge2, rouge_l

Metric = Callable[[Sequence[str], Sequence[Example], TaskSpec], float]


def predicted_label(prediction: str, spec: TaskSpec) -> int | None:
    """Return the class an output names, None if it is no label word of the task."""
    word = prediction.strip()
    return spec.labels.index(word) if word in spec.labels else None


def accuracy(predictions: Sequence[str], examples: Sequence[Example], spec: TaskSpec) -> float:
    """Share of outputs that equal an accepted answer, outer white space aside."""
    hits = sum(
        " ".join(p.split()) in {" ".join(r.split()) for r in e.references}
        for p, e in zip(predictions, examples, strict=True)
    )
    return hits / len(examples)


def f1(predictions: Sequence[str], examples: Sequence[Example], spec: TaskSpec) -> float:
    """F1 of class 1 of two; an output that is no label counts as the opposite label."""
    from sklearn.metrics import f1_score

    gold = _gold(examples, spec)
    found = [predicted_label(p, spec) for p in predictions]
    filled = [1 - g if p is None else p for p, g in zip(found, gold, strict=True)]
    return float(f1_score(gold, filled, pos_label=1, zero_division=0))


def macro_f1(predictions: Sequence[str], examples: Sequence[Example], spec: TaskSpec) -> float:
    """Mean over all of the task's classes of their F1; an invalid output hits no class."""
    from sklearn.metrics import f1_score

    found = _with_invalid_class(predictions, spec)
    classes = list(range(len(spec.labels)))
    gold = _gold(examples, spec)
    return float(f1_score(gold, found, labels=classes, average="macro", zero_division=0))


def matthews(predictions: Sequence[str], examples: Sequence[Example], spec: TaskSpec) -> float:
    """Matthews correlation, 0 where undefined; an invalid output is a class of its own."""
    from sklearn.metrics import matthews_corrcoef

    gold, found = _gold(examples, spec), _with_invalid_class(predictions, spec)
    if len(set(gold)) < 2 or len(set(found)) < 2:
        return 0.0
    return float(matthews_corrcoef(gold, found))


def pearson(predictions: Sequence[str], examples: Sequence[Example], spec: TaskSpec) -> float:
    """Pearson correlation of numbers; no number counts as -1, an undefined value as 0."""
    from scipy.stats import pearsonr

    return _correlation(pearsonr, predictions, examples)


def spearman(predictions: Sequence[str], examples: Sequence[Example], spec: TaskSpec) -> float:
    """Spearman correlation of numbers; no number counts as -1, an undefined value as 0."""
    from scipy.stats import spearmanr

    return _correlation(spearmanr, predictions, examples)


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "f1": f1,
    "macro_f1": macro_f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
    "squad_f1": squad_f1,
    "squad_em": squad_em,
    "multirc_f1a": f1,
    "multirc_em": multirc_em,
    "rouge1": rouge1,
    "rouge2": rouge2,
    "rougeL": rouge_l,
    "bleu": bleu,
    "meteor_stem": meteor_stem,
    "chrf": chrf,
}


def score(
    spec: TaskSpec, predictions: Sequence[str], examples: Sequence[Example]
) -> dict[str, float]:
    """Score outputs with every metric of the task, plus `score`, their mean.

    Args:
        spec: the task.
        predictions: one output per example.
        examples: the examples that were answered, in the same order.

    Raises:
        DataError: if there is nothing to score or the numbers of rows differ.
    """
    if not examples or len(predictions) != len(examples):
        raise DataError(
            f"Task {spec.name}: got {len(predictions)} outputs for {len(examples)} examples; "
            "scoring needs one output for each of at least one example."
        )
    predictions, examples = asked_once(predictions, examples)
    values = {name: METRICS[name](predictions, examples, spec) for name in spec.metrics}
    return {**values, "score": sum(values.values()) / len(values)}


def asked_once(
    predictions: Sequence[str], examples: Sequence[Example]
) -> tuple[list[str], list[Example]]:
    """Drop examples of a group that ask what another one asks: ReCoRD's and generation's.

    Such rows differ only in which accepted answer is trained on; the first one counts.
    """
    seen: set[tuple[str, str]] = set()
    kept = []
    for p, e in zip(predictions, examples, strict=True):
        key = (e.group or "", e.source)
        if e.group is None or key not in seen:
            kept.append((p, e))
        seen.add(key)
    return [p for p, _ in kept], [e for _, e in kept]


def _gold(examples: Sequence[Example], spec: TaskSpec) -> list[int]:
    """Return the classes of `examples`; a task without classes has no class metric."""
    labels = [e.label for e in examples if e.label is not None]
    if len(labels) != len(examples):
        raise DataError(
            f"Task {spec.name} has answers without a class, so none of its metrics can be "
            "f1, macro_f1 or matthews; give the task label words or use accuracy."
        )
    return labels


def _with_invalid_class(predictions: Sequence[str], spec: TaskSpec) -> list[int]:
    """Return predicted classes, with one more class for outputs that are no label."""
    found = [predicted_label(p, spec) for p in predictions]
    return [len(spec.labels) if label is None else label for label in found]


def _correlation(
    measure: Callable[..., object],
    predictions: Sequence[str],
    examples: Sequence[Example],
) -> float:
    """Correlate outputs with answers as numbers; constant or single values give 0."""
    found = [_number(p, -1.0) for p in predictions]
    gold = [_number(e.target, 0.0) for e in examples]
    if len(set(found)) < 2 or len(set(gold)) < 2:
        return 0.0
    value = float(getattr(measure(found, gold), "statistic", math.nan))
    return value if math.isfinite(value) else 0.0


def _number(text: str, otherwise: float) -> float:
    """Return `text` as a finite number, or `otherwise` where it is none."""
    try:
        value = float(text)
    except ValueError:
        return otherwise
    return value if math.isfinite(value) else otherwise
