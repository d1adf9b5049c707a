"""The claims at a glance, and what each of them rests on.

ClaimsInfo, Claim → figures. Every row bears its name and numbers above and below its line, so
that a figure reads the same on a wide page and on a telephone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import floor, log10

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dtvg.analysis.claims.changing import MEASURES
from dtvg.analysis.claims.claim import (
    ALL_TARGETS,
    CONTRADICTED,
    CORRELATION,
    POINTS,
    SUPPORTED,
    Claim,
    shown,
)
from dtvg.analysis.claims.info import ClaimsInfo
from dtvg.analysis.claims.lines import SIGNS
from dtvg.figures.theme import finish, ink, message, method_styles, source_styles, style_at

COLOURS = {SUPPORTED: 2, CONTRADICTED: 3}
"""Verdict → place in the palette; without a verdict rows are muted."""
LANE = 80
"""Pixels of a row."""
FACETS = 6
"""Targets drawn side by side at most."""
SMALL = 11.5


def colour_of(verdict: str, dark: bool = False) -> str:
    """Return the colour of a verdict."""
    place = COLOURS.get(verdict)
    return ink(dark).muted if place is None else style_at(place, dark).colour


def claims_figure(info: ClaimsInfo, dark: bool = False) -> go.Figure:
    """Draw the seven claims, one row each, with 0 in the same place.

    Right of 0 speaks for a claim, left of it against; the darker strip at 0 is what would not
    matter (the margin). Each row has its own scale, whose ends are named below it; an arrow is
    an interval that goes on.

    Args:
        info: from `claims_info`.
        dark: for a dark page.
    """
    figure = go.Figure()
    count = len(info.claims)
    for place, claim in enumerate(info.claims):
        _row(figure, claim, count - 1 - place, dark)
    for x, text, anchor in ((-1, "◂ against the claim", "left"), (1, "for the claim ▸", "right")):
        _say(figure, x, count - 0.38, text, anchor, ink(dark).muted)
    finish(
        figure, key="claims", x="", y="", dark=dark, height=72 + LANE * count, showlegend=False,
        margin={"l": 8, "r": 8, "t": 30, "b": 8},
    )  # fmt: skip
    figure.update_xaxes(visible=False, range=[-1.03, 1.03], fixedrange=True)
    figure.update_yaxes(visible=False, range=[-0.52, count - 0.2], fixedrange=True)
    return figure


def _row(figure: go.Figure, claim: Claim, y: float, dark: bool) -> None:
    """One claim: name and verdict above the line, number and scale below it."""
    reach = reach_of(claim)
    colour = colour_of(claim.verdict, dark)
    band = {"type": "rect", "y0": y - 0.19, "y1": y + 0.09, "layer": "below", "line": {"width": 0}}
    if claim.summary.known:
        edge = min(claim.margin / reach, 1)
        for x0, x1, place, opacity in ((-1, 0, 3, 0.08), (0, 1, 2, 0.1), (0, edge, 2, 0.16)):
            fill = style_at(place, dark).faded(opacity)
            figure.add_shape(**band, x0=x0, x1=x1, fillcolor=fill)
    else:
        figure.add_shape(**band, x0=-1, x1=1, fillcolor=_faded(ink(dark).muted, 0.12))
    zero = {"color": ink(dark).zero, "width": 1.5}
    figure.add_shape(type="line", x0=0, x1=0, y0=y - 0.22, y1=y + 0.12, line=zero)
    _interval(figure, claim, y - 0.05, reach, colour)
    _say(figure, -1, y + 0.25, f"<b>{claim.key}</b>  {claim.wording.title}", "left", "", 14, dark)
    _say(figure, 1, y + 0.25, f"<b>{SIGNS[claim.verdict]} {claim.verdict}</b>", "right", colour, 13)
    _say(figure, 0, y - 0.33, claim.numbers or _lack(claim), "center", "", 12.5, dark)
    if claim.summary.known:
        for x in (-1, 1):
            text = _end(x * reach, claim.wording.unit)
            _say(figure, x, y - 0.33, text, "left" if x < 0 else "right", ink(dark).muted)


def _end(value: float, unit: str) -> str:
    """The end of a scale, in points or as a correlation."""
    text = f"{100 * value:+g}" if unit == POINTS else f"{value:+g}"
    return text.replace("-", "−")


def _lack(claim: Claim) -> str:
    """What is missing, in a few words."""
    first = claim.missing[0].partition(" (")[0] if claim.missing else "more runs"
    return "needs " + first.replace("`", "")


def _say(
    figure: go.Figure,
    x: float,
    y: float,
    text: str,
    anchor: str,
    colour: str,
    size: float = SMALL,
    dark: bool = False,
    behind: str | None = None,
) -> None:
    """Write a text that ends, begins or is centred at a place."""
    figure.add_annotation(
        x=x,
        y=y,
        text=text,
        showarrow=False,
        xanchor=anchor,
        yanchor="middle",
        borderpad=1,
        bgcolor=behind,
        font={"color": colour or ink(dark).text, "size": size},
    )


def reach_of(claim: Claim) -> float:
    """Return where the scale of a claim ends: 1, 2 or 5 times a power of ten, in its unit.

    Wide enough for the interval, but never so wide that the estimate cannot be seen.
    """
    summary = claim.summary
    known = [abs(x) for x in (summary.low, summary.estimate, summary.high) if np.isfinite(x)]
    most = 6 * max(abs(summary.estimate) if known else 0.0, 2 * claim.margin)
    wanted = min(max([2 * claim.margin, *known]), most) or 0.1
    if claim.wording.unit == CORRELATION:
        wanted = min(wanted, 2.0)
    power = 10.0 ** floor(log10(wanted))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= wanted * (1 - 1e-9))


def _interval(figure: go.Figure, claim: Claim, y: float, reach: float, colour: str) -> None:
    """Draw interval and estimate; an end beyond the scale becomes an arrow."""
    summary = claim.summary
    if not summary.known:
        return
    low, high = summary.low / reach, summary.high / reach
    if np.isfinite(low) or np.isfinite(high):
        left = low if low >= -1 else -0.985
        right = high if high <= 1 else 0.985
        line = {"color": colour, "width": 5}
        figure.add_trace(
            go.Scatter(x=[left, right], y=[y, y], mode="lines", line=line, hoverinfo="skip")
        )
        ends = ((-0.985, low >= -1, "left"), (0.985, high <= 1, "right"))
        for x, inside, side in ends:
            if not inside:
                head = {"color": colour, "size": 12, "symbol": f"triangle-{side}"}
                figure.add_trace(
                    go.Scatter(x=[x], y=[y], mode="markers", marker=head, hoverinfo="skip")
                )
    at = min(max(summary.estimate / reach, -1), 1)
    told = f"<b>({claim.key}) {claim.wording.title}</b><br>{claim.numbers}<br>{claim.verdict}"
    figure.add_trace(
        go.Scatter(
            x=[at],
            y=[y],
            mode="markers",
            marker={"color": colour, "size": 13, "symbol": "diamond", "line": {"width": 0}},
            hovertemplate=told + "<extra></extra>",
            name=claim.wording.title,
        )
    )


# -- what a claim rests on -----------------------------------------------------------------


def evidence_figure(claim: Claim, dark: bool = False, order: Sequence[str] = ()) -> go.Figure:
    """Draw what a claim rests on.

    Args:
        claim: one of `ClaimsInfo.claims`.
        dark: for a dark page.
        order: all sources, whose places fix their colours.
    """
    if not len(claim.evidence):
        return message(f"This claim {_lack(claim)}.", dark)
    drawn: dict[str, Callable[[Claim, bool], go.Figure]] = {
        "a": _subsets,
        "b": _changes,
        "c": lambda c, d: _predictions(c, d, order),
        "e": _harm,
    }
    return drawn.get(claim.key, _comparisons)(claim, dark)


KINDS = {"group": 0, "one source": 1, "all sources": 3, "no source": 4}
"""Kind of subset → place in the palette."""


def _subsets(claim: Claim, dark: bool) -> go.Figure:
    """Every subset's score over its size; the larger, the more often it was chosen as best."""
    targets = list(dict.fromkeys(claim.evidence["target"]))[:FACETS]
    columns = min(3, len(targets))
    lines = -(-len(targets) // columns)
    figure = make_subplots(
        rows=lines, cols=columns, subplot_titles=targets if len(targets) > 1 else None,
        horizontal_spacing=0.07, vertical_spacing=0.2 / max(1, lines - 1),
    )  # fmt: skip
    for at, target in enumerate(targets):
        rows = claim.evidence[claim.evidence["target"] == target]
        for kind, place in KINDS.items():
            mine = rows[rows["kind"] == kind]
            if len(mine):
                trace = _subset_dots(mine, kind, style_at(place, dark).colour, at == 0)
                figure.add_trace(trace, row=at // columns + 1, col=at % columns + 1)
        best = float(rows.loc[rows["kind"] != "group", "score"].max())
        figure.add_hline(
            y=best, line={"color": ink(dark).zero, "width": 1, "dash": "dot"},
            row=at // columns + 1, col=at % columns + 1,
        )  # fmt: skip
    finish(
        figure, key="claim a", x="sources in the subset", y="", dark=dark, height=90 + 270 * lines,
        margin_t=64, margin_l=48,
    )  # fmt: skip
    figure.update_yaxes(tickformat=".1~%", nticks=6)
    figure.update_xaxes(dtick=1)
    return figure


def _subset_dots(rows: pd.DataFrame, kind: str, colour: str, legend: bool) -> go.Scatter:
    size = rows["size"].to_numpy(dtype=np.float64)
    turn = rows.groupby("size").cumcount().to_numpy(dtype=np.float64)
    wide = rows.groupby("size")["size"].transform("count").to_numpy(dtype=np.float64)
    return go.Scatter(
        x=size + 0.5 * (turn + 0.5) / wide - 0.25,
        y=rows["score"],
        mode="markers",
        name=kind,
        legendgroup=kind,
        showlegend=legend,
        customdata=rows[["subset", "chosen"]],
        marker={
            "color": colour,
            "size": 8 + 14 * np.sqrt(rows["chosen"]),
            "opacity": 0.85,
            "line": {"width": 0},
        },
        hovertemplate="<b>%{customdata[0]}</b><br>%{y:.1%}<br>chosen as best in "
        "%{customdata[1]:.0%} of the halvings<extra></extra>",
    )


def _changes(claim: Claim, dark: bool) -> go.Figure:
    """Change since the start, as seen and by noise alone, over the run."""
    figure = make_subplots(
        rows=3, cols=1, shared_xaxes=True, subplot_titles=MEASURES, vertical_spacing=0.09
    )
    seen, noise = style_at(0, dark), ink(dark).muted
    for at, measure in enumerate(MEASURES, 1):
        rows = claim.evidence[claim.evidence["measure"] == measure]
        band = [*rows["high"], *rows["low"][::-1]]
        figure.add_trace(
            go.Scatter(
                x=[*rows["progress"], *rows["progress"][::-1]],
                y=band,
                mode="lines",
                fill="toself",
                line={"width": 0},
                fillcolor=_faded(noise, 0.25),
                name="95 % of noise that adds up",
                legendgroup="added",
                showlegend=at == 1,
                hoverinfo="skip",
            ),
            row=at,
            col=1,
        )
        for name, column, colour, width in (
            ("noise that adds up", "added", noise, 1.5),
            ("neighbouring blocks", "forgotten", style_at(1, dark).colour, 1.5),
            ("seen", "seen", seen.colour, 3),
        ):
            figure.add_trace(
                go.Scatter(
                    x=rows["progress"],
                    y=rows[column],
                    mode="lines",
                    name=name,
                    legendgroup=name,
                    showlegend=at == 1,
                    line={"color": colour, "width": width},
                    hovertemplate=f"{name}: %{{y:.1%}}<extra></extra>",
                ),
                row=at,
                col=1,
            )
    finish(figure, key="claim b", x="", y="", dark=dark, height=620, margin_l=48, margin_b=120)
    figure.update_layout(legend={"y": -0.13, "yanchor": "top"})
    figure.update_yaxes(tickformat=".0%", rangemode="tozero", nticks=5)
    figure.update_xaxes(tickformat=".0%")
    figure.update_xaxes(title_text="share of the run", row=3, col=1)
    _left_titles(figure)
    return figure


def _left_titles(figure: go.Figure) -> None:
    """Put the titles of panels one above another at their left."""
    for one in figure.layout.annotations:
        one.update(x=0, xanchor="left", font={"size": 13})


def _faded(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def _predictions(claim: Claim, dark: bool, order: Sequence[str]) -> go.Figure:
    """Gain of each single source over its place by similarity, of vectors and of prompts."""
    table = claim.evidence
    sources = list(dict.fromkeys(table["source"]))
    styles = source_styles(sources, order, dark)
    correlation = claim.parts[claim.parts["target"].isin([ALL_TARGETS, *table["target"]])]
    titles = []
    for name in ("vectors", "prompts"):
        value = float(correlation[correlation["part"] == name]["estimate"].iloc[0])
        titles.append(f"gain by {name}: ρ = {shown(value, CORRELATION)}")
    figure = make_subplots(
        rows=1, cols=2, shared_yaxes=True, subplot_titles=titles, horizontal_spacing=0.04
    )
    for at, column in enumerate(("rank_vectors", "rank_prompts"), 1):
        for source in sources:
            mine = table[table["source"] == source]
            style = styles[source]
            figure.add_trace(
                go.Scatter(
                    x=mine[column],
                    y=mine["gain"],
                    mode="markers",
                    name=source,
                    legendgroup=source,
                    showlegend=at == 1,
                    customdata=mine["target"],
                    marker={"color": style.colour, "symbol": style.symbol, "size": 11},
                    hovertemplate=f"<b>{source}</b> on %{{customdata}}<br>gain %{{y:+.1%}}<br>"
                    "place %{x:.1f}<extra></extra>",
                ),
                row=1,
                col=at,
            )
        figure.add_hline(y=0, line={"color": ink(dark).zero, "width": 1}, row=1, col=at)
    finish(
        figure, key="claim c", x="place by similarity", y="", dark=dark, height=470,
        margin_l=52, margin_b=130,
    )  # fmt: skip
    figure.update_layout(legend={"y": -0.22, "yanchor": "top"})
    figure.update_yaxes(tickformat="+.1~%")
    figure.update_xaxes(autorange="reversed", dtick=1)
    return figure


@dataclass(frozen=True)
class _Lane:
    """One row of a figure: a name, what is told at its right, interval and points."""

    name: str
    told: str
    estimate: float
    low: float
    high: float
    colour: str
    dots: Sequence[tuple[float, str]] = field(default_factory=tuple)


def _comparisons(claim: Claim, dark: bool) -> go.Figure:
    """Each comparison with its interval; circles are targets, or seeds of the only one."""
    parts = claim.parts
    several = (parts["target"] == ALL_TARGETS).any()
    lanes = []
    for name in dict.fromkeys(parts["part"]):
        mine = parts[parts["part"] == name]
        whole = mine[mine["target"] == ALL_TARGETS] if len(mine) > 1 else mine
        row = whole.iloc[0]
        if several:
            each = mine[mine["target"] != ALL_TARGETS]
            dots = [(float(x), str(t)) for x, t in each[["estimate", "target"]].to_numpy()]
        else:
            each = claim.evidence[claim.evidence["part"] == name]
            dots = [(float(x), f"seed {s:g}") for x, s in each[["difference", "seed"]].to_numpy()]
        told = _told(row)
        colour = _sided(float(row["low"]), float(row["high"]), dark)
        ends = (float(row["low"]), float(row["high"]))
        lanes.append(_Lane(name, told, float(row["estimate"]), *ends, colour, dots))
    what = "targets" if several else "seeds"
    return _lanes(lanes, f"claim {claim.key}", f"difference; circles: {what}", claim.margin, dark)


def _told(row: pd.Series) -> str:
    if not np.isfinite(row["low"]):
        return shown(row["estimate"], POINTS)
    ends = f"{shown(row['low'], POINTS)} … {shown(row['high'], POINTS)}"
    return f"<b>{shown(row['estimate'], POINTS)}</b> ({ends})"


def _sided(low: float, high: float, dark: bool) -> str:
    """Colour of an interval: above 0, below 0, or neither."""
    if np.isfinite(low) and low > 0:
        return colour_of(SUPPORTED, dark)
    return colour_of(CONTRADICTED if np.isfinite(high) and high < 0 else "", dark)


def _harm(claim: Claim, dark: bool) -> go.Figure:
    """Points each method loses below no transfer, with how many of its runs fall below."""
    styles = method_styles(list(claim.evidence["method"]), dark)
    lanes = []
    for row in claim.evidence.to_dict("records"):
        told = f"<b>{row['below']}</b> of {row['runs']} runs below"
        name = str(row["method"])
        ends = (float(row["lost"]), float(row["low"]), float(row["high"]))
        lanes.append(_Lane(name, told, *ends, styles[name].colour))
    return _lanes(lanes, "claim e", "points lost below no transfer", 0.0, dark)


def _lanes(lanes: Sequence[_Lane], key: str, title: str, margin: float, dark: bool) -> go.Figure:
    """Draw rows with their names above their lines."""
    figure = go.Figure()
    count = len(lanes)
    low, high = _span(lanes, margin)
    if margin:
        fill = style_at(2, dark).faded(0.12)
        figure.add_vrect(x0=0, x1=margin, fillcolor=fill, line_width=0, layer="below")
    figure.add_vline(x=0, line={"color": ink(dark).zero, "width": 1.2})
    for place, lane in enumerate(lanes):
        y = count - 1 - place
        paper = ink(dark).paper
        _say(figure, low, y + 0.3, lane.name, "left", "", 13, dark, paper)
        _say(figure, high, y + 0.3, lane.told, "right", ink(dark).muted, 12, dark, paper)
        _lane(figure, lane, y, (low, high))
    finish(
        figure, key=key, x=title, y="", dark=dark, height=106 + 58 * count, showlegend=False,
        margin={"l": 8, "r": 8, "t": 34, "b": 48},
    )  # fmt: skip
    figure.update_xaxes(tickformat="+.1~%", range=[low, high], nticks=7)
    figure.update_yaxes(visible=False, range=[-0.5, count - 0.35])
    return figure


def _lane(figure: go.Figure, lane: _Lane, y: float, span: tuple[float, float]) -> None:
    """Draw one row: points, interval, estimate."""
    if lane.dots:
        xs, names = zip(*lane.dots, strict=True)
        ring = {"color": lane.colour, "size": 8, "symbol": "circle-open", "line": {"width": 1.3}}
        figure.add_trace(
            go.Scatter(
                x=xs, y=[y - 0.2] * len(xs), mode="markers", marker=ring, customdata=names,
                name=lane.name, hovertemplate="%{customdata}: %{x:+.1%}<extra></extra>",
            )
        )  # fmt: skip
    if np.isfinite(lane.low):
        ends = [max(lane.low, span[0]), min(lane.high, span[1])]
        line = {"color": lane.colour, "width": 4}
        figure.add_trace(go.Scatter(x=ends, y=[y, y], mode="lines", line=line, hoverinfo="skip"))
    if np.isfinite(lane.estimate):
        diamond = {"color": lane.colour, "size": 11, "symbol": "diamond"}
        about = f"<b>{lane.name}</b><br>%{{x:+.2%}}<br>{lane.told}<extra></extra>"
        figure.add_trace(
            go.Scatter(
                x=[lane.estimate], y=[y], mode="markers", marker=diamond, hovertemplate=about,
                name=lane.name,
            )
        )  # fmt: skip


def _span(lanes: Sequence[_Lane], margin: float) -> tuple[float, float]:
    """From where to where the rows reach: estimates and points, and intervals unless far wider."""
    inner = [0.0, margin, *(x.estimate for x in lanes), *(d for x in lanes for d, _ in x.dots)]
    known = np.array([x for x in inner if np.isfinite(x)])
    most = 3 * max(float(np.abs(known).max()), 0.01)
    ends = np.array([e for x in lanes for e in (x.low, x.high) if np.isfinite(e)])
    every = np.concatenate([known, ends.clip(-most, most)])
    low, high = float(every.min()), float(every.max())
    room = 0.06 * (high - low) or 0.01
    return low - room, high + room
