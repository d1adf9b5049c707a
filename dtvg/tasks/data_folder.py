"""A folder of data sets: what it holds, checked at once; and the folders that were used before.

Nothing below a data set's own folder is read. docs/launch.md "Data folder".
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dtvg import paths
from dtvg.tasks.catalogue import shipped_tasks
from dtvg.tasks.sources import source_of
from dtvg.tasks.spec import TaskSpec

MOST_FOLDERS = 200
"""Sub-folders listed at most."""
KEPT = 8
"""Folders that are remembered."""


@dataclass(frozen=True)
class Looked:
    """What is in a folder."""

    path: Path
    problem: str = ""
    """Why it cannot be used, with what to do; empty: it can be listed."""
    tasks: tuple[str, ...] = ()
    """Tasks whose rows it holds."""
    broken: tuple[str, ...] = ()
    """One sentence for each task whose folder lacks files."""
    folders: tuple[str, ...] = ()
    """Names of its sub-folders, hidden ones left out."""
    more: int = 0
    """Sub-folders beyond those listed."""

    def sentence(self, wanted: Iterable[str] = ()) -> str:
        """Say what was found.

        Args:
            wanted: tasks that an experiment names; what it lacks of them is said.
        """
        if self.problem:
            return self.problem
        if not self.tasks:
            said = f"{self.path} holds no data set of a known task"
            return (
                f"{said}; it has {len(self.folders)} sub-folders." if self.folders else f"{said}."
            )
        names = ", ".join(self.tasks[:8])
        names += f" and {len(self.tasks) - 8} more" if len(self.tasks) > 8 else ""
        own = shipped_tasks()
        lacking = [t for t in wanted if t in own and own[t].is_published]
        lacking = [t for t in lacking if t not in self.tasks]
        rest = f" Not there: {', '.join(lacking)}." if lacking else ""
        return f"{self.path} holds {names}.{rest}"


def look_into(folder: str) -> Looked:
    """Look what a folder holds.

    Args:
        folder: as typed; `~` and environment variables are put in.
    """
    path = Path(os.path.expandvars(folder.strip()))
    try:
        path = path.expanduser().absolute()
        if not path.is_dir():
            return Looked(path, _absent(path))
        names = sorted(e.name for e in os.scandir(path) if e.is_dir() and e.name[0] != ".")
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: nobody's home folder
        why = getattr(error, "strerror", None) or "its name cannot be used"
        return Looked(path, f"'{path}' cannot be read ({why}).")
    held, broken = [], []
    for name, spec in _published().items():
        if spec.folder in names:
            lacks = source_of(spec).missing(spec, path / spec.folder)
            if lacks:
                broken.append(f"{name}: {' and '.join(lacks)} missing in '{spec.folder}'.")
            else:
                held.append(name)
    more = max(0, len(names) - MOST_FOLDERS)
    return Looked(path, "", tuple(held), tuple(broken), tuple(names[:MOST_FOLDERS]), more)


def _published() -> dict[str, TaskSpec]:
    return {n: spec for n, spec in shipped_tasks().items() if spec.is_published}


def _absent(path: Path) -> str:
    """Say how far a path exists."""
    if path.is_file():
        return f"'{path}' is a file; give the folder that holds the data sets' folders."
    there = next((p for p in path.parents if _is_dir(p)), Path(path.anchor))
    return f"There is no folder '{path}'; '{there}' exists."


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


# ---- what was used before


def _file() -> Path:
    return paths.home() / "data_folders.json"


def remembered() -> list[str]:
    """Return the folders that were used before and still exist, the newest first."""
    try:
        found = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    names = [one for one in found if isinstance(one, str)] if isinstance(found, list) else []
    return [name for name in names[:KEPT] if _is_dir(Path(name))]


def remember(folder: Path) -> None:
    """Put a folder first among those used before; where the disk refuses, it is not remembered."""
    names = list(dict.fromkeys([str(folder), *remembered()]))[:KEPT]
    if names == remembered():
        return
    try:
        paths.home().mkdir(parents=True, exist_ok=True)
        fresh = _file().with_name(f".{_file().name}.{os.getpid()}")
        fresh.write_text(json.dumps(names, indent=1), encoding="utf-8")
        fresh.replace(_file())
    except OSError:
        return
