"""One run: result, configuration, what it used, events, provenance, log and files."""

from __future__ import annotations

import streamlit as st

from dtvg.analysis.run.about import files_of
from dtvg.ui import cache, run, runs
from dtvg.ui.page import guarded, page


def body() -> None:
    """Choose a run of any role; show everything that is known of it."""
    with st.container(horizontal=True):
        experiment = runs.pick_experiment()
        chosen = runs.pick_run(experiment, about=False) if experiment else None
    if experiment is None or chosen is None:
        return
    run.links(experiment, chosen)
    run.now(experiment, chosen.name)
    info = cache.about(chosen, experiment.runs)
    guarded(lambda: run.settings(info))
    guarded(lambda: run.usage(chosen))
    guarded(lambda: run.events(info))
    guarded(lambda: run.provenance(info))
    guarded(lambda: run.messages(experiment, chosen))
    guarded(lambda: run.files(chosen, files_of(chosen)))


page("Run", "Everything about one run: result, configuration, events, log and files.", body)
