"""A training experiment as it goes: states, curves, the group as it forms; stop and resume."""

from __future__ import annotations

import streamlit as st

from dtvg.ui import cache, control, live, look, runs
from dtvg.ui.overview import training
from dtvg.ui.page import page


def body() -> None:
    """Choose an experiment, a run and what to plot; the rest refreshes by itself."""
    going = training.going()
    bar = st.container(horizontal=True, vertical_alignment="bottom")
    with bar:
        experiment = runs.pick_experiment(going[0] if going else None)
    if experiment is None:
        return
    example = cache.is_example(experiment.path)
    if not experiment.runs:
        control.buttons(experiment, example)
        live.wait_for_runs(experiment.path)
        return
    changing = not example and control.may_change(experiment)
    with bar:
        following = changing and live.follow(experiment)
        run = runs.pick_run(experiment, on_change=live.stay)
    if run is None:
        return
    if following:
        live.leave_out_run()
    with look.folding("What the curve shows", "live"):
        view = live.choose_view(len(live.drawn_together(experiment, run, following)) > 1)
    if not example:
        with st.container(horizontal=True):
            control.hold_source(run)
            control.fork_popover(run)
    live.refreshing(experiment, run.name, view, changing, following)
    control.messages(experiment.path)


page("Live", "What is training now, step by step. The page refreshes by itself.", body)
