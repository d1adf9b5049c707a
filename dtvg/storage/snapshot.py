"""One commit of a cohort as it lies in its folder: its rows and its state, and nothing beyond.

Files are linked into a folder of their own first, which takes a moment, so that neither the next
commit nor merging of part files gets in the way. If a commit came meanwhile, it is tried again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dtvg.records import TABLES
from dtvg.store.cohorts import visible_parts
from dtvg.store.files import json_object
from dtvg.store.layout import CohortDir, ExperimentDir, RunDir
from dtvg.store.tables import cover, part_name

TRIES = 20
"""A commit may come while a snapshot is taken: then it is taken again, so often."""

STAGE = ".storage"
"""Folder of an experiment for files on their way to the store."""
IDENTITY = "storage.json"
"""File of an experiment that names it to the store."""
TEXTS = ("status.json", "process.json", "job.json", "ended.json", "lease.json")
"""Files that change all the time: they stand in the manifest itself."""
SKIPPED = (IDENTITY,)
RUN_FOLDERS = ("prompts", "offers")
"""Folders of a run, beside its tables."""


class Moving(OSError):
    """Commits came faster than a snapshot could be taken."""


@dataclass
class Snapshot:
    """Files of one moment."""

    files: dict[str, Path] = field(default_factory=dict)
    """Path in the experiment's folder → where its content stays until it is copied."""
    texts: dict[str, str] = field(default_factory=dict)


def of_cohort(cohort: CohortDir, runs: Iterable[RunDir], stage: Path) -> Snapshot:
    """Take a cohort's newest commit with its runs' files.

    Args:
        cohort: whose.
        runs: the runs that train in it.
        stage: an empty folder on the same disk.

    Raises:
        OSError: something cannot be read; later, it may.
    """
    there = [run for run in runs if run.path.is_dir()]
    for _ in range(TRIES):
        shutil.rmtree(stage, ignore_errors=True)
        taken, before = Snapshot(), _stamp(cohort.state_path)
        root = cohort.path.parent.parent
        try:
            for run in there:  # results first: what they count is committed
                _take_run(root, run, stage, taken)
            kept = cohort.path / "kept"  # commits for forks
            for path in (*sorted(cohort.path.iterdir()), *_files(kept)):
                _take_any(root, path, stage, taken)
            if before is not None:
                _keep(root, cohort.state_path, stage, taken)
            for run in there:
                _take_rows(root, run, stage, taken)
        except FileNotFoundError:
            continue  # merged meanwhile
        if _stamp(cohort.state_path) == before:
            return taken
    raise Moving(f"'{cohort.path}' changed {TRIES} times while it was read")


def of_runs(experiment: ExperimentDir, runs: Iterable[RunDir], stage: Path) -> Snapshot:
    """Take runs that nobody trains and that no cohort holds."""
    shutil.rmtree(stage, ignore_errors=True)
    taken = Snapshot()
    for run in runs:
        _take_run(experiment.path, run, stage, taken)
        _take_rows(experiment.path, run, stage, taken)
    return taken


def of_experiment(experiment: ExperimentDir, stage: Path) -> Snapshot:
    """Take what lies beside an experiment's cohorts and runs."""
    shutil.rmtree(stage, ignore_errors=True)
    taken = Snapshot()
    for path in sorted(experiment.path.iterdir()):
        with contextlib.suppress(FileNotFoundError):
            _take_any(experiment.path, path, stage, taken)
    fleet = str(experiment.fleet_path.name)
    if fleet in taken.files:
        _take_text(fleet, taken.files.pop(fleet), taken)
    return taken


def _take_run(root: Path, run: RunDir, stage: Path, taken: Snapshot) -> None:
    """Take a run's files but its rows."""
    for path in sorted(run.path.iterdir(), key=lambda p: p.name != "result.json"):
        _take_any(root, path, stage, taken)
    for name in RUN_FOLDERS:
        for path in _files(run.path / name):
            if path.name[0] != "." and path.is_file() and not path.is_symlink():
                _keep(root, path, stage, taken)


def _take_rows(root: Path, run: RunDir, stage: Path, taken: Snapshot) -> None:
    """Take a run's committed rows."""
    for table in TABLES:
        for part in cover(visible_parts(run, table)):
            name = run.table_dir(table) / part_name(part.first, part.last)
            _keep(root, part.path, stage, taken, name)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _take_any(root: Path, path: Path, stage: Path, taken: Snapshot) -> None:
    """Take a file, as text or as a file; states, logs and hidden files are not taken here."""
    skipped = path.name[0] == "." or path.name in SKIPPED or path.name == "log.txt"
    if skipped or path.is_symlink() or not path.is_file():
        return
    if path.name in TEXTS:
        _take_text(str(path.relative_to(root)), path, taken)
    elif path.name not in ("state.safetensors", "before.safetensors"):
        _keep(root, path, stage, taken)


def _take_text(name: str, path: Path, taken: Snapshot) -> None:
    """Take a small file as text; one that was cut off as the power failed says nothing."""
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        return
    if json_object(text) is not None:
        taken.texts[name] = text


def _keep(root: Path, path: Path, stage: Path, taken: Snapshot, name: Path | None = None) -> None:
    """Link a file into the stage, so that it stays as it is; copy it where there are no links."""
    inside = str((name or path).relative_to(root))
    kept = stage / inside
    kept.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, kept)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copy2(path, kept)
    taken.files[inside] = kept


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        there = path.stat()
    except FileNotFoundError:
        return None
    return there.st_mtime_ns, there.st_size, there.st_ino
