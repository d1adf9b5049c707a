"""Methods side by side: seeds as points, mean, interval; and differences with verdicts.

CompareInfo → figure. Scores stay 0..1; only axis labels show percent. Must not import torch
or streamlit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dtvg.analysis.compare import AVERAGE, CompareInfo
from dtvg.figures.forest import forest_figure
from dtvg.figures.theme import finish, message, method_styles

FACETS = 6
"""Targets drawn side by side at most; with more only the average is drawn."""


def compare_figure(
    info: CompareInfo, dark: bool = False, targets: Sequence[str] | None = None
) -> go.Figure:
    """Draw each method's seeds, mean and interval, one panel per target.

    Args:
        info: from `compare_info`.
        dark: for a dark page.
        targets: panels wanted ("average" is one); None: all, or the average if they are many.
    """
    if not len(info.points):
        return message("No run has finished yet, so there is nothing to compare.", dark)
    panels = _panels(info, targets)
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = make_subplots(
        rows=lines,
        cols=columns,
        shared_yaxes=True,
        subplot_titles=panels,
        horizontal_spacing=0.03,
        vertical_spacing=0.16 / max(1, lines - 1 or 1),
    )
    styles = method_styles(info.rows, dark)
    for at, target in enumerate(panels):
        for row in info.rows:
            for trace in _dots(info, row, target, styles[row].colour):
                figure.add_trace(trace, row=at // columns + 1, col=at % columns + 1)
    height = 100 + lines * (60 + 26 * len(info.rows))
    key = f"compare {info.metric} {info.split}"
    finish(figure, key=key, dark=dark, x="", y="", height=height, margin_t=64, showlegend=False)
    _one_row_each(figure, info.rows)
    figure.update_xaxes(tickformat=".1~%", nticks=6)
    for at in range(max(0, len(panels) - columns), len(panels)):
        place = {"row": at // columns + 1, "col": at % columns + 1}
        figure.update_xaxes(title_text=f"{info.metric} on {info.split}", **place)
    return figure


def _panels(info: CompareInfo, targets: Sequence[str] | None) -> list[str]:
    there = [*info.targets, AVERAGE] if len(info.targets) > 1 else list(info.targets)
    if targets is not None:
        return [t for t in there if t in set(targets)] or there[-1:]
    return there if len(there) <= FACETS else [AVERAGE]


def _dots(info: CompareInfo, row: str, target: str, colour: str) -> list[go.Scatter]:
    """Seeds as small open points, mean as a diamond with its interval."""
    points = info.points[(info.points["method"] == row) & (info.points["target"] == target)]
    cell = info.table[(info.table["method"] == row) & (info.table["target"] == target)]
    if not len(points):
        return []
    mean, low, high = (float(cell[c].iloc[0]) for c in ("mean", "low", "high"))
    std = float(cell["std"].iloc[0])
    about = "" if np.isnan(std) else f" ± {100 * std:.1f}"
    seeds = int(cell["n_seeds"].iloc[0])
    return [
        go.Scatter(
            x=points["value"].to_numpy(),
            y=points["method"].tolist(),
            mode="markers",
            name=f"{row} seeds",
            customdata=points["seed"].to_numpy(),
            marker={"color": colour, "size": 7, "symbol": "circle-open", "line": {"width": 1.3}},
            hovertemplate=f"<b>{row}</b> on {target}<br>seed %{{customdata}}: %{{x:.1%}}"
            "<extra></extra>",
        ),
        go.Scatter(
            x=[mean],
            y=[row],
            mode="markers",
            name=row,
            error_x=_interval(mean, low, high, colour),
            marker={"color": colour, "size": 10, "symbol": "diamond"},
            hovertemplate=f"<b>{row}</b> on {target}<br>mean %{{x:.1%}}{about} ({seeds} seeds)"
            "<extra></extra>",
        ),
    ]


def verdict_figure(info: CompareInfo, dark: bool = False, target: str | None = None) -> go.Figure:
    """Draw the subject's lead over each baseline on one target, as `forest_figure`.

    Args:
        info: from `compare_info`.
        dark: for a dark page.
        target: one target; None: the average (the only target where there is one).
    """
    target = target or (AVERAGE if len(info.targets) > 1 else (info.targets or ("",))[0])
    return forest_figure(info.paired, dark, [target])


def _interval(mean: float, low: float, high: float, colour: str) -> dict[str, Any] | None:
    """An error bar from low to high, or none where there is no interval."""
    if np.isnan(low):
        return None
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - mean],
        "arrayminus": [mean - low],
        "color": colour,
        "thickness": 2,
        "width": 5,
    }


def _one_row_each(figure: go.Figure, names: Sequence[str]) -> None:
    """One row per name, the first on top."""
    figure.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=list(names),
        range=[len(names) - 0.5, -0.5],
    )
