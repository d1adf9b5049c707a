"""What a run is doing: status files written by a thread of its own, and the truth about them.

A status may outlive its process; `read_status` checks that the process with that pid AND start
time still exists (on another host: a heartbeat younger than 30 s) and says LOST if not.
docs/run_files.md.
"""

from __future__ import annotations

import functools
import os
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psutil

from dtvg.errors import StoreError
from dtvg.names import check_name
from dtvg.records import RunState
from dtvg.store.files import read_json, replace_json
from dtvg.store.layout import CohortDir, RunDir

WRITE_SECONDS = 1.0
"""Statuses are written this often; the promise is every 2 s."""

HEARTBEAT_LIMIT = 30.0
"""A process on another host is considered dead after this many seconds without a heartbeat."""


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
        self._stop = threading.Event()
        process = psutil.Process()
        self._process = {
            "pid": process.pid,
            "process_started": process.create_time(),
            "host": socket.gethostname(),
            "cohort": cohort.id,
        }
        now = time.time()
        self._status = {
            name: {**(read_json(run.status_path) or {}), **self._process, "started_at": now}
            for name, run in self.runs.items()
        }
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
            self._write([name])

    def close(self) -> None:
        """Stop the thread and write everything once more."""
        self._stop.set()
        self._thread.join()
        self._write()

    def _work(self) -> None:
        while not self._stop.wait(WRITE_SECONDS):
            self._write()

    def _write(self, names: list[str] | None = None) -> None:
        now = time.time()
        with self._lock:
            chosen = {n: dict(self._status[n]) for n in (names or self._status)}
        beat = {**self._process, "heartbeat": now, "runs": sorted(self.runs)}
        try:
            for name, status in chosen.items():
                if names is None and status.get("state") in ("finished", "failed", "stopped"):
                    continue  # written when it ended
                path = self.runs[name].status_path
                replace_json(path, {**status, "updated_at": now}, durable=False)
            replace_json(self.cohort.process_path, beat, durable=False)
        except StoreError:
            return


def read_status(run: RunDir) -> Status | None:
    """Return a run's status, or None where there is no readable status file."""
    content = read_json(run.status_path)
    if content is None:
        return None
    try:
        state = RunState(content.get("state", ""))
    except ValueError:
        return None
    if state.alive and not _is_alive(content):
        state = RunState.LOST
    elif state is RunState.RUNNING and "stop" in requested(run):
        state = RunState.STOPPING
    return Status(
        state=state,
        step=int(content.get("step") or 0),
        total_steps=int(content.get("total_steps") or 0),
        loss=content.get("loss"),
        score=content.get("score"),
        message=str(content.get("message") or ""),
        cohort=content.get("cohort"),
        pid=content.get("pid"),
        host=content.get("host"),
        started_at=content.get("started_at"),
        updated_at=content.get("updated_at"),
        facts=content,
    )


def _is_alive(content: Mapping[str, Any]) -> bool:
    """Whether the process that wrote a status still exists."""
    if content.get("host") != socket.gethostname():
        return time.time() - float(content.get("updated_at") or 0) < HEARTBEAT_LIMIT
    started = content.get("process_started")
    return started is not None and process_exists(int(content.get("pid") or 0), float(started))


def process_exists(pid: int, started: float) -> bool:
    """Whether a process with this pid and start time exists and is not a zombie."""
    return _process_exists(pid, round(started, 1), int(time.monotonic() * 2))


@functools.lru_cache(maxsize=256)
def _process_exists(pid: int, started: float, moment: int) -> bool:
    """Ask the system; `moment` (half seconds) spares a list of 1,000 runs asking 1,000 times."""
    try:
        process = psutil.Process(pid)
        return (
            abs(process.create_time() - started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
        )
    except (psutil.NoSuchProcess, psutil.AccessDenied, ValueError):
        return False


def note_waiting(run: RunDir, message: str) -> None:
    """Say with a run that waits what it waits for; does nothing to any other run."""
    content = read_json(run.status_path) or {}
    if content.get("state") == RunState.WAITING and content.get("message", "") != message:
        replace_json(run.status_path, {**content, "message": message}, durable=False)


def request(run: RunDir, word: str, **detail: Any) -> None:
    """Ask the process that trains a run for something, e.g. `stop`, at its next step.

    Raises:
        StoreError: the folder cannot be written.
    """
    content = {"time": time.time(), "by": os.getpid(), **detail}
    replace_json(run.control_dir / check_name(word, "request"), content)


def requested(run: RunDir) -> set[str]:
    """Return what has been asked for and not been done yet."""
    try:
        return {entry.name for entry in os.scandir(run.control_dir) if entry.name[0] != "."}
    except OSError:
        return set()


def clear(run: RunDir, word: str) -> None:
    """Take a request back, or note that it was met."""
    (run.control_dir / check_name(word, "request")).unlink(missing_ok=True)
