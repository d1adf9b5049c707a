"""An experiment as one file: packed with the SHA-256 of every file, imported only if all agree.

The file is a zip archive whose `manifest.json` names what it holds. Nothing is put among the
experiments before everything was unpacked beside them and compared. docs/run_files.md "One file".
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dtvg import paths
from dtvg.errors import ConfigError, DtvgError, StoreError
from dtvg.exchange import archives, own_tasks
from dtvg.names import check_name
from dtvg.records import TABLES, RunState
from dtvg.storage.cache import undisturbed
from dtvg.store.cohorts import visible_parts
from dtvg.store.files import (
    clear_abandoned,
    copied_from,
    read_json,
    replace_json,
    sync_folder,
)
from dtvg.store.layout import ExperimentDir, changing, free_name, load_experiment
from dtvg.store.lease import keep_out
from dtvg.store.liveness import look_at_all
from dtvg.store.rename import rename_inside
from dtvg.store.tables import part_name
from dtvg.tasks.spec import TaskSpec
from dtvg.version import __version__

MANIFEST = "manifest.json"
FORMAT = "dtvg-experiment"
VERSION = 1
LARGEST_MANIFEST = 64 << 20
LEFT_OUT = ("control", "mirrors")
"""Folders that stay: requests to a process, and what trackers keep for themselves."""
NOT_FILES = (
    "process.json", "fleet.json", "scale.json", "storage.json", "lease.json", "job.json",
    "ended.json",
)  # fmt: skip
"""Files that tell about processes of the machine it was trained on, or name it to a mirror."""
STOPPED = "Imported from a file; resuming continues from its newest commit."
"""Said of runs whose status in the file says that they are being trained."""


class FileEntry(BaseModel):
    """One file of a manifest."""

    model_config = ConfigDict(extra="forbid")

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class Manifest(BaseModel):
    """`manifest.json` of an experiment's file."""

    format: str
    version: int
    name: str
    dtvg: str = ""
    created: float = 0.0
    files: dict[str, FileEntry]


@dataclass(frozen=True)
class Packed:
    """What was written."""

    path: Path
    files: int
    size: int
    """Bytes of the archive."""
    tasks: tuple[str, ...] = ()
    """Tasks of one's own that are in it."""
    without_data: tuple[str, ...] = ()
    """Those of them whose data are not: they are not there, or too large."""


def pack(experiment: ExperimentDir, to: Path) -> Packed:
    """Write an experiment into one file; it appears whole or not at all.

    Args:
        experiment: its folder; nothing may train it meanwhile, but where it is a mirror's copy.
        to: the file, which must not be there.

    Raises:
        ConfigError: the file is there, or its name does not end in .zip.
        StoreError: it trains, is not readable, or the disk refuses.
    """
    if to.suffix.lower() != ".zip":
        raise ConfigError(f"'{to}' does not end in .zip; an experiment is written as a zip file.")
    if to.exists():
        raise ConfigError(f"'{to}' is there already; give another name.")
    _, config = load_experiment(experiment.path)
    tasks = own_tasks.of_experiment(config)
    fresh = to.with_name(f".{to.name}.{secrets.token_hex(4)}")
    try:
        with _kept_still(experiment):
            count = _write(experiment, fresh, tasks)
        os.replace(fresh, to)
    except OSError as error:
        raise StoreError(f"'{to}' cannot be written ({error.strerror or error}).") from None
    finally:
        fresh.unlink(missing_ok=True)
    named, bare = tuple(task.name for task in tasks), own_tasks.stay_behind(tasks)
    return Packed(to, count, to.stat().st_size, named, bare)


@contextmanager
def _kept_still(experiment: ExperimentDir) -> Iterator[None]:
    """Keep an experiment's files as they are; those of a mirror's copy change with it alone.

    Raises:
        StoreError: somebody trains it, or its folder cannot be written.
    """
    folder = experiment.path
    if copied_from(folder.parent) is not None:
        with undisturbed(folder.parent.parent):
            yield
        return
    if look_at_all(folder).held:
        raise StoreError(
            f"'{experiment.name}' is being trained, so its files change; stop it first with `dtvg "
            f"runs stop {experiment.name}`, or wait."
        )
    if _is_shipped(experiment):
        yield
        return
    with changing(folder), keep_out(folder, "nothing was written"):
        yield


def _is_shipped(experiment: ExperimentDir) -> bool:
    """Whether it is a recorded example, in whose folder nothing may be written."""
    return paths.examples() in experiment.path.parents


def _write(experiment: ExperimentDir, fresh: Path, tasks: Sequence[TaskSpec]) -> int:
    """Write files, tasks and manifest; every byte is read once."""
    files: dict[str, dict[str, Any]] = {}
    with zipfile.ZipFile(fresh, "x", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for place, path in _files(experiment):
            name = place.relative_to(experiment.path).as_posix()
            if not archives.is_usable(name):
                raise StoreError(
                    f"'{path}' has a name that not every file system takes, so an import would "
                    "refuse it; give it another one or move it away, then export again."
                )
            files[name] = _put(archive, name, path)
        for task in tasks:
            for name, content in own_tasks.entries(task):
                files[name] = _put(archive, name, content)
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "name": experiment.name,
            "dtvg": __version__,
            "created": time.time(),
            "files": files,
        }
        archive.writestr(MANIFEST, json.dumps(manifest, indent=1))
    return len(files)


def _put(archive: zipfile.ZipFile, name: str, content: Path | bytes) -> dict[str, Any]:
    """Write one file, or content that lies in none; return what the manifest says of it."""
    written = content.stat().st_mtime if isinstance(content, Path) else time.time()
    info = zipfile.ZipInfo(name, time.gmtime(max(written, 315532800))[:6])
    info.external_attr = 0o644 << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    digest, size = hashlib.sha256(), 0
    opened = content.open("rb") if isinstance(content, Path) else io.BytesIO(content)
    with opened as source, archive.open(info, "w", force_zip64=True) as target:
        while piece := source.read(archives.PIECE):
            digest.update(piece)
            size += len(piece)
            target.write(piece)
    return {"sha256": digest.hexdigest(), "bytes": size}


def _files(experiment: ExperimentDir) -> Iterator[tuple[Path, Path]]:
    """Yield the files that belong to an experiment, in order: as what, and where it lies.

    Links and hidden ones stay, but rows that are committed and have not got their names yet.
    """
    root = experiment.path
    for run in experiment.runs():
        for table in TABLES:
            for part in visible_parts(run, table):
                if part.path.name[0] == ".":
                    yield part.path.with_name(part_name(part.first, part.last)), part.path
    for at, folders, names in os.walk(root):
        folders[:] = sorted(
            f for f in folders
            if f[0] != "." and f not in LEFT_OUT and not (Path(at) / f).is_symlink()
        )  # fmt: skip
        for name in sorted(names):
            path = Path(at) / name
            if name[0] != "." and name not in NOT_FILES and not path.is_symlink():
                yield path, path


def _manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    try:
        info = archive.getinfo(MANIFEST)
    except KeyError:
        raise StoreError(
            f"'{path.name}' is a zip file, but no exported experiment (it has no {MANIFEST}); give "
            "one that `dtvg runs export NAME --to FILE.zip` wrote."
        ) from None
    if info.file_size > LARGEST_MANIFEST:
        raise StoreError(f"The {MANIFEST} of '{path.name}' is too large to be one.")
    try:
        made = Manifest.model_validate_json(archive.read(info))
    except (ValidationError, zipfile.BadZipFile, RuntimeError, ValueError, EOFError):
        raise StoreError(f"The {MANIFEST} of '{path.name}' is damaged; export it again.") from None
    if made.format != FORMAT or made.version > VERSION:
        raise StoreError(
            f"'{path.name}' is of format {made.format[:40]} {made.version}; this program reads "
            f"{FORMAT} {VERSION}. A newer version of it may read the file."
        )
    return made


def bring(
    path: Path,
    runs_dir: Path,
    name: str | None = None,
    say: Callable[[str], None] = lambda sentence: None,
) -> ExperimentDir:
    """Import an experiment from a file; it appears whole or not at all, over nothing.

    Args:
        path: the file.
        runs_dir: folder of experiments.
        name: another name for it; None: its own.
        say: is told in sentences which tasks came with it, and which were left out.

    Raises:
        ConfigError: the name is taken, or cannot be one.
        StoreError: the file is damaged, holds what it should not, or the disk refuses.
    """
    path, root = paths.expanded(path), paths.expanded(runs_dir).resolve()
    with archives.opened(path) as archive:
        manifest = _manifest(archive, path)
        found = archives.entries(archive)
        found.pop(MANIFEST)
        _same_files(set(found), set(manifest.files), path)
        called = check_name(name or manifest.name, "experiment")
        place = root / called
        with changing(place):
            _refuse_taken(place, root, renamed=name is not None)
            clear_abandoned(root)
            archives.room_for(sum(i.file_size for i in found.values()), _there(root))
            staged = root / f".import-{secrets.token_hex(6)}" / called
            try:
                staged.mkdir(parents=True)
                for entry, info in found.items():
                    said = manifest.files[entry]
                    digest = archives.unpack_one(archive, info, staged)
                    if digest != said.sha256 or info.file_size != said.bytes:
                        raise StoreError(
                            f"'{entry}' in '{path.name}' differs from its SHA-256, so the file is "
                            "damaged or was changed; nothing was imported. Export it again."
                        )
                _settle(staged, manifest, called, path)
                told = own_tasks.settle(staged)
                os.replace(staged, place)
                sync_folder(root)
            except OSError as error:
                raise StoreError(
                    f"'{place}' cannot be written ({error.strerror or error})."
                ) from None
            finally:
                shutil.rmtree(staged.parent, ignore_errors=True)
    for sentence in told:
        say(sentence)
    return ExperimentDir(place)


def _there(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next((p for p in (folder, *folder.parents) if p.is_dir()), folder)


def _refuse_taken(place: Path, root: Path, renamed: bool) -> None:
    """Refuse a name that an experiment has, also a recorded one, which it would hide."""
    if not place.exists() and not (paths.examples() / place.name).exists():
        return
    free = free_name(place.name, root)
    while (paths.examples() / free).exists():
        free = free_name(f"{free}-2", root)
    how = "choose another name" if renamed else "give it a new name"
    raise ConfigError(
        f"There is already an experiment '{place.name}', and nothing is overwritten; {how} with "
        f"--name, e.g. '{free}'."
    )


def _same_files(held: set[str], listed: set[str], path: Path) -> None:
    """Refuse files that nobody listed, and listed ones that are not there."""
    for names, what in ((listed - held, "lacks"), (held - listed, "has an unlisted file")):
        if names:
            one = sorted(names)[0][:200]
            raise StoreError(
                f"'{path.name}' {what} '{one}', so it is damaged or was changed; nothing was "
                "imported. Export it again."
            )


def _settle(staged: Path, manifest: Manifest, called: str, path: Path) -> None:
    """Refuse what is no experiment of the name it says; give it its new name, if there is one."""
    try:
        _, config = load_experiment(staged)
    except DtvgError as error:
        said = str(error).replace(f"{staged.parent}{os.sep}", "")
        raise StoreError(f"'{path.name}' holds no experiment that can be read: {said}") from None
    if config.name != manifest.name:
        raise StoreError(
            f"'{path.name}' says that it holds '{manifest.name}', but its settings are those of "
            f"'{config.name}'; nothing was imported."
        )
    if called != config.name:
        rename_inside(staged, config, called)
    _forget_machine(staged)


def _forget_machine(staged: Path) -> None:
    """Drop what tells about another machine, which files of earlier versions hold; nobody trains.

    Tasks of one's own are passed over: their data may have any name.
    """
    for at, folders, names in os.walk(staged):
        if Path(at) == staged and own_tasks.FOLDER in folders:
            folders.remove(own_tasks.FOLDER)
        for name in set(names) & set(NOT_FILES):
            (Path(at) / name).unlink()
    for run in ExperimentDir(staged).runs():
        status = read_json(run.status_path) or {}
        if status.get("state") in (RunState.RUNNING, RunState.STOPPING):
            said = {"state": RunState.STOPPED.value, "message": STOPPED}
            replace_json(run.status_path, {**status, **said})
