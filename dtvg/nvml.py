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


class Busy(NamedTuple):
    """How busy one GPU is."""

    share: float
    """Of the time of the last moments in which it computed anything, 0..1."""
    used_bytes: int


def busy(pid: int) -> Busy | None:
    """Return how busy the GPU is that a process computes on; None where it cannot be told.

    Inside some containers the driver does not tell which processes compute: the only GPU is
    meant then.

    Args:
        pid: the process.
    """
    if _Driver.absent:
        return None
    try:
        import pynvml

        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        ours = [h for h in handles if pid in _computing(h)]
        chosen = ours or (handles if len(handles) == 1 else [])
        if not chosen:
            return None
        rates = [pynvml.nvmlDeviceGetUtilizationRates(h).gpu / 100 for h in chosen]
        used = sum(int(pynvml.nvmlDeviceGetMemoryInfo(h).used) for h in chosen)
        return Busy(round(sum(rates) / len(rates), 3), used)
    except Exception:  # noqa: BLE001 - any failure of an optional driver means: no GPU
        _Driver.absent = True
        return None


class _Driver:
    """Whether asking was in vain once, so that it is not asked at every commit."""

    absent = False


def _computing(handle: object) -> set[int]:
    """Return the processes that compute on a GPU; nothing where the driver does not tell."""
    import pynvml

    try:
        return {p.pid for p in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)}
    except pynvml.NVMLError:
        return set()
