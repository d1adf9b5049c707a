"""How strongly each source is taken over the steps: weights, and what they add to the prompt."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from dtvg.analysis.groups import GroupInfo
from dtvg.figures.theme import finish, message, source_styles

NOTHING = "No step is recorded yet."
STEP = "optimiser step"


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
    styles = source_styles(info.sources, order, dark)
    figure = go.Figure()
    table = info.weight_table
    kind = go.Scattergl if len(table) > 4000 else go.Scatter
    for source in info.sources:
        mine = table[(table["source"] == source).to_numpy()]
        line = {"color": styles[source].colour, "width": 1.6}
        if kind is go.Scatter:
            line["dash"] = styles[source].dash
        figure.add_trace(
            kind(
                x=mine["step"].to_numpy(),
                y=mine[column].to_numpy(),
                name=source,
                mode="lines",
                line=line,
                hovertemplate=f"<b>{source}</b><br>step %{{x:,}}: {column} %{{y:.4g}}"
                "<extra></extra>",
            )
        )
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
