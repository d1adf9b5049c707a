"""Tasks as they were read, split and checked, kept on disk as memory-mapped Arrow.

An entry belongs to (files with size and time, or hub commit; settings; the code that turns rows
into examples). It is a folder that is there whole, or not at all; a damaged one counts as absent.
What is beyond a bound is removed by itself: entries of older code first, then those not used for
longest. docs/tasks.md "What is kept on disk".
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import math
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import pyarrow as pa

from dtvg import paths
from dtvg.errors import DataError
from dtvg.plain_text import load_json
from dtvg.tasks.spec import Example, TaskSpec

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"
KINDS = ("tasks", "tokens")
"""Folders of entries: rows, and their token ids (`training/tokens.py`)."""
VERSION_FILE = ".version"
"""Holds a hash of the code that made an entry."""
BOUND = "DTVG_CACHE_GIB"
DEFAULT_GIB = 10.0
RECENT_S = 3600.0
"""An entry used within this time is left: a run may be reading it."""
LEFTOVER_S = 86_400.0
"""Age at which what an ended process left half-made is removed."""
SPLITS = ("train", "validation", "test")
SCHEMA = pa.schema(
    [
        ("source", pa.large_string()),
        ("target", pa.string()),
        ("references", pa.list_(pa.string())),
        ("label", pa.int32()),
        ("group", pa.string()),
    ]
)
CHUNK = 2048
"""Examples built at a time when all are walked through."""


class StoredExamples(Sequence[Example]):
    """A split in a memory-mapped file; equal to a tuple of the same examples."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @overload
    def __getitem__(self, row: int) -> Example: ...
    @overload
    def __getitem__(self, row: slice) -> tuple[Example, ...]: ...
    def __getitem__(self, row: int | slice) -> Example | tuple[Example, ...]:
        if isinstance(row, slice):
            start, stop, step = row.indices(len(self))
            if step == 1:
                return tuple(_examples(self._table.slice(start, max(0, stop - start))))
            return tuple(self[i] for i in range(start, stop, step))
        place = int(row) + (len(self) if row < 0 else 0)
        if not 0 <= place < len(self):
            raise IndexError(row)
        return next(_examples(self._table.slice(place, 1)))

    def __iter__(self) -> Iterator[Example]:
        for start in range(0, len(self), CHUNK):
            yield from _examples(self._table.slice(start, CHUNK))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, tuple | StoredExamples):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


def _examples(table: pa.Table) -> Iterator[Example]:
    columns = [table.column(name).to_pylist() for name in SCHEMA.names]
    for source, target, references, label, group in zip(*columns, strict=True):
        yield Example(source, target, tuple(references), label, group)


@dataclass(frozen=True)
class Prepared:
    """What an entry holds."""

    splits: tuple[Sequence[Example], Sequence[Example], Sequence[Example]]
    fingerprint: str
    notes: tuple[str, ...]
    origin: str
    rule: str = ""


def key_of(spec: TaskSpec, folder: Path | None, choice: Any, signature: Any) -> str | None:
    """Return the name of a task's entry; None where what the hub holds may change."""
    if folder is None and spec.revision is None:
        return None
    parts = (code(), spec, str(folder), choice, signature)
    text = "\x1f".join(_plain(part) for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _plain(part: Any) -> str:
    """Return a part of the key as text that is the same in every process."""
    if isinstance(part, TaskSpec):
        own = part.convert if part.described_in else None
        return f"{part!r} {own!r}"  # functions are left out of the first, and are in `code`
    return repr(part)


@functools.lru_cache(maxsize=1)
def code() -> str:
    """Return a hash of this package's modules, so that an entry of other code is not used."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def place_of(key: str) -> Path:
    """Return the folder of an entry."""
    return root() / "tasks" / key


def find(key: str) -> Prepared | None:
    """Open an entry; None where there is no whole one."""
    place = place_of(key)
    facts = look(place)
    if facts is None:
        return None
    touch(place)
    try:
        first, second, third = (_open(place / f"{split}.arrow") for split in SPLITS)
        notes = tuple(str(note) for note in facts["notes"])
        return Prepared(
            (first, second, third),
            facts["fingerprint"],
            notes,
            facts["origin"],
            facts["rule"],
        )
    except (OSError, KeyError, TypeError, pa.ArrowException):
        remove(place)
        return None


def _open(path: Path) -> StoredExamples:
    with pa.memory_map(str(path)) as source:
        table = pa.ipc.open_file(source).read_all()
    if table.schema != SCHEMA:
        raise pa.ArrowInvalid(f"'{path}' has other columns")
    return StoredExamples(table)


def keep(key: str, data: Prepared) -> bool:
    """Write an entry; return whether it is there."""

    def write(folder: Path) -> None:
        for split, rows in zip(SPLITS, data.splits, strict=True):
            table = _table(rows)
            sink = str(folder / f"{split}.arrow")
            with pa.ipc.new_file(sink, SCHEMA) as writer:
                writer.write_table(table)
        (folder / VERSION_FILE).write_text(code(), encoding="utf-8")

    facts = {
        "fingerprint": data.fingerprint,
        "notes": data.notes,
        "origin": data.origin,
        "rule": data.rule,
    }
    place = place_of(key)
    made = keep_entry(place, write, facts)
    prune(place)
    return made


def _table(rows: Sequence[Example]) -> pa.Table:
    columns: dict[str, list[Any]] = {
        "source": [e.source for e in rows],
        "target": [e.target for e in rows],
        "references": [e.references for e in rows],
        "label": [e.label for e in rows],
        "group": [e.group for e in rows],
    }
    return pa.table(columns, schema=SCHEMA)


def root() -> Path:
    """Return the folder of all entries, `<home>/cache`."""
    return paths.home() / "cache"


def checksum(path: Path) -> list[int]:
    """Return a file's size and CRC-32."""
    total, value = 0, 0
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            total += len(part)
            value = zlib.crc32(part, value)
    return [total, value]


def keep_entry(place: Path, write: Callable[[Path], None], facts: dict[str, Any]) -> bool:
    """Make an entry.

    Args:
        place: its folder.
        write: puts the entry's files into the folder it is given.
        facts: what the manifest keeps beside the checksums.

    Returns:
        Whether the entry is there now, ours or another process'.
    """
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        write(temporary)
        held = {path.name: checksum(path) for path in sorted(temporary.iterdir())}
        text = json.dumps({"facts": facts, "files": held}, ensure_ascii=False)
        (temporary / MANIFEST).write_text(text, encoding="utf-8")
        temporary.rename(place)
    except (OSError, ValueError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if not (place / MANIFEST).is_file():
            log.warning("nothing can be kept in the cache '%s': %s", place, error)
            return False
    return True


def look(place: Path) -> dict[str, Any] | None:
    """Return an entry's facts; None where there is none, or a damaged one (then removed)."""
    try:
        manifest = load_json((place / MANIFEST).read_text(encoding="utf-8"))
        for name, expected in manifest["files"].items():
            if checksum(place / name) != expected:
                raise ValueError(f"'{name}' is not as it was written")
        facts: dict[str, Any] = manifest["facts"]
    except FileNotFoundError:
        if place.is_dir():
            remove(place)
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("the cache entry '%s' is damaged (%s) and is made again", place, error)
        remove(place)
        return None
    return facts


def remove(place: Path) -> None:
    """Take an entry away; readers that have it open keep what they mapped."""
    gone = place.with_name(f".{place.name}.{os.getpid()}.gone")
    with contextlib.suppress(OSError):
        place.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def touch(place: Path) -> None:
    """Note that an entry is used now."""
    with contextlib.suppress(OSError):
        os.utime(place)


@dataclass(frozen=True)
class Entry:
    """One entry as it lies on disk."""

    place: Path
    kind: str
    size: int
    """Bytes of its files."""
    used: float
    """When it was last used, in seconds since 1970."""
    version: str
    """Hash of the code that made it, empty where that was not written down."""


def entries() -> list[Entry]:
    """Return all entries of rows and of token ids, the one last used first."""
    found = []
    for kind in KINDS:
        for place in _listed(root() / kind):
            if not place.name.startswith("."):
                with contextlib.suppress(OSError):  # another process may take it away
                    found.append(_entry(place, kind))
    return sorted(found, key=lambda entry: -entry.used)


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []


def _entry(place: Path, kind: str) -> Entry:
    size = sum(path.stat().st_size for path in place.iterdir())
    try:
        version = (place / VERSION_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        version = ""
    return Entry(place, kind, size, place.stat().st_mtime, version)


def older(found: Sequence[Entry]) -> set[Path]:
    """Return the entries made by other code than the one last used of their kind."""
    newest: dict[str, str] = {}
    for entry in sorted(found, key=lambda entry: -entry.used):
        newest.setdefault(entry.kind, entry.version)
    return {entry.place for entry in found if entry.version != newest[entry.kind]}


def bound() -> int:
    """Return how many bytes may be kept: `DTVG_CACHE_GIB`, 10 GiB by default."""
    text = os.environ.get(BOUND, "")
    try:
        given = float(text) if text else DEFAULT_GIB
        if not 0 <= given < math.inf:
            raise ValueError
    except ValueError:
        log.warning("%s is '%s', not a number of GiB; %g is used", BOUND, text, DEFAULT_GIB)
        given = DEFAULT_GIB
    return int(given * (1 << 30))


def prune(spare: Path | None = None) -> list[Path]:
    """Remove entries until the rest is within the bound; return what was removed.

    Entries of older code go first, then those not used for longest.

    Args:
        spare: an entry that stays, because it was just made.
    """
    now = time.time()
    for kind in KINDS:
        for place in _listed(root() / kind):
            if place.name.startswith("."):
                with contextlib.suppress(OSError):
                    if now - place.stat().st_mtime > LEFTOVER_S:
                        shutil.rmtree(place, ignore_errors=True)
    found = entries()
    total, limit, gone = sum(entry.size for entry in found), bound(), []
    old = older(found)
    for entry in sorted(found, key=lambda entry: (entry.place not in old, entry.used)):
        if total <= limit:
            break
        if entry.place != spare and now - entry.used > RECENT_S:
            remove(entry.place)
            if not entry.place.exists():
                total -= entry.size
                gone.append(entry.place)
    return gone


def empty() -> list[Entry]:
    """Remove every entry; return what was removed.

    Raises:
        DataError: the disk refuses.
    """
    found = entries()
    for entry in found:
        remove(entry.place)
    left = [entry for entry in found if entry.place.exists()]
    if left:
        raise DataError(
            f"{len(left)} of {len(found)} entries cannot be removed, such as '{left[0].place}'; "
            "make its folder writable."
        )
    return found
