"""The story of a run on the groups page: sentences with links to their steps on Explain."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dtvg.analysis import titles
from dtvg.analysis.run.partings import alike
from dtvg.analysis.run.story import CUT, NARROW, StoryInfo, siblings
from dtvg.analysis.words import percent
from dtvg.store.reader import Experiment, Run
from dtvg.ui import cache, runs, show
from dtvg.ui.page import link


def headline(run: Run) -> None:
    """Show the whole run in one sentence."""
    st.markdown(titles.in_sentence(cache.story(run).sentence, runs.names_in(run)))


def story(experiment: Experiment, run: Run, dark: bool) -> None:
    """Tell the run: what changed and what followed, least certain decisions, where seeds part."""
    others = siblings(run, experiment.runs)
    info = cache.story(run, others)
    key = f"{experiment.name}-{run.name}"
    st.header("What happened, in sentences", anchor=False)
    for row in info.lines.to_dict("records"):
        _step(experiment, run, row["step"], row["sentence"])
    if len(info.moments):
        with st.expander(f"Every change ({show.counted(len(info.moments), 'row')})"):
            show.numbers(info.moments, f"{run.name}-story", f"story-{key}")
    _uncertain(experiment, run, info, key)
    _partings(experiment, run, info, key, len(others))
    show.notes(info.notes, runs.names_in(run))


def _step(experiment: Experiment, run: Run, step: int, sentence: str) -> None:
    """One sentence beside the link to its step."""
    left, right = st.columns((1, 7), vertical_alignment="top")
    with left:
        if run.config is not None and run.config.method.has_source_vectors:
            names = {"experiment": experiment.name, "run": run.name, "step": str(step)}
            link("explain", f":primary[Step {step:,}]", **names)
        else:
            st.markdown(f"Step {step:,}")
    right.markdown(titles.in_sentence(sentence, runs.names_in(run)))


def _uncertain(experiment: Experiment, run: Run, info: StoryInfo, key: str) -> None:
    """List the decisions that could most easily have gone the other way."""
    if not len(info.uncertain):
        return
    st.header("Least certain decisions", anchor=False)
    lead = "distance from the cut" if info.lead_of == CUT else "lead over the next best group"
    st.caption(
        f"Of each unbroken stretch of one group, the decision with the smallest {lead}. "
        f"Of all decisions {percent(info.narrow)} lie below {NARROW:g}."
    )
    for row in info.uncertain.to_dict("records"):
        _step(experiment, run, row["step"], row["sentence"])
    with st.expander(f"Numbers ({show.counted(len(info.uncertain), 'row')})"):
        table = info.uncertain.drop(columns="sentence")
        show.numbers(table, f"{run.name}-uncertain", f"uncertain-{key}")


def _partings(experiment: Experiment, run: Run, info: StoryInfo, key: str, others: int) -> None:
    """Say where the other seeds took another way."""
    if not others:
        return
    st.header("Where seeds part", anchor=False)
    if not len(info.partings):
        st.info("No other seed has a recorded step in common with this run yet.")
        return
    same = info.partings[info.partings["step"].isna()]
    for _, rows in same.groupby(["common", "whole"], sort=False):
        seeds, first = sorted(int(seed) for seed in rows["seed"]), rows.iloc[0]
        st.markdown(_alike(seeds, int(first["common"]), bool(first["whole"])))
    for row in info.partings.drop(index=same.index).to_dict("records"):
        step = row["for_good"] if pd.notna(row["for_good"]) else row["step"]
        _step(experiment, run, int(step), row["sentence"])
    with st.expander(f"Numbers ({show.counted(len(info.partings), 'row')})"):
        table = info.partings.drop(columns="sentence")
        show.numbers(table, f"{run.name}-partings", f"partings-{key}")


def _alike(seeds: list[int], common: int, whole: bool) -> str:
    """Say in one sentence which seeds never part, as far as can be told."""
    if len(seeds) == 1:
        return f"Seed {seeds[0]} has {alike(common, whole)}."
    named = f"{', '.join(map(str, seeds[:-1]))} and {seeds[-1]}"
    return f"Seeds {named} have {alike(common, whole, 'each of them and this run')}."
