"""How often two sides are right, alone and together, as bars.

DisagreementInfo → figure. Must not import torch or streamlit.
"""

from __future__ import annotations

import plotly.graph_objects as go

from dtvg.analysis.disagreements import BOTH, KINDS, NEITHER, ONLY_A, ONLY_B, DisagreementInfo
from dtvg.figures.theme import finish, ink, message, style_at


def disagreement_figure(info: DisagreementInfo, dark: bool = False) -> go.Figure:
    """Draw the share of examples of each kind, a bar per pair of runs.

    Args:
        info: from `disagreement_info`.
        dark: for a dark page.
    """
    if not len(info.counts):
        return message("These runs kept no answers that could be matched.", dark)
    colours = {
        BOTH: style_at(2, dark).faded(0.35),
        ONLY_A: style_at(0, dark).colour,
        ONLY_B: style_at(1, dark).colour,
        NEITHER: ink(dark).grid,
    }
    names = {ONLY_A: f"only {info.a} right", ONLY_B: f"only {info.b} right"}
    rows = [("all seeds" if s == "all" else f"seed {s}") for s in info.counts["seed"]]
    figure = go.Figure()
    for kind in KINDS:
        share = info.counts[kind] / info.counts["examples"]
        figure.add_trace(
            go.Bar(
                x=share,
                y=rows,
                orientation="h",
                name=names.get(kind, kind),
                marker={"color": colours[kind]},
                text=info.counts[kind],
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                customdata=info.counts["examples"],
                hovertemplate="%{y}: %{text} of %{customdata} examples (%{x:.1%})",
            )
        )
    height = 130 + 34 * len(rows)
    finish(
        figure,
        key="disagreements",
        dark=dark,
        x="share of examples",
        y="",
        height=height,
        barmode="stack",
        bargap=0.25,
        uniformtext={"minsize": 10, "mode": "hide"},
        legend={"traceorder": "normal"},
    )
    figure.update_xaxes(tickformat=".0%", range=[0, 1])
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure
