"""Performance profile: a step curve for each method over the distance to the best.

ProfileInfo → figure. Must not import torch or streamlit.
"""

from __future__ import annotations

import plotly.graph_objects as go

from dtvg.analysis.profile import ProfileInfo
from dtvg.figures.theme import finish, message, method_styles


def profile_figure(info: ProfileInfo, dark: bool = False) -> go.Figure:
    """Draw on what share of targets and seeds each method is within τ of the best.

    Args:
        info: from `profile.profile`.
        dark: for a dark page.
    """
    if len(info.methods) < 2:
        return message(info.note, dark)
    figure = go.Figure()
    styles = method_styles(info.methods, dark)
    end = max(info.longest * 1.05, 0.01)
    for method in info.methods:
        curve = info.table[info.table["method"] == method]
        style = styles[method]
        figure.add_trace(
            go.Scatter(
                x=[*curve["tau"], end],
                y=[*curve["share"], curve["share"].iloc[-1]],
                mode="lines",
                name=method,
                line={"color": style.colour, "dash": style.dash, "width": 2, "shape": "hv"},
                hovertemplate=f"<b>{method}</b><br>within %{{x:.1%}} of the best "
                "on %{y:.0%}<extra></extra>",
            )
        )
    x = "τ: distance to the best score (percentage points)"
    y = f"share of {len(info.cells)} target-seed pairs"
    finish(figure, key="profile", dark=dark, x=x, y=y, height=420)
    figure.update_xaxes(tickformat=".1~%", range=[-0.01 * end, end])
    figure.update_yaxes(tickformat=".0%", range=[0, 1.03])
    return figure
