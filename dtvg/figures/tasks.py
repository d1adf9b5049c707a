"""Label balance of a task's splits. TaskInfo → figure."""

from __future__ import annotations

import plotly.graph_objects as go

from dtvg.analysis.tasks import TaskInfo
from dtvg.figures.theme import finish, message, style_at


def balance_figure(info: TaskInfo, dark: bool = False) -> go.Figure:
    """Draw each split as one bar of its answers' shares."""
    table = info.balance
    if not len(table):
        return message("This task answers in free text, so it has no classes.", dark)
    figure = go.Figure()
    splits = list(dict.fromkeys(table["split"]))
    for place, answer in enumerate(dict.fromkeys(table["answer"])):
        part = table[table["answer"] == answer]
        title = part["title"].iloc[0]
        name = answer if title == answer else f"{answer} · {title}"
        figure.add_trace(
            go.Bar(
                orientation="h",
                y=part["split"].tolist(),
                x=(100 * part["share"]).to_numpy(),
                name=name,
                marker={"color": style_at(place, dark).colour},
                text=[f"{share:.0%}" if share >= 0.06 else "" for share in part["share"]],
                textposition="inside",
                insidetextanchor="middle",
                customdata=part[["rows"]].to_numpy(),
                hovertemplate=f"<b>%{{y}}</b><br>{name}: %{{customdata[0]:,}} rows, "
                "%{x:.1f} %<extra></extra>",
            )
        )
    finish(
        figure,
        key=f"balance {info.spec.name}",
        dark=dark,
        x="share of rows (%)",
        y="",
        height=120 + 42 * len(splits),
        barmode="stack",
        bargap=0.3,
        legend_traceorder="normal",
    )
    figure.update_xaxes(range=[0, 100])
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False)
    return figure
