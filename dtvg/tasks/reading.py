"""`load_task`: one task's three splits as examples, with a fingerprint of what they are.

Read once, kept in the process and under `<home>/cache` until a file changes: a second start
reads no data file. Below the configuration, so settings come in as anything with
`DataSettings`' fields. docs/tasks.md "Where rows come from", "Splits".
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from dtvg.errors import DataError
from dtvg.tasks import hub, prepared, sources
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.labels import label_words, reworded, with_words
from dtvg.tasks.remarks import single_classes
from dtvg.tasks.spec import Example, Rule, TaskSpec
from dtvg.tasks.splits import (
    Splits,
    draw_order,
    leak_note,
    plan_splits,
    reads_test,
    reads_validation,
    with_rule,
)
from dtvg.tasks.text import TEXT_VERSION, sharing_references

SPLIT_NAMES = ("train", "validation", "test")


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

    @property
    def labels(self) -> str:
        """Label words: `numerals` or `words`."""

    @property
    def label_words(self) -> Mapping[str, Sequence[str]]:
        """Own label words by task."""

    @property
    def split_rules(self) -> Mapping[str, Rule]:
        """Split rules by task, in place of the task's own."""


@dataclass(frozen=True)
class TaskData:
    """A task's examples, ready to be tokenised."""

    spec: TaskSpec
    """The task; its labels are the words that are answered."""
    train: Sequence[Example]
    validation: Sequence[Example]
    test: Sequence[Example]
    fingerprint: str
    """16 hex digits over texts, answers, splits, label words and the text version."""
    notes: tuple[str, ...] = ()
    """What a reader should know: rows missing against the official size, leaks, ..."""
    origin: str = ""
    """The folder or hub data set the rows come from."""
    rule: str = ""
    """The split rule that was followed, a key of `dtvg.tasks.splits.RULES`."""

    def split(self, name: str) -> Sequence[Example]:
        """Return the examples of `train`, `validation` or `test`.

        Raises:
            DataError: for any other name.
        """
        rows = {"train": self.train, "validation": self.validation, "test": self.test}
        if name not in rows:
            raise DataError(f"There is no split '{name}'; a task has train, validation and test.")
        return rows[name]


@dataclass(frozen=True)
class _Choice:
    """What decides the examples beside the rows themselves."""

    split: str
    seed: int
    max_train_examples: int | None
    words: tuple[str, ...]


def load_task(name: str, data: DataSettings) -> TaskData:
    """Load the task called `name`: its own files if there are any, else the hub.

    Args:
        name: a task of `dtvg.tasks.catalogue.all_tasks`.
        data: folder, data seed, split rule, limit on training rows, label words.

    Raises:
        ConfigError: if there is no such task, or its label words do not fit.
        DataError: one sentence about the file, row and column that cannot be used.
    """
    return load_spec(find_task(name), data)


def load_spec(spec: TaskSpec, data: DataSettings) -> TaskData:
    """Load a task; see `load_task`."""
    spec = with_rule(spec, data.split_rules)
    folder = sources.find_folder(spec, data.folder)
    return _load(
        spec,
        folder,
        _places(spec, data),
        _choice(spec, data),
        sources.signature(spec, folder),
    )


def load_fresh(spec: TaskSpec, data: DataSettings) -> TaskData:
    """Load a task from its rows as they are now, past every cache; see `load_task`."""
    spec = with_rule(spec, data.split_rules)
    folder = sources.find_folder(spec, data.folder)
    choice = _choice(spec, data)
    final = with_words(spec, choice.words)
    return _prepare(spec, final, folder, _places(spec, data), choice)


def _places(spec: TaskSpec, data: DataSettings) -> tuple[Path, ...]:
    """Return where the task's files are looked for."""
    return tuple(sources.source_of(spec).places(spec, data.folder))


def _choice(spec: TaskSpec, data: DataSettings) -> _Choice:
    """Return what settings decide about a task's examples."""
    words = label_words(spec, data.labels, data.label_words)
    return _Choice(data.split, data.seed, data.max_train_examples, words)


def is_kept(spec: TaskSpec, data: DataSettings) -> bool:
    """Whether the cache on disk has the task, so that loading it asks nobody."""
    spec = with_rule(spec, data.split_rules)
    folder = sources.find_folder(spec, data.folder)
    key = prepared.key_of(spec, folder, _choice(spec, data), sources.signature(spec, folder))
    return key is not None and prepared.place_of(key).is_dir()


def load_split(spec: TaskSpec, data: DataSettings, split: str, rule: str = "plan") -> TaskData:
    """Load what one split needs: all of a task, or one file as it stands.

    Args:
        spec: the task.
        data: as `load_task`; its split rule gives way to `rule`.
        split: `train`, `validation` or `test`.
        rule: `plan` for the split as the literature makes it; `official` for the rows of the
            file (or hub split) of that name, undivided.

    Returns:
        The task with that split; with `official`, the others are empty.

    Raises:
        ConfigError, DataError: as `load_task`; or its description names no file for the split.
    """
    if rule != "official":
        return load_spec(spec, data)
    folder = sources.find_folder(spec, data.folder)
    words = label_words(spec, data.labels, data.label_words)
    rows = tuple(read_official(spec, folder, _places(spec, data), words, split)[0])
    if not rows:
        raise DataError(
            f"Task {spec.name} has no {split} rows in a file of their own; take the split as a run "
            "uses it (rule plan), or name a file for it in the task's description."
        )
    final = with_words(spec, words)
    by_name: dict[str, tuple[Example, ...]] = {name: () for name in SPLIT_NAMES} | {split: rows}
    parts = Splits(by_name["train"], by_name["validation"], by_name["test"])
    origin = str(folder) if folder else hub.hub_name(spec)
    digest = fingerprint_of(final, parts)
    return TaskData(final, parts.train, parts.validation, parts.test, digest, (), origin)


@functools.lru_cache(maxsize=64)
def _load(
    spec: TaskSpec,
    folder: Path | None,
    places: tuple[Path, ...],
    choice: _Choice,
    signature: sources.Signature,
) -> TaskData:
    """Take the task from the cache on disk, or read, split and fingerprint it.

    `signature` only makes a changed file a new entry; `places` is where files were looked for,
    for the message where there are none.
    """
    key = prepared.key_of(spec, folder, choice, signature)
    final = with_words(spec, choice.words)
    kept = prepared.find(key) if key else None
    if kept is not None:
        return TaskData(final, *kept.splits, kept.fingerprint, kept.notes, kept.origin, kept.rule)
    data = _prepare(spec, final, folder, places, choice)
    if key:
        splits = (data.train, data.validation, data.test)
        made = prepared.Prepared(splits, data.fingerprint, data.notes, data.origin, data.rule)
        prepared.keep(key, made)
    return data


def _prepare(
    spec: TaskSpec,
    final: TaskSpec,
    folder: Path | None,
    places: tuple[Path, ...],
    choice: _Choice,
) -> TaskData:
    """Read all splits a task needs and divide them."""
    said: list[str] = []
    read = functools.partial(read_official, spec, folder, places, choice.words, said=said)
    train, train_rows = read("train")
    validation: list[Example] = []
    if reads_validation(spec):
        validation, _ = read("validation")
    test: list[Example] | None = None
    if _test_at_hand(spec, folder, choice):
        test, _ = read("test")
    splits = plan_splits(final, train, validation, test, choice.split, choice.seed)
    if spec.described_in:
        parts = (splits.train, splits.validation, splits.test)
        said += single_classes(final, dict(zip(SPLIT_NAMES, parts, strict=True)))
    used = limit_train(splits.train, choice.max_train_examples, choice.seed)
    splits = replace(splits, train=used)
    return TaskData(
        spec=final,
        train=splits.train,
        validation=splits.validation,
        test=splits.test,
        fingerprint=fingerprint_of(final, splits),
        notes=(*_notes(spec, train_rows, splits), *said),
        origin=str(folder) if folder else hub.hub_name(spec),
        rule=splits.rule,
    )


def _test_at_hand(spec: TaskSpec, folder: Path | None, choice: _Choice) -> bool:
    """Whether a test split is to be read; one that only the task's rule asks for may be absent."""
    if not reads_test(spec, choice.split) or sources.validation_is_test(spec, folder):
        return False
    if spec.split.rule != "official" or choice.split == "official":
        return True
    return sources.has_test(spec, folder)


def read_official(
    spec: TaskSpec,
    folder: Path | None,
    places: tuple[Path, ...],
    words: tuple[str, ...],
    split: str,
    said: list[str] | None = None,
) -> tuple[list[Example], int]:
    """Read one official split as it stands, all of its files in order.

    Args:
        spec: the task, with the words of its description.
        folder: where its files lie, None for the hub.
        places: where files were looked for.
        words: the words that answer for the classes.
        split: `train`, `validation` or `test`.
        said: collects what a reader should know: how files were read, rows left out, remarks.

    Returns:
        Examples and the number of rows read.
    """
    source = sources.source_of(spec)
    tables = source.tables(spec, folder, places, split)
    examples = [e for where, table in tables for e in source.examples(spec, table, where)]
    if said is not None:
        said += source.remarks(spec, split, tables, examples)
    if spec.shared_references:
        examples = sharing_references(examples)
    if words != spec.labels:
        examples = reworded(examples, words)
    return examples, sum(table.num_rows for _, table in tables)


def limit_train(examples: tuple[Example, ...], limit: int | None, seed: int) -> tuple[Example, ...]:
    """Keep at most `limit` examples, drawn by seed, in the order given."""
    if limit is None or limit >= len(examples):
        return examples
    return tuple(examples[i] for i in sorted(draw_order(examples, seed)[:limit]))


def fingerprint_of(spec: TaskSpec, splits: Splits) -> str:
    """Identify what a model sees: texts and answers by split, label words, versions, split rule.

    What a task has of its own (text version, split rule) enters only there, so that no other
    task gets a new fingerprint.
    """
    head: list[Any] = [TEXT_VERSION, spec.name, list(spec.labels)]
    own = {
        "text": spec.text_version if spec.text_version > 1 else None,
        "split": splits.rule if splits.rule in ("halved", "official") else None,
    }
    if any(own.values()):
        head.append({key: value for key, value in own.items() if value})
    digest = hashlib.sha256(json.dumps(head).encode())
    for rows in (splits.train, splits.validation, splits.test):
        digest.update(f"\x1d{len(rows)}".encode())
        for e in rows:
            parts = (e.source, e.target, e.group or "", *e.references)
            digest.update(("\x1e" + "\x1f".join(parts)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def _notes(spec: TaskSpec, at_hand: int, splits: Splits) -> tuple[str, ...]:
    """Collect what a reader should know about these rows."""
    notes = list(splits.notes)
    official = spec.split.train_rows
    if spec.split.rule != "given" and official and at_hand != official:
        notes.insert(0, f"{at_hand} of {official} official training rows are available")
    leak = leak_note(splits)
    return tuple([*notes, leak] if leak else notes)
