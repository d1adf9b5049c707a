"""Whether an experiment or a run is being trained: one question with one answer for all.

A held lock proves that somebody is at it; where the lock proves nothing (another host, a file
system without locks) the age of the last heartbeat decides, by the file server's own clock. What
cannot be told stays unknown. docs/run_files.md "Who trains it".
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from dtvg.errors import JobError
from dtvg.names import NAME_PATTERN
from dtvg.store.files import lock_state, read_json
from dtvg.store.processes import ProcessId

LOCK, LEASE, STARTING, CLAIM = ".lock", "lease.json", ".starting.json", ".lease-{}.claim"

FRESH_SECONDS = 30.0
"""A holder that cannot be asked is alive while its last sign is younger."""
EXPIRES_SECONDS = 300.0
"""Without a sign for so long a lease is free: its holder, should it wake, writes nothing more."""
EXPIRES_SECONDS_BEFORE = 3600.0
"""The same for a holder of an earlier version, which would write on."""
LOOK_SECONDS = 0.25
"""A look counts so long, so that a list of 1,000 runs asks once."""
CLOCK_SECONDS = 5.0
"""The file server's clock is asked again after so long."""


class LeaseFile(BaseModel):
    """What `lease.json` holds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    generation: int
    """Rises with every taking."""
    token: str
    """Names this taking; statuses repeat it."""
    process: dict[str, Any]
    locks: bool = True
    """Whether the file system knew locks when it was taken."""
    taken_at: float = 0.0
    released: bool = False
    version: str = ""

    @property
    def holder(self) -> ProcessId:
        """Who took it."""
        return ProcessId.read(self.process)


@dataclass(frozen=True)
class Sign:
    """Whether somebody trains an experiment or a run, and who."""

    held: bool | None
    """True: somebody does; False: proved that nobody does; None: cannot be told."""
    holder: ProcessId | None = None
    age: float | None = None
    """Seconds since the last sign, where that decided."""
    starting: bool = False
    """Whether its process has only been started and holds no lock yet."""

    @property
    def advice(self) -> str:
        """Say of something that cannot be told what is known and what to do."""
        return (
            f"{self.last_sign}; whether it is still being trained cannot be told from here. It "
            f"counts as lost after {EXPIRES_SECONDS / 60:.0f} min without a sign (a process of "
            f"an earlier version: {EXPIRES_SECONDS_BEFORE / 60:.0f} min). If you know that its "
            "process has ended, say so with `dtvg runs release`"
        )

    @property
    def last_sign(self) -> str:
        """Say when and where the last sign was seen."""
        where = "an unknown host" if self.holder is None else self.holder.place
        return f"last sign {_ago(self.age)} on {where}"

    def refusal(self, name: str, done: str) -> JobError:
        """Return the error for who wanted to do something with what may be trained.

        Args:
            name: the experiment, or one of its runs.
            done: what was not done, e.g. `nothing was started`.
        """
        whole = name.split("/")[0]
        if self.held is None:
            return JobError(
                f"Whether '{name}' is still being trained cannot be told from here "
                f"({self.last_sign}), so {done}. Wait: after "
                f"{EXPIRES_SECONDS_BEFORE / 60:.0f} min at most without a sign it counts as lost. "
                "If you know that its process has ended, say so with "
                f"`dtvg runs release {whole}`."
            )
        holder = self.holder or ProcessId()
        far = "" if not holder.host or holder.on_this_boot else f" on {holder.place}"
        word = "started" if self.starting else "trained"
        return JobError(
            f"Experiment '{whole}' is being {word} by process {holder.pid or 'unknown'}{far}; "
            f"wait for it, or stop it with `dtvg runs stop {whole}`."
        )


FREE = Sign(False)


def _ago(age: float | None) -> str:
    if age is None:
        return "at an unknown time"
    if age < 100:
        return f"{max(age, 0):.0f} s ago"
    return f"{age / 60:.0f} min ago" if age < 6000 else f"{age / 3600:.0f} h ago"


@dataclass(frozen=True)
class Seen:
    """What a look found: the answer, the lease, and the lock's state."""

    sign: Sign
    lease: LeaseFile | None
    lock: bool | None


_looks: dict[Path, tuple[float, Seen]] = {}
_clocks: dict[int, tuple[float, float]] = {}


def look(folder: Path, fresh: bool = False) -> Sign:
    """Return whether an experiment is held, by lock, process, start and heartbeat.

    Args:
        folder: the experiment's.
        fresh: do not take an answer of a moment ago.
    """
    return _seen(folder, fresh).sign


def died(folder: Path) -> bool:
    """Whether a process was started for an experiment and ended without giving its lease back.

    Then nobody will begin the runs that wait. One that stopped on request, or ended with an
    error that it noted with its runs, gave the lease back.
    """
    seen = _seen(folder)
    if seen.sign.held is not False:
        return False
    never_began = (folder / STARTING).exists()
    return never_began or (seen.lease is not None and not seen.lease.released)


def look_at_all(folder: Path, workers: bool = True, ended: Collection[str] = ()) -> Sign:
    """Return the same, asking also each run's status: who starts, moves or deletes asks this.

    Args:
        folder: the experiment's.
        workers: whether a worker that trains one cohort counts; who starts takes it over.
        ended: names of runs that are known to have a result: nothing trains them again.
    """
    sign = look(folder, fresh=True)
    if sign.held is not False:
        return sign
    found = FREE
    for path in status_files(folder):
        if path.parent.name in ended:
            continue
        content = read_json(path) or {}
        if content.get("state") in ("running", "stopping"):
            if not workers and content.get("lease_of") == "cohort":
                continue
            of_run = look_at_run(path, content)
            if of_run.held:
                return of_run
            found = of_run if of_run.held is None else found
    return found


def look_at_all_but_lock(folder: Path, workers: bool = True) -> Sign:
    """Return whether somebody else holds an experiment whose lock this process has.

    Args:
        folder: the experiment's.
        workers: as of `look_at_all`.
    """
    forget(folder)
    seen = judge(folder, False, read_lease(folder))
    if seen.sign.held is not False:
        return seen.sign
    _looks[folder] = (time.monotonic(), seen)
    try:
        for path in status_files(folder):
            content = read_json(path) or {}
            if content.get("state") in ("running", "stopping"):
                if not workers and content.get("lease_of") == "cohort":
                    continue
                sign = look_at_run(path, content)
                if sign.held is not False:
                    return sign
        return FREE
    finally:
        forget(folder)


def look_at_run(status_path: Path, content: Mapping[str, Any]) -> Sign:
    """Return whether the process that a status names still trains that run.

    Args:
        status_path: the run's `status.json`.
        content: what it holds; its state says that it trains.
    """
    if content.get("lease_of") == "cohort":
        return _look_at_cohort(status_path, content)
    seen = _seen(status_path.parent.parent)
    process, token = ProcessId.read(content), str(content.get("lease") or "")
    lease, sign = seen.lease, seen.sign
    if lease is not None and token == lease.token:
        if process.same(lease.holder):
            return FREE if sign.starting else sign
        process, token = ProcessId(host=process.host, pid=process.pid), ""
    if sign.held and sign.holder is not None and not sign.starting and not token:
        if sign.holder.pid == process.pid and sign.holder.host in ("", process.host):
            return sign
    if process.on_this_boot:
        alive = seen.lock is None and process.exists()
        return Sign(True, process) if alive else FREE
    age = age_of(status_path)
    expires = EXPIRES_SECONDS if token else EXPIRES_SECONDS_BEFORE
    superseded = bool(token) and lease is not None and lease.token != token
    return _byage_of(process, age, expires, surely_free=superseded)


def _look_at_cohort(status_path: Path, content: Mapping[str, Any]) -> Sign:
    """Return whether the worker that a status names still holds its cohort's own lease."""
    cohort = str(content.get("cohort") or "")
    if not re.fullmatch(NAME_PATTERN, cohort):
        return FREE
    seen = _seen(status_path.parent.parent / "cohorts" / cohort)
    if seen.lease is None or seen.lease.token != content.get("lease"):
        return FREE  # another worker trains it, and will say so
    return FREE if seen.sign.starting else seen.sign


def _byage_of(process: ProcessId, age: float | None, expires: float, surely_free: bool) -> Sign:
    """Decide by the last sign of a process that cannot be asked."""
    if age is not None and -FRESH_SECONDS < age < FRESH_SECONDS and not surely_free:
        return Sign(True, process, age)
    if surely_free or process.before_restart:
        return FREE
    if age is None or age < expires:
        return Sign(None, process, age)
    return FREE


def _seen(folder: Path, fresh: bool = False) -> Seen:
    now = time.monotonic()
    known = _looks.get(folder)
    if known is not None and not fresh and now - known[0] < LOOK_SECONDS:
        return known[1]
    found = judge(folder, lock_state(folder / LOCK), read_lease(folder))
    if len(_looks) > 4096:
        _looks.clear()
    _looks[folder] = (now, found)
    return found


def forget(folder: Path) -> None:
    """Look anew at the next question."""
    for path in (folder, folder.resolve()):
        _looks.pop(path, None)


def judge(folder: Path, lock: bool | None, lease: LeaseFile | None) -> Seen:
    """Put lock, lease and start together."""
    if lock:
        text = _lock_text(folder)
        owner = lease.holder if lease is not None and text == str(lease.holder.pid) else None
        if owner is None or owner.exists() is not False:  # else its lock only lingers
            pid = int(text) if text.isdecimal() and len(text) < 12 else 0
            return Seen(Sign(True, owner or ProcessId(pid=pid)), lease, lock)
    elif lease is not None and not lease.released:
        sign = _of_lease(folder, lock, lease)
        if sign.held is not False:
            return Seen(sign, lease, lock)
    return Seen(_of_start(folder), lease, lock)


def _of_lease(folder: Path, lock: bool | None, lease: LeaseFile) -> Sign:
    """Judge a lease that nobody gave back and whose lock is not held."""
    holder = lease.holder
    if lock is False and lease.locks and holder.on_this_boot:
        return FREE
    alive = holder.exists()
    if alive is not None:
        return Sign(True, holder) if alive else FREE
    return _byage_of(holder, age_of(folder / LEASE), EXPIRES_SECONDS, surely_free=False)


def _of_start(folder: Path) -> Sign:
    """Judge the note of a process that was started and has not taken the lease yet."""
    content = read_json(folder / STARTING)
    if content is None:
        return FREE
    process = ProcessId.read(content)
    if process.pid <= 0:
        return FREE  # not the note of a process
    alive = process.exists()
    if alive is None:
        age = age_of(folder / STARTING)
        return _starting(_byage_of(process, age, EXPIRES_SECONDS, surely_free=False))
    return Sign(True, process, starting=True) if alive else FREE


def _starting(sign: Sign) -> Sign:
    return sign if sign.held is False else Sign(sign.held, sign.holder, sign.age, starting=True)


def read_lease(folder: Path) -> LeaseFile | None:
    """Return what `lease.json` says; None where it is absent or damaged."""
    content = read_json(folder / LEASE)
    if content is None:
        return None
    try:
        return LeaseFile(**content)
    except (ValidationError, TypeError):
        return None


def _lock_text(folder: Path) -> str:
    try:
        return (folder / LOCK).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def status_files(folder: Path) -> list[Path]:
    """Return where the statuses of an experiment's runs lie."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if e.is_dir() and e.name[0] != ".")
    except OSError:
        return []
    return [folder / n / "status.json" for n in names if n not in ("cohorts", "mirrors")]


def age_of(path: Path) -> float | None:
    """Return how old a file's content is by the clock of the machine that keeps it."""
    try:
        with path.open("rb") as file:  # opening asks a network folder anew
            there = os.fstat(file.fileno())
    except OSError:
        return None
    return _server_time(path.parent, there.st_dev) - there.st_mtime


def _server_time(folder: Path, device: int) -> float:
    """Return the time on the machine that keeps the files: that of a file just written there.

    Where nothing can be written this machine's own clock has to do.
    """
    now = time.monotonic()
    known = _clocks.get(device)
    if known is None or now - known[0] > CLOCK_SECONDS:
        known = (now, _written_at(folder) - now)
        _clocks[device] = known
    return known[1] + now


def _written_at(folder: Path) -> float:
    probe = folder / f".clock-{secrets.token_hex(6)}"
    try:
        handle = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            os.write(handle, b"1")
            os.fsync(handle)
            return os.fstat(handle).st_mtime
        finally:
            os.close(handle)
            probe.unlink(missing_ok=True)
    except OSError:
        return time.time()
