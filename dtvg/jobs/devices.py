"""The devices of this machine, as far as can be told without torch: CPU, and GPUs by NVML."""

from __future__ import annotations

import importlib.util
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from dtvg import nvml
from dtvg.store.processes import cores

BFLOAT16_SINCE = (8, 0)
"""CUDA compute capability from which bfloat16 is computed by the hardware."""


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
    precisions: tuple[str, ...] = ("float32",)
    """Precisions it computes in by itself, the usual one first."""

    @property
    def kind(self) -> str:
        """`cpu`, `cuda` or `mps`."""
        return self.name.partition(":")[0]


def list_devices() -> list[Device]:
    """Return GPUs first, then the CPU, which is always there."""
    memory = psutil.virtual_memory()
    cpu = Device(
        "cpu",
        f"CPU, {cores()} cores",
        memory.total / 2**30,
        memory.available / 2**30,
        precisions=("float32", "float64", *(("bfloat16",) if _cpu_bfloat16() else ())),
    )
    return [*_gpus(), *_apple(), cpu]


def pick(name: str, devices: list[Device]) -> Device | None:
    """Return the device a setting stands for; None where it is not on this machine.

    Args:
        name: as in `device.name`; `auto` and `cuda` stand for the first GPU.
        devices: as `list_devices` returns them.
    """
    if name == "auto":
        return next((d for d in devices if d.kind == "cuda"), devices[-1])
    if name == "cuda":
        name = "cuda:0"
    return next((d for d in devices if d.name == name), None)


def users(device: Device) -> list[str]:
    """Return who computes on a device: program, process, person."""
    found = []
    for pid in device.used_by:
        try:
            process = psutil.Process(pid)
            found.append(f"{process.name()} ({process.username()}, process {pid})")
        except psutil.Error:
            found.append(f"process {pid}")
    return found


def _gpus() -> list[Device]:
    return [
        Device(
            f"cuda:{number}",
            gpu.name,
            gpu.total_bytes / 2**30,
            gpu.free_bytes / 2**30,
            gpu.processes,
            _cuda_precisions(gpu.capability),
        )
        for number, gpu in enumerate(nvml.gpus())
    ]


def _cuda_precisions(capability: tuple[int, ...]) -> tuple[str, ...]:
    found = ["float32", "float16", "float64"]
    if capability >= BFLOAT16_SINCE:
        found.insert(1, "bfloat16")
    if importlib.util.find_spec("bitsandbytes"):
        found += ["int8", "int4"]
    return tuple(found)


def _apple() -> list[Device]:
    """Apple's GPU shares the machine's memory; that it is there follows from the machine."""
    if sys.platform != "darwin" or platform.machine() != "arm64":
        return []
    memory = psutil.virtual_memory()
    return [
        Device(
            "mps",
            "Apple GPU",
            memory.total / 2**30,
            memory.available / 2**30,
            precisions=("float32", "float16"),
        )
    ]


def _cpu_bfloat16() -> bool:
    """Whether the CPU computes in bfloat16 by itself; elsewhere it is many times slower."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    line = next((x for x in text.splitlines() if x.startswith(("flags", "Features"))), "")
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(line.split()))
