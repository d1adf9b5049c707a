"""One file's columns: Parquet, CSV, TSV or JSON lines, or what is wrong with it in one sentence.

Reads only the columns that a task needs. Where its files lie is the business of `sources.py`.
docs/tasks.md "Where rows come from".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dtvg.errors import DataError, nearest
from dtvg.tasks.spec import TaskSpec
from dtvg.tasks.tables import LIMIT, read_table

ENDINGS = (".parquet", ".csv", ".jsonl", ".tsv")
"""What a task's rows may be written as."""


def own_file(spec: TaskSpec, path: Path) -> Path:
    """Return a file that a description names, if there is such a file."""
    if path.suffix not in ENDINGS:
        raise DataError(
            f"'{path}', named in '{spec.described_in}', is not one of {', '.join(ENDINGS)}; write "
            "the rows in one of these formats."
        )
    if path.is_dir():
        raise DataError(f"'{path}', named in '{spec.described_in}', is a folder; name its files.")
    if not path.is_file():
        beside = [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else []
        match = nearest(path.name, beside)
        hint = f"did you mean '{match}'?" if match else "put it there"
        raise DataError(
            f"There is no file '{path}', which '{spec.described_in}' names; {hint.rstrip('?')}."
        )
    return path


def read_file(path: Path, spec: TaskSpec) -> pa.Table:
    """Read the columns `spec` needs from one file.

    Raises:
        DataError: if the file cannot be read as what its name says, lacks a column or holds
            no rows.
    """
    try:
        if not path.stat().st_size:
            raise DataError(f"'{path}' is empty (0 bytes); write the file again.")
        table = _parquet(path, spec) if path.suffix == ".parquet" else read_table(
            path, text_columns(spec)
        )  # fmt: skip
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        kind = {".parquet": "Parquet", ".jsonl": "JSON lines"}.get(path.suffix, "CSV")
        raise DataError(
            f"'{path}' cannot be read as {kind} ({reason_of(error)}); write the file again."
        ) from None
    return checked(table, spec, f"'{path}'")


def text_columns(spec: TaskSpec) -> frozenset[str]:
    """Return the columns of a CSV that are text whatever they look like."""
    named = [column for _, column in spec.fields if column not in spec.list_columns]
    return frozenset([*named, spec.label_column] if spec.described_in else named)


def _parquet(path: Path, spec: TaskSpec) -> pa.Table:
    """Read the needed columns, or all where one is missing (to name those there are)."""
    held = pq.read_schema(path).names
    wanted = [column for column in spec.columns if column in held]
    if spec.flatten is not None and len(wanted) < len(spec.columns):
        return spec.flatten(pq.read_table(path))
    return pq.read_table(path, columns=wanted if len(wanted) == len(spec.columns) else None)


def checked(table: pa.Table, spec: TaskSpec, where: str) -> pa.Table:
    """Return the needed columns of `table`, with dictionary-coded ones as plain values.

    Args:
        table: what was read.
        spec: the task.
        where: how messages name the file.

    Raises:
        DataError: if a column is missing or there are no rows.
    """
    missing = [column for column in spec.columns if column not in table.column_names]
    if missing:
        match = nearest(missing[0], table.column_names)
        hint = f"; '{match}' is the nearest to '{missing[0]}'" if match else ""
        raise DataError(
            f"{where} has no column {quoted(missing)}{hint}; task {spec.name} needs "
            f"{quoted(spec.columns)} and the file has {quoted(table.column_names)[:400]}."
        )
    if not table.num_rows:
        raise DataError(f"{where} has no rows; task {spec.name} needs at least one.")
    table = _own_rows(table, spec, where).select(list(spec.columns))
    for index, column in enumerate(table.schema):
        if pa.types.is_dictionary(column.type):
            plain = table.column(index).cast(column.type.value_type)
            table = table.set_column(index, column.name, plain)
        elif pa.types.is_string_view(column.type):
            table = table.set_column(index, column.name, table.column(index).cast(pa.string()))
    for column in table.schema:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            _refuse_no_text(table.column(column.name), column.name, where)
    return table


def _own_rows(table: pa.Table, spec: TaskSpec, where: str) -> pa.Table:
    """Keep the rows of this task where a data set holds several."""
    if spec.only is None:
        return table
    column, value = spec.only
    kept = table.filter(pc.equal(table.column(column).cast(pa.string()), value))
    if not kept.num_rows:
        found = sorted({str(v) for v in pc.unique(table.column(column)).to_pylist()})
        raise DataError(
            f"{where} has no row of task {spec.name}: column '{column}' must be '{value}', but "
            f"holds {quoted(found)[:200]}."
        )
    return kept


def _refuse_no_text(values: pa.ChunkedArray, column: str, where: str) -> None:
    """Refuse bytes that are not UTF-8, NULs, and texts no example has, naming the row."""
    start = 1
    for chunk in values.chunks:
        try:
            chunk.validate(full=True)
        except pa.ArrowInvalid as error:
            number = re.search(r"index (\d+)", str(error))
            row = f", row {start + int(number[1])}" if number else ""
            raise DataError(
                f"{where}{row}, column '{column}': this is not valid UTF-8; write the file again."
            ) from None
        start += len(chunk)
    for found, what in (
        (pc.match_substring(values, "\0"),
         "contains a NUL character, which is not allowed in text; remove it"),
        (pc.greater(pc.binary_length(values), LIMIT),
         f"is longer than {LIMIT >> 20} MiB, which is too long for an example; shorten it"),
    ):  # fmt: skip
        row = pc.index(found, True).as_py()
        if row >= 0:
            raise DataError(f"{where}, row {row + 1}, column '{column}' {what}.")


def reason_of(error: Exception) -> str:
    """Return a library's message as a part of one sentence: one line, not too long."""
    text = " ".join(str(error).split()).removesuffix(".").replace(". ", "; ")
    return text[:160] or type(error).__name__


def quoted(names: Sequence[object]) -> str:
    """Return names as a message lists them: in quotes, separated by commas."""
    return ", ".join(f"'{name}'" for name in names)
