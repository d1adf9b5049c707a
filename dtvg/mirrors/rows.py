"""From a run's committed rows to what trackers take, a stretch of steps at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime

import pyarrow as pa

from dtvg.config.settings_path import flat
from dtvg.mirrors.adapter import Facts, Row, Setting
from dtvg.store.layout import ExperimentDir
from dtvg.store.reader import Run, read_provenance, read_table

STEP_NAMES = {
    "loss": "train/loss",
    "grad_norm": "train/grad_norm",
    "lr_prompt": "rate/prompt",
    "lr_scale": "rate/scale",
    "lr_scale_target": "rate/scale_target",
    "step_ms": "device/step_ms",
    "device_mem_gib": "device/memory_gib",
    "n_candidates": "group/candidates",
    "group_size": "group/size",
    "consistency": "group/consistency",
    "consistency_margin": "group/consistency_margin",
}
"""Column of `steps` → name of the scalar."""
SOURCE_NAMES = ("member", "similarity", "weight")
"""Columns of `sources`; the scalar is `<column>/<source>`."""
ROWS_AT_ONCE = 500
"""Steps that are handed over together."""


def facts_of(run: Run) -> Facts:
    """Return what trackers are told about a run."""
    config = run.config
    values = {} if config is None else flat(config.to_values())
    settings = {key: _plain(value) for key, value in values.items()}
    experiment = ExperimentDir(run.path.parent)
    return Facts(experiment.name, run.name, experiment.mirrors_dir, settings)


def _plain(value: object) -> Setting:
    return value if value is None or isinstance(value, str | int | float) else str(value)


def begun(run: Run) -> float:
    """Return when a run was made, in seconds since 1970."""
    try:
        return datetime.fromisoformat(str(read_provenance(run)["time"])).timestamp()
    except (KeyError, ValueError):
        return run.started_at or 0.0


def step_rows(run: Run, after: int) -> pa.Table:
    """Return the committed rows of `steps` behind a step, without Gram matrices."""
    return read_table(run, "steps", ["step", "seconds", *STEP_NAMES], first=after + 1)


def eval_rows(run: Run, done: int) -> pa.Table:
    """Return the committed rows of `evals` behind the first `done`."""
    return read_table(run, "evals", ["step", "split", "task", "metric", "value"]).slice(done)


def rows_of(
    run: Run, steps: pa.Table, evals: pa.Table, begun_at: float, seconds: float
) -> list[Row]:
    """Return the scalars of some steps and evaluations, one `Row` a step, in order.

    Args:
        run: whose.
        steps: a stretch of `step_rows`.
        evals: a stretch of `eval_rows`.
        begun_at: as `begun` says.
        seconds: that the run had trained before the first of the steps.
    """
    found: dict[int, dict[str, float]] = {}
    times: dict[int, float] = {}
    for row in steps.to_pylist():
        times[row["step"]] = row["seconds"]
        _put(found, row["step"], ((name, row[column]) for column, name in STEP_NAMES.items()))
    if steps.num_rows:
        first, last = steps["step"][0].as_py(), steps["step"][-1].as_py()
        columns = ["step", "source", *SOURCE_NAMES]
        for row in read_table(run, "sources", columns, first, last).to_pylist():
            named = ((f"{column}/{row['source']}", row[column]) for column in SOURCE_NAMES)
            _put(found, row["step"], named)
    for row in evals.to_pylist():
        _put(found, row["step"], [(_eval_name(run, row), row["value"])])
    made = []
    for step in sorted(found):
        seconds = times.get(step, seconds)
        if found[step]:
            made.append(Row(step, begun_at + seconds, found[step]))
    return made


def _put(
    found: dict[int, dict[str, float]], step: int, values: Iterable[tuple[str, float | None]]
) -> None:
    """Add the finite ones of some values to a step."""
    kept = {name: float(v) for name, v in values if v is not None and math.isfinite(v)}
    found.setdefault(step, {}).update(kept)


def _eval_name(run: Run, row: Mapping[str, str]) -> str:
    """Name an evaluation: `test/score`, or `validation/sst2/accuracy` of a task beside others."""
    alone = row["task"] == run.target
    return "/".join([row["split"], *([] if alone else [row["task"]]), row["metric"]])
