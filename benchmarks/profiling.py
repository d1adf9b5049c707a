"""Where the time of a training step goes, by kinds of operators, from PyTorch's profiler."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import work
from dtvg.backbones.base import Backbone
from dtvg.training.engine import Engine
from dtvg.training.state import build_stacks
from dtvg.training.step import cohort_step

COPIES = ("copy_", "cat", "clone", "contiguous", "index", "gather", "fill_", "zero_", "embedding")
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::linear", "mkldnn", "gemm", "nvjet")
KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("attention", ("scaled_dot_product", "attention", "Attention", "fmha", "flash")),
    ("matrix products", PRODUCTS),
    ("compiled elementwise code", ("cpp_fused", "triton_", "graph_", "CompiledFunction", "Torch-")),
    (
        "copies and layouts",
        (*(f"aten::{name}" for name in COPIES), "Memcpy", "Memset", "copy_kernel", "CatArray"),
    ),
    ("loss", ("log_softmax", "nll_loss", "cross_entropy", "SoftMax")),
)
"""Kinds of operators on a processor and of kernels on a GPU, by parts of their names; the first
that fits counts."""
WAITING = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")
"""Calls in which the host waits for the device."""


def shares(
    backbone: Backbone,
    batch: int,
    length: int,
    steps: int = 3,
    engine: Engine | None = None,
    runs: int = 1,
) -> list[dict[str, Any]]:
    """Return a row for each kind of operator: percent of the clock, and calls a step.

    Args:
        backbone: its layers may be compiled.
        batch: examples of a step of one run.
        length: of the prompt.
        steps: profiled.
        engine: None: a new one.
        runs: of the cohort.
    """
    trace, seconds = traced(backbone, batch, length, steps, engine, runs)
    on_device = backbone.device.type == "cuda"
    found: dict[str, list[float]] = {}
    for event in trace.key_averages():
        if on_device != (event.device_type.name == "CUDA"):
            continue  # what an operator started is there as a kernel once more
        spent = event.self_device_time_total if on_device else event.self_cpu_time_total
        if not spent:
            continue
        kind = _kind(event.key)
        own = found.setdefault(kind, [0.0, 0.0])
        own[0] += spent / 1e6
        own[1] += event.count
    rows = [
        {"kind": kind, "percent": 100 * spent / seconds, "calls_a_step": count / steps}
        for kind, (spent, count) in sorted(found.items(), key=lambda item: -item[1][0])
    ]
    rest = 100 - sum(row["percent"] for row in rows)
    what = "device idle" if on_device else "Python, and other processes"
    return [*rows, {"kind": what, "percent": rest, "calls_a_step": ""}]


def waits(
    backbone: Backbone, batch: int, length: int, engine: Engine | None = None, runs: int = 1
) -> dict[str, float]:
    """Return how often the host waits for the device in a step, by call; the profiler waits too,
    so it is what two more steps add."""
    found = []
    for steps in (1, 3):
        trace, _ = traced(backbone, batch, length, steps, engine, runs)
        found.append({e.key: e.count for e in trace.key_averages() if e.key in WAITING})
    few, many = found
    return {
        call: (many[call] - few.get(call, 0)) / 2 for call in many if many[call] > few.get(call, 0)
    }


def traced(
    backbone: Backbone,
    batch: int,
    length: int,
    steps: int,
    engine: Engine | None = None,
    runs: int = 1,
) -> tuple[Any, float]:
    """Return the profile of some steps on the same rows, and the seconds they took."""
    shared = Path(os.environ["DTVG_SHARED"]) if "DTVG_SHARED" in os.environ else None
    rows = work.make_rows(shared)
    configs = work.runs("dtvg", runs, length, batch, steps)
    slots = [work.make_slot(config, rows, backbone.width) for config in configs]
    stacks = build_stacks(slots, backbone.device, torch.float32)
    cutting = (engine or Engine()).cutting(backbone)
    on_device = backbone.device.type == "cuda"

    def step() -> None:
        cohort_step(backbone, stacks, 65_536 if on_device else 4096, cutting)

    for _ in range(3):
        step()
    kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if on_device else [])
    if on_device:
        torch.cuda.synchronize()
    with profile(activities=kinds) as trace:
        started = time.perf_counter()
        for _ in range(steps):
            step()
        spent = time.perf_counter() - started
        if on_device:
            torch.cuda.synchronize()
            spent = time.perf_counter() - started
    return trace, spent


def _kind(name: str) -> str:
    for kind, parts in KINDS:
        if any(part in name for part in parts):
            return kind
    return "elementwise and the rest"
