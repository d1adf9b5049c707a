"""A training experiment as it goes: states, curves, the group as it forms; stop and resume."""

from __future__ import annotations

import streamlit as st

from dtvg.store.reader import open_experiment
from dtvg.ui import cache, control, live, runs
from dtvg.ui.page import guarded, page


def body() -> None:
    """Choose an experiment, a run and what to plot; the rest refreshes by itself."""
    experiment = runs.pick_experiment()
    if experiment is None:
        return
    example = cache.is_example(experiment.path)
    path = experiment.path
    if not experiment.runs:
        control.buttons(experiment, example)
        live.wait_for_runs(path)
        return
    run = runs.pick_run(experiment)
    if run is None:
        return
    live.offer_going(experiment, run)
    view = live.choose_view()
    going = not example and control.may_change(experiment)

    @st.fragment(run_every=2.0 if going else None)
    def refreshing() -> None:
        def draw() -> None:
            fresh = open_experiment(path)
            control.buttons(fresh, example)
            live.draw(fresh, run.name, view)
            if going and not control.may_change(fresh):
                st.rerun()  # the last look; from here on nothing changes by itself

        guarded(draw)

    if not example:
        with st.container(horizontal=True):
            control.hold_source(run)
            control.fork_popover(run)
    refreshing()
    control.messages(path)


page("Live", "What is training now, step by step. The page refreshes by itself.", body)
