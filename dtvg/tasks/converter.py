"""A described task's rows become examples: its template, its labels, rows without a label.

Frozen data, so that a described task is equal to itself after being read again. docs/tasks.md
"Your own task without code".
"""

from __future__ import annotations

import math
import string
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import yaml

from dtvg.errors import nearest
from dtvg.tasks.scoring import normal
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
            raise ValueError(f"'{{{column}}}' may contain only the name of a column")
        if column == "":
            raise ValueError("empty braces; write a column's name, such as {premise}")
        pieces.append((literal, column))
    if not any(column for _, column in pieces):
        raise ValueError(f"'{text}' names no column; write a column in braces, such as {{premise}}")
    return tuple(pieces)


def columns_of(pieces: Pieces) -> tuple[str, ...]:
    """Return the columns a template needs, each once."""
    return tuple(dict.fromkeys(column for _, column in pieces if column))


def key_of(value: Any) -> str:
    """Return a label as it is written: 1, 1.0 and " 1 " are one label, true is `true`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def same_key(value: Any) -> str:
    """Return what labels of any type are compared by: 1, 1.0, "1.0", true and "True" are one.

    Texts are compared in their normal form (NFC, single spaces).
    """
    text = normal(key_of(value)).lower()
    if text in ("true", "false"):
        return "1" if text == "true" else "0"
    try:
        number = float(text)
    except ValueError:
        return normal(key_of(value))
    return str(int(number)) if math.isfinite(number) and number.is_integer() else str(number)


def class_of(value: Any, values: Sequence[str]) -> int | None:
    """Return the class that a label column's value names.

    Args:
        value: as the file holds it: text, number, true or false.
        values: labels by class, as the description gives them.

    Returns:
        None where it names none, or could name two.
    """
    key = key_of(value)
    if key in values:
        return values.index(key)
    found = [index for index, one in enumerate(values) if same_key(one) == same_key(value)]
    single = _single(value) if isinstance(value, float) else None
    if not found and single:  # a label may be given with all the digits that 0.1 has in it
        found = [index for index, one in enumerate(values) if _single(one) == single]
    return found[0] if len(found) == 1 else None


def _single(value: Any) -> bytes | None:
    """Return a number in single precision, None where it has none."""
    try:
        return struct.pack("f", float(value))
    except (ValueError, OverflowError):
        return None


UNLABELLED = ("", "-1")
"""What stands for no label where rows without one are left out, beside an empty cell and NaN."""


def has_label(value: Any, unlabelled: Sequence[str]) -> bool:
    """Whether a label column's value is a label, and none of those that stand for no label."""
    if value is None or (isinstance(value, float) and value != value):
        return False
    if isinstance(value, list | tuple):
        return any(has_label(one, unlabelled) for one in value)
    return same_key(value) not in {same_key(one) for one in unlabelled}


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
    unlabelled: tuple[str, ...] = ()
    """Values that stand for no label; rows with one are left out. Empty: they are refused."""

    @property
    def blank(self) -> str:
        """The text of a row whose columns are all empty."""
        return "".join(literal for literal, _ in self.pieces)

    def leaves_out(self, row: Mapping[str, Any]) -> bool:
        """Whether a row has no label and is left out for that."""
        return bool(self.unlabelled) and not has_label(row[self.label], self.unlabelled)

    def __call__(self, row: Mapping[str, Any]) -> list[Example]:
        """Turn one row into its example; a row that is left out becomes none.

        Raises:
            FieldProblem: the first of `problems`.
        """
        if self.leaves_out(row):
            return []
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
        index = class_of(row[self.label], self.values) or 0
        word = self.words[index]
        return [Example(source, word, (word,), index)]

    def problems(self, row: Mapping[str, Any]) -> list[FieldProblem]:
        """Return everything in a row that cannot be used."""
        found: list[FieldProblem] = []
        if self.leaves_out(row):
            return found
        for column in columns_of(self.pieces):
            if _text(row[column]) is None:
                found.append(FieldProblem(column, _shown(row[column]), "text"))
        value = row[self.label]
        if not self.values:
            if not _answers(value):
                found.append(FieldProblem(self.label, _shown(value), "an answer in words"))
        elif value is None or class_of(value, self.values) is None:
            if has_label(value, UNLABELLED):
                allowed = allowed_labels(value, self.values)
            else:
                allowed = ", ".join(self.values)
                allowed += " ('unlabelled: leave_out' leaves out rows without a label)"
            found.append(FieldProblem(self.label, _shown(value), allowed))
        return found


def allowed_labels(value: Any, values: Sequence[str]) -> str:
    """List the labels there are, the nearest one to what was found asked for first."""
    listing = ", ".join(values)
    word = str(value).strip().lower()
    if word in ("yes", "no", "on", "off") and {"true", "false"} & set(values):
        return f"{listing} (YAML reads {word} as true or false: write it in quotes)"
    read = _in_yaml(str(value).strip())
    if read in values:
        return f"{listing} (YAML reads {value} as {read}: write it in quotes)"
    match = nearest(key_of(value), values) if isinstance(value, str) else None
    return f"{listing} (did you mean '{match}'?)" if match else listing


def _in_yaml(word: str) -> str:
    """Return the label that an unquoted word makes in YAML, such as 8 for 010."""
    try:
        return key_of(yaml.safe_load(word)) if len(word) <= 40 else word
    except (yaml.YAMLError, ValueError, OverflowError):
        return word


def _shown(value: Any) -> Any:
    """Return a value short enough for a message."""
    return value[:60] + "…" if isinstance(value, str) and len(value) > 61 else value


def _text(value: Any) -> str | None:
    """Return a value as it is read in a text, None where it is none."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return key_of(value) if value == value else None
    if isinstance(value, datetime):
        midnight = value.time() == time()
        return value.date().isoformat() if midnight else value.isoformat(" ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        return ", ".join(value)
    return None


def _answers(value: Any) -> list[str]:
    """Return all accepted answers of a free-text column, empty where there is none."""
    if isinstance(value, list | tuple):
        return [v for v in value if isinstance(v, str) and v.strip()]
    text = _text(value)
    return [text] if text and text.strip() else []
