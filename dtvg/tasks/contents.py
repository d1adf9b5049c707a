"""A text file's content: unpacked, decoded, its lines; what is no text is named by line and byte.

A line beyond `LIMIT` bytes is refused before it is parsed: a text of that size is no example
but a broken file. Nothing here knows tables. docs/tasks.md "Files as people have them".
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa

from dtvg.errors import DataError

LIMIT = 4 << 20
"""Bytes a line (and so a value) may have."""
PACKED = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
"""Endings of packed files, and what pyarrow calls the packing."""
MARKS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
         (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
"""Byte-order marks of encodings other than UTF-8."""
SIGNS = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip or Excel",
    b"PAR1": "Parquet",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"ARROW1": "Arrow",
    b"version https://git-lfs": "Git LFS pointer",
}
"""First bytes of files that are not text, or not the text one expects."""
ADVICE = ", or write 'dialect: {encoding: windows-1252}' (or what it is) in the task's YAML"

Found = list[DataError] | None
"""Where problems are collected, so that reading goes on; None: the first one is raised."""


@dataclass(frozen=True)
class Content:
    """A file's text as UTF-8."""

    path: Path
    data: bytes
    encoding: str
    """What it was written in."""

    @property
    def head(self) -> str:
        """The first lines, for finding out how the file is written."""
        return self.data[: 1 << 16].decode("utf-8", "replace")

    def clean(self) -> bool:
        """Whether everything is UTF-8 without NUL and no line is too long."""
        if b"\0" in self.data:
            return False
        breaks = np.flatnonzero(np.frombuffer(self.data, np.uint8) == 10)
        ends = np.concatenate([[-1], breaks, [len(self.data)]])
        if np.diff(ends).max() > LIMIT:
            return False
        try:
            self.data.decode("utf-8")
        except UnicodeDecodeError:
            return False
        return True

    def lines(self, found: Found = None, *, described: bool = False) -> Iterator[tuple[int, str]]:
        """Yield number and text of each line; see `lines`."""
        return _lines(io.BytesIO(self.data), self.path, found, described)


def report(problem: DataError, found: Found) -> None:
    """Keep a problem, or raise it where nobody collects."""
    if found is None:
        raise problem
    found.append(problem)


def packing(path: Path) -> str | None:
    """Return how a file is packed by its name: gzip, zstd, bz2; None where it is not."""
    return PACKED.get(path.suffix.lower())


def load(path: Path, encoding: str = "", described: bool = False) -> Content:
    """Read a whole text file.

    Args:
        path: the file; `.gz`, `.zst` and `.bz2` are unpacked.
        encoding: what it is written in; empty: UTF-8, or what its byte-order mark says.
        described: whether a description in YAML names it, where the encoding can be given.

    Raises:
        DataError: for a file of another kind, or one that is not written in `encoding`.
        OSError: if it cannot be read or unpacked.
    """
    data = _bytes(path)
    mark = next((name for start, name in MARKS if data.startswith(start)), None)
    if mark and not encoding and not described:
        raise DataError(f"'{path}' is written in {mark.upper()}; save it as UTF-8.")
    encoding = encoding or mark or "utf-8"
    if mark is None:
        _refuse_other_kinds(data, path)
    if codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig"):
        data = _recoded(data, encoding, path)
    else:
        encoding = "utf-8"
    data = data.removeprefix(codecs.BOM_UTF8)
    if b"\r" in data and b"\n" not in data:  # line ends of old Macintosh files
        data = data.replace(b"\r", b"\n")
    return Content(path, data, encoding)


def _bytes(path: Path) -> bytes:
    kind = packing(path)
    if kind is None:
        return path.read_bytes()
    with pa.OSFile(str(path)) as file, pa.CompressedInputStream(file, kind) as stream:
        content: bytes = stream.read()
    return content


def _recoded(data: bytes, encoding: str, path: Path) -> bytes:
    """Return text of another encoding as UTF-8."""
    try:
        return data.decode(encoding).encode("utf-8")
    except UnicodeError as error:
        at = getattr(error, "start", 0)
        raise DataError(
            f"'{path}', byte {at + 1} is not {encoding}; give the encoding in which the file is "
            "written, or save it as UTF-8."
        ) from None


def _refuse_other_kinds(data: bytes, path: Path) -> None:
    """Refuse files whose first bytes say that they are something else."""
    kind = next((name for sign, name in SIGNS.items() if data.startswith(sign)), None)
    if kind == "Git LFS pointer":
        raise DataError(
            f"'{path}' is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`."
        )
    if kind:
        raise DataError(f"'{path}' is a {kind} file, whatever its name says; unpack or rename it.")


def lines(path: Path, found: Found = None) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line of a UTF-8 file, refusing what is not text.

    Raises:
        DataError: for a line that is too long, is no UTF-8 or holds a NUL.
    """
    with path.open("rb") as file:
        yield from _lines(file, path, found, False)


def _lines(file: IO[bytes], path: Path, found: Found, described: bool) -> Iterator[tuple[int, str]]:
    number = 0
    while raw := file.readline(LIMIT + 1):
        number += 1
        if number == 1:
            raw = _without_mark(raw, path)
        if len(raw) > LIMIT:
            report(DataError(
                f"'{path}', line {number} is longer than {LIMIT >> 20} MiB; most likely the "
                "file has no line breaks; put each example on its own line."
            ), found)  # fmt: skip
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(LIMIT)
            continue
        try:
            text = _decoded(raw, path, number, described)
        except DataError as problem:
            report(problem, found)
            continue
        yield number, text


def _without_mark(raw: bytes, path: Path) -> bytes:
    """Drop a UTF-8 byte-order mark; refuse UTF-16 and packed files by their first bytes."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"'{path}' is written in UTF-16; save it as UTF-8.")
    _refuse_other_kinds(raw, path)
    return raw.removeprefix(codecs.BOM_UTF8)


def _decoded(raw: bytes, path: Path, number: int, described: bool) -> str:
    advice = ADVICE if described else ""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"'{path}', line {number}, byte {error.start + 1} is {raw[error.start]:#04x}, which is "
            f"not UTF-8 (Latin-1 or Windows-1252?); save the file as UTF-8{advice}."
        ) from None
    if "\0" in text:
        raise DataError(
            f"'{path}', line {number}, character {text.index(chr(0)) + 1} is a NUL character, "
            "which is not allowed in text; remove it, or save the file as UTF-8 if it is UTF-16."
        )
    return text
