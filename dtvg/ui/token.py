"""The token of `dtvg app --token`: other accounts of this machine reach the port, not the pages.

docs/server.md "A machine with other accounts".
"""

from __future__ import annotations

import hmac
import os

import streamlit as st

TOKEN = "DTVG_TOKEN"
"""Variable with the token that a browser has to give once per tab; empty: none."""
_HELD = "token_given"


def is_missing() -> bool:
    """Whether a token is asked for that this tab has not given, in its address or by hand."""
    wanted = os.environ.get(TOKEN, "")
    if not wanted:
        return False
    given = st.query_params.get("token")
    if given is not None:
        del st.query_params["token"]  # neither links nor screenshots carry it
        _take(given)
    return not _same(str(st.session_state.get(_HELD, "")))


def ask() -> None:
    """Ask for the token."""
    with st.form("token", border=False):
        given = st.text_input("Token", type="password", help="`dtvg app --token` printed it.")
        if st.form_submit_button("Open", type="primary"):
            _take(given.strip())
            if _same(given.strip()):
                st.rerun()
            st.error("This is not the token that `dtvg app --token` printed.")


def _take(given: str) -> None:
    if _same(given):
        st.session_state[_HELD] = given


def _same(given: str) -> bool:
    return hmac.compare_digest(given.encode(), os.environ.get(TOKEN, "").encode())
