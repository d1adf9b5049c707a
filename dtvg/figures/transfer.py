"""What each source does to each target, as a heat map with verdicts in words and signs.

TransferInfo, SurrogateInfo → figures. Must not import torch or streamlit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dtvg.analysis.surrogates import SurrogateInfo
from dtvg.analysis.transfer import HARMFUL, HELPFUL, UNDECIDED, TransferInfo
from dtvg.figures.theme import finish, ink, message, source_styles

SIGNS = {HELPFUL: "▲", HARMFUL: "▼", UNDECIDED: ""}
_SCALE = ((0.0, "#C8511B"), (0.5, "#F5F6F7"), (1.0, "#0F6CB0"))
_SCALE_DARK = ((0.0, "#D9652B"), (0.5, "#1B222C"), (1.0, "#3D97D6"))
_HOVER = (
    "<b>%{y}</b> for %{x}<br>%{z:+.1%} (95 %: %{customdata[0]:+.1%} to %{customdata[1]:+.1%})"
    "<br>%{customdata[2]} seeds · %{customdata[3]}%{customdata[4]}<extra></extra>"
)


def transfer_figure(info: TransferInfo, basis: str, dark: bool = False) -> go.Figure:
    """Draw sources × targets: the difference as colour and number, the verdict as a sign.

    Args:
        info: from `transfer_info`.
        basis: one of `info.bases`.
        dark: for a dark page.
    """
    rows = info.of(basis)
    if not len(rows):
        return message("No source has been measured with and without yet.", dark)
    targets = [t for t in info.targets if t in set(rows["target"])]
    sources = [s for s in info.sources if s in set(rows["source"])]
    shape = (len(sources), len(targets))
    value, text = np.full(shape, np.nan), np.full(shape, "", dtype=object)
    about = np.full((*shape, 5), "", dtype=object)
    for row in rows.itertuples():
        at = (sources.index(str(row.source)), targets.index(str(row.target)))
        value[at] = row.difference
        text[at] = f"{100 * float(value[at]):+.1f} {SIGNS[str(row.verdict)]}".strip()
        known = f"<br>truth: {row.known!s}" if row.known else ""
        if row.known:
            text[at] += f"<br><span style='font-size:10px'>{row.known!s}</span>"
        about[at] = [row.low, row.high, row.n_seeds, row.verdict, known]
    reach = max(0.01, float(np.nanmax(np.abs(value))))
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
            hovertemplate=_HOVER,
            colorbar={"tickformat": "+.0%", "thickness": 12, "outlinewidth": 0},
        )
    )
    height = 110 + (44 if rows["known"].ne("").any() else 34) * len(sources)
    finish(figure, key=f"transfer {basis}", dark=dark, x="target", y="source", height=height)
    figure.update_xaxes(type="category", showgrid=False, ticks="")
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False, ticks="")
    figure.update_layout(plot_bgcolor=ink(dark).paper)
    return figure


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
        known = not np.isnan(row.low)
        colour = styles[row.source].colour
        figure.add_trace(
            go.Scatter(
                x=[row.coefficient],
                y=[row.source],
                mode="markers",
                marker={"color": colour, "size": 11, "symbol": "diamond"},
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [row.high - row.coefficient if known else 0.0],
                    "arrayminus": [row.coefficient - row.low if known else 0.0],
                    "color": colour,
                    "thickness": 2,
                },
                hovertemplate=f"<b>%{{y}}</b> adds %{{x:+.1%}}<br>{row.verdict}<extra></extra>",
            )
        )
    height = 110 + 30 * len(info.table)
    x = "coefficient (points of the validation score)"
    finish(figure, key="coefficients", dark=dark, x=x, y="", height=height, showlegend=False)
    figure.update_xaxes(tickformat="+.1~%")
    figure.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=list(info.table["source"]),
        range=[len(info.table) - 0.5, -0.5],
    )
    figure.add_vline(x=0, line={"color": ink(dark).zero, "width": 1})
    return figure
