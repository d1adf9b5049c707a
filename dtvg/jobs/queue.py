"""Experiments that wait for a free device: an ordered queue in files, with slots per device.

The files are the queue; a small detached process (`work`), started on demand, only starts what
is first. Killing it loses nothing: the next call brings it back. docs/launch.md.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from dtvg import paths
from dtvg.backbones.specs import check
from dtvg.config import ExperimentConfig
from dtvg.errors import DtvgError, JobError, StoreError
from dtvg.jobs import alerts, launcher
from dtvg.jobs.queue_files import Job, JobState, changing, drop, folder, jobs, new_id, stored, write
from dtvg.jobs.slots import free_device, may_use, slots, taken
from dtvg.plan.stored import lay_out
from dtvg.store.files import check_own, is_locked, locked, read_json, replace_json
from dtvg.store.layout import ExperimentDir, load_experiment
from dtvg.store.liveness import look_at_all
from dtvg.store.processes import ProcessId, of_pid
from dtvg.store.status import note_waiting

KEPT = 50
"""How many ended jobs are remembered."""


def enter(config: ExperimentConfig, runs_dir: Path, now: bool = False) -> Job:
    """Create an experiment and queue it; it starts at once where a slot is free.

    Args:
        config: what to train.
        runs_dir: folder of experiments.
        now: start it at once, whatever else is running.

    Raises:
        ConfigError: the name is taken by another configuration, or no such backbone.
        JobError: it is in the queue already, or no process could be started.
    """
    check(config.backbone.name)  # else the refused experiment keeps its name
    experiment = lay_out(config, runs_dir)
    return add(experiment, now=now, device=config.device.name)


def add(
    experiment: ExperimentDir,
    runs: Sequence[str] = (),
    now: bool = False,
    device: str | None = None,
) -> Job:
    """Queue what is unfinished of an experiment; see `enter`.

    Args:
        experiment: its folder.
        runs: names of runs; empty: all.
        now: start it at once, whatever else is running.
        device: as configured; None: read it.

    Raises:
        JobError: it is in the queue or trained already, or no process could be started.
        StoreError: nothing may be written where it lies.
    """
    check_own(experiment.path.parent)
    device = device or load_experiment(experiment.path)[1].device.name
    place = experiment.path.resolve()
    with changing():
        known = jobs()
        for job in known:
            if Path(job.path) == place and job.state is JobState.WAITING:
                raise JobError(f"'{experiment.name}' is already in the queue (job {job.id}).")
        sign = look_at_all(experiment.path)
        if sign.held is None:
            raise sign.refusal(experiment.name, "nothing was queued")
        if sign.held or any(Path(j.path) == place and j.state is JobState.RUNNING for j in known):
            raise JobError(
                f"'{experiment.name}' is being trained already. Stop it first, or wait for it."
            )
        last = max((j.order for j in known), default=0.0)
        job = Job(
            new_id(known),
            str(place),
            tuple(runs),
            device,
            last + 1,
            added_at=time.time(),
            added_in=launcher.here(),
        )
        waiting = any(
            j.state is JobState.WAITING and set(may_use(j.device)) & set(may_use(device))
            for j in known
        )
        on = free_device(device, known)
        if now or (on is not None and not waiting):
            job = launch(job, on or may_use(device)[0])
        write(job)
        _forget(known)
    ensure()
    return next((j for j in jobs() if j.id == job.id), job)


def launch(job: Job, on: str) -> Job:
    """Start a job's process on a device; return the job as it is then. Called with the lock held.

    Raises:
        JobError: no process could be started.
    """
    room = slots()
    kind = on.partition(":")[0]
    sharing = sum(n for name, n in room.items() if name.partition(":")[0] == kind)
    environment = {"DTVG_SLOTS": str(max(1, sharing))}
    alone = load_experiment(job.experiment.path)[1].scale.on == "inline"
    if alone and len(may_use(job.device)) > 1:  # a driver sees all devices
        environment["CUDA_VISIBLE_DEVICES"] = on.partition(":")[2]
    pid = launcher.resume(job.experiment, job.runs, environment, job.added_in)
    process = of_pid(pid)
    return replace(
        job,
        state=JobState.RUNNING,
        on=on,
        pid=pid,
        process_started=process.process_started or None,
        process=process.to_json(),
        started_at=time.time(),
        host=socket.gethostname(),
        message="",
    )


def remove(id: str) -> Job:
    """Take a job out of the queue, or an ended one off the list; its experiment stays.

    Raises:
        JobError: there is none of that name, or it runs.
    """
    with changing():
        job = _named(id)
        if job.state is JobState.RUNNING:
            raise JobError(
                f"Job {id} is running; stop it with `dtvg runs stop {job.experiment.name}`."
            )
        drop(job)
    say_place(replace(job, place=0))
    return job


def move(id: str, by: int) -> Job:
    """Move a waiting job towards the front (negative) or the end.

    Args:
        id: the job's.
        by: how many places, as far as there are any.

    Raises:
        JobError: there is none of that name, or it does not wait.
    """
    with changing():
        job = _named(id)
        if job.state is not JobState.WAITING:
            raise JobError(f"Job {id} is {job.state.value}; only waiting jobs can be moved.")
        others = [j for j in jobs() if j.state is JobState.WAITING and j.id != job.id]
        place = min(max(job.place - 1 + by, 0), len(others))
        before = others[place - 1].order if place else None
        after = others[place].order if place < len(others) else None
        low = before if before is not None else (after or 0.0) - 2
        high = after if after is not None else low + 2
        job = replace(job, order=(low + high) / 2)
        write(job)
    ensure()
    return _named(id)


def say_place(job: Job) -> None:
    """Note its place in the queue with each run of a job that waits; 0 takes the note away."""
    text = f"Waiting in the queue, place {job.place}." if job.place else ""
    for run in job.experiment.runs():
        if not job.runs or run.name in job.runs:
            note_waiting(run, text)


def _named(id: str) -> Job:
    known = jobs()
    for job in known:
        if job.id == id or job.id == id.zfill(6):
            return job
    listed = ", ".join(j.id for j in known) or "none"
    raise JobError(f"There is no job '{id}' in the queue. Allowed: {listed}.")


def _forget(known: Sequence[Job]) -> None:
    """Drop the oldest ended jobs beyond those that are remembered."""
    over = [j for j in known if j.state in (JobState.DONE, JobState.FAILED)]
    for job in over[: max(0, len(over) - KEPT)]:
        drop(job)


def place_of(experiment: ExperimentDir) -> int:
    """Return an experiment's place among those that wait; 0: it does not wait."""
    if not (folder() / "jobs").is_dir():
        return 0
    path = experiment.path.resolve()
    return next((job.place for job in jobs() if job.place and Path(job.path) == path), 0)


def would_wait(device: str) -> str:
    """Return why an experiment on a device would have to wait; empty: it would not."""
    known = jobs()
    mine = set(may_use(device))
    ahead = [j for j in known if j.state is JobState.WAITING and mine & set(may_use(j.device))]
    if not ahead and free_device(device, known) is not None:
        return ""
    names = [name for d, them in taken(known).items() if d in mine for name in them]
    room = sum(slots().get(name, 1) for name in mine)
    text = f"{', '.join(sorted(mine))} has {room} slot{'s' * (room != 1)}"
    text += f", taken by {', '.join(names[:3])}" if names else ""
    return text + (f"; {len(ahead)} waiting" if ahead else "")


def ensure() -> None:
    """Start the queue's process where something waits or runs and none is at it.

    The process that sends alerts is brought back as well, where it is wanted. Where a storage
    mirror is looked at, jobs rest: what they would start is refused there.
    """
    alerts.ensure()
    if paths.mirrored_uri():
        return
    if not (folder() / "jobs").is_dir() or is_locked(folder() / ".worker"):
        return
    spawned = read_json(folder() / ".spawned.json") or {}
    if ProcessId.read(spawned).exists():
        return  # it is about to take its lock
    if not any(j.state in (JobState.WAITING, JobState.RUNNING) for j in stored()):
        return
    command = launcher.own_command("queue", "work")
    with contextlib.suppress(OSError):
        pid = launcher.detached(command, folder() / "log.txt", {"DTVG_HOME": str(paths.home())})
        replace_json(folder() / ".spawned.json", of_pid(pid).to_json(), durable=False)


PAUSE, LONG_PAUSE = 1.0, 4.0
"""Seconds between turns: while something waits, and while all that is left runs."""

log = logging.getLogger(__name__)


def work() -> None:
    """Serve the queue until it is empty; returns at once where another process does."""
    with ExitStack() as stack:
        if not stack.enter_context(locked(folder() / ".worker", wait=False)):
            return
        said: dict[tuple[str, str], int] = {}
        while (folder() / "jobs").is_dir():
            pause = PAUSE
            try:
                with changing():
                    active = turn()
                    if not active:
                        # let go inside the lock: whoever adds next must find nobody at it
                        (folder() / ".spawned.json").unlink(missing_ok=True)
                        stack.close()
                        return
                _say_places(active, said)
                alerts.ensure()
                if all(job.state is JobState.RUNNING for job in active):
                    pause = LONG_PAUSE
            except StoreError as error:
                log.warning("%s", error)  # a full disk: again at the next turn
            time.sleep(pause)


def turn() -> list[Job]:
    """Note what ended, start what can be started; return the jobs that wait or run.

    Called with the lock held.
    """
    written = {job.id: job for job in stored()}
    known = jobs()
    for job in known:
        if job.state is not written[job.id].state:
            write(job)
    for place, job in enumerate(known):
        if job.state is not JobState.WAITING:
            continue
        on = free_device(job.device, known)
        if on is None:
            continue
        try:
            say_place(replace(job, place=0))
            job = launch(job, on)
        except DtvgError as error:
            ended = time.time()
            job = replace(job, state=JobState.FAILED, message=str(error), ended_at=ended)
        write(job)
        known[place] = job
    return [job for job in known if job.state in (JobState.WAITING, JobState.RUNNING)]


def _say_places(active: list[Job], said: dict[tuple[str, str], int]) -> None:
    """Note the places that changed; launched ones moved the others up.

    Args:
        active: jobs that wait or run.
        said: places noted so far, by job and folder; changed here.
    """
    waiting = [job for job in active if job.state is JobState.WAITING]
    for place, job in enumerate(waiting, start=1):
        if said.get((job.id, job.path)) != place:
            say_place(replace(job, place=place))
            said[job.id, job.path] = place
