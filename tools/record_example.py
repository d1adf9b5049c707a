"""Make an experiment of data/examples anew: `python -m tools.record_example examples/NAME.yaml`.

Trains what is unfinished of it, then keeps what pages read (transfer runs, their tables, prompts
and results), leaves out Stage I runs, checkpoints and locks, and takes folders of the recording
machine out of the provenance. A folder of a trained experiment in place of the file is only copied.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from dtvg import paths
from dtvg.cli import main as command
from dtvg.config import load_config
from dtvg.store.reader import open_experiment

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = ("stage1*", "state*.safetensors", "log.txt", ".*", "control", "lease.json")


def main(given: Path) -> None:
    """Train an experiment where a YAML file is given, and record it."""
    folder = given
    if given.is_file():
        name = load_config(given).name
        folder = paths.runs() / name
        resumed = ["runs", "resume", name] if folder.exists() else ["run", str(given)]
        if command(resumed) != 0:
            sys.exit(f"'{name}' did not finish; run this again to go on.")
    record(folder, ROOT / "data" / "examples")


def record(experiment: Path, examples: Path) -> None:
    """Copy a finished experiment's folder, lean.

    Args:
        experiment: its folder.
        examples: the folder of recorded experiments.
    """
    unfinished = [
        run.name
        for run in open_experiment(experiment).runs
        if run.role == "transfer" and run.result is None
    ]
    if unfinished:
        sys.exit(f"{len(unfinished)} runs are not finished, e.g. '{unfinished[0]}'.")
    target = examples / experiment.name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(experiment, target, ignore=shutil.ignore_patterns(*LEFT_OUT))
    for folder in sorted(p for p in target.iterdir() if (p / "result.json").exists()):
        _without_folders(folder)
    runs = sum(1 for p in target.iterdir() if (p / "result.json").exists())
    size = sum(p.stat().st_size for p in target.rglob("*") if p.is_file())
    print(f"{runs} runs, {size / 1e6:.1f} MB in {target}")


def _without_folders(run: Path) -> None:
    """Take the folder of experiments of the recording machine out of a run's provenance."""
    path = run / "provenance.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    arguments = facts.get("argv", [])
    while "--runs-dir" in arguments:
        at = arguments.index("--runs-dir")
        del arguments[at : at + 2]
    path.write_text(json.dumps(facts, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
