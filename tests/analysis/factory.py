"""Small synthetic experiments through the real writer: drifting vectors, the real rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dtvg.config import ExperimentConfig, RunConfig, build_config
from dtvg.records import RunResult
from dtvg.rule.arrays import consistency_of
from dtvg.rule.decide import decide_steps
from dtvg.store.layout import RunDir, add_run, create_experiment
from dtvg.store.reader import Experiment, Run, open_experiment
from dtvg.store.writer import CohortWriter, RunWriter

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


def drifting_grams(steps: int, n: int, seed: int, width: int = 8) -> np.ndarray:
    """`[S m m]` float32: vectors on a slow random walk, some pairs opposed."""
    rng = np.random.default_rng(seed)
    start = rng.normal(size=(1, n + 1, width))
    walk = rng.normal(scale=0.25, size=(steps, n + 1, width)).cumsum(axis=0)
    vectors = start + walk
    gram = vectors @ vectors.transpose(0, 2, 1) / width
    upper = np.triu(gram)
    return (upper + np.triu(gram, 1).transpose(0, 2, 1)).astype(np.float32)


def write_rows(writer: RunWriter, run: RunConfig, grams: np.ndarray | None, steps: int) -> None:
    """Give a run's rows to its writer: steps, and sources where there are Gram matrices."""
    rng = np.random.default_rng(run.seed)
    step = np.arange(1, steps + 1)
    columns: dict[str, Any] = {
        "step": step,
        "seconds": step * 0.5,
        "loss": (2.0 / np.sqrt(step) + rng.normal(scale=0.05, size=steps)).astype(np.float32),
        "grad_norm": np.ones(steps, dtype=np.float32),
        "lr_prompt": np.full(steps, 1e-3, dtype=np.float32),
        "examples": np.full(steps, 8, dtype=np.int32),
        "tokens": np.full(steps, 100, dtype=np.int32),
        "step_ms": np.full(steps, 10.0, dtype=np.float32),
        "device_mem_gib": np.full(steps, 0.5, dtype=np.float32),
    }
    if grams is not None:
        made = decide_steps(grams, step, run.method.grouping_settings())
        upper = np.triu_indices(grams.shape[-1])
        columns |= {
            "n_candidates": made.n_candidates.astype(np.int32),
            "group_size": made.group_size.astype(np.int32),
            "consistency": consistency_of(grams, made.member).astype(np.float32),
            "consistency_margin": [
                None if np.isnan(x) else float(x) for x in made.consistency_margin
            ],
            "gram": grams[:, upper[0], upper[1]],
        }
        writer.extend("sources", _source_rows(step, run.sources, made))
    writer.extend("steps", columns)


def _source_rows(step: np.ndarray, sources: Sequence[str], made: Any) -> dict[str, Any]:
    n = len(sources)
    prefix = np.take_along_axis(made.consistency_by_prefix, made.rank, axis=-1)
    candidate = made.candidate
    return {
        "step": np.repeat(step, n),
        "source": list(sources) * len(step),
        "similarity": made.similarity.astype(np.float32).ravel(),
        "rank": made.rank.astype(np.int32).ravel(),
        "candidate": candidate.ravel(),
        "member": made.member.ravel(),
        "consistency": [
            float(x) if c else None for x, c in zip(prefix.ravel(), candidate.ravel(), strict=True)
        ],
        "weight": made.member.astype(np.float32).ravel(),
        "scale_mean": np.ones(n * len(step), dtype=np.float32),
        "contribution_norm": np.ones(n * len(step), dtype=np.float32),
    }


def write_evals(writer: RunWriter, run: RunConfig, at: Mapping[int, float], split: str) -> None:
    """Give evaluations to a writer: step → score."""
    rows = [(s, v, m) for s, v in at.items() for m in ("accuracy", "score")]
    writer.extend(
        "evals",
        {
            "step": np.array([r[0] for r in rows]),
            "split": [split] * len(rows),
            "task": [run.target] * len(rows),
            "metric": [r[2] for r in rows],
            "value": np.array([r[1] for r in rows]),
            "n_examples": np.full(len(rows), 50, dtype=np.int32),
            "seconds": np.full(len(rows), 1.0, dtype=np.float32),
        },
    )


def record(
    root: Path,
    experiment: ExperimentConfig | None = None,
    steps: int = 60,
    unfinished: Sequence[str] = (),
    extra: Sequence[RunConfig] = (),
) -> Experiment:
    """Write an experiment; runs named in `unfinished` get rows but no result."""
    experiment = experiment or config()
    directory = create_experiment(experiment, root)
    for run in extra:
        add_run(directory, run)
    configs = (*experiment.runs(), *extra)
    writers = {c.name: RunWriter(RunDir(directory.run(c.name).path), c) for c in configs}
    for c in configs:
        grouped = c.method.has_source_vectors and bool(c.sources)
        grams = drifting_grams(steps, len(c.sources), c.seed) if grouped else None
        write_rows(writers[c.name], c, grams, steps)
        score = score_of(c)
        write_evals(
            writers[c.name], c, {0: 0.3, steps // 2: score - 0.05, steps: score}, "validation"
        )
        write_evals(writers[c.name], c, {steps: score - 0.01}, "test")
    cohort = CohortWriter(directory.cohort("transfer"), writers)
    cohort.cohort.path.mkdir(parents=True, exist_ok=True)
    cohort.commit(cohort.snapshot({}, {}))
    for c in configs:
        if c.name in unfinished:
            continue
        score = score_of(c)
        writers[c.name].finish(
            RunResult(
                best_step=steps,
                validation_score=score,
                test_score=score - 0.01,
                metrics={"accuracy": score - 0.01},
                steps=steps,
                seconds=steps * 0.5,
                trained_parameters=10,
                extra={},
            )
        )
    return open_experiment(directory.path)


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
