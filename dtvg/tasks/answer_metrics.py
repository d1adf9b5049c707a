"""Metrics of question answering: SQuAD's exact match and F1, MultiRC's F1 and exact match.

SQuAD's are those of the official v1.1 script, the maximum over accepted answers; MultiRC's are
over all answers and per question. Every function returns a value per example (or question), of
which the metric is the mean. Must not import torch. METHOD.md "Metrics"; arXiv 1606.05250.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from dtvg.errors import DataError
from dtvg.tasks.spec import Example, TaskSpec

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(answer: str) -> str:
    """Lower-case, drop punctuation, then articles, then extra white space: SQuAD's rule."""
    bare = answer.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def answer_f1(prediction: str, gold: str) -> float:
    """Return the F1 of the words two normalised answers share; 0 where they share none."""
    found, right = normalise(prediction).split(), normalise(gold).split()
    shared = sum((Counter(found) & Counter(right)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(found), shared / len(right)
    return 2 * precision * recall / (precision + recall)


def squad_f1_values(predictions: Sequence[str], examples: Sequence[Example]) -> list[float]:
    """Return each answer's best F1 over the accepted answers."""
    return [
        max(answer_f1(p, gold) for gold in e.references)
        for p, e in zip(predictions, examples, strict=True)
    ]


def squad_em_values(predictions: Sequence[str], examples: Sequence[Example]) -> list[float]:
    """Return 1 where an answer equals an accepted one after SQuAD's normalisation, else 0."""
    return [
        float(normalise(p) in {normalise(gold) for gold in e.references})
        for p, e in zip(predictions, examples, strict=True)
    ]


def squad_f1(predictions: Sequence[str], examples: Sequence[Example], spec: TaskSpec) -> float:
    """Mean over questions of the best F1 of words over the accepted answers."""
    return sum(squad_f1_values(predictions, examples)) / len(examples)


def squad_em(predictions: Sequence[str], examples: Sequence[Example], spec: TaskSpec) -> float:
    """Share of answers that equal an accepted one after SQuAD's normalisation."""
    return sum(squad_em_values(predictions, examples)) / len(examples)


def question_values(
    predictions: Sequence[str], examples: Sequence[Example], spec: TaskSpec
) -> dict[str, float]:
    """Return 1 for each question (`Example.group`) whose answers are all judged right, else 0.

    Raises:
        DataError: an example belongs to no question.
    """
    right: dict[str, float] = {}
    for p, e in zip(predictions, examples, strict=True):
        if e.group is None:
            raise DataError(
                f"Task {spec.name}: multirc_em needs the question of every answer, and an example "
                "has no group; use accuracy for a task without questions."
            )
        hit = float(" ".join(p.split()) in e.references)
        right[e.group] = min(right.get(e.group, 1.0), hit)
    return right


def multirc_em(predictions: Sequence[str], examples: Sequence[Example], spec: TaskSpec) -> float:
    """Share of questions all of whose answers are judged right."""
    right = question_values(predictions, examples, spec)
    return sum(right.values()) / len(right)
