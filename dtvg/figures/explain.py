"""One decision in pictures: ranking with the cut, consistency by prefix, Gram matrix.

ExplainInfo → figure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from dtvg.analysis.run.explain import ExplainInfo
from dtvg.analysis.run.groups import GroupInfo
from dtvg.figures.groups import similarity_figure
from dtvg.figures.theme import (
    DARK_MIDDLE,
    LIGHT_MIDDLE,
    cut_line,
    finish,
    ink,
    message,
    source_styles,
    style_at,
)


def ranking_figure(info: ExplainInfo, dark: bool = False, order: Sequence[str] = ()) -> go.Figure:
    """Draw similarity of every source by rank, members filled, with the cut."""
    table = info.table
    styles = source_styles(info.sources, order, dark)
    colours = ink(dark)
    member = table["member"].to_numpy()
    hues = [styles[s] for s in table["source"]]
    figure = go.Figure(
        go.Bar(
            orientation="h",
            y=table["source"].tolist(),
            x=table["similarity"].to_numpy(),
            name="similarity",
            marker={
                "color": [
                    h.colour if m else h.faded(0.2) for h, m in zip(hues, member, strict=True)
                ],
                "line": {"color": [h.colour for h in hues], "width": 1.2},
            },
            customdata=np.stack(
                [
                    table["rank"].to_numpy().astype(object),
                    np.where(member, "in the group", "not in the group"),
                ],
                axis=1,
            ),
            hovertemplate="<b>%{y}</b><br>similarity %{x:.4g}, rank %{customdata[0]}"
            "<br>%{customdata[1]}<extra></extra>",
        )
    )
    unit = " (cosine)" if info.measure == "cosine" else ""
    finish(
        figure,
        key=f"ranking {info.run}",
        dark=dark,
        x=f"similarity to the target{unit}",
        y="",
        height=90 + 32 * len(info.sources),
        bargap=0.3,
        showlegend=False,
    )
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False)
    figure.add_vline(x=0, line={"color": colours.zero, "width": 1})
    figure.add_vline(
        x=info.threshold,
        **cut_line(info.threshold, dark),
        annotation_position="top right",
        annotation_yanchor="bottom",
    )
    return figure


def prefix_figure(info: ExplainInfo, dark: bool = False, height: int = 300) -> go.Figure:
    """Draw consistency of the first k candidates, the chosen k* marked."""
    table = info.prefix_table
    if not len(table):
        return message("No source reaches the cut at this step, so the group is empty.", dark)
    style, colours = style_at(0, dark), ink(dark)
    chosen = table["chosen"].to_numpy()
    names = [f"{k}<br>+ {s}" for k, s in zip(table["k"], table["source"], strict=True)]
    figure = go.Figure(
        go.Bar(
            x=names,
            y=table["consistency"].to_numpy(),
            name="consistency",
            marker={
                "color": [style.colour if c else style.faded(0.3) for c in chosen],
                "line": {"color": style.colour, "width": 1},
            },
            customdata=table[["k", "source"]].to_numpy(),
            hovertemplate="first %{customdata[0]} candidates (up to %{customdata[1]})"
            "<br>consistency %{y:.4g}<extra></extra>",
        )
    )
    finish(
        figure,
        key=f"prefix {info.run}",
        dark=dark,
        height=height,
        showlegend=False,
        x="first k candidates by similarity",
        y="consistency",
        bargap=0.35,
    )
    figure.add_hline(y=0, line={"color": colours.zero, "width": 1})
    if chosen.any():
        at = int(np.flatnonzero(chosen)[0])
        value = float(table["consistency"].iloc[at])
        figure.add_annotation(
            x=at,
            y=value,
            text=f"k* = {at + 1}",
            showarrow=False,
            yshift=12 if value >= 0 else -12,
            font={"color": colours.text, "size": 13},
        )
    return figure


def gram_figure(info: ExplainInfo, dark: bool = False) -> go.Figure:
    """Draw the Gram matrix, target first, on a scale that is white at zero."""
    names = [f"{info.target} (target)", *info.sources]
    largest = float(np.abs(info.gram).max()) if info.gram.size else 1.0
    middle = DARK_MIDDLE if dark else LIGHT_MIDDLE
    few = len(names) <= 10
    unit = "cosine" if info.measure == "cosine" else "inner product"
    figure = go.Figure(
        go.Heatmap(
            z=info.gram,
            x=names,
            y=names,
            zmin=-largest,
            zmax=largest,
            xgap=1,
            ygap=1,
            colorscale=[[0, "#D55E00"], [0.5, middle], [1, "#0072B2"]],
            colorbar={
                "title": {"text": unit, "font": {"size": 12}},
                "thickness": 12,
                "tickformat": ".2g",
            },
            texttemplate="%{z:.2g}" if few else None,
            textfont={"size": 11},
            hovertemplate="%{y} · %{x}<br>%{z:.5g}<extra></extra>",
        )
    )
    size = 150 + 34 * len(names)
    finish(figure, key=f"gram {info.run}", dark=dark, height=size, x="", y="")
    figure.update_xaxes(side="bottom", tickangle=-35, showgrid=False)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def picker_figure(
    info: GroupInfo, step: int, dark: bool = False, order: Sequence[str] = (), height: int = 260
) -> go.Figure:
    """Draw similarity over steps, made to be clicked: a click on a point chooses its step.

    Args:
        info: the run's groups.
        step: the step chosen now, marked by a line.
        dark: for a dark page.
        order: all sources of the experiment, for colours.
        height: in pixels.
    """
    figure = similarity_figure(info, dark, order, height)
    for trace in figure.data:
        trace.mode = "lines+markers"  # lines alone cannot be clicked
        trace.marker = {"size": 7, "opacity": 0}
        trace.selected = {"marker": {"opacity": 0}}
        trace.unselected = {"marker": {"opacity": 0}}
    figure.add_vline(
        x=step,
        line={"color": ink(dark).text, "width": 1.5},
        annotation={
            "text": f"step {step:,}",
            "font": {"size": 12},
            "bgcolor": ink(dark).paper,
            "opacity": 0.85,
        },
        annotation_position="bottom right",
    )
    figure.update_layout(clickmode="event+select", dragmode="zoom", uirevision=f"pick {info.run}")
    return figure
