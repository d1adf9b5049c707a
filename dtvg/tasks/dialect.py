"""How a text table is written: its delimiter, quoting, escape, header and encoding.

What a task's description does not say is found in the file's first lines, and said in words.
Reading is done in `tables.py`. docs/tasks.md "Files as people have them".
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "space"}
"""Delimiters and their names, in the order in which they are tried."""
TRIED = (",", ";", "\t", "|")
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*$', re.IGNORECASE)
"""The first line that Excel writes to name the delimiter."""


@dataclass(frozen=True)
class Dialect:
    """What a description says about how its files are written; empty: found in the file."""

    delimiter: str = ""
    quoting: str = ""
    """`standard`: cells may be quoted; `none`: a quotation mark is an ordinary character."""
    quote: str = '"'
    escape: str = ""
    """Character before one that is to be taken as it stands; empty: a quote is doubled."""
    header: tuple[str, ...] = ()
    """Names of the columns where the file has no line for them; empty: its first line."""
    encoding: str = ""


@dataclass(frozen=True)
class Style:
    """How one file is read."""

    delimiter: str
    quoted: bool
    quote: str
    escape: str
    header: tuple[str, ...]
    """Names where the file's first line is a row already."""
    skipped: int
    """Lines before the header: 1 for `sep=;`."""
    usual: str
    """The delimiter that the file's ending stands for."""
    encoding: str = "utf-8"

    @property
    def delimiter_word(self) -> str:
        """The delimiter as a message names it."""
        return DELIMITERS.get(self.delimiter, f"'{self.delimiter}'")

    @property
    def words(self) -> str:
        """How the file is read, in words: `tab-separated, unquoted`."""
        parts = [f"{self.delimiter_word}-separated", "quoted" if self.quoted else "unquoted"]
        if self.header:
            parts.append("without a header line")
        if self.encoding != "utf-8":
            parts.append(self.encoding)
        return ", ".join(parts)

    @property
    def expected(self) -> bool:
        """Whether this is what the file's ending says, so that there is nothing to note."""
        plain = self.delimiter == self.usual and self.quoted and not self.header
        return plain and self.encoding == "utf-8"

    def reader_options(self) -> dict[str, object]:
        """Return these settings as `csv.reader` takes them."""
        quoting = csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE
        return {
            "delimiter": self.delimiter,
            "quoting": quoting,
            "quotechar": self.quote if self.quoted else None,
            "escapechar": self.escape or None,
            "strict": True,
        }


def settle(
    head: str, given: Dialect, usual: str, wanted: Collection[str], encoding: str = "utf-8"
) -> Style:
    """Decide how a file is read.

    Args:
        head: its first lines.
        given: what its description says.
        usual: the delimiter that its ending stands for.
        wanted: columns that the task needs; the delimiter that shows them wins.
        encoding: as it was decoded.

    Returns:
        The style; whether cells are quoted may still turn out otherwise (`tables.py`).
    """
    first, _, rest = head.partition("\n")
    named = SEPARATOR_LINE.match(first.strip("\r"))
    if named:
        head = rest
    delimiter = given.delimiter or (named[1] if named else _delimiter(head, given, usual, wanted))
    return Style(
        delimiter=delimiter,
        quoted=given.quoting != "none",
        quote=given.quote,
        escape=given.escape,
        header=given.header,
        skipped=1 if named else 0,
        usual=usual,
        encoding=encoding,
    )


def _delimiter(head: str, given: Dialect, usual: str, wanted: Collection[str]) -> str:
    """Return the delimiter under which the first line names most of the needed columns."""
    line = next((line for line in head.splitlines() if line.strip()), "")
    cells = {one: _cells(line, one, given) for one in dict.fromkeys([usual, *TRIED])}
    if given.header:
        fits = [one for one, found in cells.items() if len(found) == len(given.header)]
        return fits[0] if fits else usual
    hits = {one: sum(_named(name, found) for name in wanted) for one, found in cells.items()}
    best = max(hits, key=lambda one: hits[one])  # the usual one stands first and wins ties
    if hits[best] > hits[usual] or len(cells[usual]) > 1:
        return best
    return max(cells, key=lambda one: len(cells[one])) if not hits[best] else best


def _named(column: str, cells: Collection[str]) -> bool:
    """Whether a header names a column, or the record that a nested one is part of."""
    return column in cells or ("." in column and column.split(".")[0] in cells)


def _cells(line: str, delimiter: str, given: Dialect) -> list[str]:
    """Return a header's cells under a delimiter."""
    quoting: Literal[0, 3] = csv.QUOTE_NONE if given.quoting == "none" else csv.QUOTE_MINIMAL
    try:
        row = next(csv.reader([line], delimiter=delimiter, quotechar=given.quote, quoting=quoting))
    except (csv.Error, StopIteration):
        return []
    return [cell.strip() for cell in row]
