"""A figure, its table and its download, all of one Info, so that they cannot disagree."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

CHART = {"displaylogo": False, "toImageButtonOptions": {"format": "svg"}}


def figure(
    drawn: go.Figure,
    key: str,
    alt: str,
    table: pd.DataFrame | None = None,
    name: str = "",
    **options: Any,
) -> Any:
    """Show a figure; below it, folded away, its numbers with a CSV download.

    Args:
        drawn: the figure.
        key: stable while the figure shows the same thing, so that zoom survives redrawing.
        alt: what the figure shows, for those who do not see it.
        table: the plotted numbers.
        name: file name of the download, without ending.
        **options: of `st.plotly_chart`.

    Returns:
        What `st.plotly_chart` returns.
    """
    drawn.layout.uirevision = key
    made = st.plotly_chart(drawn, key=f"chart-{key}", theme=None, config=CHART, alt=alt, **options)
    if table is not None:
        with st.expander(f"Numbers ({len(table):,} rows)"):
            numbers(table, name or key, f"table-{key}")
    return made


def numbers(shown: pd.DataFrame, name: str, key: str) -> None:
    """Show a table with its download as CSV."""
    st.dataframe(shown, hide_index=True, key=key)
    csv = shown.to_csv(index=False).encode()
    st.download_button(
        "Download CSV",
        csv,
        f"{name}.csv",
        "text/csv",
        key=f"csv-{key}",
        icon=":material/download:",
        on_click="ignore",
    )


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share as text in percent; a dash where there is none."""
    return "–" if value is None or value != value else f"{100 * value:.{digits}f} %"


def notes(sentences: tuple[str, ...]) -> None:
    """Show what a reader must know about the numbers above."""
    for sentence in sentences:
        st.caption(sentence)
