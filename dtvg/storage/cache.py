"""Looking at a storage mirror (`DTVG_RUNS=URI`): a read-only copy that is brought up to date.

Whether a run still trains is told by the age of its part's newest manifest.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dtvg import paths
from dtvg.config.storage import uri_problem
from dtvg.errors import DtvgError, StoreError
from dtvg.storage.fetch import (
    NOTE,
    Note,
    age_of,
    bring,
    bring_prompts,
    look_again,
    names_in,
    texts_of,
)
from dtvg.storage.manifest import EXPERIMENT, Found
from dtvg.storage.place import Place, Unreadable
from dtvg.store.files import COPY_OF, locked, read_json, replace_bytes, replace_json
from dtvg.store.layout import add_run, load_experiment

EVERY_SECONDS = 10.0
"""An app brings its copy up to date so often."""
ELSEWHERE = "copied "
"""Put before the boot of processes, so that nobody looks for them on this machine."""
LOOKED = ".looked.json"
"""When the copy was last brought up to date, and what went wrong then."""


def refresh(uri: str, root: Path) -> None:
    """Bring the copy of a storage mirror up to date.

    Args:
        uri: of the mirror.
        root: the copy's folder, with `runs/` and `prompts/`.

    Raises:
        ConfigError: the URI cannot be used, or packages are missing.
        StoreError: the store fails, or the disk refuses.
    """
    place = Place(uri)
    with undisturbed(root):
        for name in ("runs", "prompts"):
            replace_bytes(root / name / COPY_OF, uri.encode(), durable=False)
        before = float((read_json(root / LOOKED) or {}).get("at") or 0.0)
        began = time.time()
        unreadable = []
        names = names_in(place)
        _forget_gone(root / "runs", names)
        for name in names:
            try:
                _refresh_one(place, name, root / "runs" / name, began - before)
            except Unreadable as error:
                unreadable.append(str(error))
        bring_prompts(place, root / "prompts")
        replace_json(root / LOOKED, {"at": began, "problem": " ".join(unreadable)}, durable=False)


@contextmanager
def undisturbed(root: Path) -> Iterator[None]:
    """Keep a copy as it is, while its files are read or brought up to date.

    Args:
        root: the copy's folder, with `runs/` and `prompts/`.
    """
    with locked(root / ".lock"):
        yield


def _forget_gone(runs: Path, names: Collection[str]) -> None:
    """Remove the copies of experiments that the mirror has no more; none where it shows nothing.

    A folder that is not mounted shows nothing.
    """
    for note in runs.glob(f"*/{NOTE}") if names else ():
        if note.parent.name not in names:
            shutil.rmtree(note.parent, ignore_errors=True)


def _refresh_one(place: Place, name: str, folder: Path, since: float) -> None:
    """Bring one experiment up to date; `since`: seconds since the last time."""
    known = Note.read(folder).parts

    def settle(found: Found) -> None:
        age = age_of(place, found, None)  # clocks differ: no older than the last look at it
        newer = found.manifest.part in known
        texts = texts_of(place, found.manifest)
        _write_texts(folder, texts, min(age, since) if newer else age)

    made = bring(place, name, folder, settle)
    if EXPERIMENT in made:
        try:
            experiment, config = load_experiment(folder)
            recorded = experiment.versions
        except StoreError as error:  # e.g. of a method whose package is not installed here
            look_again(folder, EXPERIMENT)
            raise Unreadable(str(error)) from None
        for run in config.runs():
            add_run(experiment, run, recorded)


def _write_texts(folder: Path, texts: Mapping[str, dict[str, Any]], age: float) -> None:
    """Write the small files; the time of a lease tells the age of the last sign."""
    for path, content in texts.items():
        if "boot" in content:
            content["boot"] = f"{ELSEWHERE}{content['boot']}"
        if isinstance(content.get("process"), Mapping):
            process = content["process"]
            content["process"] = {**process, "boot": f"{ELSEWHERE}{process.get('boot', '')}"}
        replace_json(folder / path, content, durable=False)
        if path.endswith("lease.json"):
            when = time.time() - age
            os.utime(folder / path, (when, when))


def looked(root: Path) -> tuple[float | None, str]:
    """Return when a copy was last brought up to date, and what was wrong then."""
    content = read_json(root / LOOKED) or {}
    at = content.get("at")
    return (float(at) if isinstance(at, int | float) else None), str(content.get("problem") or "")


class Follower:
    """Keeps an app's copy up to date in a thread, as long as pages ask for it."""

    def __init__(self) -> None:
        self.problem = ""
        """Why the newest look failed, one sentence."""
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._asked = 0.0

    def look(self, first: float = 60.0) -> None:
        """Say that a page is drawn; waits, for a while, until there is a copy at all."""
        uri = paths.mirrored_uri()
        if uri is None:
            return
        self._asked = time.monotonic()
        root = paths.mirrored()
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._work, args=(uri, root), name="mirrored", daemon=True
                )
                self._thread.start()
        end = time.monotonic() + first
        while looked(root)[0] is None and not self.problem and time.monotonic() < end:
            time.sleep(0.1)

    def _work(self, uri: str, root: Path) -> None:
        while time.monotonic() - self._asked < 10 * EVERY_SECONDS:
            try:
                refresh(uri, root)
                self.problem = looked(root)[1]
            except DtvgError as error:
                self.problem = str(error)
            time.sleep(EVERY_SECONDS)


FOLLOWER = Follower()
"""Of this process."""


def sentence() -> str:
    """Say what is looked at: the mirror, and how old the copy is; empty: this machine's runs."""
    uri = paths.mirrored_uri()
    if uri is None:
        return ""
    if uri_problem(uri):
        return f"DTVG_RUNS cannot be used: {uri_problem(uri)}"
    at, _ = looked(paths.mirrored())
    age = "not read yet" if at is None else f"as of {max(0.0, time.time() - at):.0f} s ago"
    said = f"Read-only copy of {uri}, {age}."
    return f"{said} {FOLLOWER.problem}".strip()
