"""Curves with bands: loss, score or any logged column; alone, or under membership."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dtvg.analysis.run.curves import Curve, CurveInfo
from dtvg.analysis.run.groups import GroupInfo
from dtvg.analysis.subsets.beside import Beside
from dtvg.analysis.words import counted
from dtvg.figures.ends import label_ends
from dtvg.figures.groups import NOTHING, ROW, STEP, category_rows, timeline_figure
from dtvg.figures.theme import (
    SCORE_LIMITS,
    Style,
    finish,
    ink,
    message,
    method_styles,
    reference_lines,
    score_range,
    style_at,
)

X_TITLES = {
    "step": "optimiser step",
    "examples": "training examples seen",
    "seconds": "training time (s)",
}
Y_TITLES = {
    "loss": "loss (nats per target token)",
    "grad_norm": "gradient norm before clipping",
    "lr_prompt": "learning rate of the prompt",
    "lr_scale": "learning rate of the sources' scales",
    "lr_scale_target": "learning rate of the target's scale",
    "seconds": "training time (s)",
    "examples": "examples per step",
    "tokens": "tokens per step",
    "step_ms": "time per step (ms)",
    "device_mem_gib": "peak memory (GiB)",
    "n_candidates": "candidates (sources)",
    "group_size": "group size (sources)",
    "consistency": "consistency of the group",
    "consistency_margin": "lead in consistency",
}


BANDS = 3
"""Bands that can be told apart over each other."""


def curves_figure(
    info: CurveInfo,
    dark: bool = False,
    order: Sequence[str] = (),
    height: int = 380,
    lines: Sequence[tuple[str, float]] = (),
    styles: Mapping[str, Style] | None = None,
    subjects: Collection[str] | None = None,
    beside: CurveInfo | None = None,
) -> go.Figure:
    """Draw curves with their bands.

    Args:
        info: from `curve_info`.
        dark: for a dark page.
        order: all series of the page, so that colours stay when some are hidden.
        height: in pixels.
        lines: name and score of what scores are measured by.
        styles: of each curve, where they are fixed elsewhere.
        subjects: curves that keep their bands where there are more than `BANDS`, drawn above the
            others; None: all.
        beside: what is drawn beside it; an axis with a single place reaches as far.
    """
    if not info.curves:
        return message(f"No value of '{info.quantity}' yet.", dark)
    figure = go.Figure()
    styles = styles or _styles(info, order, dark)
    score = info.quantity not in Y_TITLES
    few = subjects is None or len(info.curves) <= BANDS
    for curve in sorted(info.curves, key=lambda c: not few and c.name in (subjects or ())):
        style, shown = styles[curve.name], few or curve.name in (subjects or ())
        if curve.n_seeds > 1 and info.band != "none" and shown:
            figure.add_traces(_band(curve, style, 1.0 if score else np.inf))
        width = 1.8 if few else 2.4 if shown else 1.2
        figure.add_trace(_line(curve, style, info, score, width))
    y = Y_TITLES.get(info.quantity, f"{info.quantity} on {info.split} (%)")
    finish(
        figure,
        key=f"curves {info.quantity} {info.split} {info.x}",
        dark=dark,
        height=height,
        x=X_TITLES[info.x],
        y=y,
        hovermode="closest",
    )
    if score:
        title = y.replace(" (%)", "")
        drawn = [v for c in info.curves for v in (*c.y, *c.lower, *c.upper)]
        drawn += [value for _, value in lines]
        reference_lines(figure, lines, dark)
        figure.update_yaxes(
            tickformat=".1~%", title_text=title, range=score_range(drawn), **SCORE_LIMITS
        )
    ends = [float(c.x[-1]) for c in beside.curves if len(c.x)] if beside else []
    _around_one_value(figure, info, score, max(ends, default=0.0))
    if len(info.curves) == 1:
        figure.update_layout(showlegend=False)  # the page names what is shown
    label_ends(figure, dark)
    return figure


def _around_one_value(figure: go.Figure, info: CurveInfo, score: bool, least: float) -> None:
    """Begin axes at 0 where all points have one place, around which Plotly would go from −1 to +1.

    An axis of scores has its range already; one of steps reaches to `least` at least.
    """
    places = np.unique(np.concatenate([c.x for c in info.curves]))
    values = np.unique(np.concatenate([c.y for c in info.curves]))
    if len(places) == 1:
        reach = max(2 * float(places[0]), least or 10.0)
        figure.update_xaxes(range=[-0.03 * reach, reach])
    if not score and len(values) == 1 and values[0] > 0:
        figure.update_yaxes(rangemode="tozero")


def _styles(info: CurveInfo, order: Sequence[str], dark: bool) -> dict[str, Style]:
    """One method per curve: the method's style; else by place in the list."""
    names = [c.name for c in info.curves]
    methods = {c.name: c.method for c in info.curves}
    if len(set(methods.values())) == len(names):
        styles = method_styles(list(dict.fromkeys((*order, *methods.values()))), dark)
        return {name: styles[methods[name]] for name in names}
    places = list(dict.fromkeys((*order, *names)))
    return {name: style_at(places.index(name), dark) for name in names}


def _line(curve: Curve, style: Style, info: CurveInfo, score: bool, width: float) -> Any:
    """The curve itself; few points (evaluations) also get markers."""
    few = len(curve.x) <= 60
    value = "%{y:.1%}" if score else "%{y:.4g}"
    unit = {"step": "step %{x:,.0f}", "examples": "%{x:,.0f} examples", "seconds": "%{x:,.1f} s"}[
        info.x
    ]
    line = {"color": style.colour, "width": width, "dash": style.dash}
    size = 5 if width < 1.5 else 6
    marker = {"color": style.colour, "size": size, "symbol": style.symbol} if few else None
    return go.Scatter(
        x=curve.x,
        y=curve.y,
        name=curve.name,
        legendgroup=curve.name,
        mode="lines+markers" if few else "lines",
        line=line,
        marker=marker,
        customdata=[counted(int(n), "run") for n in curve.n_runs] if curve.n_seeds > 1 else None,
        hovertemplate=f"<b>{curve.name}</b><br>{unit}: {value}"
        + ("<br>%{customdata}" if curve.n_seeds > 1 else "")
        + "<extra></extra>",
    )


def _band(curve: Curve, style: Style, most: float) -> list[go.Scatter]:
    """Lower and upper edge, filled between; no score is above `most`."""
    shared = {
        "x": curve.x,
        "mode": "lines",
        "line": {"width": 0, "color": style.colour},
        "legendgroup": curve.name,
        "showlegend": False,
        "hoverinfo": "skip",
    }
    return [
        go.Scatter(y=curve.lower, name=f"{curve.name} lower", **shared),
        go.Scatter(
            y=np.minimum(curve.upper, most),
            name=f"{curve.name} upper",
            fill="tonexty",
            fillcolor=style.faded(0.18),
            **shared,
        ),
    ]


def overlay_figure(
    info: CurveInfo,
    names: Sequence[str],
    dark: bool = False,
    baseline: str = "",
    log: tuple[bool, bool] = (False, False),
    lines: Sequence[tuple[str, float]] = (),
    methods: Sequence[str] = (),
) -> go.Figure:
    """Draw chosen runs over each other, each in a colour of its own whichever are shown.

    Args:
        info: a curve per run, or differences from `baseline`.
        names: all chosen runs in order, those that are switched off included.
        dark: for a dark page.
        baseline: name of the run that was subtracted; empty: nothing was.
        log: whether the horizontal and the vertical axis are logarithmic.
        lines: name and score of what scores are measured by.
        methods: of each of `names`; where no two are of one method, its colour is the method's.
    """
    if len(set(methods)) == len(names):
        by_method = method_styles(methods, dark)
        styles = {name: by_method[m] for name, m in zip(names, methods, strict=True)}
    else:
        styles = {name: style_at(place, dark) for place, name in enumerate(names)}
    logarithmic = log[1] and not baseline
    kept = [] if baseline else [line for line in lines if line[1] > 0 or not logarithmic]
    figure = curves_figure(info, dark, height=330, lines=kept, styles=styles)
    if not info.curves:
        return figure
    if log[0]:
        figure.update_xaxes(type="log", range=None)
    if baseline:
        figure.update_yaxes(title_text="difference from the baseline", range=None)
        figure.add_hline(y=0, line={"color": ink(dark).zero, "width": 1})
        if info.split:
            figure.update_yaxes(tickformat="+.1~%", minallowed=None, maxallowed=None)
    elif logarithmic:
        figure.update_yaxes(type="log", range=None, minallowed=None, maxallowed=None)
        for note in figure.layout.annotations:  # names of lines; the lines take the value itself
            if note.yref == "y":
                note.y = float(np.log10(note.y))
    label_ends(figure, dark)  # by the axis as it is now
    return figure


MOST_EVENTS = 60
"""Changes drawn as lines through all panels; beyond, the churn plot says more."""


def aligned_figure(
    info: GroupInfo,
    loss: CurveInfo | None = None,
    score: CurveInfo | None = None,
    dark: bool = False,
    order: Sequence[str] = (),
    lines: Sequence[tuple[str, float]] = (),
    beside: Beside | None = None,
) -> go.Figure:
    """Draw membership, loss and validation score over the same steps.

    Args:
        info: the run's groups.
        loss: its loss; None: no such panel.
        score: its validation score; None: no such panel.
        dark: for a dark page.
        order: all sources of the experiment, for colours.
        lines: name and score of what the score is measured by.
        beside: right sets and marks, rows below the sources.
    """
    if not len(info.steps):
        return message(NOTHING, dark)
    names = [*info.sources, *(beside.names if beside is not None else ())]
    below = [(c, t) for c, t in ((loss, "loss"), (score, "score")) if c is not None and c.curves]
    top = 60 + ROW * len(names)
    heights = [top, *[130] * len(below)]
    figure = make_subplots(
        rows=len(heights),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.045,
        row_heights=heights,
    )
    for trace in timeline_figure(info, dark, order, beside=beside).data:
        figure.add_trace(trace, row=1, col=1)
    for row, (curves, name) in enumerate(below, start=2):
        style = style_at(0 if name == "loss" else 2, dark)
        curve = curves.curves[0]
        figure.add_trace(
            go.Scatter(
                x=curve.x,
                y=curve.y,
                mode="lines" if name == "loss" else "lines+markers",
                name=name,
                line={"color": style.colour, "width": 1.4},
                hovertemplate=f"step %{{x:,}}: {name} %{{y:.4g}}<extra></extra>",
            ),
            row=row,
            col=1,
        )
        if name == "score":
            reference_lines(figure, lines, dark, row=row, col=1)
    finish(
        figure,
        key=f"aligned {info.run}",
        dark=dark,
        height=sum(heights) + 70,
        x="",
        y="",
        bargap=0.25,
        barmode="overlay",
        showlegend=False,
        hovermode="closest",
    )
    _axes(figure, info, names, [name for _, name in below])
    _events(figure, info, dark)
    return figure


def _axes(figure: go.Figure, info: GroupInfo, rows: list[str], names: list[str]) -> None:
    """Title the rows and the panels; only the lowest panel names the steps."""
    figure.update_xaxes(range=[info.steps[0] - 0.5, info.steps[-1] + 0.5])
    figure.update_xaxes(title_text=STEP, row=1 + len(names), col=1)
    lower = go.Figure(figure)
    category_rows(lower, rows)
    figure.layout.yaxis.update(lower.layout.yaxis)
    for row, name in enumerate(names, start=2):
        figure.update_yaxes(
            title_text=name,
            row=row,
            col=1,
            **({"tickformat": ".0%", **SCORE_LIMITS} if name == "score" else {}),
        )


def _events(figure: go.Figure, info: GroupInfo, dark: bool) -> None:
    """Draw a thin line through all panels where the group changed."""
    changes = info.steps[np.flatnonzero(info.churn)]
    if len(changes) > MOST_EVENTS:
        return
    line = {"color": ink(dark).muted, "width": 0.8, "dash": "dot"}
    lines = [
        {
            "type": "line",
            "xref": "x",
            "yref": "paper",
            "x0": float(step) - 0.5,
            "x1": float(step) - 0.5,
            "y0": 0,
            "y1": 1,
            "line": line,
            "opacity": 0.7,
        }
        for step in changes
    ]
    # one by one, each line copies all shapes there are and asks every trace for its panel
    figure.layout.shapes = [*figure.layout.shapes, *lines]
