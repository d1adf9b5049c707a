"""A guided tour in five steps on the recorded example: what DTVG does, in a minute.

The step stands in the URL; hidden, it stays so for the session and can be brought back. Must not
import torch. arXiv 2503.18063, section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import streamlit as st

from dtvg.analysis import titles
from dtvg.figures.compare import compare_figure
from dtvg.figures.explain import prefix_figure, ranking_figure
from dtvg.figures.groups import timeline_figure
from dtvg.methods.specs import Role
from dtvg.store.reader import Experiment, Run
from dtvg.ui import address, cache, runs, show
from dtvg.ui.overview import card
from dtvg.ui.page import is_dark, link

OFF = "off"
Draw = Callable[[Experiment, Run], None]


def tour(examples: Sequence[Experiment], newcomer: bool) -> None:
    """Show the tour, or the button that brings it back.

    Args:
        examples: recorded experiments; the first with a DTVG run is shown.
        newcomer: whether nothing but the example is recorded yet; then it opens by itself.
    """
    found = _recorded(examples)
    if found is None:
        return
    options = (*map(str, range(1, len(STEPS) + 1)), OFF)
    first = "1" if newcomer else OFF
    now = address.recall("tour", address.one_of(options), first)
    address.keep("tour", now, first)
    if now == OFF:
        _go("What does DTVG do? A tour in a minute", "1", ":material/tour:")
        return
    with st.container(border=True, key="tour-box"):
        place = int(now)
        title, draw = STEPS[place - 1]
        st.header(title, anchor=False)
        draw(*found)
        with st.container(horizontal=True, vertical_alignment="center"):
            if place > 1:
                _go("Back", str(place - 1), ":material/arrow_back:")
            if place < len(STEPS):
                _go("Next", str(place + 1), ":material/arrow_forward:", main=True)
            _go("Hide the tour", OFF, ":material/close:")
            st.caption(f"Step {place} of {len(STEPS)}, on the recorded example `{found[0].name}`")


def _go(label: str, to: str, icon: str, main: bool = False) -> None:
    """Draw a button that moves the tour."""

    def move() -> None:
        st.session_state["tour"] = to

    kind: Literal["primary", "tertiary"] = "primary" if main else "tertiary"
    st.button(label, on_click=move, icon=icon, type=kind, key=f"tour-to-{label}")


def _recorded(examples: Sequence[Experiment]) -> tuple[Experiment, Run] | None:
    """Return the example and the run the tour walks through."""
    for experiment in examples:
        for run in experiment.runs:
            if run.method == "dtvg" and run.problem is None and run.result is not None:
                return experiment, run
    return None


def _tasks(experiment: Experiment, run: Run) -> None:
    sources = ", ".join(f"*{titles.task(s)}*" for s in run.sources)
    st.markdown(
        f"You have one small **target** task, here *{titles.task(run.target)}*, and several "
        f"**sources** with plenty of data: {sources}. Some would help the target, some would harm "
        "it, and nobody knows which.\n\nEach task is a **soft prompt**: a few trained vectors in "
        "front of the input of a frozen language model. What training added to the shared start is "
        "the task's **prompt vector** (trained prompt − initial prompt): its direction says what "
        "the task taught the model. So tasks can be compared and added before any transfer is "
        "trained."
    )


def _ranks(experiment: Experiment, run: Run) -> None:
    info = cache.explain(run, _first_step(run))
    st.markdown(
        "At **every** training step DTVG compares the target's vector with each source's. Those at "
        f"or above the cut ({info.threshold:g}) are candidates, most similar first. This is step "
        f"{info.step} of {titles.run(run.name)}; filled bars are in the group."
    )
    show.figure(
        ranking_figure(info, is_dark(), runs.order_of(experiment, run)),
        f"tour-rank-{run.name}",
        "Similarity of every source to the target at the first step, members filled",
    )


def _agrees(experiment: Experiment, run: Run) -> None:
    info = cache.explain(run, _first_step(run))
    st.markdown(
        "Similar to the target is not enough: sources must also agree **with each other**. DTVG "
        "looks at the first candidate, the first two, the first three … and keeps the set with the "
        "highest **knowledge consistency**. "
        + titles.in_sentence(info.headline, (*run.sources, run.target))
    )
    show.figure(
        prefix_figure(info, is_dark(), 260),
        f"tour-prefix-{run.name}",
        "Consistency of the first k candidates, the chosen k marked",
    )


def _merges(experiment: Experiment, run: Run) -> None:
    info = cache.groups(run)
    st.markdown(
        "The group's vectors are added to the target's prompt and one training step is taken. "
        "Scales and the target's prompt change, so the next step **decides again**: sources enter "
        "and leave the group during training. Each row is a source; each bar shows steps in "
        "which it is in the group."
    )
    show.figure(
        timeline_figure(info, is_dark(), runs.order_of(experiment, run)),
        f"tour-{run.name}",
        "Membership of each source over steps in the recorded example",
    )


def _helps(experiment: Experiment, run: Run) -> None:
    shown = tuple(
        r
        for r in experiment.runs
        if r.role == "transfer" and r.target == run.target and r.full_role is Role.HEADLINE
    )
    found = card.look(experiment, run.target, tested=True)
    info = cache.compare(shown, "test", "dtvg")
    said = f"**{found.answer}** {found.sureness}"
    st.markdown(titles.in_sentence(said, (*card.names_in(experiment, run.target), found.subject)))
    st.markdown(
        f"It is measured against other methods on {titles.task(run.target)}: no transfer, all "
        "sources at once, the nearest source (SPoT), and controls. Open points are seeds, the "
        "diamond their mean with its interval. Here you can ask about any step, replay every "
        "decision, and train the same with your own tasks."
    )
    show.figure(
        compare_figure(info, is_dark()),
        f"tour-compare-{experiment.name}",
        "Test scores of the methods on the example's target, seed by seed",
    )
    with st.container(horizontal=True):
        link("explain", "Why this source?", experiment=experiment.name, run=run.name)
        link("compare", "Did it help?", experiment=experiment.name)
        for name, path in cache.experiment_paths().items():
            if cache.is_example(path) and name != experiment.name:
                link("groups", f"Another example: {name}", experiment=name)
        link("launch", "Train it yourself")


def _first_step(run: Run) -> int:
    return int(cache.groups(run).steps[0])


STEPS: tuple[tuple[str, Draw], ...] = (
    ("Which tasks help mine?", _tasks),
    ("Rank the sources by similarity", _ranks),
    ("Keep those that agree", _agrees),
    ("Merge, train on, decide again", _merges),
    ("Did it help?", _helps),
)
