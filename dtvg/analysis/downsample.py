"""Thin long series so that a page stays quick and no peak disappears.

A series is cut into equal buckets of rows; each bucket keeps its smallest, its largest and its
last value, so extremes and the newest value are always shown exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Numbers = npt.NDArray[Any]

MAX_POINTS = 3000
"""Points a trace may have at most."""


def thin_index(values: Numbers, max_points: int = MAX_POINTS) -> npt.NDArray[np.int64]:
    """Choose which rows of one or more series to keep.

    Args:
        values: `[S]` or `[S q]`, q series over the same rows; NaN counts as absent.
        max_points: rows to keep at most (at least 4 are kept where there are as many).

    Returns:
        Rising row numbers: the first row, and per bucket the row of the smallest, of the
        largest and the last value of every series; all rows where S ≤ max_points.
    """
    columns = np.asarray(values)
    columns = columns[:, None] if columns.ndim == 1 else columns
    rows, q = columns.shape
    if rows <= max_points or q == 0:
        return np.arange(rows, dtype=np.int64)
    buckets = max(1, (max_points - 1) // (2 * q + 1))
    width = -(-rows // buckets)
    buckets = -(-rows // width)
    flat = np.full((buckets * width, q), np.nan)
    flat[:rows] = columns
    padded = flat.reshape(buckets, width, q)
    absent = np.isnan(padded)
    start = np.arange(buckets, dtype=np.int64)[:, None] * width
    low = start + np.where(absent, np.inf, padded).argmin(axis=1)
    high = start + np.where(absent, -np.inf, padded).argmax(axis=1)
    last = np.minimum(start[:, 0] + width, rows) - 1
    kept = np.concatenate([[0], low.ravel(), high.ravel(), last])
    return np.unique(kept[kept < rows]).astype(np.int64)


def bucket_edges(rows: int, buckets: int) -> npt.NDArray[np.int64]:
    """Return the first row of each of at most `buckets` near-equal buckets, and `rows` itself."""
    count = max(1, min(buckets, rows))
    return np.unique(np.linspace(0, rows, count + 1).round().astype(np.int64))
