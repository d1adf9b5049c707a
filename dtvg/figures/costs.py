"""What a method costs against what it scores: up and to the left is better.

CostInfo → figure. Must not import torch or streamlit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from dtvg.analysis.costs import CostInfo
from dtvg.figures.theme import finish, message, method_styles

AXES = {
    "seconds_alone": "seconds of training (cohort shared out)",
    "trained_parameters": "trained parameters",
    "examples": "examples seen",
    "tokens": "tokens seen",
    "peak_mem_gib": "peak memory of the process (GiB)",
}


def costs_figure(
    info: CostInfo, axis: str = "seconds_alone", dark: bool = False, rows: tuple[str, ...] = ()
) -> go.Figure:
    """Draw the score of each method over one kind of cost.

    Args:
        info: from `costs.costs`.
        axis: one of `AXES`.
        dark: for a dark page.
        rows: methods to draw; none: all.
    """
    table = info.table
    known = table[table["score"].notna() & table[axis].notna()]
    if rows:
        known = known[known["method"].isin(rows)]
    if not len(known):
        return message("No finished run has logged this cost.", dark)
    styles = method_styles(list(table["method"]), dark)
    spread = known[axis].to_numpy(dtype=np.float64)
    far = bool(spread.min() > 0 and spread.max() / spread.min() > 20)
    figure = go.Figure()
    row: Any
    for row in known.itertuples():
        style = styles[row.method]
        figure.add_trace(
            go.Scatter(
                x=[getattr(row, axis)],
                y=[row.score],
                mode="markers",
                name=row.method,
                marker={"color": style.colour, "symbol": style.symbol, "size": 12},
                hovertemplate=f"<b>{row.method}</b><br>score %{{y:.1%}}<br>{AXES[axis]}: "
                f"%{{x:,.4~g}}<br>{row.n_runs} runs<extra></extra>",
            )
        )
    finish(figure, key=f"costs {axis}", dark=dark, x=AXES[axis], y="score", height=420)
    figure.update_yaxes(tickformat=".1~%")
    figure.update_xaxes(type="log" if far else "linear", nticks=8)
    return figure
