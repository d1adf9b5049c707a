"""What an experiment will do before it does it: cohorts of runs, and what each starts from.

A pure function of the configuration and the number of slots. Runs say through their method's
`needs` what must be there first; who trains only follows the edges. docs/architecture.md "The
plan".
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from itertools import chain, count, repeat

from dtvg.config import ExperimentConfig, RunConfig, run_name
from dtvg.errors import ConfigError
from dtvg.methods.specs import MethodConfig, StageOne, Subset

Cut = Sequence[tuple[str, Sequence[RunConfig]]]
"""Ids of cohorts with their runs."""


@dataclass(frozen=True)
class CohortPlan:
    """Runs that train together in one process, under the folder `cohorts/<id>`."""

    id: str
    runs: tuple[RunConfig, ...]
    after: tuple[str, ...] = ()
    """Ids of the cohorts that some of its runs start from."""

    @property
    def steps(self) -> int:
        """Loop iterations: the longest run's steps."""
        return max((run.total_steps for run in self.runs), default=0)

    @property
    def in_stage_one(self) -> bool:
        """Whether its runs make prompts that others start from."""
        return all(run.full_role.in_stage_one for run in self.runs)


@dataclass(frozen=True)
class Plan:
    """All cohorts of an experiment, each after those that it starts from."""

    cohorts: tuple[CohortPlan, ...]
    starts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Run → the runs it starts from: Stage I, mixtures, trials. A prompt that the configuration
    gives has no run."""
    slots: int | None = None
    """For how many processes at once the cohorts were cut; None: as large as allowed."""

    @property
    def stage_one(self) -> tuple[CohortPlan, ...]:
        """Cohorts that make prompts."""
        return tuple(c for c in self.cohorts if c.in_stage_one)

    @property
    def transfer(self) -> tuple[CohortPlan, ...]:
        """Cohorts of transfer runs, those that wait for trials last."""
        return tuple(c for c in self.cohorts if not c.in_stage_one)

    @property
    def runs(self) -> tuple[RunConfig, ...]:
        """Every run, in the order of the cohorts."""
        return tuple(run for cohort in self.cohorts for run in cohort.runs)

    @property
    def run_steps(self) -> int:
        """Optimiser steps summed over runs."""
        return sum(run.total_steps for run in self.runs)

    def starts_from(self, run: RunConfig) -> tuple[RunConfig, ...]:
        """Return the runs that a run starts from."""
        return tuple(self._by_name[name] for name in self.starts.get(run.name, ()))

    @cached_property
    def _by_name(self) -> dict[str, RunConfig]:
        return {run.name: run for run in self.runs}


def plan(config: ExperimentConfig, slots: int | None = None) -> Plan:
    """Plan an experiment.

    Args:
        config: a valid experiment configuration.
        slots: processes that shall find work at once; None: cohorts as large as
            `device.max_cohort` allows.
    """
    transfers = config.runs()
    before = stage_one_runs(config, transfers)
    stems: dict[str, list[RunConfig]] = {stem: [] for stem in STEMS}
    for run in (*before, *transfers):
        stems[stem_of(run)].append(run)
    cut = [
        cohort
        for stem, runs in stems.items()
        for cohort in numbered(stem, runs, *_sizes(config, stem, len(runs), slots))
    ]
    return assemble(cut, edges(config, (*before, *transfers)), slots)


LAST_STEMS = ("transfer", "derived")
"""Of cohorts that nothing, or little, waits for."""
STEMS = ("stage1", "distil", "transfer", "derived")
"""First parts of the ids of cohorts, in the order in which they train."""


def stem_of(run: RunConfig) -> str:
    """Return the first part of the id of a run's cohort."""
    if run.full_role.in_stage_one:
        return "distil" if run.needs.stage_one else "stage1"
    return "derived" if run.needs.trials else "transfer"


def numbered(
    stem: str, runs: Sequence[RunConfig], *sizes: int, taken: Collection[str] = ()
) -> list[tuple[str, tuple[RunConfig, ...]]]:
    """Cut runs into cohorts of these sizes, with the lowest numbers that are not taken.

    The last size is that of all that are left, too.
    """
    ids = (id_ for id_ in (f"{stem}-{number:03d}" for number in count()) if id_ not in taken)
    start, made = 0, list[tuple[str, tuple[RunConfig, ...]]]()
    for size in chain(sizes, repeat(sizes[-1])):
        if start >= len(runs):
            return made
        made.append((next(ids), tuple(runs[start : start + size])))
        start += size
    return made


def _sizes(config: ExperimentConfig, stem: str, runs: int, slots: int | None) -> list[int]:
    most = config.device.max_cohort
    if slots is None or stem not in LAST_STEMS:
        return [most if slots is None else max(1, min(most, math.ceil(runs / slots)))]
    return cut_sizes(runs, most, slots)


def cut_sizes(runs: int, most: int, slots: int) -> list[int]:
    """Return the sizes of the cohorts that train last, so that all slots end at about one time.

    A slot that trains several cohorts one after the other ends up to a cohort's length before the
    others. So of more than two per slot the last ones are cut finer: as many runs as the slots
    train at once in whole cohorts are in halves, and a third as many after them in fifths
    (docs/scale.md "Measured").

    Args:
        runs: how many there are.
        most: runs of a cohort at most.
        slots: cohorts that train at once.
    """
    even = max(1, min(most, math.ceil(runs / slots)))
    if slots == 1 or runs <= 2 * slots * most:  # finer ones would cost more than they save
        return [even] * max(1, math.ceil(runs / even))
    half, fifth = max(1, most // 2), max(1, most // 5)
    in_fifths = slots * most // 3
    wholes = (runs - in_fifths - slots * most) // most
    halves = (runs - wholes * most - in_fifths) // half
    rest = runs - wholes * most - halves * half
    return [most] * wholes + [half] * halves + [fifth] * math.ceil(rest / fifth)


def stage_one_runs(config: ExperimentConfig, transfers: Sequence[RunConfig]) -> list[RunConfig]:
    """Return the Stage I runs that `transfers` start from: tasks, then what trains on mixtures.

    Args:
        config: the experiment.
        transfers: the runs to prepare for.
    """
    tasks: dict[tuple[StageOne, int], None] = {}
    mixtures: dict[tuple[Subset, int, MethodConfig], None] = {}
    for run in transfers:
        needs = run.needs
        wanted = list(needs.stage_one)
        if needs.mixture is not None:
            sources, method = needs.mixture.sources, needs.mixture.method
            mixtures[(sources, run.seed, method)] = None
            wanted += config.mixture(sources, run.seed, method).needs.stage_one
        tasks.update({(w, run.seed): None for w in wanted if w.task not in config.prompt.given})
    order = {name: i for i, name in enumerate((*config.sources, *config.targets))}
    ordered = sorted(tasks, key=lambda item: (config.seeds.index(item[1]), order[item[0].task]))
    return [
        *(config.stage_one(own.task, seed, own.few_shot) for own, seed in ordered),
        *(config.mixture(*mixture) for mixture in mixtures),
    ]


def edges(config: ExperimentConfig, runs: Sequence[RunConfig]) -> dict[str, tuple[str, ...]]:
    """Return the names of the runs that each run starts from.

    Args:
        config: the experiment.
        runs: all of its runs; what is not among them is given, and needs no edge.
    """
    stage_one: dict[tuple[StageOne, int], str] = {}
    mixtures: dict[tuple[Subset, int, MethodConfig], str] = {}
    names = {run.name for run in runs}
    for run in runs:
        if run.role == "mixture":
            mixtures[(run.sources, run.seed, run.method)] = run.name
        elif run.full_role.in_stage_one:
            own = StageOne(run.target, run.data.few_shot is not None)
            stage_one[(own, run.seed)] = run.name
    found = {}
    for run in runs:
        needs = run.needs
        wanted = [stage_one.get((own, run.seed)) for own in needs.stage_one]
        if needs.mixture is not None:
            mixture = (needs.mixture.sources, run.seed, needs.mixture.method)
            wanted.append(mixtures.get(mixture))
        wanted += [run_name(run.target, trial.label, run.seed) for trial in needs.trials]
        found[run.name] = tuple(dict.fromkeys(n for n in wanted if n is not None and n in names))
    return found


def assemble(cut: Cut, starts: Mapping[str, tuple[str, ...]], slots: int | None = None) -> Plan:
    """Make a plan of cohorts and of what their runs start from.

    Args:
        cut: ids of cohorts with their runs, best in the order in which they are to train.
        starts: run → names of the runs it starts from, all of which are in a cohort.
        slots: for how many processes they were cut.

    Raises:
        ConfigError: a cohort would start from itself.
    """
    home = {run.name: id_ for id_, runs in cut for run in runs}
    after = {
        id_: tuple(dict.fromkeys(home[name] for run in runs for name in starts.get(run.name, ())))
        for id_, runs in cut
    }
    made = {id_: CohortPlan(id_, tuple(runs), after[id_]) for id_, runs in cut}
    return Plan(tuple(made[id_] for id_ in _in_order(after)), dict(starts), slots)


def _in_order(after: Mapping[str, Iterable[str]]) -> list[str]:
    """Return ids so that each comes after those it starts from, else as they are given."""
    place = {id_: i for i, id_ in enumerate(after)}
    if all(place[before] < place[id_] for id_ in after for before in after[id_]):
        return list(after)
    try:
        return list(TopologicalSorter(after).static_order())
    except CycleError as error:
        circle = ", ".join(dict.fromkeys(error.args[1]))
        raise ConfigError(
            f"Cohorts that start from each other cannot be trained: {circle}."
        ) from None
