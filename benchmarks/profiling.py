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
KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("matrix products", ("aten::mm", "aten::addmm", "aten::bmm", "aten::linear", "mkldnn", "gemm")),
    ("attention", ("scaled_dot_product", "attention")),
    ("compiled elementwise code", ("cpp_fused", "triton_", "graph_", "CompiledFunction", "Torch-")),
    ("copies and layouts", (*(f"aten::{name}" for name in COPIES), "Memcpy", "Memset")),
    ("loss", ("log_softmax", "nll_loss", "cross_entropy")),
)
"""Kinds of operators, by parts of their names; the first that fits counts."""
WAITING = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")
"""Calls in which the host waits for the device."""


def shares(backbone: Backbone, batch: int, length: int, steps: int = 3) -> list[dict[str, Any]]:
    """Return a row for each kind of operator: percent of the clock, and calls a step.

    Args:
        backbone: its layers may be compiled.
        batch: examples of a step of one run.
        length: of the prompt.
        steps: profiled.
    """
    trace, seconds = traced(backbone, batch, length, steps)
    on_device = backbone.device.type == "cuda"
    found: dict[str, list[float]] = {}
    for event in trace.key_averages():
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


def waits(backbone: Backbone, batch: int, length: int, steps: int = 2) -> dict[str, int]:
    """Return how often the host waited for the device in some steps, by call."""
    trace, _ = traced(backbone, batch, length, steps)
    return {e.key: e.count for e in trace.key_averages() if e.key in WAITING}


def traced(backbone: Backbone, batch: int, length: int, steps: int) -> tuple[Any, float]:
    """Return the profile of some steps of one run, and the seconds they took."""
    shared = Path(os.environ["DTVG_SHARED"]) if "DTVG_SHARED" in os.environ else None
    (config,) = work.runs("dtvg", 1, length, batch, steps)
    slot = work.make_slot(config, work.make_rows(shared), backbone.width)
    stacks = build_stacks([slot], backbone.device, torch.float32)
    cutting = Engine().cutting(backbone)
    on_device = backbone.device.type == "cuda"

    def step() -> None:
        cohort_step(backbone, stacks, 65_536 if on_device else 4096, cutting)
        slot.step += 1

    for _ in range(2):
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
