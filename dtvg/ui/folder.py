"""A field for a data folder: looked into while it is typed, browsed, and remembered.

What stands in the field is the widget's state under its key, as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import streamlit as st

from dtvg.tasks import data_folder
from dtvg.tasks.data_folder import Looked
from dtvg.ui import forms, people

SHOWN = 60
"""Sub-folders drawn as buttons at once."""


@st.cache_data(ttl=5, max_entries=128, show_spinner=False)
def _look(folder: str) -> Looked:
    return data_folder.look_into(folder)


def field(
    key: str, title: str, wanted: Iterable[str] = (), help: str = "", quiet: bool = False
) -> None:
    """Draw the field, what the folder holds, and the picker.

    Args:
        key: of the widget; its state is the folder as typed, empty for the usual places.
        title: above it.
        wanted: tasks that the data are for.
        help: its tooltip.
        quiet: whether nothing is said about a folder that does not exist (others do).
    """
    allowed = people.may_change()
    st.text_input(
        title,
        key=key,
        placeholder="<home>/datasets",
        help=help or None,
        disabled=not allowed,
        live="400ms",
        icon=":material/folder_open:",
    )
    if not allowed:
        return
    typed = str(st.session_state.get(key) or "").strip()
    if typed:
        _said(_look(typed), wanted, quiet)
    with st.popover("Browse", icon=":material/folder_open:", type="tertiary", key=f"{key}:pick"):
        _browse(key, typed)


def _said(looked: Looked, wanted: Iterable[str], quiet: bool) -> None:
    """Say what the folder holds; one that holds data sets is remembered."""
    if looked.problem:
        if not quiet:
            forms.remark(looked.problem)
        return
    icon = ":material/check_circle:" if looked.tasks else ":material/info:"
    st.caption(f"{icon} {forms.escape(looked.sentence(wanted))}")
    for sentence in looked.broken[:5]:
        forms.remark(note=sentence)
    if looked.tasks:
        data_folder.remember(looked.path)


def _browse(key: str, typed: str) -> None:
    """Draw the folders used before, and those in the one that is looked at."""
    place = f"{key}:at"
    for one in data_folder.remembered():
        if one != typed:
            st.button(
                f"Used before: {one}",
                key=f"{key}:before:{one}",
                icon=":material/history:",
                on_click=_take,
                args=(key, one),
            )
    at = _look(str(st.session_state.get(place) or typed or Path.home()))
    while at.problem and at.path != at.path.parent:
        at = _look(str(at.path.parent))
    st.markdown(f"**{forms.escape(str(at.path))}**")
    st.caption(forms.escape(at.sentence()))
    with st.container(horizontal=True):
        up = str(at.path.parent)
        st.button("Up", key=f"{key}:up", icon=":material/arrow_upward:", on_click=_go,
                  args=(place, up), disabled=up == str(at.path))  # fmt: skip
        st.button("Use this folder", key=f"{key}:use", type="primary", on_click=_take,
                  args=(key, str(at.path)), disabled=bool(at.problem))  # fmt: skip
    with st.container(horizontal=True, height=240 if len(at.folders) > 16 else "content"):
        for name in at.folders[:SHOWN]:
            st.button(
                name[:60],
                key=f"{key}:in:{name}",
                type="tertiary",
                icon=":material/folder:",
                on_click=_go,
                args=(place, str(at.path / name)),
            )
    hidden = max(0, len(at.folders) - SHOWN) + at.more
    if hidden:
        st.caption(f"and {hidden} more; type the name.")


def _go(place: str, folder: str) -> None:
    st.session_state[place] = folder


def _take(key: str, folder: str) -> None:
    st.session_state[key] = folder
    st.session_state.pop(f"{key}:at", None)
