"""One decision in pictures: ranking with the cut, consistency by prefix, Gram matrix.

ExplainInfo → figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dtvg.analysis.run.explain import ExplainInfo
from dtvg.analysis.run.groups import GroupInfo
from dtvg.analysis.run.trajectory import TrajectoryInfo
from dtvg.analysis.subsets.beside import Beside
from dtvg.figures.flows import vector_points
from dtvg.figures.groups import timeline_figure
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
    cosine = info.measure == "cosine"
    formula = "cosine(v_t, v_s)" if cosine else "similarity ⟨v_t, v_s⟩ / d"
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
            hovertemplate=f"<b>%{{y}}</b><br>{formula} = %{{x:.4g}}, rank %{{customdata[0]}}"
            "<br>%{customdata[1]}<extra></extra>",
        )
    )
    finish(
        figure,
        key=f"ranking {info.run}",
        dark=dark,
        x="similarity to the target" + (" (cosine)" if cosine else ""),
        y="",
        height=90 + 32 * len(info.sources),
        bargap=0.3,
        showlegend=False,
        shapes=[_at_zero("x", "y", colours.zero)],
    )
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False)
    figure.add_vline(
        x=info.threshold,
        **cut_line(info.threshold, dark),
        annotation_position="top right",
        annotation_yanchor="bottom",
    )
    return figure


def _at_zero(axis: str, along: str, colour: str) -> dict[str, Any]:
    """A line through zero, given with the layout: `add_vline` takes as long as a whole figure."""
    place = {f"{axis}0": 0, f"{axis}1": 0, f"{along}0": 0, f"{along}1": 1}
    refs = {f"{axis}ref": axis, f"{along}ref": f"{along} domain"}
    return {"type": "line", **place, **refs, "line": {"color": colour, "width": 1}}


def prefix_figure(info: ExplainInfo, dark: bool = False, height: int = 300) -> go.Figure:
    """Draw consistency of the first k candidates, the chosen k* marked."""
    table = info.prefix_table
    if not len(table):
        empty = not any(info.member) and not any(info.trained)
        ends = ", so the group is empty." if empty else "."
        return message(f"No source reaches the cut at this step{ends}", dark)
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
            "<br>consistency KC(%{customdata[0]}) = %{y:.4g}<extra></extra>",
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
        shapes=[_at_zero("y", "x", colours.zero)],
    )
    # the ranking beside it names the k-th; names here would take the bars' room
    figure.update_xaxes(tickvals=names, ticktext=[str(k) for k in table["k"]], tickangle=0)
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
    few = len(names) <= 7  # more do not fit beside the path
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
                "title": {"text": unit, "font": {"size": 12}, "side": "right"},
                "thickness": 12,
                "tickformat": ".2g",
            },
            texttemplate="%{z:.2g}" if few else None,
            textfont={"size": 11},
            hovertemplate="%{y} · %{x}<br>⟨v_i, v_j⟩ / d = %{z:.5g}<extra></extra>",
        )
    )
    size = 150 + 34 * len(names)
    finish(figure, key=f"gram {info.run}", dark=dark, height=size, x="", y="")
    figure.update_xaxes(side="bottom", tickangle=-35 if few else -90, showgrid=False)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def scrubber_figure(
    info: GroupInfo,
    step: int,
    dark: bool = False,
    order: Sequence[str] = (),
    beside: Beside | None = None,
) -> go.Figure:
    """Draw membership with the chosen step marked; a click on it chooses another step.

    Args:
        info: the run's groups.
        step: the step chosen now, marked by a line.
        dark: for a dark page.
        order: all sources of the experiment, for colours.
        beside: right sets and marks, rows below the sources.
    """
    figure = timeline_figure(info, dark, order, beside=beside)
    mark_step(figure, step, dark)
    figure.update_layout(uirevision=f"pick {info.run}", clickanywhere=True)
    return figure


def mark_step(figure: go.Figure, step: int, dark: bool) -> None:
    """Mark one step by an upright line with its number; the only shape of the figure."""
    figure.layout.shapes = [
        {
            "type": "line",
            "xref": "x",
            "yref": "paper",
            "x0": step,
            "x1": step,
            "y0": 0,
            "y1": 1,
            "line": {"color": ink(dark).text, "width": 1.5},
        }
    ]
    figure.layout.annotations = [
        {
            "text": f"step {step:,}",
            "x": step,
            "xref": "x",
            "xanchor": _anchor(figure, step),
            "y": 1,
            "yref": "paper",
            "yanchor": "bottom",
            "showarrow": False,
            "font": {"size": 12, "color": ink(dark).text},
        }
    ]


def _anchor(figure: go.Figure, step: int) -> str:
    """Return at which end the step's number hangs on its line, so that it is not cut off."""
    low, high = figure.layout.xaxis.range or (step - 1, step + 1)
    place = (step - low) / ((high - low) or 1)
    return "left" if place < 0.05 else "right" if place > 0.95 else "center"


def path_figure(
    info: TrajectoryInfo, step: int, dark: bool = False, order: Sequence[str] = ()
) -> go.Figure:
    """Draw the target's path up to a step, and where the sources' vectors lie then.

    Args:
        info: from `trajectory_info`.
        step: the step; the nearest one before it that the path keeps is drawn.
        dark: for a dark page.
        order: all sources of the experiment, for colours.
    """
    styles, colours = source_styles(info.sources, order, dark), ink(dark)
    at = max(int(np.searchsorted(info.steps, step, side="right")) - 1, 0)
    x, y = info.place[:, 0, 0], info.place[:, 0, 1]
    hidden = {"mode": "lines", "hoverinfo": "skip", "showlegend": False}
    figure = go.Figure(
        [
            go.Scatter(x=x, y=y, line={"color": colours.grid, "width": 1.5}, **hidden),
            go.Scatter(
                x=x[: at + 1], y=y[: at + 1], line={"color": colours.muted, "width": 2}, **hidden
            ),
            vector_points(info, at, styles, colours.text, named_at=at),
        ]
    )
    first, second = (f"{100 * share:.0f} %" for share in info.explained)
    finish(
        figure,
        key=f"path at {info.run}",
        dark=dark,
        height=max(320, 150 + 34 * (1 + len(info.sources))),
        x=f"first principal direction of the sources ({first})",
        y=f"second ({second})",
    )
    reach = float(np.abs(info.place).max()) * 1.15 or 1.0
    figure.update_xaxes(range=[-reach, reach])
    figure.update_yaxes(scaleanchor="x", scaleratio=1)
    return figure
