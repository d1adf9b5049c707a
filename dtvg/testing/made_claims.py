"""Simulated stores in which each claim of the paper is true, false or open, without training.

A `World` says what is true; its runs answer at random as right as that, through the real writer.
For the tests and the error rates of docs/claims.md, and for whoever builds on the claims.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dtvg.config import ExperimentConfig, RunConfig, build_config
from dtvg.records import RunResult
from dtvg.store.reader import Experiment
from dtvg.store.writer import RunWriter
from dtvg.testing import made_runs

SOURCES = ("amber", "birch", "cedar", "dune", "elm", "fern", "grove", "heath")
TARGETS = ("lake", "moor", "nook", "oak", "pond", "quay", "reef", "shore")
METHODS: tuple[Any, ...] = (
    "none",
    "single",
    "all_sources",
    "dtvg",
    {"name": "dtvg", "rule": "fixed"},
    {"name": "dtvg", "rule": "similarity_only"},
    "oracle",
)
WIDTH, LENGTH = 16, 2
"""Width and length of the prompts runs start from."""
Worth = Callable[[frozenset[str]], float]


def nothing(subset: frozenset[str]) -> float:
    """Return what a subset is worth where sources do nothing."""
    return 0.0


@dataclass(frozen=True)
class World:
    """What is true of a simulated store; scores are accuracies 0..1."""

    targets: int = 1
    seeds: int = 6
    examples: int = 400
    sources: int = 5
    methods: Sequence[Any] = METHODS
    base: float = 0.5
    """Score without sources."""
    worth: Worth = nothing
    """What always merging a subset adds to it."""
    dynamic: Mapping[str, float] = field(default_factory=dict)
    """Label of a method that decides for itself → what it adds to `base`."""
    spread: float = 0.01
    """Standard deviation of the skill of runs."""
    between: float = 0.0
    """Standard deviation between targets of what each method adds."""
    vectors: Sequence[float] = (0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)
    """Similarity of each source's vector at the start."""
    prompts: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
    """How far each source's prompt lies from the target's, in a direction of its own."""
    steps: int = 100
    drift: float = 0.0
    """How far similarities turn into their reverse by the end: 1 is all of it."""
    shake: float = 0.01
    """Noise of a step's similarities that is forgotten at once."""
    wander: float = 0.0
    """Noise of a step's similarities that adds up."""
    draw: int = 0
    """Seed of everything random."""

    @property
    def names(self) -> tuple[str, ...]:
        """The sources."""
        return SOURCES[: self.sources]

    def config(self, name: str) -> ExperimentConfig:
        """Return the experiment."""
        values: dict[str, Any] = {
            "name": name,
            "sources": list(self.names),
            "targets": list(TARGETS[: self.targets]),
            "methods": list(self.methods),
            "seeds": list(range(self.seeds)),
            "prompt": {"length": LENGTH},
            "optim": {"steps": self.steps, "stage1_steps": 5},
        }
        return build_config(values)


def write_world(root: Path, world: World, name: str = "world") -> Experiment:
    """Write a world's experiment into a folder of experiments."""
    config = world.config(name)
    places = {run.name: i for i, run in enumerate(config.runs())}

    def rows(run: RunConfig, writer: RunWriter) -> RunResult:
        return _write_run(world, run, writer, places[run.name])

    return made_runs.write_experiment(root, config, rows)


def skill(world: World, run: RunConfig, place: int) -> float:
    """Return how often a run is truly right."""
    merged = getattr(run.method, "subset", None)
    if merged is None:
        merged = run.method.always_merges(run.sources)
    label = run.method.label
    source = getattr(run.method, "source", None)
    if label in world.dynamic:
        added = world.dynamic[label]
    elif source is not None:
        added = world.worth(frozenset([source]))
    else:
        added = world.worth(frozenset(merged or ()))
    rng = np.random.default_rng([world.draw, 11, place])
    of_target = np.random.default_rng([world.draw, 12, TARGETS.index(run.target), *map(ord, label)])
    lead = float(of_target.normal(scale=world.between)) if world.between else 0.0
    return world.base + added + lead + float(rng.normal(scale=world.spread))


def similarities(world: World, run: RunConfig) -> np.ndarray:
    """Return similarities `[steps n]` of a run's sources to its target."""
    rng = np.random.default_rng([world.draw, 13, run.seed, TARGETS.index(run.target)])
    start = np.array(world.vectors[: len(run.sources)])
    share = np.linspace(0, 1, world.steps)[:, None]
    moved = start + world.drift * share * (start[::-1] - start)
    noise = rng.normal(size=(2, world.steps, len(start)))
    wander = world.wander * noise[1].cumsum(axis=0) if world.wander else 0.0
    return np.asarray(moved + world.shake * noise[0] + wander)


def grams_of(similarity: np.ndarray, together: float = 0.05) -> np.ndarray:
    """Return Gram matrices `[S m m]` with given similarities `[S n]` to the target.

    Args:
        similarity: of the sources.
        together: product of any two sources.
    """
    steps, n = similarity.shape
    made = np.zeros((steps, n + 1, n + 1))
    made[:, 1:, 1:] = together + np.eye(n)
    made[:, 0, 1:] = made[:, 1:, 0] = similarity
    made[:, 0, 0] = 1 + (similarity**2).sum(axis=1)
    return made.astype(np.float32)


def _write_run(world: World, run: RunConfig, writer: RunWriter, place: int) -> RunResult:
    """Write one run: steps, evaluations, answers, and the prompts it started from."""
    grouped = run.method.has_source_vectors and len(run.sources) > 1
    detailed = grouped and run.method.label in world.dynamic
    grams = grams_of(similarities(world, run)) if detailed else None
    count = world.steps if detailed else 1
    first = world.steps - count + 1
    made_runs.write_steps(writer, run, np.arange(first, world.steps + 1), grams)
    true = skill(world, run, place)
    rng = np.random.default_rng([world.draw, 14, place])
    hard = _difficulty(world, run.target)
    right = np.array(["0", "1"])[(hard > np.median(hard)).astype(int)]
    hit = rng.random(world.examples) < np.clip(true + hard, 0, 1)
    said = np.where(hit, right, np.where(right == "0", "1", "0"))
    test, seen = float(hit.mean()), float(rng.binomial(200, np.clip(true, 0, 1)) / 200)
    for split, value in (("validation", seen), ("test", test)):
        found = {"accuracy": value, "score": value}
        made_runs.write_evals(writer, run, split, {world.steps: found}, world.examples)
    marks = [f"{run.target}{i:05d}" for i in range(world.examples)]
    made_runs.write_answers(writer, run, world.steps, list(said), list(right), marks)
    writer.write_prompts("initial", _start(world, run), {"run": run.name, "step": "0"})
    return made_runs.result_of(world.steps, seen, test, {"accuracy": test})


def _difficulty(world: World, target: str) -> np.ndarray:
    """Return how much easier each example is than the average, `[E]`; the same for all runs."""
    rng = np.random.default_rng([world.draw, 15, TARGETS.index(target)])
    return rng.uniform(-0.2, 0.2, world.examples)


def _start(world: World, run: RunConfig) -> dict[str, np.ndarray]:
    """Return the prompts a run starts from, with the world's two kinds of similarity."""
    names = run.sources
    init, own = np.zeros((2, LENGTH, WIDTH), dtype=np.float32)
    init[:, 0] = 1
    own[:, 1] = 1
    vectors = np.zeros((len(names), LENGTH, WIDTH), dtype=np.float32)
    for place, name in enumerate(names):
        at = SOURCES.index(name)
        vectors[place, :, 1] = world.vectors[at]
        vectors[place, :, 2 + at] = 3 * world.prompts[at]
    target = init + own
    return {
        "init": init,
        "target_prompt": target,
        "source_vectors": vectors,
        "mixed_prompt": target,
    }
