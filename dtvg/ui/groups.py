"""The further views of the groups page: combinations, weights, seeds, vectors, scales."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import streamlit as st

from dtvg.analysis import titles
from dtvg.analysis.run.groups import GroupInfo, transition_info
from dtvg.analysis.run.trajectory import scale_info, trajectory_info
from dtvg.analysis.words import percent
from dtvg.errors import DtvgError
from dtvg.figures import flows, relations
from dtvg.figures.groups import (
    combinations_figure,
    contribution_figure,
    negative_figure,
    weights_figure,
)
from dtvg.store.reader import Experiment, Run
from dtvg.ui import cache, forms, runs, show
from dtvg.ui.chart import Click
from dtvg.ui.story import story

View = Callable[[Experiment, Run, bool], None]
HOW_TO_READ = (
    "A bar shows that the source is in the group; the stronger its colour, the more similar it is. "
    "Dotted lines show changes of the group. Rows *truth* and *best subset*, where they are known: "
    "the stronger, the more the group agrees with that set. Row *marks*: the best step (star), "
    "evaluations, pins and bans, forks and resumes. A click explains the step."
)


def open_step(experiment: Experiment, run: Run, clicked: Click | None) -> None:
    """Explain the step that was clicked in a timeline; nothing where no rule decides."""
    at = None if clicked is None else clicked.x if clicked.at is None else clicked.at
    explained = run.config is not None and run.config.method.has_source_vectors
    if not isinstance(at, int | float) or not explained:
        return
    steps = cache.groups(run).steps
    near = int(steps[int(np.argmin(np.abs(steps - at)))])
    named = {"experiment": experiment.name, "run": run.name, "step": str(near)}
    st.switch_page("pages/explain.py", query_params=named)


def combinations(experiment: Experiment, run: Run, dark: bool) -> None:
    """Show which groups ruled, how they followed each other, and who was in together."""
    info = cache.groups(run)
    flow = transition_info(info)
    key = f"{experiment.name}-{run.name}"
    st.header("Which groups were used, and how long", anchor=False)
    show.figure(
        combinations_figure(info, dark),
        f"combinations-{key}",
        "When each of the most frequent groups was in force",
        info.combinations,
        f"{run.name}-combinations",
    )
    st.header("Transitions between groups", anchor=False)
    show.figure(
        flows.transitions_figure(flow, dark),
        f"transitions-{key}",
        "Flows from group to group; the wider a flow, the more often it happened",
        flow.table,
        f"{run.name}-transitions",
    )
    st.header("Sources that were in the group together", anchor=False)
    show.figure(
        flows.together_figure(flow, dark),
        f"together-{key}",
        "Share of steps in which both sources were in the group",
        flow.together_table,
        f"{run.name}-together",
    )


def seeds(experiment: Experiment, run: Run, dark: bool) -> None:
    """Show how much the groups of the other seeds agree."""
    others = tuple(
        r
        for r in experiment.runs
        if r.problem is None and r.step > 0 and (r.target, r.method) == (run.target, run.method)
    )
    if len(others) < 2:
        st.info("This method ran with only one seed; agreement needs at least two.")
        return
    info = cache.stability(others)
    if len(info.runs) < 2:
        st.info("Only one seed has committed steps so far; agreement needs at least two.")
        return
    key = f"{experiment.name}-{run.target}-{run.method}"
    group = titles.tasks(info.consensus) or "no source"
    st.markdown(
        f"Over {len(info.runs)} seeds the groups overlap by **{info.mean_jaccard:.2f}** (mean "
        f"Jaccard over steps; 1 = the same group), the newest by "
        f"**{info.mean_jaccard_last:.2f}**. In at least half of the steps: **{group}**."
    )
    st.header("Share of steps in the group, seed by seed", anchor=False)
    show.figure(
        flows.seed_shares_figure(info, dark),
        f"seed-shares-{key}",
        "Share of each seed's steps with the source in the group",
        info.table,
        f"{run.target}-{run.method}-seeds",
    )
    left, right = st.columns(2)
    with left:
        st.header("Overlap over all steps", anchor=False)
        show.figure(flows.seeds_figure(info, dark), f"seeds-{key}", "Jaccard between seeds")
    with right:
        st.header("Overlap of the newest groups", anchor=False)
        show.figure(
            flows.seeds_figure(info, dark, last=True),
            f"seeds-last-{key}",
            "Jaccard between the seeds' newest groups",
        )


def vectors(experiment: Experiment, run: Run, dark: bool) -> None:
    """Show the path of the target's vector among the source vectors."""
    st.header("Path of the target's vector", anchor=False)
    try:
        info = trajectory_info(run)
    except DtvgError as error:
        st.info(forms.escape(str(error)))
        return
    show.figure(
        flows.trajectory_figure(info, dark, runs.order_of(experiment, run)),
        f"path-{experiment.name}-{run.name}",
        "Path of the target's vector in the plane of the principal directions of the sources",
        info.table,
        f"{run.name}-path",
    )
    st.caption(
        "Every point is the scaled, pooled task prompt vector of a step, projected from the "
        "logged Gram matrices onto the two principal directions of the sources at the newest step. "
        f"The plane shows {percent(float(info.in_plane[-1]))} of the target's squared "
        "length there; what is orthogonal to all sources cannot be seen in it."
    )


def weights(experiment: Experiment, run: Run, dark: bool) -> None:
    """Show how strongly each source was taken, and how much that put into the prompt."""
    info, order = cache.groups(run), runs.order_of(experiment, run)
    key = f"{experiment.name}-{run.name}"
    st.header("How much each source contributes to the prompt", anchor=False)
    show.figure(
        contribution_figure(info, dark, order),
        f"contribution-{key}",
        "Frobenius norm of what each source adds to the prompt, over steps",
        info.weight_table,
        f"{run.name}-contributions",
    )
    st.caption(
        "Weight times learned scale times vector, as a norm over all prompt tokens: this is what "
        "a member adds to the prompt at a step. A source with a zero vector adds nothing, "
        "whatever its weight."
    )
    _negative(info, key, dark, order)
    _relations(run, key, dark, order)
    st.header("Weight of each source in the merge", anchor=False)
    if not info.weighs:
        st.info(
            "This method takes a source fully or not at all; the timeline shows when.",
            icon=":material/info:",
        )
        return
    show.figure(
        weights_figure(info, dark, order),
        f"weights-{key}",
        "Weight of each source in the merge, over steps",
        None,
        f"{run.name}-weights",
    )
    st.caption(
        f"As {titles.method(run.method_name)} decides it: attention, gate or learned weight."
    )


def _relations(run: Run, key: str, dark: bool, order: tuple[str, ...]) -> None:
    """Show the task-relation matrix where the method learns one, and the rounds it came by."""
    info = cache.relations(run)
    if info is None:
        return
    st.header("Task-relation matrix", anchor=False)
    show.figure(
        relations.matrix_figure(info, dark),
        f"relations-{key}",
        f"How much each task takes from each other, at step {info.steps[-1]:,}",
        info.table,
        f"{run.name}-relations",
    )
    st.caption(
        f"At step {info.steps[-1]:,}. Each row adds up to 100 %: what the task of the row takes "
        "from itself and from the others. Rows of other targets are as they were last heard of."
    )
    show.figure(
        relations.row_figure(info, dark, order),
        f"relation-row-{key}",
        f"What {titles.task(info.target)} takes from every task, over evaluations",
        None,
        f"{run.name}-relation-row",
    )
    if info.rounds.empty:
        return
    st.header("Rounds of exchange with runs on other targets", anchor=False)
    show.figure(
        relations.rounds_figure(info, dark),
        f"rounds-{key}",
        "How each other run was met in each round",
        info.summary,
        f"{run.name}-rounds",
    )
    st.caption(
        "met: it was in step; ahead: it was further, its newest offer counts; ended: its last one; "
        "stale: it was slower or dead, and an older offer counts; skipped: it left the round out "
        f"(in the row of {titles.task(info.target)}: this run did); absent: nothing was heard of "
        "it yet."
    )


def _negative(info: GroupInfo, key: str, dark: bool, order: tuple[str, ...]) -> None:
    """Show how much of a source is subtracted, since its learned scale is negative there."""
    share = info.negative_share
    if not share > 0:
        return
    st.header("How much of a source is subtracted", anchor=False)
    st.markdown(
        f"**{percent(share, 1)}** of the members' scale entries are negative over all steps: for "
        "these prompt tokens the source is subtracted, not added."
    )
    show.figure(
        negative_figure(info, dark, order),
        f"negative-{key}",
        "Share of negative entries of each source's learned scale, over steps",
        info.weight_table,
        f"{info.run}-negative-scales",
    )


def scales(experiment: Experiment, run: Run, dark: bool) -> None:
    """Show the learned scale of every source and prompt token."""
    st.header("How much each prompt token takes from each source", anchor=False)
    which = runs.choose("Prompt", ("final", "best"), "which") or "final"
    try:
        info = scale_info(run, which)
    except DtvgError as error:
        st.info(forms.escape(str(error)))
        return
    show.figure(
        flows.scales_figure(info, dark),
        f"scales-{experiment.name}-{run.name}-{which}",
        "Learned scale per source and prompt token; neutral at the start value 1",
        info.table,
        f"{run.name}-{which}-scales",
    )
    best = run.result.best_step if run.result else None
    at = run.step if which == "final" else best
    text = f"After step {at:,}. Scales start at 1." if at is not None else "Scales start at 1."
    if info.activation != "identity":
        text += f" They pass through {info.activation} before use; the raw scales are shown."
    st.caption(text)


VIEWS: dict[str, View] = {
    "Story": story,
    "Combinations": combinations,
    "Weights": weights,
    "Seeds": seeds,
    "Vectors": vectors,
    "Scales": scales,
}
