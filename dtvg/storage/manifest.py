"""Manifests: which files a part of an experiment has in a store, written last, read first.

A part is the experiment itself, one cohort, or the runs that are in none. Files lie under names
that hold their digest and are never overwritten, so the newest whole manifest always names files
that are there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from dtvg.storage.place import Place, Unreadable
from dtvg.store import digests

VERSION = 1
EXPERIMENT = "experiment"
"""The part that is the experiment itself."""
COHORT = "cohort-"
"""A cohort's part: this and its id."""
RUNS = "runs"
"""The part of runs that are in no cohort: of a merged experiment, or a recorded one's copy."""
_NAME = re.compile(r"(\d{9})\.json")


class Stored(BaseModel):
    """A file that lies in the store under its path and digest."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sha256: str
    size: int


class Manifest(BaseModel):
    """What a part has, as of one commit."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: int
    experiment: str
    id: str
    """Names the experiment beyond its name."""
    turn: int = 0
    """Rises whenever the experiment is restored to be trained on elsewhere."""
    part: str
    host: str = ""
    time: float = 0.0
    """By the writer's clock."""
    files: dict[str, Stored]
    """Path in the experiment's folder → file."""
    texts: dict[str, str]
    """Path → content of the small files that change with every second."""
    prompts: tuple[str, ...] = ()
    """Entries of the bank that the part used or made."""


@dataclass(frozen=True)
class Found:
    """The newest whole manifest of a part."""

    manifest: Manifest
    number: int
    name: str
    others: tuple[str, ...] = field(default=())
    """Names of older manifests that are still there."""


def folder_of(experiment: str) -> str:
    """Return where an experiment lies in a store."""
    return f"runs/{experiment}"


def object_name(experiment: str, path: str, sha256: str) -> str:
    """Return under which name a file lies: its path, with 16 hex digits of its digest."""
    stem, dot, suffix = path.rpartition(".")
    named = (
        f"{stem}.{sha256[:16]}.{suffix}" if dot and "/" not in suffix else f"{path}.{sha256[:16]}"
    )
    return f"{folder_of(experiment)}/files/{named}"


def manifest_name(experiment: str, part: str, number: int) -> str:
    """Return the name of a part's n-th manifest."""
    return f"{folder_of(experiment)}/manifests/{part}/{number:09d}.json"


def listed(names: Iterable[str]) -> dict[str, list[str]]:
    """Sort names of manifests by part, each with the newest first."""
    found: dict[str, list[str]] = {}
    for name in sorted(names, reverse=True):
        *_, part, file = name.split("/")
        if _NAME.fullmatch(file):
            found.setdefault(part, []).append(name)
    return found


def number_of(name: str) -> int:
    """Return which manifest of its part a name is."""
    return int(Path(name).stem)


def write(place: Place, manifest: Manifest, number: int) -> str:
    """Write a manifest, with its digest; return its name."""
    content = digests.with_digest(manifest.model_dump(mode="json"))
    name = manifest_name(manifest.experiment, manifest.part, number)
    place.put(name, json.dumps(content, ensure_ascii=False).encode())
    return name


def newest(place: Place, names: list[str]) -> Found | None:
    """Return the newest whole manifest among those of a part; None where there is none.

    Args:
        place: the store.
        names: of one part, the newest first.

    Raises:
        StoreError: the store fails, or the manifest is of a later version of this program.
    """
    for at, name in enumerate(names):
        try:
            content = json.loads(place.read(name))
        except (ValueError, FileNotFoundError, RecursionError):
            continue  # cut off, or removed since
        if not isinstance(content, Mapping) or not digests.is_whole(content):
            continue
        made = _checked(name, content)
        if made is not None:
            return Found(made, number_of(name), name, tuple(names[at + 1 :]))
    return None


def _checked(name: str, content: Mapping[str, Any]) -> Manifest | None:
    if isinstance(content.get("version"), int) and content["version"] > VERSION:
        raise Unreadable(
            f"'{name}' was written by a later version of this program (layout "
            f"{content['version']}, known {VERSION}); install that version to read it."
        )
    try:
        made = Manifest(**content)
    except (ValidationError, TypeError):
        return None
    safe = all(_is_inside(path) for path in (*made.files, *made.texts, *made.prompts))
    return made if safe else None


def _is_inside(path: str) -> bool:
    """Whether a path stays in its folder: a store may be written by others."""
    pieces = path.split("/")
    return not any(p in ("", ".", "..") or "\\" in p or "\0" in p for p in pieces)


def sha256_of(path: Path) -> tuple[str, int]:
    """Return a file's SHA-256 and size."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size
