"""Runs that differ in settings: parallel coordinates, importance, slices."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from dtvg.analysis.overview.settings_grid import SettingsInfo, classes_of, readable
from dtvg.analysis.titles import label
from dtvg.analysis.words import counted
from dtvg.figures.theme import finish, ink, message, style_at

AXES = 6
"""Settings in the parallel coordinates at most."""
LINES = 2000
"""Runs drawn as lines; of more, evenly spaced ones by score."""
BANDS = 7
"""Colours of lines; the darkest has the highest scores."""
TITLED = ("method", "method.name", "method.source", "target")
"""Settings whose values are names of methods or tasks."""
ROOM = 16
"""Letters between two axes."""
SEPARATE = 8
"""Numbers with more values than that stand on a scale."""


def parallel_figure(info: SettingsInfo, dark: bool = False) -> go.Figure:
    """Draw each run as a line through its settings to its score, coloured by its score.

    Plain lines, so that they are drawn without WebGL and saved as SVG.
    """
    names = list(info.importance["setting"].head(AXES))
    if not names or not len(info.table):
        return message("These runs do not differ in any setting.", dark)
    table = info.table.sort_values("score", kind="stable")
    if len(table) > LINES:
        table = table.iloc[np.linspace(0, len(table) - 1, LINES).astype(int)]
    axes = [_axis(table[name], name) for name in names]
    axes.append(_axis(table["score"]))
    figure = go.Figure()
    edges = np.linspace(0, len(table), BANDS + 1).astype(int)
    colours = sample_colorscale("Viridis", np.linspace(0.95, 0.05, BANDS).tolist())
    for band, (first, last) in enumerate(zip(edges, edges[1:], strict=False)):
        if last > first:
            figure.add_trace(_lines(table, axes, int(first), int(last), colours[band], len(names)))
    low, high = table["score"].min(), table["score"].max()
    figure.data[0].meta = f"Scores from {low:.1f} % to {high:.1f} %"
    _ticks(figure, axes, dark)
    called = readable(names)
    titles = [*(_in_lines(called[name]) for name in names), f"{info.score} (%)"]
    finish(figure, key="parallel", x="", y="", height=420, dark=dark,
           margin={"l": 40, "r": 90, "t": 20, "b": 60})  # fmt: skip
    figure.update_xaxes(tickvals=list(range(len(titles))), ticktext=titles, showgrid=True)
    figure.update_yaxes(visible=False, range=[-0.04, 1.04])
    return figure


@dataclass(frozen=True)
class _Axis:
    """One axis: a height from 0 to 1 for each run, and what stands beside it."""

    heights: np.ndarray
    ticks: tuple[tuple[float, str], ...]


def _axis(values: pd.Series, setting: str = "") -> _Axis:
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.notna().all() and numbers.nunique() > SEPARATE:
        low, high = float(numbers.min()), float(numbers.max())
        at = [(share, f"{low + share * (high - low):.4g}") for share in (0.0, 0.5, 1.0)]
        return _Axis((numbers.to_numpy(float) - low) / (high - low), tuple(at))
    pairs = zip(numbers.fillna(np.inf), classes_of(values), strict=True)
    ordered = dict.fromkeys(text for _, text in sorted(pairs))
    place = {value: i / max(1, len(ordered) - 1) for i, value in enumerate(ordered)}
    every = max(1, -(-len(place) // 12))
    ticks = {_cut(value_title(setting, v)): y for v, y in reversed(list(place.items())[::every])}
    told = tuple((y, text) for text, y in ticks.items())
    return _Axis(classes_of(values).map(place).to_numpy(float), told)


def value_title(setting: str, value: str) -> str:
    """Return the title of a value; only methods and tasks have one.

    Args:
        setting: whose value it is.
        value: as text.
    """
    if setting in TITLED:
        return label(value)
    return value if label(value) == value else f"“{value}”"  # the word, not a method's name


def _cut(text: str) -> str:
    """Shorten a value in its middle, since its end often tells it apart."""
    return text if len(text) <= ROOM else f"{text[: ROOM // 2]}…{text[-(ROOM // 2 - 1) :]}"


def _in_lines(text: str) -> str:
    """Break the name of an axis so that its neighbours have room."""
    return "<br>".join(textwrap.wrap(text, ROOM))


def _lines(
    table: pd.DataFrame, axes: list[_Axis], first: int, last: int, colour: str, end: int
) -> go.Scatter:
    """Return runs of similar scores as one trace; gaps keep the lines apart."""
    count, wide = last - first, len(axes) + 1
    x = np.tile(np.append(np.arange(len(axes), dtype=float), np.nan), count)
    y = np.full((count, wide), np.nan)
    for place, axis in enumerate(axes):
        y[:, place] = axis.heights[first:last]
    part = table.iloc[first:last]
    said = [f"{r}: {s:.1f} %" for r, s in zip(part["run"], part["score"], strict=True)]
    return go.Scatter(
        x=x,
        y=y.ravel(),
        mode="lines",
        line={"color": colour, "width": 1},
        opacity=0.7 if len(table) < 200 else 0.35,
        text=np.repeat(said, wide).tolist(),
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )


def _ticks(figure: go.Figure, axes: list[_Axis], dark: bool) -> None:
    """Write the values beside each axis."""
    text = ink(dark)
    for place, axis in enumerate(axes):
        for y, said in axis.ticks:
            figure.add_annotation(
                x=place, y=y, text=said, showarrow=False, xanchor="left", xshift=4,
                font={"size": 11, "color": text.text}, bgcolor=text.paper, opacity=0.85,
            )  # fmt: skip


def importance_figure(info: SettingsInfo, dark: bool = False) -> go.Figure:
    """Draw the share of the scores' variance that each setting accounts for."""
    made = info.importance.dropna(subset=["share"])
    if not len(made):
        return message("Too few runs share a value to say what matters.", dark)
    called = readable(list(info.importance["setting"]))
    figure = go.Figure(
        go.Bar(
            x=100 * made["share"],
            y=[called[name] for name in made["setting"]],
            orientation="h",
            marker={"color": style_at(0, dark).colour},
            text=[f"{100 * share:.0f} %" for share in made["share"]],
            textposition="outside",
            cliponaxis=False,
            customdata=made[["setting", "values", "runs"]],
            hovertemplate="%{customdata[0]}: %{x:.1f} %<br>values: %{customdata[1]}, "
            "runs: %{customdata[2]}<extra></extra>",
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
            x=[value_title(setting, value) for value in part["value"]],
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
            customdata=[counted(int(n), "run") for n in part["runs"]],
            hovertemplate="%{x}: %{y:.1f} %<br>%{customdata}<extra></extra>",
        )
    )
    y = f"{info.score} score (%)"
    x = readable(list(info.importance["setting"])).get(setting, setting)
    finish(figure, key=f"slice-{setting}", x=x, y=y, height=300, dark=dark)
    figure.update_xaxes(type="category")
    return figure
