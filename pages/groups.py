"""How a run's group formed: membership, similarity with the cut, size, changes, combinations."""

from __future__ import annotations

import streamlit as st

from dtvg.figures import groups as draw
from dtvg.store.reader import Experiment, Run
from dtvg.ui import cache, runs, show
from dtvg.ui.page import is_dark, page


def body() -> None:
    """Choose a run, read its groups, show them."""
    with st.container(horizontal=True):
        experiment = runs.pick_experiment()
        run = runs.pick_run(experiment, grouped=True, ranked=True) if experiment else None
    if experiment is None or run is None:
        return
    runs.complain(run)
    info = cache.groups(run)
    if not len(info.steps):
        st.info("No step of this run is committed yet; this page fills as it trains.")
        return
    dark, order = is_dark(), experiment.config.sources if experiment.config else info.sources
    key = f"{experiment.name}-{run.name}"
    left, middle, right = st.columns(3)
    left.metric("Steps recorded", f"{len(info.steps):,}")
    middle.metric("Distinct groups", f"{len(info.combinations):,}")
    settled = "not yet" if info.settling_step is None else f"step {info.settling_step:,}"
    right.metric("Last change", settled, help="First step of the group that was never changed.")
    st.subheader("Who was in the group, and when", anchor=False)
    show.figure(
        draw.timeline_figure(info, dark, order),
        f"timeline-{key}",
        "Membership of each source over steps, shaded by similarity",
        info.timeline,
        f"{run.name}-membership",
    )
    st.subheader("Similarity to the target, with the cut", anchor=False)
    show.figure(
        draw.similarity_figure(info, dark, order),
        f"similarity-{key}",
        "Target similarity of each source over steps",
        info.similarity_table,
        f"{run.name}-similarity",
    )
    one, two = st.columns(2)
    with one:
        st.subheader("Group size and candidates", anchor=False)
        show.figure(
            draw.size_figure(info, dark),
            f"size-{key}",
            "Group size over steps",
            info.size_table,
            f"{run.name}-size",
        )
    with two:
        st.subheader("Changes of the group", anchor=False)
        show.figure(
            draw.churn_figure(info, dark),
            f"churn-{key}",
            "Sources entering or leaving",
            info.churn_table,
            f"{run.name}-churn",
        )
    st.subheader("Which combinations ruled, how long", anchor=False)
    show.figure(
        draw.combinations_figure(info, dark),
        f"combinations-{key}",
        "When each of the most frequent groups was in force",
        info.combinations,
        f"{run.name}-combinations",
    )
    show.notes(info.notes)
    _seeds(experiment, run)


def _seeds(experiment: Experiment, run: Run) -> None:
    """Say how much the groups of the other seeds agree."""
    others = tuple(
        r
        for r in experiment.runs
        if r.problem is None and r.step > 0 and (r.target, r.method) == (run.target, run.method)
    )
    if len(others) < 2:
        return
    st.subheader("Agreement between seeds", anchor=False)
    show.numbers(cache.stability(others).table, f"{run.name}-seeds", f"seeds-{run.name}")


page("Groups", "How source combinations evolve while a run trains.", body)
