"""Everything a GPU machine should tell, part by part, in the order of what it is worth.

`python -m benchmarks.gpu_suite` measures what is not yet written in benchmarks/results, each unit
in a process of its own with its own time limit; `--parts a,c` chooses parts, `--seconds 540` starts
nothing that could not end in time, `--study "COMMAND"` is what part b runs. Rows are written as
they come, so a call that is cut off loses one row, and the next call goes on. `--tiny` runs the
same units scaled down on the CPU, so that nothing is broken on the day a GPU is there.

Parts: a speed against PEFT and Trainer; b the declared study; c tests marked gpu; d grouping, log
and commits as shares of a step; e every method.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import os
import shlex
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import commit_cost, machine, methods, profiling, training, work
from benchmarks.results import FOLDER, Results
from dtvg.methods.dtvg import decide_on_device
from dtvg.rule.decide import gram_matrix
from dtvg.training.engine import Engine

ROOT = machine.ROOT
TITLES = {
    "a": "Cohorts against PEFT + Trainer in the same call. Goal: 10 times the runs an hour, half "
    "of the matmul peak.",
    "b": "The declared study.",
    "c": "Tests marked gpu, and what a step waits for.",
    "d": "Grouping, log and commits as shares of a step. Goal: at most 1 %.",
    "e": "A step of every method beside one of plain prompt tuning.",
}
Found = Iterator[tuple[str, dict[str, Any]]]
"""Key and row of what was measured."""


@dataclass(frozen=True)
class Options:
    """How the units are run."""

    device: str
    tiny: bool = False
    study: str = ""
    written: Callable[[str], bool] = lambda key: False
    """Whether a unit's row of a key is there already."""


@dataclass(frozen=True)
class Unit:
    """What is measured in one process."""

    part: str
    name: str
    seconds: float
    """Its time limit."""
    measure: Callable[[Options], Found]

    @property
    def id(self) -> str:
        """Part and name, as `--unit` takes them."""
        return f"{self.part}:{self.name}"


def speed(
    options: Options, backbone: str, cohorts: tuple[int, ...], layers: str, batch: int = 8
) -> Found:
    """Measure cohorts against PEFT and Trainer, in bfloat16 with float32 beside it."""
    if options.tiny:
        small = "tiny" if backbone == "t5-base" else "tiny-llama"
        few = tuple(min(count, 2) for count in cohorts[:1])
        layers = layers if options.device == "cuda" else layers.replace(" graphs", "")
        layers = "eager" if layers == "graphs" and options.device != "cuda" else layers
        asked = training.Asked(
            small, options.device, few, 1, 2, 4, ("bfloat16",), (layers,), ("dtvg",), 1, "eager"
        )
    else:
        precisions, methods = ("bfloat16",), ("dtvg",)
        asked = training.Asked(
            backbone, options.device, cohorts, 10, batch, 20, precisions, (layers,), methods, 1
        )
    yield from training.compare(asked, options.written)


def study(options: Options) -> Found:
    """Run the command of the study to its end, or as far as its time goes; it resumes by itself."""
    if not options.study:
        return
    started = time.perf_counter()
    done = subprocess.run(shlex.split(options.study), cwd=ROOT, capture_output=True, text=True)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    yield (
        options.study,
        {
            "command": options.study,
            "exit": done.returncode,
            "seconds": time.perf_counter() - started,
            "last_line": lines[-1] if lines else "",
        },
    )


def tests(options: Options) -> Found:
    """Run the tests marked gpu."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=short", "-rfEs"]
    chosen = ["-m", "gpu", "tests/test_cuda.py"]
    out = subprocess.run([*command, *chosen], cwd=ROOT, capture_output=True, text=True)
    failed = [x for x in out.stdout.splitlines() if x.startswith(("FAILED", "ERROR"))]
    lines = [x for x in out.stdout.splitlines() if x.strip()]
    yield (
        "tests",
        {
            "what": "tests marked gpu",
            "result": lines[-1] if lines else "",
            "failed": "; ".join(failed) or "none",
            "exit": out.returncode,
            "seconds": time.perf_counter() - started,
        },
    )


def waiting(options: Options) -> Found:
    """Count the calls in which the host waits for the device during a step, and profile it."""
    for name in ("tiny", "tiny-llama") if options.tiny else ("t5-base", "smollm2-135m"):
        backbone = work.wrapped(work.make_model(name, options.device, torch.bfloat16))
        engine = Engine(precision="bfloat16", graphs=options.device == "cuda")
        if engine.graphs:
            backbone.record_passes()
        batch, length, runs = (2, 4, 2) if options.tiny else (8, 20, 16)
        found = profiling.waits(backbone, batch, length, engine, runs)
        told = ", ".join(f"{call} {count:g}" for call, count in found.items()) or "none"
        yield f"waits/{name}", {"backbone": name, "runs": runs, "waits_in_a_step": told}
        for row in profiling.shares(backbone, batch, length, engine=engine, runs=runs):
            yield f"profile/{name}/{row['kind']}", {"backbone": name, "runs": runs, **row}


def overhead(options: Options, runs: int) -> Found:
    """Measure what deciding, rows and commits take of a step."""
    size, seconds, pace = ("tiny", 1.5, 0.5) if options.tiny else ("t5-base", 20.0, 10.0)
    found = commit_cost.measure(size, options.device, runs, seconds, pace, torch.bfloat16)
    step_ms = 1e3 * found["seconds"] / max(1, found["steps"])
    decide_ms = _decide_ms(options, runs)
    shares = {
        "grouping_%": 100 * decide_ms / step_ms,
        "rows_%": found["rows_share_%"],
        "commits_%": found["commit_share_%"],
    }
    whole = sum(shares.values())
    about = {"backbone": size, "runs": str(runs), "step_ms": step_ms, "commits": found["commits"]}
    yield f"{size}/{runs}", {**about, **shares, "together_%": whole, "within_1_%": whole <= 1}


def _decide_ms(options: Options, runs: int, sources: int = 6) -> float:
    """Return the time of Gram and decide where the vectors lie."""
    r, d = (4, 64) if options.tiny else (20, 768)
    torch.manual_seed(0)
    target = torch.randn(runs, r, d, device=options.device)
    vectors = torch.randn(runs, sources, r, d, device=options.device) + 0.3 * target[:, None]
    ones = torch.ones(runs, r, device=options.device)
    each = torch.ones(runs, sources, r, device=options.device)

    def decide() -> object:
        return decide_on_device(gram_matrix(target, vectors, ones, each))

    return work.best(decide, options.device, 5 if options.tiny else 20) * 1e3


def every_method(options: Options) -> Found:
    """Compare a step of every method with one of plain prompt tuning."""
    if options.tiny:
        rows = methods.compare("tiny", options.device, 2, 1, 2, 4, turns=1)
    else:
        rows = methods.compare("t5-base", options.device, 16, 5, 8, 20, turns=2)
    for row in rows:
        yield str(row["method"]), row


def _speed(
    backbone: str, layers: str, cohorts: tuple[int, ...], seconds: float, batch: int = 8
) -> Unit:
    name = f"{backbone}-{layers.replace(' ', '-')}-{'-'.join(map(str, cohorts))}-of-{batch}"

    def measure(options: Options) -> Found:
        return speed(options, backbone, cohorts, layers, batch)

    return Unit("a", name, seconds, measure)


def units() -> list[Unit]:
    """Return everything there is to measure, what tells most first."""
    both = ("t5-base", "smollm2-135m")
    return [
        *(_speed(name, "compiled graphs", (1, 4, 16, 64), 90) for name in both),
        Unit("c", "waiting", 45, waiting),
        Unit("b", "study", 600, study),
        Unit("d", "overhead-16", 40, lambda options: overhead(options, 16)),
        *(_speed(name, "graphs", (1, 16), 45) for name in both),
        *(_speed(name, "eager", (1, 16), 45) for name in both),
        *(_speed(name, "compiled graphs", (16,), 60, 32) for name in both),
        Unit("d", "overhead-1", 40, lambda options: overhead(options, 1)),
        Unit("c", "tests", 150, tests),
        Unit("e", "methods", 180, every_method),
    ]


def name_of(options: Options) -> str:
    """Return the name of the files with results."""
    where = options.device.partition(":")[0]
    return f"gpu-suite-tiny-{where}" if options.tiny else f"gpu-suite-{where}"


def run_unit(unit: Unit, options: Options, results: Results) -> None:
    """Measure a unit in this process; every row is written as it comes, none twice."""
    facts = {**machine.facts(), "gpu": machine.gpu(), "device": options.device}

    def written(key: str) -> bool:
        return results.has(unit.part, f"{unit.name}/{key}")

    for key, row in unit.measure(dataclasses.replace(options, written=written)):
        if not written(key):
            results.add(unit.part, f"{unit.name}/{key}", row, facts)
            print(machine.table([row]), flush=True)
    results.add(unit.part, done_key(unit, options), {"unit": unit.name, "state": "done"}, facts)


def here(unit: Unit, options: Options, results: Results) -> str:
    """Measure a unit in this process; return how it ended."""
    begun = time.monotonic()
    try:
        run_unit(unit, options, results)
    except Exception as error:  # noqa: BLE001 - the next unit may do better
        traceback.print_exc()
        return f"ended with {type(error).__name__}"
    finally:
        gc.collect()
        if options.device != "cpu":
            torch.cuda.empty_cache()
    return f"done in {time.monotonic() - begun:.0f} s"


def done_key(unit: Unit, options: Options) -> str:
    """Return under which key it is written that a unit has come to its end."""
    return f"{unit.name}/done/{options.study}" if unit.part == "b" else f"{unit.name}/done"


def started(unit: Unit, options: Options, folder: Path) -> str:
    """Measure a unit in a process of its own; return how it ended."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.gpu_suite",
        "--unit",
        unit.id,
        "--out",
        str(folder),
    ]
    command += ["--device", options.device, "--study", options.study]
    command += ["--tiny"] if options.tiny else []
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        code = process.wait(unit.seconds * (10 if options.tiny else 1))
    except subprocess.TimeoutExpired:
        _end(process)
        return f"over its {unit.seconds:.0f} s"
    return "done" if code == 0 else f"ended with status {code}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process with whatever it started; what trains may commit first."""
    for word, seconds in ((signal.SIGTERM, 20.0), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, word)
            process.wait(seconds)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing of the chosen parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default="a,b,c,d,e", help="e.g. a,c")
    parser.add_argument("--tiny", action="store_true", help="scaled down; also on the CPU")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--study", default="", help="command line of part b")
    parser.add_argument("--seconds", type=float, help="start nothing that could end after these")
    parser.add_argument("--list", action="store_true", help="list units and what is written")
    parser.add_argument("--unit", help="measure this unit in this process")
    parser.add_argument(
        "--together", action="store_true", help="all in this process: quicker, without time limits"
    )
    parser.add_argument("--out", type=Path, default=FOLDER)
    chosen = parser.parse_args(arguments)
    if chosen.device == "cpu" and not chosen.tiny:
        parser.error("without a GPU only --tiny is of use")
    options = Options(chosen.device, chosen.tiny, chosen.study)
    results = Results(chosen.out, name_of(options), TITLES)
    todo = {unit.id: unit for unit in units()}
    if chosen.unit and chosen.unit not in todo:
        parser.error(f"no unit '{chosen.unit}'; --list names them")
    if chosen.unit:
        run_unit(todo[chosen.unit], options, results)
        return
    parts, begun = chosen.parts.replace(",", " ").split(), time.monotonic()
    for unit in (u for u in todo.values() if u.part in parts):
        results = Results(chosen.out, name_of(options), TITLES)
        left = float("inf") if chosen.seconds is None else chosen.seconds
        left -= time.monotonic() - begun
        written = results.has(unit.part, done_key(unit, options))
        wanted = not written and (unit.part != "b" or bool(options.study))
        if chosen.list or not wanted or left < unit.seconds:
            why = "written" if written else "no --study" if not wanted else "no time left"
            print(f"{unit.id} ({unit.seconds:.0f} s): {'to do' if chosen.list and wanted else why}")
            continue
        print(f"{unit.id} ...", flush=True)
        ended = here(unit, options, results) if chosen.together else None
        print(f"{unit.id}: {ended or started(unit, options, chosen.out)}", flush=True)
    print(f"Results: {results.page}")


if __name__ == "__main__":
    main()
