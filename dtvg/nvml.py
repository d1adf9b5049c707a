"""NVIDIA GPUs as their driver describes them, without torch: the one place that asks NVML."""

from __future__ import annotations

import contextlib
from typing import NamedTuple


class Gpu(NamedTuple):
    """One GPU; its number is its place in the list."""

    name: str
    total_bytes: int
    free_bytes: int
    processes: tuple[int, ...]
    """Those that compute on it; empty where the driver does not tell."""
    capability: tuple[int, ...]
    """CUDA compute capability, (0, 0) where unknown."""


def gpus() -> list[Gpu]:
    """Return every GPU; nothing where there is no driver, or none that answers."""
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
        processes: tuple[int, ...] = ()
        with contextlib.suppress(pynvml.NVMLError):  # not told inside some containers
            running = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
            processes = tuple(p.pid for p in running)
        capability: tuple[int, ...] = (0, 0)
        with contextlib.suppress(pynvml.NVMLError):
            capability = tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handle))
        name = pynvml.nvmlDeviceGetName(handle)
        name = name.decode() if isinstance(name, bytes) else str(name)
        found.append(Gpu(name, int(memory.total), int(memory.free), processes, capability))
    return found
