"""What a micro-batch costs beside its tokens: the ground of `engine.LAUNCHES`.

`python -m benchmarks.micro_batches small smollm2-135m` times several shapes, forward and back,
by processor time, and fits `fixed + slope × padded tokens`; `apart` is the one over the other.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch

from benchmarks import machine, work
from dtvg.backbones.base import Backbone, Encoded
from dtvg.training.engine import Engine

SHAPES = ((1, 20), (1, 60), (1, 120), (2, 60), (4, 20), (4, 60), (8, 20), (8, 60), (8, 120))
"""Examples and their input tokens."""
LENGTH, ANSWER = 20, 3
"""Of the prompt, and of an answer with its end mark."""


def seconds(backbone: Backbone, count: int, tokens: int, repeats: int = 5) -> float:
    """Return the least processor time of a micro-batch, forward and back."""
    rng = np.random.default_rng(0)
    rows = [
        Encoded(rng.integers(2, 400, tokens), np.append(rng.integers(2, 400, ANSWER - 1), 1))
        for _ in range(count)
    ]
    leaf = torch.randn(1, LENGTH, backbone.width, device=backbone.device).requires_grad_()

    def once() -> float:
        started = time.process_time()
        backbone.loss(leaf.expand(count, -1, -1), backbone.collate(rows))[0].sum().backward()
        return time.process_time() - started

    once()
    return min(once() for _ in range(repeats))


def fitted(backbone: Backbone) -> dict[str, Any]:
    """Return the fit of one backbone."""
    padded = np.array([count * (tokens + LENGTH + ANSWER) for count, tokens in SHAPES])
    took = np.array([seconds(backbone, *shape) for shape in SHAPES])
    design = np.stack([np.ones(len(padded)), padded], axis=1)
    fixed, slope = np.linalg.lstsq(design, took, rcond=None)[0]
    return {
        "fixed_ms": 1e3 * fixed,
        "ms_a_token": 1e3 * slope,
        "measured_apart": fixed / slope,
        "engine_apart": Engine().apart(backbone),
    }


def main() -> None:
    """Print a row per backbone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backbones", nargs="+", choices=work.BACKBONES)
    options = parser.parse_args()
    machine.show()
    found = [
        {"backbone": name, **fitted(work.wrapped(work.make_model(name, "cpu", torch.float32)))}
        for name in options.backbones
    ]
    print(machine.table(found))


if __name__ == "__main__":
    main()
