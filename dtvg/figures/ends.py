"""Names at the ends of lines, in place of a legend of more than four entries.

Whether a name is clicked to hide its line is the browser's matter (`dtvg/ui/chart/chart.js`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dtvg.analysis import titles
from dtvg.figures.theme import SURE, ink

MOST = 16
"""Lines up to which their names have room at the ends."""
LINE_HEIGHT = 14
"""Pixels between two names at least."""
LETTER = 6.2
"""Pixels of a letter, on average."""
LONGEST = 24
"""Letters of a name at most; the whole name is in the hover text."""
_BETWEEN = re.compile(r"( · |: )")
"""What stands between the parts of a run's title."""
MARK = "line end "
SIGNS = {
    "circle": "●",
    "square": "■",
    "diamond": "◆",
    "triangle-up": "▲",
    "x": "✖",
    "cross": "✚",
    "star": "★",
}
"""Markers of a line as characters."""


@dataclass(frozen=True)
class _End:
    name: str
    value: float
    colour: str
    sign: str


def label_ends(figure: go.Figure, dark: bool = False) -> None:
    """Write each line's name at its end, where there are too many for a legend.

    Names stand apart by a line's height, in the order of the values. Called again, it places them
    anew, as after a change of the axis.

    Args:
        figure: with its height and axes; of one panel.
        dark: for a dark page.
    """
    kept = [a for a in figure.layout.annotations if not str(a.name or "").startswith(MARK)]
    ends = _ends(figure)
    if not SURE < len(ends) <= MOST:
        figure.layout.annotations = kept
        return
    logarithmic = figure.layout.yaxis.type == "log"
    values = np.array([e.value for e in ends])
    if logarithmic:
        ends = [e for e, v in zip(ends, values, strict=True) if v > 0]
        values = np.log10([e.value for e in ends])
    if not ends:  # nothing of them can be seen on such an axis
        figure.layout.annotations = kept
        return
    order = np.argsort(values, kind="stable")
    low, high = _reach(figure, logarithmic)
    room = (figure.layout.height or 360) - 90
    at = (values[order] - low) / ((high - low) or 1.0) * room
    called = short_names([titles.label(e.name) for e in ends])
    for i, here, there in zip(order, at, _apart(at, room), strict=True):
        kept.append(_label(ends[i], called[i], float(values[i]), float(there - here), dark))
    figure.layout.annotations = kept
    letters = max(map(len, called))
    figure.update_layout(showlegend=False, margin_r=round(26 + LETTER * letters))


def _ends(figure: go.Figure) -> list[_End]:
    """Return the last number of each line that a legend would name."""
    found = []
    for trace in figure.data:
        lines = trace.type == "scatter" and "lines" in (trace.mode or "")
        if not lines or trace.fill or trace.showlegend is False or not trace.name:
            continue
        y = np.asarray(trace.y, dtype=float)
        known = y[np.isfinite(y)]
        if len(known):
            sign = SIGNS.get(str(getattr(trace.marker, "symbol", None)), "●")
            found.append(_End(str(trace.name), float(known[-1]), str(trace.line.color), sign))
    return found


def _reach(figure: go.Figure, logarithmic: bool) -> tuple[float, float]:
    """Return the ends of the y axis, in its own units."""
    if figure.layout.yaxis.range:
        low, high = figure.layout.yaxis.range
        return float(low), float(high)
    drawn = np.concatenate([np.asarray(t.y, dtype=float) for t in figure.data if t.y is not None])
    drawn = drawn[np.isfinite(drawn)]
    drawn = np.log10(drawn[drawn > 0]) if logarithmic else drawn
    spare = 0.05 * float(np.ptp(drawn))
    return float(drawn.min()) - spare, float(drawn.max()) + spare


def _apart(places: np.ndarray, room: float) -> np.ndarray:
    """Move places `[n]`, ascending, apart by a line's height, within the room where they can be."""
    moved = places.copy()
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + LINE_HEIGHT)
    over = moved[-1] - room if len(moved) else 0.0
    if over > 0:
        moved[-1] -= over
        for i in range(len(moved) - 2, -1, -1):
            moved[i] = min(moved[i], moved[i + 1] - LINE_HEIGHT)
    return moved


def short_names(names: Sequence[str], most: int = LONGEST) -> list[str]:
    """Return names of at most so many letters that keep what tells them apart.

    Where one is too long, the parts of titles that all names have are left out, e.g. "seed 0";
    what is too long all the same loses its end, or its middle where names would be alike then.

    Args:
        names: titles, e.g. "Stage I · Count things · seed 0".
        most: letters of a name.
    """
    if max(map(len, names), default=0) <= most:
        return list(names)
    parts = [_BETWEEN.split(name) for name in names]
    found = Counter(part for one in parts for part in set(one[::2]))
    common = {part for part, count in found.items() if count == len(names)}
    own = [_without(common, one) for one in parts]
    if not all(own) or len(set(own)) < len(set(names)):
        own = list(names)
    ends = [name if len(name) <= most else name[: most - 1] + "…" for name in own]
    tail = most // 2
    middles = [
        name if len(name) <= most else f"{name[: most - tail - 1]}…{name[-tail:]}" for name in own
    ]
    return middles if len(set(middles)) > len(set(ends)) else ends


def _without(common: set[str], parts: list[str]) -> str:
    """Join parts, which stand with what is between them, but for those that are common."""
    made = ""
    for part, before in zip(parts[::2], ["", *parts[1::2]], strict=True):
        if part not in common:
            made += before + part if made else part
    return made


def _label(end: _End, short: str, value: float, shift: float, dark: bool) -> dict[str, Any]:
    """Return one name: in the colour of text, for contrast, behind a dot in the line's colour."""
    return {
        "name": MARK + end.name,
        "text": f"<span style='color:{end.colour}'>{end.sign}</span> {short}",
        "hovertext": end.name,
        "captureevents": True,
        "showarrow": False,
        "x": 1.0,
        "xref": "paper",
        "xanchor": "left",
        "xshift": 4,
        "y": value,
        "yshift": round(shift, 1),
        "font": {"size": 11, "color": ink(dark).text},
    }


SIDES = ("top center", "bottom center", "middle right", "middle left")
LETTERS = 30
"""So many letters beside each other are as wide as the points of a picture lie apart, on half a
page."""
HIGH = 0.07
"""Height of a name as a share of that."""
POINT = 0.015
"""Half the width of a point, as a share of the picture."""


def apart(places: np.ndarray, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names that can be read, and on which side of its point each stands.

    Few of them cover a point, and none another name: it is left out then.

    Args:
        places: coordinates `[n, 2]`, on axes of one scale.
        names: what is to be written, `[n]`, the most important first; empty: nothing.

    Returns:
        Names `[n]`, empty where none is written, and sides `[n]` as Plotly calls them.
    """
    reach = float(np.ptp(places, axis=0).max()) or 1.0
    points = [(x - POINT, y - POINT, x + POINT, y + POINT) for x, y in places / reach]
    taken: list[tuple[float, float, float, float]] = []
    written, sides = [], []
    for own, ((x, y), name) in enumerate(zip(places / reach, names, strict=True)):
        wide = len(name) / LETTERS
        boxes = {
            "top center": (x - wide / 2, y + 0.3 * HIGH, x + wide / 2, y + 1.3 * HIGH),
            "bottom center": (x - wide / 2, y - 1.3 * HIGH, x + wide / 2, y - 0.3 * HIGH),
            "middle right": (x + 0.02, y - HIGH / 2, x + 0.02 + wide, y + HIGH / 2),
            "middle left": (x - 0.02 - wide, y - HIGH / 2, x - 0.02, y + HIGH / 2),
        }
        others = [*points[:own], *points[own + 1 :]]
        cover = {s: (_covers(box, taken), _covers(box, others)) for s, box in boxes.items()}
        side = min(SIDES, key=cover.__getitem__)
        readable = name if not cover[side][0] else ""
        written.append(readable)
        sides.append(side)
        if readable:
            taken.append(boxes[side])
    return written, sides


def _covers(box: tuple[float, ...], others: Sequence[tuple[float, ...]]) -> float:
    return sum(_cover(box, other) for other in others)


def _cover(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Return how much of two boxes (left, low, right, high) is in both."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    up = min(one[3], other[3]) - max(one[1], other[1])
    return max(across, 0.0) * max(up, 0.0)


__all__ = ["apart", "label_ends", "short_names"]
