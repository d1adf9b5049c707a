"""Deleting experiments and runs: they are moved under `<home>/trash`, and can be put back.

Nothing is ever removed from the disk here; a move within one file system is atomic.
docs/run_files.md "Deleted runs".
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from dtvg import paths
from dtvg.errors import StoreError
from dtvg.names import check_name
from dtvg.store.files import read_json, replace_json
from dtvg.store.layout import ExperimentDir
from dtvg.store.reader import open_run

ORIGIN = "origin.json"
HELD = "content"


@dataclass(frozen=True)
class Deleted:
    """Something in the trash."""

    id: str
    name: str
    """`experiment` or `experiment/run`."""
    origin: Path
    """Where it lay and goes back to."""
    time: float


def root() -> Path:
    """Return the folder of deleted things."""
    return paths.home() / "trash"


def delete(experiment: ExperimentDir, run: str | None = None) -> Deleted:
    """Move an experiment, or one of its runs, to the trash.

    Raises:
        StoreError: it trains, is not there, or cannot be moved.
    """
    views = [open_run(r.path) for r in experiment.runs() if run in (None, r.name)]
    origin = experiment.path if run is None else experiment.run(run).path
    name = experiment.name if run is None else f"{experiment.name}/{run}"
    if not origin.is_dir():
        raise StoreError(f"There is no '{name}' to delete; `python -m dtvg runs list` shows all.")
    alive = [view.name for view in views if view.problem is None and view.state.alive]
    if alive:
        raise StoreError(
            f"'{name}' trains ({', '.join(alive[:4])}); stop it first with "
            f"`python -m dtvg runs stop {name}`."
        )
    made = Deleted(_free_id(name), name, origin, time.time())
    place = root() / made.id
    try:
        place.mkdir(parents=True)
        replace_json(place / ORIGIN, {"name": name, "origin": str(origin), "time": made.time})
        shutil.move(origin, place / HELD)
    except OSError as error:
        raise StoreError(f"'{name}' cannot be moved to '{place}' ({error.strerror}).") from None
    return made


def deleted() -> list[Deleted]:
    """Return what is in the trash, the newest first."""
    found = []
    for place in root().iterdir() if root().is_dir() else ():
        facts = read_json(place / ORIGIN)
        if facts is not None and (place / HELD).is_dir():
            origin = Path(str(facts["origin"]))
            found.append(Deleted(place.name, str(facts["name"]), origin, float(facts["time"])))
    return sorted(found, key=lambda one: -one.time)


def restore(wanted: str) -> Deleted:
    """Put something back where it lay.

    Args:
        wanted: its id, or its name (the newest of that name).

    Raises:
        StoreError: nothing of that name is in the trash, or its place is taken.
    """
    found = [one for one in deleted() if wanted in (one.id, one.name)]
    if not found:
        held = ", ".join(one.name for one in deleted()[:6]) or "nothing"
        raise StoreError(f"There is no '{wanted}' in the trash, which holds {held}.")
    one = found[0]
    if one.origin.exists():
        raise StoreError(
            f"'{one.origin}' is there again, so '{one.name}' cannot go back; rename one of them."
        )
    try:
        one.origin.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(root() / one.id / HELD, one.origin)
        shutil.rmtree(root() / one.id, ignore_errors=True)
    except OSError as error:
        raise StoreError(f"'{one.name}' cannot be put back ({error.strerror}).") from None
    return one


def _free_id(name: str) -> str:
    """Return a name for a folder of the trash: when, and what."""
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{name.replace('/', '-')}"[:70]
    number, found = 1, stem
    while (root() / found).exists():
        number += 1
        found = f"{stem}-{number}"
    return check_name(found, "name in the trash")
