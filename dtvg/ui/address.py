"""What is chosen stands in the URL, as the value itself, so that an address reopens the view.

Streamlit's own binding writes what is read (a formatted label), which changes with a run's
state; here the value is written. The URL wins where it changed from outside (a link, a pasted
address, the back button), the session where it did not, and the last choice where one comes back
to a page. Constant defaults are not written, nor what another page wrote; a page's choices are
written together, as one entry of the browser's history. docs/overview.md "Addresses".

What one clicks while a page is being drawn comes with the URL of before. It counts all the same: a
part of a page that runs by itself never takes its choices from the URL, and a page that is
interrupted notes what it read there.

What an address asks for and no choice can be is told, never dropped in silence: `recall` notes it,
a page says it once (`dtvg/ui/page.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import streamlit as st

from dtvg.errors import nearest

T = TypeVar("T")
_UNSEEN = object()
_DRAFT, _USED, _PAGE = "address-draft", "address-used", "address-page"
_READ, _TOLD, _CARRIED = "address-read", "address-told", "address-carried"


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
        state.pop(_CARRIED, None)
    state[_DRAFT], state[_USED], state[_READ] = {}, set(), set()
    state[_TOLD] = state.pop(_CARRIED, {})
    try:
        yield
    except BaseException:  # the page is run again, or another one is
        for key in {*state.pop(_READ, ()), *state.pop(_DRAFT, ())}:
            state[f"url-{key}"] = st.query_params.get(key)
        state[_CARRIED] = state.get(_TOLD, {})
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


def note(key: str, asked: str, allowed: str, shown: str) -> None:
    """Note what an address asks for and does not get; the page says it, see `not_taken`.

    Args:
        key: name in the URL.
        asked: the part of its text that is not taken.
        allowed: what the key takes, as a sentence without its verb; empty: not said.
        shown: what is shown in its place; empty: nothing is.
    """
    if gathering() and asked.strip():
        takes = f" Allowed: {allowed}" if allowed else ""
        instead = f"shown instead: {_short(shown, 200)}" if shown else "it is left out"
        st.session_state[_TOLD][key] = (
            f"The address asks for {key}={_short(asked)}, which cannot be taken; {instead}.{takes}"
        )


def not_taken() -> str:
    """Return what addresses asked for in vain, in whole sentences; empty: all was taken."""
    return " ".join(st.session_state.pop(_TOLD, {}).values())


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def recall(
    key: str,
    parse: Callable[[str], T | None],
    default: T,
    show: Callable[[T], str] | None = None,
    told: bool = False,
) -> T:
    """Return what was chosen under `key`, and put it into the widget's state.

    Args:
        key: name in the URL and of the widget.
        parse: reads a value from the URL's text; None where it means nothing any more.
        default: where nothing usable was chosen.
        show: turns a value into what is read.
        told: whether the page says by itself what of an address is not there.
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
        refused = _refused(parse, text, value)
        if refused and not told:
            got = default if value is None else value
            note(key, refused, _allowed(parse, refused), show(got) if show else _shown(got))
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


@dataclass(frozen=True)
class Parser(Generic[T]):
    """Reads a choice from an address's text, and knows what it takes."""

    read: Callable[[str], T | None]
    """None: the text means nothing."""
    allowed: str
    """In words."""
    refuses: Callable[[str], str]
    """What of a text that means something is not taken; empty: all is."""
    options: Sequence[str] = ()
    """What can be chosen, where that is known by name."""

    def __call__(self, text: str) -> T | None:
        """Return what a text means; None: nothing."""
        return self.read(text)


def _refused(parse: Callable[[str], Any], text: str, value: object) -> str:
    """Return what of a text is not taken."""
    if isinstance(parse, Parser):
        return str(parse.refuses(text))
    return text if value is None else ""


def _allowed(parse: Callable[[str], Any], refused: str) -> str:
    """Return in words what a parser takes, with the nearest option."""
    if not isinstance(parse, Parser):
        return ""
    near = nearest(refused, parse.options)
    return f"{parse.allowed}. Did you mean {near}?" if near else f"{parse.allowed}."


def _shown(value: object) -> str:
    """Return a value as it would stand in an address."""
    if isinstance(value, list):
        return _few(value) or "nothing"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _few(names: Sequence[str], most: int = 8) -> str:
    """Return the first of several names."""
    more = f", … ({len(names):,} in all)" if len(names) > most else ""
    return ", ".join(map(_short, names[:most])) + more


def one_of(options: Sequence[str]) -> Parser[str]:
    """Return a parser that accepts only these options."""

    def refuses(text: str) -> str:
        return "" if text in options else text

    return Parser(lambda text: text if text in options else None, _few(options), refuses, options)


def whole(low: int, high: int) -> Parser[int]:
    """Return a parser of whole numbers, moved into [low, high]."""

    def parse(text: str) -> int | None:
        try:
            return min(max(int(text), low), high)
        except ValueError:
            return None

    def refuses(text: str) -> str:
        value = parse(text)
        return "" if value is not None and value == int(text) else text

    return Parser(parse, f"a whole number from {low:,} to {high:,}", refuses)


def _truth(text: str) -> bool | None:
    return {"True": True, "False": False}.get(text)


truth = Parser(_truth, "True or False", lambda text: "" if _truth(text) is not None else text)
"""Reads a switch."""


def number(low: float | None = None, high: float | None = None) -> Parser[float]:
    """Return a parser of finite numbers, moved up to `low` and down to `high`."""

    def parse(text: str) -> float | None:
        try:
            value = float(text)
        except ValueError:
            return None
        if value != value or abs(value) == float("inf"):
            return None
        value = value if low is None else max(value, low)
        return value if high is None else min(value, high)

    def refuses(text: str) -> str:
        value = parse(text)
        return "" if value is not None and value == float(text) else text

    least = "" if low is None else f" of at least {low:g}"
    most = "" if high is None else f"{' and' if least else ' of'} at most {high:g}"
    return Parser(parse, f"a number{least}{most}", refuses)


def several(options: Sequence[str], most: int | None = None) -> Parser[list[str]]:
    """Return a parser of comma-separated options, each once; unknown ones are dropped.

    Where a text names only unknown ones it means nothing.

    Args:
        options: what can be chosen.
        most: how many at most; the first are taken.
    """

    def parse(text: str) -> list[str] | None:
        named = listed(text)
        found = [n for n in named if n in options][:most]
        return found if found or not named else None

    def refuses(text: str) -> str:
        taken = parse(text) or ()
        return ",".join(n for n in listed(text) if n not in taken)

    limit = "" if most is None else f"at most {most:,} of "
    return Parser(parse, f"{limit}{_few(options)}", refuses, options)


def listed(text: str) -> list[str]:
    """Return the names of a comma-separated list, each once; also as earlier versions wrote one."""
    names = text.strip("[]").replace("'", "").split(",")
    return list(dict.fromkeys(n.strip() for n in names if n.strip()))


def keep_several(key: str, values: Sequence[str], default: Sequence[str] | None = None) -> None:
    """Write a choice of several into the URL, comma-separated."""
    keep(key, ",".join(values), None if default is None else ",".join(default))
