"""The queue's files: one per job, and the state each is really in.

Every process that changes them holds one lock. docs/launch.md.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dtvg import paths
from dtvg.errors import StoreError
from dtvg.jobs import launcher
from dtvg.records import RunState
from dtvg.store.files import locked, read_json, replace_json
from dtvg.store.formats import SlotsFile, read_whole, sentence
from dtvg.store.layout import ExperimentDir
from dtvg.store.processes import ProcessId
from dtvg.store.reader import Run, open_run

STOPPED = "stopped"
"""Ends the message of a job that was stopped on request, which is a way of being done."""
LAST = ".last.json"
"""File of the queue with the highest id given so far."""


class JobState(StrEnum):
    """What a job is doing."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Job:
    """One experiment in the queue, or the runs of one."""

    id: str
    path: str
    """The experiment's folder."""
    runs: tuple[str, ...] = ()
    """Names of runs; empty: all that are unfinished."""
    device: str = "auto"
    """As configured."""
    order: float = 0.0
    state: JobState = JobState.WAITING
    added_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None
    on: str | None = None
    """The device it was started on."""
    pid: int | None = None
    process_started: float | None = None
    process: dict[str, Any] | None = None
    """Its process, as the lease names it; None in files of before that."""
    host: str = field(default_factory=socket.gethostname)
    message: str = ""
    added_in: str = ""
    """The folder it was added from, where relative names in its settings begin; empty in files of
    before that."""
    place: int = 0
    """Among those that wait, from 1; not stored."""

    @property
    def experiment(self) -> ExperimentDir:
        """The experiment's folder."""
        return ExperimentDir(Path(self.path))


_JOB = TypeAdapter(Job)


def folder() -> Path:
    """Return the queue's folder."""
    return paths.home() / "queue"


@contextlib.contextmanager
def changing() -> Iterator[None]:
    """Be the only one who changes the queue."""
    try:
        with locked(folder() / ".lock"):
            yield
    except OSError as error:
        raise StoreError(
            f"The queue in '{folder()}' cannot be changed ({error.strerror or error}); free "
            "some space there, or set DTVG_HOME to a writable folder."
        ) from None


def jobs() -> list[Job]:
    """Return all jobs: ended ones first, then those that run, then those that wait, in order."""
    found = [_true(job) for job in stored()]
    rank = {JobState.DONE: 0, JobState.FAILED: 0, JobState.RUNNING: 1, JobState.WAITING: 2}
    found.sort(key=lambda j: (rank[j.state], j.order, j.id))
    waiting = [j.id for j in found if j.state is JobState.WAITING]
    return [
        replace(j, place=waiting.index(j.id) + 1) if j.state is JobState.WAITING else j
        for j in found
    ]


def stored() -> list[Job]:
    """Return the jobs as written, in order; a file that holds something else is left out."""
    found = []
    for path in (folder() / "jobs").glob("[0-9]*.json"):
        with contextlib.suppress(StoreError):
            found.append(_read(path))
    return sorted(found, key=lambda j: (j.order, j.id))


def _read(path: Path) -> Job:
    """Read a job's file.

    Raises:
        StoreError: it holds something else.
    """
    content = read_json(path)
    if content is None:
        raise StoreError(f"'{path}' contains no JSON object.")
    known = {k: v for k, v in content.items() if k in Job.__dataclass_fields__}
    try:
        job = _JOB.validate_json(json.dumps(known), strict=True)
    except (ValidationError, ValueError, RecursionError) as error:
        raise StoreError(sentence(path, error)) from None
    if job.id != path.stem or not job.id.isdecimal():
        raise StoreError(f"'{path}': field 'id' is '{job.id[:40]}', not '{path.stem}'.")
    return job


def settings_path() -> Path:
    """Return where the numbers of slots are kept."""
    return folder() / "settings.json"


def unreadable() -> list[str]:
    """Return one sentence for each file of the queue that holds something else than it should."""
    found = []
    for path in sorted((folder() / "jobs").glob("[0-9]*.json")):
        try:
            _read(path)
        except StoreError as error:
            what = str(error).removeprefix(f"'{path}'").lstrip(": ").rstrip(".")
            found.append(
                f"'{path}' contains no job that can be read ({what}), so it is passed over; "
                "delete it."
            )
    try:
        read_whole(settings_path(), SlotsFile, "Each device has its usual number of slots.")
    except StoreError as error:
        found.append(str(error))
    return found


def write(job: Job) -> None:
    """Write a job's file."""
    content = {k: v for k, v in asdict(job).items() if k != "place"}
    replace_json(folder() / "jobs" / f"{job.id}.json", content)


def new_id(known: Iterable[Job]) -> str:
    """Return an id that no job has had, and note it. Called with the lock held.

    A page may still show a job that was removed: its id must not name another one.

    Args:
        known: all jobs there are.

    Raises:
        StoreError: the disk refuses.
    """
    number = 1 + max((int(job.id) for job in known), default=0)
    number = max(number, 1 + _last_id())
    replace_json(folder() / LAST, {"id": number})
    return f"{number:06d}"


def drop(job: Job) -> None:
    """Remove a job's file; its id stays noted. Called with the lock held."""
    if int(job.id) > _last_id():  # a queue of an earlier version
        with contextlib.suppress(StoreError):  # a full disk: room is made by removing
            replace_json(folder() / LAST, {"id": int(job.id)})
    (folder() / "jobs" / f"{job.id}.json").unlink(missing_ok=True)


def _last_id() -> int:
    """Return the highest id that is noted; 0: none is."""
    noted = (read_json(folder() / LAST) or {}).get("id")
    return noted if isinstance(noted, int) else 0


def _true(job: Job) -> Job:
    """Return a job with the state it is really in."""
    if job.state is JobState.WAITING and launcher.may_be_working(job.experiment):
        return replace(job, state=JobState.RUNNING)  # resumed by someone, or the note was lost
    if job.state is JobState.RUNNING and not lives(job):
        return ended(job)
    if _ended_early(job) and _has_results(job):
        now = ended(job)  # what the job left was trained by a later resume
        return now if now.state is JobState.DONE else job
    return job


def _ended_early(job: Job) -> bool:
    """Whether a job failed or was stopped."""
    stopped = job.state is JobState.DONE and job.message.endswith(STOPPED)
    return stopped or job.state is JobState.FAILED


def _has_results(job: Job) -> bool:
    """Whether every run of a job has a result by now; only asks whether the files are there."""
    names = job.runs or job.experiment.run_names()
    return bool(names) and all(job.experiment.run(name).result_path.exists() for name in names)


def lives(job: Job) -> bool:
    """Whether the process of a started job is running it."""
    if launcher.may_be_working(job.experiment):
        return True
    noted = {"host": job.host, "pid": job.pid, "process_started": job.process_started}
    return bool(ProcessId.read(job.process or noted).exists())


def ended(job: Job) -> Job:
    """Return a job whose process is gone, with how that came out.

    Where somebody trained other runs of its experiment meanwhile, it goes on waiting.
    """
    everything = [run for run in _runs(job) if run.problem is None]
    runs = _transfers(job)
    finished = sum(r.state is RunState.FINISHED for r in runs)
    failed = [r for r in everything if r.state in (RunState.FAILED, RunState.LOST)]
    stopped = any(r.state is RunState.STOPPED for r in runs)
    said = f"{finished} of {len(runs)} runs finished"
    state = JobState.DONE
    if failed:
        why = failed[0].message or (
            "its process was killed" if failed[0].state is RunState.LOST else "see its messages"
        )
        state, said = JobState.FAILED, f"{said}; {failed[0].name}: {why}"
    elif finished < len(runs) and stopped:
        said = f"{said}; {STOPPED}"
    elif finished < len(runs) and _others_were_trained(job):
        return replace(job, state=JobState.WAITING)
    elif finished < len(runs) or not runs:
        last = launcher.log_tail(job.experiment, 1)
        why = (
            last[6:] if last.startswith("dtvg: ") else "its process was killed or ran out of memory"
        )
        state, said = JobState.FAILED, f"{said}; {why}"
    return replace(job, state=state, message=said, ended_at=job.ended_at or time.time())


def _others_were_trained(job: Job) -> bool:
    """Whether a job never had a process of its own, and runs finished since it was queued."""
    if job.process is not None or job.pid is not None:
        return False
    found = _transfers(replace(job, runs=()))
    return any(r.state is RunState.FINISHED and (r.updated_at or 0) > job.added_at for r in found)


def _runs(job: Job) -> list[Run]:
    """Return a job's runs, and the Stage I runs they start from."""
    found = [open_run(r.path) for r in job.experiment.runs()]
    return [r for r in found if not job.runs or r.name in job.runs or r.role != "transfer"]


def _transfers(job: Job) -> list[Run]:
    return [r for r in _runs(job) if r.problem is None and r.role == "transfer"]
