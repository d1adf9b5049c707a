"""Why this source? One decision in full, and what another rule would have decided."""

from __future__ import annotations

import streamlit as st

from dtvg.analysis.run.explain import ExplainInfo
from dtvg.figures import explain as draw
from dtvg.ui import address, cache, explain, health, look, runs, show
from dtvg.ui.page import is_dark, page


def body() -> None:
    """Choose run and step, show ranking, consistency, reasons, Gram matrix, replay."""
    with st.container(horizontal=True):
        experiment = runs.pick_experiment()
        run = runs.pick_run(experiment, grouped=True) if experiment else None
    if experiment is None or run is None:
        return
    runs.complain(run)
    groups = cache.groups(run)
    if not len(groups.steps):
        st.info("No step of this run is committed yet; this page fills in while it trains.")
        address.leave()
        return
    with look.later_on_phones():
        health.of_sources(run)
    dark, order = is_dark(), runs.order_of(experiment, run)
    step = explain.pick(groups, f"{experiment.name}-{run.name}", dark, order)
    if step is None:
        return
    info = cache.explain(run, step)
    with look.side_by_side("decision"):
        _decision(info, dark, order, f"{experiment.name}-{run.name}", run.name)
        with st.container():
            explain.section(run, dark, order)


def _decision(info: ExplainInfo, dark: bool, order: tuple[str, ...], key: str, name: str) -> None:
    """Show one decision: in words, then in pictures."""
    with st.container():
        st.header(f"The decision at step {info.step:,}", anchor=False)
        st.markdown(f"**{info.headline}**")
        for row in info.table.to_dict("records"):
            mark = ":green-badge[in the group]" if row["member"] else ":gray-badge[left out]"
            if row["by_hand"]:
                mark = f":orange-badge[{row['by_hand']} by hand] {mark}"
            st.markdown(f"{row['rank']}. **{row['source']}** {mark}  {row['why']}")
    stem = f"{name}-step{info.step}"
    with st.container():
        left, right = st.columns(2)
        with left:
            st.header("Ranking by similarity, with the cut", anchor=False)
            show.figure(
                draw.ranking_figure(info, dark, order),
                f"ranking-{key}",
                "Sources by similarity; filled bars are in the group",
                info.table,
                f"{stem}-ranking",
            )
        with right:
            st.header("Consistency of the first k candidates", anchor=False)
            show.figure(
                draw.prefix_figure(info, dark),
                f"prefix-{key}",
                "Consistency by prefix; the chosen one is filled",
                info.prefix_table,
                f"{stem}-consistency",
            )
    with st.container():
        st.header("Gram matrix the decision rests on", anchor=False)
        show.figure(
            draw.gram_figure(info, dark),
            f"gram-{key}",
            "Inner products of all scaled pooled vectors, target first",
            info.gram_table,
            f"{stem}-gram",
        )
        show.notes(info.notes)


page("Explain", "Why was this source in the group at this step?", body)
