"""Delimited text and JSON as columns; what is wrong with a file is named by line and column.

pyarrow reads. Where quotation marks, or rows of another width, leave a doubt, the lines are
walked with the standard library's strict reader: it names the line, and sees cells that swallow
the rows after a stray quotation mark. docs/tasks.md "Files as people have them".
"""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from dtvg.errors import DataError
from dtvg.tasks.contents import LIMIT, Content, Found, lines, load, report
from dtvg.tasks.dialect import Dialect, Style, settle
from dtvg.tasks.json_rows import LINE, ROW, read_json

__all__ = ["FINDING", "LIMIT", "LINE", "ROW", "finding_of", "lines", "read_table"]

FINDING = b"dtvg.finding"
"""Key of a table's metadata: how its file was read, in words."""
NOTED = b"dtvg.noted"
"""Key of what a reader should know about it; absent where the file is as its name says."""
USUAL = {".tsv": "\t"}
"""Delimiter by a file's ending; the others: a comma."""
BLOCK = 1 << 28
"""Bytes that pyarrow parses at once: more than a row can have."""
FEW = 50
"""Different values up to which a column counts as one of a few values."""
LONG_CELL = 5
"""Lines of one cell beyond which it is mentioned."""


def read_table(
    path: Path,
    text_columns: frozenset[str] | None,
    found: Found = None,
    dialect: Dialect | None = None,
    wanted: Collection[str] = (),
) -> pa.Table:
    """Read a delimited or a JSON file.

    Args:
        path: the file; its ending says what it is.
        text_columns: columns that stay text however they look (CSV holds nothing but text); None:
            all of them.
        found: collects what is wrong line by line; such lines are left out, and the columns
            `LINE` and `ROW` say where each row stood.
        dialect: what a description says about the file; None: nothing describes it.
        wanted: columns that are needed; they decide how the file is read.

    Returns:
        The columns; the schema's metadata says how they were read (`FINDING`).

    Raises:
        DataError: naming line, and byte or column, of the first thing that cannot be read; with
            `found` only where nothing at all can be read.
    """
    described = dialect is not None
    given = dialect or Dialect()
    content = load(path, given.encoding, described)
    ending = next((s for s in reversed([s.lower() for s in path.suffixes])
                   if s in (".json", ".jsonl", ".ndjson", ".csv", ".tsv")), ".csv")  # fmt: skip
    if not content.data.strip():
        needs = "at least one object" if "js" in ending else "a header and at least one row"
        if ending in (".jsonl", ".ndjson"):
            needs = "one JSON object per line"
        raise DataError(f"'{path}' is empty; it needs {needs}.")
    if ending in (".json", ".jsonl", ".ndjson"):
        table, words = read_json(content, ending == ".json", found, described)
        noted = "" if ending != ".json" or words == "a JSON array" else words
    else:
        style = settle(content.head, given, USUAL.get(ending, ","), wanted, content.encoding)
        style, table, more = _Csv(content, style, given, described).read(text_columns, found)
        words = style.words + more
        noted = "" if style.expected and not more else words
    facts = {FINDING: words.encode()} | ({NOTED: noted.encode()} if noted else {})
    return table.replace_schema_metadata(facts)


def finding_of(table: pa.Table, noted: bool = False) -> str:
    """Return how a table's file was read, in words.

    Args:
        table: as `read_table` returns it.
        noted: only what is not as the file's name says.
    """
    metadata = table.schema.metadata or {}
    return str(metadata.get(NOTED if noted else FINDING, b"").decode())


@dataclass
class _Row:
    """A row as the strict reader sees it."""

    line: int
    last: int
    cells: list[str]
    lines: tuple[str, ...] = ()
    """Its lines, where there are several."""


@dataclass
class _Walk:
    """What walking a file's lines found."""

    rows: list[_Row] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    """The number of each row, counted with those that cannot be read."""
    problems: list[DataError] = field(default_factory=list)
    longest: _Row | None = None


class _Csv:
    """One delimited file being read."""

    def __init__(self, content: Content, style: Style, given: Dialect, described: bool) -> None:
        """Take the file, how it seems to be written, and what its description says."""
        self.content, self.style, self.given, self.described = content, style, given, described
        self.path = content.path
        self.names: list[str] = []
        self.first = 0
        """Line of the header, 0 where there is none."""

    def read(
        self, text_columns: frozenset[str] | None, found: Found
    ) -> tuple[Style, pa.Table, str]:
        """Return the style that fits, the columns, and what else is to be said."""
        data = self.content.data
        doubtful = self.style.quoted and self.style.quote.encode() in data
        doubtful = doubtful or data.count(b"\r") != data.count(b"\r\n")
        if found is None and not doubtful and self.content.clean():
            self._take_header()
            table = self._arrow()
            if table is not None:
                return self.style, self._typed(table, text_columns), ""
        walk = self._best()
        for problem in walk.problems:
            report(problem, found)
        table = None if walk.problems else self._arrow()
        if table is None or table.num_rows != len(walk.rows):
            columns = zip(*[row.cells for row in walk.rows], strict=True)
            cells = list(columns) or [()] * len(self.names)
            table = pa.table([pa.array(list(c), pa.string()) for c in cells], self._unique())
        table = self._typed(table, text_columns)
        if found is not None:
            table = table.append_column(LINE, pa.array([r.line for r in walk.rows], pa.int64()))
            table = table.append_column(ROW, pa.array(walk.numbers, pa.int64()))
        return self.style, table, _on_length(walk.longest)

    def _best(self) -> _Walk:
        """Walk the lines quoted; unquoted where that fits and quoting does not."""
        walk = self._walk()
        may_be_plain = self.style.quoted and self.style.delimiter in ("\t", "|")
        if walk.problems and may_be_plain and not self.given.quoting:
            quoted, names = self.style, self.names
            self.style = replace(quoted, quoted=False)
            plain = self._walk()
            if len(plain.problems) < len(walk.problems) or not plain.problems:
                return plain
            self.style, self.names = quoted, names
        return walk

    def _take_header(self) -> None:
        """Read the names of the columns from the first line that is not blank."""
        if self.style.header:
            self.names, self.first = list(self.style.header), self.style.skipped
            return
        for row in self._rows(_Walk()):
            self.names, self.first = self._header(row.cells), row.last
            return
        raise DataError(f"'{self.path}' is empty; it needs a header and at least one row.")

    def _header(self, row: list[str]) -> list[str]:
        names = [name.strip() for name in row]
        while len(names) > 1 and not names[-1]:
            names.pop()
        twice = [name for name in names if name and names.count(name) > 1]
        if twice:
            raise DataError(f"'{self.path}' has two columns '{twice[0]}'; rename one.")
        return names

    def _unique(self) -> list[str]:
        """Return the columns' names; those without one are called by their place."""
        return [name or f" {place}" for place, name in enumerate(self.names)]

    def _walk(self) -> _Walk:
        """Walk all rows; collect those that can be used and what is wrong with the others."""
        walk, values = _Walk(), _Values()
        self.names = list(self.style.header)
        spans: list[_Row] = []
        for number, row in enumerate(self._rows(walk), start=1 if self.names else 0):
            if not self.names:
                self.names, self.first = self._header(row.cells), row.last
                continue
            if not self._fit(row.cells):
                walk.problems.append(self._wrong_width(row))
                continue
            if row.lines:
                spans.append(row)
            else:
                values.add(row.cells)
            walk.rows.append(row)
            walk.numbers.append(number)
        if not self.names and not walk.problems:
            raise DataError(f"'{self.path}' is empty; it needs a header and at least one row.")
        for row in spans:
            if self._swallows(row, values):
                walk.problems.append(self._swallowed(row))
        walk.longest = max(spans, key=lambda row: row.last - row.line, default=None)
        return walk

    def _rows(self, walk: _Walk) -> Iterator[_Row]:
        """Yield each row that is not blank; add lines that cannot be read to the problems."""
        start, last, taken = 0, 0, list[str]()

        def texts() -> Iterator[str]:
            nonlocal start, last
            for number, text in self.content.lines(walk.problems, described=self.described):
                if number <= self.style.skipped:
                    continue
                start, last = start or number, number
                taken.append(text)
                yield text

        earlier = csv.field_size_limit(LIMIT)
        rows = csv.reader(texts(), **self.style.reader_options())  # type: ignore[arg-type]
        try:
            while True:
                start = 0
                taken.clear()
                try:
                    row = next(rows, None)
                except csv.Error as error:
                    walk.problems.append(self._broken(start, str(error)))
                    continue
                if row is None:
                    return
                if row:
                    yield _Row(start, last, row, tuple(taken) if len(taken) > 1 else ())
        finally:
            csv.field_size_limit(earlier)

    def _fit(self, cells: list[str]) -> bool:
        """Cut empty cells that belong to no column; return whether each column has one."""
        width = len(self.names)
        while len(cells) > width and not cells[-1].strip():
            cells.pop()
        return len(cells) == width

    def _wrong_width(self, row: _Row) -> DataError:
        names = ", ".join(name for name in self.names if name)[:200]
        place = f"'{self.path}', line {row.line}"
        if row.lines:
            advice = (
                f"a quoted cell goes on to line {row.last}; close the quotation mark or double it"
                f"{self._unquoted()}"
            )
        elif len(row.cells) > len(self.names) and not self.style.quoted:
            advice = f"a {self.style.delimiter_word} may not stand in a cell of an unquoted file"
        else:
            advice = f"put a cell in quotes if it contains a {self.style.delimiter_word}"
        return DataError(
            f"{place}: got {len(row.cells)} {'cell' if len(row.cells) == 1 else 'cells'}, the "
            f"header has {len(self.names)} ({names}); {advice}."
        )

    def _broken(self, line: int, reason: str) -> DataError:
        if "unexpected end" in reason or "field limit" in reason:
            reason = "a quotation mark that is opened here is never closed"
        if "new-line character" in reason:
            return DataError(
                f"'{self.path}', line {line}: a carriage return stands in a cell without quotation "
                "marks; remove it, or put the cell in quotes."
            )
        return DataError(
            f"'{self.path}', line {line}: {reason}; fix the quotation marks{self._unquoted()}."
        )

    def _unquoted(self) -> str:
        if not self.described or not self.style.quoted:
            return ""
        return (
            ", or write 'dialect: {quoting: none}' in the task's YAML if they are ordinary "
            "characters"
        )

    def _swallows(self, row: _Row, values: _Values) -> bool:
        """Whether the lines of a row with a long cell look like rows themselves."""
        width = len(self.names)
        if width < 2 or not self.style.quoted:
            return False
        plain = [line.rstrip("\r\n").split(self.style.delimiter) for line in row.lines]
        fitting = [cells for cells in plain if self._fit(cells)]
        if len(fitting) < len(plain) and (
            len(plain) < LONG_CELL or len(fitting) < 0.8 * len(plain)
        ):
            return False
        known = values.of_few()
        if known:
            return all(cells[place] in few for cells in fitting for place, few in known.items())
        return len(plain) > 2

    def _swallowed(self, row: _Row) -> DataError:
        place = next((i for i, cell in enumerate(row.cells) if "\n" in cell), 0)
        return DataError(
            f"'{self.path}', line {row.line}: a quoted cell of column '{self.names[place]}' goes "
            f"on to line {row.last}, and these {len(row.lines)} lines look like rows of their own, "
            f"which would be lost; close the quotation mark or double it{self._unquoted()}."
        )

    def _arrow(self) -> pa.Table | None:
        """Read all rows as text; None where a row has another number of cells."""
        body = self.content.data
        skipped = max(self.first, self.style.skipped)
        start = 0
        for _ in range(skipped):
            start = body.find(b"\n", start) + 1
            if not start:
                body = b""
                break
        rest, odd = memoryview(body)[start:], []

        def count(row: pa_csv.InvalidRow) -> str:
            odd.append(row)
            return "skip"

        names = self._unique()
        types = dict.fromkeys(names, pa.string())
        if not bytes(rest[:1024]).strip() and not bytes(rest).strip():
            return pa.table({name: pa.array([], pa.string()) for name in names})
        try:
            table = pa_csv.read_csv(
                pa.py_buffer(rest),
                read_options=pa_csv.ReadOptions(
                    column_names=names, use_threads=False, block_size=min(BLOCK, len(rest) + 1)
                ),
                parse_options=pa_csv.ParseOptions(
                    delimiter=self.style.delimiter,
                    quote_char=self.style.quote if self.style.quoted else False,
                    escape_char=self.style.escape or False,
                    newlines_in_values=self.style.quoted,
                    invalid_row_handler=count,
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types=types, strings_can_be_null=False, null_values=[]
                ),
            )
        except pa.ArrowInvalid:
            return None
        return None if odd else table

    def _typed(self, table: pa.Table, text_columns: frozenset[str] | None) -> pa.Table:
        """Return the named columns, numbers as numbers; text as it stands."""
        return pa.table({
            name: table.column(place) if text_columns is None or name in text_columns
            else _typed(table.column(place).to_pylist())
            for place, name in enumerate(self.names)
            if name or self.names.count("") == 1
        })  # fmt: skip


def _on_length(row: _Row | None) -> str:
    """Mention a cell that spans many lines."""
    lines = 0 if row is None else row.last - row.line + 1
    if row is None or lines <= LONG_CELL:
        return ""
    return f"; the row in line {row.line} has a cell of {lines} lines"


class _Values:
    """The different values of each column, while they are few."""

    def __init__(self) -> None:
        """Start without any."""
        self.rows = 0
        self.seen: dict[int, set[str]] = {}
        self.many: set[int] = set()

    def add(self, cells: list[str]) -> None:
        """Count a row's cells."""
        self.rows += 1
        for place, cell in enumerate(cells):
            if place in self.many:
                continue
            few = self.seen.setdefault(place, set())
            few.add(cell)
            if len(few) > FEW:
                self.many.add(place)

    def of_few(self) -> dict[int, set[str]]:
        """Return the columns whose rows repeat a few values, such as labels."""
        return {
            place: few
            for place, few in self.seen.items()
            if place not in self.many and 3 * len(few) <= self.rows
        }


def _typed(cells: list[str]) -> pa.Array:
    """Return a column of numbers, or of lists and records in JSON, where all cells are such."""
    for kind, arrow in ((int, pa.int64()), (float, pa.float64())):
        try:
            return pa.array([kind(cell) for cell in cells], arrow)
        except (ValueError, OverflowError):
            continue
    if cells and all(cell[:1] in ("[", "{") for cell in cells):
        try:
            return pa.array([json.loads(cell) for cell in cells])
        except (ValueError, RecursionError, pa.ArrowException):
            pass
    return pa.array(cells, pa.string())
