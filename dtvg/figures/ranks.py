"""Critical-difference diagram: average ranks on a line, methods that are level joined by bars.

RanksInfo → figure, after Demšar, JMLR 7 (2006), figure 1. Must not import torch or streamlit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from dtvg.analysis.ranks import RanksInfo
from dtvg.figures.theme import finish, ink, message, method_styles

LINE = 1.0
"""Distance between the names of methods, in rows."""


def ranks_figure(info: RanksInfo, dark: bool = False) -> go.Figure:
    """Draw average ranks, best on the left, with Nemenyi's critical difference.

    Args:
        info: from `ranks.ranks`.
        dark: for a dark page.
    """
    table = info.table
    k = len(table)
    if k < 2 or not info.targets:
        return message(info.note, dark)
    figure = go.Figure()
    colours = ink(dark)
    bars = _bars(info)
    half = (k + 1) // 2
    styles = method_styles(table["method"].tolist(), dark)
    for place, row in enumerate(table.itertuples(index=False)):
        left = place < half
        level = -(len(bars) * 0.35 + 1.0 + LINE * (place if left else k - 1 - place))
        _stem(figure, row, level, left, k, styles[str(row.method)].colour)
    for i, (low, high) in enumerate(bars):
        figure.add_trace(_bar(low, high, -0.35 * (i + 1), colours.text, "Not told apart"))
    if not np.isnan(info.critical_difference):
        shown = min(info.critical_difference, k - 1.0)
        label = f"critical difference {info.critical_difference:.2f}"
        label += " (beyond the line)" if info.critical_difference > k - 1 else ""
        figure.add_trace(_bar(1.0, 1.0 + shown, 0.75, colours.muted, label))
        figure.add_annotation(
            x=1.0, y=0.8, text=label, showarrow=False, xanchor="left", yanchor="bottom",
            font={"color": colours.muted, "size": 12},
        )  # fmt: skip
    depth = len(bars) * 0.35 + 1.0 + LINE * half
    title = f"average rank over {len(info.targets)} targets (1 = best)"
    height = int(120 + 30 * (depth + 1.6))
    finish(figure, key="ranks", dark=dark, x=title, y="", height=height, showlegend=False)
    room = 0.28 * (k - 1) + 0.4
    figure.update_xaxes(
        side="top", range=[1 - room, k + room], tickvals=list(range(1, k + 1)), showgrid=False
    )
    figure.update_yaxes(visible=False, range=[-depth - 0.4, 1.6])
    figure.add_shape(
        type="line", x0=1, x1=k, y0=0, y1=0, line={"color": colours.text, "width": 1.5}
    )
    return figure


def _bars(info: RanksInfo) -> list[tuple[float, float]]:
    """From which rank to which each set of level methods reaches."""
    rank = dict(zip(info.table["method"], info.table["rank"], strict=True))
    return [(rank[clique[0]], rank[clique[-1]]) for clique in info.cliques]


def _bar(low: float, high: float, y: float, colour: str, name: str) -> go.Scatter:
    return go.Scatter(
        x=[low - 0.03, high + 0.03],
        y=[y, y],
        mode="lines",
        name=name,
        line={"color": colour, "width": 5},
        hovertemplate=f"{name}<extra></extra>",
    )


def _stem(figure: go.Figure, row: Any, level: float, left: bool, k: int, colour: str) -> None:
    """A method's rank on the line, and from there down and out to its name."""
    end = 1 - 0.15 if left else k + 0.15
    figure.add_trace(
        go.Scatter(
            x=[row.rank, row.rank, end],
            y=[0, level, level],
            mode="lines+markers",
            name=str(row.method),
            line={"color": colour, "width": 1.5},
            marker={"size": [9, 0, 0], "color": colour},
            hovertemplate=f"<b>{row.method}</b><br>average rank {row.rank:.2f}<br>"
            f"mean {row.mean:.1%}, best on {row.wins}<extra></extra>",
        )
    )
    figure.add_annotation(
        x=end,
        y=level,
        text=f"{row.method} ({row.rank:.2f})",
        showarrow=False,
        xanchor="right" if left else "left",
        font={"color": colour, "size": 12},
    )
