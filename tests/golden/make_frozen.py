"""Make the frozen fixtures under `frozen/`: `python -m tests.golden.make_frozen` (README there).

Trains two miniature experiments over one prompt bank with the code of this checkout, stops one
of them half-way, and writes down what this code reads from all of it. It is kept as the record
of how the fixtures came to be; making them anew would freeze another version.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from dtvg.config import build_config
from dtvg.store.bank import PromptBank
from dtvg.store.layout import create_experiment
from dtvg.testing.tiny_run import make_backbone, make_data
from dtvg.training import loop, procedures
from tests import frozen_views as views
from tests.training.settings import moved_prompt

FROZEN = Path(__file__).parent / "frozen"
STOP_AT = 9
COMMON: dict[str, Any] = {
    "backbone": "parts/backbone",
    "sources": ["sst2", "cola", "mrpc"],
    "targets": ["rte"],
    "prompt": {"length": 4},
    "optim": {
        "stage1_steps": 6,
        "steps": 24,
        "batch_size": 4,
        "lr_prompt": 0.05,
        "lr_scale": 0.05,
        "lr_scale_target": 0.05,
    },
    "data": {"folder": "parts/data"},
    "evaluation": {"every": 5, "max_examples": 12, "mode": "labels"},
    "logging": {"commit_seconds": 60.0},
}
FINISHED = {
    **COMMON,
    "name": "finished",
    "notes": "Everything in miniature, finished.",
    "methods": [
        "none",
        {"name": "single", "source": "sst2"},
        "all_sources",
        "spot",
        "dtvg",
        {"name": "attempt", "projection": 4},
    ],
    "seeds": [0, 1],
    "device": {"name": "cpu", "threads": 1},
}
STOPPED = {
    **COMMON,
    "name": "stopped",
    "notes": "Its first cohort of transfer runs was stopped half-way; the others never began.",
    "methods": [
        "dtvg",
        {"name": "dtvg", "hysteresis": 0.02},
        {"name": "forkmerge", "merge_every": 6},
        {"name": "attempt", "projection": 4},
        "all_sources",
        "spot",
        "mpt",
        {"name": "surrogate", "samples": 2},
    ],
    "seeds": [0],
    "logging": {"commit_seconds": 0.4, "commit_share": 1.0},
    "device": {"name": "cpu", "threads": 1, "max_cohort": 4},
}


def train(values: dict[str, Any], runs: Path, stop_at: int | None = None) -> None:
    """Train an experiment; with `stop_at`, send SIGTERM once its first cohort got so far."""
    sent = []

    def report(progress: loop.Progress) -> None:
        reached = progress.steps_done >= (stop_at or 0) * progress.runs_active > 0
        if stop_at is not None and progress.cohort == "transfer-000" and reached and not sent:
            sent.append(progress.steps_done)
            os.kill(os.getpid(), signal.SIGTERM)

    experiment = create_experiment(build_config(values), runs)
    procedures.run_experiment(experiment, report, bank=PromptBank(Path("bank")))


def make(place: Path) -> None:
    """Make everything in a folder that is also the working directory."""
    make_backbone(place / "parts" / "backbone")
    make_data(place / "parts" / "data")
    train(FINISHED, place / "runs")
    train(STOPPED, place / "runs", stop_at=STOP_AT)
    train(STOPPED, place / "unbroken")


def keep_history(experiment: Path, to: Path) -> None:
    """Write all rows and prompts of an unbroken experiment into a few files."""
    found: dict[str, list[pa.Table]] = {}
    tensors: dict[str, Any] = {}
    for run in sorted(p.parent for p in experiment.glob("rte.*/result.json")):
        for table in views.TABLES:
            for part in sorted((run / table).glob("part-*.parquet")):
                rows = pq.read_table(part)
                name = pa.array([run.name] * rows.num_rows)
                found.setdefault(table, []).append(rows.append_column("run", name))
        for which in ("best", "final"):
            stored = load_file(run / "prompts" / f"{which}.safetensors")
            tensors |= {f"{run.name}/{which}/{key}": value for key, value in stored.items()}
    to.mkdir(parents=True)
    for table, parts in found.items():
        pq.write_table(pa.concat_tables(parts), to / f"{table}.parquet", compression="zstd")
    save_file(tensors, to / "prompts.safetensors")


def main() -> None:
    """Make the fixtures, then write down what this code reads from them."""
    if "--expected" not in sys.argv:
        make_fixtures()
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        home = views.copy_home(FROZEN, Path(folder), patch)
        write("machine", views.machine())
        for name, view in views.VIEWS.items():
            write(name, view(home))


def make_fixtures() -> None:
    """Train everything in a temporary folder and put it in place."""
    kept = ("yaml", "tasks", "addresses.json", "README.md")
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        place = Path(folder)
        patch.chdir(place)
        patch.setenv("DTVG_HOME", str(place / "home"))
        patch.setattr(sys, "argv", ["make_frozen"])
        patch.setattr(socket, "gethostname", lambda: "frozen")
        patch.setattr(procedures, "to_task_prompt", moved_prompt)
        patch.setattr(loop, "CONTROL_SECONDS", 0.0)
        make(place)
        for old in FROZEN.iterdir():
            if old.name not in kept:
                shutil.rmtree(old) if old.is_dir() else old.unlink()
        for name in ("parts", "runs", "bank"):
            shutil.copytree(place / name, FROZEN / name)
        keep_history(place / "unbroken" / "stopped", FROZEN / "expected" / "unbroken")


def write(name: str, content: Any) -> None:
    """Write one of the expected values."""
    text = json.dumps(content, separators=(",", ":"), sort_keys=True)
    (FROZEN / "expected" / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
