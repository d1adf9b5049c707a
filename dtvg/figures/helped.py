"""Who helped whom on one screen, and whether what the rule sees goes with what helps.

HelpedInfo → figures. A row of panels per target, with the same sources in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dtvg.analysis import titles
from dtvg.analysis.claims.helped import MEAN, SHARE, START, TITLES, HelpedInfo, why_undefined
from dtvg.analysis.words import in_percent
from dtvg.figures.theme import finish, in_points, ink, message, source_styles, style_at

CELL, HEAD, LETTER = 24, 52, 6
"""Pixels of a source's row, of what stands around a target's rows, and of a letter below."""
SHORTEST = 8
"""Letters below a target's rows that are made room for at least: the gains have a title there."""
LONG = 14
"""Characters of a name on an axis."""
PANEL, GAP = 150, 100
"""Pixels of a panel of the scatter, and between two."""
FACETS = 3
"""Targets side by side in the scatter."""
SMALL = 11
AXES = {START: "similarity at start", MEAN: "mean similarity", SHARE: "share of steps"}
"""Short titles, which fit side by side on a telephone."""


def membership_figure(info: HelpedInfo, dark: bool = False) -> go.Figure:
    """Draw gains of single sources at the left, every run's shares of steps at the right.

    A click on a cell gives the run as "experiment/run".

    Args:
        info: from `helped_info`.
        dark: for a dark page.
    """
    targets = [t for t in info.targets if info.order(t)]
    if not targets:
        return message("No run has grouped sources yet, and no single source was measured.", dark)
    rows = [len(info.order(t)) for t in targets]
    head = HEAD + LETTER * max([SHORTEST, *map(len, _methods(info))])
    pixels = [head + CELL * n for n in rows]
    figure = make_subplots(
        rows=len(targets), cols=2, shared_yaxes=True, column_widths=[0.3, 0.7],
        row_heights=rows, horizontal_spacing=0.02,
        vertical_spacing=min(0.9 / max(1, len(targets) - 1), head / sum(pixels)),
    )  # fmt: skip
    for place, target in enumerate(targets, 1):
        _gains(figure, info, target, place, dark)
        _shares(figure, info, target, place, dark)
    finish(
        figure, key="who helped", x="", y="", dark=dark, height=sum(pixels), showlegend=False,
        margin={"l": 8, "r": 8, "t": 56, "b": head - 40}, hovermode="closest",
    )  # fmt: skip
    for place, target in enumerate(targets, 1):
        _axes(figure, info, target, place, dark)
    return figure


def _methods(info: HelpedInfo) -> list[str]:
    return [_short(str(name)) for name in info.membership["method"].unique()]


def _short(method: str) -> str:
    called = titles.method(method)
    return called if len(called) <= 2 * LONG else called[: 2 * LONG - 1] + "…"


def _gains(figure: go.Figure, info: HelpedInfo, target: str, row: int, dark: bool) -> None:
    """One target's measured gains as bars from 0, with the range over seeds."""
    mine = info.gains[info.gains["target"] == target]
    colours = [style_at(0 if gain > 0 else 3, dark).colour for gain in mine["gain"]]
    several = mine["n_seeds"] > 1
    up = np.where(several, mine["high"] - mine["gain"], 0)
    down = np.where(several, mine["gain"] - mine["low"], 0)
    bars = go.Bar(
        orientation="h",
        x=mine["gain"],
        y=mine["source"],
        marker={"color": colours},
        error_x={"array": up, "arrayminus": down, "color": ink(dark).muted, "thickness": 1.2},
        customdata=_told(mine),
        hovertemplate="<b>%{y}</b> alone: %{customdata[0]} points<br>%{customdata[1]}"
        "<extra></extra>",
    )
    figure.add_trace(bars, row=row, col=1)
    line = {"color": ink(dark).zero, "width": 1}
    figure.add_vline(x=0, line=line, row=row, col=1)


def _points(value: float) -> str:
    """Return a gain, as a share, in points with its sign."""
    return in_percent(value, 1, "+").replace("-", "−")


def _told(gains: pd.DataFrame) -> list[list[str]]:
    """Return what is read at each bar: the gain, and the range over its seeds."""
    told = []
    for row in gains.to_dict("records"):
        ends = f"{_points(row['low'])} to {_points(row['high'])}"
        seeds = f"{row['n_seeds']} seeds, {ends}" if row["n_seeds"] > 1 else "1 seed"
        told.append([_points(row["gain"]), seeds])
    return told


def _columns(info: HelpedInfo, target: str) -> tuple[pd.DataFrame, list[tuple[str, float]]]:
    """Return the runs of a target with their column, an empty one between methods, and where
    each method's name stands."""
    mine = info.membership[info.membership["target"] == target]
    runs = mine.drop_duplicates(["method", "seed", "experiment", "run"])
    turn = (runs["method"] != runs["method"].shift()).cumsum() - 1
    runs = runs.assign(column=np.arange(len(runs)) + turn)
    middle = runs.groupby("method", sort=False)["column"].mean()
    return runs, [(str(name), float(at)) for name, at in middle.items()]


def _shares(figure: go.Figure, info: HelpedInfo, target: str, row: int, dark: bool) -> None:
    """One target's runs: a column each, its shares as colour."""
    runs, _ = _columns(info, target)
    if not len(runs):
        return
    sources = list(info.order(target))
    width = int(runs["column"].max()) + 1
    value = np.full((len(sources), width), np.nan)
    about = np.full((len(sources), width, 4), "", dtype=object)
    keys = ["experiment", "run"]
    mine = info.membership[info.membership["target"] == target]
    placed = mine.merge(runs[[*keys, "column"]], on=keys)
    at = (placed["source"].map(sources.index).to_numpy(), placed["column"].to_numpy())
    value[at] = placed["share"]
    about[at] = np.stack(
        [
            (placed["experiment"] + "/" + placed["run"]).to_numpy(dtype=object),
            placed["method"].to_numpy(dtype=object),
            placed["seed"].to_numpy(dtype=object),
            placed["similarity"].map("{:.3g}".format).to_numpy(dtype=object),
        ],
        axis=1,
    )
    ramp = [[0, "#1B222C" if dark else "#F4F6F8"], [1, "#4DA3DB" if dark else "#0072B2"]]
    figure.add_trace(
        go.Heatmap(
            x=np.arange(width),
            y=sources,
            z=value,
            customdata=about,
            zmin=0,
            zmax=1,
            xgap=1,
            ygap=1,
            hoverongaps=False,
            showscale=False,
            colorscale=ramp,
            hovertemplate="<b>%{y}</b>: %{z:.0%} of steps<br>%{customdata[1]}, seed "
            "%{customdata[2]}<br>mean similarity %{customdata[3]}<extra></extra>",
        ),
        row=row,
        col=2,
    )


def _axes(figure: go.Figure, info: HelpedInfo, target: str, row: int, dark: bool) -> None:
    """Name the target above its panels, sources at the left and methods below."""
    sources = list(info.order(target))
    called = [titles.task(s) for s in sources]
    short = [s if len(s) <= LONG else s[: LONG - 1] + "…" for s in called]
    rows = [len(sources) - 0.5, -0.5]
    for column in (1, 2):
        figure.update_yaxes(
            type="category", categoryorder="array", categoryarray=sources, range=rows,
            tickmode="array", tickvals=sources, ticktext=short, showgrid=False, ticks="",
            tickfont={"size": SMALL}, fixedrange=True, row=row, col=column,
        )  # fmt: skip
    gains = info.gains[info.gains["target"] == target]
    ends = gains[["low", "high"]].to_numpy(dtype=np.float64)
    low, high = ends.min(initial=-0.01), ends.max(initial=0.01)
    room = 0.05 * (high - low)
    figure.update_xaxes(
        tickformat="+.0%",
        **in_points(low - room, high + room, 3),
        range=[low - room, high + room],
        tickfont={"size": SMALL},
        title={"text": "gain alone (points)", "font": {"size": SMALL}, "standoff": 4},
        row=row,
        col=1,
    )
    runs, names = _columns(info, target)
    figure.update_xaxes(
        tickmode="array", tickvals=[at for _, at in names],
        ticktext=[_short(n) for n, _ in names],
        tickangle=-90, showgrid=False, ticks="",
        tickfont={"size": SMALL}, fixedrange=True, row=row, col=2,
    )  # fmt: skip
    across = next(figure.select_xaxes(row=row, col=2)).domain
    bottom, top = next(figure.select_yaxes(row=row, col=1)).domain
    if len(runs):
        figure.update_xaxes(range=[-0.5, float(runs["column"].max()) + 0.5], row=row, col=2)
    else:
        figure.add_annotation(
            x=sum(across) / 2, y=(bottom + top) / 2, xref="paper", yref="paper", showarrow=False,
            text="no run has a log of its groups", font={"color": ink(dark).muted, "size": 12},
        )  # fmt: skip
    figure.add_annotation(
        x=0, y=top, xref="paper", yref="paper", text=f"<b>{target}</b>", showarrow=False,
        xanchor="left", yanchor="bottom", yshift=4, font={"size": 13, "color": ink(dark).text},
    )  # fmt: skip


def right_figure(
    info: HelpedInfo, dark: bool = False, order: Sequence[str] = (), targets: Sequence[str] = ()
) -> go.Figure:
    """Draw the gain of each source over what the rule saw of it, and over how often it took it.

    Args:
        info: from `helped_info`.
        dark: for a dark page.
        order: all sources, whose places fix their colours.
        targets: those drawn, side by side; empty: the first `FACETS`.
    """
    points = info.points
    measured = [t for t in info.targets if (points["target"] == t).any()]
    targets = [t for t in (targets or measured[:FACETS]) if t in measured]
    if not targets:
        return message("This needs runs of `none` and of single sources.", dark)
    drawn = [q for q in TITLES if points[q].notna().any()]
    if not drawn:
        return message("No run that decides its group has a log of it.", dark)
    titles = [_title(info, target, quantity) for quantity in drawn for target in targets]
    inner = PANEL * len(drawn) + GAP * (len(drawn) - 1)
    figure = make_subplots(
        rows=len(drawn), cols=len(targets), subplot_titles=titles,
        vertical_spacing=GAP / inner, horizontal_spacing=0.16 / len(targets),
    )  # fmt: skip
    sources = list(dict.fromkeys(points["source"]))
    styles = source_styles(sources, order, dark)
    told: set[str] = set()
    for across, target in enumerate(targets, 1):
        mine = points[points["target"] == target]
        for down, quantity in enumerate(drawn, 1):
            for row in mine.dropna(subset=[quantity]).to_dict("records"):
                name, style = str(row["source"]), styles[str(row["source"])]
                trace = go.Scatter(
                    x=[row[quantity]], y=[row["gain"]], mode="markers", name=name,
                    legendgroup=name, showlegend=name not in told,
                    marker={"color": style.colour, "symbol": style.symbol, "size": 11},
                    hovertemplate=f"<b>{name}</b> for {target}<br>{TITLES[quantity]} "
                    f"%{{x:.3g}}<br>gain {_points(row['gain'])} points<extra></extra>",
                )  # fmt: skip
                told.add(name)
                figure.add_trace(trace, row=down, col=across)
            figure.add_hline(y=0, line={"color": ink(dark).zero, "width": 1}, row=down, col=across)
            kind = ".0%" if quantity == SHARE else ".2~g"
            figure.update_xaxes(
                tickformat=kind, nticks=5, title_text=AXES[quantity], row=down, col=across
            )
    titles_of = [axis.title.text for axis in figure.select_xaxes()]
    finish(
        figure, key=f"rule right {' '.join(targets)}", x="", y="", dark=dark,
        height=inner + 204, margin={"l": 52, "r": 8, "t": 44, "b": 160},
    )  # fmt: skip
    for axis, title in zip(figure.select_xaxes(), titles_of, strict=True):
        axis.title.text = title
    figure.update_layout(legend={"y": -56 / inner, "yanchor": "top"})
    _upright(figure, points, targets)
    figure.update_annotations(font={"size": 12})
    return figure


def _upright(figure: go.Figure, points: pd.DataFrame, targets: Sequence[str]) -> None:
    """Write gains in points at the upright axes, a column of panels per target."""
    figure.update_yaxes(tickformat="+.0%", nticks=5)  # what is heard of the figure
    for across, target in enumerate(targets, 1):
        gains = points.loc[points["target"] == target, "gain"]
        ticks = in_points(min(0.0, float(gains.min())), max(0.0, float(gains.max())), 5)
        figure.update_yaxes(**ticks, col=across)
    figure.update_yaxes(title_text="gain (points)", title_standoff=2, col=1)


def _title(info: HelpedInfo, target: str, quantity: str) -> str:
    """Name a panel with its rank correlation."""
    table = info.correlations
    row = table[(table["target"] == target) & (table["quantity"] == quantity)]
    rho = float(row["rho"].iloc[0]) if len(row) else float("nan")
    said = f"ρ = {rho:+.2f}".replace("-", "−")
    if np.isnan(rho):
        said = f"no ρ: {why_undefined(info.points[info.points['target'] == target], quantity)}"
    return f"<b>{target}</b><br>{said}"


__all__ = ["FACETS", "membership_figure", "right_figure"]
