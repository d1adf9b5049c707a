"""One look for every figure: templates, a fixed colour per source and per method.

Colours are Okabe and Ito's and Tol's, chosen so that people with any colour vision tell them
apart, with a dash from the fifth on; a source keeps its colour on every page because it goes by
its place in the experiment's list.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dtvg.methods.specs import METHODS

LIGHT_COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#8C6BB1",
    "#7F7F33",
    "#AA4466",
    "#44AA99",
)
DARK_COLOURS = (
    "#4DA3DB",
    "#F0B840",
    "#35C49A",
    "#F0803C",
    "#E29BC3",
    "#8CCDF2",
    "#B59ADB",
    "#B8B86B",
    "#D97C9A",
    "#7AD1C4",
)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "2px,5px,8px,5px")
SURE = 4
"""So many colours are told apart with any colour vision."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star")
FONT = "Source Sans Pro, Inter, Segoe UI, Helvetica, Arial, sans-serif"


@dataclass(frozen=True)
class Style:
    """How one source or method is drawn everywhere."""

    colour: str
    dash: str
    symbol: str

    def faded(self, opacity: float) -> str:
        """Return the colour with an opacity from 0 to 1."""
        red, green, blue = (int(self.colour[i : i + 2], 16) for i in (1, 3, 5))
        return f"rgba({red},{green},{blue},{opacity:.3f})"


@dataclass(frozen=True)
class Ink:
    """Colours of what is no data."""

    text: str
    muted: str
    grid: str
    paper: str
    zero: str


LIGHT_INK = Ink("#1F2933", "#616E7C", "#E4E7EB", "#FFFFFF", "#52606D")
DARK_INK = Ink("#E4E7EB", "#9AA5B1", "#323F4B", "#12171E", "#9AA5B1")


LIGHT_MIDDLE, DARK_MIDDLE = "#F7F7F7", "#232A34"
"""Zero of a colour scale from negative to positive."""


def ink(dark: bool) -> Ink:
    """Return the colours of text, grid and paper."""
    return DARK_INK if dark else LIGHT_INK


def on_paper(figure: go.Figure) -> go.Figure:
    """Return a copy of a figure for printing: drawn for a dark page, it takes the light colours.

    Args:
        figure: with the template of `template`; one of a light page is only copied.
    """
    paper = figure.layout.template.layout.paper_bgcolor
    if paper != DARK_INK.paper:
        return go.Figure(figure)
    return go.Figure(json.loads(_DARK.sub(_lightened, figure.to_json())))


_PAIRS = dict(
    zip(
        (*DARK_COLOURS, *dataclasses.astuple(DARK_INK), DARK_MIDDLE),
        (*LIGHT_COLOURS, *dataclasses.astuple(LIGHT_INK), LIGHT_MIDDLE),
        strict=True,
    )
)


def _as_rgba(colour: str) -> str:
    """Return a colour as `Style.faded` begins."""
    return "rgba({},{},{},".format(*(int(colour[i : i + 2], 16) for i in (1, 3, 5)))


_LIGHT = {**_PAIRS, **{_as_rgba(dark): _as_rgba(light) for dark, light in _PAIRS.items()}}
_DARK = re.compile("|".join(re.escape(text) for text in _LIGHT))


def _lightened(found: re.Match[str]) -> str:
    return _LIGHT[found.group()]


def style_at(place: int, dark: bool = False) -> Style:
    """Return the style of the place-th thing.

    Four colours can be told apart with any colour vision; from the fifth thing on a dash helps.
    """
    colours = DARK_COLOURS if dark else LIGHT_COLOURS
    turn = 0 if place < SURE else 1 + (place - SURE) % (len(DASHES) - 1)
    return Style(colours[place % len(colours)], DASHES[turn], SYMBOLS[turn])


def source_styles(
    sources: Sequence[str], order: Sequence[str] = (), dark: bool = False
) -> dict[str, Style]:
    """Return each source's style.

    Args:
        sources: sources to draw.
        order: all sources of the experiment; a source's place there fixes its colour.
        dark: for a dark page.
    """
    places = list(dict.fromkeys((*order, *sources)))
    return {s: style_at(places.index(s), dark) for s in sources}


def method_styles(rows: Sequence[str], dark: bool = False) -> dict[str, Style]:
    """Return each method's style: a method of the list by its place there, variants after."""
    styles: dict[str, Style] = {}
    for row in rows:
        label = row.rpartition(": ")[2].partition(" · ")[0]
        name = next((m for m in METHODS if label == m or label.startswith((f"{m}-", f"{m} ("))), "")
        place = _method_place(name)
        taken = {(s.colour, s.dash) for s in styles.values()}
        style = style_at(place, dark)
        turns = [style] + [
            Style(style.colour, dash, symbol) for dash, symbol in zip(DASHES, SYMBOLS, strict=False)
        ]
        styles[row] = next((s for s in turns if (s.colour, s.dash) not in taken), style)
    return styles


def _method_place(name: str) -> int:
    """DTVG takes the first colour, the other methods follow in the order of the list."""
    others = [m for m in METHODS if m != "dtvg"]
    if name == "dtvg":
        return 0
    return 1 + others.index(name) if name in others else 1 + len(others)


@functools.cache
def template(dark: bool = False) -> go.layout.Template:
    """Return the Plotly template of the light or the dark theme."""
    colours = ink(dark)
    axis = {
        "gridcolor": colours.grid,
        "zeroline": False,
        "linecolor": colours.muted,
        "ticks": "outside",
        "tickcolor": colours.grid,
        "tickfont": {"color": colours.muted},
        "title": {"font": {"color": colours.text, "size": 13}, "standoff": 8},
        "automargin": True,
    }
    layout = go.Layout(
        font={"family": FONT, "size": 13, "color": colours.text},
        colorway=list(DARK_COLOURS if dark else LIGHT_COLOURS),
        paper_bgcolor=colours.paper,
        plot_bgcolor=colours.paper,
        xaxis=axis,
        yaxis=axis,
        hoverlabel={"font": {"family": FONT, "size": 12}, "align": "left", "namelength": -1},
        legend={
            "orientation": "h",
            "yanchor": "bottom",
            "y": 1.02,
            "x": 0,
            "title": {"text": ""},
            "itemsizing": "constant",
        },
        margin={"l": 56, "r": 16, "t": 36, "b": 48},
    )
    return go.layout.Template(layout=layout)


def finish(
    figure: go.Figure, *, key: str, x: str, y: str, height: int, dark: bool = False, **layout: Any
) -> go.Figure:
    """Give a figure its theme, axis titles and a state that survives redrawing.

    Args:
        figure: with its traces.
        key: what the figure shows; zoom and hidden traces stay while it is the same.
        x: title of the x axis with its unit.
        y: title of the y axis with its unit.
        height: in pixels.
        dark: for a dark page.
        **layout: more of Plotly's layout.
    """
    figure.update_layout(template=template(dark), uirevision=key, height=height, **layout)
    figure.update_xaxes(title_text=x)
    figure.update_yaxes(title_text=y)
    return figure


SCORE_LIMITS = {"minallowed": -1, "maxallowed": 1.02}
"""Of an axis of scores, so that a single point is not drawn on an axis up to 150 %."""


def score_range(values: Sequence[float]) -> list[float] | None:
    """Return the ends of a score axis: at least ten points apart, below 0 only for scores there.

    Args:
        values: scores as shares; those that are no number do not count.
    """
    known = [v for v in values if v == v]
    if not known:
        return None
    low, high = min(known), max(known)
    half = max(high - low, 0.1) * 0.55
    middle = (low + high) / 2
    bottom = -0.02 if low >= 0 else -1.0
    return [max(middle - half, bottom), min(middle + half, 1.02)]


def reference_lines(
    figure: go.Figure,
    lines: Sequence[tuple[str, float]],
    dark: bool = False,
    upright: bool = False,
    **place: Any,
) -> None:
    """Draw scores to measure others by as dotted lines with their names.

    Args:
        figure: with its axes.
        lines: name and score of each.
        dark: for a dark page.
        upright: whether scores lie along x.
        **place: row and column of a panel.
    """
    from dtvg.analysis.compare.lines import in_percent

    colours = ink(dark)
    for at, (name, value) in enumerate(lines):
        note = {
            "annotation_text": f"{name} {in_percent(value)}",
            "annotation_font": {"color": colours.muted, "size": 10},
            "line": {"color": colours.muted, "width": 1.2, "dash": ("dot", "dashdot")[at % 2]},
        }
        if upright:
            figure.add_vline(
                x=value,
                annotation_position="top left" if value > 0.5 else "top right",
                annotation_yanchor="bottom",
                annotation_yshift=11 * (at % 2),  # names of two that are close stand apart
                **note,
                **place,
            )
        else:
            preferred = _SIDES[at % 2 :] + _SIDES[: at % 2]
            side = preferred[0] if place else _emptiest(figure, value, lines, preferred)
            figure.add_hline(y=value, annotation_position=side, **note, **place)


_SIDES = ("bottom right", "top left", "top right", "bottom left")
"""Where the name of a level line may stand."""
_WIDE, _HIGH = 0.35, 0.09
"""Size of such a name, as shares of a chart's width and height on a small screen."""


def _emptiest(
    figure: go.Figure, value: float, lines: Sequence[tuple[str, float]], sides: Sequence[str]
) -> str:
    """Return the end and side of a level line where a name covers fewest points.

    Args:
        figure: with its traces and, where it is logarithmic, its horizontal axis.
        value: where the line lies.
        lines: all such lines; their names are kept apart too.
        sides: first the one to take where several are alike.
    """
    traces = [t for t in figure.data if t.type == "scatter" and t.x is not None]
    try:
        x = np.concatenate([np.asarray(t.x, dtype=np.float64) for t in traces])
        y = np.concatenate([np.asarray(t.y, dtype=np.float64) for t in traces])
    except (TypeError, ValueError):
        return sides[0]
    if len(x) != len(y) or not len(x):
        return sides[0]
    if figure.layout.xaxis.type == "log":
        x = np.log10(np.maximum(x, 1e-12))
    levels = [level for _, level in lines]
    low, high = np.nanmin([*y, *levels]), np.nanmax([*y, *levels])
    across = (x - np.nanmin(x)) / ((np.nanmax(x) - np.nanmin(x)) or 1.0)
    above = (y - value) / ((high - low) or 1.0)
    covered = {
        side: int(
            np.sum(
                (across < _WIDE if side.endswith("left") else across > 1 - _WIDE)
                & (above > -0.02 if side.startswith("top") else above < 0.02)
                & (np.abs(above) < _HIGH)
            )
        )
        for side in sides
    }
    return min(sides, key=covered.__getitem__)


def in_points(low: float, high: float, about: int = 6) -> dict[str, Any]:
    """Return the ticks of an axis of differences in points: `−5`, `0`, `+5`.

    Args:
        low: of the differences, as a share.
        high: as a share.
        about: how many ticks there may be.
    """
    reach = max(high - low, 1e-4) * 100
    rough = reach / about
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * nice for nice in (1, 2, 5, 10) if unit * nice >= rough)
    first, last = math.ceil(low * 100 / step - 1e-9), math.floor(high * 100 / step + 1e-9)
    values = [k * step for k in range(first, last + 1)]
    texts = [f"{v:+.10g}".replace("-", "−") if abs(v) > 1e-9 else "0" for v in values]
    return {"tickmode": "array", "tickvals": [v / 100 for v in values], "ticktext": texts}


def cut_line(threshold: float, dark: bool = False) -> dict[str, Any]:
    """Return how the cut is drawn: dashed, with its value beside it."""
    colours = ink(dark)
    return {
        "line": {"color": colours.text, "width": 1.2, "dash": "dash"},
        "annotation": {
            "text": f"cut at {threshold:g}",
            "bgcolor": colours.paper,
            "opacity": 0.8,
            "font": {"color": colours.muted, "size": 11},
        },
    }


def message(text: str, dark: bool = False, height: int = 160) -> go.Figure:
    """Return an empty figure that says why it is empty."""
    figure = go.Figure()
    figure.add_annotation(
        text=text,
        showarrow=False,
        x=0.5,
        y=0.5,
        xref="paper",
        yref="paper",
        font={"color": ink(dark).muted, "size": 14},
    )
    figure.update_layout(template=template(dark), uirevision="empty", height=height)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure
