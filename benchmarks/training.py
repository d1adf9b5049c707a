"""The cohort engine against PEFT with transformers.Trainer: the same rows, batches and steps.

`python -m benchmarks.training` prints examples per second side by side, for one run and for
cohorts. Trainer has one run a process; several take their turns, so its rate stays that of one.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine, work


def compare(
    size: str, device: str, cohorts: list[int], steps: int, batch: int, length: int,
    dtype: torch.dtype = torch.float32,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return one row for the trainer and one per cohort size.

    Args:
        size: of `work.SIZES`.
        device: `cpu` or `cuda`.
        cohorts: numbers of runs trained together.
        steps: measured steps.
        batch: examples of a run's step.
        length: of the prompt.
        dtype: of the backbone.
    """
    shared = Path(os.environ["DTVG_SHARED"]) if "DTVG_SHARED" in os.environ else None
    rows = work.make_rows(shared)
    budget = 4096 if device == "cpu" else 65_536
    table = []
    with tempfile.TemporaryDirectory() as folder:
        config = work.runs("none", 1, length, batch, steps)[0]
        model = work.make_model(size, device, dtype)
        flops = work.flops_per_example(model, rows, config)
        peak = work.peak_flops(device, dtype)
        theirs = work.peft_trainer(model, rows, config, steps, Path(folder))
        base = theirs["examples_per_s"]
        table.append(_row("PEFT + Trainer", 1, theirs, base, flops, peak))
        model = work.make_model(size, device, dtype)
        for method in ("none", "dtvg"):
            for count in cohorts:
                configs = work.runs(method, count, length, batch, steps)
                found = work.ours(model, rows, configs, steps, budget)
                table.append(_row(f"cohort, {method}", count, found, base, flops, peak))
    return table


def _row(
    what: str, runs: int, found: dict[str, float], base: float, flops: float, peak: float
) -> dict[str, Any]:
    rate = found["examples_per_s"]
    row = {"engine": what, "runs": runs, "examples_per_s": rate, "ratio": rate / base}
    row |= {"share_of_matmul_peak": rate * flops / peak, "cpu_seconds": found["cpu_seconds"]}
    return {**row, "peak_gib": found.get("peak_gib", "")}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="small", choices=list(work.SIZES))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--cohorts", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=20)
    options = parser.parse_args()
    machine.show()
    print(f"T5 '{options.size}', {torch.get_num_threads()} threads, batch {options.batch}, "
          f"prompt length {options.length}, {options.steps} steps after {work.WARM}")  # fmt: skip
    print(machine.table(compare(options.size, options.device, options.cohorts, options.steps,
                                options.batch, options.length)))  # fmt: skip


if __name__ == "__main__":
    main()
