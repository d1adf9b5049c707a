"""Your own tasks: those there are, to edit or delete; a new one, from a file's columns or as YAML.

What is uploaded is read by a process of its own (`dtvg/jobs/uploads.py`), never here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from dtvg import paths
from dtvg.analysis import titles
from dtvg.errors import DataError, DtvgError
from dtvg.jobs.uploads import SECONDS, Checked, Tell, check_upload, look_at_upload
from dtvg.store import trash
from dtvg.store.reader import list_experiments
from dtvg.tasks import drafting
from dtvg.tasks.catalogue import described_tasks
from dtvg.tasks.checking import keep_checked, replace_text
from dtvg.tasks.drafting import FileLook
from dtvg.tasks.limits import UPLOAD
from dtvg.tasks.places import ALL_ENDINGS, WORDS
from dtvg.tasks.spec import TaskSpec
from dtvg.ui import forms, people, show, tasks

EXAMPLE = """\
title: Is the review kind?
files: {train: reviews.csv}          # Parquet, CSV, JSON, ...; beside this file
text: "review: {review}"             # columns in braces
label: verdict                       # column of the answer
labels: {bad: negative, good: positive}   # what the column holds: what is answered
metrics: [accuracy]
"""
TEXT, DRAFTED = "own-text", "own-drafted"
SPLITS = ("train", "validation", "test")
NO_LABEL = "(none)"


def section(backbone: str) -> None:
    """Show the described tasks, and a form that checks and keeps another one.

    Args:
        backbone: whose tokenizer writes the answers and reads the inputs.
    """
    st.header("Tasks of your own", anchor=False)
    own, wrong = described_tasks()
    rows = [(name, spec.title, spec.described_in) for name, spec in own.items()]
    for problem in wrong.values():
        st.warning(forms.escape(problem), icon=":material/warning:")
    if rows:
        table = pd.DataFrame(rows, columns=["task", "title", "described in"])
        show.numbers(table, "own-tasks", "own-tasks", texts=True)
    else:
        st.caption(
            f"None yet. A task is a YAML file in {paths.home() / 'tasks'}; the form below makes "
            "one from your file's columns, checks it and saves it there."
        )
    if people.only_looks("add tasks"):
        return
    home = paths.home() / "tasks"
    mine = {n: s for n, s in own.items() if home in Path(s.described_in).parents}
    if mine:
        with st.expander("Edit or delete a task", icon=":material/edit:"):
            _change(mine, backbone)
    with st.expander("Add a task", icon=":material/add:", expanded=not mine):
        _form(backbone)


# ---- a new one


def _form(backbone: str) -> None:
    """Take files and a description, which is written from the columns; check it, keep it."""
    name = st.text_input("Name", key="own-name", placeholder="my-reviews")
    files = st.file_uploader(
        "Data files, or a description",
        type=[*(ending.removeprefix(".") for ending in ALL_ENDINGS), "yaml", "yml"],
        accept_multiple_files=True,
        max_upload_size=UPLOAD.packed >> 20,
        key="own-files",
        help="They are saved in a folder of the task's own. A YAML file uploaded here replaces the "
        "text below.",
    )
    uploads: dict[str, bytes] = {}
    given = wrong = ""
    try:
        uploads, described, given = _uploaded([(one.name, one.getvalue()) for one in files or []])
        name = name or described
    except DataError as error:
        wrong = str(error)
        st.error(forms.escape(wrong), icon=":material/error:")
    if given:
        _write_text(given, given)
    elif uploads:
        _from_columns(uploads)
    st.session_state.setdefault(TEXT, EXAMPLE)
    text = st.text_area("Description (YAML)", height=220, key=TEXT)
    with st.container(horizontal=True):
        off = bool(wrong)
        check = st.button("Check", icon=":material/fact_check:", key="own-check", disabled=off)
        keep = st.button(
            "Keep", icon=":material/save:", key="own-keep", type="primary", disabled=off
        )
    if not check and not keep:
        return
    try:
        with _progress() as tell, people.acting("check task", what=name.strip()):
            done = check_upload(name.strip(), text, uploads, backbone, tell=tell)
        if keep:
            if not done.sound:
                raise DataError(done.problems[0])
            with people.acting("upload task", what=done.name):
                path = keep_checked(done.name, text, uploads)
            st.success(
                f"Saved as {forms.escape(str(path))}. You can now use its name everywhere.",
                icon=":material/check:",
            )
            return
        _result(done, backbone)
    except DtvgError as error:
        st.error(forms.escape(str(error)), icon=":material/error:")


def _uploaded(files: Sequence[tuple[str, bytes]]) -> tuple[dict[str, bytes], str, str]:
    """Return the data files by name, and the name and text of the description, empty without one.

    Raises:
        DataError: two files are called the same, there are two descriptions, or it is no UTF-8.
    """
    uploads: dict[str, bytes] = {}
    name = text = ""
    for file, content in files:
        if file in uploads:
            raise DataError(f"Two files are called '{file}'; rename one and upload it again.")
        if Path(file).suffix.lower() not in (".yaml", ".yml"):
            uploads[file] = content
            continue
        if name:
            raise DataError(f"Both '{name}' and '{file}' are descriptions; upload one of them.")
        try:
            name, text = file, content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(
                f"'{file}' is not UTF-8 text (byte {error.start} is {content[error.start]:#04x}); "
                "save it as UTF-8."
            ) from None
    return uploads, Path(name).stem, text


@contextmanager
def _progress() -> Iterator[Tell]:
    """Show what a check does and how long it has taken, while it does."""
    place = st.empty()
    place.progress(0.0, "Starting")

    def tell(stage: str, seconds: float) -> None:
        share = min(1.0, seconds / SECONDS)
        place.progress(share, f"{stage}: {seconds:.0f} s of at most {SECONDS} s")

    try:
        yield tell
    finally:
        place.empty()


def _write_text(choices: object, text: str) -> None:
    """Put a description into the text field, unless the same choices put one there before."""
    made = hashlib.sha256(repr(choices).encode()).hexdigest()
    if st.session_state.get(DRAFTED) != made:
        st.session_state[DRAFTED] = made
        st.session_state[TEXT] = text


@st.cache_data(max_entries=8, show_spinner=False)
def _looked(digest: str, name: str, _content: bytes) -> FileLook:
    with _progress() as tell:
        return look_at_upload(name, _content, tell)


def _from_columns(uploads: Mapping[str, bytes]) -> None:
    """Show a file's rows; let one say what its columns are for; write the description."""
    with st.container(border=True):
        splits = _splits(list(uploads))
        first = next((f for f, split in splits.items() if split == "train"), next(iter(uploads)))
        digest = hashlib.sha256(uploads[first]).hexdigest()
        try:
            look = _looked(digest, first, uploads[first])
        except DtvgError as error:
            st.error(forms.escape(str(error)), icon=":material/error:")
            return
        read_as = forms.escape(f"in {first}, read as {look.read_as}.")
        st.markdown(f"**{show.counted(look.rows, 'row')}** {read_as}")
        st.dataframe(pd.DataFrame(look.preview), hide_index=True, key=f"own-preview-{digest[:12]}")
        proposed = drafting.draft(look)
        names = [column.name for column in look.columns]
        left, right = st.columns(2)
        with left:
            read = st.multiselect(
                "Columns that are read", names, list(proposed.text), key=f"own-read-{digest[:12]}",
                help="In this order.",
            )  # fmt: skip
        with right:
            options = [NO_LABEL, *names]
            at = options.index(proposed.label) if proposed.label else 0
            label = st.selectbox(
                "Column of the answer", options, at, key=f"own-label-{digest[:12]}"
            )
        if label == NO_LABEL or not read:
            st.caption("Choose the column of the answer and at least one that is read.")
            return
        labels = _labels(look, str(label), digest[:12])
    by_split: dict[str, Any] = {}
    for file, split in splits.items():
        by_split.setdefault(split, []).append(file)
    named = {split: found[0] if len(found) == 1 else found for split, found in by_split.items()}
    text = drafting.description("", named, read, str(label), labels)
    _write_text((named, read, label, labels), text)


def _splits(files: Sequence[str]) -> dict[str, str]:
    """Let one say which split each file is."""
    found = {}
    for file in files:
        word = re.split(r"[-_.]", file.lower(), maxsplit=1)[0]
        guess = WORDS.get(word, "train")
        if len(files) == 1:
            found[file] = "train"
            continue
        key = f"own-split-{file}"
        label = f"{forms.escape(file)} is"
        found[file] = str(st.selectbox(label, SPLITS, SPLITS.index(guess), key=key))
    return found


def _labels(look: FileLook, label: str, digest: str) -> dict[str, str]:
    """Let one say what is answered for each value of the column; empty: free text."""
    column = next(c for c in look.columns if c.name == label)
    proposed = drafting.labels_of(column)
    if not proposed:
        st.caption(
            f"{forms.escape(label)} has {show.counted(column.different, 'different value')}: it is "
            "answered in free text."
        )
        return {}
    table = pd.DataFrame(
        [(value, word, column.values[value]) for value, word in proposed.items()],
        columns=["in the file", "answered", "rows"],
    )
    edited = st.data_editor(
        table,
        hide_index=True,
        disabled=["in the file", "rows"],
        key=f"own-labels-{digest}-{label}",
    )
    found, lacking = {}, []
    for value, word in zip(edited["in the file"], edited["answered"], strict=True):
        blank = pd.isna(word) or not str(word).strip()
        found[str(value)] = proposed[value] if blank else str(word)
        lacking += [str(value)] if blank else []
    if lacking:
        named = ", ".join(forms.escape(value) for value in lacking)
        st.caption(f"No answer is given for {named}; what was proposed stands.")
    return found


# ---- those there are


def users_of(name: str) -> tuple[list[str], list[str]]:
    """Return the experiments that name a task: those not finished, and the others."""
    going: list[str] = []
    done: list[str] = []
    for experiment in list_experiments(paths.runs()):
        config = experiment.config
        if config is not None and name in (*config.sources, *config.targets):
            transfer = [r for r in experiment.runs if r.role == "transfer"]
            over = bool(transfer) and all(r.result is not None for r in transfer)
            (done if over else going).append(experiment.name)
    return going, done


def _change(mine: Mapping[str, TaskSpec], backbone: str) -> None:
    """Let one edit a description, or move a task to the trash."""
    name = st.selectbox("Task", list(mine), key="own-chosen", format_func=titles.full)
    if name not in mine:
        return
    spec = mine[name]
    path = Path(spec.described_in)
    going, done = users_of(name)
    try:
        before = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        st.error(forms.escape(f"'{path}' cannot be read."), icon=":material/error:")
        return
    key = hashlib.sha256(before.encode()).hexdigest()[:12]
    text = st.text_area("Description (YAML)", before, height=220, key=f"own-edit-{name}-{key}")
    if done or going:
        used = forms.escape(", ".join([*going, *done][:6]))
        st.caption(
            f"Used by {used}. What was trained keeps its numbers; runs of a changed task are not "
            "compared with it."
        )
    with st.container(horizontal=True):
        check = st.button("Check", key="own-edit-check", icon=":material/fact_check:")
        save = people.button("Save", key="own-edit-save", type="primary", icon=":material/save:")
        _delete(name, going)
    if not check and not save:
        return
    try:
        with _progress() as tell, people.acting("check task", what=name):
            checked = check_upload(name, text, {}, backbone, edits=True, tell=tell)
        if not save:
            _result(checked, backbone)
            return
        if going:
            raise DataError(
                f"Task '{name}' is used by {', '.join(going[:4])}, which has not finished; finish "
                "or delete it first, or add a task of another name."
            )
        if not checked.sound:
            raise DataError(checked.problems[0])
        with people.acting("edit task", what=name):
            try:
                replace_text(path, text)
            except OSError as error:
                raise DataError(f"'{path}' cannot be written ({error.strerror}).") from None
        st.success(f"Saved in {forms.escape(str(path))}.", icon=":material/check:")
    except DtvgError as error:
        st.error(forms.escape(str(error)), icon=":material/error:")


def _delete(name: str, going: Sequence[str]) -> None:
    with st.popover("Delete", icon=":material/delete:"):
        st.markdown(f"Moves the task `{name}` to the trash, with the files in its own folder.")
        if people.button("Move to the trash", type="primary", key="own-delete"):
            try:
                with people.acting("delete task", what=name):
                    gone = trash.delete_task(name, going)
            except DtvgError as error:
                st.error(forms.escape(str(error)), icon=":material/error:")
                return
            st.toast(f"In the trash; `dtvg runs restore {gone.name}` puts it back.")
            st.rerun()


def _result(done: Checked, backbone: str) -> None:
    """Show what checking found."""
    if done.problems:
        count = len(done.problems) + done.more
        st.error(
            f"{count:,} problem{'s' if count > 1 else ''}; the task cannot be saved as it is.",
            icon=":material/error:",
        )
        problems = pd.DataFrame({"problem": [forms.escape(p) for p in done.problems]})
        st.table(problems.set_index("problem"), border="horizontal")
    if done.sound:
        st.success("No problem was found; this task can be used.", icon=":material/check:")
    for words in (*done.found, *done.notes):
        st.caption(forms.escape(f"{words[:1].upper()}{words[1:]}."))
    tasks.trip(done.trip, done.reachable, backbone)
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
