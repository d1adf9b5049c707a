"""Two runs on one axis: membership above and below, differences shaded, loss and score beneath.

PairInfo → figure.
"""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dtvg.analysis.run.curves import CurveInfo
from dtvg.analysis.run.pair import PairInfo
from dtvg.figures.groups import STEP, category_rows, said_steps, shaded
from dtvg.figures.theme import SCORE_LIMITS, finish, ink, message, source_styles, style_at

ROW, PANEL = 44, 140
"""Pixels of a source's two bars, and of a curve's panel."""
STYLES = (0, 3)
"""Places of the two runs' colours in the list."""


def pair_figure(
    info: PairInfo,
    curves: Sequence[tuple[str, CurveInfo]] = (),
    dark: bool = False,
    order: Sequence[str] = (),
) -> go.Figure:
    """Draw both timelines source by source, differences shaded; curves of both below.

    Args:
        info: from `pair_info`.
        curves: title and curves of each panel below; the first run's comes first.
        dark: for a dark page.
        order: all sources of the experiment, for colours.
    """
    if not any(len(group.steps) for group in info.groups):
        return message("Neither run has a committed step with groups yet.", dark)
    top = 70 + ROW * len(info.sources)
    heights = [top, *[PANEL] * len(curves)]
    figure = make_subplots(
        rows=len(heights), cols=1, shared_xaxes=True, vertical_spacing=0.05, row_heights=heights
    )
    figure.add_traces(_differences(info, dark))
    figure.add_traces(_bars(info, dark, order))
    for row, (_, made) in enumerate(curves, 2):
        _lines(figure, made, info, row, dark)
    finish(
        figure,
        key=f"pair {info.names}",
        dark=dark,
        x="",
        y="",
        height=sum(heights) + 90,
        barmode="overlay",
        showlegend=True,
        hovermode="closest",
    )
    lower = go.Figure(figure)
    category_rows(lower, info.sources)
    figure.layout.yaxis.update(lower.layout.yaxis)
    first = min(int(g.steps[0]) for g in info.groups if len(g.steps))
    last = max(int(g.steps[-1]) for g in info.groups if len(g.steps))
    figure.update_xaxes(range=[first - 0.5, last + 0.5])
    figure.update_xaxes(title_text=STEP, row=len(heights), col=1)
    for row, (title, made) in enumerate(curves, 2):
        limits = {"tickformat": ".0%", **SCORE_LIMITS} if made.split else {}
        figure.update_yaxes(title_text=title, row=row, col=1, **limits)
    return figure


def _bars(info: PairInfo, dark: bool, order: Sequence[str]) -> list[go.Bar]:
    """The first run's bars in the upper half of a row, the second's hatched in the lower."""
    styles = source_styles(info.sources, order, dark)
    traces = []
    for which, (name, rows) in enumerate(zip(info.names, info.timelines, strict=True)):
        for source in info.sources:
            mine = rows[(rows["source"] == source).to_numpy()]
            shades = shaded(styles[source], mine["share"].to_numpy(), (0.0, 1.0), 0.1)
            traces.append(
                go.Bar(
                    orientation="h",
                    name=f"{source}, {name}",
                    meta=said_steps(mine),
                    showlegend=False,
                    y=[source] * len(mine),
                    base=mine["first"].to_numpy() - 0.5,
                    x=(mine["last"] - mine["first"] + 1).to_numpy(),
                    width=0.32,
                    offset=-0.36 if which == 0 else 0.04,
                    marker={
                        **shades,
                        "pattern": {"shape": "/" if which else "", "fgopacity": 0.5},
                    },
                    customdata=mine[["first", "last", "share"]].to_numpy(),
                    hovertemplate=f"<b>{source}</b> in {name}<br>steps %{{customdata[0]:,.0f}}–"
                    "%{customdata[1]:,.0f} (%{customdata[2]:.0%} of them)<extra></extra>",
                )
            )
    return traces


def _differences(info: PairInfo, dark: bool) -> list[go.Bar]:
    """Shade a source's whole row where only one of the runs had it."""
    rows = info.apart
    if not len(rows):
        return []
    return [
        go.Bar(
            orientation="h",
            name="only one of them has the source",
            y=rows["source"].tolist(),
            base=rows["first"].to_numpy() - 0.5,
            x=(rows["last"] - rows["first"] + 1).to_numpy(),
            width=0.92,
            offset=-0.46,
            marker={
                "color": ink(dark).muted,
                "opacity": (0.1 + 0.22 * rows["share"]).to_numpy(),
                "line": {"width": 0},
            },
            customdata=[
                [first, last, info.names[0 if who == "a" else 1]]
                for first, last, who in zip(rows["first"], rows["last"], rows["who"], strict=True)
            ],
            hovertemplate="<b>%{y}</b>: only in %{customdata[2]}<br>steps %{customdata[0]:,.0f}–"
            "%{customdata[1]:,.0f}<extra></extra>",
        )
    ]


def _lines(figure: go.Figure, made: CurveInfo, info: PairInfo, row: int, dark: bool) -> None:
    """Draw one quantity of both runs in a panel."""
    score = bool(made.split)
    for curve in made.curves:
        which = info.names.index(curve.name) if curve.name in info.names else 0
        style = style_at(STYLES[which], dark)
        value = "%{y:.1%}" if score else "%{y:.4g}"
        figure.add_trace(
            go.Scatter(
                x=curve.x,
                y=curve.y,
                name=curve.name,
                legendgroup=curve.name,
                showlegend=row == 2,
                mode="lines+markers" if len(curve.x) < 60 else "lines",
                line={"color": style.colour, "width": 1.6, "dash": "dash" if which else "solid"},
                hovertemplate=f"<b>{curve.name}</b><br>step %{{x:,}}: {value}<extra></extra>",
            ),
            row=row,
            col=1,
        )
