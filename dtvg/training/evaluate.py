"""Scoring prompts by generation, all runs of a cohort together.

Examples of every run are sorted by length, answered greedily in shared batches and scored
with their task's own metrics. Must not import streamlit or plotly. METHOD.md "Metrics".
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dtvg.backbones.base import Backbone, Encoded
from dtvg.tasks.metrics import score
from dtvg.tasks.spec import Example, TaskSpec
from dtvg.tasks.splits import draw_order
from dtvg.training.batches import TokenisedTask, cut


@dataclass(frozen=True)
class Question:
    """One run's prompt to be scored on rows of one task."""

    prompt: Float[Tensor, "r d"]
    task: TokenisedTask
    split: str
    rows: np.ndarray


@dataclass(frozen=True)
class Answer:
    """What came out of a `Question`."""

    metrics: dict[str, float]
    """By metric name; `score` is their mean."""
    n_examples: int
    seconds: float
    predictions: tuple[str, ...]


def evaluation_rows(task: TokenisedTask, split: str, at_most: int, data_seed: int) -> np.ndarray:
    """Return the rows scored: all, or a seeded sample, the same for every run and step.

    The sample depends on the rows' content and the data seed, not on their order in a file.
    """
    texts = task.texts[split]
    if len(texts) <= at_most:
        return np.arange(len(texts))
    key = (task.fingerprint, split, at_most, data_seed)
    if key not in _SAMPLES:
        _SAMPLES[key] = np.sort(np.array(draw_order(texts, data_seed)[:at_most]))
    return _SAMPLES[key]


_SAMPLES: dict[tuple[str, str, int, int], np.ndarray] = {}


def answer(backbone: Backbone, questions: Sequence[Question], budget: int) -> list[Answer]:
    """Score every question; batches mix runs and tasks.

    Args:
        backbone: the frozen model.
        questions: prompts with the rows to answer.
        budget: padded tokens per batch.

    Returns:
        One answer per question; seconds are shared out by examples.
    """
    started = time.perf_counter()
    backbone.training(False)
    examples: list[Encoded] = []
    owner: list[int] = []
    for number, question in enumerate(questions):
        encoded = question.task.encoded[question.split]
        examples += [encoded[int(row)] for row in question.rows]
        owner += [number] * len(question.rows)
    predictions = [""] * len(examples)
    prompts = torch.stack([q.prompt for q in questions]) if questions else torch.empty(0)
    limits = np.array([questions[i].task.spec.max_target_tokens for i in owner], dtype=np.int64)
    for limit in np.unique(limits):
        # tasks with another answer limit never share a batch: an answer is the one it is alone
        places = np.flatnonzero(limits == limit)
        lengths = [len(examples[i].source) for i in places]
        for piece in cut(lengths, prompts.shape[1], budget):
            chosen = places[piece]
            whose = torch.as_tensor([owner[i] for i in chosen], device=prompts.device)
            sources = [examples[i].source for i in chosen]
            texts = backbone.generate(prompts[whose], sources, int(limit))
            for i, text in zip(chosen, texts, strict=True):
                predictions[i] = text
    elapsed = time.perf_counter() - started
    answers, start = [], 0
    for question in questions:
        part = tuple(predictions[start : start + len(question.rows)])
        start += len(part)
        spec, texts_of = question.task.spec, question.task.texts[question.split]
        metrics = _scores(spec, part, [texts_of[int(row)] for row in question.rows])
        share = elapsed * len(part) / max(1, len(examples))
        answers.append(Answer(metrics, len(part), share, part))
    return answers


def _scores(
    spec: TaskSpec, predictions: Sequence[str], examples: Sequence[Example]
) -> dict[str, float]:
    return {name: float(value) for name, value in score(spec, predictions, examples).items()}
