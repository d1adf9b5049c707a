"""Entries of the cache on disk: a folder that is there whole, or not at all.

Written under a temporary name with a manifest of sizes and checksums, then renamed; a damaged
entry counts as absent and is removed. Two processes may write the same entry: the first wins.
A disk that refuses costs time, never a run. Must not import torch or pandas.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dtvg import paths

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"


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


def keep(place: Path, write: Callable[[Path], None], facts: dict[str, Any]) -> bool:
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
            log.warning("nothing is kept in the cache '%s': %s", place, error)
            return False
    return True


def look(place: Path) -> dict[str, Any] | None:
    """Return an entry's facts; None where there is none, or a damaged one (then removed)."""
    try:
        manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        for name, expected in manifest["files"].items():
            if checksum(place / name) != expected:
                raise ValueError(f"'{name}' is not as it was written")
        facts: dict[str, Any] = manifest["facts"]
    except FileNotFoundError:
        if place.is_dir():
            remove(place)
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("the cache entry '%s' is damaged (%s) and made anew", place, error)
        remove(place)
        return None
    return facts


def remove(place: Path) -> None:
    """Take an entry away; readers that have it open keep what they mapped."""
    gone = place.with_name(f".{place.name}.{os.getpid()}.gone")
    with contextlib.suppress(OSError):
        place.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
