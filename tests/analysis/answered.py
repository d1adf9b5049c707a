"""Small finished experiments with chosen answers, through the real writer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dtvg.config import ExperimentConfig, RunConfig, build_config
from dtvg.records import RunResult
from dtvg.store.layout import RunDir, create_experiment
from dtvg.store.reader import Experiment, open_experiment
from dtvg.store.writer import CohortWriter, RunWriter
from dtvg.tasks.catalogue import all_tasks
from dtvg.tasks.metrics import score
from dtvg.tasks.spec import Example, TaskSpec

SOURCES = ("amber", "birch", "cedar")
STEP = 20
Answer = Callable[[RunConfig, Sequence[str], np.random.Generator], Sequence[str]]
"""(run, right answers, random numbers) → answers."""


def config(name: str = "answered", **changes: Any) -> ExperimentConfig:
    values: dict[str, Any] = {
        "name": name,
        "sources": list(SOURCES),
        "targets": ["lake", "moor"],
        "methods": ["none", "all_sources", "dtvg"],
        "seeds": [0, 1, 2],
        "prompt": {"length": 4},
        "optim": {"steps": STEP, "stage1_steps": 5},
    }
    return build_config({**values, **changes})


def right_answers(target: str, n: int) -> list[str]:
    """The same for every run: words "0" and "1", a little more of the first."""
    rng = np.random.default_rng(len(target) + n)
    return [str(x) for x in (rng.random(n) < 0.45).astype(int)]


def mostly_right(rates: Mapping[str, float]) -> Answer:
    """Answers right with a rate by method name, apart from that at random."""

    def answer(run: RunConfig, right: Sequence[str], rng: np.random.Generator) -> list[str]:
        keep = rng.random(len(right)) < rates.get(run.method.name, 0.5)
        return [r if k else str(1 - int(r)) for r, k in zip(right, keep, strict=True)]

    return answer


def metrics_of(target: str, answers: Sequence[str], right: Sequence[str]) -> dict[str, float]:
    spec = all_tasks().get(target) or TaskSpec(
        **{**all_tasks()["rte"].__dict__, "name": target, "labels": ("0", "1")}
    )
    examples = [
        Example(source=f"{target} {i}", target=r, references=(r,), label=_label(spec, r))
        for i, r in enumerate(right)
    ]
    return score(spec, answers, examples)


def _label(spec: TaskSpec, word: str) -> int | None:
    return spec.labels.index(word) if word in spec.labels else None


def record(
    root: Path,
    answer: Answer,
    experiment: ExperimentConfig | None = None,
    n: int = 60,
    keep: Callable[[RunConfig], bool] = lambda run: True,
    right: Callable[[str, int], list[str]] = right_answers,
    unfinished: Sequence[str] = (),
) -> Experiment:
    """Write an experiment whose runs answer as told; only kept ones store their answers."""
    experiment = experiment or config()
    directory = create_experiment(experiment, root)
    configs = experiment.runs()
    writers = {c.name: RunWriter(RunDir(directory.run(c.name).path), c) for c in configs}
    results = {}
    for i, c in enumerate(configs):
        gold = right(c.target, n)
        said = list(answer(c, gold, np.random.default_rng([7, i])))
        found = metrics_of(c.target, said, gold)
        writers[c.name].extend("steps", _steps())
        writers[c.name].extend("evals", _evals(c.target, found, n))
        if keep(c):
            writers[c.name].extend("predictions", _predictions(c.target, said, gold))
        results[c.name] = found
    cohort = CohortWriter(directory.cohort("transfer"), writers)
    cohort.cohort.path.mkdir(parents=True, exist_ok=True)
    cohort.commit(cohort.snapshot({}, {}))
    for c in configs:
        if c.name in unfinished:
            continue
        found = results[c.name]
        writers[c.name].finish(
            RunResult(
                best_step=STEP,
                validation_score=found["score"],
                test_score=found["score"],
                metrics=found,
                steps=STEP,
                seconds=10.0 + c.seed,
                trained_parameters=40,
                extra={},
            )
        )
    return open_experiment(directory.path)


def _steps() -> dict[str, Any]:
    step = np.arange(1, STEP + 1)
    ones = np.ones(STEP, dtype=np.float32)
    return {
        "step": step,
        "seconds": step * 0.5,
        "loss": ones,
        "grad_norm": ones,
        "lr_prompt": ones,
        "examples": np.full(STEP, 8, dtype=np.int32),
        "tokens": np.full(STEP, 100, dtype=np.int32),
        "step_ms": ones,
        "device_mem_gib": np.linspace(0.1, 0.5, STEP).astype(np.float32),
    }


def _evals(target: str, found: Mapping[str, float], n: int) -> dict[str, Any]:
    names = [*found] * 2
    return {
        "step": np.full(len(names), STEP),
        "split": ["validation"] * len(found) + ["test"] * len(found),
        "task": [target] * len(names),
        "metric": names,
        "value": np.array([found[m] for m in names]),
        "n_examples": np.full(len(names), n, dtype=np.int32),
        "seconds": np.full(len(names), 1.0, dtype=np.float32),
    }


def _predictions(target: str, said: Sequence[str], right: Sequence[str]) -> dict[str, Any]:
    n = len(right)
    hit = [s == r for s, r in zip(said, right, strict=True)]
    return {
        "step": [STEP] * n,
        "split": ["test"] * n,
        "task": [target] * n,
        "row": list(range(n)),
        "fingerprint": [f"{target}{i // 2:05d}" for i in range(n)],  # two examples read alike
        "target": list(right),
        "prediction": list(said),
        "correct": hit,
        "value": [float(h) for h in hit],
    }
