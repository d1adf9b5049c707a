"""Limits on data files that were uploaded: their bytes, rows and columns, packed and unpacked.

A file of a kilobyte may unpack to gigabytes (one long cell, named by every row), and what it says
about itself does not tell. So files are unpacked piece by piece until they end or a limit is
reached. docs/tasks.md "Your own task without code".
"""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dtvg.errors import DataError
from dtvg.tasks.places import ending_of

PIECE = 1 << 20
ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Limits:
    """What an uploaded file may hold at most."""

    packed: int = 200 << 20
    """Bytes of the file."""
    unpacked: int = 512 << 20
    """Bytes of its content."""
    rows: int = 1_000_000
    columns: int = 1_000
    line: int = 4 << 20
    """Bytes between two line breaks of a text file."""


UPLOAD = Limits()


def check_size(path: Path, limits: Limits = UPLOAD) -> None:
    """Refuse a data file that is, or unpacks to, more than the limits allow.

    Args:
        path: the file; its ending says what it is.
        limits: what is allowed.

    Raises:
        DataError: which limit, how much is allowed, and what to do.
    """
    if path.stat().st_size > limits.packed:
        raise _too_much(path, "bytes", _mib(limits.packed))
    endings = [s.lower() for s in path.suffixes]
    if endings[-1:] in ([".parquet"], [".arrow"], [".feather"]):
        _check_table(path, limits)
    else:
        _check_text(path, limits)


def _check_table(path: Path, limits: Limits) -> None:
    rows = size = 0
    try:
        for batch in _batches(path, limits):
            rows, size = rows + batch.num_rows, size + sum(map(_unpacked, batch.columns))
            if rows > limits.rows:
                raise _too_much(path, "rows", f"{limits.rows:,}")
            if size > limits.unpacked:
                raise _too_much(path, "unpacked bytes", _mib(limits.unpacked))
    except MemoryError:  # also Arrow's: one of its own kind
        raise _too_much(path, "unpacked bytes", _mib(limits.unpacked)) from None
    except (pa.ArrowException, OSError, ValueError):
        return  # who reads the file says what is wrong with it


def _unpacked(column: pa.Array) -> int:
    """Return the bytes of a column; cells that name one long text count as often as they do."""
    kind = column.type
    if pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type):
        lengths = pc.binary_length(column.dictionary).cast(pa.int64())
        return int(pc.sum(lengths.take(column.indices)).as_py() or 0)
    return int(column.nbytes)


def _batches(path: Path, limits: Limits) -> Iterator[pa.RecordBatch]:
    """Yield a table in pieces of few rows."""
    if path.suffix.lower() == ".parquet":
        with pq.ParquetFile(path) as file:
            _check_columns(path, file.metadata.num_columns, limits)
            if file.metadata.num_rows > limits.rows:
                raise _too_much(path, "rows", f"{limits.rows:,}")
            yield from file.iter_batches(batch_size=ROWS_AT_ONCE)
        return
    with path.open("rb") as raw:
        try:
            stream = pa.ipc.open_file(raw)
            _check_columns(path, len(stream.schema), limits)
            for place in range(stream.num_record_batches):
                yield stream.get_batch(place)
        except pa.ArrowInvalid:
            raw.seek(0)
            reader = pa.ipc.open_stream(raw)
            _check_columns(path, len(reader.schema), limits)
            yield from reader


def _check_columns(path: Path, columns: int, limits: Limits) -> None:
    if columns > limits.columns:
        raise _too_much(path, "columns", f"{limits.columns:,}")


def _check_text(path: Path, limits: Limits) -> None:
    size = rows = since = 0
    objects = "json" in ending_of(path)
    first = not objects  # a line of JSON is no header, and may be the whole file
    try:
        with _opened(path) as file:
            while piece := file.read(PIECE):
                size, breaks = size + len(piece), piece.count(b"\n")
                rows += breaks
                if first:
                    header = piece.partition(b"\n")[0]
                    _check_columns(path, max(header.count(c) for c in b",;\t|") + 1, limits)
                    first = False
                since = len(piece) - piece.rfind(b"\n") if breaks else since + len(piece)
                if size > limits.unpacked:
                    raise _too_much(path, "unpacked bytes", _mib(limits.unpacked))
                if rows > limits.rows:
                    raise _too_much(path, "lines", f"{limits.rows:,}")
                if since > limits.line and not objects:
                    raise _too_much(path, "bytes in one line", _mib(limits.line))
    except (OSError, EOFError, ValueError, pa.ArrowException):
        return


def _opened(path: Path) -> IO[bytes] | pa.CompressedInputStream:
    if path.suffix.lower() == ".gz":
        return gzip.open(path)
    if path.suffix.lower() == ".bz2":
        return bz2.open(path)
    if path.suffix.lower() == ".zst":
        return pa.CompressedInputStream(str(path), "zstd")
    return path.open("rb")


def _too_much(path: Path, what: str, most: str) -> DataError:
    return DataError(
        f"'{path.name}' has more than {most} {what}, which is the most that an upload may have. "
        "Put a larger file beside its description yourself and check it with `dtvg tasks check "
        "FILE.yaml`."
    )


def _mib(count: int) -> str:
    return f"{count / (1 << 20):.0f} MiB" if count >= 1 << 20 else f"{count:,}"
