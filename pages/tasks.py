"""The tasks: where their rows are, what a model reads and answers, and your own tasks."""

from __future__ import annotations

import streamlit as st

from dtvg.analysis import titles
from dtvg.analysis.tasks import TaskInfo, words_table
from dtvg.errors import ConfigError
from dtvg.figures import tasks as draw
from dtvg.tasks.catalogue import all_tasks
from dtvg.ui import cache, forms, own_tasks, runs, show, tasks
from dtvg.ui.page import is_dark, page


def body() -> None:
    """Choose a task, show its facts, splits, answers and examples; then your own tasks."""
    name = runs.choose_there("task", list(all_tasks()), "task", "rte", titles.full)
    folder = tasks.data_folder()
    backbone = "demo"
    if name is not None:
        info = cache.task(name, folder)
        _facts(info)
        if info.data is not None:
            _splits(info)
            backbone = _answers(info)
            tasks.examples(info, backbone)
            show.notes(info.notes)
    own_tasks.section(backbone)


def _facts(info: TaskInfo) -> None:
    """Show what the task is and whether it can be used here."""
    if info.problem:
        st.error(forms.escape(info.problem), icon=":material/error:")
    elif info.data is None:
        why = info.offline.removeprefix("no, ")
        st.info(
            forms.escape(
                f"The rows of {titles.task(info.spec.name)} are not on this machine ({why}). "
                f"Name a folder that contains '{info.spec.folder}' above, or fetch them once: "
                f"`dtvg tasks show {info.spec.name}`."
            ),
            icon=":material/cloud_off:",
        )
    facts = info.facts.assign(value=info.facts["value"].astype(str).map(forms.escape))
    st.table(facts.set_index("fact"), border="horizontal")


def _splits(info: TaskInfo) -> None:
    """Show sizes, majority score and label balance."""
    st.header("Splits", anchor=False)
    for column, row in zip(st.columns(3), info.splits.to_dict("records"), strict=True):
        column.metric(
            row["split"].capitalize(),
            f"{row['rows']:,}",
            f"majority score {show.percent(row['majority'])}",
            delta_color="off",
            delta_arrow="off",
            help="Score of always giving the commonest training answer. A prompt that does "
            "not score more has not learned.",
        )
    if info.spec.labels:
        show.figure(
            draw.balance_figure(info, is_dark()),
            f"balance-{info.spec.name}",
            "Share of each answer in each split",
            info.balance,
            f"{info.spec.name}-balance",
        )


def _answers(info: TaskInfo) -> str:
    """Show each class's answer as numeral and as word; return the tokenizer chosen."""
    st.header("Label words: numerals or words", anchor=False)
    backbone = tasks.tokenizer()
    try:
        if info.spec.labels:
            table = words_table(info.spec, backbone)
            show.numbers(
                table, f"{info.spec.name}-answers", f"answers-{info.spec.name}", texts=True
            )
            st.caption("`data.labels` chooses; `data.label_words` gives words of your own.")
        else:
            st.caption("This task answers in free text; it has no label words.")
        if info.data is not None:
            tasks.round_trip(info.data, backbone)
    except ConfigError as error:
        st.info(forms.escape(str(error)), icon=":material/info:")
    return backbone


page("Tasks", "Where each task's rows are, what they look like, and what guessing scores.", body)
