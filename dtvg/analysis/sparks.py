"""Small curves for a table: a run's validation score and loss in a few dozen points.

Read straight from the part files, as little as will do, and kept until these change. Must not
import torch, plotly or streamlit.
"""

from __future__ import annotations

import functools
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dtvg.store.reader import Run
from dtvg.store.tables import Part, cover, parts

POINTS = 40
Quantity = Literal["score", "loss"]
Floats = npt.NDArray[np.float64]


def spark(run: Run, quantity: Quantity, points: int = POINTS) -> tuple[float, ...]:
    """Return a run's curve in a few points; empty where there is none or it cannot be read.

    Args:
        run: whose.
        quantity: `score` (validation, 0..1) or `loss` (means of stretches of steps).
        points: at most so many.
    """
    table = "evals" if quantity == "score" else "steps"
    found = tuple(cover(parts(run.directory.table_dir(table))))
    return _read(found, _written(found), quantity, run.target, points) if found else ()


def newest(run: Run, column: str) -> float | None:
    """Return the newest logged value of a column of `steps`; None where there is none."""
    found = tuple(cover(parts(run.directory.table_dir("steps"))))
    return _last(found[-1], _written(found), column) if found else None


def _written(found: tuple[Part, ...]) -> int:
    """When the newest part was written: a run trained anew has parts of the same names."""
    try:
        return found[-1].path.stat().st_mtime_ns
    except OSError:
        return 0


@functools.lru_cache(maxsize=20_000)
def _read(
    found: tuple[Part, ...], written: int, quantity: Quantity, target: str, points: int
) -> tuple[float, ...]:
    try:
        if quantity == "loss":
            data = [pq.ParquetFile(p.path).read(["loss"]) for p in found]
            values = np.concatenate([d.column(0).to_numpy() for d in data]).astype(np.float64)
            return tuple(_means(values, points))
        return tuple(_thinned(_scores(found, target), points))
    except (OSError, pa.ArrowException, KeyError):
        return ()  # it vanished by compaction and comes back with the next look, or is foreign


def _scores(found: tuple[Part, ...], target: str) -> Floats:
    """Return the validation scores on the run's own target, in order of steps."""
    columns = ["split", "metric", "task", "value"]
    data = pa.concat_tables([pq.ParquetFile(p.path).read(columns) for p in found])
    kept = pc.and_(pc.equal(data["split"], "validation"), pc.equal(data["metric"], "score"))
    data = data.filter(pc.and_(kept, pc.equal(data["task"], target)))
    return np.asarray(data["value"].to_numpy(), dtype=np.float64)


@functools.lru_cache(maxsize=20_000)
def _last(part: Part, written: int, column: str) -> float | None:
    try:
        values = pq.ParquetFile(part.path).read([column]).column(0)
    except (OSError, pa.ArrowException, KeyError):
        return None
    value = values[-1].as_py() if len(values) else None
    return None if value is None else float(value)


def _means(values: Floats, points: int) -> Floats:
    """Return means of equal stretches; non-finite values are passed over."""
    if len(values) <= points:
        return values[np.isfinite(values)]
    pieces = np.array_split(values, points)
    means = [p[np.isfinite(p)].mean() for p in pieces if np.isfinite(p).any()]
    return np.array(means)


def _thinned(values: Floats, points: int) -> Floats:
    """Return at most so many values, first and last among them."""
    if len(values) <= points:
        return values
    return values[np.linspace(0, len(values) - 1, points).round().astype(np.int64)]
