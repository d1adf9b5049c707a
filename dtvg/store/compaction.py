"""Fewer, larger part files: about `compact_rows` rows each, so that queries open few files.

A merged file is complete and in place before the small ones go; readers prefer the widest
covering file, so each row stands once at every moment. Must not import torch.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dtvg.store.files import sync_file, sync_folder
from dtvg.store.layout import RunDir
from dtvg.store.tables import Part, cover, part_name, parts, schema_of, write_parquet

log = logging.getLogger(__name__)


def compact(run: RunDir, table: str, rows: int, everything: bool = False) -> int:
    """Merge runs of small part files of a table.

    Args:
        run: whose table.
        table: which.
        rows: rows a merged file should hold at least.
        everything: also merge what stays below that (when the run has ended).

    Returns:
        How many files were merged away; a disk that refuses costs nothing but speed, so it is
        tried again with the next commit.
    """
    try:
        return _compact(run.table_dir(table), table, rows, everything)
    except OSError as error:
        log.warning("'%s' stays in small files (%s)", run.table_dir(table), error)
        return 0


def _compact(folder: Path, table: str, rows: int, everything: bool) -> int:
    found = parts(folder)
    kept = cover(found)
    for part in found:
        if part not in kept:
            part.path.unlink(missing_ok=True)
    if len(kept) < 2 or (not everything and len(kept) < 8):
        return 0
    merged, count = 0, 0
    group: list[Part] = []
    for part in kept:
        size = pq.read_metadata(part.path).num_rows
        if size >= rows:
            if everything:
                merged += _merge(table, group)
            group, count = [], 0
            continue
        group.append(part)
        count += size
        if count >= rows:
            merged += _merge(table, group)
            group, count = [], 0
    if everything:
        merged += _merge(table, group)
    return merged


def _merge(table: str, group: list[Part]) -> int:
    """Write one file for a group of neighbours, then remove them."""
    if len(group) < 2:
        return 0
    folder = group[0].path.parent
    schema = schema_of(table)
    data = pa.concat_tables([pq.read_table(p.path, schema=schema) for p in group])
    final = folder / part_name(group[0].first, group[-1].last)
    hidden = folder / f".merge-{final.name}"
    try:
        write_parquet(data.replace_schema_metadata(schema.metadata), hidden)
        sync_file(hidden)
        hidden.replace(final)
        sync_folder(folder)
    except OSError:
        with contextlib.suppress(OSError):
            hidden.unlink(missing_ok=True)
        raise
    for part in group:
        part.path.unlink(missing_ok=True)
    return len(group)
