"""Copying what is committed of a part of an experiment: files first, its manifest last.

Nothing that a manifest names is overwritten or removed while it is one of the two newest. Only
commit states and manifests of before those are removed; rows, prompts and results never are.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from dtvg.errors import StoreError
from dtvg.plain_text import load_json
from dtvg.storage import manifest as manifests
from dtvg.storage.manifest import EXPERIMENT, Found, Manifest, Stored, object_name, sha256_of
from dtvg.storage.place import Foreign, Place
from dtvg.storage.snapshot import IDENTITY, STAGE, Snapshot, of_cohort, of_experiment, of_runs
from dtvg.store.bank import PromptBank
from dtvg.store.files import json_object, locked, read_json, replace_json
from dtvg.store.layout import CohortDir, ExperimentDir, RunDir

KEPT = 2
"""Manifests of a part that stay, and whose commit states stay."""


def identity_of(experiment: ExperimentDir) -> tuple[str, int]:
    """Return what names an experiment to a store, and how often it was restored to train on.

    Raises:
        StoreError: it has no name yet, and the disk refuses.
    """
    path = experiment.path / IDENTITY
    known = _identity_in(path)
    if known is None:  # workers may come at the same time: the first one names it
        with locked(path.with_name(f".{IDENTITY}.lock")):
            known = _identity_in(path)
            if known is None:
                known = (secrets.token_hex(8), 0)
                note_identity(experiment, *known)
        known = _identity_in(path) or known
    return known


def _identity_in(path: Path) -> tuple[str, int] | None:
    """Read an experiment's name; None where there is none, or the file was cut off."""
    content = read_json(path) or {}
    name = content.get("id")
    return (name, int(content.get("turn") or 0)) if isinstance(name, str) else None


def note_identity(experiment: ExperimentDir, name: str, turn: int) -> None:
    """Store under which name an experiment goes on that was restored."""
    replace_json(experiment.path / IDENTITY, {"id": name, "turn": turn})


class Pusher:
    """One part of an experiment on its way to a store."""

    def __init__(
        self,
        place: Place,
        experiment: ExperimentDir,
        cohort: CohortDir | None = None,
        runs: Iterable[RunDir] = (),
        loose: bool = False,
    ) -> None:
        """Make it; nothing is read yet.

        Args:
            place: the store.
            experiment: whose.
            cohort: the cohort that the part is; None: the experiment itself.
            runs: that train in it.
            loose: the part is the runs themselves, which no cohort holds.
        """
        self.place, self.experiment, self.cohort = place, experiment, cohort
        self.runs = list(runs)
        self.prompts: dict[str, Path] = {}
        """Entries of the bank to be copied too: name → folder."""
        whole = manifests.RUNS if loose else EXPERIMENT
        self.part = whole if cohort is None else f"{manifests.COHORT}{cohort.id}"
        self.stage = experiment.path / STAGE / self.part
        self._known: dict[Path, tuple[tuple[int, int, int], Stored]] = {}
        self._there: set[str] = set()
        """Names of objects that the store has."""
        self._mine: list[tuple[str, Manifest]] = []
        """Manifests that stay, the newest last."""
        self._of_bank: set[str] = set()
        self._begun = False

    def push(self, look: Callable[[], None] = lambda: None, last: bool = False) -> None:
        """Copy what is there now and is not in the store.

        Args:
            look: called before each file; may raise to break off.
            last: nobody trains it after this, so its lease counts as given back.

        Raises:
            StoreError: the store fails; `Foreign` where trying again is of no use.
            OSError: something cannot be read here.
        """
        if not self._begun:
            self._begin()
        try:
            if self.cohort is not None:
                taken = of_cohort(self.cohort, self.runs, self.stage)
            elif self.part == manifests.RUNS:
                taken = of_runs(self.experiment, self.runs, self.stage)
            else:
                taken = of_experiment(self.experiment, self.stage)
            made = self._copied(taken, look)
        finally:
            shutil.rmtree(self.stage, ignore_errors=True)
        for entry, folder in sorted(self.prompts.items()):
            look()
            self._push_prompt(entry, folder)
        look()
        self._publish(made, taken, last)

    def _begin(self) -> None:
        """Learn what the store has of this part, and whether it is ours."""
        names = self.place.names(f"{manifests.folder_of(self.experiment.name)}/manifests")
        parts = manifests.listed(names)
        own = parts.get(self.part, [])
        found = manifests.newest(self.place, own)
        of_other = next((names for part, names in parts.items() if part != self.part), [])
        self._check(found or manifests.newest(self.place, of_other))
        if found is not None:
            files = found.manifest.files.items()
            self._there = {object_name(self.experiment.name, p, f.sha256) for p, f in files}
            self._mine = [(found.name, found.manifest)]
        for name in reversed(own):
            if found is None or name not in (found.name, *found.others[: KEPT - 1]):
                self._forget(name)
        self._number = max((manifests.number_of(name) for name in own), default=0)
        self._begun = True

    def _check(self, found: Found | None) -> None:
        """Refuse to write over another experiment, or over one that goes on elsewhere.

        Raises:
            Foreign: with what to do.
        """
        if found is None:
            return
        name, turn = identity_of(self.experiment)
        where = f"'{self.place.uri}' holds"
        if found.manifest.id != name:
            raise Foreign(
                f"{where} another experiment named '{self.experiment.name}', so nothing is copied "
                "there; choose another name or another scale.mirror."
            )
        if found.manifest.turn > turn:
            raise Foreign(
                f"{where} '{self.experiment.name}' as it goes on on host {found.manifest.host}, "
                "where it was restored; what is trained here is not copied there."
            )

    def _copied(self, taken: Snapshot, look: Callable[[], None]) -> dict[str, Stored]:
        """Copy the files that the store lacks; commit states last, after the rows they count."""
        made: dict[str, Stored] = {}
        for path in sorted(taken.files, key=lambda p: (p.endswith("state.safetensors"), p)):
            made[path] = stored = self._stored(taken.files[path])
            name = object_name(self.experiment.name, path, stored.sha256)
            if name not in self._there:
                look()
                self.place.put(name, taken.files[path])
                self._there.add(name)
        return made

    def _stored(self, file: Path) -> Stored:
        """Return a file's digest; read once as long as it stays the same file."""
        there = file.stat()
        stamp = (there.st_ino, there.st_size, there.st_mtime_ns)
        known = self._known.get(file)
        if known is None or known[0] != stamp:
            digest, size = sha256_of(file)
            known = (stamp, Stored(sha256=digest, size=size))
            self._known[file] = known
        return known[1]

    def _push_prompt(self, entry: str, folder: Path) -> None:
        """Copy an entry of the bank: its tensors under their digest, then what names them."""
        if entry in self._of_bank:
            return
        facts = (folder / "prompt.json").read_bytes()
        tensors = (folder / "prompt.safetensors").read_bytes()
        digest = hashlib.sha256(tensors).hexdigest()
        try:
            noted = load_json(facts)
        except ValueError:
            return  # damaged: not for others
        if not isinstance(noted, dict) or noted.get("sha256") != digest:
            return  # it is being written, or damaged: not for others
        name = f"prompts/{entry}"
        try:
            same = self.place.read(f"{name}/prompt.json") == facts
        except FileNotFoundError:
            same = False
        if not same:
            self.place.put(f"{name}/prompt.{digest[:16]}.safetensors", tensors)
            self.place.put(f"{name}/prompt.json", facts)
        self._of_bank.add(entry)

    def _publish(self, files: dict[str, Stored], taken: Snapshot, last: bool) -> None:
        """Write the manifest, unless the store has one of somebody else; then tidy."""
        folder = f"{manifests.folder_of(self.experiment.name)}/manifests/{self.part}"
        names = manifests.listed(self.place.names(folder)).get(self.part, [])
        if names and manifests.number_of(names[0]) > self._number:
            self._check(manifests.newest(self.place, names))
            self._number = manifests.number_of(names[0])
        name, turn = identity_of(self.experiment)
        made = Manifest(
            version=manifests.VERSION,
            experiment=self.experiment.name,
            id=name,
            turn=turn,
            part=self.part,
            host=socket.gethostname(),
            time=time.time(),
            files=files,
            texts=_given_back(taken.texts) if last else taken.texts,
            prompts=tuple(sorted(self._of_bank)),
        )
        self._number += 1
        self._mine.append((manifests.write(self.place, made, self._number), made))
        with contextlib.suppress(StoreError):  # tidying is for the next time
            while len(self._mine) > KEPT:
                self._forget(self._mine[0][0], self._mine[0][1])
                self._mine.pop(0)

    def _forget(self, name: str, old: Manifest | None = None) -> None:
        """Remove an old manifest, then the commit states that only it names."""
        self.place.remove(name)
        if old is None:
            return
        named = {
            object_name(self.experiment.name, path, file.sha256)
            for _, kept in self._mine
            if kept is not old
            for path, file in kept.files.items()
        }
        for path, file in old.files.items():
            gone = object_name(self.experiment.name, path, file.sha256)
            if path.endswith("/state.safetensors") and gone not in named:
                self.place.remove(gone)
                self._there.discard(gone)


def _given_back(texts: dict[str, str]) -> dict[str, str]:
    """Return texts in which leases are given back."""
    made = dict(texts)
    for path, text in texts.items():
        if path.rpartition("/")[2] == "lease.json":
            made[path] = json.dumps({**(json_object(text) or {}), "released": True})
    return made


def push_experiment(place: Place, experiment: ExperimentDir, bank: PromptBank) -> int:
    """Copy all of an experiment while nobody trains it; return how many runs it has.

    Raises:
        StoreError: the store fails.
        OSError: something cannot be read here.
    """
    from dtvg.storage.homes import homeless, homes_of, prompts_of

    pushers = [Pusher(place, experiment)]
    homes = homes_of(experiment)
    loose = homeless(experiment, homes)
    folder = manifests.folder_of(experiment.name)
    if loose or place.names(f"{folder}/manifests/{manifests.RUNS}"):
        pushers.append(Pusher(place, experiment, None, loose, loose=True))
    pushers += [Pusher(place, experiment, c, homes.get(c.id, ())) for c in experiment.cohorts()]
    pushers[0].prompts = prompts_of(experiment, bank)
    for pusher in reversed(pushers):  # the experiment last: what shows it to readers
        pusher.push(last=True)
    return len(loose) + sum(len(runs) for runs in homes.values())
