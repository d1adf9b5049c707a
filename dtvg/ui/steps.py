"""Picking one step of a run: by a click into its history, by jumping to a change, by slider."""

from __future__ import annotations

import numpy as np
import streamlit as st

from dtvg.analysis.groups import GroupInfo
from dtvg.figures.explain import picker_figure
from dtvg.ui import address, show

KEY = "step"
CLICKED = "step-clicked"


def pick(info: GroupInfo, key: str, dark: bool, order: tuple[str, ...]) -> int:
    """Let one choose a step; it stands in the URL.

    Args:
        info: the run's groups.
        key: names the run, so that the chart's zoom is its own.
        dark: for a dark page.
        order: all sources of the experiment, for colours.

    Returns:
        The step.
    """
    first, last = int(info.steps[0]), int(info.steps[-1])
    step = address.recall(KEY, address.whole(first, last), last)
    event = show.figure(
        picker_figure(info, step, dark, order),
        f"picker-{key}",
        "Similarity of each source over steps; a click chooses the step to explain",
        on_select="rerun",
        selection_mode="points",
    )
    points = event["selection"]["points"] if event else []
    clicked = (key, int(points[0]["x"])) if points else None
    if clicked is not None and clicked != st.session_state.get(CLICKED):
        st.session_state[CLICKED] = clicked
        st.session_state[KEY] = min(max(clicked[1], first), last)
        st.rerun()
    _jumps(info, step)
    if first == last:
        return first
    chosen = int(st.slider("Step", first, last, key=KEY))
    address.keep(KEY, chosen)
    return chosen


def _jumps(info: GroupInfo, step: int) -> None:
    """Offer the neighbouring changes of the group, since those raise questions."""
    changes = info.steps[np.flatnonzero(info.churn)]
    before, after = changes[changes < step], changes[changes > step]
    with st.container(horizontal=True):
        _jump("First step", int(info.steps[0]), step, ":material/first_page:")
        _jump("Previous change", int(before[-1]) if len(before) else None, step)
        _jump("Next change", int(after[0]) if len(after) else None, step)
        _jump("Newest step", int(info.steps[-1]), step, ":material/last_page:")


def _jump(label: str, to: int | None, step: int, icon: str | None = None) -> None:
    def go() -> None:
        st.session_state[KEY] = to

    st.button(label, icon=icon, on_click=go, disabled=to is None or to == step, key=f"jump {label}")
