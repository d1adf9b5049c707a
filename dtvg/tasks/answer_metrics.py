"""Metrics of question answering: SQuAD's exact match and F1, MultiRC's exact match.

SQuAD's are those of the official v1.1 script, the maximum over accepted answers (arXiv
1606.05250); MultiRC's exact match is over questions, all of whose answers must be judged right
(Khashabi et al. 2018). docs/tasks.md "Metrics".
"""

from __future__ import annotations

import re
import string
from collections import Counter

import numpy as np

from dtvg.errors import DataError
from dtvg.tasks.scoring import Answers, Scorer, normal

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(answer: str) -> str:
    """Lower-case, drop punctuation, then articles, then extra white space: SQuAD's rule."""
    bare = normal(answer).lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def answer_f1(prediction: str, gold: str) -> float:
    """Return the F1 of the words two normalised answers share; 0 where they share none."""
    found, right = normalise(prediction).split(), normalise(gold).split()
    shared = sum((Counter(found) & Counter(right)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(found), shared / len(right)
    return 2 * precision * recall / (precision + recall)


def squad_f1_values(answers: Answers) -> list[float] | None:
    """Return each answer's best F1 over the accepted answers."""
    if answers.examples is None:
        return None
    return [
        max(answer_f1(p, gold) for gold in e.references)
        for p, e in zip(answers.prediction, answers.examples, strict=True)
    ]


def squad_em_values(answers: Answers) -> list[float] | None:
    """Return 1 where an answer equals an accepted one after SQuAD's normalisation, else 0."""
    if answers.examples is None:
        return None
    return [
        float(normalise(p) in {normalise(gold) for gold in e.references})
        for p, e in zip(answers.prediction, answers.examples, strict=True)
    ]


def _questions(answers: Answers) -> dict[str, float]:
    """Return 1 for each question (`Example.group`) whose answers are all judged right, else 0.

    Raises:
        DataError: an example belongs to no question.
    """
    right: dict[str, float] = {}
    for p, e in zip(answers.prediction, answers.examples or (), strict=True):
        if e.group is None:
            raise DataError(
                f"Task {answers.task}: multirc_em needs the question of every answer, and an "
                "example has no group; use accuracy for a task without questions."
            )
        hit = float(normal(p) in {normal(reference) for reference in e.references})
        right[e.group] = min(right.get(e.group, 1.0), hit)
    return right


def multirc_em(answers: Answers) -> float:
    """Share of questions all of whose answers are judged right."""
    right = _questions(answers)
    return sum(right.values()) / len(right)


def multirc_em_scorer(answers: Answers) -> Scorer | None:
    """Return `multirc_em` under weights that are equal within a question.

    A question counts where its first answer stands; None without the questions.
    """
    if answers.examples is None:
        return None
    right = _questions(answers)
    first, hit = np.zeros(len(answers.target)), np.zeros(len(answers.target))
    seen: set[str] = set()
    for i, e in enumerate(answers.examples):
        if e.group is not None and e.group not in seen:
            seen.add(e.group)
            first[i], hit[i] = 1.0, right[e.group]
    return Scorer(
        np.column_stack([np.ones(len(first)), first, hit]),
        lambda sums, _: np.asarray(sums[:, 2] / sums[:, 1]),
    )
