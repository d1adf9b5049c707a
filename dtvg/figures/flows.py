"""Transitions between groups, co-membership, the target's path, scales. Info → figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from dtvg.analysis import titles
from dtvg.analysis.run.groups import OTHER, TransitionInfo
from dtvg.analysis.run.stability import StabilityInfo
from dtvg.analysis.run.trajectory import ScaleInfo, TrajectoryInfo
from dtvg.figures.ends import apart
from dtvg.figures.theme import Style, finish, ink, message, source_styles, style_at

NEAR = 0.12
"""Share of the longest place below which a source near the origin is named on hover only."""
WIDEST = 60
"""Characters of a group's name beside a flow."""


def transitions_figure(info: TransitionInfo, dark: bool = False) -> go.Figure:
    """Draw which group followed which; a flow is as wide as it happened often."""
    table = info.table
    if table.empty:
        return message("The group never changed, so there is no transition to show.", dark)
    used = [g for g in info.groups if g in set(table["from"]) | set(table["to"])]
    place = {name: info.groups.index(name) for name in used}
    styles = [
        Style(ink(dark).muted, "solid", "circle") if g == OTHER else style_at(place[g], dark)
        for g in used
    ]
    left = {name: i for i, name in enumerate(used)}
    right = {name: i + len(used) for i, name in enumerate(used)}
    called = [titles.label(g) for g in used]
    short = [g if len(g) <= WIDEST else g[: WIDEST - 1] + "…" for g in called]
    share = np.array([table.loc[table["from"] == g, "times"].sum() for g in used], dtype=float)
    figure = go.Figure(
        go.Sankey(
            arrangement="snap",
            node={
                "label": [*short, *short],
                "color": [s.colour for s in styles] * 2,
                "pad": 14,
                "thickness": 14,
                "line": {"width": 0},
                "customdata": [*used, *used],
                "hovertemplate": "%{customdata}<br>changes: %{value}<extra></extra>",
            },
            link={
                "source": [left[g] for g in table["from"]],
                "target": [right[g] for g in table["to"]],
                "value": table["times"].to_numpy(),
                "color": [styles[used.index(g)].faded(0.35) for g in table["from"]],
                "customdata": table[["first", "last"]].to_numpy(),
                "hovertemplate": "%{source.customdata} → %{target.customdata}<br>times: %{value}, "
                "steps %{customdata[0]:,}–%{customdata[1]:,}<extra></extra>",
            },
            textfont={"color": ink(dark).text, "size": 12},
        )
    )
    height = int(140 + 30 * len(used) + min(120, share.sum()))
    return finish(
        figure, key=f"transitions {info.run}", dark=dark, height=min(height, 560), x="", y=""
    )


def together_figure(info: TransitionInfo, dark: bool = False) -> go.Figure:
    """Draw for every pair of sources in how many of the steps both were in the group."""
    return _shares(
        info.together,
        info.sources,
        dark,
        key=f"together {info.run}",
        unit="share of steps",
        hover="%{y} with %{x}<br>both in the group in %{z:.1%} of the steps<extra></extra>",
    )


def seeds_figure(info: StabilityInfo, dark: bool = False, last: bool = False) -> go.Figure:
    """Draw how alike the groups of two seeds are: mean Jaccard over steps, or of the newest."""
    if len(info.seeds) < 2:
        return message("Agreement between seeds needs at least two runs.", dark)
    return _shares(
        info.jaccard_last if last else info.jaccard,
        [f"seed {s}" for s in info.seeds],
        dark,
        key=f"seeds {last}",
        unit="Jaccard",
        hover="%{y} and %{x}<br>Jaccard %{z:.2f}<extra></extra>",
        room=6,  # two of these stand side by side
    )


def seed_shares_figure(info: StabilityInfo, dark: bool = False) -> go.Figure:
    """Draw in what share of its steps each seed had each source in the group."""
    figure = go.Figure(
        go.Heatmap(
            z=info.share,
            x=list(info.sources),
            y=[f"seed {s}" for s in info.seeds],
            zmin=0,
            zmax=1,
            xgap=1,
            ygap=1,
            colorscale=ramp(dark),
            colorbar={
                "title": {"text": "share of steps", "side": "right"},
                "thickness": 12,
                "tickformat": ".0%",
            },
            texttemplate="%{z:.0%}",
            textfont={"size": 11},
            hovertemplate="%{y}: %{x} in the group in %{z:.1%} of the steps<extra></extra>",
        )
    )
    height = 170 + 34 * len(info.seeds)
    finish(figure, key="seed shares", dark=dark, height=height, x="", y="")
    figure.update_xaxes(tickangle=-35, showgrid=False)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def _shares(
    values: np.ndarray,
    names: Sequence[str],
    dark: bool,
    *,
    key: str,
    unit: str,
    hover: str,
    room: int = 10,
) -> go.Figure:
    """Draw a square of shares; up to `room` names they are written into the cells."""
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=list(names),
            y=list(names),
            zmin=0,
            zmax=1,
            xgap=1,
            ygap=1,
            colorscale=ramp(dark),
            colorbar={"title": {"text": unit, "side": "right"}, "thickness": 12},
            texttemplate="%{z:.2f}" if len(names) <= room else None,
            textfont={"size": 11},
            hovertemplate=hover,
        )
    )
    height = min(640, 150 + 34 * len(names))
    finish(figure, key=key, dark=dark, height=height, x="", y="")
    figure.update_xaxes(tickangle=-35, showgrid=False)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def ramp(dark: bool) -> list[list[object]]:
    """Return the colours of shares, from none to all."""
    return [[0, "#1B222C" if dark else "#F4F6F8"], [1, "#4DA3DB" if dark else "#0072B2"]]


def scales_figure(info: ScaleInfo, dark: bool = False) -> go.Figure:
    """Draw every learned scale; the colour is neutral at the start value 1."""
    reach = max(float(np.abs(info.scale - 1).max()), 0.05)
    figure = go.Figure(
        go.Heatmap(
            z=info.scale,
            x=list(range(1, info.scale.shape[1] + 1)),
            y=list(info.names),
            zmin=1 - reach,
            zmax=1 + reach,
            colorscale=[[0, "#D55E00"], [0.5, "#232A34" if dark else "#F7F7F7"], [1, "#0072B2"]],
            colorbar={
                "title": {"text": "scale α", "side": "right"},
                "thickness": 12,
                "tickformat": ".2f",
            },
            hovertemplate="%{y}, token %{x}<br>scale %{z:.4g}<extra></extra>",
        )
    )
    finish(
        figure,
        key=f"scales {info.run}",
        dark=dark,
        height=130 + 28 * len(info.names),
        x="prompt token",
        y="",
    )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(showgrid=False)
    return figure


def vector_points(
    info: TrajectoryInfo, at: int, styles: Mapping[str, Style], target: str, named_at: int
) -> go.Scatter:
    """Return the vectors of one kept step as points; sources near the origin are named on hover.

    Args:
        info: places of target and sources `[S, 1 + n, 2]`, target first.
        at: the step's place among those kept.
        styles: of each source.
        target: colour of the target's star.
        named_at: the step by which it is settled which names are written, and on which side.
    """
    names = [info.target, *info.sources]
    far = np.hypot(*np.moveaxis(info.place[named_at], -1, 0))
    near = far[1:] <= NEAR * far.max()
    wanted = [info.target, *np.where(near, "", info.sources).tolist()]
    written, sides = apart(info.place[named_at], [titles.task(name) for name in wanted])
    return go.Scatter(
        x=info.place[at, :, 0],
        y=info.place[at, :, 1],
        mode="markers+text",
        text=written,
        textposition=sides,
        cliponaxis=False,
        name="vectors",
        marker={
            "size": [16, *[11] * len(info.sources)],
            "symbol": ["star", *(styles[s].symbol for s in info.sources)],
            "color": [target, *(styles[s].colour for s in info.sources)],
        },
        customdata=list(zip(names, info.length[at], strict=True)),
        hovertemplate="<b>%{customdata[0]}</b><br>length %{customdata[1]:.4g}<extra></extra>",
        showlegend=False,
    )


def trajectory_figure(
    info: TrajectoryInfo, dark: bool = False, order: Sequence[str] = ()
) -> go.Figure:
    """Draw the target's path among the sources, with a slider over steps and a play button."""
    styles = source_styles(info.sources, order, dark)
    colours = ink(dark)
    x, y = info.place[:, 0, 0], info.place[:, 0, 1]

    def moving(k: int) -> list[go.Scatter]:
        path = go.Scatter(
            x=x[: k + 1],
            y=y[: k + 1],
            mode="lines",
            name="path of the target",
            line={"color": colours.muted, "width": 1.5},
            hoverinfo="skip",
        )
        points = vector_points(info, k, styles, colours.text, named_at=-1)
        return [path, points]

    names = [f"{step:,}" for step in info.steps]
    figure = go.Figure(
        data=moving(len(names) - 1),
        frames=[go.Frame(data=moving(k), name=names[k]) for k in range(len(names))],
    )
    for source in range(len(info.sources)):
        end = info.place[-1, source + 1]
        figure.add_shape(
            type="line", x0=0, y0=0, x1=end[0], y1=end[1],
            line={"color": colours.grid, "width": 1}, layer="below",
        )  # fmt: skip
    first, second = (f"{100 * share:.0f}" for share in info.explained)
    finish(
        figure,
        key=f"path {info.run}",
        dark=dark,
        height=540,
        x=f"first principal direction of the sources ({first} % of their length)",
        y=f"second ({second} %)",
        showlegend=False,
    )
    figure.update_layout(
        sliders=[_slider(names, colours.muted)], updatemenus=[_buttons() | {"active": -1}]
    )
    figure.update_yaxes(scaleanchor="x", scaleratio=1)
    return figure


def _slider(names: Sequence[str], colour: str) -> dict[str, object]:
    still = {"frame": {"duration": 0, "redraw": False}, "mode": "immediate"}
    return {
        "active": len(names) - 1,
        "currentvalue": {"prefix": "step ", "font": {"size": 13}},
        "font": {"color": colour, "size": 10},
        "bgcolor": colour,
        "activebgcolor": colour,
        "bordercolor": colour,
        "x": 0.17,
        "len": 0.83,
        "pad": {"t": 46},
        "steps": [{"args": [[name], still], "label": name, "method": "animate"} for name in names],
    }


def _buttons() -> dict[str, object]:
    play = {"frame": {"duration": 80, "redraw": False}, "fromcurrent": False, "mode": "immediate"}
    stop = {"frame": {"duration": 0, "redraw": False}, "mode": "immediate"}
    return {
        "type": "buttons",
        "direction": "left",
        "x": 0,
        "y": 0,
        "xanchor": "left",
        "yanchor": "top",
        "pad": {"t": 62},
        "buttons": [
            {"label": "Play", "method": "animate", "args": [None, play]},
            {"label": "Stop", "method": "animate", "args": [[None], stop]},
        ],
    }
