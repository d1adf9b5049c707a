"""Dynamic groups against every other method: scores, verdicts, transfer, settings."""

from __future__ import annotations

import streamlit as st

from dtvg.ui import compare_pick, compare_views, example_views, runs, subset_views, verdict_views
from dtvg.ui.page import is_dark, page

VIEWS: dict[str, compare_views.View] = {
    "Scores": verdict_views.scores,
    "Verdicts": verdict_views.verdicts,
    "Curves": compare_views.curves,
    "Transfer": compare_views.transfer,
    "Subsets": subset_views.subsets,
    "Settings": compare_views.settings,
    "Examples": example_views.examples,
    "Cost": verdict_views.cost,
}
WITHOUT_SCORES = ("Curves", "Settings")
"""Views that show something before the first run has finished."""


def body() -> None:
    """Choose experiments and a view; compare."""
    choice = compare_pick.pick()
    if choice is None:
        return
    st.caption(f"{len(choice.done)} of {len(choice.runs)} transfer runs have finished.")
    if not choice.runs:
        st.info("There is no run to compare here; choose another experiment.")
        return
    view = runs.tabs("View", tuple(VIEWS), "view")
    if not choice.done and view not in WITHOUT_SCORES:
        compare_pick.nothing_finished()
        return
    VIEWS[view](choice, is_dark())


page("Compare", "Dynamic groups against all sources, single sources and no transfer.", body)
