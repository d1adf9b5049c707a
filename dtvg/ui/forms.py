"""Widgets made from the configuration model: help, bounds and defaults are the fields' own.

What is typed is kept as text until the model has judged it, so nothing is lost by a mistake.
Only streamlit and the model; what a page does with the values is the page's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from dtvg.config import settings_path
from dtvg.config.settings_path import Leaf


def label(leaf: Leaf) -> str:
    """Return a setting's name as read above its widget."""
    text = leaf.name.replace("stage1", "stage I").replace("_", " ")
    text = f"rate of {text[3:]}" if text.startswith("lr ") else text
    return text[:1].upper() + text[1:]


def shown(leaf: Leaf, value: Any) -> Any:
    """Return a widget's state for a value: itself for choices and switches, else text."""
    if leaf.options is not None or isinstance(value, bool):
        return value
    if value is None or value == {} or (value in ([], ()) and not leaf.optional):
        return ""
    return settings_path.write(leaf, value)


def read(leaf: Leaf, state: Any) -> Any:
    """Return the value of a widget's state; text that means none is left for the model."""
    if not isinstance(state, str) or leaf.options is not None:
        return state
    return settings_path.parse(leaf, state)


def draw(
    leaf: Leaf,
    key: str,
    value: Any,
    problem: str = "",
    note: str = "",
    options: Sequence[str] | None = None,
    show: Callable[[str], str] = str,
    title: str | None = None,
) -> None:
    """Draw a setting's widget, and beneath it what is wrong with the value.

    The widget's state is under `key`; `read` turns it into a value at the next run.

    Args:
        leaf: the setting.
        key: of the widget.
        value: what it starts with where the key has no state yet.
        problem: one sentence, shown in red; empty: none.
        note: one sentence worth knowing.
        options: choices where the type gives none, or fewer than the type gives.
        show: turns a choice into what is read.
        title: above the widget; None: the setting's name.
    """
    above, help_text = title or label(leaf), leaf.description or None
    choices = list(options if options is not None else leaf.options or ())
    many = leaf.entry is not None and options is not None
    st.session_state.setdefault(key, _texts(value) if many else shown(leaf, value))
    state = st.session_state[key]
    if many:
        choices = list(dict.fromkeys([*choices, *state]))
        st.multiselect(above, choices, key=key, help=help_text, format_func=show, wrap=True)
    elif choices:
        if state not in choices:
            choices = [*choices, state]  # stays visible, and is refused by the model
        st.selectbox(
            above,
            choices,
            key=key,
            help=help_text,
            format_func=lambda choice: "automatic" if choice is None else show(choice),
            accept_new_options=leaf.options is None,
        )
    elif leaf.kind is bool and isinstance(state, bool):
        st.toggle(above, key=key, help=help_text)
    else:
        empty = leaf.empty
        st.text_input(above, key=key, help=help_text, placeholder=empty)
    remark(problem, note)


def _texts(value: Any) -> list[str]:
    """Return the entries of a list as what can be chosen; the model refuses those that are none."""
    entries = value if isinstance(value, list | tuple) else [value] if value else []
    return [one if isinstance(one, str) else str(one) for one in entries]


def remark(problem: str = "", note: str = "") -> None:
    """Show what is wrong with a setting, or what to know about it, under its widget."""
    if problem:
        st.markdown(f":small[:red[:material/error: {escape(problem)}]]")
    elif note:
        st.caption(f":material/info: {escape(note)}")


_CODE = re.compile(r"(?<!`)(`[^`\n]+`)(?!`)")
_SIGNS = re.compile(r"[\\`*_{}\[\]<>$~#|&]|^[-+=]|^\d+[.)]|:(?=\S)")
"""What means something to Markdown; `!` and round brackets do only beside square ones."""


def escape(text: str) -> str:
    """Return text that Markdown shows as it stands: no image, link, formula, icon or emphasis.

    Whatever came from outside (an address, a file, a name, an error about them) goes through here
    before it is shown. Only a whole `piece of code` stays one, since nothing is read in it.
    """
    pieces = _CODE.split(" ".join(text.split()))
    return "".join(one if at % 2 else _SIGNS.sub(_escaped, one) for at, one in enumerate(pieces))


def _escaped(sign: re.Match[str]) -> str:
    """Return one sign as itself; a colon as its number, since `\\:` still begins an icon."""
    return "&#58;" if sign[0] == ":" else f"{sign[0][:-1]}\\{sign[0][-1]}"
