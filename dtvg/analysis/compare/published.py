"""Numbers from papers, to stand beside ours and never among them.

Rows come from `data/published/*.csv`; each carries the paper and table it was taken from.
Their backbone, budget and data differ from ours, so no mean, rank or verdict may use them.
docs/verdicts.md "Published numbers".
"""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dtvg import paths
from dtvg.errors import DataError

COLUMNS = ("method", "task", "metric", "value", "backbone", "source")
APART = ("backbone", "source", "metric")
"""What tells several numbers of a method for one task apart."""
GROUPS = {
    "glue_average": ("mnli", "qqp", "qnli", "sst2", "stsb", "mrpc", "rte", "cola"),
    "superglue_average": ("multirc", "boolq", "wic", "wsc", "cb"),
}
"""Averages that papers print, and the tasks they are over."""
TITLES = {
    "glue_average": "GLUE average (all eight)",
    "superglue_average": "SuperGLUE average (all five)",
}


@dataclass(frozen=True, eq=False)
class PublishedInfo:
    """Published results on given targets; 0..1 as everywhere, percent only in labels."""

    table: pd.DataFrame
    """`method, task, metric, value, backbone, source`, one number a row."""
    rows: pd.Series
    """Row of `wide` that each number of `table` stands in."""
    wide: pd.DataFrame
    """Method × task, in the order of the targets, then averages that contain one; NaN: not
    available. A method with several numbers for a task has a row for each."""
    sources: tuple[str, ...]
    note: str


def published(targets: Sequence[str], folder: Path | None = None) -> PublishedInfo:
    """Return what papers report on targets, with averages of groups that hold one of them.

    Args:
        targets: names of tasks.
        folder: of CSV files; None: those that ship.

    Raises:
        DataError: a file lacks a column or holds no number where one must be.
    """
    everything = load_published(folder)
    groups = [g for g, members in GROUPS.items() if set(members) & set(targets)]
    shown = [*targets, *groups]
    table = everything[everything["task"].isin(shown)].drop_duplicates(ignore_index=True)
    rows = _rows(table)
    wide = table.assign(method=rows).pivot(index="method", columns="task", values="value")
    order = [t for t in shown if t in set(table["task"])]
    wide = wide.reindex(index=list(dict.fromkeys(rows)), columns=order)
    sources = tuple(dict.fromkeys(table["source"]))
    note = (
        "From papers, not run here: other backbones, budgets and data. They enter no mean, rank "
        f"or verdict. Sources: {'; '.join(sources)}."
        if sources
        else "There is no published number for these targets."
    )
    return PublishedInfo(table, rows, wide, sources, note)


def _rows(table: pd.DataFrame) -> pd.Series:
    """Name the row of each number: its method, and of several numbers for a task what tells them
    apart, so that none is mixed with another."""
    rows = table["method"].astype(str)
    for column in APART:
        told = table[column].fillna("–").astype(str)
        twice = pd.DataFrame({"row": rows, "task": table["task"]}).duplicated(keep=False)
        for row in dict.fromkeys(rows[twice]):
            mine = rows == row
            if told[mine].nunique() > 1:
                rows = rows.where(~mine, f"{row} (" + told + ")")
    place = rows.groupby([rows, table["task"]]).cumcount()
    return rows.where(place == 0, rows + " (" + (place + 1).astype(str) + ")")


def load_published(folder: Path | None = None) -> pd.DataFrame:
    """Read every published number there is, values as 0..1.

    Raises:
        DataError: as `published`.
    """
    found = sorted((folder or paths.published()).glob("*.csv"))
    frames = [_read(path, path.stat().st_mtime_ns) for path in found]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS))


def _table(path: Path) -> pd.DataFrame:
    """Read a CSV file; lines that begin with # are remarks, elsewhere it is a letter like others.

    Raises:
        DataError: the file cannot be read, or a row has more entries than there are columns.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines(keepends=True)
        text = "".join(line for line in lines if not line.startswith("#"))
        read = csv.reader(io.StringIO(text), skipinitialspace=True)
        rows = [row for row in read if any(map(str.strip, row))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"'{path}' is not readable as CSV in UTF-8 ({error}).") from None
    head = rows[0] if rows else []
    for row in rows[1:]:
        if len(row) > len(head):
            raise DataError(
                f"'{path}' has a row with {len(row)} entries for {len(head)} columns "
                f"({', '.join(row)}); write quotes around a source with commas."
            )
    filled = [[*row, *[""] * (len(head) - len(row))] for row in rows[1:]]
    return pd.DataFrame(filled, columns=head, dtype=object).replace("", np.nan)


@functools.lru_cache(maxsize=32)
def _read(path: Path, stamp: int) -> pd.DataFrame:
    frame = _table(path)
    missing = [c for c in COLUMNS if c not in frame.columns]
    if missing:
        raise DataError(
            f"'{path}' has no column '{missing[0]}'; published numbers need {', '.join(COLUMNS)}."
        )
    values = pd.to_numeric(frame["value"], errors="coerce")
    bad = frame.index[values.isna() | (values < -100) | (values > 100)]
    if len(bad):
        raise DataError(
            f"'{path}', row {int(bad[0]) + 1}: got '{frame['value'][bad[0]]}' as a value; give "
            "percent between -100 and 100, and leave out rows without a number."
        )
    if frame["source"].isna().any():
        raise DataError(f"'{path}' has a number without a source; name the paper and the table.")
    return frame.assign(value=values / 100)[list(COLUMNS)]
