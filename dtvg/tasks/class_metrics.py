"""Metrics of classes: F1 of class 1, macro F1, Matthews correlation.

Each is given twice: its value by scikit-learn, and its weighted form from counts of classes
(tests write samples out and compare the two). An output that is not a label word is handled metric
by metric. docs/tasks.md "Metrics".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dtvg.errors import DataError
from dtvg.tasks.scoring import Answers, Floats, Scorer, columns, normal, ratio

Ints = npt.NDArray[np.int64]


def predicted_label(prediction: str, words: Sequence[str]) -> int | None:
    """Return the class an output names, None if it is none of the label words."""
    return _places(words).get(normal(prediction))


def _places(words: Sequence[str]) -> dict[str, int]:
    """Return the class of each label word, in the form in which words are compared."""
    return {normal(word): i for i, word in enumerate(words)}


def f1(answers: Answers) -> float:
    """F1 of class 1 of two; an output that is not a label counts as the opposite label."""
    from sklearn.metrics import f1_score

    gold = _gold(answers)
    found = [predicted_label(p, answers.words) for p in answers.prediction]
    filled = [1 - g if p is None else p for p, g in zip(found, gold, strict=True)]
    return float(f1_score(gold, filled, pos_label=1, zero_division=0))


def macro_f1(answers: Answers) -> float:
    """Mean of the F1 of the task's classes; an invalid output hits no class.

    A class that is neither right nor answered anywhere has no F1 and does not count, as in
    SuperGLUE's own script: right answers score 1 on rows that lack a class.
    """
    from sklearn.metrics import f1_score

    found, gold = _with_invalid_class(answers), _gold(answers)
    classes = sorted({*gold, *found} - {len(answers.words)})
    return float(f1_score(gold, found, labels=classes, average="macro", zero_division=0))


def matthews(answers: Answers) -> float:
    """Matthews correlation, 0 where undefined; an invalid output is a class of its own."""
    from sklearn.metrics import matthews_corrcoef

    gold, found = _gold(answers), _with_invalid_class(answers)
    if len(set(gold)) < 2 or len(set(found)) < 2:
        return 0.0
    return float(matthews_corrcoef(gold, found))


def _gold(answers: Answers) -> list[int]:
    """Return the right classes; a task without classes has no class metric."""
    examples = answers.examples or ()
    labels = [e.label for e in examples if e.label is not None]
    if len(labels) != len(answers.target):
        raise DataError(
            f"Task {answers.task} has answers without a class, so its metrics cannot be f1, "
            "macro_f1 or matthews; give the task label words or use accuracy."
        )
    return labels


def _with_invalid_class(answers: Answers) -> list[int]:
    """Return predicted classes, with one more class for outputs that are not a label."""
    found = [predicted_label(p, answers.words) for p in answers.prediction]
    return [len(answers.words) if label is None else label for label in found]


def _classes(answers: Answers) -> tuple[Ints, Ints] | None:
    """Right and answered class of each example, the number of classes for no label.

    From the words alone, so that it can be told from stored answers too; None where a right
    answer is not a label word.
    """
    at = _places(answers.words)
    gold = np.array([at.get(normal(t), -1) for t in answers.target], dtype=np.int64)
    found = np.array([at.get(normal(p), len(at)) for p in answers.prediction], dtype=np.int64)
    return None if not at or (gold < 0).any() else (gold, found)


def f1_scorer(answers: Answers) -> Scorer | None:
    """Return `f1` under weights: from the hits of class 1 and how often it is named."""
    made = _classes(answers)
    if made is None:
        return None
    gold, found = made
    found = np.where(found == len(answers.words), 1 - gold, found)
    hit = (gold == 1) & (found == 1)
    named = (gold == 1).astype(np.float64) + (found == 1)
    return Scorer(
        columns(hit.astype(np.float64), named),
        lambda sums, _: ratio(2 * sums[:, 1], sums[:, 2]),
    )


def macro_f1_scorer(answers: Answers) -> Scorer | None:
    """Return `macro_f1` under weights: as `f1`, over the classes that occur in the sample."""
    made = _classes(answers)
    if made is None:
        return None
    gold, found = made
    classes = np.arange(len(answers.words))
    of_gold, of_found = gold[:, None] == classes, found[:, None] == classes
    hit = (of_gold & of_found).astype(np.float64)
    named = of_gold.astype(np.float64) + of_found
    k = len(classes)

    def finish(sums: Floats, weights: Floats) -> Floats:
        each = ratio(2 * sums[:, 1 : k + 1], sums[:, k + 1 :])
        return ratio(each.sum(axis=1), (sums[:, k + 1 :] > 0).sum(axis=1).astype(np.float64))

    return Scorer(columns(hit, named), finish)


def matthews_scorer(answers: Answers) -> Scorer | None:
    """Return `matthews` under weights: Gorodkin's R_K from the counts of each class."""
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
        return ratio(cover, np.sqrt(np.where(spread > 1e-9, spread, 0.0)))

    return Scorer(columns(hit, of_gold, of_found), finish)
