"""Runs that differ in settings: parallel coordinates, importance, slices."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dtvg.analysis.overview.settings_grid import SettingsInfo, classes_of
from dtvg.figures.theme import finish, ink, message, style_at

AXES = 8
"""Settings in the parallel coordinates at most."""
LINES = 3000
"""Runs drawn as lines; of more, evenly spaced ones by score."""


def parallel_figure(info: SettingsInfo, dark: bool = False) -> go.Figure:
    """Draw each run as a line through its settings to its score."""
    names = list(info.importance["setting"].head(AXES))
    if not names or not len(info.table):
        return message("These runs do not differ in any setting.", dark)
    table = info.table.sort_values("score", kind="stable")
    if len(table) > LINES:
        table = table.iloc[np.linspace(0, len(table) - 1, LINES).astype(int)]
    dimensions = [_axis(name, table[name]) for name in names]
    dimensions.append({"label": f"{info.score} (%)", "values": table["score"]})
    text = ink(dark)
    figure = go.Figure(
        go.Parcoords(
            line={
                "color": table["score"],
                "colorscale": "Viridis",
                "showscale": True,
                "colorbar": {"title": {"text": f"{info.score} (%)"}, "thickness": 12},
            },
            dimensions=dimensions,
            labelangle=-20,
            labelfont={"color": text.text, "size": 12},
            tickfont={"color": text.text, "size": 11},
            rangefont={"color": text.text, "size": 10},
        )
    )
    margin = {"l": 90, "r": 40, "t": 90, "b": 30}
    return finish(figure, key="parallel", x="", y="", height=420, dark=dark, margin=margin)


def _axis(name: str, values: pd.Series) -> dict[str, object]:
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.notna().all() and numbers.nunique() > 2:
        return {"label": _short(name), "values": numbers.astype(float)}
    classes = classes_of(values)
    codes, known = pd.factorize(classes, sort=True)
    shown = [str(k) if len(str(k)) <= 18 else f"{str(k)[:17]}…" for k in known]
    ticks = list(range(len(known)))
    return {"label": _short(name), "values": codes, "tickvals": ticks, "ticktext": shown}


def _short(name: str) -> str:
    return name.rpartition(".")[2].replace("_", " ")


def importance_figure(info: SettingsInfo, dark: bool = False) -> go.Figure:
    """Draw the share of the scores' variance that each setting accounts for."""
    made = info.importance.dropna(subset=["share"])
    if not len(made):
        return message("Too few runs share a value to say what matters.", dark)
    figure = go.Figure(
        go.Bar(
            x=100 * made["share"],
            y=[_short(name) for name in made["setting"]],
            orientation="h",
            marker={"color": style_at(0, dark).colour},
            text=[f"{100 * share:.0f} %" for share in made["share"]],
            textposition="outside",
            cliponaxis=False,
            customdata=made[["setting", "values", "runs"]],
            hovertemplate="%{customdata[0]}: %{x:.1f} %<br>%{customdata[1]} values, "
            "%{customdata[2]} runs<extra></extra>",
        )
    )
    title, height = "share of the scores' variance (%)", max(160, 90 + 30 * len(made))
    margin = {"l": 150, "r": 16, "t": 20, "b": 48}
    finish(figure, key="importance", x=title, y="", height=height, dark=dark, margin=margin)
    figure.update_xaxes(range=[0, 108])
    figure.update_yaxes(autorange="reversed")
    return figure


def slice_figure(info: SettingsInfo, setting: str, dark: bool = False) -> go.Figure:
    """Draw the runs' scores by one setting's value, with mean and range."""
    part = info.slices[info.slices["setting"] == setting]
    if not len(part):
        return message("These runs do not differ in this setting.", dark)
    style = style_at(0, dark)
    figure = go.Figure(
        go.Scatter(
            x=part["value"],
            y=part["mean"],
            mode="markers",
            marker={"color": style.colour, "size": 10},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": part["high"] - part["mean"],
                "arrayminus": part["mean"] - part["low"],
                "color": ink(dark).muted,
            },
            customdata=part["runs"],
            hovertemplate="%{x}: %{y:.1f} %<br>%{customdata} runs<extra></extra>",
        )
    )
    y = f"{info.score} score (%)"
    finish(figure, key=f"slice-{setting}", x=setting, y=y, height=300, dark=dark)
    figure.update_xaxes(type="category")
    return figure
