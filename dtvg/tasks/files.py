"""One file's columns: Parquet, Arrow, CSV, TSV or JSON, or what is wrong with it in one sentence.

Reads only the columns that a task needs. Where its files lie is the business of `sources.py`
and `places.py`. docs/tasks.md "Where rows come from".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dtvg.errors import DataError, nearest
from dtvg.tasks import columns
from dtvg.tasks.contents import Found
from dtvg.tasks.dialect import Dialect
from dtvg.tasks.places import ENDINGS, ending_of, expanded
from dtvg.tasks.spec import TaskSpec
from dtvg.tasks.tables import FINDING, LINE, NOTED, ROW, read_table

__all__ = ["ENDINGS", "checked", "own_files", "quoted", "read_file", "reason_of", "text_columns"]
KINDS = {".parquet": "Parquet", ".arrow": "Arrow", ".feather": "Arrow"}
"""Formats of typed columns by ending; all others are text."""


def own_files(spec: TaskSpec, path: Path, split: str) -> list[Path]:
    """Return the files that a name in a description stands for; see `places.expanded`."""
    return expanded(path, split, spec.described_in)


def read_file(path: Path, spec: TaskSpec, found: Found = None) -> pa.Table:
    """Read the columns `spec` needs from one file.

    Args:
        path: the file.
        spec: the task.
        found: collects what is wrong with single lines of a text file, which are left out; the
            columns `LINE` and `ROW` then say where each row stood.

    Raises:
        DataError: if the file cannot be read as what its name says, lacks a column or holds
            no rows.
    """
    kind = KINDS.get(ending_of(path))
    try:
        if not path.stat().st_size:
            raise DataError(f"'{path}' is empty (0 bytes); write the file again.")
        if kind == "Parquet":
            table = _parquet(path, spec)
        elif kind == "Arrow":
            table = _arrow(path, spec)
        else:
            table = _text(path, spec, found)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        kind = kind or ("JSON lines" if "jsonl" in ending_of(path) else "CSV")
        kind = "JSON" if ending_of(path).startswith(".json") and kind == "CSV" else kind
        raise DataError(
            f"'{path}' cannot be read as {kind} ({reason_of(error)}); write the file again."
        ) from None
    places = [name for name in (ROW, LINE) if name in table.column_names]
    if found and not table.num_rows:
        return table
    return checked(table, spec, f"'{path}'", places)


def _text(path: Path, spec: TaskSpec, found: Found) -> pa.Table:
    wanted = [column for column in spec.columns]
    dialect = (spec.dialect or Dialect()) if spec.described_in else None
    return read_table(path, text_columns(spec), found, dialect, wanted)


def text_columns(spec: TaskSpec) -> frozenset[str]:
    """Return the columns of a CSV that are text whatever they look like."""
    named = [column for _, column in spec.fields if column not in spec.list_columns]
    return frozenset([*named, spec.label_column] if spec.described_in else named)


def _parquet(path: Path, spec: TaskSpec) -> pa.Table:
    """Read the needed columns, or all where one is missing (to name those there are)."""
    schema = pq.read_schema(path)
    held = schema.names
    wanted = list(dict.fromkeys(columns.base_of(column, held) for column in spec.columns))
    there = [column for column in wanted if column in held]
    if spec.flatten is not None and len(there) < len(wanted):
        return spec.flatten(pq.read_table(path))
    table = pq.read_table(path, columns=there if len(there) == len(wanted) else None)
    return table.replace_schema_metadata({**(schema.metadata or {}), FINDING: b"Parquet"})


def _arrow(path: Path, spec: TaskSpec) -> pa.Table:
    """Read an Arrow file, a stream (as `datasets` writes it) or a Feather file."""
    with pa.memory_map(str(path)) as source:
        if source.read(6) == b"ARROW1":
            table = pa.ipc.open_file(source).read_all()
        else:
            source.seek(0)
            table = pa.ipc.open_stream(source).read_all()
    held = table.column_names
    wanted = list(dict.fromkeys(columns.base_of(column, held) for column in spec.columns))
    if all(column in held for column in wanted):
        table = table.select(wanted)
    elif spec.flatten is not None:
        table = spec.flatten(table)
    return table.replace_schema_metadata({**(table.schema.metadata or {}), FINDING: b"Arrow"})


def checked(table: pa.Table, spec: TaskSpec, where: str, places: Sequence[str] = ()) -> pa.Table:
    """Return the needed columns of `table`: text as strings, dictionaries as plain values.

    Args:
        table: what was read.
        spec: the task.
        where: how messages name the file.
        places: columns that say where rows stood, which stay.

    Raises:
        DataError: if a column is missing or there are no rows.
    """
    table = columns.with_nested(table, spec.columns)
    missing = [column for column in spec.columns if column not in table.column_names]
    if missing:
        held = [name for name in columns.members(table) if name not in places]
        match = nearest(missing[0], held)
        hint = f"; '{match}' is the nearest to '{missing[0]}'" if match else ""
        raise DataError(
            f"{where} has no column {quoted(missing)}{hint}; task {spec.name} needs "
            f"{quoted(spec.columns)} and the file has {_shown(held)}{_read_as(table)}."
        )
    if not table.num_rows:
        raise DataError(f"{where} has no rows; task {spec.name} needs at least one.")
    if spec.label_values:
        table = columns.with_class_names(table, spec.label_column, spec.label_values)
    table = _own_rows(table, spec, where).select([*spec.columns, *places])
    return columns.as_plain(table, where)


def _shown(names: Sequence[str]) -> str:
    """Return the names of a file's columns, cut where they are long."""
    return quoted([name[:60] for name in names])[:400]


def _read_as(table: pa.Table) -> str:
    """Say how a text file was read where that is not what its name says."""
    noted = (table.schema.metadata or {}).get(NOTED, b"").decode()
    return f" (read as {noted})" if noted else ""


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


def reason_of(error: Exception) -> str:
    """Return a library's message as a part of one sentence: one line, not too long."""
    text = " ".join(str(error).split()).removesuffix(".").replace(". ", "; ")
    return text[:160] or type(error).__name__


def quoted(names: Sequence[object]) -> str:
    """Return names as a message lists them: in quotes, separated by commas."""
    return ", ".join(f"'{name}'" for name in names)
