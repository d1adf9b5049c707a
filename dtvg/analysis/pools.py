"""Experiments that differ only in seeds, targets or methods, counted as the one they are.

`pool` turns experiments into one set of runs, for comparisons, claims, reports and the command
line. A run that is there twice counts once, or is refused. docs/compare.md "Pools".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dtvg.analysis.words import in_percent
from dtvg.config import DeviceConfig, ExperimentConfig, HypothesisConfig
from dtvg.config.settings_path import flat
from dtvg.errors import DataError, StoreError
from dtvg.names import proposed
from dtvg.records import RunResult
from dtvg.store.bank import array_digest
from dtvg.store.layout import ExperimentDir
from dtvg.store.reader import Experiment, Run, open_experiment, read_prompts, read_provenance

VARIES = ("name", "notes", "seeds", "seeds_of", "targets", "methods", "hypothesis")
"""In what experiments of one pool may differ."""
CHANGES_NOTHING = (
    *("logging", "scale", "data.folder", "evaluation.keep_predictions"),
    *(f"device.{name}" for name in DeviceConfig.model_fields if name != "precision"),
)
"""Settings that say where and how it is computed or stored, not what."""
SHOWN = 4
"""Names that stand in a pool's own name at most."""
KEPT_APART = "`--apart` on the command line, or Pool on the compare page, keeps them apart."


@dataclass(frozen=True)
class Pool:
    """One experiment, or several that are one; `runs` carry the pool's name as experiment."""

    name: str
    members: tuple[Experiment, ...]
    runs: tuple[Run, ...]
    config: ExperimentConfig | None
    """With the seeds, targets and methods of all; None where a lone member's cannot be read."""
    notes: tuple[str, ...] = ()

    @property
    def experiment(self) -> Experiment:
        """The same as one experiment to look at; its folder is the first member's."""
        first = self.members[0]
        if len(self.members) == 1 and first.name == self.name:
            return first
        return replace(first, name=self.name, config=self.config, runs=self.runs)


@dataclass(frozen=True)
class Pooled:
    """What some experiments are together."""

    pools: tuple[Pool, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs, each once; their experiment is the pool."""
        return tuple(run for pool in self.pools for run in pool.runs)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know about runs that count together."""
        return tuple(note for pool in self.pools for note in pool.notes)

    @property
    def name(self) -> str:
        """Short name of them all."""
        return "+".join(pool.name for pool in self.pools)


def pool(experiments: Iterable[Experiment | Path | str], apart: bool = False) -> Pooled:
    """Put experiments together that differ only in seeds, targets or methods.

    Args:
        experiments: opened ones, or their folders; each counts once.
        apart: leave every experiment as it is.

    Raises:
        DataError: two runs of one pool have the same seed, method and target, but other results.
    """
    opened = [e if isinstance(e, Experiment) else open_experiment(e) for e in experiments]
    once = list({e.path.resolve(): e for e in opened}.values())
    groups: list[list[Experiment]] = []
    for one in once:
        fits = (group for group in groups if all(_differing(m, one) == () for m in group))
        home = None if apart else next(fits, None)
        if home is None:
            groups.append([one])
        else:
            home.append(one)
    return Pooled(tuple(_told_apart([_pool(group) for group in groups])))


def why_apart(one: Experiment, other: Experiment) -> tuple[str, ...]:
    """Return in which settings or versions two experiments differ; empty: they are one pool."""
    return _differing(one, other)


def settings_of(config: ExperimentConfig) -> dict[str, Any]:
    """Return the settings, dotted, that experiments of one pool have in common."""
    values = {k: v for k, v in config.to_values().items() if k not in VARIES}
    return {
        path: value
        for path, value in flat(values).items()
        if not any(path == name or path.startswith(f"{name}.") for name in CHANGES_NOTHING)
    }


def _differing(one: Experiment, other: Experiment) -> tuple[str, ...]:
    if one.config is None or other.config is None:
        return ("a configuration that cannot be read",)
    if _is_fork(one) or _is_fork(other):
        return ("a fork, which went on from another run",)
    mine, theirs = settings_of(one.config), settings_of(other.config)
    found = [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]
    labels = {m.label: m for m in one.config.methods}
    found += [
        f"methods.{m.label}"
        for m in other.config.methods
        if m.label in labels and labels[m.label] != m
    ]
    made, then = ExperimentDir(one.path).versions, ExperimentDir(other.path).versions
    found += [f"version of {k}" for k in made if k in then and made[k] != then[k]]
    return tuple(found)


def _is_fork(experiment: Experiment) -> bool:
    """Whether an experiment continues a run of another one."""
    runs = [run for run in experiment.runs if run.role == "transfer"]
    return len(runs) == 1 and "fork_of" in read_provenance(runs[0])


def _pool(members: Sequence[Experiment]) -> Pool:
    """Make one of experiments that fit together."""
    first = members[0]
    if len(members) == 1:
        return Pool(first.name, (first,), first.runs, first.config)
    name = pool_name([m.name for m in members])
    kept, notes = _once(members)
    config = merged_config(members, proposed(name) or "pool")
    place = {run.name: i for i, run in enumerate(config.runs())}
    runs = sorted(kept, key=lambda run: place.get(run.name, len(place)))
    seeds, targets = sorted({r.seed for r in runs}), {r.target for r in runs if _is_transfer(r)}
    said = (
        f"{', '.join(m.name for m in members)} differ only in what they vary and count as one "
        f"experiment: {_count(len(seeds), 'seed')}, {_count(len(targets), 'target')}, "
        f"{_count(len({r.method for r in runs if _is_transfer(r)}), 'method')}."
    )
    pooled = tuple(replace(run, experiment=name) for run in runs)
    return Pool(name, tuple(members), pooled, config, (said, *notes, *_banks(members, pooled)))


def _told_apart(pools: Sequence[Pool]) -> Iterator[Pool]:
    """Give pools of one name that of their folder too: rows and runs are told apart by names."""
    places = [one.members[0].path.resolve().parent for one in pools]
    names = Counter(one.name for one in pools)
    folders = Counter((one.name, place.name) for one, place in zip(pools, places, strict=True))
    for one, place in zip(pools, places, strict=True):
        if names[one.name] == 1:
            yield one
            continue
        alone = folders[one.name, place.name] == 1
        name = f"{one.name} ({place.name if alone else place})"
        yield replace(one, name=name, runs=tuple(replace(r, experiment=name) for r in one.runs))


def pool_name(names: Sequence[str]) -> str:
    """Return a short name for experiments that are one."""
    if len(names) <= SHOWN:
        return "+".join(names)
    return f"{names[0]}+…+{names[-1]} ({len(names)})"


def merged_config(members: Sequence[Experiment], name: str) -> ExperimentConfig:
    """Return the configuration that has the seeds, targets and methods of all members.

    Args:
        members: of one pool.
        name: of the configuration.
    """
    configs = [m.config for m in members if m.config is not None]
    told = {c.hypothesis for c in configs if c.hypothesis.declared}
    return configs[0].model_copy(
        update={
            "name": name,
            "seeds": tuple(sorted({seed for c in configs for seed in c.seeds})),
            "seeds_of": {},
            "targets": tuple(dict.fromkeys(t for c in configs for t in c.targets)),
            "methods": tuple({m.label: m for c in configs for m in c.methods}.values()),
            "hypothesis": next(iter(told)) if len(told) == 1 else HypothesisConfig(),
            "notes": " ".join(dict.fromkeys(c.notes for c in configs if c.notes)),
        }
    )


# -- the same run twice --------------------------------------------------------------------


def _is_transfer(run: Run) -> bool:
    return run.role == "transfer" and run.problem is None


def _once(members: Sequence[Experiment]) -> tuple[list[Run], list[str]]:
    """Return every run once, and what was left out.

    Raises:
        DataError: the same seed, method and target with different results.
    """
    kept: dict[tuple[Any, ...], Run] = {}
    twice: list[str] = []
    against: list[str] = []
    for run in (run for member in members for run in member.runs):
        key = (run.role, run.target, run.method, run.seed) if _is_transfer(run) else run.name
        place = key if isinstance(key, tuple) else (run.role, key)
        other = kept.setdefault(place, run)
        if other is run:
            continue
        why = _conflict(other, run) if _is_transfer(run) else ""
        if why:
            against.append(why)
        if _further(run) > _further(other):
            kept[place] = run
        if _is_transfer(run):
            twice.append(f"{_full(other)} and {_full(run)}")
    if against:
        more = f" (and {len(against) - 3} more pairs)" if len(against) > 3 else ""
        raise DataError(
            f"The same seed, method and target with different results: {'; '.join(against[:3])}"
            f"{more}. They can neither count as one run nor as two seeds; leave out the experiment "
            f"that you do not mean. {KEPT_APART}"
        )
    said = []
    if twice:
        listed = ", ".join(twice[:3]) + (", …" if len(twice) > 3 else "")
        said.append(f"{_count(len(twice), 'run')} there twice, counted once ({listed}).")
    return list(kept.values()), said


def _full(run: Run) -> str:
    return f"{run.path.parent.name}/{run.name}"


def _further(run: Run) -> tuple[bool, int]:
    return run.result is not None, run.step


def _conflict(one: Run, other: Run) -> str:
    """Return how two runs that should be the same differ; empty: they do not, or are not done."""
    a, b = one.result, other.result
    if a is None or b is None or _numbers(a) == _numbers(b):
        return ""
    shown = ["–" if r.test_score is None else in_percent(r.test_score, 2) for r in (a, b)]
    what = f"test {shown[0]} and {shown[1]} %"
    if shown[0] == shown[1]:
        what = f"best step {a.best_step:,} and {b.best_step:,}, equal test scores as shown"
    return f"'{_full(one)}' and '{_full(other)}' ({what})"


def _numbers(result: RunResult) -> tuple[Any, ...]:
    return (
        *(result.best_step, result.validation_score, result.test_score, result.steps),
        tuple(sorted(result.metrics.items())),
    )


# -- where sources come from ---------------------------------------------------------------


def _banks(members: Sequence[Experiment], runs: Sequence[Run]) -> Iterator[str]:
    """Say where runs of one seed start from other source prompts, and which banks there are."""
    found: dict[tuple[int, str], dict[str, list[str]]] = {}
    for run in runs:
        for source, digest in _sources_of(run).items():
            whose = found.setdefault((run.seed, source), {}).setdefault(digest, [])
            if run.path.parent.name not in whose:
                whose.append(run.path.parent.name)
    other = {place: digests for place, digests in found.items() if len(digests) > 1}
    for seed in sorted({seed for seed, _ in other}):
        here = {source: digests for (s, source), digests in other.items() if s == seed}
        names = ", ".join(here)
        sides = {" and ".join(who) for digests in here.values() for who in digests.values()}
        yield (
            f"Seed {seed}: the prompts of {names} are not the same in {' / '.join(sorted(sides))}; "
            "they come from different prompt banks, so these runs do not start from the same "
            "sources."
        )
    roots = {m.name: _bank_of(m) for m in members}
    known = {root for root in roots.values() if root}
    if len(known) > 1:
        listed = ", ".join(f"{name}: '{root or 'not recorded'}'" for name, root in roots.items())
        yield f"Sources were taken from {len(known)} prompt banks ({listed})."


def _sources_of(run: Run) -> Mapping[str, str]:
    """Return a digest of every source vector that a run started from; none before its start."""
    if not _is_transfer(run) or not run.sources:
        return {}
    try:
        vectors = read_prompts(run, "initial").get("source_vectors")
    except StoreError:
        return {}
    if vectors is None or len(vectors) != len(run.sources):
        return {}
    return {s: array_digest(np.asarray(v)) for s, v in zip(run.sources, vectors, strict=True)}


def _bank_of(experiment: Experiment) -> str:
    run = next((r for r in experiment.runs if _is_transfer(r)), None)
    return "" if run is None else str(read_provenance(run).get("prompt_bank") or "")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
