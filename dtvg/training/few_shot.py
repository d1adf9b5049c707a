"""Few-shot targets: k rows drawn by the run seed, for both stages of the target only.

The draw depends on the rows' content and the run seed, so every method of a seed sees the same
rows. Groups (questions, inputs with several references) are drawn first, then one row of each.
Sources and the test split stay whole. docs/method.md "Settings of the paper".
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dtvg import versions
from dtvg.config.sections import DataConfig
from dtvg.errors import DataError
from dtvg.tasks.reading import TaskData, load_task
from dtvg.tasks.spec import Example
from dtvg.tasks.splits import draw_order, spread_order
from dtvg.training.batches import TokenisedTask

VERSION = versions.FEW_SHOT


@dataclass(frozen=True)
class Drawn:
    """Which rows of a task a few-shot run sees, by their number within the split, from 0."""

    train: tuple[int, ...]
    validation: tuple[int, ...] | None
    """None: the whole split."""

    def to_json(self) -> dict[str, Any]:
        """Return what the run's result keeps."""
        kept = "full" if self.validation is None else list(self.validation)
        return {"train_rows": list(self.train), "validation_rows": kept}


def draw(name: str, data: DataConfig, seed: int, version: int = VERSION) -> Drawn:
    """Draw the rows of a few-shot target.

    Args:
        name: the task.
        data: with `few_shot` set.
        seed: the run seed.
        version: of the draw; an earlier one gives the rows that earlier runs recorded.

    The validation split gives what it has where that is fewer (CB has 28 rows there, k is 32).

    Raises:
        DataError: the train split, or one of its classes, has fewer rows than asked for.
    """
    loaded = load_task(name, data)
    count, by_class = data.few_shot or 0, data.few_shot_per_class
    train = _rows(loaded, "train", count, by_class, seed, version)
    if data.few_shot_validation == "full":
        return Drawn(train, None)
    return Drawn(train, _rows(loaded, "validation", count, by_class, seed, version, fewer=True))


def few_shot(task: TokenisedTask, drawn: Drawn) -> TokenisedTask:
    """Return the task with only the drawn rows to train and select on.

    Args:
        task: the whole task.
        drawn: rows of its train and validation splits.
    """
    texts, encoded = dict(task.texts), dict(task.encoded)
    if drawn.validation is not None:
        texts["validation"] = tuple(texts["validation"][row] for row in drawn.validation)
        encoded["validation"] = tuple(encoded["validation"][row] for row in drawn.validation)
    content = f"{task.fingerprint}/{drawn.train}/{drawn.validation}"
    return replace(
        task,
        fingerprint=hashlib.sha256(content.encode()).hexdigest()[:16],
        train=tuple(task.train[row] for row in drawn.train),
        texts=texts,
        encoded=encoded,
    )


def _rows(
    loaded: TaskData,
    split: str,
    count: int,
    by_class: bool,
    seed: int,
    version: int,
    fewer: bool = False,
) -> tuple[int, ...]:
    """Draw rows of a split: `count` in total, or of each class; maybe fewer where there are."""
    rows = loaded.split(split)
    order = _order(loaded.fingerprint, split, seed, version, rows)
    what = f"Task {loaded.spec.name}, split {split}"
    step = "use a smaller data.few_shot"
    if not by_class:
        if len(rows) < count and not fewer:
            raise DataError(
                f"{what} has {len(rows)} rows, but data.few_shot asks for {count}; {step}."
            )
        return tuple(sorted(order[:count]))
    if not loaded.spec.labels:
        raise DataError(
            f"{what} has no classes, so data.few_shot_per_class does not apply; set it to false."
        )
    chosen: dict[int, list[int]] = {label: [] for label in range(len(loaded.spec.labels))}
    for row in order:
        label = rows[row].label
        if label is not None and len(chosen[label]) < count:
            chosen[label].append(row)
    for label, found in chosen.items():
        if len(found) < count and not fewer:
            raise DataError(
                f"{what} has {len(found)} rows of class '{loaded.spec.title_of(label)}', "
                f"data.few_shot asks for {count} of each; {step}."
            )
    return tuple(sorted(row for found in chosen.values() for row in found))


_ORDERS: dict[tuple[str, str, int, int], list[int]] = {}


def _order(
    fingerprint: str, split: str, seed: int, version: int, rows: Sequence[Example]
) -> list[int]:
    """Return the order in which a seed draws rows, worked out once per process."""
    key = (fingerprint, split, seed, version)
    if key not in _ORDERS:
        _ORDERS[key] = (draw_order if version == 1 else spread_order)(rows, seed)
    return _ORDERS[key]
