"""A data file's columns become a task's description: what is in them, what they seem to be for.

Everything proposed can be changed before it is kept; nothing here decides for a person.
docs/tasks.md "Your own task without code".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from dtvg.errors import DataError
from dtvg.tasks.columns import as_written, class_names
from dtvg.tasks.converter import key_of, same_key
from dtvg.tasks.files import KINDS, reason_of
from dtvg.tasks.places import ending_of
from dtvg.tasks.tables import finding_of, read_table

CLASSES = 20
"""Different values up to which a column can be one of labels."""
LOOKED_AT = 20_000
"""Rows whose values are counted."""
SHOWN = 5
CELL = 300
"""Characters of a cell that are shown."""
LABEL_NAMES = ("label", "class", "category", "verdict", "sentiment", "answer", "target", "gold",
               "output", "y", "intent", "rating", "topic")  # fmt: skip
ID_NAMES = ("id", "idx", "index", "uid", "guid", "key", "row")


@dataclass(frozen=True)
class Column:
    """One column of a file."""

    name: str
    values: dict[str, int]
    """Rows by value, the most frequent first; empty where there are more than `CLASSES`."""
    different: int
    """Different values among the rows looked at."""
    empty: int
    """Rows without a value."""
    words: float
    """Mean number of words of a value."""
    names: tuple[str, ...] = ()
    """Names of the classes that stand for numbers, as the file itself gives them."""


@dataclass(frozen=True)
class FileLook:
    """What a file holds."""

    rows: int
    read_as: str
    columns: tuple[Column, ...]
    preview: tuple[dict[str, str], ...]
    """The first rows, long cells cut."""


@dataclass(frozen=True)
class Drafted:
    """What a description would say."""

    text: tuple[str, ...]
    """Columns that are read."""
    label: str
    """Column that is answered; empty: none was found."""
    labels: dict[str, str]
    """What the column holds → what is answered; empty for free text."""


def look_at(path: Path) -> FileLook:
    """Read a file's columns and say what is in them.

    Args:
        path: Parquet, Arrow, CSV, TSV or JSON.

    Raises:
        DataError: it cannot be read, or holds no rows.
    """
    table = _table(path)
    if not table.num_rows:
        raise DataError(f"'{path.name}' has no rows; give a file with at least one.")
    head = as_written(table.slice(0, LOOKED_AT))
    named = [name for name in table.column_names if name.strip()]  # others are nobody's
    columns = tuple(_column(table, head, name) for name in named)
    preview = [{k: _cell(v) for k, v in row.items()} for row in head.slice(0, SHOWN).to_pylist()]
    return FileLook(table.num_rows, finding_of(table) or "a table", columns, tuple(preview))


def _table(path: Path) -> pa.Table:
    kind = KINDS.get(ending_of(path))
    try:
        if kind == "Parquet":
            return pq.read_table(path)
        if kind == "Arrow":
            with pa.memory_map(str(path)) as source:
                opener = pa.ipc.open_file if source.read(6) == b"ARROW1" else pa.ipc.open_stream
                source.seek(0)
                return opener(source).read_all()
        return read_table(path, None)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"'{path.name}' cannot be read ({reason_of(error)}); write the file again."
        ) from None


def _column(table: pa.Table, head: pa.Table, name: str) -> Column:
    values = head.column(name).to_pylist()
    texts = [text for value in values if value is not None and (text := _written(value))]
    forms: dict[str, str] = {}
    counted: Counter[str] = Counter()
    for text, count in Counter(texts).most_common():  # what is one label counts as one value
        counted[forms.setdefault(same_key(text), text)] += count
    few = dict(counted.most_common()) if len(counted) <= CLASSES else {}
    words = sum(len(text.split()) for text in texts) / max(1, len(texts))
    names = class_names(table, name)
    return Column(name, few, len(counted), len(values) - len(texts), words, names)


def _written(value: Any) -> str:
    """Return a value as a label is written; whole numbers without the `.0` of pandas."""
    text = key_of(value)
    return text.partition(".")[0] if re.fullmatch(r"-?\d{1,15}\.0+", text) else text


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= CELL else f"{text[: CELL - 1]}…"


def draft(look: FileLook) -> Drafted:
    """Say which columns are most likely read, and which is answered."""
    label = _label(look)
    kept = [c for c in look.columns if c.name != label and not _is_id(c, look.rows)]
    texts = [c for c in kept if c.words >= 2 and c.different > 1] or [
        c for c in kept if c.different > 1
    ]
    chosen = tuple(c.name for c in texts[:4])
    column = next((c for c in look.columns if c.name == label), None)
    return Drafted(chosen, label, {} if column is None else labels_of(column))


def _label(look: FileLook) -> str:
    """Return the column that most likely holds the answers."""
    many = len(look.columns) > 1
    able = [c for c in look.columns if c.different > 1 and not _is_id(c, look.rows)]
    for names in ([c for c in able if c.values], able):
        for wanted in LABEL_NAMES:
            found = next((c for c in names if c.name.lower() == wanted), None)
            if found is not None and many:
                return found.name
    few = [c for c in able if c.values and c.words < 4 and 2 * c.different <= look.rows]
    return min(few, key=lambda c: c.different).name if few and many else ""


def _is_id(column: Column, rows: int) -> bool:
    """Whether a column only numbers the rows."""
    own = column.different >= min(rows, LOOKED_AT) and column.words <= 1
    return column.name.lower() in ID_NAMES or (own and column.name.lower().endswith("id"))


def labels_of(column: Column) -> dict[str, str]:
    """Return the labels of a column and the words answered for them; empty for free text."""
    if len(column.values) < 2:
        return {}
    found = sorted(column.values, key=_in_order)
    if column.names:
        named = {str(i): name for i, name in enumerate(column.names)}
        return {value: named.get(value, value) for value in found}
    return {value: value for value in found}


def _in_order(value: str) -> tuple[bool, float, str]:
    try:
        return False, float(value), value
    except ValueError:
        return True, 0.0, value


def description(
    title: str,
    files: Mapping[str, str | Sequence[str]],
    text: Sequence[str],
    label: str,
    labels: Mapping[str, str],
    metrics: Sequence[str] = (),
) -> str:
    """Return a task's description as YAML.

    Args:
        title: one line.
        files: file, or several, by split.
        text: columns that are read, in this order.
        label: column that is answered.
        labels: what it holds → what is answered; empty: free text.
        metrics: names; empty: accuracy with labels, ROUGE-L without.
    """
    braced = ["{" + name + "}" for name in text]
    named = [f"{n}: {b}" for n, b in zip(text, braced, strict=True)]
    made: dict[str, Any] = {"title": title.strip()} if title.strip() else {}
    made["files"] = dict(files)
    odd = any(set(name) & set("{}:![") for name in text)  # signs that mean something in a template
    made |= {"fields": list(text)} if odd else {"text": " ".join(named)}
    made["label"] = label
    made |= {"labels": dict(labels)} if labels else {}
    made["metrics"] = list(metrics) or (["accuracy"] if labels else ["rougeL"])
    return yaml.safe_dump(made, sort_keys=False, allow_unicode=True, width=10_000)
