"""Every machine and what trains on it: slots, cohorts, what waits for what, logs."""

from __future__ import annotations

import streamlit as st

from dtvg.ui import fleet
from dtvg.ui.page import guarded, page

REFRESH_SECONDS = 3.0


def body() -> None:
    """Draw the tables, which refresh while something trains, and one cohort's panel."""
    first = fleet.read()
    going = not first.drivers.empty

    @st.fragment(run_every=REFRESH_SECONDS if going else None)
    def tables() -> None:
        guarded(lambda: fleet.draw(fleet.read()))

    tables()
    fleet.cohort_panel(first)


page("Fleet", "What trains on which machine, and what waits for what.", body)
