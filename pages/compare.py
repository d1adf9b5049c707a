"""Dynamic groups against every other method: scores, verdicts, transfer, settings."""

from __future__ import annotations

import streamlit as st

from dtvg.ui import runs, show
from dtvg.ui.compare import claims, examples, helped, pick, subsets, verdicts, views
from dtvg.ui.page import is_dark, page

VIEWS: dict[str, views.View] = {
    "Scores": verdicts.scores,
    "Verdicts": verdicts.verdicts,
    "Claims": claims.claims,
    "Curves": views.curves,
    "Transfer": views.transfer,
    "Who helped": helped.helped,
    "Subsets": subsets.subsets,
    "Settings": views.settings,
    "Examples": examples.examples,
    "Cost": verdicts.cost,
}
WITHOUT_SCORES = ("Curves", "Who helped", "Settings")
"""Views that show something before the first run has finished."""


def body() -> None:
    """Choose experiments and a view; compare."""
    choice = pick.pick()
    if choice is None:
        return
    show.notes(choice.notes)
    have = "run has" if len(choice.runs) == 1 else "runs have"
    st.caption(f"{len(choice.done)} of {len(choice.runs)} transfer {have} finished.")
    if not choice.runs:
        st.info("There is no run to compare here; choose another experiment.")
        return
    view = runs.tabs("View", tuple(VIEWS), "view")
    if not choice.done and view not in WITHOUT_SCORES:
        pick.nothing_finished()
        return
    VIEWS[view](choice, is_dark())


page("Compare", "Dynamic groups against all sources, single sources and no transfer.", body)
