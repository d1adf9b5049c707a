"""Figures of the prompt bank: similarity matrix, map, norms per token. No reading."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from dtvg.analysis import titles
from dtvg.analysis.prompts import SpaceInfo
from dtvg.figures.theme import DARK_MIDDLE, LIGHT_MIDDLE, finish, message, source_styles


def matrix_figure(info: SpaceInfo, measure: str = "cosine", dark: bool = False) -> go.Figure:
    """Draw how similar the pooled vectors are, on a scale that is neutral at zero.

    Args:
        info: prompts of one space.
        measure: `cosine` or `dot`.
        dark: for a dark page.
    """
    values = info.cosine if measure == "cosine" else info.dot
    largest = 1.0 if measure == "cosine" else float(np.abs(values).max()) or 1.0
    names = [called(name) for name in info.names]
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=names,
            y=names,
            zmin=-largest,
            zmax=largest,
            xgap=1,
            ygap=1,
            colorscale=[
                [0, "#D55E00"],
                [0.5, DARK_MIDDLE if dark else LIGHT_MIDDLE],
                [1, "#0072B2"],
            ],
            colorbar={
                "title": {"text": "cosine" if measure == "cosine" else "inner product"},
                "thickness": 12,
                "tickformat": ".2g",
            },
            texttemplate="%{z:.2g}" if len(names) <= 12 else None,
            textfont={"size": 11},
            hovertemplate="%{y} · %{x}<br>%{z:.4g}<extra></extra>",
        )
    )
    height = min(760, 170 + 30 * len(names))
    finish(figure, key=f"matrix {measure}", dark=dark, height=height, x="", y="")
    figure.update_xaxes(tickangle=-35, showgrid=False)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def map_figure(info: SpaceInfo, dark: bool = False) -> go.Figure:
    """Draw the vectors on their two main axes, with the initial prompt's zero vector absent."""
    if len(info.names) < 3:
        return message(
            "A map needs at least three prompts of the same backbone, length and seed.", dark
        )
    styles = source_styles(info.names, dark=dark)
    figure = go.Figure()
    said = _labels(info)
    for name, x, y in info.map.itertuples(index=False):
        style = styles[name]
        figure.add_scatter(
            x=[x],
            y=[y],
            mode="markers+text",
            text=[said.get(name, "")],
            textposition="top center",
            name=called(name),
            cliponaxis=False,
            marker={"size": 12, "color": style.colour, "symbol": style.symbol},
            hovertemplate=f"{called(name)}<br>%{{x:.3g}}, %{{y:.3g}}<extra></extra>",
        )
    first, second = (100 * share for share in info.explained)
    return finish(
        figure,
        key="prompt map",
        dark=dark,
        height=460,
        x=f"first component ({first:.0f} % of the variance)",
        y=f"second component ({second:.0f} %)",
        showlegend=False,
    )


WIDE, HIGH = 0.14, 0.12
"""Shares of the map within which two labels would cover each other."""
TOGETHER = 2
"""Names written above points that lie together; the others are counted."""


def called(name: str) -> str:
    """Return the title of a prompt of `SpaceInfo.names`: a task, then what tells it apart."""
    task, _, apart = name.partition(" ")
    return f"{titles.task(task)} {apart}".strip()


def _labels(info: SpaceInfo) -> dict[str, str]:
    """Return what is written above which points: one label where several lie together."""
    x, y = (info.map[axis].to_numpy(dtype=np.float64) for axis in ("x", "y"))
    wide, high = (float(np.ptp(values)) or 1.0 for values in (x, y))
    groups: list[list[int]] = []
    for at in range(len(x)):
        near = (
            one
            for one in groups
            if abs(x[one[0]] - x[at]) < WIDE * wide and abs(y[one[0]] - y[at]) < HIGH * high
        )
        found = next(near, None)
        if found is None:
            groups.append([at])
        else:
            found.append(at)
    told = {}
    for one in groups:
        names = [called(info.names[at]) for at in one]
        more = [f"and {len(names) - TOGETHER} more"] if len(names) > TOGETHER else []
        told[info.names[one[0]]] = "<br>".join([*names[:TOGETHER], *more])
    return told


def norms_figure(info: SpaceInfo, dark: bool = False) -> go.Figure:
    """Draw how far each prompt token moved: tasks × tokens."""
    wide = info.token_norms.pivot(index="name", columns="token", values="norm").loc[
        list(info.names)
    ]
    figure = go.Figure(
        go.Heatmap(
            z=wide.to_numpy(),
            x=[int(c) for c in wide.columns],
            y=[called(name) for name in wide.index],
            zmin=0,
            colorscale="Cividis",
            colorbar={
                "title": {"text": "norm", "side": "right"},
                "thickness": 12,
                "tickformat": ".2g",
            },
            hovertemplate="%{y}, token %{x}<br>norm %{z:.4g}<extra></extra>",
        )
    )
    height = min(760, 140 + 28 * len(info.names))
    finish(figure, key="token norms", dark=dark, height=height, x="prompt token", y="")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(showgrid=False)
    return figure
