"""All runs with state and progress, and what DTVG does, shown on the newest experiment."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dtvg.figures.groups import timeline_figure
from dtvg.store.reader import Experiment
from dtvg.ui import address, cache, runs, show
from dtvg.ui.page import is_dark, link, page

TOUR = """
**What DTVG does.** You own source tasks with plenty of data and one small target. Each task is a
*task prompt vector*: its tuned soft prompt minus the shared start. At **every** training step DTVG
(1) ranks the sources by similarity to the target, (2) keeps the most similar ones that agree with
each other, (3) merges their vectors into the target's prompt, and trains on.
"""


def body() -> None:
    """Show the tour on a recorded experiment, then every run."""
    st.markdown(TOUR)
    experiments = cache.experiments()
    if not experiments:
        st.info("Nothing has been recorded yet. Start the demo experiment on the launch page.")
        link("launch", "Go to Launch")
        return
    examples = [e for e in experiments if cache.is_example(e.path)]
    if examples:
        _example(examples[0])
    st.subheader("Runs", anchor=False)
    _table(experiments)


def _example(experiment: Experiment) -> None:
    """Show the group of the recorded example and how it came out."""
    grouped = [r for r in experiment.runs if r.method == "dtvg" and r.problem is None]
    if not grouped:
        return
    run = grouped[0]
    info = cache.groups(run)
    if not len(info.steps):
        return
    order = experiment.config.sources if experiment.config else info.sources
    st.markdown(
        f"**Recorded example:** the group DTVG formed for target *{run.target}* "
        f"(experiment `{experiment.name}`, seed {run.seed}). Each row is a source."
    )
    show.figure(
        timeline_figure(info, is_dark(), order),
        f"tour-{run.name}",
        "Membership of each source over steps in the recorded example",
    )
    links = {"experiment": experiment.name, "run": run.name}
    with st.container(horizontal=True):
        link("explain", "Why this source?", **links)
        link("compare", "Did it help?", experiment=experiment.name)
        link("launch", "Train it yourself")


def _table(experiments: list[Experiment]) -> None:
    """Show one row per run, filtered by what is typed."""
    rows = [
        {
            "experiment": e.name,
            "run": r.name,
            "state": runs.BADGES[r.state][0],
            "progress": r.step / r.total_steps if r.total_steps else 0.0,
            "target": r.target,
            "method": r.method,
            "seed": r.seed,
            "validation": r.score,
            "test": r.test_score,
            "note": r.problem or r.message,
        }
        for e in experiments
        for r in e.runs
        if r.role == "transfer" or r.problem
    ]
    rows += [
        {"experiment": e.name, "run": "", "state": "Unreadable", "note": e.problem}
        for e in experiments
        if e.problem
    ]
    table = pd.DataFrame(rows)
    with st.container(horizontal=True):
        address.recall("filter", str, "")
        text = st.text_input(
            "Filter",
            key="filter",
            placeholder="part of a name, target, method or state",
        )
        address.keep("filter", text)
        states = ["all", *dict.fromkeys(table["state"])] if len(table) else ["all"]
        state = runs.choose("State", states, "state") or "all"
    if len(table) and text:
        joined = table.astype(str).agg(" ".join, axis=1).str.lower()
        table = table[joined.str.contains(text.lower(), regex=False)]
    if len(table) and state != "all":
        table = table[table["state"] == state]
    if table.empty:
        st.info("No run matches; clear the filter.")
        return
    percent = st.column_config.NumberColumn(format="percent")
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "progress": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1),
            "validation": percent,
            "test": percent,
        },
    )
    st.download_button("Download CSV", table.to_csv(index=False), "runs.csv", on_click="ignore")
    chosen = runs.choose("Open", list(dict.fromkeys(table["experiment"])), "open")
    links = {"experiment": str(chosen)}
    with st.container(horizontal=True):
        for file, label in (("live", "Live"), ("groups", "Groups"), ("compare", "Compare")):
            link(file, label, **links)


page("DTVG workbench", "Which sources help a target, decided anew at every training step.", body)
