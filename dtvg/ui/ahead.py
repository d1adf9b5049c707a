"""What pages need is loaded while the first one is read, so that none of them loads it.

Loading the statistics libraries takes a second or two, once in a server's life; without this the
first look at Compare waits for it.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
import time
from functools import lru_cache

WAIT_SECONDS = 0.5
"""The first page is sent to the browser before."""
MODULES = (
    "plotly.graph_objects",
    "dtvg.ui.compare.views",
    "pandas.io.formats.style",
    "scipy.stats",
    "statsmodels.stats.meta_analysis",
    "dtvg.analysis.claims.info",
    "dtvg.analysis.overview.table",
    "dtvg.ui.groups",
    "dtvg.ui.scrubber",
    "dtvg.ui.curves",
    "dtvg.ui.live",
    "dtvg.ui.run",
    "dtvg.ui.launch.form",
    "dtvg.ui.prompts",
)
"""In the order in which a reader is likely to need them."""


@lru_cache(maxsize=1)
def load() -> threading.Thread:
    """Start loading, once per server; nothing waits for it, what fails is loaded when needed."""
    thread = threading.Thread(target=_load, name="ahead", daemon=True)
    thread.start()
    return thread


def _load() -> None:
    time.sleep(WAIT_SECONDS)
    for name in MODULES:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    with contextlib.suppress(Exception):  # Streamlit's own: what a pattern of all emoji costs
        from streamlit.string_util import extract_leading_emoji

        extract_leading_emoji("±")


__all__ = ["MODULES", "load"]
