"""Why this source? One decision in full, and what another rule would have decided."""

from __future__ import annotations

import streamlit as st

from dtvg.figures import explain as draw
from dtvg.figures.replay import replay_figure
from dtvg.grouping import RULES
from dtvg.store.reader import Run
from dtvg.ui import cache, runs, show
from dtvg.ui.page import is_dark, page


def body() -> None:
    """Choose run and step, show ranking, consistency, reasons, Gram matrix, replay."""
    with st.container(horizontal=True):
        experiment = runs.pick_experiment()
        run = runs.pick_run(experiment, grouped=True) if experiment else None
    if experiment is None or run is None:
        return
    runs.complain(run)
    steps = cache.groups(run).steps
    if not len(steps):
        st.info("No step of this run is committed yet; this page fills as it trains.")
        return
    first, last = int(steps[0]), int(steps[-1])
    step = first
    if last > first:
        kept = st.session_state.get("step") or int(st.query_params.get("step", last) or last)
        st.session_state["step"] = min(max(int(kept), first), last)
        step = st.slider("Step", first, last, key="step", bind="query-params")
    info, dark = cache.explain(run, step), is_dark()
    order = experiment.config.sources if experiment.config else info.sources
    key = f"{experiment.name}-{run.name}-{step}"
    st.markdown(f"**{info.headline}**")
    for _, row in info.table.iterrows():
        mark = ":green-badge[in the group]" if row["member"] else ":gray-badge[left out]"
        st.markdown(f"{row['rank']}. **{row['source']}** {mark}  {row['why']}")
    left, right = st.columns(2)
    with left:
        st.subheader("Ranking by similarity, with the cut", anchor=False)
        show.figure(
            draw.ranking_figure(info, dark, order),
            f"ranking-{key}",
            "Sources by similarity",
            info.table,
            f"{run.name}-step{step}-ranking",
        )
    with right:
        st.subheader("Consistency of the first k candidates", anchor=False)
        show.figure(
            draw.prefix_figure(info, dark),
            f"prefix-{key}",
            "Consistency by prefix",
            info.prefix_table,
            f"{run.name}-step{step}-consistency",
        )
    st.subheader("Gram matrix the decision rests on", anchor=False)
    show.figure(
        draw.gram_figure(info, dark),
        f"gram-{key}",
        "Gram matrix",
        info.gram_table,
        f"{run.name}-step{step}-gram",
    )
    show.notes(info.notes)
    _replay(run, dark, tuple(order))


def _replay(run: Run, dark: bool, order: tuple[str, ...]) -> None:
    """Decide the whole timeline anew under other settings."""
    st.subheader("What another rule would have decided", anchor=False)
    with st.container(horizontal=True):
        rule = runs.choose("Rule", RULES, "rule", "similarity_only") or "greedy"
        measure = runs.choose("Measure", ("dot", "cosine"), "measure") or "dot"
        out = runs.choose("Without source", ("none", *run.sources), "without") or "none"
    left_out = () if out == "none" else (out,)
    info = cache.replayed(run, left_out, rule=rule, measure=measure)
    st.markdown(f"The same group in **{show.percent(info.agreement)}** of the steps.")
    show.figure(
        replay_figure(info, dark, order),
        f"replay-{run.name}-{rule}-{measure}-{out}",
        "Logged and replayed membership",
        info.timeline,
        f"{run.name}-replay",
    )
    show.notes(info.notes)


page("Explain", "Why was this source in the group at this step?", body)
