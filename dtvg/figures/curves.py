"""Curves with bands: loss, score or any logged column. CurveInfo → figure.

Must not import torch or streamlit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from dtvg.analysis.curves import Curve, CurveInfo
from dtvg.figures.theme import SCORE_LIMITS, Style, finish, message, method_styles, style_at

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
LONG = 2000
"""Points from which on a trace is drawn by WebGL."""


def curves_figure(
    info: CurveInfo, dark: bool = False, order: Sequence[str] = (), height: int = 380
) -> go.Figure:
    """Draw curves with their bands.

    Args:
        info: from `curve_info`.
        dark: for a dark page.
        order: all series of the page, so that colours stay when some are hidden.
        height: in pixels.
    """
    if not info.curves:
        return message(f"No value of '{info.quantity}' yet.", dark)
    figure = go.Figure()
    styles = _styles(info, order, dark)
    score = info.quantity not in Y_TITLES
    for curve in info.curves:
        style = styles[curve.name]
        if curve.n_seeds > 1 and info.band != "none":
            figure.add_traces(_band(curve, style))
        figure.add_trace(_line(curve, style, info, score))
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
        figure.update_yaxes(tickformat=".1~%", title_text=title, **SCORE_LIMITS)
    return figure


def _styles(info: CurveInfo, order: Sequence[str], dark: bool) -> dict[str, Style]:
    """One method per curve: the method's style; else by place in the list."""
    names = [c.name for c in info.curves]
    methods = {c.name: c.method for c in info.curves}
    if len(set(methods.values())) == len(names):
        styles = method_styles(list(dict.fromkeys((*order, *methods.values()))), dark)
        return {name: styles[methods[name]] for name in names}
    places = list(dict.fromkeys((*order, *names)))
    return {name: style_at(places.index(name), dark) for name in names}


def _line(curve: Curve, style: Style, info: CurveInfo, score: bool) -> Any:
    """The curve itself; few points (evaluations) also get markers."""
    few = len(curve.x) <= 60
    kind = go.Scattergl if len(curve.x) > LONG else go.Scatter
    value = "%{y:.1%}" if score else "%{y:.4g}"
    unit = {"step": "step %{x:,.0f}", "examples": "%{x:,.0f} examples", "seconds": "%{x:,.1f} s"}[
        info.x
    ]
    line = {"color": style.colour, "width": 1.8}
    if kind is go.Scatter:
        line["dash"] = style.dash
    marker = {"color": style.colour, "size": 6, "symbol": style.symbol} if few else None
    return kind(
        x=curve.x,
        y=curve.y,
        name=curve.name,
        legendgroup=curve.name,
        mode="lines+markers" if few else "lines",
        line=line,
        marker=marker,
        customdata=curve.n_runs,
        hovertemplate=f"<b>{curve.name}</b><br>{unit}: {value}"
        + ("<br>%{customdata} runs" if curve.n_seeds > 1 else "")
        + "<extra></extra>",
    )


def _band(curve: Curve, style: Style) -> list[go.Scatter]:
    """Lower and upper edge, filled between."""
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
            y=curve.upper,
            name=f"{curve.name} upper",
            fill="tonexty",
            fillcolor=style.faded(0.18),
            **shared,
        ),
    ]
