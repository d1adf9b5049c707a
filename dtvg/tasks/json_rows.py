"""JSON as columns: one object a line, one array of objects, or columns as pandas writes them.

What is wrong is named by line and character, or by the row of an array. docs/tasks.md "Files as
people have them".
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from dtvg.errors import DataError
from dtvg.plain_text import why
from dtvg.tasks.contents import Content, Found, report

LINE, ROW = " line", " row"
"""Columns of line and row numbers where problems are collected; no header can hold these."""


def read_json(content: Content, whole: bool, found: Found, described: bool) -> tuple[pa.Table, str]:
    """Read a JSON file.

    Args:
        content: its text.
        whole: one value for the whole file (`.json`), else one object a line.
        found: collects what is wrong, see `tables.read_table`.
        described: whether a description names the file.

    Returns:
        The columns, and how they were read, in words.

    Raises:
        DataError: as `tables.read_table`.
    """
    if not whole:
        return _lines(content, found, described), "JSON lines"
    list(content.lines(described=described))  # names bytes that are no text by their line
    text = content.data.decode("utf-8")
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text.lstrip()[:1] == "{":
            return _lines(content, found, described), "JSON lines"
        raise DataError(
            f"'{content.path}', line {error.lineno}, character {error.colno}: not valid JSON "
            f"({error.msg}); the file has to hold one array of objects."
        ) from None
    except (RecursionError, ValueError) as error:
        raise DataError(f"'{content.path}': this JSON cannot be used ({why(error)}).") from None
    rows, words = _rows_of(value, content)
    return _objects(rows, content, found), words


def _rows_of(value: Any, content: Content) -> tuple[list[Any], str]:
    """Return the rows in a JSON value: an array, the one array of an object, or columns."""
    if isinstance(value, list):
        return value, "a JSON array"
    if isinstance(value, dict):
        arrays = {k: v for k, v in value.items() if isinstance(v, list)}
        objects = {k: v for k, v in arrays.items() if v and all(isinstance(r, dict) for r in v)}
        if len(objects) == 1:
            name, rows = next(iter(objects.items()))
            return rows, f"the JSON array '{name}'"
        if arrays and len(arrays) == len(value) and len({len(v) for v in arrays.values()}) == 1:
            rows = [
                dict(zip(arrays, row, strict=True)) for row in zip(*arrays.values(), strict=True)
            ]
            return rows, "JSON columns"
        columns = {k: v for k, v in value.items() if isinstance(v, dict)}
        keys = {tuple(v) for v in columns.values()}
        if columns and len(columns) == len(value) and len(keys) == 1:
            return [{k: v[i] for k, v in columns.items()} for i in keys.pop()], "JSON columns"
        if len(value) and not arrays and not columns:
            return [value], "one JSON object"
    held = ", ".join(f"'{key}'" for key in value)[:200] if isinstance(value, dict) else str(value)
    raise DataError(
        f"'{content.path}' holds no array of rows but {held[:200] or 'nothing'}; write one array "
        'of objects such as [{"label": 0}], or one object a line.'
    )


def _objects(rows: list[Any], content: Content, found: Found) -> pa.Table:
    """Return an array's objects as columns."""
    gathered = _Columns(content)
    for number, row in enumerate(rows, start=1):
        try:
            gathered.add(_checked(row, f"'{content.path}', row {number}"), number, number, "row")
        except DataError as problem:
            report(problem, found)
    return gathered.table(found, lines=False)


def _lines(content: Content, found: Found, described: bool) -> pa.Table:
    """Read one JSON object a line; blank lines are left out."""
    gathered = _Columns(content)
    count = 0
    for number, text in content.lines(found, described=described):
        if not text.strip():
            continue
        count += 1
        try:
            gathered.add(_object(text, content, number), number, count, "line")
        except DataError as problem:
            report(problem, found)
    return gathered.table(found, lines=True)


class _Columns:
    """Columns being gathered from objects."""

    def __init__(self, content: Content) -> None:
        """Start without any."""
        self.path = content.path
        self.columns: dict[str, list[Any]] = {}
        self.kinds: dict[str, tuple[str, int]] = {}
        self.lines: list[int] = []
        self.rows: list[int] = []

    def add(self, row: dict[str, Any], line: int, number: int, unit: str) -> None:
        """Add an object, refusing a value of another kind than its column holds so far, or text
        with half a character, as where an emoji was cut through."""
        for name, value in row.items():
            half = _half_character([name, value])
            if half:
                shown = name.encode("utf-8", "backslashreplace").decode()
                raise DataError(
                    f"'{self.path}', {unit} {line}, column '{shown}': {half} is half a character, "
                    "which is no text; remove it."
                )
            kind = _kind(value)
            if kind and self.kinds.setdefault(name, (kind, line))[0] != kind:
                raise DataError(
                    f"'{self.path}', {unit} {line}, column '{name}': got {kind} "
                    f"({str(value)[:60]!r}), but {unit} {self.kinds[name][1]} holds "
                    f"{self.kinds[name][0]}; use one kind of value in a column."
                )
        for name, value in row.items():
            self.columns.setdefault(name, [None] * len(self.rows)).append(value)
        self.lines.append(line)
        self.rows.append(number)
        for values in self.columns.values():
            if len(values) < len(self.rows):
                values.append(None)

    def table(self, found: Found, lines: bool) -> pa.Table:
        """Return the columns, with the places of their rows where problems are collected."""
        if not self.rows and not found:
            raise DataError(f"'{self.path}' is empty; it needs at least one JSON object.")
        arrays = {name: _array(self.path, name, values) for name, values in self.columns.items()}
        if found is not None:
            arrays[ROW] = pa.array(self.rows, pa.int64())
            if lines:
                arrays[LINE] = pa.array(self.lines, pa.int64())
        return pa.table(arrays)


def _object(text: str, content: Content, number: int) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"'{content.path}', line {number}, character {error.pos + 1}: not valid JSON "
            f"({error.msg}); {_advice(text, error, content, number)}."
        ) from None
    except (RecursionError, ValueError) as error:
        raise DataError(
            f"'{content.path}', line {number}: this JSON cannot be used ({why(error)})."
        ) from None
    return _checked(row, f"'{content.path}', line {number}", "each line holds one object")


def _advice(text: str, error: json.JSONDecodeError, content: Content, number: int) -> str:
    """Say what to do about a line that is no JSON."""
    if error.msg == "Extra data" and text.strip()[error.pos :].strip() == ",":
        return "each line has to be one whole object, without the comma after it"
    start = content.data[:64].lstrip()[:1]
    if start == b"[" and number <= 2:
        return "each line has to be one whole object, and this file is one array: call it .json"
    return "each line has to be one whole object"


def _checked(row: Any, place: str, what: str = "each entry is one object") -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f'{place}: got {_kind(row) or "null"}, but {what} such as {{"label": 0}}.')
    return row


def _half_character(value: Any) -> str:
    """Return the first half of a pair that stands alone in a text, as JSON writes it, if any.

    Lists and objects are looked into, the names of their members included.
    """
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, list | dict):
            left += [*one, *one.values()] if isinstance(one, dict) else one
        elif isinstance(one, str) and not one.isascii():
            try:
                one.encode()
            except UnicodeEncodeError as error:
                return f"\\u{ord(one[error.start]):04x}"
    return ""


def _kind(value: Any) -> str | None:
    """Name what a JSON value is; None for null."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "an object"


def _array(path: Any, name: str, values: list[Any]) -> pa.Array:
    try:
        if any(isinstance(v, float) for v in values):
            values = [float(v) if isinstance(v, int) else v for v in values]
        return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        reason = " ".join(str(error).split())[:120].removesuffix(".")
        raise DataError(
            f"'{path}', column '{name}': its values do not have the same type ({reason}); use one "
            "kind of value."
        ) from None
