"""Picking the device, threads and token budget a process trains with.

Two spinning threads on busy cores ran 30 times slower, so threads and OpenMP's waiting are set
before anything computes.
"""

from __future__ import annotations

import os

import numpy as np
import psutil
import torch

from dtvg.config import DeviceConfig, build
from dtvg.errors import ConfigError
from dtvg.store.processes import cores

CPU_BUDGET = 4096
GPU_BUDGET = 65536


def device_named(name: str, precision: str = "float32") -> DeviceConfig:
    """Return settings for a device and precision a person typed.

    Raises:
        ConfigError: naming what is allowed.
    """
    return build(DeviceConfig, {"name": name, "precision": precision}, "device")


def pick_device(config: DeviceConfig) -> torch.device:
    """Return the device asked for; a worker has the one that its driver gave it.

    Raises:
        ConfigError: if it is not there, naming those that are.
    """
    present = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        present.append("mps")
    given = os.environ.get("DTVG_DEVICE")
    name = given or config.name
    if name == "auto":
        name = "cuda:0" if "cuda:0" in present else "cpu"
    if name == "cuda":
        name = "cuda:0"
    if name not in present:
        setting = "DTVG_DEVICE" if given else "device.name"
        raise ConfigError(
            f"Device '{given or config.name}' is not on this machine. Allowed: auto, "
            f"{', '.join(present)}; set {setting} to one of them."
        )
    if name == "mps" and config.precision == "float64":
        raise ConfigError("Device 'mps' has no float64; set device.name to cpu or cuda.")
    return torch.device(name)


def set_threads(config: DeviceConfig, slots: int | None = None) -> int:
    """Set CPU threads to those asked for, or cores / slots; return the number set.

    Args:
        config: its `threads` wins.
        slots: processes that share the cores; None: as the queue says (`DTVG_SLOTS`), else 1.
            A worker takes what its driver says (`DTVG_THREADS`).
    """
    given = os.environ.get("DTVG_SLOTS", "")
    slots = slots or (int(given) if given.isdecimal() and int(given) else 1)
    told = os.environ.get("DTVG_THREADS", "")
    mine = int(told) if told.isdecimal() and int(told) else max(1, cores() // slots)
    threads = config.threads or mine
    torch.set_num_threads(threads)
    return threads


def token_budget(config: DeviceConfig, device: torch.device) -> int:
    """Return padded tokens per micro-batch: as configured, or what suits the device."""
    if config.token_budget is not None:
        return config.token_budget
    return CPU_BUDGET if device.type == "cpu" else GPU_BUDGET


def send(
    values: np.ndarray, device: torch.device, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """Copy an array to the device without waiting for it.

    Only a copy out of pinned memory leaves a CUDA stream running; PyTorch keeps the pinned
    block until the copy is done.

    Args:
        values: any shape.
        device: where to.
        dtype: None: the array's.
    """
    tensor = torch.as_tensor(values, dtype=dtype)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device ran out of memory (CUDA, or the CPU's allocator)."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or (
        "out of memory" in text or "can't allocate memory" in text
    )


_PROCESS = psutil.Process()


def memory_gib(device: torch.device) -> float:
    """Return peak device memory in GiB; on the CPU the process's resident memory."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 2**30
    return float(_PROCESS.memory_info().rss) / 2**30
