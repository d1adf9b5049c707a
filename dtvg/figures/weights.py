"""How strongly each source is taken over the steps: weights, and what they add to the prompt."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from dtvg.analysis.groups import GroupInfo
from dtvg.figures.groups import NOTHING, STEP, rows_by_source, source_line
from dtvg.figures.theme import finish, message


def weights_figure(info: GroupInfo, dark: bool = False, order: Sequence[str] = ()) -> go.Figure:
    """Draw each source's weight in the merge.

    Args:
        info: the run's groups.
        dark: for a dark page.
        order: all sources of the experiment, for colours.
    """
    return _lines(info, "weight", "weight in the merge", dark, order)


def contribution_figure(
    info: GroupInfo, dark: bool = False, order: Sequence[str] = ()
) -> go.Figure:
    """Draw the norm of what each source adds to the prompt; as `weights_figure`."""
    return _lines(info, "contribution", "Frobenius norm of what is added", dark, order)


def _lines(info: GroupInfo, column: str, title: str, dark: bool, order: Sequence[str]) -> go.Figure:
    if not len(info.steps):
        return message(NOTHING, dark)
    figure = go.Figure()
    for source, mine in rows_by_source(info, info.weight_table):
        hover = f"<b>{source}</b><br>step %{{x:,}}: {column} %{{y:.4g}}<extra></extra>"
        figure.add_trace(source_line(info, source, mine, column, order, dark, hover))
    finish(
        figure,
        key=f"{column} {info.run}",
        dark=dark,
        height=320,
        x=STEP,
        y=title,
        hovermode="closest",
    )
    figure.update_yaxes(rangemode="tozero")
    return figure
