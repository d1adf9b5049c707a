"""What is wrong with a run's training and with its sources, in sentences on a page.

Must not import torch. docs/run_files.md "Health".
"""

from __future__ import annotations

import streamlit as st

from dtvg.analysis import titles
from dtvg.analysis.sources import source_sentences
from dtvg.store.health import health_of
from dtvg.store.reader import Run
from dtvg.ui import cache

ICON = ":material/health_and_safety:"


def of_run(run: Run) -> None:
    """Say that training does nothing, where it does not."""
    lines = [f"**{mark.kind.capitalize()}**: {mark.sentence}" for mark in health_of(run)]
    if lines:
        st.warning("  \n".join(lines), icon=ICON)


def of_sources(run: Run) -> None:
    """Name the sources that had learned nothing, and how far they count all the same."""
    found = source_sentences(cache.source_health(run)) if run.sources else []
    if found:
        said = titles.in_sentence("  \n".join(found), run.sources)
        st.warning(said, icon=":material/source:")


def badges(run: Run) -> str:
    """Return the marks of a run as badges in Markdown."""
    return " ".join(f":orange-badge[{mark.kind}]" for mark in health_of(run))
