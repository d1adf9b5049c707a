"""What a training step of every method costs beside one of plain prompt tuning.

`python -m benchmarks.methods` trains a cohort of each method and one of `none` in turns, on the
same rows, and prints the ratio of their times, best of some turns. A step of `forkmerge` trains
its branches too; trials of `surrogate` and `oracle`, and Stage I, come on top.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import machine, work
from dtvg.config import RunConfig
from dtvg.methods.specs import METHODS
from dtvg.training.engine import Engine
from dtvg.training.state import RunSlot

SETTINGS: dict[str, dict[str, Any]] = {"single": {"source": "sst2"}}
"""Settings of methods whose defaults would make more than one run a seed."""
WITHOUT_RUNS = {"oracle", "surrogate"}
"""Methods that only set up runs of another kind."""


def compare(
    size: str, device: str, runs: int, steps: int, batch: int, length: int, turns: int = 3
) -> list[dict[str, Any]]:
    """Return a row for each method: milliseconds of a run's step, and their ratio to `none`.

    Args:
        size: of `work.SIZES`.
        device: `cpu` or `cuda`.
        runs: trained together.
        steps: measured steps of a turn.
        batch: examples of a run's step.
        length: of the prompt.
        turns: of which the fastest counts.
    """
    shared = Path(os.environ["DTVG_SHARED"]) if "DTVG_SHARED" in os.environ else None
    rows = work.make_rows(shared)
    backbone = work.wrapped(work.make_model(size, device, torch.float32))
    engine = Engine(graphs=device == "cuda")
    if engine.graphs:
        backbone.record_passes()
    budget = 4096 if device == "cpu" else 65_536
    table = []
    for name in METHODS:
        if name in WITHOUT_RUNS:
            continue
        both = {
            n: work.runs({"name": n, **SETTINGS.get(n, {})}, runs, length, batch, steps)
            for n in ("none", name)
        }
        best: dict[str, dict[str, float]] = {}
        for _ in range(turns):
            for n, configs in both.items():
                slots = [_slot_of(c, rows, backbone.width) for c in configs]
                found = work.ours_of(backbone, slots, steps, budget, engine)
                if n not in best or found["seconds"] < best[n]["seconds"]:
                    best[n] = found
        mine, plain = best[name], best["none"]
        table.append(
            {
                "method": name,
                "runs": len(both[name]),
                "ms_per_run_step": mine["seconds"] * 1e3 / steps / len(both[name]),
                "ratio_to_none": mine["seconds"] / plain["seconds"],
                "peak_gib": mine.get("peak_gib", ""),
            }
        )
    return table


def _slot_of(config: RunConfig, rows: list[Any], width: int) -> RunSlot:
    """Return a run that has whatever its method may start from."""
    slot = work.make_slot(config, rows, width)
    slot.inputs["mixture_prompt"] = slot.inputs["target_prompt"]
    chosen = config.method.chosen(config.sources)
    if chosen is not None:
        slot.inputs["chosen"] = np.array(chosen, dtype=np.float32)
    return slot


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="small", choices=list(work.SIZES))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=20)
    options = parser.parse_args()
    machine.show()
    print(f"T5 '{options.size}', {torch.get_num_threads()} threads, {options.runs} runs, batch "
          f"{options.batch}, prompt length {options.length}, 6 sources")  # fmt: skip
    print(machine.table(compare(options.size, options.device, options.runs, options.steps,
                                options.batch, options.length)))  # fmt: skip


if __name__ == "__main__":
    main()
