"""Small finished experiments with chosen answers, through the real writer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dtvg.config import ExperimentConfig, RunConfig, build_config
from dtvg.records import RunResult
from dtvg.store.reader import Experiment
from dtvg.store.writer import RunWriter
from dtvg.tasks.catalogue import all_tasks
from dtvg.tasks.metrics import score
from dtvg.tasks.spec import Example, TaskSpec
from dtvg.testing import made_runs

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
    places = {run.name: i for i, run in enumerate(experiment.runs())}

    def rows(run: RunConfig, writer: RunWriter) -> RunResult | None:
        gold = right(run.target, n)
        said = list(answer(run, gold, np.random.default_rng([7, places[run.name]])))
        found = metrics_of(run.target, said, gold)
        memory = np.linspace(0.1, 0.5, STEP).astype(np.float32)
        made_runs.write_steps(writer, run, np.arange(1, STEP + 1), device_mem_gib=memory)
        for split in ("validation", "test"):
            made_runs.write_evals(writer, run, split, {STEP: found}, n)
        if keep(run):  # two examples read alike
            read = [f"{run.target}{i // 2:05d}" for i in range(n)]
            made_runs.write_answers(writer, run, STEP, said, gold, read)
        if run.name in unfinished:
            return None
        score = found["score"]
        cost = {"seconds": 10.0 + run.seed, "trained_parameters": 40}
        return made_runs.result_of(STEP, score, score, found, **cost)

    return made_runs.write_experiment(root, experiment, rows)
