"""What is chosen stands in the URL, as the value itself, so that an address reopens the view.

Streamlit's own binding writes what is read (a formatted label), which changes with a run's
state; here the value is written. The URL wins where it changed from outside (a link, a pasted
address, the back button), the session where it did not, and the last choice where one comes back
to a page. Constant defaults are not written, nor what another page wrote; a page's choices are
written together, as one entry of the browser's history. docs/overview.md "Addresses".

What one clicks while a page is being drawn comes with the URL of before. It counts all the same: a
part of a page that runs by itself never takes its choices from the URL, and a page that is
interrupted notes what it read there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import streamlit as st

T = TypeVar("T")
_UNSEEN = object()
_DRAFT, _USED, _PAGE = "address-draft", "address-used", "address-page"
_READ = "address-read"


@contextmanager
def of_page(name: str) -> Iterator[None]:
    """Gather what a page writes into its address, and write it once at the end.

    Args:
        name: the page's own; what the session noted of another page's address is forgotten.
    """
    state = st.session_state
    if state.get(_PAGE) != name:
        for key in [k for k in state if str(k).startswith(("url-", "absent-"))]:
            del state[key]
        state[_PAGE] = name
    state[_DRAFT], state[_USED], state[_READ] = {}, set(), set()
    try:
        yield
    except BaseException:  # the page is run again, or another one is
        for key in {*state.pop(_READ, ()), *state.pop(_DRAFT, ())}:
            state[f"url-{key}"] = st.query_params.get(key)
        raise
    draft, used = state.pop(_DRAFT), state.pop(_USED)
    if not any(str(key).startswith("absent-") for key in state):
        for key in [k for k in st.query_params if k not in used]:
            draft[key] = None
            state.pop(f"url-{key}", None)
    _write(draft)


def _write(changes: Mapping[str, str | None]) -> None:
    """Bring the URL in line with what is to stand in it, if it is not already."""
    now = {key: st.query_params.get_all(key)[-1] for key in st.query_params}
    wanted = {k: changes.get(k, text) for k, text in now.items()} | dict(changes)
    kept = {k: text for k, text in wanted.items() if text is not None}
    if kept != now:
        st.query_params.from_dict(kept)


def _noted() -> dict[str, str | None]:
    """Return what the session noted of the page's address."""
    noted = ((str(k), v) for k, v in st.session_state.items())
    return {k.removeprefix("url-"): v for k, v in noted if k.startswith("url-")}


def given(key: str) -> str | None:
    """Return what stands in the URL under `key`, or will after this run of the page."""
    state = st.session_state
    uses(key)
    if key in state.get(_DRAFT, {}):
        text: str | None = state[_DRAFT][key]
        return text
    return st.query_params.get(key)


def uses(key: str) -> None:
    """Say that a page reads `key` itself, so that it stays in its address."""
    if _USED in st.session_state:
        st.session_state[_USED].add(key)


def leave() -> None:
    """Leave the rest of the address as it is, where a page could not be drawn to its end."""
    for key in st.query_params:
        uses(key)


def put(key: str, text: str | None) -> None:
    """Let `text` stand in the URL under `key`; None: nothing."""
    uses(key)
    st.session_state[f"url-{key}"] = text
    if _DRAFT in st.session_state:
        st.session_state[_DRAFT][key] = text
    else:
        _write({**_noted(), key: text})  # part of a page that runs again by itself


def gathering() -> bool:
    """Whether the whole page runs now, not a part of it by itself."""
    return _DRAFT in st.session_state


def recall(key: str, parse: Callable[[str], T | None], default: T) -> T:
    """Return what was chosen under `key`, and put it into the widget's state.

    Args:
        key: name in the URL and of the widget.
        parse: reads a value from the URL's text; None where it means nothing any more.
        default: where nothing usable was chosen.
    """
    state = st.session_state
    text, before = given(key), state.get(f"url-{key}", _UNSEEN)
    if not gathering() and before is not _UNSEEN:
        text = before  # the URL may be that of before the page was drawn to its end
    value: T | None = None
    if before is not _UNSEEN and text is None and before is not None:
        value = default  # one went back to an address of before this choice
    elif text is not None and text != before:
        value = parse(text)
    elif key in state and state[key] is not None:
        value = parse(str(state[key]))
    if value is None and text is not None:
        value = parse(text)
    if value is None and f"last-{key}" in state:
        value = parse(str(state[f"last-{key}"]))
    if value is None:
        value = default
    state[key] = value
    if gathering():
        state[_READ].add(key)
    return value


def keep(key: str, value: object, default: object = None) -> None:
    """Write a choice into the URL, and remember it for the next visit of the page.

    Args:
        key: name in the URL.
        value: what is chosen.
        default: a value that need not be written, since an address without `key` means it.
    """
    text = str(value)
    put(key, None if default is not None and text == str(default) else text)
    st.session_state[f"last-{key}"] = text


def absent(key: str, options: Sequence[str], within: str = "") -> str | None:
    """Return what an address asks for although it is not there; None where all is well.

    The address stays as it is until something else is chosen.

    Args:
        key: name in the URL and of the widget.
        options: what is there.
        within: what the options depend on; where that is chosen anew, the default is meant.
    """
    state, noted = st.session_state, f"absent-{key}"
    text = given(key)
    if text is None or text in options:
        state.pop(noted, None)
        return None
    if state.get(key) in options and state.get(f"url-{key}") == text:
        state.pop(noted, None)  # something else was chosen
        return None
    told = state.get(noted)
    if told is None and within and state.get(f"url-{key}") == text:
        return None  # written here, for what was chosen before
    if told is not None and told != (text, within):
        state.pop(noted)
        if told[0] == text:
            return None
    state[noted] = (text, within)
    state[f"url-{key}"], state[key] = text, None
    return text


def unknown(key: str, options: Sequence[str]) -> str | None:
    """Return what an address newly asks for under `key` although it is no option; None: nothing."""
    text = given(key)
    if not gathering() or text is None or text in options:
        return None
    return None if text == st.session_state.get(f"url-{key}") else text


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
        return [n for n in listed(text) if n in options]

    return parse


def listed(text: str) -> list[str]:
    """Return the names of a comma-separated list, also as earlier versions wrote one."""
    names = text.strip("[]").replace("'", "").split(",")
    return [n.strip() for n in names if n.strip()]


def keep_several(key: str, values: Sequence[str], default: Sequence[str] | None = None) -> None:
    """Write a choice of several into the URL, comma-separated."""
    keep(key, ",".join(values), None if default is None else ",".join(default))
