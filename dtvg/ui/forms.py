"""Widgets made from the configuration model: help, bounds and defaults are the fields' own.

What is typed is kept as text until the model has judged it, so nothing is lost by a mistake.
Only streamlit and the model; what a page does with the values is the page's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import streamlit as st
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Leaf:
    """One setting of a form."""

    path: str
    """Dotted name, e.g. `optim.steps`."""
    name: str
    kind: Any
    """Its type without `None`."""
    optional: bool
    info: FieldInfo

    @property
    def label(self) -> str:
        """Its name as read above the widget."""
        text = self.name.replace("stage1", "stage I").replace("_", " ")
        text = f"rate of {text[3:]}" if text.startswith("lr ") else text
        return text[:1].upper() + text[1:]

    @property
    def options(self) -> list[Any] | None:
        """What can be chosen; None where anything can be typed."""
        if get_origin(self.kind) is not Literal:
            return None
        return [*([None] if self.optional else []), *get_args(self.kind)]


def leaves(model: type[BaseModel], prefix: str = "") -> list[Leaf]:
    """Return the settings of a model that are no groups themselves, in its order.

    Args:
        model: a section of the configuration, or a method's settings.
        prefix: of their dotted names, e.g. `optim`.
    """
    found = []
    for name, info in model.model_fields.items():
        kind, optional = _kind(info.annotation)
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            path = f"{prefix}.{name}" if prefix else name
            found.append(Leaf(path, name, kind, optional, info))
    return found


def shown(leaf: Leaf, value: Any) -> Any:
    """Return a widget's state for a value: itself for choices and switches, else text."""
    if leaf.options is not None or isinstance(value, bool):
        return value
    if value is None or value == {}:
        return ""
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, dict):
        return yaml.safe_dump(value, default_flow_style=True, width=10_000).strip()
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return str(value)


def read(leaf: Leaf, state: Any) -> Any:
    """Return the value of a widget's state; text that means none is left for the model."""
    if not isinstance(state, str) or leaf.options is not None:
        return state
    text = state.strip()
    if get_origin(leaf.kind) is dict:
        return _mapping(text)
    if get_origin(leaf.kind) is tuple:
        return _several(text, whole=int in _flat(leaf.kind))
    if leaf.kind in (int, float):
        return _number(text, leaf.kind)
    return (text or None) if leaf.optional else text


def draw(
    leaf: Leaf,
    key: str,
    value: Any,
    problem: str = "",
    note: str = "",
    options: Sequence[str] | None = None,
    show: Callable[[str], str] = str,
    label: str | None = None,
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
        label: above the widget; None: the setting's name.
    """
    label, help_text = label or leaf.label, leaf.info.description
    choices = list(options if options is not None else leaf.options or ())
    many = get_origin(leaf.kind) is tuple and options is not None
    st.session_state.setdefault(key, list(value or ()) if many else shown(leaf, value))
    state = st.session_state[key]
    if many:
        choices = list(dict.fromkeys([*choices, *state]))
        st.multiselect(label, choices, key=key, help=help_text, format_func=show, wrap=True)
    elif choices:
        if state not in choices:
            choices = [*choices, state]  # stays visible, and is refused by the model
        st.selectbox(
            label,
            choices,
            key=key,
            help=help_text,
            format_func=lambda choice: "automatic" if choice is None else show(choice),
            accept_new_options=leaf.options is None,
        )
    elif leaf.kind is bool and isinstance(state, bool):
        st.toggle(label, key=key, help=help_text)
    else:
        empty = "automatic" if leaf.optional else None
        st.text_input(label, key=key, help=help_text, placeholder=empty)
    remark(problem, note)


def remark(problem: str = "", note: str = "") -> None:
    """Show what is wrong with a setting, or what to know about it, under its widget."""
    if problem:
        st.markdown(f":small[:red[:material/error: {escape(problem)}]]")
    elif note:
        st.caption(f":material/info: {escape(note)}")


def escape(text: str) -> str:
    """Return text that Markdown shows as it stands."""
    return re.sub(r"([\\`*_{}\[\]<>$~#|])", r"\\\1", text).replace(":", "\\:")


def _kind(annotation: Any) -> tuple[Any, bool]:
    """Return a field's type without `None`, and whether None is allowed."""
    arguments = get_args(annotation)
    if type(None) in arguments:
        return next(a for a in arguments if a is not type(None)), True
    return annotation, False


def _flat(kind: Any) -> tuple[Any, ...]:
    """Return the types an entry of a tuple can be, bounds left out."""
    entry = get_args(kind)[0]
    return (entry, *get_args(entry))


def _mapping(text: str) -> Any:
    """Return a mapping written as YAML on one line, or the text for the model to refuse."""
    if not text:
        return {}
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _several(text: str, whole: bool) -> list[Any]:
    """Return entries apart by spaces or commas; `0-4` stands for a range of whole numbers."""
    entries: list[Any] = []
    for entry in text.replace(",", " ").split():
        span = re.fullmatch(r"(\d+)(?:-|\.\.)(\d+)", entry)
        if whole and span and int(span[1]) <= int(span[2]) < int(span[1]) + 10_000:
            entries += range(int(span[1]), int(span[2]) + 1)
        else:
            entries.append(int(entry) if whole and entry.isdecimal() else entry)
    return entries


def _number(text: str, kind: type) -> Any:
    """Return a number, None for nothing, or the text itself for the model to refuse."""
    if not text:
        return None
    try:
        return kind(float(text)) if kind is int and float(text).is_integer() else kind(text)
    except (ValueError, OverflowError):
        return text
