"""`load_task`: one task's three splits as examples, with a fingerprint of what they are.

Read lazily and kept in the process until a file changes. Below `config.py`, so settings
come in as anything with `DataSettings`' fields. Must not import torch or pandas. METHOD.md
"Text-to-text conventions".
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from dtvg.errors import DataError
from dtvg.tasks import files, hub
from dtvg.tasks.spec import Example, TaskSpec, find_task
from dtvg.tasks.splits import Splits, draw_order, leak_note, needs_test, plan_splits
from dtvg.tasks.text import TEXT_VERSION, examples_from


class DataSettings(Protocol):
    """The fields of `DataConfig` that decide which examples a task has."""

    @property
    def folder(self) -> str | None:
        """Folder with one sub-folder per data set, looked at first."""

    @property
    def seed(self) -> int:
        """Seed of splits and draws."""

    @property
    def split(self) -> str:
        """Rule of the splits: `plan` or `official`."""

    @property
    def max_train_examples(self) -> int | None:
        """Limit on training rows."""


@dataclass(frozen=True)
class TaskData:
    """A task's examples, ready to be tokenised."""

    spec: TaskSpec
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    fingerprint: str
    """16 hex digits over texts, answers, splits, label words and the text version."""
    notes: tuple[str, ...] = ()
    """What a reader should know: rows missing against the official size, leaks, ..."""
    origin: str = ""
    """The folder or hub data set the rows come from."""

    def split(self, name: str) -> tuple[Example, ...]:
        """Return the examples of `train`, `validation` or `test`.

        Raises:
            DataError: for any other name.
        """
        rows = {"train": self.train, "validation": self.validation, "test": self.test}
        if name not in rows:
            raise DataError(f"There is no split '{name}'; a task has train, validation and test.")
        return rows[name]


def load_task(name: str, data: DataSettings) -> TaskData:
    """Load the task called `name`: its own files if there are any, else the hub.

    Args:
        name: a task of `dtvg.tasks.spec.all_tasks`.
        data: folder, data seed, split rule and the limit on training rows.

    Raises:
        ConfigError: if there is no such task.
        DataError: one sentence about the file, row and column that cannot be used.
    """
    spec = find_task(name)
    folder = files.find_folder(spec, data.folder)
    return _load(
        spec,
        folder,
        tuple(files.places(spec, data.folder)),
        data.split,
        data.seed,
        data.max_train_examples,
        files.signature(folder),
    )


@functools.lru_cache(maxsize=64)
def _load(
    spec: TaskSpec,
    folder: Path | None,
    places: tuple[Path, ...],
    split: str,
    seed: int,
    max_train_examples: int | None,
    signature: tuple[tuple[str, int, int], ...],
) -> TaskData:
    """Read, split and fingerprint; `signature` only makes a changed file a new entry.

    `places` is where files were looked for, for the message where there are none.
    """
    read = functools.partial(_read, spec, folder, places)
    train, train_rows = read((spec.split.train, "train"))
    validation, _ = read((spec.split.validation, "validation"))
    test: list[Example] | None = None
    if spec.dataset == "demo":
        test, _ = read(("test",))
    elif needs_test(spec, split):
        test, _ = read((spec.split.test or "test", "test"))
    splits = plan_splits(spec, train, validation, test, split, seed)
    used = limit_train(splits.train, max_train_examples, seed)
    splits = Splits(used, splits.validation, splits.test, splits.notes)
    return TaskData(
        spec=spec,
        train=splits.train,
        validation=splits.validation,
        test=splits.test,
        fingerprint=fingerprint_of(spec, splits),
        notes=_notes(spec, train_rows, splits),
        origin=str(folder) if folder else hub.hub_name(spec),
    )


def _read(
    spec: TaskSpec, folder: Path | None, places: tuple[Path, ...], names: Sequence[str]
) -> tuple[list[Example], int]:
    """Read one official split, all of its files in order; return examples and row count."""
    tables: list[tuple[str, pa.Table]] = []
    if folder is None:
        where = f"{hub.hub_name(spec)}, split {names[0]}"
        tables.append((where, hub.read_hub(spec, names[0], places)))
    else:
        for path in files.split_files(spec, folder, names):
            tables.append((f"'{path}'", files.read_file(path, spec)))
    examples = [e for where, table in tables for e in examples_from(spec, table, where)]
    return examples, sum(table.num_rows for _, table in tables)


def limit_train(examples: tuple[Example, ...], limit: int | None, seed: int) -> tuple[Example, ...]:
    """Keep at most `limit` examples, drawn by seed, in the order given."""
    if limit is None or limit >= len(examples):
        return examples
    return tuple(examples[i] for i in sorted(draw_order(examples, seed)[:limit]))


def fingerprint_of(spec: TaskSpec, splits: Splits) -> str:
    """Identify what a model sees: texts and answers by split, label words, text version."""
    digest = hashlib.sha256(json.dumps([TEXT_VERSION, spec.name, list(spec.labels)]).encode())
    for rows in (splits.train, splits.validation, splits.test):
        digest.update(f"\x1d{len(rows)}".encode())
        for e in rows:
            parts = (e.source, e.target, e.group or "", *e.references)
            digest.update(("\x1e" + "\x1f".join(parts)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def _notes(spec: TaskSpec, at_hand: int, splits: Splits) -> tuple[str, ...]:
    """Collect what a reader should know about these rows."""
    notes = list(splits.notes)
    if spec.dataset != "demo" and at_hand != spec.split.train_rows:
        notes.insert(0, f"{at_hand} of {spec.split.train_rows} official training rows at hand")
    leak = leak_note(splits)
    return tuple([*notes, leak] if leak else notes)
