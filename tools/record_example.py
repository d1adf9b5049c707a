"""Make an experiment of data/examples anew: `python -m tools.record_example examples/NAME.yaml`.

Trains what is unfinished of it, then keeps what pages read (transfer runs, their tables, prompts
and results), leaves out Stage I runs, checkpoints and locks, and takes folders of the recording
machine out of the provenance. A folder of a trained experiment in place of the file is only copied.
With `--inputs` the texts that were answered are kept too, so that they can be read where the
task's data are not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dtvg import paths
from dtvg.analysis.compare.examples import input_texts
from dtvg.cli import main as command
from dtvg.config import load_config
from dtvg.store.reader import INPUTS, open_experiment, read_table

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = (
    "stage1*",
    "state*.safetensors",
    "before.safetensors",
    "log.txt",
    ".*",
    "control",
    "lease.json",
)


def main(given: Path, inputs: bool = False) -> None:
    """Train an experiment where a YAML file is given, and record it.

    Args:
        given: its file, or its folder once it is trained.
        inputs: also keep the texts of the answered test rows.
    """
    folder = given
    if given.is_file():
        name = load_config(given).name
        folder = paths.runs() / name
        resumed = ["runs", "resume", name] if folder.exists() else ["run", str(given)]
        if command(resumed) != 0:
            sys.exit(f"'{name}' did not finish; run this again to go on.")
    record(folder, ROOT / "data" / "examples", inputs)


def record(experiment: Path, examples: Path, inputs: bool = False) -> None:
    """Copy a finished experiment's folder, lean.

    Args:
        experiment: its folder.
        examples: the folder of recorded experiments.
        inputs: also keep the texts of the answered test rows.
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
    noted = json.loads((target / "digests.json").read_text(encoding="utf-8"))
    noted["experiment.yaml"] = _anywhere(target / "experiment.yaml")
    (target / "digests.json").write_text(json.dumps(noted, indent=1), encoding="utf-8")
    if inputs:
        keep_inputs(experiment, target / INPUTS)
    runs = sum(1 for p in target.iterdir() if (p / "result.json").exists())
    size = sum(p.stat().st_size for p in target.rglob("*") if p.is_file())
    print(f"{runs} runs, {size / 1e6:.1f} MB in {target}")


def _without_folders(run: Path) -> None:
    """Take the folders of the recording machine out of a run's provenance and settings."""
    path = run / "provenance.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    arguments = facts.get("argv", [])
    while "--runs-dir" in arguments:
        at = arguments.index("--runs-dir")
        del arguments[at : at + 2]
    for at in reversed([i for i, a in enumerate(arguments) if a.startswith("data.folder=")]):
        del arguments[at - 1 : at + 1]
    if facts.get("prompt_bank"):
        facts["prompt_bank"] = "prompts"
    facts["config_sha256"] = _anywhere(run / "config.yaml")
    path.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def _anywhere(config: Path) -> str:
    """Let settings name no folder of data; return their new digest."""
    text = re.sub(r"^  folder: .*$", "  folder: null", config.read_text("utf-8"), flags=re.M)
    config.write_text(text, encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()


def keep_inputs(experiment: Path, path: Path) -> None:
    """Write the texts of the answered test rows by task and the rows' fingerprints."""
    found: dict[tuple[str, str], str] = {}
    for run in open_experiment(experiment).runs:
        if run.role != "transfer" or run.result is None:
            continue
        answers = read_table(run, "predictions").to_pandas()
        rows = answers.loc[answers["split"] == "test", "row"].tolist()
        texts = input_texts(run, "test", rows)
        found |= {(run.target, fingerprint): text for fingerprint, text in texts.items()}
    rows = [{"task": t, "fingerprint": f, "input": text} for (t, f), text in found.items()]
    pq.write_table(pa.Table.from_pylist(rows), path, compression="zstd")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", type=Path)
    parser.add_argument("--inputs", action="store_true")
    options = parser.parse_args()
    main(options.experiment, options.inputs)
