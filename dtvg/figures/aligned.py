"""Membership above loss and evaluation on one axis of steps: did a change of the group matter?

Must not import torch or streamlit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dtvg.analysis.curves import CurveInfo
from dtvg.analysis.groups import GroupInfo
from dtvg.figures.groups import NOTHING, ROW, STEP, category_rows, timeline_figure
from dtvg.figures.theme import SCORE_LIMITS, finish, ink, message, style_at

MOST_EVENTS = 60
"""Changes drawn as lines through all panels; beyond, the churn plot says more."""


def aligned_figure(
    info: GroupInfo,
    loss: CurveInfo | None = None,
    score: CurveInfo | None = None,
    dark: bool = False,
    order: Sequence[str] = (),
) -> go.Figure:
    """Draw membership, loss and validation score over the same steps.

    Args:
        info: the run's groups.
        loss: its loss; None: no such panel.
        score: its validation score; None: no such panel.
        dark: for a dark page.
        order: all sources of the experiment, for colours.
    """
    if not len(info.steps):
        return message(NOTHING, dark)
    below = [(c, t) for c, t in ((loss, "loss"), (score, "score")) if c is not None and c.curves]
    top = 60 + ROW * len(info.sources)
    heights = [top, *[130] * len(below)]
    figure = make_subplots(
        rows=len(heights),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.045,
        row_heights=heights,
    )
    for trace in timeline_figure(info, dark, order).data:
        figure.add_trace(trace, row=1, col=1)
    for row, (curves, name) in enumerate(below, start=2):
        style = style_at(0 if name == "loss" else 2, dark)
        curve = curves.curves[0]
        figure.add_trace(
            go.Scatter(
                x=curve.x,
                y=curve.y,
                mode="lines" if name == "loss" else "lines+markers",
                name=name,
                line={"color": style.colour, "width": 1.4},
                hovertemplate=f"step %{{x:,}}: {name} %{{y:.4g}}<extra></extra>",
            ),
            row=row,
            col=1,
        )
    finish(
        figure,
        key=f"aligned {info.run}",
        dark=dark,
        height=sum(heights) + 70,
        x="",
        y="",
        bargap=0.25,
        barmode="overlay",
        showlegend=False,
        hovermode="closest",
    )
    _axes(figure, info, [name for _, name in below])
    _events(figure, info, dark)
    return figure


def _axes(figure: go.Figure, info: GroupInfo, names: list[str]) -> None:
    """Title the panels; only the lowest names the steps."""
    figure.update_xaxes(range=[info.steps[0] - 0.5, info.steps[-1] + 0.5])
    figure.update_xaxes(title_text=STEP, row=1 + len(names), col=1)
    lower = go.Figure(figure)
    category_rows(lower, info.sources)
    figure.layout.yaxis.update(lower.layout.yaxis)
    for row, name in enumerate(names, start=2):
        figure.update_yaxes(
            title_text=name,
            row=row,
            col=1,
            **({"tickformat": ".0%", **SCORE_LIMITS} if name == "score" else {}),
        )


def _events(figure: go.Figure, info: GroupInfo, dark: bool) -> None:
    """Draw a thin line through all panels where the group changed."""
    changes = info.steps[np.flatnonzero(info.churn)]
    if len(changes) > MOST_EVENTS:
        return
    line = {"color": ink(dark).muted, "width": 0.8, "dash": "dot"}
    lines = [
        {
            "type": "line",
            "xref": "x",
            "yref": "paper",
            "x0": float(step) - 0.5,
            "x1": float(step) - 0.5,
            "y0": 0,
            "y1": 1,
            "line": line,
            "opacity": 0.7,
        }
        for step in changes
    ]
    # one by one, each line copies all shapes there are and asks every trace for its panel
    figure.layout.shapes = [*figure.layout.shapes, *lines]
