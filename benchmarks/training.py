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
LAYERS = ("eager", "compiled", "graphs", "compiled graphs")
"""How layers are computed; steps as CUDA graphs on a GPU only."""
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
    layers: tuple[str, ...] = ("eager", "compiled")
    """Of `LAYERS`."""
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
    base = work.runs("none", 1, asked.length, asked.batch, asked.steps)[0]
    for precision in asked.precisions:
        models = {
            p: work.make_model(asked.backbone, asked.device, DTYPES[p])
            for p in dict.fromkeys(("float32", precision))
        }
        flops = work.flops_per_example(work.wrapped(models[precision]), rows, base, 1)
        for layers in asked.layers:
            keys = {
                (method, count): key_of(asked.backbone, precision, layers, method, count)
                for method in asked.methods
                for count in asked.cohorts
            }
            todo = {both: key for both, key in keys.items() if not written(key)}
            if not todo:
                continue
            backbone, engine, took = _backbone(asked, precision, layers)
            found = _turns(asked, models, (backbone, engine), rows, list(todo), flops)
            for (method, count), row in found.items():
                about = {"backbone": asked.backbone, "precision": precision, "layers": layers}
                about |= {"method": method, "runs": count, "batch": asked.batch}
                yield todo[method, count], {**about, **row, "compile_s": took}


def key_of(backbone: str, precision: str, layers: str, method: str, count: int) -> str:
    """Return the key of a measurement."""
    return f"{backbone}/{precision}/{layers}/{method}/{count}"


def _backbone(asked: Asked, precision: str, layers: str) -> tuple[Backbone, Engine, float | str]:
    """Return a backbone of the engine's, the engine, and the seconds that compiling took."""
    model = work.make_model(asked.backbone, asked.device, DTYPES[precision])
    backbone = work.wrapped(model)
    engine = Engine(precision=precision, graphs="graphs" in layers)
    if engine.graphs:
        backbone.record_passes()
    if "compiled" in layers:
        packing, started = engine.cutting(backbone).packing, time.perf_counter()
        backbone.compile_layers(asked.backend, packing)
        return backbone, engine, time.perf_counter() - started
    return backbone, with_faster_parts(engine, backbone, begun=False), ""


def _turns(
    asked: Asked,
    models: dict[str, Any],
    made: tuple[Backbone, Engine],
    rows: list[Any],
    todo: list[tuple[str, int]],
    flops: float,
) -> dict[tuple[str, int], dict[str, Any]]:
    """Measure PEFT and the engine in turns; return medians and ratios within turns."""
    backbone, engine = made
    precision = list(models)[-1]
    budget = 4096 if asked.device == "cpu" else 65_536
    base = work.runs("none", 1, asked.length, asked.batch, asked.steps)[0]
    theirs: list[dict[str, dict[str, float]]] = []
    ours: dict[tuple[str, int], list[dict[str, float]]] = {both: [] for both in todo}
    peaks = []
    for _ in range(asked.turns):
        theirs.append({p: _theirs(model, rows, base, asked.steps) for p, model in models.items()})
        for method, count in todo:
            configs = work.runs(method, count, asked.length, asked.batch, asked.steps)
            found = work.ours(backbone, rows, configs, asked.steps, budget, engine)
            ours[method, count].append(found)
        peaks.append(work.peak_flops(asked.device, DTYPES[precision]))
    peak = statistics.median(peaks)
    return {
        both: _row(theirs, found, both[1], precision, flops, peak) for both, found in ours.items()
    }


def _row(
    theirs: list[dict[str, dict[str, float]]],
    ours: list[dict[str, float]],
    count: int,
    precision: str,
    flops: float,
    peak: float,
) -> dict[str, Any]:
    """Return what was measured of a cohort of so many runs."""
    rate = statistics.median(turn["examples_per_s"] for turn in ours)

    def times(other: str, measure: str) -> float:
        each = [
            turn[other][measure] / (mine[measure] / count)
            for turn, mine in zip(theirs, ours, strict=True)
        ]
        return statistics.median(each)

    return {
        "ms_a_step": statistics.median(turn["ms_a_step"] for turn in ours),
        "examples_per_s": rate,
        "peft_examples_per_s": statistics.median(t[precision]["examples_per_s"] for t in theirs),
        "times_peft_float32": times("float32", "seconds"),
        "times_peft_same": times(precision, "seconds"),
        "times_peft_float32_cpu": times("float32", "cpu_seconds"),
        "times_peft_same_cpu": times(precision, "cpu_seconds"),
        "tflops": rate * flops / 1e12,
        "share_of_matmul_peak": rate * flops / peak,
        "peak_gib": max(turn.get("peak_gib", 0.0) for turn in ours) or "",
    }


def _theirs(model: Any, rows: list[Any], config: Any, steps: int) -> dict[str, float]:
    """Measure PEFT and Trainer once."""
    with tempfile.TemporaryDirectory() as folder:
        return work.peft_trainer(model, rows, config, steps, Path(folder))


def profile(asked: Asked, layers: str) -> list[dict[str, Any]]:
    """Return where the time of a step goes, in the last of the precisions."""
    precision = asked.precisions[-1]
    backbone, engine, _ = _backbone(asked, precision, layers)
    about = {"backbone": asked.backbone, "precision": precision, "layers": layers}
    rows = profiling.shares(backbone, asked.batch, asked.length, engine=engine)
    return [{**about, **row} for row in rows]


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
    parser.add_argument("--layers", nargs="+", choices=LAYERS, default=["eager", "compiled"])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=20)
    parser.add_argument("--profile", action="store_true", help="also say where a step's time goes")
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args(arguments)
    graphs = [layers for layers in options.layers if "graphs" in layers]
    if graphs and not options.device.startswith("cuda"):
        parser.error(f"--layers '{graphs[0]}' needs a GPU")
    asked = Asked(
        options.backbone,
        options.device,
        tuple(options.cohorts),
        options.steps,
        options.batch,
        options.length,
        tuple(options.precisions or precisions_of(options.device)),
        tuple(options.layers),
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
        for layers in asked.layers:
            for row in profile(asked, layers):
                results.add("profile", f"{row['backbone']}/{row['layers']}", row, facts)
    print(f"Written to {results.page}")


if __name__ == "__main__":
    main()
