"""Rows as Arrow tables with explicit schemas, and part files with their names.

Part files are `part-<first>-<last>.parquet`: steps for `steps` and `sources`, running row
numbers (from 1) for `evals` and `events`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dtvg.errors import StoreError
from dtvg.records import DIGESTS_SINCE, SCHEMA_VERSION, TABLES
from dtvg.store import digests

BY_STEP = ("steps", "sources")
"""Tables whose parts are named by steps."""

_TYPES = {
    "int64": pa.int64(),
    "int32": pa.int32(),
    "float64": pa.float64(),
    "float32": pa.float32(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "list<float32>": pa.list_(pa.float32()),
}

_PART = re.compile(r"part-(\d+)-(\d+)\.parquet")


def schema_of(table: str) -> pa.Schema:
    """Return the Parquet schema of a table of the log, schema version in its metadata."""
    fields = [pa.field(c.name, _TYPES[c.type], nullable=c.nullable) for c in TABLES[table]]
    return pa.schema(fields, metadata={"dtvg_schema": str(SCHEMA_VERSION), "dtvg_table": table})


def schema_version(schema: pa.Schema) -> int:
    """Return the version of the log's schema that a part file was written under."""
    return int((schema.metadata or {}).get(b"dtvg_schema", 1))


def to_arrow(table: str, columns: Mapping[str, Any]) -> pa.Table:
    """Build rows of a table; columns not given are null.

    Args:
        table: one of `records.TABLES`.
        columns: sequences or arrays of equal length; the Gram matrix as `[rows, values]`.

    Raises:
        StoreError: an unknown column, or values that do not fit the column's type.
    """
    schema = schema_of(table)
    strange = sorted(set(columns) - set(schema.names))
    if strange:
        raise StoreError(f"Table '{table}' has no column '{strange[0]}'; it has {schema.names}.")
    count = len(next(iter(columns.values())))
    arrays = []
    for field in schema:
        values = columns.get(field.name)
        try:
            arrays.append(_array(field, values, count))
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise StoreError(f"Column '{field.name}' of '{table}': {error}.") from None
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(field: pa.Field, values: Any, count: int) -> pa.Array:
    if values is None:
        return pa.nulls(count, field.type)
    if isinstance(values, np.ndarray) and values.ndim == 2:
        flat = pa.array(values.astype(np.float32).ravel())
        offsets = pa.array(np.arange(0, values.size + 1, values.shape[1], dtype=np.int32))
        return pa.ListArray.from_arrays(offsets, flat)
    return pa.array(values, type=field.type)


@dataclass(frozen=True, order=True)
class Part:
    """A visible part file: what it covers and where it is."""

    first: int
    last: int
    path: Path

    @property
    def size(self) -> int:
        """Steps or rows it covers."""
        return self.last - self.first + 1


def part_name(first: int, last: int) -> str:
    """Return the file name of the part that covers `first` to `last`."""
    return f"part-{first:09d}-{last:09d}.parquet"


def parts(folder: Path, hidden: Container[str] = ()) -> list[Part]:
    """Return the visible part files of a table's folder; other files are passed over.

    Args:
        folder: the table's; a symbolic link is nobody's folder.
        hidden: names of files that are committed and have not got their names yet.
    """
    place = str(folder)  # names as text: a list of 10,000 runs asks for two tables of each
    try:
        names = [] if os.path.islink(place) else os.listdir(place)
    except OSError:
        return []
    found = []
    for there in names:
        name = there[1:] if there.startswith(".part-") and there[1:] in hidden else there
        match = _PART.fullmatch(name)
        if match:
            found.append(Part(int(match[1]), int(match[2]), folder / there))
    return sorted(found)


def cover(found: Iterable[Part]) -> list[Part]:
    """Choose parts so that each row stands once: the widest covering file is preferred."""
    chosen: list[Part] = []
    for part in sorted(found, key=lambda p: (p.first, -p.last)):
        if not chosen or part.last > chosen[-1].last:
            chosen.append(part)
    return chosen


RUN_ID = b"dtvg_run"
"""In the metadata of a part file: whose rows it holds (`run_id` of `provenance.json`)."""


def write_parquet(data: pa.Table, path: Path, run_id: str = "") -> None:
    """Write a table as one zstd Parquet file with its digest; the caller renames and syncs.

    Args:
        data: the rows.
        path: where.
        run_id: whose rows they are; empty: as `data` says, or not known.
    """
    metadata = {**(data.schema.metadata or {}), b"dtvg_digest": digests.of_table(data).encode()}
    if run_id:
        metadata[RUN_ID] = run_id.encode()
    made = data.replace_schema_metadata(metadata)
    pq.write_table(made, path, compression="zstd", compression_level=1, write_page_checksum=True)


READING_ERRORS = (pa.ArrowException, OSError, ValueError, KeyError, MemoryError, OverflowError)
"""What Arrow raises on a damaged file, beside a missing one."""


SMALL = 1 << 17
"""Bytes of a file that is read whole, whatever is wanted of it."""


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a part file as it is; pages are compared with their checksums.

    Raises:
        FileNotFoundError: it is not there.
        StoreError: it is damaged.
    """
    try:
        source = _source(path)
        with pq.ParquetFile(source, page_checksum_verification=True) as file:
            return file.read(columns, use_threads=source is path)  # handing out takes longer
    except FileNotFoundError:
        raise
    except READING_ERRORS as error:
        why = " ".join(str(error).split())[:200]
        raise StoreError(f"'{path}' is not a readable Parquet file ({why}).") from None


def read_part(part: Part, columns: list[str] | None, schema: pa.Schema) -> pa.Table:
    """Read one part file under today's schema; columns it does not have are null."""
    data = read_parquet(part.path, columns)  # skips columns it lacks
    wanted = schema if columns is None else pa.schema([schema.field(c) for c in columns])
    names = set(data.column_names)
    try:
        arrays = [
            _as(data.column(f.name), f.type) if f.name in names else pa.nulls(data.num_rows, f.type)
            for f in wanted
        ]
    except READING_ERRORS as error:
        raise StoreError(
            f"'{part.path}' contains other columns than it should ({error})."
        ) from None
    for field, array in zip(wanted, arrays, strict=True):
        if not field.nullable and array.null_count:
            raise StoreError(
                f"'{part.path}' is damaged ({array.null_count} values of its column "
                f"'{field.name}' are missing)."
            )
    return pa.Table.from_arrays(arrays, schema=wanted)


def _as(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Return a column as one of a type; to cast one to its own takes longer than to read it."""
    return column if column.type == kind else column.cast(kind)


def _source(path: Path) -> Path | pa.BufferReader:
    """Return what Arrow reads a file from: a small one is quicker from memory."""
    if os.stat(path).st_size > SMALL:
        return path
    return pa.BufferReader(path.read_bytes())


def read_checked(path: Path, run_id: str = "") -> pa.Table:
    """Read a part file and compare its rows with the digest it carries.

    Args:
        path: the file.
        run_id: whose rows it should hold; empty: not known.

    Raises:
        FileNotFoundError: it is not there.
        StoreError: it is damaged, or another run's.
    """
    data = read_parquet(path)
    metadata = data.schema.metadata or {}
    owner = metadata.get(RUN_ID, b"").decode("ascii", "replace")
    if owner and run_id and owner != run_id:
        raise StoreError(f"'{path}' holds the rows of another run.")
    try:
        version = schema_version(data.schema)
    except ValueError:
        raise StoreError(f"'{path}' is damaged (its schema version is no number).") from None
    given = metadata.get(b"dtvg_digest", b"").decode("ascii", "replace")
    if not given and version < DIGESTS_SINCE:
        return data
    if given != digests.of_table(data):
        raise StoreError(f"'{path}' is damaged (its rows differ from its digest).")
    return data


def has_digest(path: Path) -> bool:
    """Whether a part file carries a digest; those written before digests carry none."""
    try:
        return b"dtvg_digest" in (pq.read_schema(path).metadata or {})
    except READING_ERRORS:
        return True


def concatenate(table: str, batches: Sequence[pa.Table]) -> pa.Table:
    """Join batches of a table under its schema."""
    return pa.concat_tables(batches) if batches else schema_of(table).empty_table()
