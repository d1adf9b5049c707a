"""Logged and replayed groups one above the other. ReplayInfo → figure.

Must not import torch or streamlit.
"""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from dtvg.analysis.replay import ReplayInfo
from dtvg.figures.groups import category_rows, shaded
from dtvg.figures.theme import finish, message, source_styles


def replay_figure(info: ReplayInfo, dark: bool = False, order: Sequence[str] = ()) -> go.Figure:
    """Draw both timelines: per source the logged bar above, the replayed one hatched below."""
    if not len(info.steps):
        return message("No Gram matrix is committed yet.", dark)
    styles = source_styles(info.sources, order, dark)
    figure = go.Figure()
    for which in ("logged", "replayed"):
        table = info.logged_timeline if which == "logged" else info.replayed_timeline
        shape = "" if which == "logged" else "/"
        for source in info.sources:
            rows = table[(table["source"] == source).to_numpy()]
            shades = shaded(styles[source], rows["share"].to_numpy(), (0.0, 1.0), 0.1)
            figure.add_trace(
                go.Bar(
                    orientation="h",
                    y=[source] * len(rows),
                    name=f"{source}, {which}",
                    base=rows["first"].to_numpy() - 0.5,
                    x=(rows["last"] - rows["first"] + 1).to_numpy(),
                    offsetgroup=which,
                    marker={**shades, "pattern": {"shape": shape, "fgopacity": 0.5}},
                    customdata=rows[["first", "last", "share", "similarity"]].to_numpy(),
                    hovertemplate=f"<b>{source}</b>, {which}<br>steps %{{customdata[0]:,.0f}}–"
                    "%{customdata[1]:,.0f} (%{customdata[2]:.0%} of them)"
                    "<br>similarity %{customdata[3]:.4g}<extra></extra>",
                )
            )
    finish(
        figure,
        key=f"replay {info.run}",
        dark=dark,
        x="optimiser step",
        y="",
        height=100 + 44 * len(info.sources),
        barmode="group",
        bargap=0.2,
        showlegend=False,
    )
    figure.update_xaxes(range=[info.steps[0] - 0.5, info.steps[-1] + 0.5])
    category_rows(figure, info.sources)
    return figure
