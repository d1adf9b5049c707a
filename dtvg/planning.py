"""What an experiment will do before it does it: runs, cohorts, steps, parameters, rough cost.

The plan is a pure function of the configuration, so that a resumed experiment meets the same
cohorts. Must not import torch: the launch page shows it. DESIGN.md "Cohort training".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dtvg.backbones.specs import BackboneFacts, facts
from dtvg.config import ExperimentConfig, RunConfig
from dtvg.methods.specs import MethodConfig, MptSources

CPU_FLOPS = 3e10
GPU_FLOPS = 6e13
"""Sustained matmul rates assumed for the rough estimate: two CPU cores, one data-centre GPU."""
CPU_STEP, GPU_STEP = 0.02, 0.05
"""Seconds a cohort's step takes however small the model."""
MEAN_TOKENS, DEMO_TOKENS, ANSWER_TOKENS = 60, 14, 3
"""Input (of the demo: short sentences) and answer of a usual example; limits on length are rarely
reached."""
PROCESS_BYTES = 6e8
"""Of Python with its libraries."""


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
    """All cohorts of an experiment: Stage I first, then the transfer runs, then those derived
    from the results of others."""

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
    """Return the Stage I runs that `transfers` start from: tasks, then what trains on mixtures.

    Args:
        config: the experiment.
        transfers: the runs to prepare for.
    """
    tasks: dict[tuple[str, int, bool], None] = {}
    few = config.data.few_shot is not None
    mixtures: dict[tuple[tuple[str, ...], int, MethodConfig], None] = {}
    for run in transfers:
        prepared = run.method.preparation()
        if prepared is not None:
            mixtures[(run.sources, run.seed, prepared)] = None
        if run.method.starts_from_tasks:
            wanted = [*((task, False) for task in run.sources), (run.target, few)]
            tasks.update(
                {(t, run.seed, own): None for t, own in wanted if t not in config.prompt.given}
            )
    order = {name: i for i, name in enumerate((*config.sources, *config.targets))}
    ordered = sorted(tasks, key=lambda item: (config.seeds.index(item[1]), order[item[0]]))
    return [
        *(config.stage_one(*task) for task in ordered),
        *(config.mixture(*mixture) for mixture in mixtures),
    ]


def plan(config: ExperimentConfig) -> Plan:
    """Plan an experiment; see the module's first lines.

    Args:
        config: a valid experiment configuration.
    """
    transfers = config.runs()
    before = stage_one_runs(config, transfers)
    pupils = [run for run in before if isinstance(run.method, MptSources)]  # after their teachers
    first = [
        *_chunks("stage1", [run for run in before if run not in pupils], config.device.max_cohort),
        *_chunks("distil", pupils, config.device.max_cohort),
    ]
    last = [run for run in transfers if run.method.derived and not run.method.trial]
    early = [run for run in transfers if run not in last] if last else transfers
    second = [
        *_chunks("transfer", early, config.device.max_cohort),
        *_chunks("derived", last, config.device.max_cohort),
    ]
    sizes = facts(config.backbone.name)
    width = sizes.width if sizes else 0
    parameters = {run.name: trained_parameters(run, width) for run in transfers}
    seconds, memory = None, None
    if sizes is not None:
        cohorts = (*first, *second)
        seconds = _seconds(config, sizes, cohorts)
        memory = _memory_gib(config, sizes, max((len(c.runs) for c in cohorts), default=1))
    return Plan(tuple(first), tuple(second), parameters, seconds, memory)


def duration(seconds: float | None) -> str:
    """Return a time in words of sensible size."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return "a minute"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.0f} days"


def _seconds(
    config: ExperimentConfig, sizes: BackboneFacts, cohorts: Sequence[CohortPlan]
) -> float:
    """Estimate time: forward and backward through the frozen weights, and a cost per step."""
    tokens = _mean_tokens(config)
    answers = ANSWER_TOKENS * (sizes.matmul_parameters + sizes.width * sizes.vocabulary)
    each = sizes.matmul_parameters * tokens + answers
    trained = evaluated = 0
    for run in (run for cohort in cohorts for run in cohort.runs):
        trained += run.total_steps * run.optim.batch_size
        evaluated += _evaluated(run)
    on_cpu = config.device.name in ("auto", "cpu")
    flops = each * (4.0 * trained + 2.0 * evaluated)
    overhead = sum(cohort.steps for cohort in cohorts) * (CPU_STEP if on_cpu else GPU_STEP)
    return flops / (CPU_FLOPS if on_cpu else GPU_FLOPS) + overhead


def _mean_tokens(config: ExperimentConfig) -> int:
    """Tokens the encoder sees of a usual example, the prompt's included."""
    demo = config.backbone.name == "demo"
    return config.prompt.length + min(
        config.data.max_source_tokens, DEMO_TOKENS if demo else MEAN_TOKENS
    )


def _memory_gib(config: ExperimentConfig, sizes: BackboneFacts, runs: int) -> float:
    """Estimate memory: weights, what a micro-batch keeps for backward, the runs' own tensors."""
    bytes_each = {"float64": 8, "float32": 4, "int8": 1, "int4": 0.5}.get(
        config.device.precision, 2
    )
    sides = 2.3 if sizes.encoder_decoder else 1.0
    weights = bytes_each * (sizes.matmul_parameters * sides + sizes.width * sizes.vocabulary)
    on_cpu = config.device.name in ("auto", "cpu")
    budget = config.device.token_budget or (4096 if on_cpu else 65536)
    budget = min(budget, runs * config.optim.batch_size * _mean_tokens(config))
    inner = sizes.hidden or sizes.width
    kept = 12 * inner + 3 * (sizes.feed_forward or 4 * inner)
    work = max(bytes_each, 2) * budget * (sizes.layers * kept + 0.1 * sizes.vocabulary)
    own = 4 * 4 * sizes.width * config.prompt.length * (len(config.sources) + 3)
    return float((weights + work + own * runs + PROCESS_BYTES) / 2**30)


def trained_parameters(run: RunConfig, width: int) -> int:
    """Return how many numbers a run trains: prompts, target scale, source scales, gates.

    Args:
        run: its method decides what is trained.
        width: the backbone's d.
    """
    length = run.prompt.length
    count = length * width * run.method.prompt_count(len(run.sources))
    if run.method.trains_scales:
        count += length
    count += run.method.gate_count(length, width, len(run.sources))
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
