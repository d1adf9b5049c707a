"""The cohort engine against PEFT with transformers.Trainer: the same rows, batches and steps.

`python -m benchmarks.training --backbone smollm2-135m` measures in turns, PEFT in float32 (as it is
usually written), PEFT in the engine's precision and the engine one after the other, so that a busy
machine slows all of them alike, and prints how many times as fast the engine is: by the clock
and by processor time. Trainer has one run a process; several take their turns, so its rate stays
that of one. `--profile` adds where the time of a step goes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine, profiling, work
from benchmarks.results import FOLDER, Results
from dtvg.backbones.base import Backbone
from dtvg.training.engine import Engine, has_bfloat16, with_faster_parts

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
TITLES = {
    "training": "Times as fast as PEFT + Trainer, medians over turns; *_cpu: by processor time.",
    "profile": "Where the time of a step of one run goes, in percent of the clock.",
}


@dataclass(frozen=True)
class Asked:
    """What is measured."""

    backbone: str
    """Of `work.BACKBONES`."""
    device: str
    cohorts: tuple[int, ...] = (1, 4)
    steps: int = 8
    """Measured steps of a turn."""
    batch: int = 8
    length: int = 20
    """Of the prompt."""
    precisions: tuple[str, ...] = ("float32",)
    compiled: tuple[bool, ...] = (False, True)
    methods: tuple[str, ...] = ("none",)
    turns: int = 3
    backend: str = "inductor"
    """That layers are compiled with."""


def compare(
    asked: Asked, written: Callable[[str], bool] = lambda key: False
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield key and row of each way of the engine, as soon as its turns are over.

    Args:
        asked: what is measured.
        written: whether the row of a key is there already, so that it is left out.
    """
    rows = work.make_rows(Path(os.environ["DTVG_SHARED"]) if "DTVG_SHARED" in os.environ else None)
    for precision in asked.precisions:
        for compiled in asked.compiled:
            backbone, took = _backbone(asked, precision, compiled)
            config = work.runs("none", 1, asked.length, asked.batch, asked.steps)[0]
            model = work.make_model(asked.backbone, asked.device, DTYPES[precision])
            flops = work.flops_per_example(work.wrapped(model), rows, config)  # of plain layers
            del model
            for method in asked.methods:
                for count in asked.cohorts:
                    key = key_of(asked.backbone, precision, compiled, method, count)
                    if written(key):
                        continue
                    found = _turns(asked, backbone, precision, rows, method, count, flops)
                    how = "compiled" if compiled else "eager"
                    about = {"backbone": asked.backbone, "precision": precision, "layers": how}
                    yield (
                        key,
                        {**about, "method": method, "runs": count, **found, "compile_s": took},
                    )


def key_of(backbone: str, precision: str, compiled: bool, method: str, count: int) -> str:
    """Return the key of a measurement."""
    return f"{backbone}/{precision}/{'compiled' if compiled else 'eager'}/{method}/{count}"


def _backbone(asked: Asked, precision: str, compiled: bool) -> tuple[Backbone, float | str]:
    """Return a backbone of the engine's, and the seconds that compiling took."""
    model = work.make_model(asked.backbone, asked.device, DTYPES[precision])
    backbone = work.wrapped(model)
    started = time.perf_counter()
    if compiled:
        backbone.compile_layers(asked.backend, Engine().reach(backbone))
        return backbone, time.perf_counter() - started
    with_faster_parts(Engine(precision=precision), backbone, begun=False)
    return backbone, ""


def _turns(
    asked: Asked,
    backbone: Backbone,
    precision: str,
    rows: list[Any],
    method: str,
    count: int,
    flops: float,
) -> dict[str, Any]:
    """Measure PEFT and the engine in turns; return medians and ratios within turns."""
    budget = 4096 if asked.device == "cpu" else 65_536
    configs = work.runs(method, count, asked.length, asked.batch, asked.steps)
    base = work.runs("none", 1, asked.length, asked.batch, asked.steps)[0]
    measured: list[dict[str, dict[str, float]]] = []
    peaks = []
    for _ in range(asked.turns):
        turn = {p: _theirs(asked, rows, base, p) for p in dict.fromkeys(("float32", precision))}
        turn["ours"] = work.ours(backbone, rows, configs, asked.steps, budget)
        peaks.append(work.peak_flops(asked.device, DTYPES[precision]))
        measured.append(turn)
    examples = {"ours": count * asked.batch * asked.steps}
    rate = statistics.median(turn["ours"]["examples_per_s"] for turn in measured)

    def times(other: str, measure: str) -> float:
        each = [
            (turn[other][measure] / asked.batch / asked.steps)
            / (turn["ours"][measure] / examples["ours"])
            for turn in measured
        ]
        return statistics.median(each)

    return {
        "examples_per_s": rate,
        "peft_examples_per_s": statistics.median(t[precision]["examples_per_s"] for t in measured),
        "times_peft_float32": times("float32", "seconds"),
        "times_peft_same": times(precision, "seconds"),
        "times_peft_float32_cpu": times("float32", "cpu_seconds"),
        "times_peft_same_cpu": times(precision, "cpu_seconds"),
        "tflops": rate * flops / 1e12,
        "share_of_matmul_peak": rate * flops / statistics.median(peaks),
        "peak_gib": max(turn["ours"].get("peak_gib", 0.0) for turn in measured) or "",
    }


def _theirs(asked: Asked, rows: list[Any], config: Any, precision: str) -> dict[str, float]:
    """Measure PEFT and Trainer once, on a model of their own."""
    model = work.make_model(asked.backbone, asked.device, DTYPES[precision])
    with tempfile.TemporaryDirectory() as folder:
        return work.peft_trainer(model, rows, config, asked.steps, Path(folder))


def profile(asked: Asked, compiled: bool) -> list[dict[str, Any]]:
    """Return where the time of a step goes, in the last of the precisions."""
    precision = asked.precisions[-1]
    backbone, _ = _backbone(asked, precision, compiled)
    how = "compiled" if compiled else "eager"
    about = {"backbone": asked.backbone, "precision": precision, "layers": how}
    return [{**about, **row} for row in profiling.shares(backbone, asked.batch, asked.length)]


def precisions_of(device: str) -> tuple[str, ...]:
    """Return the precisions the device computes in by itself."""
    return ("float32", "bfloat16") if has_bfloat16(torch.device(device)) else ("float32",)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="small", choices=work.BACKBONES)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--cohorts", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--methods", nargs="+", default=["none", "dtvg"])
    parser.add_argument(
        "--precisions", nargs="+", choices=list(DTYPES), help="default: native ones"
    )
    parser.add_argument("--layers", nargs="+", choices=["eager", "compiled"])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=20)
    parser.add_argument("--profile", action="store_true", help="also say where a step's time goes")
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args(arguments)
    asked = Asked(
        options.backbone,
        options.device,
        tuple(options.cohorts),
        options.steps,
        options.batch,
        options.length,
        tuple(options.precisions or precisions_of(options.device)),
        tuple(name == "compiled" for name in options.layers or ("eager", "compiled")),
        tuple(options.methods),
        options.turns,
    )
    facts = {**machine.facts(), "gpu": machine.gpu(), "threads": torch.get_num_threads()}
    results = Results(options.out, f"training-{facts['date'][:10]}", TITLES)
    machine.show()
    print(f"{asked.backbone}, batch {asked.batch}, prompt length {asked.length}, "
          f"{asked.turns} turns of {asked.steps} steps after {work.WARM}")  # fmt: skip
    found = []
    for key, row in compare(asked):
        results.add("training", key, row, facts)
        found.append(row)
        print(machine.table([row]), flush=True)
    print(machine.table(found))
    if options.profile:
        for compiled in asked.compiled:
            for row in profile(asked, compiled):
                results.add("profile", f"{row['backbone']}/{row['layers']}", row, facts)
    print(f"Written to {results.page}")


if __name__ == "__main__":
    main()
