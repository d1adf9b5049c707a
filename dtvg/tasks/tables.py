"""CSV and JSON lines, read line by line so that what is wrong is named by line and column.

A line or value beyond `LIMIT` bytes is refused before it is parsed: a text of that size is no
example but a broken file. Must not import torch or pandas.
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
BLOCK = 4096
"""Rows turned into Arrow at a time, so that the lists of Python values stay small."""


def read_table(path: Path, text_columns: frozenset[str]) -> pa.Table:
    """Read a CSV, TSV or JSON-lines file.

    Args:
        path: the file; its ending says what it is.
        text_columns: columns that stay text however they look (CSV holds nothing but text).

    Raises:
        DataError: naming line, and byte or column, of the first thing that cannot be read.
    """
    if path.suffix == ".jsonl":
        return _json_lines(path)
    return _csv(path, "\t" if path.suffix == ".tsv" else ",", text_columns)


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line, refusing what is no text.

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
                raise DataError(
                    f"'{path}', line {number} is longer than {LIMIT >> 20} MiB; an example that "
                    "long is most likely a file without line breaks; cut it into lines."
                )
            yield number, _decoded(raw, path, number)


def _without_mark(raw: bytes, path: Path) -> bytes:
    """Drop a UTF-8 byte-order mark; refuse UTF-16 and compressed files by their first bytes."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"'{path}' is written in UTF-16; save it as UTF-8.")
    if raw.startswith((b"\x1f\x8b", b"PK\x03\x04", b"PAR1")):
        kind = {b"\x1f": "gzip", b"PK": "zip or Excel", b"PA": "Parquet"}
        found = next(name for mark, name in kind.items() if raw.startswith(mark))
        raise DataError(f"'{path}' is a {found} file whatever its name says; unpack or rename it.")
    return raw.removeprefix(b"\xef\xbb\xbf")


def _decoded(raw: bytes, path: Path, number: int) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"'{path}', line {number}, byte {error.start + 1} is {raw[error.start]:#04x}, which is "
            "no UTF-8 (Latin-1 or Windows-1252?); save the file as UTF-8."
        ) from None
    if "\0" in text:
        raise DataError(
            f"'{path}', line {number}, character {text.index(chr(0)) + 1} is a NUL, which no text "
            "holds; remove it, or save the file as UTF-8 if it is UTF-16."
        )
    return text


def _csv(path: Path, delimiter: str, text_columns: frozenset[str]) -> pa.Table:
    """Read CSV with a header; quoted cells may span lines."""
    earlier = csv.field_size_limit(LIMIT)
    rows = csv.reader((text for _, text in lines(path)), delimiter=delimiter, strict=True)
    start = 1
    columns: list[list[str]] = []
    names: list[str] = []
    try:
        for row in rows:
            if not row:
                pass
            elif not names:
                names, columns = _header(row, path), [[] for _ in row]
            elif len(row) != len(names):
                raise DataError(
                    f"'{path}', line {start}: got {len(row)} cells, the header has {len(names)} "
                    f"({', '.join(names)[:200]}); quote a cell that holds a "
                    f"{'tab' if delimiter != ',' else 'comma'}."
                )
            else:
                for column, cell in zip(columns, row, strict=True):
                    column.append(cell)
            start = rows.line_num + 1
    except csv.Error as error:
        reason = str(error)
        if "unexpected end" in reason or "field limit" in reason:
            reason = "a quote that is opened here is never closed"
        raise DataError(f"'{path}', line {start}: {reason}; mend the quotes.") from None
    finally:
        csv.field_size_limit(earlier)
    if not names:
        raise DataError(f"'{path}' is empty; it needs a header and at least one row.")
    return pa.table(
        {
            name: pa.array(cells, pa.string()) if name in text_columns else _typed(cells)
            for name, cells in zip(names, columns, strict=True)
        }
    )


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


def _json_lines(path: Path) -> pa.Table:
    """Read one JSON object a line; blank lines are left out."""
    columns: dict[str, list[Any]] = {}
    kinds: dict[str, tuple[str, int]] = {}
    count = 0
    for number, text in lines(path):
        if not text.strip():
            continue
        row = _object(text, path, number)
        for name, value in row.items():
            if name not in columns:
                columns[name] = [None] * count
            kind = _kind(value)
            if kind and kinds.setdefault(name, (kind, number))[0] != kind:
                raise DataError(
                    f"'{path}', line {number}, column '{name}': got {kind} ({str(value)[:60]!r}), "
                    f"but line {kinds[name][1]} holds {kinds[name][0]}; write one kind."
                )
            columns[name].append(value)
        count += 1
        for values in columns.values():
            if len(values) < count:
                values.append(None)
    if not count:
        raise DataError(f"'{path}' is empty; it needs one JSON object a line.")
    return pa.table({name: _array(path, name, values) for name, values in columns.items()})


def _object(text: str, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"'{path}', line {number}, character {error.pos + 1}: no JSON ({error.msg}); each line "
            "holds one whole object."
        ) from None
    except (RecursionError, ValueError) as error:
        raise DataError(f"'{path}', line {number}: no usable JSON ({str(error)[:80]}).") from None
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
            f"'{path}', column '{name}': its values do not fit one type ({reason}); write one kind "
            "of value."
        ) from None
