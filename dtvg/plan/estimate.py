"""What a plan costs, roughly and before anything is loaded: time, memory, trained parameters.

Also how long a time is, in words.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dtvg.backbones.specs import BackboneFacts, facts
from dtvg.config import ExperimentConfig, RunConfig
from dtvg.plan.graph import CohortPlan, Plan, plan
from dtvg.plan.lengths import answer_tokens, input_tokens

CPU_FLOPS = 3e10
GPU_FLOPS = 6e13
"""Sustained matmul rates assumed for the rough estimate: two CPU cores, one data-centre GPU."""
CPU_STEP, GPU_STEP = 0.02, 0.05
"""Seconds a cohort's step takes however small the model."""
DEMO_TOKENS, CHAT_TOKENS = 14, 30
"""Of the demo's short sentences, and of a chat template."""
PROCESS_BYTES = 6e8
"""Of Python with its libraries."""


@dataclass(frozen=True)
class Estimate:
    """What a plan costs, roughly."""

    trained_parameters: dict[str, int]
    """Trained parameters of each transfer run; empty where the backbone's width is unknown."""
    seconds: float | None
    """None where the backbone's size is unknown before it is loaded."""
    memory_gib: float | None


def estimate(config: ExperimentConfig, made: Plan, processor: float = CPU_FLOPS) -> Estimate:
    """Estimate time, memory and trained parameters.

    Args:
        config: the experiment.
        made: its plan.
        processor: operations a second of a processor, e.g. `processor_flops` of this machine's.
    """
    sizes = facts(config.backbone.name)
    if sizes is None:
        return Estimate({}, None, None)
    transfers = (run for cohort in made.transfer for run in cohort.runs)
    return Estimate(
        {run.name: trained_parameters(run, sizes.width) for run in transfers},
        _seconds(config, sizes, made.cohorts, processor),
        _memory_gib(config, sizes, made.cohorts),
    )


SLOTS = (1, 2, 4, 8)


def wall_times(
    config: ExperimentConfig,
    slots: Sequence[int] = SLOTS,
    made: Plan | None = None,
    processor: float = CPU_FLOPS,
) -> dict[int, float]:
    """Estimate how long an experiment takes on so many slots, each as fast as the device.

    Cohorts are cut for the slots, and each starts once those it starts from have ended. More
    slots than cohorts help nobody, so the last entries may be equal.

    Args:
        config: the experiment.
        slots: numbers of slots.
        made: its plan, where the cohorts are not to be cut anew.
        processor: as of `estimate`.

    Returns:
        Seconds by number of slots; empty where the backbone's size is unknown.
    """
    sizes = facts(config.backbone.name)
    if sizes is None:
        return {}
    found = {}
    for count in slots:
        cohorts = (plan(config, None if count == 1 else count) if made is None else made).cohorts
        seconds = {cohort.id: _seconds(config, sizes, [cohort], processor) for cohort in cohorts}
        found[count] = _makespan(cohorts, seconds, count)
    return found


def _makespan(cohorts: Sequence[CohortPlan], seconds: Mapping[str, float], slots: int) -> float:
    """Return when the last cohort ends if each takes the next free slot, in the plan's order."""
    free = [0.0] * slots
    ended: dict[str, float] = {}
    for cohort in cohorts:
        start = max([heapq.heappop(free), *(ended[before] for before in cohort.after)])
        ended[cohort.id] = start + seconds[cohort.id]
        heapq.heappush(free, ended[cohort.id])
    return max(ended.values(), default=0.0)


def slots_text(times: Mapping[int, float]) -> str:
    """Say how long it takes on 1, 2, 4, ... slots; empty where that is not known."""
    if not times:
        return ""
    each = ", ".join(f"{duration(seconds)} on {count}" for count, seconds in times.items())
    return f"Wall time by slots (cohorts at once): {each}."


def duration(seconds: float | None, unknown: str = "") -> str:
    """Return a time in words of sensible size: `45 s`, `12 min`, `3 h 05 min`, `4 days`.

    Args:
        seconds: None where it is not known.
        unknown: what to say then.
    """
    if seconds is None:
        return unknown
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes / 60 / 24:.0f} days"


def _seconds(
    config: ExperimentConfig,
    sizes: BackboneFacts,
    cohorts: Sequence[CohortPlan],
    processor: float,
) -> float:
    """Estimate time: forward and backward through the frozen weights, and a cost per step."""
    flops = 0.0
    for run in (run for cohort in cohorts for run in cohort.runs):
        trained = run.total_steps * run.optim.batch_size * run.needs.batches
        answers = answer_tokens(run.target) * sizes.width * sizes.vocabulary
        tokens = _mean_tokens(config, run) + answer_tokens(run.target)
        each = sizes.matmul_parameters * tokens + answers
        flops += each * (4.0 * trained + 2.0 * _evaluated(run))
    on_cpu = config.device.name in ("auto", "cpu")
    overhead = sum(cohort.steps for cohort in cohorts) * (CPU_STEP if on_cpu else GPU_STEP)
    return flops / (processor if on_cpu else GPU_FLOPS) + overhead


def _mean_tokens(config: ExperimentConfig, run: RunConfig) -> float:
    """Tokens the encoder sees of an example of a run, the prompt's included."""
    limit = config.data.max_source_tokens
    if config.backbone.name == "demo":
        usual: float = min(limit, DEMO_TOKENS)
    else:
        tasks = run.sources if run.role == "mixture" and run.sources else (run.target,)
        usual = sum(input_tokens(task, limit) for task in tasks) / len(tasks)
    chat = CHAT_TOKENS if config.data.template == "chat" else 0
    return config.prompt.length + min(limit, usual + chat)


def _memory_gib(
    config: ExperimentConfig, sizes: BackboneFacts, cohorts: Sequence[CohortPlan]
) -> float:
    """Estimate memory: weights, what a micro-batch keeps for backward, the runs' own tensors."""
    runs = max((len(cohort.runs) for cohort in cohorts), default=1)
    bytes_each = {"float64": 8, "float32": 4, "auto": 4, "int8": 1, "int4": 0.5}.get(
        config.device.precision, 2
    )
    sides = 2.3 if sizes.encoder_decoder else 1.0
    weights = bytes_each * (sizes.matmul_parameters * sides + sizes.width * sizes.vocabulary)
    on_cpu = config.device.name in ("auto", "cpu")
    budget: float = config.device.token_budget or (4096 if on_cpu else 65536)
    every = [_mean_tokens(config, run) for cohort in cohorts for run in cohort.runs]
    longest = max(every, default=0.0)
    budget = min(budget, runs * config.optim.batch_size * longest)
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
    length, sources = run.prompt.length, len(run.sources)
    count = length * width + run.method.gate_count(length, width, sources)
    if run.method.has_scales:
        count += length * (1 + run.method.scale_count(sources))
    return count * (len(run.needs.branches) or 1)


def _evaluated(run: RunConfig) -> int:
    """Examples a run is scored on over its life."""
    times = run.total_steps // run.evaluation.every + 2
    return times * run.evaluation.max_examples
