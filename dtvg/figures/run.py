"""One run: its score beside what it is measured by, and what its process used over time.

AboutInfo and UsageInfo → figures.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dtvg.analysis.run.about import AboutInfo, UsageInfo
from dtvg.analysis.words import in_percent
from dtvg.figures.theme import (
    SCORE_LIMITS,
    finish,
    message,
    reference_lines,
    score_range,
    style_at,
)


def result_figure(info: AboutInfo, dark: bool = False) -> go.Figure:
    """Draw each metric of the result with its interval, and reference lines for the score."""
    table = info.scores
    if not len(table):
        return message("It has no result yet.", dark)
    style = style_at(0, dark)
    value = table["value"].to_numpy()
    low, high = table["low"].fillna(table["value"]), table["high"].fillna(table["value"])
    figure = go.Figure(
        go.Scatter(
            x=value,
            y=table["metric"].tolist(),
            mode="markers",
            marker={"color": style.colour, "size": 11},
            error_x={
                "array": (high - value).to_numpy(),
                "arrayminus": (value - low).to_numpy(),
                "color": style.colour,
                "thickness": 1.6,
            },
            customdata=[_told(*row) for row in table.itertuples(index=False)],
            hovertemplate="<b>%{y}</b> %{customdata}<extra></extra>",
        )
    )
    lines = info.reference.lines
    finish(
        figure,
        key=f"result {info.run.name}",
        dark=dark,
        x="score",
        y="",
        height=130 + 44 * len(table),
        showlegend=False,
        margin={"r": 110},
    )
    reference_lines(figure, lines, dark, upright=True)
    span = score_range([*value, *low, *high, *(score for _, score in lines)])
    figure.update_xaxes(tickformat=".1~%", range=span, **SCORE_LIMITS)
    room = 1.1 if lines else 0.6  # for the lines' names, below the lowest row
    figure.update_yaxes(type="category", range=[len(table) - 1 + room, -0.6], showgrid=False)
    return figure


def _told(metric: str, value: float, low: float, high: float) -> str:
    """Return what is read at a metric: its value, and its interval where there is one."""
    told = f"{in_percent(value)}%"
    if np.isnan(low):
        return told
    return f"{told}<br>95 % interval {in_percent(low)}% to {in_percent(high)}%"


class Panel(NamedTuple):
    """One panel of the usage: its title, and the column and name of each line."""

    title: str
    lines: tuple[tuple[str, str], ...]
    digits: str


PANELS = (
    Panel("cores busy", (("cores", "the process"),), ".2f"),
    Panel("share busy", (("machine", "all cores of the machine"), ("gpu", "the GPU")), ".0%"),
    Panel(
        "memory (GiB)",
        (
            ("memory_gib", "the process"),
            ("machine_gib", "the machine"),
            ("gpu_gib", "the GPU"),
        ),
        ".2f",
    ),
)
PIXELS = 120


def usage_figure(info: UsageInfo, dark: bool = False) -> go.Figure:
    """Draw processor, GPU and memory over the minutes of training, one panel each."""
    table = info.table
    if len(table) < 2:
        return message("Fewer than two commits noted what was used.", dark)
    figure = make_subplots(rows=len(PANELS), cols=1, shared_xaxes=True, vertical_spacing=0.06)
    for row, panel in enumerate(PANELS, 1):
        for place, (column, name) in enumerate(panel.lines):
            if table[column].isna().all():
                continue
            style = style_at(place, dark)
            figure.add_trace(
                go.Scatter(
                    x=table["minutes"].to_numpy(),
                    y=table[column].to_numpy(),
                    name=name,
                    legendgroup=name,
                    showlegend=row == len(PANELS),
                    mode="lines",
                    line={"color": style.colour, "dash": style.dash, "width": 1.6},
                    customdata=table["step"].to_numpy(),
                    hovertemplate=f"<b>{name}</b>: %{{y:{panel.digits}}} {panel.title}"
                    "<br>minute %{x:.1f}, step %{customdata:,}<extra></extra>",
                ),
                row=row,
                col=1,
            )
    finish(
        figure,
        key="usage",
        dark=dark,
        x="",
        y="",
        height=80 + PIXELS * len(PANELS),
        hovermode="x unified",
    )
    for row, panel in enumerate(PANELS, 1):
        form = ".0%" if panel.digits.endswith("%") else None
        figure.update_yaxes(
            title_text=panel.title, rangemode="tozero", tickformat=form, row=row, col=1
        )
    figure.update_xaxes(title_text="minutes of training", row=len(PANELS), col=1)
    return figure
