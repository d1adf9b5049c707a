"""Loss, score and any logged column over steps, examples or time, with bands over seeds.

Lone runs are thinned to extremes and newest value; several runs of a series are averaged in
common buckets. Targets are averaged within a seed first, so that the band is a spread over
seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dtvg.analysis.downsample import MAX_POINTS, thin_index
from dtvg.analysis.unread import Unread
from dtvg.errors import DataError, unknown
from dtvg.records import STEPS
from dtvg.store.reader import Run, read_table

Floats = npt.NDArray[np.float64]
X = Literal["step", "examples", "seconds"]
GroupBy = Literal["run", "method", "target", "method_target", "seed"]
Band = Literal["std", "range", "none"]

STEP_QUANTITIES: tuple[str, ...] = tuple(
    column.name for column in STEPS if column.name not in ("step", "gram")
)
_BUCKETS = 1000
"""Common buckets of an averaged series: mean, lower and upper edge make 3,000 points."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One trace: y over x, with lower and upper edge of the band (equal to y where no band)."""

    name: str
    method: str
    """Label of the method, or the series' name where it is not one method's."""
    x: Floats
    y: Floats
    lower: Floats
    upper: Floats
    n_runs: npt.NDArray[np.int64]
    """Per point: runs it averages."""
    n_seeds: int
    """Seeds of the series; 1: no band."""


@dataclass(frozen=True, eq=False)
class CurveInfo:
    """Curves of one quantity; `table` holds exactly the plotted points."""

    quantity: str
    split: str
    """validation or test for scores; empty for step columns."""
    x: str
    smooth: float
    band: str
    """std, range or none."""
    curves: tuple[Curve, ...]
    notes: tuple[str, ...]

    @cached_property
    def table(self) -> pd.DataFrame:
        """Long table: `series, <x>, <quantity>, lower, upper, n_runs`."""
        frames = [
            pd.DataFrame(
                {
                    "series": c.name,
                    self.x: c.x,
                    self.quantity: c.y,
                    "lower": c.lower,
                    "upper": c.upper,
                    "n_runs": c.n_runs,
                }
            )
            for c in self.curves
        ]
        columns = ["series", self.x, self.quantity, "lower", "upper", "n_runs"]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


@dataclass(frozen=True, eq=False)
class _Series:
    """One run's values before thinning."""

    run: Run
    step: Floats
    x: Floats
    y: Floats


def curve_info(
    runs: Sequence[Run],
    quantity: str = "loss",
    x: X = "step",
    smooth: float = 0.0,
    bands: bool | Band = True,
    group_by: GroupBy = "method",
    split: str = "validation",
) -> CurveInfo:
    """Read curves of one quantity.

    Args:
        runs: runs to show; those without rows are left out and named in the notes.
        quantity: a column of `steps` ("loss", "grad_norm", ...) or an evaluated metric
            ("score", "accuracy", ...).
        x: optimiser step, examples trained on so far, or seconds trained so far.
        smooth: 0 ≤ smooth < 1, weight of the past in an exponential mean over rows, started at
            the first value without bias; 0 shows the values as they are.
        bands: True or "std" for mean ± standard deviation over seeds, "range" for lowest to
            highest, False or "none" for none.
        group_by: which runs make one curve; several targets in one curve are averaged within
            each seed first. Runs of different experiments never share a curve.
        split: which evaluations count for a metric.

    Raises:
        DataError: an unknown quantity, x or grouping, or smooth outside [0, 1).
    """
    _check(x, smooth, group_by)
    band = bands if isinstance(bands, str) else ("std" if bands else "none")
    of_steps = quantity in STEP_QUANTITIES
    unread = Unread()
    read = [unread.tried(run, lambda one: _read(one, quantity, split, x)) for run in runs]
    empty = [
        run.name
        for run, series in zip(runs, read, strict=True)
        if series is None and run not in unread
    ]
    found = [series for series in read if series is not None]
    if runs and not found and not of_steps:
        _refuse_unknown([run for run in runs if run not in unread], quantity, split)
    several = len({series.run.experiment for series in found}) > 1
    groups: dict[str, list[_Series]] = {}
    for series in found:
        name = _series_name(series.run, group_by)
        name = f"{series.run.experiment}: {name}" if several else name
        groups.setdefault(name, []).append(series)
    curves = tuple(_curve(name, members, smooth, band) for name, members in groups.items())
    notes = (*_notes(quantity, empty, groups, curves, band), *filter(None, (unread.note,)))
    return CurveInfo(quantity, "" if of_steps else split, x, smooth, band, curves, notes)


def _notes(
    quantity: str,
    empty: list[str],
    groups: dict[str, list[_Series]],
    curves: tuple[Curve, ...],
    band: str,
) -> tuple[str, ...]:
    """Say what was left out, what the band is, and where seeds average different targets."""
    notes = []
    if empty:
        shown = ", ".join(empty[:5]) + (f" and {len(empty) - 5} more" if len(empty) > 5 else "")
        notes.append(f"Without a value of '{quantity}' so far: {shown}.")
    if any(c.n_seeds > 1 for c in curves) and band != "none":
        what = "mean ± standard deviation" if band == "std" else "mean, lowest and highest"
        notes.append(f"Bands show {what} over seeds.")
    for name, members in groups.items():
        targets: dict[int, set[str]] = {}
        for m in members:
            targets.setdefault(m.run.seed, set()).add(m.run.target)
        if len({frozenset(t) for t in targets.values()}) > 1:
            notes.append(f"The seeds of '{name}' do not cover the same targets yet.")
    return tuple(notes)


def smoothed(values: Floats, weight: float) -> Floats:
    """Return the exponential mean of a series, unbiased at its start; NaN are passed over."""
    if weight <= 0 or not len(values):
        return values
    series = pd.Series(values)
    mean = series.ewm(alpha=1 - weight, adjust=True, ignore_na=True).mean()
    return np.asarray(mean.where(series.notna()), dtype=np.float64)


def _check(x: str, smooth: float, group_by: str) -> None:
    if x not in get_args(X):
        raise DataError(unknown("x axis", x, get_args(X)))
    if group_by not in get_args(GroupBy):
        raise DataError(unknown("grouping of curves", group_by, get_args(GroupBy)))
    if not 0 <= smooth < 1:
        raise DataError(f"Smoothing is a weight from 0 up to, but not including, 1; got {smooth}.")


def _refuse_unknown(runs: Sequence[Run], quantity: str, split: str) -> None:
    """Refuse a metric that no run evaluates, once there are evaluations at all."""
    seen: set[str] = set()
    for run in runs:
        metric = read_table(run, "evals", ["metric"]).column("metric")
        seen |= set(metric.unique().to_pylist())
    if seen and quantity not in seen:
        raise DataError(unknown("quantity", quantity, {*STEP_QUANTITIES, *seen}))


def _series_name(run: Run, group_by: str) -> str:
    return {
        "run": run.name,
        "method": run.method,
        "target": run.target,
        "method_target": f"{run.method} · {run.target}",
        "seed": f"seed {run.seed}",
    }[group_by]


def _read(run: Run, quantity: str, split: str, x: str) -> _Series | None:
    if quantity in STEP_QUANTITIES:
        return _read_steps(run, quantity, x)
    return _read_evals(run, quantity, split, x)


def _read_steps(run: Run, quantity: str, x: str) -> _Series | None:
    columns = list(dict.fromkeys(("step", x, quantity)))
    rows = read_table(run, "steps", columns)
    if not rows.num_rows:
        return None
    step = rows.column("step").to_numpy().astype(np.float64)
    along = rows.column(x).to_numpy().astype(np.float64)
    if x == "examples":
        along = _summed(along, rows)
    y = rows.column(quantity).to_numpy().astype(np.float64)
    return None if np.isnan(y).all() else _Series(run, step, along, y)


def _summed(values: Floats, rows: pa.Table) -> Floats:
    """Return running sums; a row of a thinned log stands for the steps since the one before."""
    return np.cumsum(values * np.diff(rows.column("step").to_numpy(), prepend=0))


def _read_evals(run: Run, metric: str, split: str, x: str) -> _Series | None:
    rows = read_table(run, "evals", ["step", "split", "task", "metric", "value"])
    wanted = pc.and_(pc.equal(rows["split"], split), pc.equal(rows["metric"], metric))
    rows = rows.filter(wanted)
    own = pc.equal(rows["task"], run.target)
    if pc.any(own).as_py():
        rows = rows.filter(own)
    if not rows.num_rows:
        return None
    newest = dict(zip(rows["step"].to_pylist(), rows["value"].to_pylist(), strict=True))
    steps = np.array(sorted(newest), dtype=np.float64)
    values = np.array([newest[step] for step in sorted(newest)], dtype=np.float64)
    along = _along(run, steps, x)
    return None if along is None else _Series(run, steps, along, values)


def _along(run: Run, steps: Floats, x: str) -> Floats | None:
    """Return where evaluations made after that many steps lie on the x axis; None: not logged.

    After the last row of a thinned log it goes on at the pace so far.
    """
    if x == "step":
        return steps
    rows = read_table(run, "steps", ["step", x])
    if not rows.num_rows and steps.any():
        return None
    at = rows.column("step").to_numpy()
    values = rows.column(x).to_numpy().astype(np.float64)
    if x == "examples":
        values = _summed(values, rows)
    along = np.interp(steps, np.concatenate([[0], at]), np.concatenate([[0.0], values]))
    if not len(at):
        return along
    return np.where(steps > at[-1], values[-1] / at[-1] * steps, along)


def _curve(name: str, members: list[_Series], smooth: float, band: str) -> Curve:
    label = members[0].run.method
    if any(m.run.method != label for m in members):
        label = name
    if len(members) == 1:
        y = smoothed(members[0].y, smooth)
        kept = thin_index(y, MAX_POINTS)
        x, y = members[0].x[kept], y[kept]
        return Curve(name, label, x, y, y, y, np.ones(len(y), dtype=np.int64), 1)
    x, by_seed, n_runs = _average_targets(members, smooth)
    present = ~np.isnan(by_seed)
    count = present.sum(axis=0)
    kept = count > 0
    by_seed, x, n_runs, count = by_seed[:, kept], x[kept], n_runs[kept], count[kept]
    mean = np.nanmean(by_seed, axis=0)
    lower, upper = mean, mean
    if band == "range":
        lower, upper = np.nanmin(by_seed, axis=0), np.nanmax(by_seed, axis=0)
    elif band == "std":
        squares = np.nansum((by_seed - mean) ** 2, axis=0)
        std = np.sqrt(squares / np.maximum(count - 1, 1))
        lower, upper = mean - std, mean + std
    return Curve(name, label, x, mean, lower, upper, n_runs, len(by_seed))


def _average_targets(
    members: list[_Series], smooth: float
) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    """Put runs on common steps, or buckets of steps, and average the runs of a seed.

    Returns:
        mean x `[B]`, values `[seeds B]` (NaN where a seed lacks one of its runs' values), and
        the number of runs per point `[B]`.
    """
    edges = _edges([m.step for m in members])
    size = len(edges) - 1
    y = np.full((len(members), size), np.nan)
    x = np.full((len(members), size), np.nan)
    for i, m in enumerate(members):
        y[i], x[i] = _bucket_means(m, smoothed(m.y, smooth), edges)
    seeds, own = np.unique([m.run.seed for m in members], return_inverse=True)
    by_seed = np.stack([y[own == place].mean(axis=0) for place in range(len(seeds))])
    used = ~np.isnan(by_seed)[own]  # a run whose seed lacks another's value is in no mean
    count = used.sum(axis=0)
    return np.where(used, x, 0.0).sum(axis=0) / np.maximum(count, 1), by_seed, count


def _edges(steps: list[Floats]) -> Floats:
    """Return edges of buckets of steps: one bucket a step where there are few."""
    places = np.unique(np.concatenate(steps))
    if len(places) > _BUCKETS:
        places = places[np.linspace(0, len(places) - 1, _BUCKETS + 1).round().astype(np.int64)]
        return np.append(places[:-1], np.inf)
    return np.append(places, np.inf)


def _bucket_means(series: _Series, y: Floats, edges: Floats) -> tuple[Floats, Floats]:
    """Return mean y and mean x per bucket; NaN where a bucket holds no value."""
    size = len(edges) - 1
    known = ~np.isnan(y)
    bucket = np.searchsorted(edges, series.step[known], side="right") - 1
    count = np.bincount(bucket, minlength=size).astype(np.float64)
    count[count == 0] = np.nan
    mean_y = np.bincount(bucket, weights=y[known], minlength=size) / count
    return mean_y, np.bincount(bucket, weights=series.x[known], minlength=size) / count
