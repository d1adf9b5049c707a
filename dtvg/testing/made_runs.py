"""THE maker of synthetic runs: experiments as training would leave them, without training.

Rows go through the real writer and groups are decided by the real rule, so whatever reads runs
cannot tell the difference. Tests of analysis and pages, benchmarks of what reads, and extensions
use it. Give it Gram matrices, scores and answers; it writes the tables, commits and results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dtvg.config import ExperimentConfig, RunConfig
from dtvg.records import RunResult
from dtvg.rule.arrays import consistency_of
from dtvg.rule.decide import decide_steps
from dtvg.rule.types import Grouping
from dtvg.store.layout import RunDir, add_run, create_experiment
from dtvg.store.reader import Experiment, open_experiment
from dtvg.store.writer import CohortWriter, RunWriter


def walking_grams(
    rng: np.random.Generator, steps: int, sources: int, pace: float = 0.25, width: int = 8
) -> np.ndarray:
    """Return Gram matrices `[S m m]` float32 of vectors on slow random walks.

    Args:
        rng: draws start and walk.
        steps: S.
        sources: n; m = n + 1, the target first.
        pace: standard deviation of a step's move.
        width: entries of a vector.
    """
    start = rng.normal(size=(1, sources + 1, width))
    walk = rng.normal(scale=pace, size=(steps, sources + 1, width)).cumsum(axis=0)
    vectors = start + walk
    gram = vectors @ vectors.transpose(0, 2, 1) / width
    upper = np.triu(gram)
    return (upper + np.triu(gram, 1).transpose(0, 2, 1)).astype(np.float32)


def write_steps(
    writer: RunWriter,
    run: RunConfig,
    steps: np.ndarray,
    grams: np.ndarray | None = None,
    **columns: Any,
) -> None:
    """Give rows of `steps`, and of `sources` where there are Gram matrices, to a writer.

    Args:
        writer: of the run.
        run: its method's rule decides the groups.
        steps: `[S]` their numbers, from the run's first on for rules with a memory.
        grams: `[S m m]`, or None where there is nothing to group.
        columns: values of further columns of `steps`, or others than the usual ones.
    """
    count = len(steps)
    usual: dict[str, Any] = {
        "step": steps,
        "seconds": steps * 0.5,
        "loss": (2.0 / np.sqrt(steps)).astype(np.float32),
        "grad_norm": np.ones(count, dtype=np.float32),
        "lr_prompt": np.full(count, 1e-3, dtype=np.float32),
        "examples": np.full(count, 8, dtype=np.int32),
        "tokens": np.full(count, 100, dtype=np.int32),
        "step_ms": np.full(count, 10.0, dtype=np.float32),
        "device_mem_gib": np.full(count, 0.5, dtype=np.float32),
    }
    if grams is not None:
        made = decide_steps(grams, steps, run.rule_settings, seed=run.seed)
        upper = np.triu_indices(grams.shape[-1])
        usual |= {
            "n_candidates": made.n_candidates.astype(np.int32),
            "group_size": np.asarray(made.group_size).astype(np.int32),
            "consistency": np.asarray(consistency_of(grams, made.member)).astype(np.float32),
            "consistency_margin": _nullable(made.consistency_margin),
            "gram": grams[:, upper[0], upper[1]],
        }
        writer.extend("sources", _source_columns(steps, run.sources, made))
    writer.extend("steps", {**usual, **columns})


def _source_columns(steps: np.ndarray, sources: Sequence[str], made: Grouping) -> dict[str, Any]:
    n = len(sources)
    prefix = np.take_along_axis(made.consistency_by_prefix, made.rank, axis=-1)
    candidate = np.asarray(made.candidate)
    return {
        "step": np.repeat(steps, n),
        "source": list(sources) * len(steps),
        "similarity": made.similarity.astype(np.float32).ravel(),
        "rank": made.rank.astype(np.int32).ravel(),
        "candidate": candidate.ravel(),
        "member": made.member.ravel(),
        "consistency": _nullable(np.where(candidate, prefix, np.nan).ravel()),
        "weight": made.member.astype(np.float32).ravel(),
        "scale_mean": np.ones(n * len(steps), dtype=np.float32),
        "contribution_norm": np.ones(n * len(steps), dtype=np.float32),
        "scale_negative": np.zeros(n * len(steps), dtype=np.float32),
    }


def _nullable(values: np.ndarray) -> list[float | None]:
    return [None if x != x else x for x in values.astype(np.float32).tolist()]


def write_evals(
    writer: RunWriter,
    run: RunConfig,
    split: str,
    at: Mapping[int, Mapping[str, float]],
    examples: int = 50,
) -> None:
    """Give evaluations to a writer.

    Args:
        writer: of the run.
        run: whose target was evaluated.
        split: `validation` or `test`.
        at: step → metric → value.
        examples: rows scored.
    """
    rows = [(step, metric, v) for step, values in at.items() for metric, v in values.items()]
    writer.extend(
        "evals",
        {
            "step": np.array([row[0] for row in rows]),
            "split": [split] * len(rows),
            "task": [run.target] * len(rows),
            "metric": [row[1] for row in rows],
            "value": np.array([row[2] for row in rows]),
            "n_examples": np.full(len(rows), examples, dtype=np.int32),
            "seconds": np.full(len(rows), 1.0, dtype=np.float32),
        },
    )


def write_answers(
    writer: RunWriter,
    run: RunConfig,
    step: int,
    said: Sequence[str],
    right: Sequence[str],
    fingerprints: Sequence[str],
) -> None:
    """Give stored answers of the test split to a writer, one row per example."""
    hit = [one == other for one, other in zip(said, right, strict=True)]
    writer.extend(
        "predictions",
        {
            "step": [step] * len(hit),
            "split": ["test"] * len(hit),
            "task": [run.target] * len(hit),
            "row": list(range(len(hit))),
            "fingerprint": list(fingerprints),
            "target": list(right),
            "prediction": list(said),
            "correct": hit,
            "value": [float(h) for h in hit],
        },
    )


def result_of(
    steps: int, validation: float, test: float, metrics: Mapping[str, float], **changes: Any
) -> RunResult:
    """Return a result whose best step is the last."""
    usual: dict[str, Any] = {
        "best_step": steps,
        "validation_score": validation,
        "test_score": test,
        "metrics": dict(metrics),
        "steps": steps,
        "seconds": steps * 0.5,
        "trained_parameters": 10,
        "extra": {},
    }
    return RunResult(**{**usual, **changes})


def write_experiment(
    root: Path,
    config: ExperimentConfig,
    rows: Callable[[RunConfig, RunWriter], RunResult | None],
    extra: Sequence[RunConfig] = (),
) -> Experiment:
    """Create an experiment and let every run write its rows; one commit, then the results.

    Args:
        root: folder of experiments.
        config: the experiment.
        rows: gives a run's rows to its writer; returns its result, None where it is unfinished.
        extra: runs beside the transfer runs, e.g. of Stage I.
    """
    directory = create_experiment(config, root)
    for run in extra:
        add_run(directory, run)
    configs = (*config.runs(), *extra)
    writers = {c.name: RunWriter(RunDir(directory.run(c.name).path), c) for c in configs}
    results = {c.name: rows(c, writers[c.name]) for c in configs}
    cohort = CohortWriter(directory.cohort("transfer"), writers)
    cohort.cohort.path.mkdir(parents=True, exist_ok=True)
    cohort.commit(cohort.snapshot({}, {}))
    for name, result in results.items():
        if result is not None:
            writers[name].finish(result)
    return open_experiment(directory.path)
