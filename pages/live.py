"""A training experiment as it goes: states, curves, the group as it forms; stop and resume."""

from __future__ import annotations

import streamlit as st

from dtvg.errors import DtvgError
from dtvg.figures.curves import curves_figure
from dtvg.figures.groups import timeline_figure
from dtvg.jobs import launcher
from dtvg.store.layout import ExperimentDir
from dtvg.store.reader import Experiment, Run, open_experiment
from dtvg.ui import cache, runs, show
from dtvg.ui.page import guarded, is_dark, page


def body() -> None:
    """Choose an experiment and a run; the rest refreshes by itself."""
    with st.container(horizontal=True):
        experiment = runs.pick_experiment()
        run = runs.pick_run(experiment) if experiment else None
    if experiment is None or run is None:
        return
    example = cache.is_example(experiment.path)
    _buttons(experiment, example)
    working = not example and launcher.is_working(ExperimentDir(experiment.path))

    @st.fragment(run_every=2.0 if working else None)
    def refreshing() -> None:
        guarded(lambda: _draw(open_experiment(experiment.path), run.name))

    refreshing()


def _buttons(experiment: Experiment, example: bool) -> None:
    """Stop and resume."""
    folder = ExperimentDir(experiment.path)
    if example:
        st.caption("A recorded example: it can be looked at, not changed.")
        return
    working = launcher.is_working(folder)
    with st.container(horizontal=True):
        if st.button("Stop", icon=":material/stop_circle:", disabled=not working):
            asked = launcher.stop(folder)
            st.toast(f"Asked {len(asked)} run(s) to commit and stop.")
        unfinished = any(r.state.resumable for r in experiment.runs if r.problem is None)
        if st.button("Resume", icon=":material/play_circle:", disabled=working or not unfinished):
            try:
                launcher.resume(folder)
                st.toast("Resumed; the first steps appear in some seconds.")
                st.rerun()
            except DtvgError as error:
                st.error(str(error))


def _draw(experiment: Experiment, name: str) -> None:
    """Show progress of all runs, then curves and group of one."""
    alive = [r for r in experiment.runs if r.problem is None and r.total_steps]
    done = sum(r.step for r in alive)
    total = sum(r.total_steps for r in alive)
    states: dict[str, int] = {}
    for r in alive:
        states[r.state.value] = states.get(r.state.value, 0) + 1
    text = ", ".join(f"{count} {state}" for state, count in states.items())
    st.progress(done / total if total else 0.0, f"{done:,} of {total:,} run steps: {text}")
    run = next(r for r in experiment.runs if r.name == name)
    st.markdown(
        f"**{run.name}** {runs.badge(run)} step {run.step:,} of {run.total_steps:,}"
        + (f", loss {run.loss:.3f}" if run.loss is not None else "")
        + (f", validation {show.percent(run.score)}" if run.score is not None else "")
    )
    runs.complain(run)
    _charts(experiment, run)
    tail = launcher.log_tail(ExperimentDir(experiment.path), 60)
    if tail:
        with st.expander("Messages of the process"):
            st.code(tail, language=None)


def _charts(experiment: Experiment, run: Run) -> None:
    """Show loss, score and group of a run; rows appear with each commit."""
    dark, key = is_dark(), f"{experiment.name}-{run.name}"
    left, right = st.columns(2)
    with left:
        loss = cache.curves((run,), quantity="loss", group_by="run", smooth=0.6)
        show.figure(
            curves_figure(loss, dark),
            f"live-loss-{key}",
            "Loss over steps",
            loss.table,
            f"{run.name}-loss",
        )
    with right:
        score = cache.curves((run,), quantity="score", group_by="run")
        show.figure(
            curves_figure(score, dark),
            f"live-score-{key}",
            "Validation score",
            score.table,
            f"{run.name}-score",
        )
    info = cache.groups(run)
    if run.sources and len(info.steps):
        st.subheader("The group as it forms", anchor=False)
        order = experiment.config.sources if experiment.config else info.sources
        show.figure(
            timeline_figure(info, dark, order),
            f"live-group-{key}",
            "Membership of each source over steps",
            info.timeline,
            f"{run.name}-group",
        )


page("Live", "What is training now, step by step. Refreshes by itself.", body)
