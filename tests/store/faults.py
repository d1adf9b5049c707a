"""A cohort of two runs whose process dies, or whose disk refuses, at a chosen stage of a commit."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import dtvg.store.files as files
import dtvg.store.writer as writer_module
from dtvg.config import build_config
from dtvg.records import TABLES
from dtvg.store.layout import ExperimentDir, RunDir, create_experiment
from dtvg.store.writer import CohortWriter, RunWriter
from tests.analysis.factory import config, drifting_grams, write_evals, write_rows

NAMES = ("lake.none.s0", "lake.dtvg.s0")
EACH = 5
"""Steps between commits."""


def open_cohort(root: Path, compact_rows: int = 100) -> tuple[CohortWriter, int]:
    """Make or reopen the cohort as training does; return it and the step it stands at."""
    settings = config(targets=["lake"], methods=["none", "dtvg"], seeds=[0]).model_dump(mode="json")
    settings["logging"]["compact_rows"] = compact_rows
    experiment = create_experiment(build_config(settings), root)
    runs = {c.name: RunDir(experiment.run(c.name).path) for c in build_config(settings).runs()}
    saved = CohortWriter.recover(experiment.cohort("transfer"), runs)
    configs = {c.name: c for c in build_config(settings).runs()}
    writers = {name: RunWriter(run, configs[name]) for name, run in runs.items()}
    step = 0 if saved is None else int(saved[1]["step"])
    return CohortWriter(experiment.cohort("transfer"), writers), step


def train(cohort: CohortWriter, step: int, last: int, commit: Callable[..., None]) -> None:
    """Write rows as if training from `step` to `last`, with a commit every few steps."""
    for end in range(step + EACH, last + 1, EACH):
        for name, writer in cohort.writers.items():
            add_rows(writer, name, end)
        state = {"weights": np.full(3, end, dtype=np.float32)}
        commit(cohort.snapshot(state, {"step": end}))


def add_rows(writer: RunWriter, name: str, end: int) -> None:
    """Add the steps that end at `end`, each value a function of its step alone."""
    run = next(c for c in _configs() if c.name == name)
    grams = drifting_grams(200, len(run.sources), 0) if run.sources else None
    keep = _Slice(writer, end)
    write_rows(keep, run, grams, 200)  # type: ignore[arg-type]
    write_evals(writer, run, {end: 0.5 + end / 1000}, "validation")
    writer.extend(
        "events",
        {"step": [end], "seconds": [end * 0.5], "kind": ["noted"], "detail": [f"at {end}"]},
    )


def _configs() -> Any:
    return config(targets=["lake"], methods=["none", "dtvg"], seeds=[0]).runs()


class _Slice:
    """Passes on only the steps of the current stretch."""

    def __init__(self, writer: RunWriter, end: int) -> None:
        self.writer, self.end = writer, end

    def extend(self, table: str, columns: dict[str, Any]) -> None:
        step = np.asarray(columns["step"])
        chosen = np.flatnonzero((step > self.end - EACH) & (step <= self.end))
        cut = {
            k: v[chosen] if isinstance(v, np.ndarray) else [v[i] for i in chosen]
            for k, v in columns.items()
        }
        self.writer.extend(table, cut)


def at_call(number: int, act: Callable[[], None]) -> dict[str, int]:
    """Count every write, sync, rename and removal of the store; act before the given one.

    Returns:
        A dictionary whose `calls` rises; the test learns from it how many stages there are.
    """
    seen = {"calls": 0}

    def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            seen["calls"] += 1
            if seen["calls"] == number:
                act()
            return function(*args, **kwargs)

        return call

    os.fsync = wrapped(os.fsync)
    Path.replace = wrapped(Path.replace)  # type: ignore[method-assign]
    Path.unlink = wrapped(Path.unlink)  # type: ignore[method-assign]
    for module in (writer_module,):
        module.write_parquet = wrapped(module.write_parquet)
    files.sync_folder = wrapped(files.sync_folder)
    return seen


def full() -> None:
    """Refuse as a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def tables(root: Path, name: str) -> dict[str, Any]:
    """Everything visible of a run."""
    from dtvg.store.reader import open_run, read_table

    run = open_run(ExperimentDir(root / "trial").run(name).path)
    return {table: read_table(run, table).to_pandas() for table in TABLES}
