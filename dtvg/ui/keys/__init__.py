"""Keys that work on every page: `/` searches, `V` compares. docs/overview.md "Keys"."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from streamlit.components.v2 import component

_JS = Path(__file__).with_name("keys.js").read_text(encoding="utf-8")
_mount = component("dtvg_keys", js=_JS, html="")


def listen() -> None:
    """Listen to keys for as long as the page is open; it draws nothing."""
    with st.sidebar:
        _mount(key="keys", height=0)
