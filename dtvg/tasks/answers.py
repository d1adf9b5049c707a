"""Answers from anywhere: a file of predictions, scored like those of a run.

docs/tasks.md "Rows and scores on the command line".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dtvg.errors import DataError
from dtvg.tasks.class_metrics import predicted_label
from dtvg.tasks.metrics import score_with_intervals
from dtvg.tasks.spec import Example, TaskSpec
from dtvg.tasks.tables import lines

KEY = "prediction"


def read_predictions(path: Path) -> list[str]:
    """Read one answer a line: a JSON string or number, or an object with `prediction`.

    Raises:
        DataError: naming the line that is none of these.
    """
    if path.is_dir():
        raise DataError(f"'{path}' is a folder; give a file with one answer per line.")
    try:
        rows = list(lines(path))
    except FileNotFoundError:
        raise DataError(f"There is no file '{path}' with predictions.") from None
    except OSError as error:
        raise DataError(f"'{path}' cannot be read ({error.strerror}).") from None
    while rows and not rows[-1][1].strip():
        rows.pop()
    return [_answer(text, path, number) for number, text in rows]


def _answer(text: str, path: Path, number: int) -> str:
    """Return the answer in one line."""
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise DataError(
            f"'{path}', line {number} is not valid JSON: got {text.strip()[:40]!r}; each line is "
            "a string "
            f'in double quotes or an object such as {{"{KEY}": "0"}}.'
        ) from None
    if isinstance(value, dict):
        if KEY not in value:
            held = ", ".join(f"'{key}'" for key in value)[:120] or "nothing"
            raise DataError(
                f"'{path}', line {number} has no '{KEY}' (it holds {held}); give the answer "
                "under this name."
            )
        value = value[KEY]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DataError(
            f"'{path}', line {number}: got {str(value)[:40]!r} as an answer; write it as a string."
        )
    return value if isinstance(value, str) else json.dumps(value)


def score_answers(
    spec: TaskSpec, predictions: Sequence[str], examples: Sequence[Example], what: str
) -> dict[str, Any]:
    """Score answers with every metric of the task.

    Args:
        spec: the task.
        predictions: one per example.
        examples: what was answered.
        what: how a message names the examples, e.g. `rte validation (plan), rows 0:50`.

    Returns:
        `metrics` by name with `score`, their mean; `intervals` with the 95 % bootstrap interval
        over examples of each; `no_label`: how many outputs are not a label word
        of a task that has some.

    Raises:
        DataError: if the numbers differ.
    """
    if len(predictions) != len(examples):
        raise DataError(
            f"Got {len(predictions)} predictions, but {what} has {len(examples)} rows; give one "
            "answer for each, in the order that `dtvg tasks format` prints, or choose with --rows."
        )
    scored = score_with_intervals(spec, predictions, examples)
    found: dict[str, Any] = {
        "metrics": {name: made.value for name, made in scored.items()},
        "intervals": {name: [made.low, made.high] for name, made in scored.items()},
    }
    if spec.labels:
        found["no_label"] = sum(predicted_label(p, spec.labels) is None for p in predictions)
    return found
