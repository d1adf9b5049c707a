"""Rows of a task as they are read and answered, and your own tasks: those there are, a new one."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from dtvg import paths
from dtvg.analysis.tasks import TaskInfo, shown_examples
from dtvg.errors import DataError, DtvgError
from dtvg.jobs.answers import trip_of
from dtvg.jobs.uploads import Checked, check_upload
from dtvg.tasks.catalogue import described_tasks
from dtvg.tasks.checking import keep_checked
from dtvg.tasks.data_folder import remembered
from dtvg.tasks.limits import UPLOAD
from dtvg.tasks.places import ALL_ENDINGS
from dtvg.tasks.reading import TaskData
from dtvg.ui import address, folder, people, runs, show

SPLITS = ("train", "validation", "test")
SHOWN = 3
"""Rows shown at once."""

EXAMPLE = """\
title: Is the review kind?
files: {train: reviews.csv}          # Parquet, CSV, JSON, ...; beside this file
text: "review: {review}"             # columns in braces
label: verdict                       # column of the answer
labels: {bad: negative, good: positive}   # what the column holds: what is answered
metrics: [accuracy]
"""


def examples(info: TaskInfo, backbone: str) -> None:
    """Show some rows as they are read and answered."""
    st.subheader("What a model reads and answers", anchor=False)
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
    address.recall("folder", str, next(iter(remembered()), ""))
    folder.field(
        "folder",
        "Data folder",
        help="A folder with one sub-folder per data set (data.folder). It is searched first.",
        quiet=True,
    )
    given = str(st.session_state.get("folder") or "")
    address.keep("folder", given, "")
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


def section(backbone: str) -> None:
    """Show the described tasks, and a form that checks and keeps another one.

    Args:
        backbone: whose tokenizer writes the answers and reads the inputs.
    """
    st.subheader("Tasks of your own", anchor=False)
    own, wrong = described_tasks()
    rows = [(name, spec.title, spec.described_in) for name, spec in own.items()]
    for problem in wrong.values():
        st.warning(problem, icon=":material/warning:")
    if rows:
        table = pd.DataFrame(rows, columns=["task", "title", "described in"])
        show.numbers(table, "own-tasks", "own-tasks")
    else:
        st.caption(
            f"None yet. A task is a YAML file in {paths.home() / 'tasks'}; the form below checks "
            "one and saves it there."
        )
    if people.only_looks("add tasks"):
        return
    with st.expander("Add a task", icon=":material/add:"):
        _form(backbone)


def _form(backbone: str) -> None:
    """Take a description with its files; check it, keep it."""
    name = st.text_input("Name", key="own-name", placeholder="my-reviews")
    text = st.text_area("Description (YAML)", EXAMPLE, height=220, key="own-text")
    files = st.file_uploader(
        "Data files, or a description",
        type=[*(ending.removeprefix(".") for ending in ALL_ENDINGS), "yaml", "yml"],
        accept_multiple_files=True,
        max_upload_size=UPLOAD.packed >> 20,
        key="own-files",
        help="The files are saved next to the description. A YAML file uploaded here replaces "
        "the text above.",
    )
    uploads: dict[str, bytes] = {}
    for file in files or []:
        if file.name.endswith((".yaml", ".yml")):
            text, name = file.getvalue().decode("utf-8", "replace"), name or file.name.split(".")[0]
        else:
            uploads[file.name] = file.getvalue()
    with st.container(horizontal=True):
        check = st.button("Check", icon=":material/fact_check:", key="own-check")
        keep = st.button("Keep", icon=":material/save:", key="own-keep", type="primary")
    if not check and not keep:
        return
    try:
        with st.spinner("Reading the files"), people.acting("check task", what=name.strip()):
            done = check_upload(name.strip(), text, uploads, backbone)
        if keep:
            if not done.sound:
                raise DataError(done.problems[0])
            with people.acting("upload task", what=done.name):
                path = keep_checked(done.name, text, uploads)
            st.success(
                f"Saved as {path}. You can now use its name everywhere.", icon=":material/check:"
            )
            return
        _result(done, backbone)
    except DtvgError as error:
        st.error(str(error), icon=":material/error:")


def _result(done: Checked, backbone: str) -> None:
    """Show what checking found."""
    if done.problems:
        count = len(done.problems) + done.more
        st.error(
            f"{count:,} problem{'s' if count > 1 else ''}; the task cannot be saved as it is.",
            icon=":material/error:",
        )
        problems = pd.DataFrame({"problem": done.problems})
        st.table(problems.set_index("problem"), border="horizontal")
    if done.sound:
        st.success("No problem was found; this task can be used.", icon=":material/check:")
    for words in (*done.found, *done.notes):
        st.caption(f"{words[:1].upper()}{words[1:]}.")
    trip(done.trip, done.reachable, backbone)
    for example in done.examples:
        st.code(
            f"{example.source}\n→ {' | '.join(example.references)}", language=None, wrap_lines=True
        )
    rows = [
        (split, count, ", ".join(f"{w} {n}" for w, n in done.balance[split].items()))
        for split, count in done.usable.items()
    ]
    table = pd.DataFrame(rows, columns=["file for", "usable rows", "answers"])
    st.dataframe(table, hide_index=True, key="own-result")


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
        st.warning(sentence, icon=":material/warning:")
    if reachable is not None:
        st.caption(
            f"Best reachable score with the tokenizer of '{backbone}': {show.percent(reachable)} "
            "(right answers, encoded and decoded)."
        )
