"""What is chosen stands in the URL, as the value itself, so that an address reopens the view.

Streamlit's own binding writes what is read (a formatted label), which changes with a run's
state; here the value is written. The URL wins where it changed from outside (a link, a pasted
address), the session where it did not, and the last choice where one comes back to a page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import streamlit as st

T = TypeVar("T")


def recall(key: str, parse: Callable[[str], T | None], default: T) -> T:
    """Return what was chosen under `key`, and put it into the widget's state.

    Args:
        key: name in the URL and of the widget.
        parse: reads a value from the URL's text; None where it means nothing any more.
        default: where nothing usable was chosen.
    """
    given = st.query_params.get(key)
    value: T | None = None
    if given is not None and given != st.session_state.get(f"url-{key}"):
        value = parse(given)
    elif key in st.session_state and st.session_state[key] is not None:
        value = parse(str(st.session_state[key]))
    if value is None and given is not None:
        value = parse(given)
    if value is None and f"last-{key}" in st.session_state:
        value = parse(str(st.session_state[f"last-{key}"]))
    if value is None:
        value = default
    st.session_state[key] = value
    return value


def keep(key: str, value: object) -> None:
    """Write a choice into the URL, and remember it for the next visit of the page."""
    text = str(value)
    if st.query_params.get(key) != text:
        st.query_params[key] = text
    st.session_state[f"url-{key}"] = text
    st.session_state[f"last-{key}"] = text


def one_of(options: Sequence[str]) -> Callable[[str], str | None]:
    """Return a parser that accepts only these options."""
    return lambda text: text if text in options else None


def whole(low: int, high: int) -> Callable[[str], int | None]:
    """Return a parser of whole numbers, moved into [low, high]."""

    def parse(text: str) -> int | None:
        try:
            return min(max(int(text), low), high)
        except ValueError:
            return None

    return parse


def truth(text: str) -> bool | None:
    """Read a switch."""
    return {"True": True, "False": False}.get(text)


def number(low: float | None = None) -> Callable[[str], float | None]:
    """Return a parser of finite numbers, moved up to `low`."""

    def parse(text: str) -> float | None:
        try:
            value = float(text)
        except ValueError:
            return None
        if value != value or abs(value) == float("inf"):
            return None
        return value if low is None else max(value, low)

    return parse


def several(options: Sequence[str]) -> Callable[[str], list[str] | None]:
    """Return a parser of comma-separated options; unknown ones are dropped."""

    def parse(text: str) -> list[str] | None:
        names = text.strip("[]").replace("'", "").split(",")
        return [n.strip() for n in names if n.strip() in options]

    return parse


def keep_several(key: str, values: Sequence[str]) -> None:
    """Write a choice of several into the URL, comma-separated."""
    keep(key, ",".join(values))
