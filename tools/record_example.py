"""Make data/examples from a finished experiment: `python -m tools.record_example RUN_FOLDER`.

Keeps what pages read (transfer runs, their tables, prompts and results), leaves out Stage I
runs, checkpoints and locks, and takes folders of the recording machine out of the provenance.
With `--inputs` the texts that were answered are kept too, so that they can be read where the
task's data are not.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dtvg.analysis.compare.examples import input_texts
from dtvg.store.reader import INPUTS, open_experiment, read_table

ROOT = Path(__file__).resolve().parent.parent


def main(experiment: Path, inputs: bool = False) -> None:
    """Copy an experiment's folder into data/examples, lean.

    Args:
        experiment: a finished experiment's folder.
        inputs: also keep the texts of the answered test rows.
    """
    target = ROOT / "data" / "examples" / experiment.name
    shutil.rmtree(target, ignore_errors=True)
    leave_out = shutil.ignore_patterns(
        "stage1*",
        "state.safetensors",
        "before.safetensors",
        "lease.json",
        "log.txt",
        ".*",
        "control",
    )
    shutil.copytree(experiment, target, ignore=leave_out)
    for path in target.glob("*/provenance.json"):
        facts = json.loads(path.read_text())
        command = facts.get("argv", [])
        while "--runs-dir" in command:
            at = command.index("--runs-dir")
            del command[at : at + 2]
        path.write_text(json.dumps(facts, indent=1))
    if inputs:
        keep_inputs(experiment, target / INPUTS)
    runs = sum(1 for p in target.iterdir() if (p / "result.json").exists())
    size = sum(p.stat().st_size for p in target.rglob("*") if p.is_file())
    print(f"{runs} runs, {size / 1e6:.1f} MB in {target.relative_to(ROOT)}")


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
