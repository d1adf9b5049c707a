"""The frame of every page: title, theme, and one boundary so that nobody sees a traceback."""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import Callable
from functools import lru_cache

import streamlit as st
from streamlit.errors import StreamlitPageNotFoundError
from streamlit.runtime.pages_manager import PagesManager

from dtvg.errors import DtvgError
from dtvg.jobs import queue
from dtvg.ui import address, forms, people

log = logging.getLogger(__name__)


def is_dark() -> bool:
    """Whether the browser shows the dark theme."""
    return st.context.theme.type == "dark"


def page(title: str, subtitle: str, body: Callable[[], None]) -> None:
    """Draw a page: title, one line on what it is for, and its body behind a boundary.

    Args:
        title: the page's name.
        subtitle: one sentence.
        body: draws the rest; a `DtvgError` is shown as its sentence, anything unexpected as an
            apology with where the details are.
    """
    _through_the_app()
    people.gate()  # also where a page is opened without app.py
    with contextlib.suppress(DtvgError, OSError):
        queue.ensure()  # whatever page is opened first brings a killed queue back
    st.title(title, anchor=False)
    st.caption(subtitle)
    _unread()
    told = st.container()
    with address.of_page(title):
        if not guarded(body):
            address.leave()
        sentence = address.not_taken()
    if sentence:
        told.caption(f":material/search_off: {forms.escape(sentence)}")
    _keep_what_is_loaded(title)


@lru_cache(maxsize=64)
def _keep_what_is_loaded(title: str) -> None:
    """After a page's first drawing, let Python's collector leave alone what that brought.

    Modules and remembered tables are a million objects, and looking through them for garbage held
    every twentieth rerun up for 100 to 300 ms.
    """
    gc.freeze()


UNREAD = "unread-errors"


def say_until_read(error: Exception | str) -> None:
    """Show an error on top of every page until somebody says that it was read; ends this run.

    What a button's handler says would be gone with the next refresh, a second later.
    """
    said = st.session_state.setdefault(UNREAD, [])
    if str(error) not in said:
        said.append(str(error))
    st.rerun()


def _unread() -> None:
    """Draw the errors that were not read yet."""
    for at, sentence in enumerate(list(st.session_state.get(UNREAD, ()))):
        st.error(forms.escape(sentence), icon=":material/error:")
        st.button(
            "Read",
            key=f"read-{at}",
            type="tertiary",
            icon=":material/check:",
            on_click=lambda one=sentence: st.session_state[UNREAD].remove(one),
        )


def _through_the_app() -> None:
    """Run the page through app.py also where it is the first address a new server is asked for.

    Streamlit takes a folder `pages/` for its older kind of app, with file names for a menu,
    until app.py has run once.
    """
    if PagesManager.uses_pages_directory:
        PagesManager.uses_pages_directory = False
        st.rerun()


def guarded(body: Callable[[], None]) -> bool:
    """Run part of a page and return whether it was drawn to its end; see `page`."""
    try:
        body()
        return True
    except DtvgError as error:
        st.error(forms.escape(str(error)), icon=":material/error:")
    except Exception:  # noqa: BLE001 - the one boundary between code and a person
        log.exception("a page failed")
        st.error(
            "Something here did not work as it should. No recorded data is affected; the "
            "details are in the terminal where the app was started. Reload the page to try again.",
            icon=":material/error:",
        )
    return False


def link(name: str, label: str, **query: str) -> None:
    """Link to another page with its choices in the URL; nothing where a page runs alone.

    Args:
        name: the page's module name.
        label: what is read.
        **query: choices for the other page.
    """
    with contextlib.suppress(StreamlitPageNotFoundError):
        icon = ":material/arrow_forward:"  # tells a link from the text beside it
        st.page_link(f"pages/{name}.py", label=label, icon=icon, query_params=query)
