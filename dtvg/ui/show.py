"""A figure, its table and its download, all of one Info, so that they cannot disagree."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from functools import partial

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dtvg.analysis import titles
from dtvg.analysis.words import counted as counted
from dtvg.analysis.words import in_percent
from dtvg.export import plain_cells
from dtvg.figures import images
from dtvg.figures.spoken import spoken
from dtvg.figures.titled import titled
from dtvg.notation import TERMS
from dtvg.ui.chart import Click, chart

LETTER, LINE, BESIDE_LINES = 6.0, 18, 15
"""Pixels of a table: of a letter, of a line in a row, and of a row beside its lines."""
LEAST_TO_WRAP, MOST_LINES = 66, 3
"""Pixels from which on Streamlit wraps the texts of a row at all (above 4 rem), and its lines."""


def figure(
    drawn: go.Figure,
    key: str,
    alt: str,
    table: pd.DataFrame | None = None,
    name: str = "",
    clicks: bool = False,
    link: str = "",
) -> Click | None:
    """Show a figure; below it, folded away, its numbers with a CSV download.

    Args:
        drawn: the figure.
        key: stable while the figure shows the same thing, so that zoom survives redrawing.
        alt: what the figure shows, for those who do not see it.
        table: the plotted numbers.
        name: file name of the download, without ending.
        clicks: whether a click on a point reruns the page.
        link: charts of one name share their horizontal range and what is hovered.

    Returns:
        The point that was clicked just now, else None.
    """
    titled(drawn)
    drawn.layout.uirevision = key
    config = {"toImageButtonOptions": {"format": _camera(), "filename": name or key}}
    clicked = chart(drawn, f"chart-{key}", spoken(drawn, alt), config, clicks, link)
    _take_away(drawn, key, name or key)
    if table is not None:
        with st.expander(f"Numbers ({counted(len(table), 'row')})", key=f"numbers-{key}"):
            numbers(table, name or key, f"table-{key}")
    return clicked


def _camera() -> str:
    """What the camera above a figure saves: the browser's own image."""
    return "png" if st.session_state.get("camera") == "PNG" else "svg"


def _take_away(drawn: go.Figure, key: str, name: str) -> None:
    """Offer the figure as an image; it is made when asked for, not before."""
    with st.popover(
        "Download figure", icon=":material/image:", type="tertiary", key=f"images-{key}"
    ):
        lacking = images.missing()
        if lacking:
            st.caption(
                f"Image files cannot be made: {lacking}. The camera above the figure saves what "
                "your browser shows."
            )
            st.session_state.setdefault("camera", "SVG")
            now = st.session_state["camera"]
            other = "SVG" if now == "PNG" else "PNG"
            if st.button(f"Camera saves {now}: change to {other}", key=f"camera-{key}"):
                st.session_state["camera"] = other
                st.rerun()
            return
        st.caption(
            "On light paper, for papers. The first image takes a few seconds, later ones less."
        )
        with st.container(horizontal=True):
            for form, mime in images.FORMATS.items():
                st.download_button(
                    form,
                    partial(images.image, drawn, form),
                    f"{_file_name(name)}.{form.lower()}",
                    mime,
                    key=f"{form}-{key}",
                    on_click="ignore",
                )


def _file_name(name: str) -> str:
    """Return a name that every file system takes."""
    return "".join(c if c.isalnum() or c in "-_.+" else "-" for c in name)[:80]


def row_height(texts: Iterable[str], width: int = 560) -> int | None:
    """Return the pixels of a table's rows in which its longest text is read whole.

    Args:
        texts: of the column that takes what the others leave.
        width: pixels that are left for it on a common screen.

    Returns:
        Room for up to `MOST_LINES` lines, the same for every row; None where one line is enough.
    """
    lines = max((math.ceil(LETTER * len(text) / width) for text in texts), default=1)
    if lines <= 1:
        return None
    return max(LEAST_TO_WRAP, BESIDE_LINES + LINE * min(lines, MOST_LINES))


def numbers(
    shown: pd.DataFrame,
    name: str,
    key: str,
    texts: bool = False,
    widths: Mapping[str, int] | None = None,
    heads: Mapping[str, str] | None = None,
    row_height: int | None = None,
) -> None:
    """Show a table, with titles in its cells, and its download as CSV, with names.

    Args:
        shown: the table.
        name: file name of the download, without ending.
        key: of the table.
        texts: whether its cells are texts or names to be typed, which stay as they are.
        widths: pixels of some columns; the others share the rest.
        heads: what is read above some columns in place of their names.
        row_height: pixels of a row (`row_height`); None: one line.
    """
    sizes = {column: st.column_config.Column(width=size) for column, size in (widths or {}).items()}
    sizes |= {column: st.column_config.Column(label) for column, label in (heads or {}).items()}
    table = shown if texts else titles.table(shown)
    st.dataframe(table, hide_index=True, key=key, column_config=sizes, row_height=row_height)
    st.download_button(
        "Download CSV",
        partial(_csv, shown),
        f"{name}.csv",
        "text/csv",
        key=f"csv-{key}",
        icon=":material/download:",
        on_click="ignore",
    )


def _csv(shown: pd.DataFrame) -> bytes:
    """Return a table as CSV; written when it is asked for."""
    return plain_cells(shown).to_csv(index=False).encode()


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share as text in percent; a dash where there is none."""
    return "–" if value is None or value != value else f"{in_percent(value, digits)} %"


def formula(*names: str) -> str:
    """Return what terms of the notation mean, with their symbols, for the help of a heading.

    Args:
        *names: of `dtvg.notation.TERMS`.
    """
    found = {term.name: term for term in TERMS}
    lines = []
    for name in names:
        term = found[name]
        symbol = f" `{term.symbol}`" if term.symbol else ""
        lines.append(f"**{term.name.replace('_', ' ').capitalize()}**{symbol}: {term.meaning}.")
    return "  \n".join(lines)


def notes(sentences: tuple[str, ...], names: Collection[str] = ()) -> None:
    """Show what a reader must know about the numbers above.

    Args:
        sentences: one caption each.
        names: tasks that they may speak of; their titles are shown.
    """
    for sentence in sentences:
        st.caption(titles.in_sentence(sentence, names))
