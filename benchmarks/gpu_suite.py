"""Everything a GPU machine should tell, in one call: speed against PEFT, costs, tests, a real run.

`python -m benchmarks.gpu_suite` on a CUDA machine; `--small` runs the same parts scaled down,
also on the CPU. Writes `benchmarks/results/<date>-gpu.md` and `.json`. Real token lengths come
from the folder DTVG_SHARED where it is there, else they are drawn. `--parts` chooses parts, so
that several short calls can share the work.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import commit_cost, machine, methods, training, work
from dtvg.methods.dtvg import decide_on_device
from dtvg.rule.decide import gram_matrix

ROOT = Path(__file__).resolve().parent.parent
Rows = list[dict[str, Any]]


def speed(options: argparse.Namespace) -> Rows:
    """Compare with PEFT and Trainer in float32 and bfloat16."""
    size, cohorts = ("tiny", [1, 4]) if options.small else ("t5-base", [1, 4, 16, 64])
    kinds = [torch.float32] if options.small else [torch.float32, torch.bfloat16]
    steps = 4 if options.small else 20
    found = []
    for dtype in kinds:
        rows = training.compare(size, options.device, cohorts, steps, 8, 20, dtype)
        found += [{"precision": str(dtype).removeprefix("torch."), **row} for row in rows]
    return found


def every_method(options: argparse.Namespace) -> Rows:
    """Compare a step of every method with one of plain prompt tuning."""
    if options.small:
        return methods.compare("tiny", options.device, runs=2, steps=1, batch=2, length=4, turns=1)
    return methods.compare("t5-base", options.device, runs=16, steps=5, batch=8, length=20)


def deciding(options: argparse.Namespace) -> Rows:
    """Time Gram and decide where the vectors lie, for one run and for a cohort."""
    found = []
    r, d = (20, 64) if options.small else (100, 768)
    for runs, n in ((1, 6), (1, 25), (64, 25)):
        torch.manual_seed(0)
        target = torch.randn(runs, r, d, device=options.device)
        sources = torch.randn(runs, n, r, d, device=options.device) + 0.3 * target[:, None]
        ones = torch.ones(runs, r, device=options.device)
        each = torch.ones(runs, n, r, device=options.device)

        def decide(
            vectors: tuple[torch.Tensor, ...] = (target, sources, ones, each),
        ) -> object:
            return decide_on_device(gram_matrix(*vectors))

        ms = work.best(decide, options.device) * 1e3
        found.append({"runs": runs, "sources": n, "length": r, "width": d, "gram_decide_ms": ms})
    return found


def logging(options: argparse.Namespace) -> Rows:
    """Measure what rows and commits take."""
    size, seconds, pace = ("tiny", 3.0, 1.0) if options.small else ("t5-base", 40.0, 10.0)
    counts = [1] if options.small else [1, 16]
    return [commit_cost.measure(size, options.device, n, seconds, pace) for n in counts]


def tests(options: argparse.Namespace) -> Rows:
    """Run the tests marked gpu, then the fast ones of rule and engine."""
    chosen = [["-m", "gpu", "tests/test_cuda.py"]]
    if not options.small:
        chosen.append(["tests/rule", "tests/training", "tests/methods"])
    found = []
    for more in chosen:
        started = time.perf_counter()
        out = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=short", *more],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        failed = [x for x in out.stdout.splitlines() if x.startswith(("FAILED", "ERROR"))]
        lines = [x for x in out.stdout.splitlines() if x.strip()]
        found.append(
            {
                "tests": " ".join(more),
                "exit": out.returncode,
                "seconds": time.perf_counter() - started,
                "failed": "; ".join(failed) or "none",
                "closing_line": lines[-1] if lines else "",
            }
        )
    return found


def real(options: argparse.Namespace) -> Rows:
    """Train an experiment on real data with the small T5; nothing where the data is absent."""
    shared = Path(os.environ.get("DTVG_SHARED", ROOT.parent / "shared"))
    model = options.model or shared / "models" / "mini-t5"
    if not (shared / "datasets").is_dir() or not model.is_dir():
        return []
    from dtvg.config import load_config
    from dtvg.store.bank import PromptBank
    from dtvg.store.layout import create_experiment
    from dtvg.store.reader import open_experiment
    from dtvg.training.procedures import run_experiment

    steps = 4 if options.small else 300
    changes = [
        f"backbone={model}",
        f"data.folder={shared / 'datasets'}",
        f"optim.steps={steps}",
        f"optim.stage1_steps={steps}",
        f"evaluation.max_examples={8 if options.small else 200}",
        f"device.name={options.device}",
        f"seeds={[0] if options.small else [0, 1, 2]}",
    ]
    config = load_config(ROOT / "examples" / "rte-from-four.yaml", changes)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        experiment = create_experiment(config, Path(folder) / "runs")
        run_experiment(experiment, bank=PromptBank(Path(folder) / "bank"))
        took = time.perf_counter() - started
        done = [r for r in open_experiment(experiment.path).runs if r.role == "transfer"]
        return [
            {
                "run": r.name,
                "state": r.state.value,
                "test": r.test_score if r.test_score is not None else "",
                "whole_experiment_s": took,
            }
            for r in done
        ]


PARTS: dict[str, Callable[[argparse.Namespace], Rows]] = {
    "speed": speed,
    "methods": every_method,
    "deciding": deciding,
    "logging": logging,
    "tests": tests,
    "real": real,
}


def write(folder: Path, facts: dict[str, Any], found: dict[str, Rows]) -> Path:
    """Write Markdown and JSON; return the Markdown's path."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{facts['date'][:16].replace(' ', '-').replace(':', '')}-{facts['device']}"
    lines = ["# Measured on " + str(facts["gpu"] or facts["processor"]), ""]
    lines += [f"- {key}: {value}" for key, value in facts.items()]
    for name, rows in found.items():
        lines += ["", f"## {name}", "", PARTS[name].__doc__ or "", "", machine.table(rows)]
    path = folder / f"{stem}.md"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    path.with_suffix(".json").write_text(
        json.dumps({"facts": facts, "parts": found}, indent=1), encoding="utf-8"
    )
    return path


def main() -> None:
    """Run the chosen parts; what was measured is written after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="scaled down; also on the CPU")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--model", type=Path, help="T5 folder of the real experiment")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    if options.device == "cpu" and not options.small:
        parser.error("without a GPU only --small is of use")
    facts = {**machine.facts(), "gpu": machine.gpu(), "device": options.device}
    facts["small"] = options.small
    found: dict[str, Rows] = {}
    for name in options.parts:
        print(f"{name} ...", flush=True)
        found[name] = PARTS[name](options)
        print(machine.table(found[name]), flush=True)
        path = write(options.out, facts, found)
    print(f"Written to {path}")


if __name__ == "__main__":
    main()
