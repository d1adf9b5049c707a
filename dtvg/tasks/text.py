"""Rows become text: task name, then `field: text` pairs; class labels become label words.

The one place where columns turn into `Example`s, and where a value that cannot be used is
named by file, row and column (rows count from 1). docs/tasks.md "Text".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from dtvg.errors import DataError, nearest
from dtvg.tasks.spec import Example, FieldProblem, TaskSpec

TEXT_VERSION = 1
"""Raised when the text of all tasks changes; part of every data fingerprint. Where the text of one
task changes, its own `TaskSpec.text_version` is raised."""


def source_text(name: str, fields: Sequence[tuple[str, str]], row: Mapping[str, Any]) -> str:
    """Compose what the model reads: `rte sentence1: … sentence2: …`.

    Args:
        name: the task's name, the first word.
        fields: pairs (word before the colon, column).
        row: one row by column.
    """
    return " ".join([name, *(f"{word}: {row[column]}" for word, column in fields)])


def examples_from(spec: TaskSpec, table: pa.Table, where: str) -> list[Example]:
    """Turn the rows of one file into examples.

    Args:
        spec: the task.
        table: the file's columns, at least `spec.columns`.
        where: how messages name the file, e.g. `'glue_rte/train.parquet'`.

    Raises:
        DataError: naming file, row and column of the first missing text or of a label
            outside the task's set.
    """
    if spec.convert is not None:
        return _converted(spec, table, where)
    texts = [_texts(table, column, where) for _, column in spec.fields]
    sources = _sources(spec, texts)
    if not spec.labels:
        targets = _texts(table, spec.label_column, where)
        return [Example(s, t, (t,)) for s, t in zip(sources, targets, strict=True)]
    answers = [(word,) for word in spec.labels]
    labels = _labels(spec, table.column(spec.label_column).to_pylist(), where)
    return [
        Example(source, spec.labels[label], answers[label], label)
        for source, label in zip(sources, labels, strict=True)
    ]


def verbatim_examples(spec: TaskSpec, table: pa.Table, where: str) -> list[Example]:
    """Take source and target as they stand; with label words, the target must be one.

    Raises:
        DataError: naming file, row and column of the first value that cannot be used.
    """
    sources = _texts(table, spec.fields[0][1], where)
    targets = _texts(table, spec.label_column, where)
    if not spec.labels:
        return [Example(s, t, (t,)) for s, t in zip(sources, targets, strict=True)]
    index = {word: number for number, word in enumerate(spec.labels)}
    for number, target in enumerate(targets, start=1):
        if target not in index:
            raise _problem(where, number, FieldProblem(
                spec.label_column, target, ", ".join(spec.labels)))  # fmt: skip
    return [Example(s, t, (t,), index[t]) for s, t in zip(sources, targets, strict=True)]


def sharing_references(examples: Sequence[Example]) -> list[Example]:
    """Let examples with the same input accept each other's answers, and be scored together."""
    accepted: dict[str, dict[str, None]] = {}
    for e in examples:
        accepted.setdefault(e.source, {})[e.target] = None
    return [
        replace(e, references=tuple(accepted[e.source]), group=group_name(e.source))
        for e in examples
    ]


def group_name(*parts: str) -> str:
    """Return a short name of what rows are scored together by, from its content."""
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).hexdigest()


def _sources(spec: TaskSpec, texts: list[list[str]]) -> list[str]:
    """Compose all source texts column by column; the same text as `source_text`, faster."""
    template = " ".join([spec.name, *(f"{word}: {{}}" for word, _ in spec.fields)])
    return [template.format(*row) for row in zip(*texts, strict=True)]


def _converted(spec: TaskSpec, table: pa.Table, where: str) -> list[Example]:
    """Apply the task's own `convert` row by row, naming the row it cannot use."""
    convert = spec.convert
    if convert is None:
        return []
    if not spec.described_in:  # a described one looks at its rows itself, and leaves out some
        for _, column in spec.fields:
            if column not in spec.list_columns:
                _texts(table, column, where)
    examples: list[Example] = []
    for number, row in enumerate(table.select(list(spec.columns)).to_pylist(), start=1):
        try:
            examples += convert(row)
        except FieldProblem as problem:
            raise _problem(where, number, problem) from None
    return examples


def _texts(table: pa.Table, column: str, where: str) -> list[str]:
    """Return a text column as strings, refusing other types and rows without a value."""
    values = table.column(column)
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        raise DataError(
            f"{where}, column '{column}' holds {values.type}, but it has to "
            "hold text; write the column as strings."
        )
    texts: list[str] = values.to_pylist()
    if values.null_count:
        raise DataError(
            f"{where}, row {texts.index(None) + 1}, column '{column}': there is no text; "  # type: ignore[arg-type]
            "fill it in or remove the row."
        )
    return texts


def _labels(spec: TaskSpec, values: list[Any], where: str) -> list[int]:
    """Return class indices, refusing any value that names none."""
    count = len(spec.labels)
    indices: list[int] = []
    for number, value in enumerate(values, start=1):
        index = class_index(spec, value)
        if index is None:
            allowed = ", ".join(f"{index} ({spec.title_of(index)})" for index in range(count))
            match = nearest(value, spec.label_titles) if isinstance(value, str) else None
            hint = f"; '{match}' is the nearest" if match else ""
            raise _problem(where, number, FieldProblem(spec.label_column, value, allowed + hint))
        indices.append(index)
    return indices


def class_index(spec: TaskSpec, value: Any) -> int | None:
    """Return the class that a label column's value names, None if it names none.

    Numbers as on the hub (1, 1.0, true and "1" are one), or a class's readable name.
    """
    if isinstance(value, str):
        word = value.strip().lower()
        if word in spec.label_titles:
            return spec.label_titles.index(word)
        return int(word) if word.isdecimal() and int(word) < len(spec.labels) else None
    known = isinstance(value, int | float) and value in range(len(spec.labels))
    return int(value) if known else None


def _problem(where: str, number: int, problem: FieldProblem) -> DataError:
    """Compose the sentence for one value that cannot be used."""
    return DataError(
        f"{where}, row {number}, column '{problem.column}': got {problem.got!r}, "
        f"allowed: {problem.allowed}."
    )
