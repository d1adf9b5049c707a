"""Methods side by side: seeds as points, mean, interval; verdicts, ranks, costs, profiles.

CompareInfo → figure. Scores stay 0..1; only axis labels show percent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dtvg.analysis.compare.costs import CostInfo
from dtvg.analysis.compare.disagreements import (
    BOTH,
    KINDS,
    NEITHER,
    ONLY_A,
    ONLY_B,
    DisagreementInfo,
)
from dtvg.analysis.compare.families import in_words
from dtvg.analysis.compare.info import AVERAGE, CompareInfo
from dtvg.analysis.compare.lines import in_percent
from dtvg.analysis.compare.ranks import ProfileInfo, RanksInfo
from dtvg.analysis.compare.verdicts import PairedInfo
from dtvg.analysis.words import counted
from dtvg.figures.theme import (
    DARK_INK,
    LIGHT_INK,
    SCORE_LIMITS,
    finish,
    in_points,
    ink,
    message,
    method_styles,
    reference_lines,
    score_range,
    style_at,
)
from dtvg.figures.titled import takes_two_lines

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
        subplot_titles=panels if len(panels) > 1 else None,
        horizontal_spacing=0.03,
        vertical_spacing=0.16 / max(1, lines - 1 or 1),
    )
    figure.update_annotations(yshift=24)  # above the names of the references
    styles = method_styles(info.rows, dark)
    for at, target in enumerate(panels):
        for row in info.rows:
            for trace in _dots(info, row, target, styles[row].colour):
                figure.add_trace(trace, row=at // columns + 1, col=at % columns + 1)
        known = info.references.get(target)
        place = {"row": at // columns + 1, "col": at % columns + 1}
        reference_lines(figure, known.lines if known else (), dark, upright=True, **place)
    tall = 36 if takes_two_lines(info.rows) else 26
    height = 100 + lines * (60 + tall * len(info.rows))
    key = f"compare {info.metric} {info.split}"
    finish(figure, key=key, dark=dark, x="", y="", height=height, margin_t=64, showlegend=False)
    _one_row_each(figure, info.rows)
    figure.update_xaxes(tickformat=".1~%", nticks=6, maxallowed=SCORE_LIMITS["maxallowed"])
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
    about = "" if np.isnan(std) else f" ± {in_percent(std)}"
    seeds = counted(int(cell["n_seeds"].iloc[0]), "seed")
    return [
        go.Scatter(
            x=points["value"].to_numpy(),
            y=points["method"].tolist(),
            mode="markers",
            name=f"{row} seeds",
            customdata=points["seed"].to_numpy(),
            text=[in_percent(value) for value in points["value"]],
            marker={"color": colour, "size": 7, "symbol": "circle-open", "line": {"width": 1.3}},
            hovertemplate=f"<b>{row}</b> on {target}<br>seed %{{customdata}}: %{{text}}%"
            "<extra></extra>",
        ),
        go.Scatter(
            x=[mean],
            y=[row],
            mode="markers",
            name=row,
            error_x=_interval(mean, low, high, colour),
            marker={"color": colour, "size": 10, "symbol": "diamond"},
            hovertemplate=f"<b>{row}</b> on {target}<br>mean {in_percent(mean)}%{about} ({seeds})"
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


COLOURS = {"better": 2, "worse": 3}
"""Verdict → place in the palette; without a verdict rows are muted."""
HOW_TO_READ = (
    "Green: better than this baseline. Orange: worse. Grey: undecided or not tested; filled where "
    "these trained runs differ, which other seeds might not. Thick line: 95 % interval of this "
    "comparison alone, over seeds and examples; thin line: corrected for all comparisons that are "
    "tested together."
)
"""What marks and lines of `forest_figure` mean."""


def forest_figure(
    info: PairedInfo, dark: bool = False, targets: Sequence[str] | None = None
) -> go.Figure:
    """Draw every comparison, one panel per target, the average first.

    A diamond in colour is a verdict on the methods; all others are muted, filled where these
    trained runs differ. The thin line is the interval that goes with
    the verdict, corrected for the comparisons of its family; the thick one that of this
    comparison alone. `HOW_TO_READ` says so to readers.

    Args:
        info: from `paired.paired`.
        dark: for a dark page.
        targets: panels wanted; None: all.
    """
    table = info.table[info.table["n_seeds"] > 0] if len(info.table) else info.table
    panels = [t for t in dict.fromkeys(table.get("target", ())) if targets is None or t in targets]
    if not panels:
        return message("No two finished runs have a common seed yet.", dark)
    subjects = list(dict.fromkeys(table["subject"]))
    names = list(dict.fromkeys(_name(row, len(subjects)) for row in table.itertuples(index=False)))
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = make_subplots(
        rows=lines,
        cols=columns,
        shared_yaxes=True,
        subplot_titles=panels if len(panels) > 1 else None,
        horizontal_spacing=0.03,
        vertical_spacing=0.16 / max(1, lines - 1),
    )
    for at, target in enumerate(panels):
        place = {"row": at // columns + 1, "col": at % columns + 1}
        for row in table[table["target"] == target].itertuples(index=False):
            for trace in _marks(row, _name(row, len(subjects)), dark):
                figure.add_trace(trace, **place)
        reach = _reach(table[table["target"] == target])
        figure.update_xaxes(range=reach, **in_points(reach[0], reach[1]), **place)
        figure.add_vline(x=0, line={"color": ink(dark).zero, "width": 1}, **place)
    height = 110 + lines * (60 + 28 * len(names))
    finish(
        figure, key="forest", dark=dark, x="", y="", height=height, margin_t=64, showlegend=False
    )
    figure.update_xaxes(tickformat="+.1~%")  # what is heard of the figure
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
    columns = ["difference", "low_corrected", "high_corrected", "low_both", "high_both"]
    ends = rows[columns].to_numpy(dtype=float)
    low, high = min(0.0, float(np.nanmin(ends))), max(0.0, float(np.nanmax(ends)))
    room = 0.06 * (high - low) or 0.01
    return [low - room, high + room]


def _name(row: Any, subjects: int) -> str:
    return str(row.baseline) if subjects == 1 else f"{row.subject} − {row.baseline}"


def _marks(row: Any, name: str, dark: bool) -> list[go.Scatter]:
    """One comparison: both intervals and a diamond coloured by what can be said."""
    place = COLOURS.get(row.verdict)
    colour = ink(dark).muted if place is None else style_at(place, dark).colour
    told = place is not None or row.verdict_runs in COLOURS
    found = []
    for low, high, width, what in (
        (row.low_corrected, row.high_corrected, 1.5, "corrected"),
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
                    hovertemplate=f"<b>{name}</b><br>95 % {what}: {in_percent(low, '+')}% to "
                    f"{in_percent(high, '+')}%"
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
                "symbol": "diamond" if told else "diamond-open",
                "line": {"width": 2, "color": colour},
            },
            hovertemplate=_told(row, name),
        )
    )
    return found


def _told(row: Any, name: str) -> str:
    """What a person reads when pointing at a comparison."""
    said = in_words(row.verdict, row.statement)
    lines = [
        f"<b>{row.subject} − {name}</b>",
        f"{in_percent(row.difference, '+')}% ({counted(int(row.n_seeds), 'seed')})",
        said,
    ]
    if row.family == "primary":
        lines.append("the primary comparison, tested alone")
    if np.isfinite(row.p_corrected):
        lines.append(f"p = {row.p_corrected:.3g} ({row.correction})")
    if row.verdict_runs:
        lines.append(f"on these runs: {row.verdict_runs} (p = {row.p_examples_holm:.3g})")
    if np.isfinite(row.seeds_needed):
        lines.append(f"about {int(row.seeds_needed)} seeds would show this difference")
    elif row.verdict.startswith("not enough"):
        lines.append(f"at least {int(row.seeds_attainable)} seeds could give one")
    return "<br>".join(lines) + "<extra></extra>"


AXES = {
    "seconds_alone": "seconds of training (the cohort's time divided by its runs)",
    "trained_parameters": "trained parameters",
    "examples": "examples seen",
    "tokens": "tokens seen",
    "peak_mem_gib": "peak memory of the process (GiB)",
}


FAR = 5
"""Costs so many times apart are drawn on a logarithmic axis."""


def costs_figure(
    info: CostInfo,
    axis: str = "seconds_alone",
    dark: bool = False,
    rows: tuple[str, ...] = (),
    lines: Sequence[tuple[str, float]] = (),
) -> go.Figure:
    """Draw the score of each method over one kind of cost, as large as the scores allow.

    Args:
        info: from `costs.costs`.
        axis: one of `AXES`.
        dark: for a dark page.
        rows: methods to draw; none: all.
        lines: name and score of what scores are measured by; those far below are named only.
    """
    table = info.table
    known = table[table["score"].notna() & table[axis].notna()]
    if rows:
        known = known[known["method"].isin(rows)]
    if not len(known):
        return message("No finished run has logged this cost.", dark)
    styles = method_styles(list(table["method"]), dark)
    spread = known[axis].to_numpy(dtype=np.float64)
    far = bool(spread.min() > 0 and spread.max() / spread.min() > FAR)
    figure = go.Figure()
    row: Any
    for row in known.itertuples():
        style = styles[row.method]
        figure.add_trace(
            go.Scatter(
                x=[getattr(row, axis)],
                y=[row.score],
                mode="markers",
                name=row.method,
                marker={"color": style.colour, "symbol": style.symbol, "size": 12},
                hovertemplate=f"<b>{row.method}</b><br>score {in_percent(row.score)}%<br>"
                f"{AXES[axis]}: %{{x:,.4~g}}<br>{counted(int(row.n_runs), 'run')}<extra></extra>",
            )
        )
    finish(figure, key=f"costs {axis}", dark=dark, x=AXES[axis], y="score", height=420)
    ends = score_range(known["score"].tolist()) or [0.0, 1.02]
    figure.update_yaxes(tickformat=".1~%", range=ends, **SCORE_LIMITS)
    figure.update_xaxes(type="log" if far else "linear", nticks=8)
    if far:
        figure.update_xaxes(**_log_ticks(float(spread.min()), float(spread.max())))
    reference_lines(figure, [one for one in lines if ends[0] <= one[1] <= ends[1]], dark)
    _below(figure, [one for one in lines if one[1] < ends[0]], dark)
    return figure


def _log_ticks(low: float, high: float) -> dict[str, Any]:
    """Return the ticks of a logarithmic axis in full numbers: 1, 2, 5, 10, …"""
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    decades = [10.0**k for k in range(first, last + 1)]
    steps = (1,) if len(decades) > 4 else (1, 2, 5)
    values = [step * decade for decade in decades for step in steps]
    return {"tickmode": "array", "tickvals": values, "ticktext": [f"{v:,.10g}" for v in values]}


def _below(figure: go.Figure, lines: Sequence[tuple[str, float]], dark: bool) -> None:
    """Name references that lie below what is drawn, so that methods are told apart."""
    if lines:
        names = ", ".join(f"{name} {in_percent(value)}" for name, value in lines)
        figure.add_annotation(
            text=f"↓ {names}", showarrow=False, x=0.01, y=0.01, xref="paper", yref="paper",
            xanchor="left", yanchor="bottom", font={"color": ink(dark).muted, "size": 10},
        )  # fmt: skip


def profile_figure(info: ProfileInfo, dark: bool = False) -> go.Figure:
    """Draw on what share of targets and seeds each method is within τ of the best.

    Args:
        info: from `profile.profile`.
        dark: for a dark page.
    """
    if len(info.methods) < 2:
        return message(info.note, dark)
    figure = go.Figure()
    styles = method_styles(info.methods, dark)
    end = max(info.longest * 1.05, 0.01)
    for method in info.methods:
        curve = info.table[info.table["method"] == method]
        style = styles[method]
        figure.add_trace(
            go.Scatter(
                x=[*curve["tau"], end],
                y=[*curve["share"], curve["share"].iloc[-1]],
                mode="lines",
                name=method,
                line={"color": style.colour, "dash": style.dash, "width": 2, "shape": "hv"},
                hovertemplate=f"<b>{method}</b><br>within %{{x:.1%}} of the best "
                "on %{y:.0%}<extra></extra>",
            )
        )
    x = "τ: distance to the best score (percentage points)"
    y = f"share of {len(info.cells)} target-seed pairs"
    finish(figure, key="profile", dark=dark, x=x, y=y, height=420)
    figure.update_xaxes(tickformat=".1~%", range=[-0.01 * end, end])
    figure.update_yaxes(tickformat=".0%", range=[0, 1.03])
    return figure


NARROW = 760
"""Pixels of a figure on a page of 1,280; names of methods have room from there on."""
LINE = 1.0
"""Distance between the names of methods, in rows."""


def ranks_figure(info: RanksInfo, dark: bool = False) -> go.Figure:
    """Draw average ranks, best on the left, with Nemenyi's critical difference.

    Args:
        info: from `ranks.ranks`.
        dark: for a dark page.
    """
    table = info.table
    k = len(table)
    if k < 2 or not info.targets:
        return message(info.note, dark)
    figure = go.Figure()
    colours = ink(dark)
    bars = _bars(info)
    half = (k + 1) // 2
    styles = method_styles(table["method"].tolist(), dark)
    for place, row in enumerate(table.itertuples(index=False)):
        left = place < half
        level = -(len(bars) * 0.35 + 1.0 + LINE * (place if left else k - 1 - place))
        _stem(figure, row, level, left, k, styles[str(row.method)].colour)
    for i, (low, high) in enumerate(bars):
        figure.add_trace(_bar(low, high, -0.35 * (i + 1), colours.text, "Not told apart"))
    if not np.isnan(info.critical_difference):
        shown = min(info.critical_difference, k - 1.0)
        label = f"critical difference {info.critical_difference:.2f}"
        label += " (beyond the line)" if info.critical_difference > k - 1 else ""
        figure.add_trace(_bar(1.0, 1.0 + shown, 0.75, colours.muted, label))
        figure.add_annotation(
            x=1.0, y=0.8, text=label, showarrow=False, xanchor="left", yanchor="bottom",
            font={"color": colours.muted, "size": 12},
        )  # fmt: skip
    depth = len(bars) * 0.35 + 1.0 + LINE * half
    title = f"average rank over {counted(len(info.targets), 'target')} (1 = best)"
    height = int(120 + 30 * (depth + 1.6))
    finish(figure, key="ranks", dark=dark, x=title, y="", height=height, showlegend=False)
    longest = max(len(f"{name} (0.00)") for name in table["method"])
    share = min(0.42, 7.2 * longest / NARROW)  # of the width, at each end, for names
    room = (k - 1) * share / (1 - 2 * share) + 0.3
    figure.update_xaxes(
        side="top", range=[1 - room, k + room], tickvals=list(range(1, k + 1)), showgrid=False
    )
    figure.update_yaxes(visible=False, range=[-depth - 0.4, 1.6])
    figure.add_shape(
        type="line", x0=1, x1=k, y0=0, y1=0, line={"color": colours.text, "width": 1.5}
    )
    return figure


def _bars(info: RanksInfo) -> list[tuple[float, float]]:
    """From which rank to which each set of level methods reaches."""
    rank = dict(zip(info.table["method"], info.table["rank"], strict=True))
    return [(rank[clique[0]], rank[clique[-1]]) for clique in info.cliques]


def _bar(low: float, high: float, y: float, colour: str, name: str) -> go.Scatter:
    return go.Scatter(
        x=[low - 0.03, high + 0.03],
        y=[y, y],
        mode="lines",
        name=name,
        line={"color": colour, "width": 5},
        hovertemplate=f"{name}<extra></extra>",
    )


def _stem(figure: go.Figure, row: Any, level: float, left: bool, k: int, colour: str) -> None:
    """A method's rank on the line, and from there down and out to its name."""
    end = 1 - 0.15 if left else k + 0.15
    figure.add_trace(
        go.Scatter(
            x=[row.rank, row.rank, end],
            meta=f"average rank {row.rank:.2f}",
            y=[0, level, level],
            mode="lines+markers",
            name=str(row.method),
            line={"color": colour, "width": 1.5},
            marker={"size": [9, 0, 0], "color": colour},
            hovertemplate=f"<b>{row.method}</b><br>average rank {row.rank:.2f}<br>"
            f"mean {in_percent(row.mean)}%, best on {row.wins}<extra></extra>",
        )
    )
    figure.add_annotation(
        x=end,
        y=level,
        text=f"{row.method} ({row.rank:.2f})",
        showarrow=False,
        xanchor="right" if left else "left",
        font={"color": colour, "size": 12},
    )


def disagreement_figure(info: DisagreementInfo, dark: bool = False) -> go.Figure:
    """Draw the share of examples of each kind, a bar per pair of runs.

    Args:
        info: from `disagreement_info`.
        dark: for a dark page.
    """
    if not len(info.counts):
        return message("These runs stored no answers that could be matched.", dark)
    colours = {
        BOTH: style_at(2, dark).faded(0.35),
        ONLY_A: style_at(0, dark).colour,
        ONLY_B: style_at(1, dark).colour,
        NEITHER: ink(dark).grid,
    }
    names = {ONLY_A: f"only {info.a} right", ONLY_B: f"only {info.b} right"}
    rows = [("all seeds" if s == "all" else f"seed {s}") for s in info.counts["seed"]]
    figure = go.Figure()
    for kind in KINDS:
        share = info.counts[kind] / info.counts["examples"]
        figure.add_trace(
            go.Bar(
                x=share,
                y=rows,
                orientation="h",
                name=names.get(kind, kind),
                marker={"color": colours[kind]},
                text=info.counts[kind],
                textfont={"color": _on(kind, dark)},
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                customdata=info.counts["examples"],
                hovertemplate="%{y}: %{text} of %{customdata} examples (%{x:.1%})",
            )
        )
    height = 130 + 34 * len(rows)
    finish(
        figure,
        key="disagreements",
        dark=dark,
        x="share of examples",
        y="",
        height=height,
        barmode="stack",
        bargap=0.25,
        uniformtext={"minsize": 10, "mode": "hide"},
        legend={"traceorder": "normal"},
    )
    figure.update_xaxes(tickformat=".0%", range=[0, 1], dtick=0.2, ticklabeloverflow="allow")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def _on(kind: str, dark: bool) -> str:
    """Return the colour of text on a bar: dark on what only one got right, else the page's."""
    return (
        LIGHT_INK.text
        if kind == ONLY_B or (kind == ONLY_A and dark)
        else (DARK_INK.text if kind == ONLY_A else ink(dark).text)
    )
