"""Widgets made from the configuration model: help, bounds and defaults are the fields' own."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

import streamlit as st
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo


def section(model: type[BaseModel], values: dict[str, Any], key: str) -> dict[str, Any]:
    """Draw one widget per field of a section of the configuration.

    Args:
        model: the section's class.
        values: what the widgets start with.
        key: prefix of the widgets' keys.

    Returns:
        What was entered, by field.
    """
    entered = {}
    columns = st.columns(3)
    for place, (name, field) in enumerate(model.model_fields.items()):
        with columns[place % 3]:
            entered[name] = _widget(name, field, values.get(name), f"{key}.{name}")
    return entered


def _widget(name: str, field: FieldInfo, value: Any, key: str) -> Any:
    """Draw the widget that fits a field's type."""
    kind, optional = _kind(field.annotation)
    label = name.replace("_", " ").capitalize()
    help_text = field.description
    if get_origin(kind) is Literal:
        options = list(get_args(kind))
        return st.selectbox(label, options, options.index(value), key=key, help=help_text)
    if get_origin(kind) is dict:
        return _mapping(label, value, key, help_text)
    if kind in (int, float):
        text = "" if value is None else f"{value:g}" if kind is float else str(value)
        given = st.text_input(
            label,
            text,
            key=key,
            help=help_text,
            placeholder="empty: automatic" if optional else None,
        )
        return _number(given, kind)
    given = st.text_input(label, "" if value is None else str(value), key=key, help=help_text)
    return given.strip() or None if optional else given.strip()


def _mapping(label: str, value: Any, key: str, help_text: str | None) -> Any:
    """Draw a line of YAML for a mapping; return it, or the text itself for the model to refuse."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000) if value else ""
    given = st.text_input(label, text.strip(), key=key, help=help_text, placeholder="empty: none")
    try:
        return yaml.safe_load(given) if given.strip() else {}
    except yaml.YAMLError:
        return given


def _kind(annotation: Any) -> tuple[Any, bool]:
    """Return a field's type without `None`, and whether None is allowed."""
    arguments = get_args(annotation)
    if type(None) in arguments:
        return next(a for a in arguments if a is not type(None)), True
    return annotation, False


def _number(text: str, kind: type) -> Any:
    """Return a number, None for nothing, or the text itself for the model to refuse."""
    text = text.strip()
    if not text:
        return None
    try:
        return kind(float(text)) if kind is int and float(text).is_integer() else kind(text)
    except ValueError:
        return text
