"""Where a task's files lie, and one file's columns: Parquet, CSV, TSV or JSON lines.

Finds the folder (`data.folder`, then `<home>/datasets`; the demo's is shipped), reads only
the columns a task needs, and says in one sentence what is wrong with a file. Must not import
torch or pandas.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dtvg import paths
from dtvg.errors import DataError, nearest
from dtvg.tasks.spec import TaskSpec
from dtvg.tasks.tables import LIMIT, read_table

ENDINGS = (".parquet", ".csv", ".jsonl", ".tsv")
Signature = tuple[tuple[str, int, int], ...]


def find_folder(spec: TaskSpec, folder: str | None) -> Path | None:
    """Return the folder that holds the task's files, None where only the hub is left.

    Args:
        spec: the task; its files lie in a sub-folder called `spec.folder`.
        folder: the configured `data.folder`, looked at before `<home>/datasets`.

    Raises:
        DataError: if the configured folder does not exist.
    """
    if spec.files:
        return Path(spec.described_in).parent
    looked_in = places(spec, folder)
    for place in looked_in:
        if place.is_dir():
            return place
    return looked_in[0] if spec.dataset == "demo" else None


def places(spec: TaskSpec, folder: str | None) -> list[Path]:
    """Return where the task's own folder is looked for, in this order.

    Raises:
        DataError: if the configured folder does not exist.
    """
    if spec.dataset == "demo":
        return [paths.demo() / "tasks" / spec.folder]
    if spec.described_in:
        return []
    around = [paths.datasets()]
    if folder:
        given = Path(folder).expanduser()
        if not given.is_dir():
            raise DataError(
                f"There is no data folder '{folder}'; give data.folder a folder with one "
                f"sub-folder per data set, such as '{spec.folder}', or leave it empty."
            )
        around.insert(0, given)
    return [place / spec.folder for place in around]


@dataclass(frozen=True)
class AtHand:
    """Where a task's rows are, as far as this machine can tell without the hub."""

    place: Literal["folder", "cache", "hub"]
    """A folder of files, the hub's cache on this machine, or only the hub."""
    missing: tuple[str, ...] = ()
    """Splits whose files the folder lacks."""

    @property
    def in_folder(self) -> bool:
        """Whether every file lies in the folder."""
        return self.place == "folder" and not self.missing

    @property
    def words(self) -> str:
        """`yes`, or what is missing."""
        if self.missing:
            return f"no, {' and '.join(self.missing)} missing"
        return {
            "folder": "yes",
            "cache": "yes, in the hub's cache",
            "hub": "no, only on the hub",
        }[self.place]


def look_for(spec: TaskSpec, folder: Path | None) -> AtHand:
    """Look where a task's rows are.

    Args:
        spec: the task.
        folder: as `find_folder` returns it.
    """
    from dtvg.tasks.hub import cached

    if folder is None:
        return AtHand("cache" if cached(spec) else "hub")
    wanted = [spec.split.train, spec.split.validation]
    if spec.files:
        wanted = list(dict.fromkeys(split for split, _ in spec.files))
    missing = []
    for name, general in zip(wanted, ("train", "validation", "test"), strict=False):
        try:
            split_files(spec, folder, (name, general))
        except DataError:
            missing.append(general if not spec.files else name)
    return AtHand("folder", tuple(missing))


def at_hand(spec: TaskSpec, folder: Path | None) -> str:
    """Say whether a task can be used offline: `yes`, or what is missing; see `look_for`."""
    return look_for(spec, folder).words


def split_files(spec: TaskSpec, folder: Path, names: Sequence[str]) -> list[Path]:
    """Return the files of one split: `train.parquet`, or all of `train-00000-of-*.parquet`.

    Args:
        spec: the task.
        folder: the task's folder.
        names: the split's names in order of preference, e.g. validation_matched, validation.

    Raises:
        DataError: if there is none.
    """
    if spec.files:
        return [own_file(spec, Path(path)) for split, path in spec.files if split in names]
    for name in names:
        for ending in ENDINGS:
            single = folder / f"{name}{ending}"
            if single.is_file():
                return [single]
            if single.is_dir():
                raise DataError(f"'{single}' is a folder, not a file; put the file in its place.")
            parts = sorted(folder.glob(f"{name}-*-of-*{ending}"))
            if parts:
                return parts
    looked_for = " or ".join(f"'{name}.parquet'" for name in names)
    found = ", ".join(sorted(p.name for p in folder.glob("*"))) if folder.is_dir() else ""
    step = "put one there"
    if spec.dataset == "demo":
        step = "`python -m dtvg demo build` makes the demo's files"
    raise DataError(
        f"There is no file {looked_for} (or .csv, .jsonl) in '{folder}', which holds "
        f"{found or 'nothing'}; {step}."
    )


def own_file(spec: TaskSpec, path: Path) -> Path:
    """Return a file that a description names, if there is such a file."""
    if path.suffix not in ENDINGS:
        raise DataError(
            f"'{path}', named in '{spec.described_in}', is none of {', '.join(ENDINGS)}; write the "
            "rows as one of these."
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
            raise DataError(f"'{path}' is empty (0 bytes); write the file anew.")
        table = _parquet(path, spec) if path.suffix == ".parquet" else read_table(
            path, text_columns(spec)
        )  # fmt: skip
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        kind = {".parquet": "Parquet", ".jsonl": "JSON lines"}.get(path.suffix, "CSV")
        raise DataError(
            f"'{path}' cannot be read as {kind} ({reason_of(error)}); write the file anew."
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
            f"{quoted(spec.columns)} and the file holds {quoted(table.column_names)[:400]}."
        )
    if not table.num_rows:
        raise DataError(f"{where} holds no rows; task {spec.name} needs at least one.")
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
            f"{where} holds no row of task {spec.name}: column '{column}' must be '{value}', and "
            f"holds {quoted(found)[:200]}."
        )
    return kept


def _refuse_no_text(values: pa.ChunkedArray, column: str, where: str) -> None:
    """Refuse bytes that are no UTF-8, NULs, and texts no example has, naming the row."""
    start = 1
    for chunk in values.chunks:
        try:
            chunk.validate(full=True)
        except pa.ArrowInvalid as error:
            number = re.search(r"index (\d+)", str(error))
            row = f", row {start + int(number[1])}" if number else ""
            raise DataError(
                f"{where}{row}, column '{column}': this is no UTF-8; write the file anew."
            ) from None
        start += len(chunk)
    for found, what in (
        (pc.match_substring(values, "\0"), "holds a NUL, which no text holds; remove it"),
        (pc.greater(pc.binary_length(values), LIMIT),
         f"is longer than {LIMIT >> 20} MiB, which no example is; cut it"),
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


def signature(folder: Path | None, spec: TaskSpec | None = None) -> Signature:
    """Return name, size and time of every file of a task, so that a change is noticed.

    Args:
        folder: the task's folder, None for the hub.
        spec: the task; one described in YAML has files in any folders.
    """
    if folder is None:
        return ()
    if spec is not None and spec.files:
        return tuple(_stamp(path) for _, path in spec.files)
    try:
        with os.scandir(folder) as entries:
            found = [(e.name, e.stat().st_size, e.stat().st_mtime_ns) for e in entries]
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise DataError(f"'{folder}' cannot be listed ({error.strerror}).") from None
        return ()
    return tuple(sorted(found))


def _stamp(path: str) -> tuple[str, int, int]:
    try:
        stat = os.stat(path)
    except OSError:
        return (path, -1, 0)
    return (path, stat.st_size, stat.st_mtime_ns)
