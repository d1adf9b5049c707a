"""The group as it forms: timeline, similarity, size, churn, weights, replay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dtvg.analysis import titles
from dtvg.analysis.run.groups import GroupInfo
from dtvg.analysis.run.replay import ReplayInfo
from dtvg.analysis.subsets.beside import Beside
from dtvg.analysis.words import counted
from dtvg.figures.ends import label_ends
from dtvg.figures.theme import Style, cut_line, finish, ink, message, source_styles, style_at

NOTHING = "This run groups no sources, or has no committed step yet."
ROW = 30
"""Pixels of a timeline row."""
STEP = "optimiser step"


def timeline_figure(
    info: GroupInfo,
    dark: bool = False,
    order: Sequence[str] = (),
    table: pd.DataFrame | None = None,
    beside: Beside | None = None,
) -> go.Figure:
    """Draw membership: a bar per source and interval, stronger where similarity is higher.

    Args:
        info: from `group_info`.
        dark: for a dark page.
        order: all sources of the experiment, for colours.
        table: another timeline of the same form (a replay); None: the run's own.
        beside: right sets and marks, drawn as rows below the sources.
    """
    rows = info.timeline if table is None else table
    if not len(info.steps):
        return message(NOTHING, dark)
    styles = source_styles(info.sources, order, dark)
    figure = go.Figure()
    by_share = bool((rows["share"] < 1).any())
    values = rows["share" if by_share else "similarity"].to_numpy()
    scale = (0.0, 1.0) if by_share or not len(values) else (values.min(), values.max())
    for source in info.sources:
        mine = (rows["source"] == source).to_numpy()
        shades = shaded(styles[source], values[mine], scale, 0.1 if by_share else 0.35)
        figure.add_trace(_bars(source, rows[mine], shades))
    figure.add_traces(_by_hand(info, dark))
    names = list(info.sources)
    if beside is not None:
        figure.add_traces([*_right(beside, dark), *_marks(beside, int(info.steps[0]), dark)])
        names += beside.names
    finish(
        figure,
        key=f"timeline {info.run}",
        dark=dark,
        x=STEP,
        y="",
        height=90 + ROW * len(names),
        bargap=0.25,
        barmode="overlay",
        showlegend=False,
        hovermode="closest",
    )
    figure.update_xaxes(range=[info.steps[0] - 0.5, info.steps[-1] + 0.5])
    category_rows(figure, names)
    return figure


def _right(beside: Beside, dark: bool) -> list[go.Bar]:
    """A row per right set, the stronger the more the group agreed with it."""
    colours, made = ink(dark), []
    style = Style(colours.muted, "solid", "circle")
    for name in beside.right:
        rows = beside.references[beside.references["reference"] == name]
        hover = (
            f"<b>{name}</b>: %{{customdata[0]}}<br>overlap with the group "
            "%{customdata[1]:.2f}, steps %{customdata[2]:,}–%{customdata[3]:,}<extra></extra>"
        )
        shades = shaded(style, rows["overlap"].to_numpy(), (0.0, 1.0), 0.05)
        bars = _stretches(name, rows, shades, ["members", "overlap", "first", "last"], hover)
        mean = float(np.average(rows["overlap"], weights=rows["steps"]))
        members = titles.label(str(rows["members"].iloc[0]))
        made.append(bars.update(meta=f"{members}, mean overlap with the group {mean:.2f}"))
    return made


def _stretches(
    name: str, rows: pd.DataFrame, shades: dict[str, Any], shown: list[str], hover: str
) -> go.Bar:
    """One row of the chart: a bar from `first` to `last` step for each stretch.

    Args:
        name: of the row.
        rows: `first, last` of each stretch, and what is shown of it.
        shades: look of the bars.
        shown: columns that the hover text takes its numbers from.
        hover: the text.
    """
    return go.Bar(
        orientation="h",
        name=name,
        meta=said_steps(rows),
        y=[name] * len(rows),
        base=rows["first"].to_numpy() - 0.5,
        x=(rows["last"] - rows["first"] + 1).to_numpy(),
        marker=shades,
        customdata=rows[shown].to_numpy(),
        hovertemplate=hover,
    )


MARKS = {
    "evaluated": ("line-ns-open", 8),
    "best step": ("star", 13),
    "pin": ("triangle-up", 10),
    "ban": ("triangle-down", 10),
    "free": ("circle-open", 9),
    "forked": ("diamond", 10),
    "resumed": ("triangle-right", 10),
    "stopped": ("square", 9),
}
"""Symbol and size of each kind of mark; others are crosses."""


def _marks(beside: Beside, first: int, dark: bool) -> list[go.Scatter]:
    """One row with everything that happened, a symbol per kind."""
    made = []
    for kind, rows in beside.marks.groupby("kind", sort=False):
        symbol, size = MARKS.get(str(kind), ("x", 9))
        best = kind == "best step"
        colour = style_at(3, dark).colour if best else ink(dark).text
        made.append(
            go.Scatter(
                x=np.maximum(rows["step"].to_numpy(), first - 0.4),  # the axis begins there
                y=["marks"] * len(rows),
                mode="markers",
                cliponaxis=False,
                name=str(kind),
                marker={"symbol": symbol, "size": size, "color": colour, "line": {"width": 1.4}},
                customdata=rows[["label", "step"]].to_numpy(),
                hovertemplate="step %{customdata[1]:,}: %{customdata[0]}<extra></extra>",
            )
        )
    return made


BY_HAND = {"pin": "pinned", "ban": "banned"}


def _by_hand(info: GroupInfo, dark: bool) -> list[go.Bar]:
    """Hatch what was pinned or banned by hand: there the rule's decision did not count."""
    traces = []
    for kind, said in BY_HAND.items():
        mine = [held for held in info.held if held.kind == kind and held.source in info.sources]
        if not mine:
            continue
        last = [min(held.last, float(info.steps[-1])) for held in mine]
        first = [held.first for held in mine]
        colour = ink(dark).text
        traces.append(
            go.Bar(
                orientation="h",
                name=f"{said} by hand",
                y=[held.source for held in mine],
                base=[f - 0.5 for f in first],
                x=[max(e - f + 1, 1) for f, e in zip(first, last, strict=True)],
                marker={
                    "color": "rgba(0,0,0,0)",
                    "line": {"color": colour, "width": 1.2},
                    "pattern": {
                        "shape": "/" if kind == "pin" else "x",
                        "fgcolor": colour,
                        "fgopacity": 0.35,
                        "size": 7,
                    },
                },
                text=[said] * len(mine),
                textposition="inside",
                insidetextanchor="start",
                customdata=[[f, e] for f, e in zip(first, last, strict=True)],
                hovertemplate=f"<b>%{{y}}</b>: {said} by hand"
                "<br>steps %{customdata[0]:,.0f}–%{customdata[1]:,.0f}<extra></extra>",
            )
        )
    return traces


def shaded(
    style: Style, values: np.ndarray, scale: tuple[float, float], faintest: float
) -> dict[str, Any]:
    """Shade bars by a value, from `faintest` opacity to full; a thin outline of the same
    colour keeps single steps visible.

    Opacities, since Plotly takes a quarter of a millisecond a bar for a colour from a scale.
    """
    low, high = float(scale[0]), float(scale[1])
    low = low if high > low else high - 1.0
    share = np.clip((np.asarray(values, dtype=float) - low) / (high - low), 0.0, 1.0)
    opacity = np.round(faintest + (1.0 - faintest) * np.nan_to_num(share), 3)
    return {
        "color": style.colour,
        "opacity": opacity,
        "line": {"color": style.colour, "width": 0.6},
    }


def said_steps(rows: pd.DataFrame) -> str | None:
    """Return in words how many steps bars stand for; None where their lengths say it.

    Bars are longer than their steps where they are buckets, or the log is thinned.

    Args:
        rows: `first, last, steps` of each bar.
    """
    steps, long = int(rows["steps"].sum()), int((rows["last"] - rows["first"] + 1).sum())
    if steps == long:
        return None
    first, last = int(rows["first"].min()), int(rows["last"].max())
    return f"{counted(steps, 'step')} between {first:,} and {last:,}"


def _bars(name: str, rows: pd.DataFrame, marker: dict[str, Any]) -> go.Bar:
    """One source's intervals."""
    columns = ["first", "last", "steps", "share", "similarity", "similarity_low", "similarity_high"]
    return go.Bar(
        orientation="h",
        name=name,
        meta=said_steps(rows),
        y=[name] * len(rows),
        marker=marker,
        base=rows["first"].to_numpy() - 0.5,
        x=(rows["last"] - rows["first"] + 1).to_numpy(),
        customdata=rows[columns].to_numpy(),
        hovertemplate=f"<b>{name}</b><br>steps %{{customdata[0]:,.0f}}–%{{customdata[1]:,.0f}}"
        "<br>in the group at %{customdata[2]:,.0f} of them (%{customdata[3]:.0%})"
        "<br>similarity %{customdata[4]:.4g} (%{customdata[5]:.3g} to %{customdata[6]:.3g})"
        "<extra></extra>",
    )


def category_rows(figure: go.Figure, names: Sequence[str], width: int = 44) -> None:
    """One row per name, the first on top, also where a row holds no bar."""
    called = [titles.label(n) for n in names]
    short = [n if len(n) <= width else n[: width - 1] + "…" for n in called]
    figure.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=list(names),
        range=[len(names) - 0.5, -0.5],
        tickmode="array",
        tickvals=list(names),
        ticktext=short,
        showgrid=False,
    )


def rows_by_source(info: GroupInfo, table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each source with its rows of a table of curves."""
    for source in info.sources:
        yield source, table[(table["source"] == source).to_numpy()]


def source_line(
    info: GroupInfo, source: str, rows: pd.DataFrame, column: str, order: Sequence[str], dark: bool,
    hover: str,
) -> Any:  # fmt: skip
    """Return one source's curve over steps, in its colour and dash."""
    style = source_styles(info.sources, order, dark)[source]
    return go.Scatter(
        x=rows["step"].to_numpy(),
        y=rows[column].to_numpy(),
        name=source,
        mode="lines",
        line={"color": style.colour, "width": 1.6, "dash": style.dash},
        hovertemplate=hover,
    )


def similarity_figure(
    info: GroupInfo, dark: bool = False, order: Sequence[str] = (), height: int = 360
) -> go.Figure:
    """Draw similarity over steps with the zero line and the cut."""
    if not len(info.steps):
        return message(NOTHING, dark)
    figure = go.Figure()
    formula = " = ⟨v_t, v_s⟩ / d" if info.similarity_of.startswith("similarity") else ""
    for source, mine in rows_by_source(info, info.similarity_table):
        state = np.where(mine["member"].to_numpy(), "in the group", "not in the group")
        hover = (
            f"<b>{source}</b><br>step %{{x:,}}: {info.similarity_of} %{{y:.4g}}{formula}"
            "<br>rank %{customdata[0]}, %{customdata[1]}<extra></extra>"
        )
        line = source_line(info, source, mine, "similarity", order, dark, hover)
        ranks = (mine["rank"] + 1).to_numpy().astype(object)
        figure.add_trace(line.update(customdata=np.stack([ranks, state], axis=1)))
    finish(
        figure,
        key=f"similarity {info.run}",
        dark=dark,
        height=height,
        x=STEP,
        y=info.similarity_of,
        hovermode="closest",
    )
    figure.add_hline(y=0, line={"color": ink(dark).zero, "width": 1})
    if np.isfinite(info.threshold):
        figure.add_hline(
            y=info.threshold,
            **cut_line(info.threshold, dark),
            annotation_xanchor="right",
            annotation_position="bottom right",
        )
    label_ends(figure, dark)
    return figure


def size_figure(info: GroupInfo, dark: bool = False, height: int = 240) -> go.Figure:
    """Draw group size and number of candidates over steps."""
    if not len(info.steps):
        return message(NOTHING, dark)
    table = info.size_table
    figure = go.Figure()
    series = (
        ("n_candidates", "candidates", style_at(5, dark), "dot"),
        ("group_size", "group size", style_at(0, dark), "solid"),
    )
    for column, name, style, dash in series:
        if table[column].isna().all():
            continue
        figure.add_trace(
            go.Scatter(
                x=table["step"].to_numpy(),
                y=table[column].astype(float).to_numpy(),
                name=name,
                mode="lines",
                line={"shape": "hv", "color": style.colour, "dash": dash, "width": 1.8},
                hovertemplate=f"step %{{x:,}}: {name} %{{y}}<extra></extra>",
            )
        )
    finish(figure, key=f"size {info.run}", dark=dark, height=height, x=STEP, y="sources")
    figure.update_yaxes(
        range=[-0.15, len(info.sources) + 0.3], tickformat="d", dtick=max(1, len(info.sources) // 6)
    )
    return figure


def consistency_figure(info: GroupInfo, dark: bool = False, height: int = 240) -> go.Figure:
    """Draw the group's consistency and its lead over the next best prefix."""
    if not len(info.steps):
        return message(NOTHING, dark)
    table = info.size_table
    figure = go.Figure()
    series = (
        ("consistency", "consistency of the group", style_at(2, dark), "solid"),
        ("consistency_margin", "lead over the next best", style_at(3, dark), "dot"),
    )
    for column, name, style, dash in series:
        values = table[column].astype(float).to_numpy()
        if np.isnan(values).all():
            continue
        figure.add_trace(
            go.Scatter(
                x=table["step"].to_numpy(),
                y=values,
                name=name,
                mode="lines",
                line={"color": style.colour, "dash": dash, "width": 1.6},
                hovertemplate=f"step %{{x:,}}: {name} %{{y:.4g}}"
                "<br>mean of ⟨v_i, v_j⟩ / d over pairs<extra></extra>",
            )
        )
    key = f"consistency {info.run}"
    finish(figure, key=key, dark=dark, height=height, x=STEP, y="consistency")
    figure.add_hline(y=0, line={"color": ink(dark).zero, "width": 1})
    return figure


def churn_figure(info: GroupInfo, dark: bool = False, height: int = 220) -> go.Figure:
    """Draw how many sources entered or left, in buckets of steps."""
    if not len(info.steps):
        return message(NOTHING, dark)
    if not info.churn.any():
        last = f"{info.steps[-1]:,}"
        return message(f"No source entered or left the group up to step {last}.", dark)
    table = info.churn_table
    width = (table["last"] - table["first"] + 1).to_numpy()
    figure = go.Figure(
        go.Bar(
            x=table["first"].to_numpy() - 0.5 + width / 2,
            y=table["changes"].to_numpy(),
            width=width,
            name="changes",
            marker={"color": style_at(3, dark).colour, "line": {"width": 0}},
            customdata=table[["first", "last", "per_step"]].to_numpy(),
            hovertemplate="steps %{customdata[0]:,.0f}–%{customdata[1]:,.0f}<br>changes: %{y}"
            "<br>%{customdata[2]:.3g} per step<extra></extra>",
        )
    )
    per = int(width.max()) if len(width) else 1
    y = "sources in or out" + (f" per {per} steps" if per > 1 else "")
    finish(figure, key=f"churn {info.run}", dark=dark, height=height, x=STEP, y=y, bargap=0)
    figure.update_yaxes(rangemode="tozero")
    if info.settling_step is not None and info.settling_step > info.steps[0]:
        figure.add_vline(
            x=info.settling_step,
            line={"color": ink(dark).muted, "dash": "dash", "width": 1},
            annotation={
                "text": f"unchanged from step {info.settling_step:,}",
                "font": {"color": ink(dark).muted, "size": 11},
                "yanchor": "bottom",
            },
            annotation_position="top left",
        )
    return figure


def combinations_figure(info: GroupInfo, dark: bool = False) -> go.Figure:
    """Draw when each of the most frequent groups was in force."""
    if not len(info.steps):
        return message(NOTHING, dark)
    strip = info.strip
    names = list(strip["members"].cat.categories)
    figure = go.Figure()
    for place, name in enumerate(names):
        rows = strip[(strip["members"] == name).to_numpy()]
        shades = shaded(style_at(place, dark), rows["share"].to_numpy(), (0.0, 1.0), 0.1)
        hover = (
            f"<b>{name}</b><br>steps %{{customdata[0]:,.0f}}–"
            "%{customdata[1]:,.0f}: %{customdata[3]:.0%} of them<extra></extra>"
        )
        shown = ["first", "last", "steps", "share"]
        figure.add_trace(_stretches(name, rows, shades, shown, hover))
    finish(
        figure,
        key=f"combinations {info.run}",
        dark=dark,
        x=STEP,
        y="",
        bargap=0.25,
        height=90 + ROW * len(names),
        barmode="overlay",
        showlegend=False,
    )
    figure.update_xaxes(range=[info.steps[0] - 0.5, info.steps[-1] + 0.5])
    category_rows(figure, names)
    return figure


def weights_figure(info: GroupInfo, dark: bool = False, order: Sequence[str] = ()) -> go.Figure:
    """Draw each source's weight in the merge.

    Args:
        info: the run's groups.
        dark: for a dark page.
        order: all sources of the experiment, for colours.
    """
    return _lines(info, "weight", "weight in the merge", dark, order)


def contribution_figure(
    info: GroupInfo, dark: bool = False, order: Sequence[str] = ()
) -> go.Figure:
    """Draw the norm of what each source adds to the prompt; as `weights_figure`."""
    return _lines(info, "contribution", "Frobenius norm of what is added", dark, order)


def negative_figure(info: GroupInfo, dark: bool = False, order: Sequence[str] = ()) -> go.Figure:
    """Draw the share of each source's scale entries below 0; as `weights_figure`."""
    return _lines(info, "negative", "share of negative scale entries", dark, order)


def _lines(info: GroupInfo, column: str, title: str, dark: bool, order: Sequence[str]) -> go.Figure:
    if not len(info.steps):
        return message(NOTHING, dark)
    figure = go.Figure()
    for source, mine in rows_by_source(info, info.weight_table):
        hover = f"<b>{source}</b><br>step %{{x:,}}: {column} %{{y:.4g}}<extra></extra>"
        figure.add_trace(source_line(info, source, mine, column, order, dark, hover))
    finish(
        figure,
        key=f"{column} {info.run}",
        dark=dark,
        height=320,
        x=STEP,
        y=title,
        hovermode="closest",
    )
    figure.update_yaxes(rangemode="tozero")
    label_ends(figure, dark)
    return figure


def replay_figure(info: ReplayInfo, dark: bool = False, order: Sequence[str] = ()) -> go.Figure:
    """Draw both timelines: per source the logged bar above, the replayed one hatched below."""
    if not len(info.steps):
        return message("No Gram matrix is committed yet.", dark)
    styles = source_styles(info.sources, order, dark)
    figure = go.Figure()
    for which in ("logged", "replayed"):
        table = info.logged_timeline if which == "logged" else info.replayed_timeline
        shape = "" if which == "logged" else "/"
        for source in info.sources:
            rows = table[(table["source"] == source).to_numpy()]
            shades = shaded(styles[source], rows["share"].to_numpy(), (0.0, 1.0), 0.1)
            figure.add_trace(
                go.Bar(
                    orientation="h",
                    y=[source] * len(rows),
                    name=f"{source}, {which}",
                    meta=said_steps(rows),
                    base=rows["first"].to_numpy() - 0.5,
                    x=(rows["last"] - rows["first"] + 1).to_numpy(),
                    offsetgroup=which,
                    marker={**shades, "pattern": {"shape": shape, "fgopacity": 0.5}},
                    customdata=rows[["first", "last", "share", "similarity"]].to_numpy(),
                    hovertemplate=f"<b>{source}</b>, {which}<br>steps %{{customdata[0]:,.0f}}–"
                    "%{customdata[1]:,.0f} (%{customdata[2]:.0%} of them)"
                    "<br>similarity %{customdata[3]:.4g}<extra></extra>",
                )
            )
    finish(
        figure,
        key=f"replay {info.run}",
        dark=dark,
        x="optimiser step",
        y="",
        height=100 + 44 * len(info.sources),
        barmode="group",
        bargap=0.2,
        showlegend=False,
    )
    figure.update_xaxes(range=[info.steps[0] - 0.5, info.steps[-1] + 0.5])
    category_rows(figure, info.sources)
    return figure
