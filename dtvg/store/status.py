"""What a run is doing: status files written by a thread of its own, and the truth about them.

A status may outlive its process; `read_status` asks the lease of the experiment and says LOST
where it is proved free, UNKNOWN where that cannot be told. docs/run_files.md "Who trains it".
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dtvg.errors import DtvgError, StoreError
from dtvg.names import check_name
from dtvg.records import RunState
from dtvg.store.files import check_own, read_json, replace_json
from dtvg.store.formats import StatusFile, read_model
from dtvg.store.layout import CohortDir, ExperimentDir, RunDir
from dtvg.store.lease import LeaseLost, held_here
from dtvg.store.liveness import STARTING, died, look_at_run
from dtvg.store.processes import ProcessId, this_process

NEVER_BEGAN = "The process of its experiment ended before this run began."

WRITE_SECONDS = 1.0
"""Statuses are written this often; the promise is every 2 s."""

ENDED = ("finished", "failed", "stopped")
"""States after which a run gives no more signs."""


@dataclass(frozen=True)
class Status:
    """A run's state and progress as its file says, corrected by what is true."""

    state: RunState
    step: int = 0
    total_steps: int = 0
    loss: float | None = None
    score: float | None = None
    message: str = ""
    cohort: str | None = None
    pid: int | None = None
    host: str | None = None
    job: str = ""
    started_at: float | None = None
    updated_at: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The rest of the file: experiment, name, role, target, method, seed, sources."""


class StatusBoard:
    """Writes the status of every run of a cohort, and the cohort's heartbeat, in the background.

    `update` only changes memory; a thread writes about every second. A disk that refuses is
    tried again at the next turn: status never ends training.
    """

    def __init__(self, cohort: CohortDir, runs: Mapping[str, RunDir]) -> None:
        self.cohort = cohort
        self.runs = dict(runs)
        self._lock = threading.Lock()
        self._writing = {name: threading.Lock() for name in self.runs}
        self._stop = threading.Event()
        of_experiment = held_here(cohort.path.parent.parent)
        self._lease = of_experiment or held_here(cohort.path)
        self._process = {
            **this_process().to_json(),
            "lease": "" if self._lease is None else self._lease.token,
            "lease_of": "cohort" if of_experiment is None and self._lease else "",
            "cohort": cohort.id,
        }
        now = time.time()
        self._status = {
            name: {**(read_json(run.status_path) or {}), **self._process, "started_at": now}
            for name, run in self.runs.items()
        }
        self._written = {name: dict(status) for name, status in self._status.items()}
        self._thread = threading.Thread(target=self._work, name="status", daemon=True)
        self._write()
        self._thread.start()

    def update(self, name: str, **values: Any) -> None:
        """Change a run's status: `state`, `step`, `total_steps`, `loss`, `score`, `message`."""
        if isinstance(values.get("state"), RunState):
            values["state"] = values["state"].value
        with self._lock:
            self._status[name].update(values)
            if "state" in values:
                self._written.pop(name, None)
        if "state" in values:
            self._write([name])

    def open_runs(self) -> list[str]:
        """Return the runs that did not end, as far as their status says."""
        with self._lock:
            return [name for name, of in self._status.items() if of.get("state") not in ENDED]

    def close(self) -> None:
        """Stop the thread and write everything once more."""
        self._stop.set()
        self._thread.join()
        self._write()

    def _work(self) -> None:
        while not self._stop.wait(WRITE_SECONDS):
            self._write()

    def _write(self, names: list[str] | None = None) -> None:
        if self._lease is not None and self._lease.lost:
            return  # another process took over
        beat = {**self._process, "heartbeat": time.time(), "runs": sorted(self.runs)}
        try:
            for name in names or self.runs:
                self._write_one(name)
            replace_json(self.cohort.process_path, beat, durable=False)
        except StoreError:
            return

    def _write_one(self, name: str) -> None:
        """Write a run's status as it is now; nothing where it ended and its file says so.

        Its lock is held from looking to writing, so that no older status replaces a newer one.
        """
        with self._writing[name]:
            with self._lock:
                status = dict(self._status[name])
                if status.get("state") in ENDED and self._written.get(name) == status:
                    return
            content = {**status, "updated_at": time.time()}
            replace_json(self.runs[name].status_path, content, durable=False)
            with self._lock:
                self._written[name] = status


def read_status(run: RunDir) -> Status | None:
    """Return a run's status, or None where there is no readable status file.

    Raises:
        StoreError: a field of it holds something else than it should.
    """
    read = read_model(run.status_path, StatusFile)
    if read is None:
        return None
    content = read.model_dump(mode="json")
    state, message = read.state, read.message
    if state.alive:
        sign = look_at_run(run.status_path, content)
        if sign.held is None:
            state, message = RunState.UNKNOWN, sign.advice
        elif not sign.held:
            state = RunState.LOST
        elif state is RunState.RUNNING and "stop" in requested(run):
            state = RunState.STOPPING
    elif state is RunState.WAITING and not message and died(run.path.parent):
        state, message = RunState.LOST, NEVER_BEGAN
    return Status(
        state=state,
        step=read.step,
        total_steps=read.total_steps,
        loss=read.loss,
        score=read.score,
        message=message,
        cohort=read.cohort,
        pid=read.pid,
        host=read.host,
        job=read.job,
        started_at=read.started_at,
        updated_at=read.updated_at,
        facts=content,
    )


def as_written(run: RunDir) -> StatusFile | None:
    """Return what a status file says, true or not; None where there is none that can be read."""
    try:
        return read_model(run.status_path, StatusFile)
    except StoreError:
        return None


def note_waiting(run: RunDir, message: str) -> None:
    """Say with a run that waits what it waits for; does nothing to any other run."""
    content = read_json(run.status_path) or {}
    if content.get("state") == RunState.WAITING and content.get("message", "") != message:
        replace_json(run.status_path, {**content, "message": message}, durable=False)


@contextlib.contextmanager
def noted_with_runs(
    experiment: ExperimentDir, only: Collection[str] | None = None
) -> Iterator[None]:
    """Let an error that ends a process stand with the runs that it will not begin any more.

    Args:
        experiment: whose runs; this process holds it.
        only: names of the runs that the process works on; None: all.
    """
    runs = [run for run in experiment.runs() if not only or run.name in only]
    for run in runs:  # of an earlier process
        _note_if(run, {"never_began": True}, state="waiting", message="", never_began=False)
    try:
        yield
    except LeaseLost:
        raise  # another process took over and will begin them
    except Exception as error:
        said = str(error) if isinstance(error, DtvgError) else f"{type(error).__name__}: {error}"
        for run in runs:
            _note_if(run, {"state": "waiting"}, state="failed", message=said, never_began=True)
        raise


def _note_if(run: RunDir, known: Mapping[str, Any], **values: Any) -> None:
    """Change a status that says what is known; a disk that refuses changes nothing."""
    content = read_json(run.status_path) or {}
    if all(content.get(key) == value for key, value in known.items()):
        with contextlib.suppress(StoreError, OSError):
            replace_json(run.status_path, {**content, **values}, durable=False)


def request(run: RunDir | CohortDir | ExperimentDir, word: str, **detail: Any) -> None:
    """Ask the process that trains a run for something, e.g. `stop`, at its next step.

    Raises:
        StoreError: the folder cannot be written.
    """
    for folder in run.path.parents[:3]:
        check_own(folder)
    content = {"time": time.time(), "by": os.getpid(), **detail}
    replace_json(run.control_dir / check_name(word, "request"), content)


def requested(run: RunDir | CohortDir | ExperimentDir) -> set[str]:
    """Return what has been asked for and not been done yet."""
    try:
        with os.scandir(run.control_dir) as entries:
            return {e.name for e in entries if e.name[0] != "." and e.is_file()}
    except OSError:
        return set()


def began_at(experiment: ExperimentDir) -> float:
    """Return since when requests are meant for this process, to be asked before it has the lease.

    One that was started for the experiment hears what is asked while it loads.
    """
    me = this_process()
    started = ProcessId.read(read_json(experiment.path / STARTING) or {})
    return me.process_started - 1.0 if started.same(me) else time.time()


def forget_stops(experiment: ExperimentDir, before: float) -> None:
    """Take back what asked runs to stop before a moment: who was asked died before it could."""
    for run in experiment.runs():
        made = (read_json(run.control_dir / "stop") or {}).get("time")
        if isinstance(made, int | float) and made < before:
            clear(run, "stop")


def clear(run: RunDir | CohortDir | ExperimentDir, word: str) -> None:
    """Take a request back, or note that it was met."""
    with contextlib.suppress(IsADirectoryError, PermissionError):  # a folder of that name: not ours
        (run.control_dir / check_name(word, "request")).unlink(missing_ok=True)
