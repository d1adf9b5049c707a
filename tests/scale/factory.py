"""Tiny experiments for executors, and whether two of them were trained to the same numbers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest

from dtvg.config import ExperimentConfig, build_config
from dtvg.store import reader
from dtvg.store.digests import of_table
from dtvg.store.files import read_json
from dtvg.store.layout import ExperimentDir
from dtvg.testing.tiny_run import tiny_config

TIMES = {"steps": ["seconds", "step_ms", "device_mem_gib"], "sources": [], "evals": ["seconds"]}
"""Columns that tell of the machine, not of the training."""


def config(folder: Path, steps: int = 40, **changes: Any) -> ExperimentConfig:
    """Two sources, two transfer runs, a commit after every step."""
    values: dict[str, Any] = {
        "name": "scaled",
        "sources": ["sst2"],
        "methods": ["target_only", "dtvg"],
        "optim": {"stage1_steps": 6, "steps": steps, "batch_size": 2, "lr_prompt": 0.05},
        "evaluation": {"every": 1000, "max_examples": 4},
        "logging": {"commit_seconds": 0.01, "commit_share": 1.0},
        "scale": {"slots": 2},
    }
    return build_config(tiny_config(folder, **{**values, **changes}))


def histories(path: Path) -> dict[str, dict[str, str]]:
    """Return digests of each finished run's rows, without times."""
    found = {}
    for run in reader.open_experiment(path).runs:
        assert run.result is not None, f"{run.name} is {run.state}: {run.message}"
        tables = {t: reader.read_table(run, t).drop(columns) for t, columns in TIMES.items()}
        found[run.name] = {t: of_table(rows) for t, rows in tables.items()}
    return found


def once_committed(
    experiment: ExperimentDir, cohort: str, do: Callable[[int], None]
) -> threading.Thread:
    """Call with the pid of a cohort's worker once it has a commit of some step."""

    def watch() -> None:
        folder = experiment.cohort(cohort)
        end = time.monotonic() + 900  # of a busy machine
        while time.monotonic() < end:
            process = read_json(folder.process_path) or {}
            if folder.before_path.exists() and process.get("pid"):
                do(int(process["pid"]))
                return
            time.sleep(0.02)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def kill(pid: int) -> None:
    """End a process at once."""
    os.kill(pid, signal.SIGKILL)


def start_workers_by_fork(patch: pytest.MonkeyPatch) -> None:
    """Let local workers be forks of a server that has torch and transformers loaded.

    They are processes that can be killed as any; only the seconds of loading are shared.
    """
    from dtvg.scale import local

    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(
        ["dtvg.training.procedures", "transformers.models.t5.modeling_t5", __name__]
    )

    def start(command: Sequence[str], *, stdout: BinaryIO, env: Mapping[str, str], **_: Any) -> Any:
        process = forks.Process(target=_work, args=(command[4:], dict(env), stdout.name))
        process.start()
        started = SimpleNamespace(pid=process.pid, returncode=None)

        def poll() -> int | None:
            started.returncode = process.exitcode
            return process.exitcode

        started.poll = poll
        return started

    names = {name: getattr(subprocess, name) for name in ("DEVNULL", "STDOUT")}
    patch.setattr(local, "subprocess", SimpleNamespace(Popen=start, **names))


SLOW = "DTVG_TEST_SLOW_FOLDER"
"""Variable of forked workers: seconds that every write of a file takes; no lock proves anything."""


def slow_folder(patch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let this process meet a network folder that is slow and knows no locks."""
    from dtvg.store import files, lease, liveness

    for name in ("fsync", "replace"):
        patch.setattr(os, name, _later(getattr(os, name), seconds))
    patch.setattr(files, "_lock", lambda handle, wait: False)
    patch.setattr(lease, "_take_lock", lambda folder, stack: None)
    patch.setattr(liveness, "lock_state", lambda path: None)


def _later(function: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    def call(*values: Any, **more: Any) -> Any:
        time.sleep(seconds)
        return function(*values, **more)

    return call


def _work(arguments: Sequence[str], environment: Mapping[str, str], log: str) -> None:
    """Do what `python -m dtvg …` does, in a fork."""
    from dtvg.cli import main

    os.setsid()
    os.environ.update(environment)
    if SLOW in environment:
        slow_folder(pytest.MonkeyPatch(), float(environment[SLOW]))
    with open(log, "a", encoding="utf-8") as output:
        sys.stdout = sys.stderr = output
        sys.exit(main(list(arguments)))
