"""The task-relation matrix, the target's row over time, and rounds of exchange. Info → figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from dtvg.analysis.run.relations import WAYS, RelationInfo
from dtvg.figures.flows import ramp
from dtvg.figures.theme import finish, message, source_styles

MOST_ROUNDS = 400
"""Rounds of the strip at most, evenly spaced, the first and the newest included."""


def matrix_figure(info: RelationInfo, dark: bool = False) -> go.Figure:
    """Draw the newest matrix: how much the task of a row takes from that of a column."""
    figure = go.Figure(
        go.Heatmap(
            z=info.matrices[-1],
            x=list(info.tasks),
            y=list(info.tasks),
            zmin=0,
            xgap=1,
            ygap=1,
            colorscale=ramp(dark),
            colorbar={
                "title": {"text": "relation", "side": "right"},
                "thickness": 12,
                "tickformat": ".0%",
            },
            texttemplate="%{z:.0%}",
            textfont={"size": 11},
            hovertemplate="%{y} takes %{z:.1%} from %{x}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed")
    height = 170 + 34 * len(info.tasks)
    return finish(figure, key=f"relations {info.run}", dark=dark, height=height, x="", y="")


def row_figure(info: RelationInfo, dark: bool = False, order: Sequence[str] = ()) -> go.Figure:
    """Draw the target's row over evaluations: what it takes from every task."""
    styles = source_styles(info.tasks, order, dark)
    figure = go.Figure()
    for place, task in enumerate(info.tasks):
        style = styles[task]
        figure.add_scatter(
            x=info.steps,
            y=info.matrices[:, 0, place],
            name=f"{task} (itself)" if place == 0 else task,
            mode="lines+markers",
            line={"color": style.colour, "dash": style.dash},
            marker={"symbol": style.symbol},
            hovertemplate="%{y:.1%}",
        )
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    figure.update_layout(hovermode="x unified")
    return finish(
        figure, key=f"relation row {info.run}", dark=dark, height=320, x="step", y="relation"
    )


def rounds_figure(info: RelationInfo, dark: bool = False) -> go.Figure:
    """Draw how each other run was met in each round, the run's own omissions among them."""
    if info.rounds.empty:
        return message("This run exchanges nothing with others.", dark)
    table = info.rounds.pivot_table(index="task", columns="step", values="how", aggfunc="first")
    shown = np.unique(np.linspace(0, len(table.columns) - 1, MOST_ROUNDS).round().astype(int))
    table = table.iloc[:, shown]
    codes = table.apply(lambda column: column.map({w: i for i, w in enumerate(WAYS)}))
    figure = go.Figure(
        go.Heatmap(
            z=codes.to_numpy(dtype=float),
            x=[f"{step:,}" for step in table.columns],
            y=list(table.index),
            customdata=table.to_numpy(),
            zmin=0,
            zmax=len(WAYS) - 1,
            ygap=2,
            colorscale=ramp(dark),
            colorbar={
                "thickness": 12,
                "tickvals": list(range(len(WAYS))),
                "ticktext": list(WAYS),
            },
            hovertemplate="step %{x}: %{y} %{customdata}<extra></extra>",
        )
    )
    height = 170 + 34 * len(table.index)
    return finish(
        figure, key=f"rounds {info.run}", dark=dark, height=height, x="step of the round", y=""
    )
