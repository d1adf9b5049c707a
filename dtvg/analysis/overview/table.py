"""Runs as rows of a table: what can be shown, filtered and sorted by, one by one or by seeds.

A row's fields are those of its status file and, by dotted path (`optim.lr_prompt`), any
setting. Settings come from the experiment's configuration, expanded once, so that 1,000 runs
cost one file.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dtvg.config import RunConfig, settings_path
from dtvg.methods.specs import METHODS
from dtvg.methods.specs.rates import RATE_FIELDS
from dtvg.records import RunState
from dtvg.store.health import health_of
from dtvg.store.labels import NONE, Labels, read_labels
from dtvg.store.reader import Experiment, Run, run_configs
from dtvg.store.tables import Part, cover, parts

TEXTS = ("experiment", "run", "state", "method", "label", "target", "role")
"""Fields with few known values: a filter tells a misspelt one."""
NUMBERS = ("seed", "step", "steps", "progress", "loss", "validation", "test", "left", "memory")
FIELDS = (*TEXTS, *NUMBERS, "health", "tag", "note", "device", "sources", "started", "message")
_OWN = {"experiment", "name", "role", "sources", "target", "seed"}
"""Top-level settings that are fields already."""
_MISSING = object()


@dataclass(frozen=True, eq=False)
class RunRow:
    """One run as a row."""

    run: Run
    known: RunConfig | None = None
    """Its settings, where the experiment's configuration tells them."""
    labels: Labels = NONE
    shared: Labels = NONE
    """The experiment's own tags and note."""

    @property
    def key(self) -> str:
        """How the run is named everywhere: experiment/run."""
        return f"{self.run.experiment}/{self.run.name}"

    @property
    def tags(self) -> tuple[str, ...]:
        """The run's tags, then the experiment's."""
        return tuple(dict.fromkeys((*self.labels.tags, *self.shared.tags)))

    @property
    def config(self) -> RunConfig | None:
        """The run's settings; read from its folder only where the experiment does not tell."""
        return self.known or self.run.config

    @property
    def text(self) -> str:
        """What a bare word is looked for in."""
        run = self.run
        found = (run.experiment, run.name, run.state.value, run.message, run.problem or "")
        return " ".join((*found, *self.tags, self.labels.note, self.shared.note)).lower()

    @property
    def progress(self) -> float:
        """Share of steps done, 0..1."""
        done, total = steps_of([self.run])
        return done / total if total else 0.0

    @property
    def left(self) -> float | None:
        """Seconds left at the run's own pace so far; None unless it trains."""
        run = self.run
        if run.state is not RunState.RUNNING or not run.step or run.step >= run.total_steps:
            return None
        spent = run.seconds
        if spent is None and run.started_at and run.updated_at:
            spent = run.updated_at - run.started_at
        return None if not spent else spent / run.step * (run.total_steps - run.step)

    @property
    def memory(self) -> float | None:
        """Peak device memory in GiB as last logged."""
        return self.run.memory_gib or newest(self.run, "device_mem_gib")

    @property
    def health(self) -> tuple[str, ...]:
        """What is wrong with its training, in a few words each."""
        return tuple(mark.kind for mark in health_of(self.run))

    @property
    def device(self) -> str:
        """Where it trains or trained, as far as is known."""
        return self.run.device or str(self.value("device.name") or "")

    def value(self, key: str) -> Any:
        """Return a field or a setting; None where the run has none."""
        made = _FROM_ROW.get(key)
        if made is not None:
            return made(self)
        value = settings_path.get(self.config, key)
        return value if isinstance(value, int | float | str | tuple | None) else str(value)

    def has(self, key: str) -> bool:
        """Whether a setting is one of this run's method at all, set or not."""
        return settings_path.get(self.config, key, _MISSING) is not _MISSING


_FROM_ROW: dict[str, Any] = {
    "experiment": lambda r: r.run.experiment,
    "run": lambda r: r.run.name,
    "state": lambda r: r.run.state.value,
    "method": lambda r: (r.run.method, r.run.method_name),
    "label": lambda r: r.run.method,
    "target": lambda r: r.run.target,
    "role": lambda r: r.run.role,
    "seed": lambda r: r.run.seed,
    "step": lambda r: r.run.step,
    "steps": lambda r: r.run.total_steps,
    "progress": lambda r: r.progress,
    "loss": lambda r: r.run.loss,
    "validation": lambda r: r.run.score,
    "test": lambda r: r.run.test_score,
    "left": lambda r: r.left,
    "memory": lambda r: r.memory,
    "device": lambda r: r.device,
    "health": lambda r: r.health,
    "tag": lambda r: r.tags,
    "note": lambda r: " ".join(filter(None, (r.labels.note, r.shared.note))),
    "sources": lambda r: r.run.sources,
    "started": lambda r: r.run.started_at,
    "message": lambda r: r.run.problem or r.run.message,
}


@functools.cache
def settings() -> tuple[str, ...]:
    """Return the dotted path of every setting a run has."""
    shared = [leaf.path for leaf in settings_path.leaves(RunConfig)]
    of_methods = [
        leaf.path
        for name in METHODS
        for leaf in settings_path.method_leaves(name, "method")
        if leaf.name not in RATE_FIELDS  # a run's rates stand in optim, whoever gave them
    ]
    own = {*_OWN, "method"}
    return (*(path for path in shared if path not in own), *dict.fromkeys(of_methods))


def names() -> tuple[str, ...]:
    """Return everything one can filter by or show."""
    return (*FIELDS, *settings())


def run_rows(experiments: Sequence[Experiment], everything: bool = False) -> list[RunRow]:
    """Return a row per transfer run, or per run.

    Args:
        experiments: as `list_experiments` returns them.
        everything: Stage I runs too.
    """
    rows = []
    for experiment in experiments:
        known = run_configs(experiment)
        shared = read_labels(experiment.path)
        rows += [
            RunRow(run, known.get(run.name), read_labels(run.path), shared)
            for run in experiment.runs
            if everything or run.role == "transfer" or run.problem
        ]
    return rows


def known_words(rows: Sequence[RunRow]) -> dict[str, set[str]]:
    """Return the values that occur in the fields with few of them."""
    found: dict[str, set[str]] = {name: set() for name in TEXTS}
    for row in rows:
        for name in TEXTS:
            value = row.value(name)
            found[name].update(value if isinstance(value, tuple) else (value,))
    found["state"] = {state.value for state in RunState}
    return found


class _Valued(Protocol):
    """What has a value for each field and setting."""

    def value(self, key: str) -> Any:
        """Return it; None where there is none."""


V = TypeVar("V", bound=_Valued)


def ordered(rows: Sequence[V], key: str, falling: bool) -> list[V]:
    """Return rows, groups or experiments sorted by a field; those without a value last, however
    one sorts."""

    def comparable(row: V) -> Any:
        value = row.value(key)
        value = value[0] if key == "method" and value is not None else value
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return _MISSING
        if isinstance(value, int | float):
            return (0, float(value), "")
        return (1, 0.0, str(value).lower())

    keyed = [(comparable(row), row) for row in rows]
    there = [pair for pair in keyed if pair[0] is not _MISSING]
    there.sort(key=lambda pair: pair[0], reverse=falling)
    return [row for _, row in there] + [row for value, row in keyed if value is _MISSING]


MOST_CURVES = 20
"""Seeds whose curves are averaged for a cell of the table."""


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that differ in nothing but their seed."""

    rows: tuple[RunRow, ...]

    @property
    def first(self) -> RunRow:
        """Stands for what all have in common."""
        return self.rows[0]

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, in order."""
        return tuple(sorted(r.run.seed for r in self.rows))

    def over_seeds(self, key: str) -> tuple[float | None, float | None, int]:
        """Return mean, standard deviation (n − 1; None below two) and count of a number."""
        found = [v for v in (r.value(key) for r in self.rows) if isinstance(v, int | float)]
        count = len(found)
        if not count:
            return None, None, 0
        mean = sum(found) / count
        if count < 2:
            return mean, None, count
        return mean, math.sqrt(sum((v - mean) ** 2 for v in found) / (count - 1)), count

    @property
    def left(self) -> float | None:
        """Seconds until the slowest training one ends."""
        return max((r.left for r in self.rows if r.left is not None), default=None)

    def value(self, key: str) -> Any:
        """Return what the group is sorted by: the mean of a number, else what its first run has."""
        if key == "left":
            return self.left
        mean, _, count = self.over_seeds(key)
        return mean if count else self.first.value(key)

    def states(self) -> str:
        """Return how many are in which state, e.g. `2 finished, 1 running`."""
        return states_of(r.run for r in self.rows)

    def curve(self, quantity: Quantity) -> tuple[float, ...]:
        """Return the mean of the curves of the first seeds at the same steps, as far as all of
        them go: those of one are the places, between two points of another it is interpolated."""
        found = (_points(r.run, quantity, POINTS) for r in self.rows[:MOST_CURVES])
        curves = [np.array(curve) for curve in found if curve[0]]
        if not curves:
            return ()
        steps = min((c[0] for c in curves), key=lambda s: s[-1])
        steps = steps[steps >= max(c[0][0] for c in curves)]
        return tuple(np.mean([np.interp(steps, *c) for c in curves], axis=0).tolist())


def steps_of(runs: Iterable[Run]) -> tuple[int, int]:
    """Return how many steps runs have done, and of how many.

    A finished run has done all of its own, also where `optim.patience` ended it early.
    """
    ended = [(run, None if run.result is None else run.result.steps) for run in runs]
    done = sum(run.step if steps is None else steps for run, steps in ended)
    return done, sum(run.total_steps if steps is None else steps for run, steps in ended)


def states_of(runs: Iterable[Run]) -> str:
    """Return how many runs are in which state."""
    count: dict[str, int] = {}
    for run in runs:
        count[run.state.value] = count.get(run.state.value, 0) + 1
    return ", ".join(f"{n} {state}" for state, n in count.items())


def grouped(rows: Sequence[RunRow]) -> list[Group]:
    """Put runs together that differ in nothing but the seed, in order of appearance.

    Runs of one experiment with one method and target share their settings, unless a run has
    settings of its own (a fork); across experiments nothing is put together.
    """
    found: dict[tuple[Any, ...], list[RunRow]] = {}
    for row in rows:
        run = row.run
        own = row.known is None and run.problem is None
        found.setdefault(
            (run.experiment, run.target, run.method, run.role, _without_seed(row) if own else ""),
            [],
        ).append(row)
    return [Group(tuple(group)) for group in found.values()]


def _without_seed(row: RunRow) -> str:
    """Return a run's settings as text, but for its name and seed."""
    config = row.config
    if config is None:
        return row.run.name
    return config.model_dump_json(exclude={"name", "seed"})


def health_words(rows: Sequence[RunRow]) -> list[str]:
    """Return what is wrong with the training of several runs, and with how many of them."""
    count: dict[str, int] = {}
    for kind in (kind for row in rows for kind in row.health):
        count[kind] = count.get(kind, 0) + 1
    return [kind if len(rows) == 1 else f"{kind} ({n})" for kind, n in count.items()]


@dataclass(frozen=True)
class ExperimentRow:
    """One experiment as a row."""

    experiment: Experiment
    rows: tuple[RunRow, ...]
    labels: Labels = field(default=NONE)

    @property
    def progress(self) -> float:
        """Share of all transfer runs' steps that are done."""
        done, total = steps_of(r.run for r in self.rows)
        return done / total if total else 0.0

    @property
    def started(self) -> float | None:
        """When its first run began."""
        return min((r.run.started_at for r in self.rows if r.run.started_at), default=None)

    @property
    def left(self) -> float | None:
        """Seconds until its slowest training run ends; waiting runs are not counted."""
        return max((r.left for r in self.rows if r.left is not None), default=None)

    def value(self, key: str) -> Any:
        """Return what the experiment is sorted by: its own progress, time left, start or name,
        else what the first of its rows has."""
        own: dict[str, Any] = {
            "experiment": self.experiment.name,
            "progress": self.progress,
            "left": self.left,
            "started": self.started,
        }
        return own[key] if key in own else self.rows[0].value(key) if self.rows else None


def experiment_rows(
    experiments: Sequence[Experiment], rows: Sequence[RunRow]
) -> list[ExperimentRow]:
    """Return a row per experiment that has any of the given rows, or a problem of its own."""
    by_name: dict[str, list[RunRow]] = {}
    for row in rows:
        by_name.setdefault(str(row.run.path.parent), []).append(row)
    return [
        ExperimentRow(e, tuple(by_name.get(str(e.path), ())), read_labels(e.path))
        for e in experiments
        if e.problem or str(e.path) in by_name
    ]


def age(moment: float | None) -> str:
    """Return a moment as date and time of day; nothing where it is not known."""
    return "" if moment is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))


POINTS = 40
Quantity = Literal["score", "loss"]
Floats = npt.NDArray[np.float64]
_Curve = tuple[tuple[float, ...], tuple[float, ...]]
"""Steps, and the value at each."""


def spark(run: Run, quantity: Quantity, points: int = POINTS) -> tuple[float, ...]:
    """Return a run's curve in a few points; empty where there is none or it cannot be read.

    Args:
        run: whose.
        quantity: `score` (validation, 0..1) or `loss` (means of stretches of steps).
        points: the most points to return.
    """
    return _points(run, quantity, points)[1]


def _points(run: Run, quantity: Quantity, points: int) -> _Curve:
    """Return the steps of the points of `spark`, and their values."""
    table = "evals" if quantity == "score" else "steps"
    found = tuple(cover(parts(run.directory.table_dir(table))))
    return _read(found, _written(found), quantity, run.target, points) if found else ((), ())


def newest(run: Run, column: str) -> float | None:
    """Return the newest logged value of a column of `steps`; None where there is none."""
    found = tuple(cover(parts(run.directory.table_dir("steps"))))
    return _last(found[-1], _written(found), column) if found else None


def _written(found: tuple[Part, ...]) -> int:
    """When the newest part was written: a run trained again has parts of the same names."""
    try:
        return found[-1].path.stat().st_mtime_ns
    except OSError:
        return 0


@functools.lru_cache(maxsize=20_000)
def _read(
    found: tuple[Part, ...], written: int, quantity: Quantity, target: str, points: int
) -> _Curve:
    try:
        if quantity == "loss":
            data = pa.concat_tables([pq.ParquetFile(p.path).read(["step", "loss"]) for p in found])
            steps, values = _means(*_columns(data, "loss"), points)
        else:
            steps, values = _thinned(*_scores(found, target), points)
    except (OSError, pa.ArrowException, KeyError):
        return (), ()  # it vanished by compaction and comes back with the next look, or is foreign
    return tuple(steps.tolist()), tuple(values.tolist())


def _columns(data: pa.Table, name: str) -> tuple[Floats, Floats]:
    """Return the steps and a column of a table."""
    return data["step"].to_numpy().astype(np.float64), data[name].to_numpy().astype(np.float64)


def _scores(found: tuple[Part, ...], target: str) -> tuple[Floats, Floats]:
    """Return steps and validation scores on the run's own target, in order of steps."""
    columns = ["step", "split", "metric", "task", "value"]
    data = pa.concat_tables([pq.ParquetFile(p.path).read(columns) for p in found])
    kept = pc.and_(pc.equal(data["split"], "validation"), pc.equal(data["metric"], "score"))
    return _columns(data.filter(pc.and_(kept, pc.equal(data["task"], target))), "value")


@functools.lru_cache(maxsize=20_000)
def _last(part: Part, written: int, column: str) -> float | None:
    try:
        values = pq.ParquetFile(part.path).read([column]).column(0)
    except (OSError, pa.ArrowException, KeyError):
        return None
    value = values[-1].as_py() if len(values) else None
    return None if value is None else float(value)


def _means(steps: Floats, values: Floats, points: int) -> tuple[Floats, Floats]:
    """Return means of equal stretches; non-finite values are passed over."""
    known = np.isfinite(values)
    if len(values) <= points:
        return steps[known], values[known]
    pieces = [p[known[p]] for p in np.array_split(np.arange(len(values)), points)]
    pieces = [p for p in pieces if len(p)]
    return np.array([steps[p].mean() for p in pieces]), np.array([values[p].mean() for p in pieces])


def _thinned(steps: Floats, values: Floats, points: int) -> tuple[Floats, Floats]:
    """Return at most that many values, first and last among them."""
    if len(values) <= points:
        return steps, values
    kept = np.linspace(0, len(values) - 1, points).round().astype(np.int64)
    return steps[kept], values[kept]
