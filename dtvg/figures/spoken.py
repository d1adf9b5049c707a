"""What a chart shows, in words, for those who do not see it: values and trends of its lines.

Made from the drawn figure, so that words and picture cannot disagree. Must not import streamlit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

MOST = 10
"""Lines, bars or rows that are told one by one."""
FLAT = 0.02
"""A line ends level where it moved by less than this share of its range."""


def spoken(figure: go.Figure, what: str) -> str:
    """Return an alternative text: what the chart is, then the value and trend of each line.

    Args:
        figure: as drawn.
        what: what it shows, in one sentence without a full stop.
    """
    said = [s for s in (_trace(t, figure) for t in figure.data) if s]
    told = list(dict.fromkeys(said))
    more = f" And {len(told) - MOST} more." if len(told) > MOST else ""
    return f"{what.rstrip('.')}. {' '.join(told[:MOST])}{more}".strip()


def _trace(trace: Any, figure: go.Figure) -> str:
    """Tell one trace; nothing where it is decoration."""
    if trace.type == "heatmap":
        return _matrix(trace)
    if trace.type == "bar":
        return _bars(trace)
    if trace.type not in ("scatter", "scattergl") or trace.fill or not trace.name:
        return ""
    x, y = _numbers(trace.x), _numbers(trace.y)
    if len(y) < 2 or len(x) != len(y) or "lines" not in (trace.mode or "lines"):
        return _points(trace, x, y)
    kept = np.isfinite(x) & np.isfinite(y)
    if kept.sum() < 2:
        return ""
    return _line(str(trace.name), x[kept], y[kept], _suffix(figure, trace))


def _line(name: str, x: np.ndarray, y: np.ndarray, percent: bool) -> str:
    first, last, low, high = y[0], y[-1], y.min(), y.max()
    moved, span = last - first, (high - low) or 1.0
    trend = "level" if abs(moved) <= FLAT * span else "rising" if moved > 0 else "falling"
    at = int(np.argmax(y))
    return (
        f"{name}: from {_said(first, percent)} at {x[0]:g} to {_said(last, percent)} at {x[-1]:g}, "
        f"{trend}, highest {_said(high, percent)} at {x[at]:g}."
    )


def _points(trace: Any, x: np.ndarray, y: np.ndarray) -> str:
    """Tell points by their middle value along the axis that has numbers."""
    values = x if len(x) and np.isfinite(x).any() else y
    values = values[np.isfinite(values)]
    if not len(values) or not trace.name:
        return ""
    if len(values) == 1:
        return f"{trace.name}: {values[0]:.3g}."
    return f"{trace.name}: {len(values)} points from {values.min():.3g} to {values.max():.3g}."


def _bars(trace: Any) -> str:
    """Tell bars: the highest and the lowest, by name."""
    names, values = (trace.y, trace.x) if trace.orientation == "h" else (trace.x, trace.y)
    heights = _numbers(values)
    names = [] if names is None else list(names)
    if not len(heights) or len(names) != len(heights) or not np.isfinite(heights).any():
        return ""
    first, last = int(np.nanargmax(heights)), int(np.nanargmin(heights))
    who = f"{trace.name}: " if trace.name else ""
    if trace.base is not None:
        return _stretches(who, _numbers(trace.base), heights)
    if len(heights) == 1:
        return f"{who}{names[0]} {heights[0]:.3g}."
    return (
        f"{who}highest {names[first]} {heights[first]:.3g}, lowest {names[last]} "
        f"{heights[last]:.3g}, of {len(heights)}."
    )


def _stretches(who: str, starts: np.ndarray, lengths: np.ndarray) -> str:
    """Tell bars that stand for stretches of steps."""
    if len(starts) != len(lengths):
        return ""
    first, last = starts.min() + 0.5, (starts + lengths).max() - 0.5
    bars = "1 stretch" if len(starts) == 1 else f"{len(starts)} stretches"
    return f"{who}{lengths.sum():g} steps in {bars} between {first:g} and {last:g}."


def _matrix(trace: Any) -> str:
    """Tell a matrix: its size, the highest and the lowest entry."""
    if trace.z is None or not len(trace.z):
        return ""
    z = np.array([_numbers(row) for row in trace.z])
    if not z.size or not np.isfinite(z).any():
        return ""
    told = []
    for word, place in (("highest", np.nanargmax(z)), ("lowest", np.nanargmin(z))):
        row, column = (int(i) for i in np.unravel_index(int(place), z.shape))
        told.append(
            f"{word} {z[row, column]:.3g} at {_named(trace.y, row)}, {_named(trace.x, column)}"
        )
    return f"{z.shape[0]} rows and {z.shape[1]} columns, {', '.join(told)}."


def _named(names: Sequence[Any] | None, place: int) -> str:
    return str(names[place]) if names is not None and place < len(names) else str(place + 1)


def _suffix(figure: go.Figure, trace: Any) -> bool:
    """Return whether a trace's values are shares that the axis shows in percent."""
    axis = figure.layout["yaxis" + (trace.yaxis or "y")[1:]]
    return "%" in str(axis.tickformat or "")


def _said(value: float, percent: bool) -> str:
    text = f"{100 * value:.1f} %" if percent else f"{value:.3g}"
    return text.replace("-", "\N{MINUS SIGN}")


def _numbers(values: Iterable[Any] | None) -> np.ndarray:
    """Return values as numbers; not-a-number for text."""
    if values is None:
        return np.empty(0)
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        return np.full(len(list(values)), np.nan)


__all__ = ["spoken"]
