"""Restoring an experiment from a store, to be trained on here: `dtvg runs fetch`, `runs resume`."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path

from dtvg import paths
from dtvg.config.storage import is_uri
from dtvg.errors import ConfigError, JobError, StoreError
from dtvg.names import check_name
from dtvg.records import RunState
from dtvg.storage.fetch import (
    NOTE,
    Note,
    age_of,
    bring,
    bring_prompts,
    manifests_of,
    require_experiment,
    texts_of,
)
from dtvg.storage.manifest import Found
from dtvg.storage.place import Place
from dtvg.storage.push import note_identity
from dtvg.store.files import check_own, replace_json
from dtvg.store.layout import ExperimentDir, add_run, changing, load_experiment
from dtvg.store.liveness import EXPIRES_SECONDS

LEFT_OUT = ("lease.json", "job.json", "ended.json", "fleet.json")
"""Small files of the machine that trained it: they mean nothing here."""
STOPPED = "Restored from a storage mirror; resuming continues from its newest commit there."


def split_place(text: str) -> tuple[str, str]:
    """Take `URI/NAME` apart.

    Raises:
        ConfigError: there is no name.
    """
    uri, _, name = text.rstrip("/").rpartition("/")
    if not is_uri(uri) or not uri.partition("://")[2].strip("/"):
        raise ConfigError(f"'{text}' names no experiment of a storage mirror; write URI/NAME.")
    return uri, check_name(name)


def restore(uri: str, name: str, runs_dir: Path, bank: Path) -> ExperimentDir:
    """Bring an experiment and the prompts that it used, so that it can be trained on here.

    Args:
        uri: of the storage mirror.
        name: of the experiment.
        runs_dir: folder of experiments; it must not have one of that name.
        bank: folder of prompts.

    Raises:
        StoreError: it is here already, not there, or damaged; or the store fails.
        JobError: it is still being trained, as far as the store tells.
    """
    place = Place(uri)
    runs_dir = paths.expanded(runs_dir).resolve()
    target = ExperimentDir(runs_dir / check_name(name))
    check_own(runs_dir)
    _refuse_taken(target)
    require_experiment(place, name)
    _check_free(place, name)
    coming = runs_dir / f".fetching-{name}"
    with changing(target.path):
        _refuse_taken(target)  # another process may have brought it meanwhile
        while bring(place, name, coming, lambda found: _settle(place, coming, found)):
            pass  # what was committed meanwhile
        if not (coming / "experiment.yaml").exists():
            raise StoreError(
                f"'{uri}' holds nothing of '{name}' that can be read yet: its first copy is not "
                "complete. Try again later."
            )
        note = Note.read(coming)
        bring_prompts(place, bank, (name for names in note.prompts.values() for name in names))
        _finish(coming, note)
        coming.rename(target.path)
    return target


def _refuse_taken(target: ExperimentDir) -> None:
    """Refuse to bring what is here.

    Raises:
        StoreError: with what to do instead.
    """
    if target.path.exists():
        raise StoreError(
            f"'{target.path}' exists already, so nothing was fetched; `dtvg runs resume "
            f"{shlex.quote(str(target.path))}` continues it, or give another --runs-dir."
        )


def _check_free(place: Place, name: str) -> None:
    """Refuse what somebody trains: a lease that nobody gave back, with a sign not long ago.

    Raises:
        JobError: with the age of the last sign.
    """
    now = None
    with contextlib.suppress(StoreError):  # who may only read: this machine's clock has to do
        now = place.now()
    for found in manifests_of(place, name).values():
        texts = texts_of(place, found.manifest)
        if all(texts[p].get("released") for p in texts if p.endswith("lease.json")):
            continue
        age = age_of(place, found, now)
        if age < EXPIRES_SECONDS:
            raise JobError(
                f"'{name}' is still being trained on host {found.manifest.host} (last sign "
                f"{age:.0f} s ago), so nothing was fetched; stop it there, or wait until "
                f"{EXPIRES_SECONDS / 60:.0f} min have passed without a sign. To look at it, set "
                "DTVG_RUNS."
            )


def _settle(place: Place, folder: Path, found: Found) -> None:
    """Write the small files of a part as they are here."""
    for path, content in texts_of(place, found.manifest).items():
        if path.rpartition("/")[2] in LEFT_OUT:
            continue
        if content.get("state") in (RunState.RUNNING, RunState.STOPPING, RunState.LOST):
            content |= {"state": RunState.STOPPED.value, "message": STOPPED}
        replace_json(folder / path, content)


def _finish(folder: Path, note: Note) -> None:
    """Make the folders of runs that wait, and let it go on under the next turn."""
    for name in ("scale.json", NOTE):
        (folder / name).unlink(missing_ok=True)
    experiment, config = load_experiment(folder)
    note_identity(experiment, note.id, note.turn + 1)
    recorded = experiment.versions
    for run in config.runs():
        add_run(experiment, run, recorded)
