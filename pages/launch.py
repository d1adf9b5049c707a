"""Launching an experiment: a start, the form made from the configuration, its plan, and Start."""

from __future__ import annotations

import streamlit as st

from dtvg.ui import forms, people
from dtvg.ui.launch import draft as launch_draft
from dtvg.ui.launch import form as launch_form
from dtvg.ui.launch import grid, plan, start
from dtvg.ui.launch import queue as launch_queue
from dtvg.ui.page import guarded, page


def body() -> None:
    """Choose a start, fill the form, see the plan, start."""
    if people.only_looks("launch experiments"):
        guarded(launch_queue.show)
        return
    draft = start.choose()
    if draft is None:
        return
    launch_draft.collect(draft)
    judged = launch_draft.judge(draft)
    config, problems, loose = judged.config, judged.problems, judged.loose
    found = plan.ready(config) if config else []
    blocking = launch_draft.placed(draft, [f for f in found if f.blocks])
    notes = {**judged.notes, **launch_draft.placed(draft, [f for f in found if not f.blocks])}
    wrong = {**blocking, **problems}
    made = grid.expand(draft, config)
    for row in draft.axes:
        notes.setdefault(row["setting"], "The grid varies this setting.")
    form, side = st.columns([5, 3], gap="large")
    with form:
        st.header("What", anchor=False)
        launch_form.what(draft, wrong, notes)
        st.header("How", anchor=False)
        launch_form.how(draft, wrong, notes, plan.devices())
        grid.show(draft, made)
    with side, st.container(border=True, key="launch-side"):
        st.header("Plan", anchor=False)
        for sentence in loose:
            forms.remark(sentence)
        if made.configs and not made.problems and "seeds" not in blocking:
            guarded(lambda: plan.show(made.configs))
        against = [*loose, *wrong.values(), *made.problems.values()]
        plan.actions(draft, made.configs, against)
        if draft.axes or launch_draft.differences(draft.base, draft.plain()):
            st.button(
                "Undo all changes",
                icon=":material/undo:",
                type="tertiary",
                on_click=launch_draft.reset,
                args=(draft,),
            )
    st.html(plan.STAYS)
    launch_draft.keep_in_address(draft)
    guarded(launch_queue.show)


page(
    "Launch",
    "Train an experiment in a process of its own; closing the browser does not stop it.",
    body,
)
