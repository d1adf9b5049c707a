"""Seconds of one step of plain prompt tuning on a backbone, by batch and positions.

`python -m benchmarks.step_seconds NAME 8x32 8x64` prints wall-clock and processor seconds. A study
takes its budget from them before it is declared.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch

from benchmarks import machine, work
from dtvg.backbones.base import Backbone, Encoded
from dtvg.backbones.loading import load_backbone
from dtvg.config.sections import BackboneConfig, DeviceConfig
from dtvg.training.devices import set_threads
from dtvg.training.state import build_stacks
from dtvg.training.step import cohort_step

LENGTH = 10
"""Of the prompt; part of the positions."""
ANSWER = 2
"""Tokens of an answer, its end mark included; the end mark is not read."""


def measure(backbone: Backbone, batch: int, positions: int, steps: int) -> dict[str, Any]:
    """Return the median wall-clock and processor seconds of a step.

    Args:
        backbone: the frozen model.
        batch: examples of a step.
        positions: prompt, input and answer together.
        steps: measured, after one that is not.
    """
    rng = np.random.default_rng(0)
    size = positions - LENGTH - ANSWER + 1
    rows = [
        Encoded(rng.integers(2, backbone.vocabulary - 1, size), np.array([5, backbone.eos_id]))
        for _ in range(4 * batch)
    ]
    config = work.runs("none", 1, LENGTH, batch, steps)[0]
    slot = work.make_slot(config, rows, backbone.width)
    stacks = build_stacks([slot], backbone.device, torch.float32)
    times = []
    for _ in range(steps + 1):
        started, busy = time.perf_counter(), time.process_time()
        cohort_step(backbone, stacks, 4096)
        slot.step += 1
        times.append((time.perf_counter() - started, time.process_time() - busy))
    wall, processor = np.median(times[1:], axis=0)
    return {"batch": batch, "positions": positions, "seconds": wall, "cpu_seconds": processor}


def main() -> None:
    """Print one row per shape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backbone")
    parser.add_argument("shapes", nargs="+", metavar="BATCHxPOSITIONS")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    set_threads(DeviceConfig(threads=options.threads))
    backbone = load_backbone(BackboneConfig(name=options.backbone))
    shapes = [tuple(map(int, shape.split("x"))) for shape in options.shapes]
    rows = [measure(backbone, batch, size, options.steps) for batch, size in shapes]
    machine.show()
    print(machine.table(rows))


if __name__ == "__main__":
    main()
