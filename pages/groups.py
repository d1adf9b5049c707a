"""How a run's group formed: timeline, similarity, combinations, seeds, vectors."""

from __future__ import annotations

import streamlit as st

from dtvg.analysis.compare.references import of_target
from dtvg.figures import groups as draw
from dtvg.figures.curves import aligned_figure
from dtvg.store.reader import Experiment, Run
from dtvg.ui import address, cache, health, look, runs, show, story
from dtvg.ui.groups import HOW_TO_READ, VIEWS, open_step
from dtvg.ui.page import is_dark, link, page


def body() -> None:
    """Choose a run and a view, read its groups, show them."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        experiment = runs.pick_experiment()
        run = runs.pick_run(experiment, grouped=True, ranked=True) if experiment else None
    if experiment is None or run is None:
        return
    runs.complain(run)
    info = cache.groups(run)
    if not len(info.steps):
        st.info("No step of this run is committed yet; this page fills in while it trains.")
        address.leave()
        return
    story.headline(run)
    first, second, third, fourth = st.columns(4)
    first.metric("Steps recorded", f"{len(info.steps):,}")
    second.metric("Distinct groups", f"{len(info.combinations):,}")
    third.metric("Changes", f"{int((info.churn > 0).sum()):,}", help="Steps that changed it.")
    settled = "not yet" if info.settling_step is None else f"step {info.settling_step:,}"
    fourth.metric("Settled", settled, help="First step of the group that never changed again.")
    with look.later_on_phones():
        health.of_run(run)
        health.of_sources(run)
    view = runs.tabs("View", ("Timeline", *VIEWS), "view")
    if view == "Timeline":
        with look.side_by_side("timeline"):
            _timeline(experiment, run)
    else:
        VIEWS[view](experiment, run, is_dark())
    show.notes(info.notes, runs.names_in(run))
    link("explain", "Why this group? Explain a step", experiment=experiment.name, run=run.name)


def _timeline(experiment: Experiment, run: Run) -> None:
    """Show membership with loss and score, similarity, size and changes."""
    info, dark, order = cache.groups(run), is_dark(), runs.order_of(experiment, run)
    key = f"{experiment.name}-{run.name}"
    beside = cache.beside(run, experiment.runs)
    stamp = cache.stamp(run, "sources", "steps", "evals", "events")
    drawn = cache.drawer((stamp, tuple(beside.right.items()), dark, tuple(order)))
    with st.container():
        st.header("Which sources were in the group, and when", anchor=False)
        clicked = show.figure(
            drawn(
                aligned_figure,
                info,
                cache.curves((run,), quantity="loss", group_by="run"),
                cache.curves((run,), quantity="score", group_by="run"),
                dark,
                order,
                of_target((run,), run.target).lines,
                beside,
            ),
            f"timeline-{key}",
            "Membership of each source over steps, with loss and validation score below",
            info.timeline,
            f"{run.name}-membership",
            clicks=True,
        )
        open_step(experiment, run, clicked)
        st.caption(HOW_TO_READ)
    with st.container():
        st.header("Similarity to the target, with the cut", anchor=False)
        show.figure(
            drawn(draw.similarity_figure, info, dark, order),
            f"similarity-{key}",
            "Target similarity of each source over steps",
            info.similarity_table,
            f"{run.name}-similarity",
        )
        st.header("Changes of the group", anchor=False)
        show.figure(
            drawn(draw.churn_figure, info, dark),
            f"churn-{key}",
            "Sources entering or leaving",
            info.churn_table,
            f"{run.name}-churn",
        )
        with st.expander(f"Every change ({show.counted(len(info.events), 'event')})"):
            show.numbers(info.events, f"{run.name}-events", f"events-{key}")
    with st.container():
        one, two = st.columns(2)
        with one:
            st.header("Group size and candidates", anchor=False)
            show.figure(
                drawn(draw.size_figure, info, dark),
                f"size-{key}",
                "Group size over steps",
                info.size_table,
                f"{run.name}-size",
            )
        with two:
            st.header("Consistency and its lead", anchor=False)
            show.figure(
                drawn(draw.consistency_figure, info, dark),
                f"consistency-{key}",
                "Consistency of the group over steps and its lead over the next best prefix",
                info.size_table,
                f"{run.name}-consistency",
            )


page("Groups", "How source combinations evolve while a run trains.", body)
