"""Where a task's files lie, and one file's columns: Parquet, CSV or JSON lines.

Finds the folder (`data.folder`, then `<home>/datasets`; the demo's is shipped), reads only
the columns a task needs, and says in one sentence what is wrong with a file. Must not import
torch or pandas.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from dtvg import paths
from dtvg.errors import DataError
from dtvg.tasks.spec import TaskSpec

ENDINGS = (".parquet", ".csv", ".jsonl")


def find_folder(spec: TaskSpec, folder: str | None) -> Path | None:
    """Return the folder that holds the task's files, None where only the hub is left.

    Args:
        spec: the task; its files lie in a sub-folder called `spec.folder`.
        folder: the configured `data.folder`, looked at before `<home>/datasets`.

    Raises:
        DataError: if the configured folder does not exist.
    """
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


def split_files(spec: TaskSpec, folder: Path, names: Sequence[str]) -> list[Path]:
    """Return the files of one split: `train.parquet`, or all of `train-00000-of-*.parquet`.

    Args:
        spec: the task.
        folder: the task's folder.
        names: the split's names in order of preference, e.g. validation_matched, validation.

    Raises:
        DataError: if there is none.
    """
    for name in names:
        for ending in ENDINGS:
            single = folder / f"{name}{ending}"
            if single.is_file():
                return [single]
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


def read_file(path: Path, spec: TaskSpec) -> pa.Table:
    """Read the columns `spec` needs from one file.

    Raises:
        DataError: if the file cannot be read as what its name says, lacks a column or holds
            no rows.
    """
    kind = {".parquet": "Parquet", ".csv": "CSV", ".jsonl": "JSON lines"}[path.suffix]
    try:
        table = _table(path, spec)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"'{path}' cannot be read as {kind} ({reason_of(error)}); write the file anew."
        ) from None
    return checked(table, spec, f"'{path}'")


def _table(path: Path, spec: TaskSpec) -> pa.Table:
    """Read one file, text columns as strings whatever they look like."""
    if path.suffix == ".parquet":
        held = pq.read_schema(path).names
        wanted = [column for column in spec.columns if column in held]
        return pq.read_table(path, columns=wanted if len(wanted) == len(spec.columns) else None)
    text = {column: pa.string() for _, column in spec.fields}
    if path.suffix == ".csv":
        options = pa.csv.ConvertOptions(column_types=text, strings_can_be_null=False)
        parsing = pa.csv.ParseOptions(newlines_in_values=True)
        return pa.csv.read_csv(path, convert_options=options, parse_options=parsing)
    options = pa.json.ParseOptions(explicit_schema=pa.schema(list(text.items())))
    table = pa.json.read_json(path, parse_options=options)
    absent = [name for name in text if table.column(name).null_count == table.num_rows]
    return table.drop_columns(absent)


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
        raise DataError(
            f"{where} has no column {quoted(missing)}; task {spec.name} needs "
            f"{quoted(spec.columns)} and the file holds {quoted(table.column_names)}."
        )
    if not table.num_rows:
        raise DataError(f"{where} holds no rows; task {spec.name} needs at least one.")
    table = table.select(list(spec.columns))
    for index, column in enumerate(table.schema):
        if pa.types.is_dictionary(column.type):
            plain = table.column(index).cast(column.type.value_type)
            table = table.set_column(index, column.name, plain)
        elif pa.types.is_string_view(column.type):
            table = table.set_column(index, column.name, table.column(index).cast(pa.string()))
    return table


def reason_of(error: Exception) -> str:
    """Return a library's message as a part of one sentence: one line, not too long."""
    text = " ".join(str(error).split()).removesuffix(".").replace(". ", "; ")
    return text[:160] or type(error).__name__


def quoted(names: Sequence[object]) -> str:
    """Return names as a message lists them: in quotes, separated by commas."""
    return ", ".join(f"'{name}'" for name in names)


def signature(folder: Path | None) -> tuple[tuple[str, int, int], ...]:
    """Return name, size and time of every file in `folder`, so that a change is noticed."""
    if folder is None:
        return ()
    try:
        with os.scandir(folder) as entries:
            found = [(e.name, e.stat().st_size, e.stat().st_mtime_ns) for e in entries]
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise DataError(f"'{folder}' cannot be listed ({error.strerror}).") from None
        return ()
    return tuple(sorted(found))
