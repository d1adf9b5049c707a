"""What an experiment will do before it does it: runs, cohorts, steps, parameters, rough cost.

The plan is a pure function of the configuration, so that a resumed experiment meets the same
cohorts. Must not import torch: the launch page shows it. DESIGN.md "Cohort training".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dtvg.backbones.specs import facts
from dtvg.config import ExperimentConfig, RunConfig
from dtvg.methods.specs import AllForOne

CPU_FLOPS = 3e10
GPU_FLOPS = 6e13
"""Sustained matmul rates assumed for the rough estimate: two CPU cores, one data-centre GPU."""


@dataclass(frozen=True)
class CohortPlan:
    """Runs that train together in one process, under the folder `cohorts/<id>`."""

    id: str
    runs: tuple[RunConfig, ...]

    @property
    def steps(self) -> int:
        """Loop iterations: the longest run's steps."""
        return max((run.total_steps for run in self.runs), default=0)


@dataclass(frozen=True)
class Plan:
    """All cohorts of an experiment: Stage I first, then the transfer runs."""

    stage_one: tuple[CohortPlan, ...]
    transfer: tuple[CohortPlan, ...]
    trained_parameters: dict[str, int]
    """Trained parameters of each transfer run (0 where the backbone's width is unknown)."""
    estimated_seconds: float | None
    """Rough; None where the backbone's size is unknown before it is loaded."""
    estimated_memory_gib: float | None

    @property
    def runs(self) -> tuple[RunConfig, ...]:
        """Every run, in the order of the cohorts."""
        return tuple(r for c in (*self.stage_one, *self.transfer) for r in c.runs)

    @property
    def run_steps(self) -> int:
        """Optimiser steps summed over runs."""
        return sum(run.total_steps for run in self.runs)


def stage_one_runs(config: ExperimentConfig, transfers: Sequence[RunConfig]) -> list[RunConfig]:
    """Return the Stage I runs that `transfers` start from: tasks first, then mixtures.

    Args:
        config: the experiment.
        transfers: the runs to prepare for.
    """
    tasks: dict[tuple[str, int], None] = {}
    mixtures: dict[tuple[tuple[str, ...], int], None] = {}
    for run in transfers:
        if isinstance(run.method, AllForOne):
            mixtures[(run.sources, run.seed)] = None
        else:
            wanted = [t for t in (*run.sources, run.target) if t not in config.prompt.given]
            tasks.update({(task, run.seed): None for task in wanted})
    order = {name: i for i, name in enumerate((*config.sources, *config.targets))}
    ordered = sorted(tasks, key=lambda item: (config.seeds.index(item[1]), order[item[0]]))
    return [
        *(config.stage_one(task, seed) for task, seed in ordered),
        *(config.mixture(sources, seed) for sources, seed in mixtures),
    ]


def plan(config: ExperimentConfig) -> Plan:
    """Plan an experiment; see the module's first lines.

    Args:
        config: a valid experiment configuration.
    """
    transfers = config.runs()
    first = _chunks("stage1", stage_one_runs(config, transfers), config.device.max_cohort)
    second = _chunks("transfer", transfers, config.device.max_cohort)
    sizes = facts(config.backbone.name)
    width = sizes.width if sizes else 0
    parameters = {run.name: trained_parameters(run, width) for run in transfers}
    seconds, memory = None, None
    if sizes is not None:
        runs = [run for cohort in (*first, *second) for run in cohort.runs]
        tokens = config.prompt.length + min(config.data.max_source_tokens, 96)
        flops = sum(
            4.0 * sizes.matmul_parameters * tokens * run.total_steps * run.optim.batch_size
            + 2.0 * sizes.matmul_parameters * tokens * _evaluated(run)
            for run in runs
        )
        on_cpu = config.device.name in ("auto", "cpu")
        seconds = flops / (CPU_FLOPS if on_cpu else GPU_FLOPS)
        state = 4 * 4 * width * config.prompt.length * (len(config.sources) + 3)
        most = max((len(c.runs) for c in (*first, *second)), default=1)
        weights = 4 * (sizes.matmul_parameters * 2 + width * sizes.vocabulary)
        memory = (weights + state * most + 2e8) / 2**30
    return Plan(tuple(first), tuple(second), parameters, seconds, memory)


def trained_parameters(run: RunConfig, width: int) -> int:
    """Return how many numbers a run trains: prompt, target scale, source scales.

    Args:
        run: its method decides what is trained.
        width: the backbone's d.
    """
    length, count = run.prompt.length, run.prompt.length * width
    if run.method.trains_scales:
        count += length
    count += run.method.gate_count(length, len(run.sources))
    return count + length * run.method.scale_count(len(run.sources))


def _chunks(stem: str, runs: Sequence[RunConfig], size: int) -> list[CohortPlan]:
    return [
        CohortPlan(f"{stem}-{number:03d}", tuple(runs[start : start + size]))
        for number, start in enumerate(range(0, len(runs), size))
    ]


def _evaluated(run: RunConfig) -> int:
    """Examples a run is scored on over its life."""
    times = run.total_steps // run.evaluation.every + 2
    return times * run.evaluation.max_examples
