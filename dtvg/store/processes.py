"""Which process it is that works on something, in words that no clock and no container changes.

A process is named by host, boot, process namespace, pid and start in clock ticks since the boot.
Whether it exists can only be told from inside the same boot and namespace. Imports nothing of the
package.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import hashlib
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import psutil

OWN_JOB = "DTVG_JOB"
"""What a driver tells a worker of the job it is, e.g. `Ray dtvg-demo-transfer-000`."""
JOB_VARIABLES = {
    "SLURM_JOB_ID": "Slurm",
    "PBS_JOBID": "PBS",
    "LSB_JOBID": "LSF",
    "JOB_ID": "Grid Engine",
    "_CONDOR_JOB_AD": "HTCondor",
    "KUBERNETES_SERVICE_HOST": "Kubernetes",
}
"""What schedulers tell the processes of a job, and the scheduler's name."""


@dataclass(frozen=True)
class ProcessId:
    """One process; empty fields were not noted (by an earlier version) or cannot be had here."""

    host: str = ""
    pid: int = 0
    boot: str = ""
    """Changes whenever the machine starts; shared by all containers on it."""
    machine: str = ""
    """Identity of the installation, where the system has one."""
    namespace: str = ""
    """In which numbering of processes `pid` counts."""
    ticks: int = 0
    """When it started, in clock ticks since the boot; 0: not known."""
    process_started: float = 0.0
    """The same by the wall clock, for earlier versions and systems without `/proc`."""
    user: str = ""
    job: str = ""
    """A scheduler's job, e.g. `Slurm 4711`."""

    def to_json(self) -> dict[str, Any]:
        """Return its fields, as files hold them."""
        return asdict(self)

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> ProcessId:
        """Read the fields that are there; one of a wrong type counts as not noted."""
        given: dict[str, Any] = {}
        for field in fields(cls):
            kind = {"str": str, "int": int, "float": float}[str(field.type)]
            try:
                given[field.name] = kind(content.get(field.name) or kind())
            except (TypeError, ValueError, OverflowError):
                continue
        return cls(**given)

    def same(self, other: ProcessId) -> bool:
        """Whether both name one process."""
        key = (self.host, self.pid, self.boot, self.namespace)
        started = self.ticks == other.ticks or not (self.ticks and other.ticks)
        return key == (other.host, other.pid, other.boot, other.namespace) and started

    @property
    def is_here(self) -> bool:
        """Whether this process could see it: same boot, same numbering."""
        if not self.boot:  # noted by an earlier version
            return self.host == socket.gethostname()
        return self.boot == boot_id() and self.namespace == namespace()

    @property
    def on_this_boot(self) -> bool:
        """Whether it runs, if it runs, under this machine's kernel, so that locks tell."""
        return self.boot == boot_id() if self.boot else self.host == socket.gethostname()

    @property
    def before_restart(self) -> bool:
        """Whether this very machine was started again since."""
        here = (socket.gethostname(), _machine_id())
        return bool(self.boot) and (self.host, self.machine) == here and self.boot != boot_id()

    def exists(self) -> bool | None:
        """Whether it lives (a zombie does not); None where that cannot be told from here."""
        if self.pid <= 0 or not self.is_here:
            return None
        return _exists(self.pid, self.ticks, self.process_started)

    @property
    def place(self) -> str:
        """Say where it runs: its host, and the job where there is one."""
        return f"host {self.host or 'unknown'}" + (f" ({self.job})" if self.job else "")


def of_pid(pid: int) -> ProcessId:
    """Return the identity of a process of this namespace; its start is 0 where it is gone."""
    return ProcessId(
        host=socket.gethostname(),
        pid=pid,
        boot=boot_id(),
        machine=_machine_id(),
        namespace=namespace(),
        ticks=_start_ticks(pid) or 0,
        process_started=_created(pid) or 0.0,
        user=_user(),
        job=job(),
    )


def this_process() -> ProcessId:
    """Return the identity of this process."""
    return of_pid(os.getpid())


def cores() -> int:
    """Return how many CPU cores this process may use; where that is not told (macOS), all."""
    with contextlib.suppress(AttributeError, psutil.Error):
        return len(psutil.Process().cpu_affinity() or []) or os.cpu_count() or 1
    return os.cpu_count() or 1


def job() -> str:
    """Return the scheduler's job this process belongs to; empty outside one."""
    if os.environ.get(OWN_JOB):
        return os.environ[OWN_JOB]
    for variable, scheduler in JOB_VARIABLES.items():
        value = os.environ.get(variable)
        if value:
            known = scheduler in ("Slurm", "PBS", "LSF", "Grid Engine")
            array = os.environ.get("SLURM_ARRAY_TASK_ID", "") if scheduler == "Slurm" else ""
            return (
                f"{scheduler} {value}" + (f" task {array}" if array else "")
                if known
                else (scheduler)
            )
    return ""


@functools.lru_cache(maxsize=1)
def boot_id() -> str:
    """Return what names this start of the machine; empty where the system has no such thing."""
    return _read("/proc/sys/kernel/random/boot_id")


@functools.lru_cache(maxsize=1)
def _machine_id() -> str:
    text = _read("/etc/machine-id")  # not to be told as it is: machine-id(5)
    return hashlib.sha256(f"dtvg {text}".encode()).hexdigest()[:12] if text else ""


def namespace() -> str:
    """Return what names this numbering of processes; empty where the system has only one."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return str(os.getuid()) if hasattr(os, "getuid") else ""


def _stat(pid: int) -> tuple[str, int] | None:
    """Return a process's state letter and start ticks from `/proc`; None where it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields_ = text.rpartition(")")[2].split()
        return fields_[0], int(fields_[19])
    except (OSError, ValueError, IndexError):
        return None


def _start_ticks(pid: int) -> int | None:
    found = _stat(pid)
    return None if found is None else found[1]


def _created(pid: int) -> float | None:
    try:
        return float(psutil.Process(pid).create_time())
    except (psutil.Error, OverflowError):
        return None


def _exists(pid: int, ticks: int, started: float) -> bool:
    if ticks and os.path.exists("/proc/self/stat"):
        found = _stat(pid)
        return found is not None and found[0] not in "ZX" and found[1] == ticks
    return _lives_by_the_clock(pid, round(started, 1), int(time.monotonic() * 4))


@functools.lru_cache(maxsize=256)
def _lives_by_the_clock(pid: int, started: float, moment: int) -> bool:
    """Ask the system; `moment` spares a list of 1,000 runs asking 1,000 times."""
    try:
        process = psutil.Process(pid)
        zombie = process.status() == psutil.STATUS_ZOMBIE
        return abs(process.create_time() - started) < 1.0 and not zombie
    except (psutil.NoSuchProcess, psutil.AccessDenied, ValueError, OverflowError):
        return False
