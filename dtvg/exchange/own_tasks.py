"""Tasks of one's own that travel with an experiment: description and data, beside its files.

In the archive a task is a folder `tasks/NAME` with `NAME.yaml` and its data. A task that comes in
may name files of its own folder only, and replaces nothing. docs/run_files.md "One file".
"""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from dtvg.config import ExperimentConfig
from dtvg.errors import DataError, DtvgError
from dtvg.exchange import archives
from dtvg.names import is_name
from dtvg.tasks import own
from dtvg.tasks.catalogue import described_tasks, shipped_tasks
from dtvg.tasks.files import own_files
from dtvg.tasks.places import ending_of
from dtvg.tasks.spec import TaskSpec

FOLDER = "tasks"
LARGEST = 1 << 30
"""Bytes of a task's data that travel; of a larger one only the description does."""


def of_experiment(config: ExperimentConfig) -> list[TaskSpec]:
    """Return the tasks of one's own that an experiment uses, as far as they are still there."""
    there, _ = described_tasks()
    used = dict.fromkeys((*config.targets, *config.sources))
    return [there[name] for name in used if name in there]


def entries(spec: TaskSpec) -> Iterator[tuple[str, Path | bytes]]:
    """Yield what of a task goes into an archive: name in it, and a file or its content.

    Where data lie elsewhere than beside the description, or are named as only this machine knows
    them, a copy of the description names what travels.

    Args:
        spec: a task of one's own.
    """
    text = Path(spec.described_in).read_bytes()
    root, beside = f"{FOLDER}/{spec.name}", Path(spec.described_in).parent
    kept = data_of(spec)
    names: dict[Path, str] = {}
    for _, path in kept:
        if path not in names:
            names[path] = _name_for(path, {f"{spec.name}.yaml", *names.values()})
    values = yaml.safe_load(text)
    moved = any(path.parent != beside or names[path] != path.name for path in names)
    if moved or (names and any(map(_is_of_this_machine, _places(values["files"])))):
        splits = dict.fromkeys(split for split, _ in kept)
        values["files"] = {s: [names[p] for split, p in kept if split == s] for s in splits}
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode()
    yield f"{root}/{spec.name}.yaml", text
    for path, name in names.items():
        yield f"{root}/{name}", path


def data_of(spec: TaskSpec) -> list[tuple[str, Path]]:
    """Return split and file of all data that travel with a task: each file that a name, a glob or a
    folder stands for. Nothing where one is missing, or all are more than `LARGEST`."""
    try:
        found = _every_file(spec)
    except DataError:
        return []
    return found if sum(path.stat().st_size for _, path in found) <= LARGEST else []


def _every_file(spec: TaskSpec) -> list[tuple[str, Path]]:
    """Return split and file of all data, in the order in which they are read.

    Raises:
        DataError: one is not there.
    """
    return [
        (split, path) for split, place in spec.files for path in own_files(spec, Path(place), split)
    ]


def stay_behind(tasks: Sequence[TaskSpec]) -> tuple[str, ...]:
    """Name the tasks that travel without their data."""
    return tuple(spec.name for spec in tasks if spec.files and not data_of(spec))


def _name_for(path: Path, taken: set[str]) -> str:
    """Return a name that every file system keeps apart from those that are taken."""
    plain = "".join("-" if archives.is_odd(s) else s for s in path.name)
    alike = {archives.alike(name) for name in taken}
    found = (plain, *(f"{number}-{plain}" for number in range(1, len(taken) + 1)))
    return next(name for name in map(_cut, found) if archives.alike(name) not in alike)


def _cut(name: str) -> str:
    """Return a name, or its beginning and the ending that says how it is read (`.jsonl.gz`)."""
    if len(name) <= archives.LONGEST:
        return name
    ending = ending_of(Path(name))
    return f"{name[: archives.LONGEST // 4]}{ending}"


def _places(files: Any) -> list[str]:
    """Return the places that a description gives for its files, of all splits."""
    if isinstance(files, Mapping):
        return [place for its in files.values() for place in _places(its)]
    return [files] if isinstance(files, str) else list(files)


def _is_of_this_machine(place: str) -> bool:
    """Whether a place means something on this machine only."""
    return "$" in place or place.startswith("~") or Path(place).is_absolute()


def settle(staged: Path) -> tuple[str, ...]:
    """Put the tasks of an unpacked experiment among the person's own; say which were not.

    Args:
        staged: the unpacked experiment, whose folder of tasks is emptied.

    Returns:
        A sentence for each task that was not taken, and one for those that were.
    """
    said, taken = [], []
    bare: list[str] = []
    folder = staged / FOLDER
    for place in sorted(folder.iterdir()) if folder.is_dir() else ():
        problem = _problem(place) or _other_one(place)
        if problem:
            said.append(problem)
        elif place.name not in described_tasks()[0]:
            own.folders()[0].mkdir(parents=True, exist_ok=True)
            bare += stay_behind([own.read_description(place / f"{place.name}.yaml")])
            shutil.move(place, own.folders()[0] / place.name)
            taken.append(place.name)
    shutil.rmtree(folder, ignore_errors=True)
    if bare:
        said.insert(0, f"Without their data, which you have to put there: {', '.join(bare)}.")
    if taken:
        said.insert(0, f"Tasks that came with it: {', '.join(taken)}.")
    return tuple(said)


def _problem(place: Path) -> str:
    """Say why a task that comes in is not taken; empty: it may be."""
    name, description = place.name, place / f"{place.name}.yaml"
    if not is_name(name) or not description.is_file():
        return f"'{FOLDER}/{name}' of the file describes no task, so it was left out."
    try:
        spec = own.read_description(description)
    except DtvgError:
        return f"The description of task '{name}' cannot be read, so it was left out."
    outside = [f for _, f in spec.files if Path(f).resolve().parent != place.resolve()]
    if spec.name != name or outside:
        what = f"reads '{Path(outside[0]).name}' elsewhere" if outside else f"names '{spec.name}'"
        return f"Task '{name}' was left out: its description {what}."
    return ""


def _other_one(place: Path) -> str:
    """Say that another task has the name; empty: none has, or it is the same."""
    name = place.name
    if name in shipped_tasks():
        return f"Task '{name}' comes with the workbench; the one of the file was left out."
    there, broken = described_tasks()
    if name not in there and name not in broken and not (own.folders()[0] / name).exists():
        return ""
    if name in there and _same(there[name], own.read_description(place / f"{name}.yaml")):
        return ""
    return (
        f"You have another task '{name}', which was kept; the one of the file was left out, so "
        "these runs may have been trained on other data than yours."
    )


def _same(mine: TaskSpec, other: TaskSpec) -> bool:
    """Whether two tasks read the same rows in the same way, wherever these lie."""
    if replace(mine, files=(), described_in="") != replace(other, files=(), described_in=""):
        return False
    try:
        ours, theirs = _every_file(mine), _every_file(other)
    except DataError:
        return False
    return len(ours) == len(theirs) and all(
        a == b and filecmp.cmp(x, y, shallow=False)
        for (a, x), (b, y) in zip(ours, theirs, strict=True)
    )


__all__ = ["FOLDER", "entries", "of_experiment", "settle", "stay_behind"]
