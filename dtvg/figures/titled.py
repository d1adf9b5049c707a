"""Titles in place of ids in a drawn figure: names of traces, categories, ticks, labels.

Hidden data (`customdata`) keeps ids, which links and clicks need. Must not import streamlit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dtvg.analysis.titles import label
from dtvg.figures.ends import MARK

_CHOSEN = re.compile(r" (\((?:best|mean)[^()]*\))$")
_TEXTS = ("name", "hovertemplate")
_LISTS = ("x", "y", "text", "hovertext", "labels", "parents")


def titled(figure: go.Figure) -> go.Figure:
    """Put titles of tasks, methods and runs in place of their names; returns the figure itself.

    Asked twice it changes nothing more.

    Args:
        figure: as drawn.
    """
    for trace in figure.data:
        for key in _TEXTS:
            _one(trace, key)
        for key in _LISTS:
            _several(trace, key)
        if trace.type == "sankey":
            _several(trace.node, "label")
        if trace.type in ("parcoords", "parcats"):
            for dimension in trace.dimensions:
                _several(dimension, "ticktext")
    for note in figure.layout.annotations:
        _one(note, "text")
        _one(note, "hovertext")
        if str(note.name or "").startswith(MARK):  # a click on it finds its line by name
            note.name = MARK + label(note.name.removeprefix(MARK))
    for axis in (*figure.select_xaxes(), *figure.select_yaxes()):
        _several(axis, "categoryarray")
        _several(axis, "ticktext")
        _several(axis, "tickvals")
        _one(axis.title, "text")
    return figure


def _one(owner: Any, key: str) -> None:
    text = getattr(owner, key, None)
    if isinstance(text, str) and (title := label(text)) != text:
        owner[key] = title


def _several(owner: Any, key: str) -> None:
    values = getattr(owner, key, None)
    if isinstance(values, str):
        _one(owner, key)
        return
    if values is None or not _has_text(values):
        return
    titles = [_in_two_lines(label(v)) if isinstance(v, str) else v for v in values]
    if titles != list(values):
        owner[key] = titles


def _in_two_lines(title: str) -> str:
    """Return the name of a row with what it was chosen by beneath it, for small screens."""
    return _CHOSEN.sub(r"<br>\1", title)


def takes_two_lines(names: Iterable[str]) -> bool:
    """Whether a name of a row will take two lines."""
    return any(_CHOSEN.search(name) for name in names)


def _has_text(values: Iterable[Any]) -> bool:
    """Whether there are names among the values; a matrix has none."""
    if isinstance(values, np.ndarray):
        return values.ndim == 1 and values.dtype.kind in "OU"
    return any(isinstance(v, str) for v in values)


__all__ = ["takes_two_lines", "titled"]
