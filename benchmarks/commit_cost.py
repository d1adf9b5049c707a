"""What the log costs: the share of time that goes into rows and commits; below 1 % is the aim.

`python -m benchmarks.commit_cost` trains a cohort on a random T5 with the real writers and commit
thread, at the pace of the defaults, and counts processor seconds of rows (training's thread)
and of commits (their own thread).
"""

from __future__ import annotations

import argparse
import logging as messages
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine, work
from dtvg.store.layout import CohortDir, RunDir
from dtvg.store.writer import CohortWriter, Committer, RunWriter
from dtvg.training.engine import Engine
from dtvg.training.recording import DRAIN_STEPS, StepLog
from dtvg.training.state import build_stacks
from dtvg.training.step import cohort_step


def measure(
    size: str,
    device: str,
    runs: int,
    seconds: float,
    pace: float,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Any]:
    """Train a number of DTVG runs for a while; return where processor time went.

    Args:
        size: of `work.SIZES`.
        device: `cpu` or `cuda`.
        runs: in the cohort.
        seconds: to train.
        pace: seconds between commits.
        dtype: of the backbone.
    """
    rows = work.make_rows(None)
    backbone = work.wrapped(work.make_model(size, device, dtype))
    engine = Engine(graphs=device == "cuda")
    if engine.graphs:
        backbone.record_passes()
    cutting = engine.cutting(backbone)
    configs = work.runs("dtvg", runs, 20, 8, 1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        slots = [work.make_slot(c, rows, backbone.width) for c in configs]
        for slot in slots:
            slot.writer = RunWriter(RunDir(Path(folder) / slot.name), slot.config)
        stacks = build_stacks(slots, backbone.device, torch.float32)
        writer = CohortWriter(
            CohortDir(Path(folder) / "cohorts" / "c"), {s.name: s.writer for s in slots}
        )
        committer, log = Committer(writer, pace), StepLog()
        rows_s, steps, started, busy = 0.0, 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - started < seconds:
            records = cohort_step(backbone, stacks, 4096 if device == "cpu" else 65_536, cutting)
            steps += 1
            if device != "cpu" and (len(log.queue) + 1 >= DRAIN_STEPS or committer.due()):
                torch.cuda.synchronize()  # waiting for the step is no cost of its rows
            before = time.thread_time()
            for slot in slots:
                slot.step += 1
            log.add(records, 0.0)
            if log.full:
                log.drain()
            if committer.due():
                log.drain()
                tensors = {k: v.cpu().numpy() for s in stacks for k, v in s.tensors().items()}
                committer.submit(writer.snapshot(tensors, {}))
            rows_s += time.thread_time() - before
        committer.close()
        spent, busy = time.perf_counter() - started, time.process_time() - busy
    return {
        "T5": size,
        "runs": runs,
        "steps": steps,
        "seconds": spent,
        "cpu_seconds": busy,
        "commits": committer.commits,
        "commit_cpu_s": committer.seconds_spent,
        "commit_share_%": 100 * committer.seconds_spent / spent,
        "rows_cpu_s": rows_s,
        "rows_share_%": 100 * rows_s / spent,
    }


def main() -> None:
    """Print one row per cohort."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="small", choices=list(work.SIZES))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--runs", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--pace", type=float, default=10.0, help="seconds between commits")
    options = parser.parse_args()
    messages.basicConfig(level=messages.WARNING)
    machine.show()
    found = [
        measure(options.size, options.device, n, options.seconds, options.pace)
        for n in options.runs
    ]
    print(machine.table(found))


if __name__ == "__main__":
    main()
