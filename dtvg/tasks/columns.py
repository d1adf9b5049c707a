"""Columns as files hold them, made into those that a task reads.

Nested ones (`answers.text`), text stored as binary, dictionaries, and labels whose names stand in
the file's own metadata (`ClassLabel`). docs/tasks.md "Files as people have them".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from dtvg.errors import DataError
from dtvg.plain_text import load_json
from dtvg.tasks.contents import LIMIT


def base_of(column: str, held: Sequence[str]) -> str:
    """Return the column of a file that holds `column`: itself, or the record it is part of."""
    if column in held:
        return column
    parts = column.split(".")
    starts = (".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))
    return next((start for start in starts if start in held), column)


def with_nested(table: pa.Table, wanted: Sequence[str]) -> pa.Table:
    """Add the wanted columns that are part of a record, such as `answers.text`."""
    for column in wanted:
        held = table.column_names
        base = base_of(column, held)
        if base == column:
            continue
        values: pa.ChunkedArray | None = table.column(base)
        for name in column[len(base) + 1 :].split("."):
            values = None if values is None else _member(values, name)
        if values is not None:
            table = table.append_column(column, values)
    return table


def members(table: pa.Table) -> list[str]:
    """Return the names of all columns, those within records included."""
    names: list[str] = []
    for field in table.schema:
        inner = field.type.value_type if pa.types.is_list(field.type) else field.type
        names.append(field.name)
        if pa.types.is_struct(inner):
            names += [f"{field.name}.{part.name}" for part in inner]
    return names


def _member(values: pa.ChunkedArray, name: str) -> pa.ChunkedArray | None:
    """Return one member of records, or of the records in each list; None where there is none."""
    kind = values.type
    if pa.types.is_struct(kind):
        return pc.struct_field(values, name) if kind.get_field_index(name) >= 0 else None
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return None
    if not pa.types.is_struct(kind.value_type) or kind.value_type.get_field_index(name) < 0:
        return None
    lists = [[row[name] for row in one if row is not None] if one is not None else None
             for one in values.to_pylist()]  # fmt: skip
    return pa.chunked_array([pa.array(lists, pa.list_(kind.value_type.field(name).type))])


def class_names(table: pa.Table, column: str) -> tuple[str, ...]:
    """Return the names of a column's classes as the file's metadata (`ClassLabel`) gives them."""
    try:
        facts = load_json((table.schema.metadata or {})[b"huggingface"])
        feature = facts["info"]["features"][column]
        names = feature["names"] if feature["_type"] == "ClassLabel" else ()
        return tuple(str(name) for name in names)
    except (KeyError, TypeError, ValueError):
        return ()


def with_class_names(table: pa.Table, column: str, values: Sequence[str]) -> pa.Table:
    """Write the names of classes in place of their numbers, where labels are asked for by name.

    Args:
        table: what was read, with its metadata.
        column: of the labels.
        values: labels as the description gives them.
    """
    names = class_names(table, column)
    if not names or column not in table.column_names or not set(values) <= set(names):
        return table
    numbers = table.column(column)
    if not pa.types.is_integer(numbers.type):
        return table
    words = [_class_name(number, names) for number in numbers.to_pylist()]
    place = table.column_names.index(column)
    return table.set_column(place, column, pa.array(words, pa.string()))


def _class_name(number: int | None, names: Sequence[str]) -> str | None:
    """Return the name of a class; None for no class, which the hub writes as -1."""
    if number is None or number == -1:
        return None
    return names[number] if 0 <= number < len(names) else str(number)


def as_plain(table: pa.Table, where: str) -> pa.Table:
    """Return dictionaries as values, text in any form (binary included) as strings, and numbers as
    they are written.

    Args:
        table: the needed columns.
        where: how messages name the file.

    Raises:
        DataError: for bytes that are not UTF-8, a NUL, or a text beyond `LIMIT`, naming the row;
            for a date that no calendar has.
    """
    table = as_written(table)
    for index, column in enumerate(table.schema):
        values, kind = table.column(index), column.type
        if pa.types.is_dictionary(kind):
            values, kind = _looked_up(values)
        if pa.types.is_string_view(kind):
            values, kind = values.cast(pa.string()), pa.string()
        if pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
            values, kind = values.cast(pa.binary()), pa.binary()
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            target = pa.large_string() if pa.types.is_large_binary(kind) else pa.string()
            chunks = [chunk.view(target) for chunk in values.chunks]
            values = pa.chunked_array(chunks, target)
        if kind != column.type or values.type != column.type:
            table = table.set_column(index, column.name, values)
    for column in table.schema:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            _refuse_no_text(table.column(column.name), column.name, where)
        elif pa.types.is_temporal(column.type):
            _refuse_no_date(table.column(column.name), column.name, where)
    return table


def _looked_up(values: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.DataType]:
    """Return the values of a dictionary and their type; pyarrow casts none of texts as views."""
    kind = values.type.value_type
    if not pa.types.is_string_view(kind):
        return values.cast(kind), kind
    chunks = [chunk.dictionary.cast(pa.string()).take(chunk.indices) for chunk in values.chunks]
    return pa.chunked_array(chunks, pa.string()), pa.string()


def as_written(table: pa.Table) -> pa.Table:
    """Return numbers of single or half precision as a person writes them: 0.1, not 0.1000000015."""
    for index, column in enumerate(table.schema):
        if pa.types.is_float32(column.type) or pa.types.is_float16(column.type):
            narrow = column.type.to_pandas_dtype()
            held = table.column(index).to_pylist()
            values = [None if v is None else float(str(narrow(v))) for v in held]
            table = table.set_column(index, column.name, pa.array(values, pa.float64()))
    return table


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


def _refuse_no_date(values: pa.ChunkedArray, column: str, where: str) -> None:
    """Refuse dates and times that Python cannot hold, such as a database's `infinity`."""
    try:
        values.to_pylist()
    except (OverflowError, ValueError):
        raise DataError(
            f"{where}, column '{column}' has a date or time outside of the years 1 to 9999; write "
            "it as text, or leave it empty."
        ) from None
