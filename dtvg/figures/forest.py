"""Forest of verdicts: the subject's lead over each baseline, target by target.

PairedInfo → figure. Two intervals a row: thin over seeds (Student's t), thick over seeds and
examples (resampled). Must not import torch or streamlit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dtvg.analysis.paired import PairedInfo
from dtvg.figures.theme import finish, ink, message, style_at

COLOURS = {"better": 2, "worse": 3}
"""Verdict → place in the palette; without a verdict rows are muted."""


def forest_figure(
    info: PairedInfo, dark: bool = False, targets: Sequence[str] | None = None
) -> go.Figure:
    """Draw every comparison, one panel per target, the average first.

    A filled diamond is a verdict on the methods; an open one in colour a verdict on these
    trained runs only.

    Args:
        info: from `paired.paired`.
        dark: for a dark page.
        targets: panels wanted; None: all.
    """
    table = info.table[info.table["n_seeds"] > 0] if len(info.table) else info.table
    panels = [t for t in dict.fromkeys(table.get("target", ())) if targets is None or t in targets]
    if not panels:
        return message("No finished pair of runs with a common seed yet.", dark)
    subjects = list(dict.fromkeys(table["subject"]))
    names = list(dict.fromkeys(_name(row, len(subjects)) for row in table.itertuples(index=False)))
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = make_subplots(
        rows=lines,
        cols=columns,
        shared_yaxes=True,
        subplot_titles=panels,
        horizontal_spacing=0.03,
        vertical_spacing=0.16 / max(1, lines - 1),
    )
    for at, target in enumerate(panels):
        place = {"row": at // columns + 1, "col": at % columns + 1}
        for row in table[table["target"] == target].itertuples(index=False):
            for trace in _marks(row, _name(row, len(subjects)), dark):
                figure.add_trace(trace, **place)
        figure.update_xaxes(range=_reach(table[table["target"] == target]), **place)
        figure.add_vline(x=0, line={"color": ink(dark).zero, "width": 1}, **place)
    height = 110 + lines * (60 + 28 * len(names))
    finish(
        figure, key="forest", dark=dark, x="", y="", height=height, margin_t=64, showlegend=False
    )
    figure.update_xaxes(tickformat="+.1~%", nticks=6)
    figure.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=names,
        range=[len(names) - 0.5, -0.5],
    )
    what = subjects[0] if len(subjects) == 1 else "subject"
    for at in range(max(0, len(panels) - columns), len(panels)):
        place = {"row": at // columns + 1, "col": at % columns + 1}
        figure.update_xaxes(title_text=f"{what} minus baseline (points)", **place)
    return figure


def _reach(rows: Any) -> list[float]:
    """From where to where a panel reaches: every interval and zero, with room on both sides."""
    ends = rows[["difference", "low", "high", "low_both", "high_both"]].to_numpy(dtype=float)
    low, high = min(0.0, float(np.nanmin(ends))), max(0.0, float(np.nanmax(ends)))
    room = 0.06 * (high - low) or 0.01
    return [low - room, high + room]


def _name(row: Any, subjects: int) -> str:
    return str(row.baseline) if subjects == 1 else f"{row.subject} − {row.baseline}"


def _marks(row: Any, name: str, dark: bool) -> list[go.Scatter]:
    """One comparison: both intervals and a diamond coloured by what can be said."""
    on_runs = row.verdict not in COLOURS
    place = COLOURS.get(row.verdict_runs if on_runs else row.verdict)
    colour = ink(dark).muted if place is None else style_at(place, dark).colour
    found = []
    for low, high, width, what in (
        (row.low, row.high, 1.5, "over seeds"),
        (row.low_both, row.high_both, 5, "over seeds and examples"),
    ):
        if np.isfinite(low):
            found.append(
                go.Scatter(
                    x=[low, high],
                    y=[name, name],
                    mode="lines",
                    name=what,
                    line={"color": colour, "width": width},
                    opacity=1.0 if width < 2 else 0.45,
                    hovertemplate=f"<b>{name}</b><br>95 % {what}: {low:+.1%} to {high:+.1%}"
                    "<extra></extra>",
                )
            )
    found.append(
        go.Scatter(
            x=[row.difference],
            y=[name],
            mode="markers",
            name=name,
            marker={
                "color": colour,
                "size": 10,
                "symbol": "diamond-open" if on_runs else "diamond",
                "line": {"width": 2, "color": colour},
            },
            hovertemplate=_told(row, name),
        )
    )
    return found


def _told(row: Any, name: str) -> str:
    """What a person reads when pointing at a comparison."""
    lines = [f"<b>{row.subject} − {name}</b>", f"%{{x:+.1%}} ({row.n_seeds} seeds)", row.verdict]
    if np.isfinite(row.p_holm):
        lines.append(f"p = {row.p_holm:.3g} after Holm")
    if row.verdict_runs:
        lines.append(f"on these runs: {row.verdict_runs} (p = {row.p_examples_holm:.3g})")
    if np.isfinite(row.seeds_needed):
        lines.append(f"about {int(row.seeds_needed)} seeds would show this difference")
    elif row.verdict.startswith("not enough"):
        lines.append(f"at least {int(row.seeds_attainable)} seeds could give one")
    return "<br>".join(lines) + "<extra></extra>"
