"""How busy the machine was while a cohort trained: a line per commit in the cohort's folder.

Processor and memory of the training process and of the machine, and its GPU's, since the line
before. Nothing is computed from it, and folders of before it was written lack the file.
docs/run_files.md "Usage".
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dtvg import nvml
from dtvg.store.layout import CohortDir

FILE = "usage.jsonl"
GIB = 2**30
LEAST_SECONDS = 1.0
"""Commits that follow each other faster share a line: shares of less are noise."""


class Usage(BaseModel):
    """One line: what was used since the line before."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    time: float = Field(description="Unix time in seconds")
    pid: int = Field(description="process that trained")
    steps: dict[str, int] = Field({}, description="newest step of each run that trained")
    cores: float = Field(ge=0, description="processor cores the process kept busy, on average")
    machine: float = Field(ge=0, le=1, description="share of all the machine's cores that was busy")
    memory_gib: float = Field(ge=0, description="resident memory of the process, GiB")
    machine_gib: float = Field(ge=0, description="memory in use on the machine, GiB")
    gpu: float | None = Field(None, ge=0, le=1, description="share of time the GPU was busy")
    gpu_gib: float | None = Field(None, ge=0, description="memory in use on the GPU, GiB")


class Meter:
    """Notes a process's usage, at most once a second."""

    def __init__(self, cohort: CohortDir) -> None:
        """Start counting.

        Args:
            cohort: whose folder the lines go to.
        """
        self.path = cohort.path / FILE
        self._process = psutil.Process()
        self._before = (time.monotonic(), self._seconds(), self._machine())

    def note(self, steps: Mapping[str, int]) -> None:
        """Append a line; a disk that refuses, or a system that does not tell, costs the line.

        Args:
            steps: newest step of each run that trains.
        """
        now = time.monotonic()
        then, own, (busy, idle) = self._before
        if now - then < LEAST_SECONDS:
            return
        try:
            line = self._line(dict(steps), now - then, own, busy, idle)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except (OSError, psutil.Error):
            return

    def _line(
        self, steps: dict[str, int], passed: float, own: float, busy: float, idle: float
    ) -> str:
        """Return the line for the time since the one before, and count from here on."""
        newest, (now_busy, now_idle) = self._seconds(), self._machine()
        self._before = (time.monotonic(), newest, (now_busy, now_idle))
        whole = (now_busy - busy) + (now_idle - idle)
        share = (now_busy - busy) / whole if whole > 0 else 0.0
        memory = psutil.virtual_memory()
        gpu = nvml.busy(os.getpid())
        found = Usage(
            time=round(time.time(), 2),
            pid=os.getpid(),
            steps=steps,
            cores=round(max(newest - own, 0.0) / passed, 3),
            machine=round(min(max(share, 0.0), 1.0), 3),
            memory_gib=round(self._process.memory_info().rss / GIB, 3),
            machine_gib=round((memory.total - memory.available) / GIB, 3),
            gpu=None if gpu is None else gpu.share,
            gpu_gib=None if gpu is None else round(gpu.used_bytes / GIB, 3),
        )
        return json.dumps(found.model_dump(exclude_none=True), separators=(",", ":"))

    def _seconds(self) -> float:
        """Processor seconds of the process so far."""
        spent = self._process.cpu_times()
        return float(spent.user + spent.system)

    @staticmethod
    def _machine() -> tuple[float, float]:
        """Busy and idle processor seconds of the machine so far."""
        spent = psutil.cpu_times()
        idle = float(spent.idle + getattr(spent, "iowait", 0.0))
        guests = float(getattr(spent, "guest", 0.0) + getattr(spent, "guest_nice", 0.0))
        return float(sum(spent)) - guests - idle, idle  # guests are part of user already


def read_usage(cohort: CohortDir) -> list[Usage]:
    """Return the lines of a cohort in order of time; those that are no such line are passed over.

    A line may be cut short where the process was killed.
    """
    return _read(cohort.path / FILE)


def _read(path: Path) -> list[Usage]:
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            found.append(Usage.model_validate_json(line))
        except ValidationError:
            continue
    return sorted(found, key=lambda one: one.time)
