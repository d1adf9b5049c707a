"""From a row of somebody's own file to text and answer: the template and the converter.

Both are plain frozen data, so that a task described in YAML is equal to itself after being
read again. Must not import torch or pandas.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dtvg.errors import nearest
from dtvg.tasks.spec import Example, FieldProblem

Pieces = tuple[tuple[str, str | None], ...]
"""Literal text, then the column that follows it (None at the end)."""


def parse_template(text: str) -> Pieces:
    """Cut `premise: {premise} hypothesis: {hypothesis}` into literal text and columns.

    A column's name is taken as it stands, spaces and dots included; `{{` is a brace.

    Raises:
        ValueError: one sentence without its full stop.
    """
    try:
        parsed = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"the braces of '{text}' do not match ({error})") from None
    pieces = []
    for literal, column, form, conversion in parsed:
        if form or conversion:
            raise ValueError(f"'{{{column}}}' may hold only a column's name")
        if column == "":
            raise ValueError("empty braces; write a column's name, such as {premise}")
        pieces.append((literal, column))
    if not any(column for _, column in pieces):
        raise ValueError(f"'{text}' names no column; write one in braces, such as {{premise}}")
    return tuple(pieces)


def columns_of(pieces: Pieces) -> tuple[str, ...]:
    """Return the columns a template needs, each once."""
    return tuple(dict.fromkeys(column for _, column in pieces if column))


def key_of(value: Any) -> str:
    """Return a label as it is compared: 1, 1.0 and " 1 " are one label, true is `true`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


@dataclass(frozen=True)
class Converter:
    """What a described task does with a row; called as `TaskSpec.convert`."""

    pieces: Pieces
    label: str
    """Column of the answer."""
    values: tuple[str, ...] = ()
    """Labels as the column holds them, by class; empty: free text."""
    words: tuple[str, ...] = ()
    """What is answered for each class."""

    def __call__(self, row: Mapping[str, Any]) -> list[Example]:
        """Turn one row into its example.

        Raises:
            FieldProblem: the first of `problems`.
        """
        found = self.problems(row)
        if found:
            raise found[0]
        source = "".join(
            literal + (_text(row[column]) or "" if column else "")
            for literal, column in self.pieces
        )
        if not self.values:
            answers = tuple(_answers(row[self.label]))
            return [Example(source, answers[0], answers)]
        index = self.values.index(key_of(row[self.label]))
        word = self.words[index]
        return [Example(source, word, (word,), index)]

    def problems(self, row: Mapping[str, Any]) -> list[FieldProblem]:
        """Return everything in a row that cannot be used."""
        found = []
        for column in columns_of(self.pieces):
            if _text(row[column]) is None:
                found.append(FieldProblem(column, _shown(row[column]), "text"))
        value = row[self.label]
        if not self.values:
            if not _answers(value):
                found.append(FieldProblem(self.label, _shown(value), "an answer in words"))
        elif value is None or key_of(value) not in self.values:
            found.append(
                FieldProblem(self.label, _shown(value), allowed_labels(value, self.values))
            )
        return found


def allowed_labels(value: Any, values: Sequence[str]) -> str:
    """List the labels there are, the nearest one to what was found asked for first."""
    listing = ", ".join(values)
    match = nearest(key_of(value), values) if isinstance(value, str) else None
    return f"{listing} (did you mean '{match}'?)" if match else listing


def _shown(value: Any) -> Any:
    """Return a value short enough for a message."""
    return value[:60] + "…" if isinstance(value, str) and len(value) > 61 else value


def _text(value: Any) -> str | None:
    """Return a value as it is read in a text, None where it is none."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return key_of(value) if value == value else None
    if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        return ", ".join(value)
    return None


def _answers(value: Any) -> list[str]:
    """Return all accepted answers of a free-text column, empty where there is none."""
    if isinstance(value, list | tuple):
        return [v for v in value if isinstance(v, str) and v.strip()]
    text = _text(value)
    return [text] if text and text.strip() else []
