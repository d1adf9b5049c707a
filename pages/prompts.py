"""The prompt bank: what was tuned, whether it learned, and how the task vectors lie."""

from __future__ import annotations

import streamlit as st

from dtvg.figures import prompts as draw
from dtvg.store.bank import TaskPrompt
from dtvg.ui import prompts, runs, show
from dtvg.ui.page import guarded, is_dark, link, page
from dtvg.ui.prompts import bank as read_bank
from dtvg.ui.prompts import prompt_space


def body() -> None:
    """Show the bank, its health, the vectors of one space, import and export."""
    bank = read_bank()
    if not bank.prompts and not bank.damaged:
        st.info(
            "The prompt bank is empty. The first experiment fills it, or import a prompt below.",
            icon=":material/inventory_2:",
        )
        link("launch", "Go to Launch")
        prompts.upload()
        return
    if bank.prompts:
        guarded(lambda: prompts.contents(bank.info))
        guarded(lambda: _space(bank.spaces))
    left, right = st.columns(2)
    with left:
        if bank.prompts:
            prompts.download(bank.prompts)
        prompts.delete(bank)
    with right:
        prompts.upload()


def _space(spaces: dict[str, tuple[TaskPrompt, ...]]) -> None:
    """Show matrix, map and norms of prompts that share an initial prompt."""
    if not spaces:
        return
    st.header("How similar the task prompt vectors are", anchor=False)
    with st.container(horizontal=True):
        label = runs.choose(
            "Space",
            list(spaces),
            "space",
            help_text="Vectors can be compared only if backbone, shape and initial prompt agree.",
        )
        measure = runs.choose("Measure", ("cosine", "dot"), "measure") or "cosine"
    if label is None:
        return
    info, dark = prompt_space(label), is_dark()
    show.figure(
        draw.matrix_figure(info, measure, dark),
        f"matrix-{label}-{measure}",
        "Similarity of every pair of task prompt vectors",
        info.pairs,
        "prompt-similarity",
    )
    st.header("Map of the vectors", anchor=False)
    show.figure(
        draw.map_figure(info, dark),
        f"map-{label}",
        "Principal components of the task prompt vectors",
        info.map,
        "prompt-map",
    )
    st.header("How far each prompt token moved", anchor=False)
    show.figure(
        draw.norms_figure(info, dark),
        f"norms-{label}",
        "Norm of each task's vector at each prompt token",
        info.token_norms,
        "token-norms",
    )


page("Prompts", "The bank of tuned task prompts: each is trained once and reused.", body)
