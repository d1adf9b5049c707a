"""Small synthetic experiments of the analysis' tests: drifting vectors, the real rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dtvg.config import ExperimentConfig, RunConfig, build_config
from dtvg.records import RunResult
from dtvg.store.reader import Experiment, Run
from dtvg.store.writer import RunWriter
from dtvg.testing import made_runs

SOURCES = ("amber", "birch", "cedar", "dune")


def config(name: str = "trial", **changes: Any) -> ExperimentConfig:
    values: dict[str, Any] = {
        "name": name,
        "sources": list(SOURCES),
        "targets": ["lake", "moor"],
        "methods": ["none", "single", "all_sources", "dtvg"],
        "seeds": [0, 1, 2],
        "prompt": {"length": 4},
        "optim": {"steps": 60, "stage1_steps": 5},
    }
    return build_config({**values, **changes})


def drifting_grams(steps: int, n: int, seed: int) -> np.ndarray:
    """`[S m m]` float32: vectors on a slow random walk, some pairs opposed."""
    return made_runs.walking_grams(np.random.default_rng(seed), steps, n)


def write_rows(writer: RunWriter, run: RunConfig, grams: np.ndarray | None, steps: int) -> None:
    """Give a run's rows to its writer: steps, and sources where there are Gram matrices."""
    step = np.arange(1, steps + 1)
    noise = np.random.default_rng(run.seed).normal(scale=0.05, size=steps)
    loss = (2.0 / np.sqrt(step) + noise).astype(np.float32)
    made_runs.write_steps(writer, run, step, grams, loss=loss)


def write_evals(writer: RunWriter, run: RunConfig, at: Mapping[int, float], split: str) -> None:
    """Give evaluations to a writer: step → score."""
    both = {step: {"accuracy": value, "score": value} for step, value in at.items()}
    made_runs.write_evals(writer, run, split, both)


def record(
    root: Path,
    experiment: ExperimentConfig | None = None,
    steps: int = 60,
    unfinished: Sequence[str] = (),
    extra: Sequence[RunConfig] = (),
) -> Experiment:
    """Write an experiment; runs named in `unfinished` get rows but no result."""

    def rows(run: RunConfig, writer: RunWriter) -> RunResult | None:
        grouped = run.method.has_source_vectors and bool(run.sources)
        grams = drifting_grams(steps, len(run.sources), run.seed) if grouped else None
        write_rows(writer, run, grams, steps)
        score = score_of(run)
        write_evals(writer, run, {0: 0.3, steps // 2: score - 0.05, steps: score}, "validation")
        write_evals(writer, run, {steps: score - 0.01}, "test")
        if run.name in unfinished:
            return None
        return made_runs.result_of(steps, score, score - 0.01, {"accuracy": score - 0.01})

    return made_runs.write_experiment(root, experiment or config(), rows, extra)


def score_of(run: RunConfig) -> float:
    """A made-up validation score that depends on method, target and seed."""
    base = {"none": 0.6, "single": 0.62, "all_sources": 0.61, "dtvg": 0.7}.get(
        run.method.name, 0.55
    )
    source = getattr(run.method, "source", None)
    own = 0.02 * SOURCES.index(source) if source in SOURCES else 0.0
    return base + own + 0.01 * run.seed + (0.1 if run.target == "moor" else 0.0)


def find(experiment: Experiment, method: str, target: str = "lake", seed: int = 0) -> Run:
    """Return one run of an experiment."""
    return next(
        r for r in experiment.runs if r.method == method and r.target == target and r.seed == seed
    )
