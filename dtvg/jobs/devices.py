"""The devices of this machine, as far as can be told without torch: CPU, and GPUs by NVML."""

from __future__ import annotations

import os
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Device:
    """A device one can train on."""

    name: str
    """As in `device.name`: `cpu`, `cuda:0`, ..."""
    title: str
    memory_gib: float
    free_gib: float
    used_by: tuple[int, ...] = ()
    """Processes that compute on it."""


def list_devices() -> list[Device]:
    """Return GPUs first, then the CPU, which is always there."""
    memory = psutil.virtual_memory()
    cores = os.cpu_count() or 1
    cpu = Device("cpu", f"CPU, {cores} cores", memory.total / 2**30, memory.available / 2**30)
    return [*_gpus(), cpu]


def _gpus() -> list[Device]:
    try:
        import pynvml

        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except Exception:  # noqa: BLE001 - any failure of an optional driver means: no GPU
        return []
    found = []
    for i in range(count):
        handle = pynvml.nvmlDeviceGetHandleByIndex(i)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        users = tuple(p.pid for p in pynvml.nvmlDeviceGetComputeRunningProcesses(handle))
        found.append(
            Device(
                f"cuda:{i}",
                str(pynvml.nvmlDeviceGetName(handle)),
                memory.total / 2**30,
                memory.free / 2**30,
                users,
            )
        )
    return found
