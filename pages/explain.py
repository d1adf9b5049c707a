"""Why this source? One decision in full, and what other rules would have decided."""

from __future__ import annotations

import streamlit as st

from dtvg.ui import address, cache, explain, health, look, runs
from dtvg.ui.page import is_dark, page
from dtvg.ui.scrubber import scrubber


def body() -> None:
    """Choose run and step, show ranking, consistency, reasons, Gram matrix, path, replay."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        experiment = runs.pick_experiment()
        run = runs.pick_run(experiment, grouped=True) if experiment else None
    if experiment is None or run is None:
        return
    runs.complain(run)
    if not len(cache.groups(run).steps):
        st.info("No step of this run is committed yet; this page fills in while it trains.")
        address.leave()
        return
    with look.later_on_phones():
        health.of_sources(run)
    if scrubber(experiment, run):
        explain.section(run, is_dark(), runs.order_of(experiment, run))


page("Explain", "Why was this source in the group at this step?", body)
