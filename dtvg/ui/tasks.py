"""Rows of a task as they are read and answered, and your own tasks: those there are, a new one."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dtvg.analysis.tasks import TaskInfo, shown_examples
from dtvg.jobs.answers import trip_of
from dtvg.tasks.data_folder import remembered
from dtvg.tasks.reading import TaskData
from dtvg.ui import address, folder, forms, people, runs, show

SPLITS = ("train", "validation", "test")
SHOWN = 3
"""Rows shown at once."""


def examples(info: TaskInfo, backbone: str) -> None:
    """Show some rows as they are read and answered."""
    st.header("What a model reads and answers", anchor=False)
    with st.container(horizontal=True):
        split = runs.choose("Split", SPLITS, "split") or "train"
        rows = len(info.data.split(split)) if info.data else 0
        last = max(0, rows - 1)
        address.recall("row", address.whole(0, last), 0)
        first = st.number_input("First row", 0, last, key="row")
        address.keep("row", first, 0)
    for row in shown_examples(info.data, split, int(first), SHOWN, backbone) if info.data else ():
        length = "" if row.tokens is None else f" · {row.tokens} tokens"
        st.caption(f"{split} row {row.row}{length}")
        st.code(row.source[:4000], language=None, wrap_lines=True)
        left, right = st.columns(2)
        left.markdown("**Answer**" if not info.spec.labels else "**Numerals**")
        left.code(" | ".join(row.references), language=None, wrap_lines=True)
        if info.spec.labels:
            right.markdown("**Words**")
            right.code(row.word, language=None, wrap_lines=True)


def data_folder() -> str | None:
    """Let one name the folder that is searched first; a viewer reads no folder by name."""
    usual = next(iter(remembered()), "")
    address.recall("folder", str, usual)
    folder.field(
        "folder",
        "Data folder",
        help="A folder with one sub-folder per data set (data.folder). It is searched first.",
        quiet=True,
    )
    given = str(st.session_state.get("folder") or "")
    address.keep("folder", given, usual)
    return (given.strip() or None) if people.may_change() else None


def tokenizer() -> str:
    """Let one name the backbone whose tokenizer writes the answers; the demo's for a viewer."""
    allowed = people.may_change()
    address.recall("with", str, "demo")
    given = st.text_input(
        "Tokenizer of",
        key="with",
        help="'demo', a folder with a backbone, or a hub id whose tokenizer is on this machine.",
        disabled=not allowed,
    )
    backbone = (given or "").strip() or "demo"
    address.keep("with", backbone, "demo")
    return backbone if allowed else "demo"


def round_trip(data: TaskData, backbone: str) -> None:
    """Show what becomes of a task's labels and of a sample of its rows in a tokenizer.

    Raises:
        ConfigError: the tokenizer is not on disk.
    """
    found = trip_of(data, backbone)
    trip(found.sentences(), found.reachable, backbone)


def trip(sentences: Sequence[str], reachable: float | None, backbone: str) -> None:
    """Show what a tokenizer cannot write or read; an answer it cannot write is never given.

    Args:
        sentences: of the round trip.
        reachable: score of answering everything right; None where nothing could be scored.
        backbone: whose tokenizer it is.
    """
    for sentence in sentences:
        st.warning(forms.escape(sentence), icon=":material/warning:")
    if reachable is not None:
        name = forms.escape(backbone)
        st.caption(
            f"Best reachable score with the tokenizer of '{name}': {show.percent(reachable)} "
            "(right answers, encoded and decoded)."
        )
