"""What a chart shows, in words, for those who do not see it: values and trends of its lines.

Made from the drawn figure, so that words and picture cannot disagree. Must not import streamlit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dtvg.analysis.words import counted, in_percent

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
    return _plain(f"{what.rstrip('.')}. {' '.join(told[:MOST])}{more}".strip())


def _plain(text: str) -> str:
    """Take out what only marks how a text looks: tags, Markdown's stars and ticks."""
    return re.sub(r"\*\*|`", "", re.sub(r"<[^<>]*>", " ", text)).replace("  ", " ")


def _trace(trace: Any, figure: go.Figure) -> str:
    """Tell one trace; nothing where it is decoration."""
    if isinstance(trace.meta, str):
        return f"{trace.name}: {trace.meta}." if trace.name else f"{trace.meta}."
    if trace.type == "sankey":
        return _flows(trace)
    if trace.type == "heatmap":
        return _matrix(trace)
    if trace.type == "bar":
        return _bars(trace)
    if trace.type != "scatter" or trace.fill or _is_edge(trace):
        return ""
    x, y = _numbers(trace.x), _numbers(trace.y)
    if not trace.name:
        return _unnamed(trace, x, y)
    if len(y) < 2 or len(x) != len(y) or "lines" not in (trace.mode or "lines"):
        return _points(trace, x, y, figure)
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
        f"{name}: from {_said(first, percent)} at {_place(x[0])} to {_said(last, percent)} at "
        f"{_place(x[-1])}, {trend}, highest {_said(high, percent)} at {_place(x[at])}."
    )


def _place(x: float) -> str:
    """Return where on the horizontal axis: whole steps, else three digits."""
    return f"{x:,.0f}" if x == round(x) else _said(x, False)


def _is_edge(trace: Any) -> bool:
    """Whether a line only bounds a band."""
    return str(trace.name or "").endswith((" lower", " upper"))


def _points(trace: Any, x: np.ndarray, y: np.ndarray, figure: go.Figure) -> str:
    """Tell points by the axis that has their values: the upright one, unless it holds rows."""
    axis = figure.layout["yaxis" + (trace.yaxis or "y")[1:]]
    rows = axis.type == "category" or axis.ticktext is not None or axis.visible is False
    upright = len(y) > 0 and np.isfinite(y).any() and not rows
    if len(x) == len(y) == 1 and upright and np.isfinite(x[0]):
        return f"{trace.name}: {_said(y[0], _suffix(figure, trace))} at {_place(x[0])}."
    values = y if upright else x if len(x) and np.isfinite(x).any() else y
    values = values[np.isfinite(values)]
    if not len(values):
        return ""
    if len(values) == 1:
        return f"{trace.name}: {_said(values[0], False)}."
    low, high = _said(values.min(), False), _said(values.max(), False)
    return f"{trace.name}: {len(values)} points from {low} to {high}."


def _unnamed(trace: Any, x: np.ndarray, y: np.ndarray) -> str:
    """Tell points of a trace without a name by their own: texts inside, or rows of an axis."""
    if "markers" not in str(trace.mode or ""):
        return ""
    shade = _numbers(trace.marker.color) if _is_list(trace.marker.color) else np.empty(0)
    if _is_list(trace.text) and len(shade) == len(trace.text):
        names, values = list(trace.text), shade
    elif len(x) == len(y) and not np.isfinite(x).any():
        names, values = list(trace.x), y
    elif len(x) == len(y) and not np.isfinite(y).any():
        names, values = list(trace.y), x
    else:
        return ""
    if not np.isfinite(values).any():
        return ""
    first, last = int(np.nanargmax(values)), int(np.nanargmin(values))
    if len(values) == 1:
        return f"{names[0]} {_said(values[0], False)}."
    return (
        f"Highest {names[first]} {_said(values[first], False)}, lowest {names[last]} "
        f"{_said(values[last], False)}, of {len(values)}."
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple | np.ndarray)


def _flows(trace: Any) -> str:
    """Tell the widest flows between groups."""
    labels, link = trace.node.label, trace.link
    widest = np.argsort(-_numbers(link.value), kind="stable")[:3]
    told = [
        f"{labels[link.source[i]]} to {labels[link.target[i]]} {link.value[i]:g}" for i in widest
    ]
    return f"{counted(len(link.value), 'kind')} of changes; most often {'; '.join(told)}."


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
        return f"{who}{_name(names[0])} {_said(heights[0], False)}."
    return (
        f"{who}highest {_name(names[first])} {_said(heights[first], False)}, lowest "
        f"{_name(names[last])} {_said(heights[last], False)}, of {len(heights)}."
    )


def _stretches(who: str, starts: np.ndarray, lengths: np.ndarray) -> str:
    """Tell bars that stand for stretches of steps."""
    if len(starts) != len(lengths):
        return ""
    first, last = starts.min() + 0.5, (starts + lengths).max() - 0.5
    bars = "1 stretch" if len(starts) == 1 else f"{len(starts)} stretches"
    if first == last:
        return f"{who}1 step, {first:g}."
    return f"{who}{lengths.sum():g} steps in {bars} between {first:g} and {last:g}."


def _name(name: Any) -> str:
    """Return a category as text; a whole number without a point."""
    return f"{name:g}" if isinstance(name, int | float | np.number) else str(name)


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
        where = f"{_named(trace.y, row)}, {_named(trace.x, column)}"
        told.append(f"{word} {_said(z[row, column], False)} at {where}")
    return f"{z.shape[0]} rows and {z.shape[1]} columns, {', '.join(told)}."


def _named(names: Sequence[Any] | None, place: int) -> str:
    return str(names[place]) if names is not None and place < len(names) else str(place + 1)


def _suffix(figure: go.Figure, trace: Any) -> bool:
    """Return whether a trace's values are shares that the axis shows in percent."""
    axis = figure.layout["yaxis" + (trace.yaxis or "y")[1:]]
    return "%" in str(axis.tickformat or "")


def _said(value: float, percent: bool) -> str:
    text = f"{in_percent(value)} %" if percent else f"{value:.3g}"
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
