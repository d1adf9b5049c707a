"""Answers as rows of the log, example by example, so that two runs can be compared later.

Must not import streamlit or plotly. docs/run_files.md "predictions".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dtvg.tasks.metrics import per_example, score_with_intervals
from dtvg.tasks.scoring import accepted
from dtvg.tasks.spec import Example, TaskSpec, example_fingerprint
from dtvg.training.batches import TokenisedTask
from dtvg.training.evaluate import Answer


def values_of(
    spec: TaskSpec, predictions: Sequence[str], examples: Sequence[Example]
) -> list[float]:
    """Return each example's own score, 0..1: the task's, else whether the answer is accepted."""
    hits = [float(hit) for hit in accepted(predictions, examples)]
    # a metric that is no mean over examples (a correlation) has no value of a single one
    values = per_example(spec, predictions, examples)
    return [
        hit if value is None or not math.isfinite(value) else float(value)
        for value, hit in zip(values, hits, strict=True)
    ]


def prediction_columns(
    task: TokenisedTask, answer: Answer, split: str, step: int
) -> dict[str, Any]:
    """Return rows of the table `predictions`.

    Args:
        task: what was asked.
        answer: what was answered.
        split: `validation` or `test`.
        step: steps trained when it was answered.
    """
    rows = [int(row) for row in answer.rows]
    examples = [task.texts[split][row] for row in rows]
    count = len(rows)
    return {
        "step": [step] * count,
        "split": [split] * count,
        "task": [task.spec.name] * count,
        "row": rows,
        "fingerprint": [example_fingerprint(e) for e in examples],
        "target": [e.target for e in examples],
        "prediction": list(answer.predictions),
        "correct": accepted(answer.predictions, examples),
        "value": values_of(task.spec, answer.predictions, examples),
        "margin": None if answer.margins is None else answer.margins,
    }


def intervals_of(task: TokenisedTask, answer: Answer, split: str) -> dict[str, list[float]]:
    """Return each metric's bootstrap interval over the examples answered, `[low, high]`."""
    examples = [task.texts[split][int(row)] for row in answer.rows]
    scored = score_with_intervals(task.spec, answer.predictions, examples)
    return {name: [made.low, made.high] for name, made in scored.items()}
