"""The subset lattice with a run's walk, its agreement with the right set; transfer.

LatticeInfo, QualityInfo, TransferInfo → figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dtvg.analysis.compare.families import in_words
from dtvg.analysis.subsets.lattice import LatticeInfo
from dtvg.analysis.subsets.quality import ORACLE, TRUTH, QualityInfo
from dtvg.analysis.subsets.transfer import HARMFUL, HELPFUL, UNDECIDED, SurrogateInfo, TransferInfo
from dtvg.analysis.words import counted, in_percent
from dtvg.figures.theme import finish, in_points, ink, message, source_styles, style_at

_COLOURS = {ORACLE: 0, TRUTH: 1}
_WIDTHS = (1.2, 2.4, 4.0, 6.0)
"""Line widths of walks, rare to frequent."""
_POINTS = 9
"""Points of an arc."""
_HOVER = "<b>%{customdata[0]}</b><br>%{customdata[1]}<br>%{customdata[2]}<extra></extra>"


def lattice_figure(info: LatticeInfo, dark: bool = False) -> go.Figure:
    """Draw subsets in layers by size, coloured by score, with arrows of the run's changes.

    Args:
        info: from `lattice_info`.
        dark: for a dark page.
    """
    if not len(info.sources):
        return message("This target has no sources that could form subsets.", dark)
    figure = go.Figure()
    layers = sorted(info.nodes["size"].unique())
    places = pd.DataFrame(
        {"place": _across(info, info.nodes), "size": info.nodes["size"].map(layers.index)}
    ).set_index(info.nodes["key"])
    for trace in _arrows(info, places, dark):
        figure.add_trace(trace)
    figure.add_traces(_circles(info, places, dark))
    row: Any
    told = _told(info.nodes)
    for row in info.nodes[told != ""].itertuples():
        figure.add_annotation(
            x=places.loc[row.key, "place"],
            y=places.loc[row.key, "size"],
            text=told[row.Index],
            yshift=30,
            showarrow=False,
            font={"color": ink(dark).text, "size": 12},
        )
    finish(
        figure,
        key=f"lattice {info.target} {info.run}",
        dark=dark,
        x="",
        y="sources in the subset",
        height=140 + (88 if len(layers) < 6 else 64) * len(layers),
        showlegend=False,
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(
        tickvals=list(range(len(layers))),
        ticktext=[str(size) for size in layers],
        showgrid=False,
        ticks="",
        range=[-0.5, len(layers) - 0.4],
    )
    return figure


def _told(nodes: pd.DataFrame) -> pd.Series:
    """Return what stands above each node: whether it is right on validation, or scores highest."""
    right = "best" if nodes["right"].sum() == 1 else "tied best"
    rows = zip(nodes["right"], nodes["best"], strict=True)
    words = [", ".join([right] * bool(r) + ["highest"] * bool(b)) for r, b in rows]
    return pd.Series(words, index=nodes.index, dtype=object)


def _arrows(info: LatticeInfo, places: pd.DataFrame, dark: bool) -> list[go.Scatter]:
    """Changes of the group, a trace per width; the arrow stands in the middle."""
    if not len(info.edges):
        return []
    often = np.log1p(info.edges["count"].to_numpy(dtype=np.float64))
    bucket = np.minimum((often / max(often.max(), 1e-9) * len(_WIDTHS)).astype(int), 3)
    made = []
    for level, width in enumerate(_WIDTHS):
        x: list[float | None] = []
        y: list[float | None] = []
        about: list[str] = []
        row: Any
        for row in info.edges[bucket == level].itertuples():
            (x0, y0), (x1, y1) = places.loc[row.before], places.loc[row.after]
            bent_x, bent_y = _bent(float(x0), float(y0), float(x1), float(y1))
            x += [*bent_x, None]
            y += [*bent_y, None]
            times = "once" if row.count == 1 else f"{row.count:,} times"
            about += [f"{row.before} → {row.after}: {times}, first at step {row.first:,}"] * (
                _POINTS + 1
            )
        sizes = [8 + 1.5 * width if at == _POINTS // 2 + 1 else 0 for at in range(_POINTS + 1)]
        if x:
            made.append(
                go.Scatter(
                    x=x,
                    y=y,
                    mode="lines+markers",
                    text=about,
                    line={"color": style_at(0, dark).faded(0.55), "width": width, "backoff": 0},
                    marker={
                        "symbol": "arrow",
                        "angleref": "previous",
                        "size": sizes * (len(x) // (_POINTS + 1)),
                        "color": style_at(0, dark).colour,
                    },
                    hovertemplate="%{text}<extra></extra>",
                )
            )
    return made


def _bent(x0: float, y0: float, x1: float, y1: float) -> tuple[list[float], list[float]]:
    """A shallow arc from one node to another, so that there and back are two lines, and none
    runs through the nodes between."""
    across, up = 0.16 * (y1 - y0), -0.16 * (x1 - x0)
    t = np.linspace(0.0, 1.0, _POINTS)
    bow = 2 * t * (1 - t)
    return list(x0 + t * (x1 - x0) + bow * across), list(y0 + t * (y1 - y0) + bow * up)


def _circles(info: LatticeInfo, places: pd.DataFrame, dark: bool) -> list[go.Scatter]:
    """Subsets: hollow where untrained, coloured by score else; outlined where visited."""
    known = info.nodes["score"].notna()
    made = []
    for nodes, scored in ((info.nodes[~known], False), (info.nodes[known], True)):
        if not len(nodes):
            continue
        score = nodes["score"].to_numpy(dtype=np.float64)
        visited = nodes["steps"].to_numpy() > 0
        text = [_short(key, len(info.sources)) for key in nodes["key"]]
        share = np.sqrt(nodes["share"].to_numpy(dtype=np.float64))
        longest = max(len(line) for said in text for line in said.split("<br>"))
        marker: dict[str, Any] = {
            "size": max(28, 10 + 8 * longest) + 18 * share,
            "color": score if scored else ink(dark).paper,
            "opacity": 1.0,
            "line": {
                "color": [style_at(3, dark).colour if v else ink(dark).muted for v in visited],
                "width": np.where(visited, 3.0, 1.0),
            },
        }
        if scored:
            marker |= _scale(score, info.split)
        made.append(
            go.Scatter(
                x=places.loc[nodes["key"], "place"].to_numpy(),
                y=places.loc[nodes["key"], "size"].to_numpy(),
                mode="markers+text",
                text=text,
                textposition="middle center",
                textfont={"size": 11, "color": _on(score, ink(dark).text)},
                customdata=_about(info, nodes),
                hovertemplate=_HOVER,
                marker=marker,
            )
        )
    return made


def _scale(score: np.ndarray, split: str) -> dict[str, Any]:
    """The scale of scores, readable with any colour vision, with its bar."""
    low, high = float(score.min()), float(score.max())
    bar = {
        "title": {"text": f"{split} score", "side": "right"},
        "tickformat": ".1~%",
        "thickness": 12,
        "outlinewidth": 0,
    }
    return {"cmin": low, "cmax": max(high, low + 1e-6), "colorscale": "Cividis", "colorbar": bar}


def _short(key: str, n: int) -> str:
    """Letters that fit into a node: a long subset in two lines, the whole set by name."""
    if len(key) < 5:
        return key
    half = (len(key) + 1) // 2
    return "all" if len(key) >= n else f"{key[:half]}<br>{key[half:]}"


def _across(info: LatticeInfo, nodes: pd.DataFrame) -> pd.Series:
    """Places across; small layers spread out, so that arrows between them can be told apart."""
    widths = info.nodes["size"].value_counts()
    stretch = (float(widths.max()) / widths).clip(1.0, 1.0 if info.whole else 2.2)
    return nodes["place"] * nodes["size"].map(stretch)


def _about(info: LatticeInfo, nodes: pd.DataFrame) -> list[list[str]]:
    """What is read when one points at a node."""
    about = []
    row: Any
    for row in nodes.itertuples():
        scored = "no run was trained on it"
        if row.n_seeds:
            seeds = counted(row.n_seeds, "seed")
            scored = f"{in_percent(row.score)} % on {info.split} ({row.basis}, {seeds})"
        walked = "never the group"
        if row.steps:
            walked = f"the group in {counted(row.steps, 'step')} ({100 * row.share:.1f} %)"
        about.append([row.subset, scored, walked])
    return about


def _on(score: np.ndarray, text: str) -> list[str]:
    """Text colours that can be read on each node."""
    known = score[~np.isnan(score)]
    middle = (known.min() + known.max()) / 2 if len(known) else 0.0
    return [text if np.isnan(s) else "#FFFFFF" if s < middle else "#101820" for s in score]


DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def overlap_figure(info: QualityInfo, dark: bool = False) -> go.Figure:
    """Draw the overlap of the group with each reference over steps, a line per seed.

    Seeds have dashes and a place in the legend of their own as long as one can tell them apart.

    Args:
        info: from `quality_info`.
        dark: for a dark page.
    """
    if not len(info.curves):
        return message("Neither the best subset nor the truth is known for this target.", dark)
    figure = go.Figure()
    seeds = info.curves["seed"].unique().tolist()
    many, named = len(seeds) > len(DASHES), set()
    for (reference, run), line in info.curves.groupby(["reference", "run"], sort=False):
        style = style_at(_COLOURS[str(reference)], dark)
        seed = line["seed"].iloc[0]
        figure.add_trace(
            go.Scatter(
                x=line["step"],
                y=line["jaccard"],
                mode="lines",
                line={
                    "color": style.colour,
                    "width": 1.0 if many else 1.8,
                    "dash": "solid" if many else DASHES[seeds.index(seed)],
                    "shape": "hv",
                },
                name=f"{reference}, {len(seeds)} seeds" if many else f"{reference}, seed {seed}",
                legendgroup=str(reference) if many else None,
                showlegend=not (many and reference in named),
                customdata=line[["precision", "recall"]],
                hovertemplate=f"<b>{run}</b> against {reference}<br>step %{{x}}: Jaccard %{{y:.2f}}"
                "<br>precision %{customdata[0]:.2f}, recall %{customdata[1]:.2f}<extra></extra>",
            )
        )
        named.add(reference)
    title = "overlap with the group (Jaccard)"
    finish(figure, key="overlap", dark=dark, x="step", y=title, height=320)
    figure.update_yaxes(range=[-0.03, 1.05])
    return figure


SIGNS = {HELPFUL: "▲", HARMFUL: "▼", UNDECIDED: ""}
_SCALE = ((0.0, "#C8511B"), (0.5, "#F5F6F7"), (1.0, "#0F6CB0"))
_SCALE_DARK = ((0.0, "#D9652B"), (0.5, "#1B222C"), (1.0, "#3D97D6"))
_TRANSFER_HOVER = (
    "<b>%{y}</b> for %{x}<br>%{customdata[0]} points%{customdata[1]}"
    "<br>%{customdata[2]} · %{customdata[3]}%{customdata[4]}<extra></extra>"
)


FEWEST_POINTS = 0.02
"""Differences that colours reach to at least."""
MOST_CELLS = 90
"""Percent of the cells whose colours are told apart; a few far larger ones share the last."""


def colour_reach(info: TransferInfo, basis: str) -> float:
    """Return the difference, 0..1, at which the colours of `transfer_figure` end.

    Args:
        info: from `transfer_info`.
        basis: one of `info.bases`.
    """
    sizes = np.abs(info.of(basis)["difference"].dropna().to_numpy(dtype=np.float64))
    if not len(sizes):
        return FEWEST_POINTS
    return max(FEWEST_POINTS, float(np.percentile(sizes, MOST_CELLS, method="lower")))


def _bar_of_points(reach: float) -> dict[str, Any]:
    """Return a colour bar from -reach to reach, named in points."""
    title = {"text": "points", "side": "right"}
    return {"thickness": 12, "outlinewidth": 0, "title": title, **in_points(-reach, reach)}


def _signed(value: float) -> str:
    """Return a difference in points with its sign."""
    return in_percent(value, 1, "+").replace("-", "\N{MINUS SIGN}")


def transfer_figure(info: TransferInfo, basis: str, dark: bool = False) -> go.Figure:
    """Draw sources × targets: the difference as colour and number, the verdict as a sign.

    Colours end at `colour_reach`, so that one cell far from all others does not make them alike.

    Args:
        info: from `transfer_info`.
        basis: one of `info.bases`.
        dark: for a dark page.
    """
    rows = info.of(basis)
    if not len(rows):
        return message(
            "No source has been measured yet: this needs runs with and without it.", dark
        )
    targets = [t for t in info.targets if t in set(rows["target"])]
    sources = [s for s in info.sources if s in set(rows["source"])]
    shape = (len(sources), len(targets))
    value, text = np.full(shape, np.nan), np.full(shape, "", dtype=object)
    about = np.full((*shape, 5), "", dtype=object)
    for row in rows.itertuples():
        at = (sources.index(str(row.source)), targets.index(str(row.target)))
        value[at] = row.difference
        points = _signed(float(value[at]))
        text[at] = f"{points} {SIGNS[str(row.verdict)]}".strip()
        known = f"<br>truth: {row.known!s}" if row.known else ""
        if row.known:
            text[at] += f"<br><span style='font-size:10px'>truth: {row.known!s}</span>"
        said = in_words(str(row.verdict), str(row.statement))
        low, high = float(row.low_corrected), float(row.high_corrected)  # type: ignore[arg-type]
        ends = "" if np.isnan(low) else f" (95 %: {_signed(low)} to {_signed(high)})"
        seeds = f"{row.n_seeds} seed{'' if row.n_seeds == 1 else 's'}"
        about[at] = [points, ends, seeds, said, known]
    reach = colour_reach(info, basis)
    figure = go.Figure(
        go.Heatmap(
            x=targets,
            y=sources,
            z=value,
            text=text,
            customdata=about,
            texttemplate="%{text}",
            textfont={"size": 13},
            colorscale=_SCALE_DARK if dark else _SCALE,
            zmin=-reach,
            zmax=reach,
            xgap=2,
            ygap=2,
            hoverongaps=False,
            hovertemplate=_TRANSFER_HOVER,
            colorbar=_bar_of_points(reach),
        )
    )
    height = 110 + (44 if rows["known"].ne("").any() else 34) * len(sources)
    finish(figure, key=f"transfer {basis}", dark=dark, x="target", y="source", height=height)
    figure.update_xaxes(type="category", showgrid=False, ticks="")
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False, ticks="")
    figure.update_layout(plot_bgcolor=ink(dark).paper)
    return figure


def _reaching(row: Any, colour: str) -> dict[str, Any]:
    """Return a coefficient's interval as an error bar; of no length where it is not known."""
    known = not np.isnan(row.low)
    above = [row.high - row.coefficient if known else 0.0]
    below = [row.coefficient - row.low if known else 0.0]
    return {
        "type": "data",
        "symmetric": False,
        "array": above,
        "arrayminus": below,
        "color": colour,
        "thickness": 2,
    }


def coefficients_figure(
    info: SurrogateInfo, dark: bool = False, order: Sequence[str] = ()
) -> go.Figure:
    """Draw each source's coefficient with its interval, and what single seeds had fitted.

    Args:
        info: from `surrogate_info`.
        dark: for a dark page.
        order: all sources of the experiment, which fixes their colours.
    """
    figure = go.Figure()
    styles = source_styles(list(info.table["source"]), order, dark)
    if len(info.seeds):
        figure.add_trace(
            go.Scatter(
                x=info.seeds["coefficient"],
                y=info.seeds["source"],
                mode="markers",
                marker={"color": ink(dark).muted, "size": 7, "symbol": "circle-open"},
                customdata=info.seeds[["seed", "kept"]].replace({True: "kept", False: "left out"}),
                hovertemplate="<b>%{y}</b>, seed %{customdata[0]}: %{x:+.1%}, %{customdata[1]}"
                "<extra></extra>",
            )
        )
    row: Any
    for row in info.table.itertuples():
        colour = styles[row.source].colour
        figure.add_trace(
            go.Scatter(
                x=[row.coefficient],
                y=[row.source],
                mode="markers",
                marker={"color": colour, "size": 11, "symbol": "diamond"},
                error_x=_reaching(row, colour),
                hovertemplate=f"<b>%{{y}}</b> adds %{{x:+.1%}}<br>{row.verdict}<extra></extra>",
            )
        )
    height = 110 + 30 * len(info.table)
    x = "coefficient (points of the validation score)"
    finish(figure, key="coefficients", dark=dark, x=x, y="", height=height, showlegend=False)
    figure.update_xaxes(tickformat="+.1~%")
    ends = info.table[["low", "high", "coefficient"]].to_numpy(dtype=float)
    if np.isfinite(ends).any():
        figure.update_xaxes(**in_points(min(float(np.nanmin(ends)), 0.0), float(np.nanmax(ends))))
    figure.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=list(info.table["source"]),
        range=[len(info.table) - 0.5, -0.5],
    )
    figure.add_vline(x=0, line={"color": ink(dark).zero, "width": 1})
    return figure
