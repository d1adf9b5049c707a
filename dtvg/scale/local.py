"""The executor of one machine: a process per device, or per group of cores.

Workers live in sessions of their own: they outlive a driver that is killed, and the next one takes
them over.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from dtvg.errors import ConfigError, JobError
from dtvg.jobs.devices import Device
from dtvg.jobs.launcher import own_command, own_environment
from dtvg.scale.demand import Demand, fits, nowhere
from dtvg.scale.executor import Ended, Job, Place
from dtvg.scale.launch import at_work, tail
from dtvg.store.layout import ExperimentDir
from dtvg.store.processes import ProcessId, cores, of_pid


@dataclass(frozen=True)
class LocalSlot:
    """Room for one process."""

    name: str
    gpu: str = ""
    """Number of the GPU it sees; empty: none."""


class LocalExecutor:
    """Processes on this machine."""

    name = "local"
    pause = 0.2

    def __init__(
        self,
        experiment: ExperimentDir,
        demand: Demand,
        devices: Sequence[Device],
        slots: int | None,
        arguments: Callable[[str, str], list[str]],
        device: str = "auto",
    ) -> None:
        self.experiment = experiment
        self.demand = demand
        self.arguments = arguments
        self.devices = list(devices)
        self.device = device
        self.all_slots = local_slots(demand, devices, device)
        self.slots = self.all_slots[: slots or None]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._used: dict[str, str] = {}

    def check(self) -> None:
        """Refuse more than this machine has.

        Raises:
            ConfigError: it lacks the GPU that is named, or cores, GPUs or memory.
        """
        if not self.slots:
            number, there = _numbered(self.device), len(_visible(self.devices))
            if self.demand.gpus and number is not None and number >= there:
                allowed = ", ".join(["auto", "cpu", *(f"cuda:{i}" for i in range(there))])
                raise ConfigError(
                    f"Device '{self.device}' is not on this machine. Allowed: {allowed}; set "
                    "device.name to one of them."
                )
            memory = psutil.virtual_memory().total / 2**30
            gpus = sum(d.kind == "cuda" for d in self.devices)
            largest = f"{cores()} cores, {gpus} GPUs, {memory:.0f} GiB"
            raise nowhere(self.demand, largest, "this computer")

    def capacity(self) -> int:
        """Return the number of slots."""
        return len(self.slots)

    def start(self, cohort: str, token: str) -> Job:
        """Start `dtvg cohort` in a session of its own."""
        used = set(self._used.values())
        slot = next((s for s in self.slots if s.name not in used), self.slots[0])
        log = self.experiment.cohort(cohort).log_path
        environment = {**at_work(own_environment()), **self.demand.environment()}
        if slot.gpu:
            environment["CUDA_VISIBLE_DEVICES"] = slot.gpu
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as output:
                process = subprocess.Popen(
                    own_command(*self.arguments(cohort, token)),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=environment,
                )
        except OSError as error:
            raise JobError(
                f"The process of cohort '{cohort}' could not be started "
                f"({error.strerror or error})."
            ) from None
        self._processes[cohort] = process
        self._used[cohort] = slot.name
        facts = of_pid(process.pid).to_json()
        return Job(cohort, token, self.name, str(process.pid), slot.name, facts, time.time())

    def watch(self, jobs: Sequence[Job]) -> Mapping[str, Ended]:
        """Ask the system which processes have ended."""
        found = {}
        for job in jobs:
            process = self._processes.get(job.cohort)
            if process is None:
                if _process(job).exists() is False:
                    found[job.cohort] = self._lost(job, None)
            elif process.poll() is not None:
                del self._processes[job.cohort]
                found[job.cohort] = self._lost(job, process.returncode)
            if job.cohort in found:
                self._used.pop(job.cohort, None)
        return found

    def _lost(self, job: Job, code: int | None) -> Ended:
        said = tail(self.experiment.cohort(job.cohort).log_path)
        if code is None or code < 0:
            with_ = "" if code is None else f" by {signal.Signals(-code).name}"
            return Ended("lost", f"Process {job.id} on {socket.gethostname()} was ended{with_}.")
        return Ended("failed", f"Process {job.id} ended with status {code}: {said or 'no message'}")

    def stop(self, job: Job) -> None:
        """Signal the process, which commits and stops."""
        process = _process(job)
        if process.exists():
            with contextlib.suppress(OSError):
                os.kill(process.pid, signal.SIGTERM)

    def adopt(self, job: Job) -> bool | None:
        """Look for the process by pid, boot and start."""
        alive = _process(job).exists()
        if alive:
            self._used[job.cohort] = job.slot
        return alive

    def places(self) -> list[Place]:
        """Return a row per device."""
        count: dict[str, int] = {}
        for slot in self.slots:
            device = f"cuda:{slot.gpu}" if slot.gpu else "cpu"
            count[device] = count.get(device, 0) + 1
        titles = {d.name: d.title for d in self.devices}
        host = socket.gethostname()
        return [Place(host, titles.get(name, name), n) for name, n in count.items()]

    def close(self) -> None:
        """Nothing is held."""


def _process(job: Job) -> ProcessId:
    return ProcessId.read(dict[str, Any](job.facts))


def local_slots(demand: Demand, devices: Sequence[Device], device: str = "auto") -> list[LocalSlot]:
    """Return this machine's room for cohorts, GPUs one after the other.

    Args:
        demand: of a cohort.
        devices: the machine's.
        device: as in `device.name`; `cuda:1` is that GPU alone, all others are any.

    Raises:
        ConfigError: several GPUs for one cohort.
    """
    memory = psutil.virtual_memory().total / 2**30
    if not demand.gpus:
        count = fits(demand, cores(), 0, memory)
        return [LocalSlot(f"{demand.device} {n}" if count > 1 else demand.device)
                for n in range(count)]  # fmt: skip
    if demand.gpus > 1:
        raise ConfigError("A cohort trains on one GPU; set scale.gpus to 1, or a fraction of it.")
    gpus, number = _visible(devices), _numbered(device)
    if number is not None:
        gpus = gpus[number : number + 1]
    each = max(1, int(1 / demand.gpus))
    room = fits(demand, cores(), len(gpus), memory)
    named = [(gpu, n) for n in range(each) for gpu in gpus][:room]
    return [LocalSlot(f"cuda:{gpu}" + (f" {n}" if each > 1 else ""), gpu) for gpu, n in named]


def _visible(devices: Sequence[Device]) -> list[str]:
    """Return the GPUs that processes started here may see, as `CUDA_VISIBLE_DEVICES` has them."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if seen:
        return [part.strip() for part in seen.split(",") if part.strip()]
    return [d.name.partition(":")[2] for d in devices if d.kind == "cuda"]


def _numbered(device: str) -> int | None:
    """Return which GPU a setting names; None where it may be any."""
    number = device.partition(":")[2]
    return int(number) if number else None
