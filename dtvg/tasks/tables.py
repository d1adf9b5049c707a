"""CSV and JSON lines, read line by line so that what is wrong is named by line and column.

A line or value beyond `LIMIT` bytes is refused before it is parsed: a text of that size is no
example but a broken file. docs/tasks.md "Where rows come from".
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from dtvg.errors import DataError

LIMIT = 4 << 20
"""Bytes a line (and so a value) may have."""
LINE, ROW = " line", " row"
"""Columns of line and row numbers where problems are collected; no header can hold these."""


Found = list[DataError] | None
"""Where problems are collected, so that reading goes on; None: the first one is raised."""


def read_table(path: Path, text_columns: frozenset[str], found: Found = None) -> pa.Table:
    """Read a CSV, TSV or JSON-lines file.

    Args:
        path: the file; its ending says what it is.
        text_columns: columns that stay text however they look (CSV holds nothing but text).
        found: collects what is wrong line by line; such lines are left out, and the columns
            `LINE` and `ROW` say where each
            row stood.

    Raises:
        DataError: naming line, and byte or column, of the first thing that cannot be read; with
            `found` only where nothing at all can be read.
    """
    if path.suffix == ".jsonl":
        return _json_lines(path, found)
    return _csv(path, "\t" if path.suffix == ".tsv" else ",", text_columns, found)


def _report(problem: DataError, found: Found) -> None:
    """Keep a problem, or raise it where nobody collects."""
    if found is None:
        raise problem
    found.append(problem)


def lines(path: Path, found: Found = None) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line, refusing what is not text.

    Raises:
        DataError: for a line that is too long, is no UTF-8 or holds a NUL.
    """
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(LIMIT + 1):
            number += 1
            if number == 1:
                raw = _without_mark(raw, path)
            if len(raw) > LIMIT:
                _report(DataError(
                    f"'{path}', line {number} is longer than {LIMIT >> 20} MiB; most likely the "
                    "file has no line breaks; put each example on its own line."
                ), found)  # fmt: skip
                while raw and not raw.endswith(b"\n"):
                    raw = file.readline(LIMIT)
                continue
            try:
                text = _decoded(raw, path, number)
            except DataError as problem:
                _report(problem, found)
                continue
            yield number, text


def _without_mark(raw: bytes, path: Path) -> bytes:
    """Drop a UTF-8 byte-order mark; refuse UTF-16 and compressed files by their first bytes."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"'{path}' is written in UTF-16; save it as UTF-8.")
    if raw.startswith((b"\x1f\x8b", b"PK\x03\x04", b"PAR1")):
        kind = {b"\x1f": "gzip", b"PK": "zip or Excel", b"PA": "Parquet"}
        found = next(name for mark, name in kind.items() if raw.startswith(mark))
        raise DataError(f"'{path}' is a {found} file, whatever its name says; unpack or rename it.")
    return raw.removeprefix(b"\xef\xbb\xbf")


def _decoded(raw: bytes, path: Path, number: int) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"'{path}', line {number}, byte {error.start + 1} is {raw[error.start]:#04x}, which is "
            "not UTF-8 (Latin-1 or Windows-1252?); save the file as UTF-8."
        ) from None
    if "\0" in text:
        raise DataError(
            f"'{path}', line {number}, character {text.index(chr(0)) + 1} is a NUL character, "
            "which is not allowed in text; remove it, or save the file as UTF-8 if it is UTF-16."
        )
    return text


def _csv(path: Path, delimiter: str, text_columns: frozenset[str], found: Found) -> pa.Table:
    """Read CSV with a header; quoted cells may span lines."""
    names: list[str] = []
    columns: list[list[str]] = []
    places: dict[str, list[int]] = {LINE: [], ROW: []}
    for number, (line, row) in enumerate(_csv_rows(path, delimiter, found)):
        if not names:
            names, columns = _header(row, path), [[] for _ in row]
        elif len(row) != len(names):
            _report(DataError(
                f"'{path}', line {line}: got {len(row)} cells, the header has {len(names)} "
                f"({', '.join(names)[:200]}); put a cell in quotes if it contains a "
                f"{'tab' if delimiter != ',' else 'comma'}."
            ), found)  # fmt: skip
        else:
            places[LINE].append(line)
            places[ROW].append(number)  # the header is row 0
            for column, cell in zip(columns, row, strict=True):
                column.append(cell)
    if not names:
        raise DataError(f"'{path}' is empty; it needs a header and at least one row.")
    arrays = {
        name: pa.array(cells, pa.string()) if name in text_columns else _typed(cells)
        for name, cells in zip(names, columns, strict=True)
    }
    return pa.table(arrays if found is None else {**arrays, **places})


def _csv_rows(path: Path, delimiter: str, found: Found) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank with the line on which it starts."""
    start: int | None = None

    def texts() -> Iterator[str]:
        nonlocal start
        for number, text in lines(path, found):
            start = start or number
            yield text

    earlier = csv.field_size_limit(LIMIT)
    rows = csv.reader(texts(), delimiter=delimiter, strict=True)
    try:
        while True:
            start = None
            try:
                row = next(rows, None)
            except csv.Error as error:
                reason = str(error)
                if "unexpected end" in reason or "field limit" in reason:
                    reason = "a quotation mark that is opened here is never closed"
                problem = f"'{path}', line {start}: {reason}; fix the quotation marks."
                _report(DataError(problem), found)
                continue
            if row is None:
                return
            if row:
                yield start or 0, row
    finally:
        csv.field_size_limit(earlier)


def _header(row: list[str], path: Path) -> list[str]:
    names = [name.strip() for name in row]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(f"'{path}' has two columns '{twice[0]}'; rename one.")
    return names


def _typed(cells: list[str]) -> pa.Array:
    """Return a column of numbers, or of lists and records in JSON, where all cells are such."""
    for kind, arrow in ((int, pa.int64()), (float, pa.float64())):
        try:
            return pa.array([kind(cell) for cell in cells], arrow)
        except (ValueError, OverflowError):
            continue
    if cells and all(cell[:1] in ("[", "{") for cell in cells):
        try:
            return pa.array([json.loads(cell) for cell in cells])
        except (ValueError, RecursionError, pa.ArrowException):
            pass
    return pa.array(cells, pa.string())


def _json_lines(path: Path, found: Found) -> pa.Table:
    """Read one JSON object a line; blank lines are left out."""
    columns: dict[str, list[Any]] = {}
    kinds: dict[str, tuple[str, int]] = {}
    places: dict[str, list[int]] = {LINE: [], ROW: []}
    count = 0
    for number, text in lines(path, found):
        if not text.strip():
            continue
        count += 1
        try:
            row = _object(text, path, number)
            _same_kinds(row, kinds, path, number)
        except DataError as problem:
            _report(problem, found)
            continue
        for name, value in row.items():
            columns.setdefault(name, [None] * len(places[ROW])).append(value)
        places[LINE].append(number)
        places[ROW].append(count)
        for values in columns.values():
            if len(values) < len(places[ROW]):
                values.append(None)
    if not places[ROW]:
        raise DataError(f"'{path}' is empty; it needs one JSON object per line.")
    arrays = {name: _array(path, name, values) for name, values in columns.items()}
    return pa.table(arrays if found is None else {**arrays, **places})


def _same_kinds(
    row: dict[str, Any], kinds: dict[str, tuple[str, int]], path: Path, number: int
) -> None:
    """Refuse a value of another kind than its column holds so far."""
    for name, value in row.items():
        kind = _kind(value)
        if kind and kinds.setdefault(name, (kind, number))[0] != kind:
            raise DataError(
                f"'{path}', line {number}, column '{name}': got {kind} ({str(value)[:60]!r}), "
                f"but line {kinds[name][1]} holds {kinds[name][0]}; use one kind of value in a "
                "column."
            )


def _object(text: str, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"'{path}', line {number}, character {error.pos + 1}: not valid JSON ({error.msg}); "
            "each line has to be one whole object."
        ) from None
    except (RecursionError, ValueError) as error:
        raise DataError(
            f"'{path}', line {number}: this JSON cannot be used ({str(error)[:80]})."
        ) from None
    if not isinstance(row, dict):
        raise DataError(
            f"'{path}', line {number}: got {_kind(row) or 'null'}, but each line holds one object "
            'such as {"label": 0}.'
        )
    return row


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


def _array(path: Path, name: str, values: list[Any]) -> pa.Array:
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
