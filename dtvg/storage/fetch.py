"""Bringing experiments and prompts from a store into folders, as of their newest whole manifests.

Every file is compared with its digest. A part whose manifest did not change costs one listing.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dtvg.errors import StoreError, unknown
from dtvg.names import is_name
from dtvg.plain_text import load_json
from dtvg.storage.manifest import (
    EXPERIMENT,
    Found,
    Manifest,
    Stored,
    folder_of,
    listed,
    newest,
    number_of,
    object_name,
)
from dtvg.storage.place import Place, Unreadable
from dtvg.store.files import json_object, read_json, replace_bytes, replace_json

NOTE = ".fetched.json"
"""File of a fetched experiment: which manifests it shows, and the digest of each file."""
TRIES = 3
"""A file may be removed while a slow reader comes to it: then the newer manifest is read."""


log = logging.getLogger(__name__)
_told: set[str] = set()
"""What was said once of damaged files."""


@dataclass
class Note:
    """What a fetched folder holds."""

    id: str = ""
    parts: dict[str, int] = field(default_factory=dict)
    files: dict[str, dict[str, str]] = field(default_factory=dict)
    """Part → path → digest."""
    turn: int = 0
    prompts: dict[str, list[str]] = field(default_factory=dict)
    """Part → entries of the bank that it made or used."""
    uri: str = ""
    """Of the store that it came from; empty in notes of before it was noted."""

    @classmethod
    def read(cls, folder: Path) -> Note:
        """Return the note of a folder; an empty one where there is none that can be read."""
        content = read_json(folder / NOTE) or {}
        try:
            return cls(
                str(content["id"]),
                dict(content["parts"]),
                dict(content["files"]),
                int(content["turn"]),
                dict(content["prompts"]),
                str(content.get("uri", "")),
            )
        except (KeyError, TypeError, ValueError):
            return cls()


def names_in(place: Place) -> list[str]:
    """Return the names of the experiments in a store.

    Raises:
        StoreError: the store fails.
    """
    return [name for name in place.folders("runs") if is_name(name)]


def manifests_of(
    place: Place, name: str, known: Mapping[str, int] | None = None
) -> dict[str, Found]:
    """Return the newest whole manifest of each part of an experiment.

    Args:
        place: the store.
        name: of the experiment.
        known: numbers of manifests, by part, that are not read again.

    Raises:
        StoreError: the store fails.
    """
    parts = listed(place.names(f"{folder_of(name)}/manifests"))
    wanted = {
        part: names
        for part, names in parts.items()
        if (known or {}).get(part) != number_of(names[0])
    }
    with ThreadPoolExecutor(place.threads) as pool:
        found = pool.map(lambda names: newest(place, names), wanted.values())
        return {part: one for part, one in zip(wanted, found, strict=True) if one is not None}


def bring(
    place: Place, name: str, folder: Path, settle: Callable[[Found], None]
) -> dict[str, Manifest]:
    """Bring an experiment's files into a folder, and remove those that were merged away since.

    Args:
        place: the store.
        name: of the experiment.
        folder: the experiment's, which only this function writes.
        settle: writes the small files of a part, which the manifest itself holds.

    Returns:
        The manifests that are new, by part; empty where nothing is.

    Raises:
        StoreError: the store fails, or what it holds is damaged.
    """
    for attempt in range(TRIES):
        note = Note.read(folder)
        if note.uri not in ("", place.uri):  # begun from another store, which counts for itself
            shutil.rmtree(folder)
            note = Note()
        found = manifests_of(place, name, note.parts)
        if found and any(one.manifest.id != note.id for one in found.values()) and note.id:
            shutil.rmtree(folder)  # another experiment of that name
            continue
        if EXPERIMENT not in found and EXPERIMENT not in note.parts:
            return {}  # nothing of it is to be seen yet
        try:
            for part in sorted(found, key=lambda part: part == EXPERIMENT):
                _bring_part(place, found[part], folder, note)
                settle(found[part])
                _note_part(place, folder, note, found[part])
        except FileNotFoundError:
            if attempt == TRIES - 1:
                raise Unreadable(
                    f"'{place.uri}' lacks files of '{name}' that it should hold; they were removed "
                    "there. Copy them again with `dtvg runs push`."
                ) from None
            continue
        return {part: one.manifest for part, one in found.items()}
    return {}


def look_again(folder: Path, part: str) -> None:
    """Let the next `bring` return a part's manifest again, though nothing of it is new.

    Args:
        folder: of a fetched experiment.
        part: whose files are here but could not be used.
    """
    note = Note.read(folder)
    note.parts.pop(part, None)
    replace_json(folder / NOTE, note.__dict__, durable=False)


def _bring_part(place: Place, found: Found, folder: Path, note: Note) -> None:
    """Bring what is new of a part: results last, so that a reader sees nothing too early."""
    manifest = found.manifest
    had = note.files.get(manifest.part, {})
    wanted = {
        path: file
        for path, file in manifest.files.items()
        if had.get(path) != file.sha256 or not (folder / path).exists()
    }
    last = [
        path for path in wanted if path.rpartition("/")[2] in ("result.json", "experiment.yaml")
    ]
    first = [path for path in wanted if path not in last]
    for group in (first, last):
        _bring_files(place, manifest, {path: wanted[path] for path in group}, folder)
    elsewhere = {p for part, its in note.files.items() if part != manifest.part for p in its}
    for path in set(had) - set(manifest.files) - elsewhere:
        (folder / path).unlink(missing_ok=True)


def _note_part(place: Place, folder: Path, note: Note, found: Found) -> None:
    """Note that a part is here, all of it."""
    manifest = found.manifest
    note.id, note.turn = manifest.id, max(note.turn, manifest.turn)
    note.uri = place.uri
    note.parts[manifest.part] = found.number
    note.files[manifest.part] = {path: file.sha256 for path, file in manifest.files.items()}
    note.prompts[manifest.part] = list(manifest.prompts)
    replace_json(folder / NOTE, note.__dict__, durable=False)


def _bring_files(
    place: Place, manifest: Manifest, files: Mapping[str, Stored], folder: Path
) -> None:
    def one(path: str) -> None:
        file = files[path]
        content = place.read(object_name(manifest.experiment, path, file.sha256))
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise Unreadable(
                f"'{path}' of '{manifest.experiment}' is damaged in '{place.uri}'; remove it there "
                "and copy it again with `dtvg runs push`."
            )
        replace_bytes(folder / path, content, durable=False)

    with ThreadPoolExecutor(place.threads) as pool:
        for _ in pool.map(one, files):
            pass


def bring_prompts(place: Place, root: Path, only: Iterable[str] | None = None) -> int:
    """Bring entries of the bank that a folder lacks; return how many.

    Args:
        place: the store.
        root: the bank's folder.
        only: names of entries; None: all.

    Raises:
        StoreError: the store fails.
    """
    names = place.folders("prompts") if only is None else sorted(set(only))
    lacking = [n for n in names if is_name(n) and not (root / n / "prompt.json").exists()]

    def one(name: str) -> bool:
        try:
            facts = place.read(f"prompts/{name}/prompt.json")
            digest = str(load_json(facts)["sha256"])
            tensors = place.read(f"prompts/{name}/prompt.{digest[:16]}.safetensors")
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return False  # it is being copied
        if hashlib.sha256(tensors).hexdigest() != digest:
            return False
        replace_bytes(root / name / "prompt.safetensors", tensors)
        replace_bytes(root / name / "prompt.json", facts)
        return True

    with ThreadPoolExecutor(place.threads) as pool:
        return sum(pool.map(one, lacking))


def texts_of(place: Place, manifest: Manifest) -> dict[str, dict[str, Any]]:
    """Return what a manifest's small files hold, by path; damaged ones are left out and said once.

    Args:
        place: the store.
        manifest: of a part.
    """
    found = {path: json_object(text) for path, text in manifest.texts.items()}
    for path in (p for p, content in found.items() if content is None):
        said = f"'{path}' of '{manifest.experiment}' in '{place.uri}' is damaged and was left out."
        if said not in _told:
            _told.add(said)
            log.warning("%s", said)
    return {path: content for path, content in found.items() if content is not None}


def require_experiment(place: Place, name: str) -> None:
    """Refuse a name that a store does not have.

    Raises:
        StoreError: with the nearest name.
    """
    known = names_in(place)
    if name not in known:
        raise StoreError(unknown("experiment", name, known, f"Looked in '{place.uri}'."))


def age_of(place: Place, found: Found, now: float | None) -> float:
    """Return the seconds since a manifest was written; by the store's clock where it tells.

    Args:
        place: the store.
        found: the manifest.
        now: the store's time; None: this machine's clock has to do.
    """
    when = place.modified(found.name) or found.manifest.time
    return max(0.0, (time.time() if now is None else now) - when)
