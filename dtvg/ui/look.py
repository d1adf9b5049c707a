"""The app's style sheet: contrast, focus, reduced motion, phones and wide screens.

What Streamlit's themes cannot say. `sheet` is drawn once by app.py; `folding`, `side_by_side` and
the like mark what the sheet lays out differently on a phone and from 1,600 px on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape

import streamlit as st

PHONE = 640
"""Pixels up to which a screen counts as a phone's, as Streamlit's own columns do."""
WIDE = 1600
"""Pixels from which charts stand in two columns."""
BOXES = ("experiment", "run", "second", "a", "b")
"""Choices whose long names need a phone's whole width; see `runs.choose` for their keys."""
MUTED = {False: "#52606D", True: "#A9B4C0"}
"""Of captions, light and dark: at least 4.5 to 1 on page, panel and sidebar."""
FOCUS = {False: "#0B6E99", True: "#8CCDF2"}
ON_PRIMARY = {False: "#FFFFFF", True: "#12171E"}
"""Of text on the theme's primary colour; white on the dark theme's would be 2.4 to 1."""
TOKENS = {
    "key": "#A8480A",
    "number": "#0F6E62",
    "string": "#1B7340",
    "important": "#B3261E",
    "punctuation": "#52606D",
    "comment": "#52606D",
}
"""Colours of YAML on the light theme's paper, each above 5 to 1; the dark theme's own suffice."""

_ALWAYS = """
.stMainBlockContainer { padding-top: 1rem; padding-bottom: 3rem; }
.stMainBlockContainer h1 { padding: 0.25rem 0; }
[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] code { opacity: 1; }
[data-testid="stCaptionContainer"] { color: %(muted)s; }
button kbd { color: %(muted)s !important; opacity: 1 !important; }
[data-testid="stSidebar"] [data-stale="true"] { opacity: 1; }
[data-tag], [data-tag] *, [data-testid^="stBaseButton-primary"]:not(:disabled),
[data-testid^="stBaseButton-primary"]:not(:disabled) * { color: %(on_primary)s; }
[data-testid^="stBaseButton"]:disabled, [data-testid^="stBaseButton"]:disabled * {
  color: %(muted)s;
}
:focus-visible { outline: 2px solid %(focus)s !important; outline-offset: 2px; }
[data-testid="stFileUploaderDropzoneInstructions"] * { white-space: normal; }
.dtvg-fold { display: flex; gap: 0.5rem; align-items: center; min-height: 2.75rem; }
.dtvg-fold input { width: 1.1rem; height: 1.1rem; }
@media (min-width: %(above_phone)spx) {
  [data-testid="stElementContainer"]:has(.dtvg-fold) { display: none; }
}
@media (max-width: %(phone)spx) {
  .stMainBlockContainer { padding: 3.25rem 1rem 2rem; }
  .stMainBlockContainer h1 { font-size: 1.75rem; }
  [class*="st-key-folded-"] { display: none; }
  [class*="st-key-foldable-"]:has(.dtvg-fold input:checked) [class*="st-key-folded-"] {
    display: flex;
  }
  [data-testid="stColumn"]:has([data-testid="stMetric"]) {
    min-width: calc(50%% - 1rem); flex: 1 1 calc(50%% - 1rem);
  }
  [data-testid="stMetricValue"] { font-size: 1.25rem; }
  .stHorizontalBlock > :is(%(boxes)s) { flex: 1 1 100%%; min-width: 100%%; }
  [class*="st-key-first-on-phones-"],
  [data-testid="stLayoutWrapper"]:has(> [class*="st-key-first-on-phones-"]) { order: -1; }
  .st-key-later-on-phones, [data-testid="stLayoutWrapper"]:has(> .st-key-later-on-phones) {
    order: 9;
  }
}
@media (min-width: %(wide)spx) {
  [class*="st-key-wide-"] {
    display: grid; grid-template-columns: repeat(2, minmax(0, 1fr));
    column-gap: 2.5rem; align-items: start;
  }
  [class*="st-key-wide-"] > :last-child:nth-child(odd) { grid-column: 1 / -1; }
}
@media (prefers-reduced-motion: reduce) {
  *, *::before, *::after {
    animation-duration: 0.01ms !important; animation-iteration-count: 1 !important;
    transition-duration: 0.01ms !important; scroll-behavior: auto !important;
  }
}
"""


def sheet(dark: bool) -> str:
    """Return the style sheet of the light or the dark theme as an HTML element."""
    rules = _ALWAYS % {
        "muted": MUTED[dark],
        "on_primary": ON_PRIMARY[dark],
        "focus": FOCUS[dark],
        "phone": PHONE,
        "above_phone": PHONE + 1,
        "wide": WIDE,
        "boxes": ", ".join(f".st-key-{key}" for key in BOXES),
    }
    if not dark:
        rules += "".join(
            f'[data-testid="stCode"] .token.{kind} {{ color: {ink} !important; }}\n'
            for kind, ink in TOKENS.items()
        )
    return f"<style>{rules}</style>"


@contextmanager
def folding(label: str, key: str) -> Iterator[None]:
    """Fold what is drawn within away on a phone, behind a box to tick; elsewhere it stands open.

    The browser alone opens it: the page does not run again.

    Args:
        label: what is folded away.
        key: the page's own for it.
    """
    with st.container(key=f"foldable-{key}"):
        st.html(f'<label class="dtvg-fold"><input type="checkbox"> {escape(label)}</label>')
        with st.container(key=f"folded-{key}"):
            yield


@contextmanager
def side_by_side(key: str) -> Iterator[None]:
    """Lay out containers drawn within in two columns on a wide screen, below each other else.

    The last of an odd number is as wide as both.
    """
    with st.container(key=f"wide-{key}"):
        yield


@contextmanager
def first_on_phones(key: str) -> Iterator[None]:
    """Draw here, but before what stands beside it on a phone.

    Args:
        key: the page's own for it.
    """
    with st.container(key=f"first-on-phones-{key}"):
        yield


@contextmanager
def later_on_phones() -> Iterator[None]:
    """Draw here, but after the rest of the page on a phone, where the first chart comes first."""
    with st.container(key="later-on-phones"):
        yield


__all__ = [
    "BOXES",
    "FOCUS",
    "MUTED",
    "ON_PRIMARY",
    "PHONE",
    "TOKENS",
    "WIDE",
    "first_on_phones",
    "folding",
    "later_on_phones",
    "sheet",
    "side_by_side",
]
