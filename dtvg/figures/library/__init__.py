"""The JavaScript that draws our figures in a browser: plotly.js with the traces that they use.

The whole library is 4.8 MB and a browser needs most of a second to start it; the part that our
figures use is 1.4 MB and takes a sixth of that. `tools/plotly_library.mjs` makes it. It draws
figures of the version of plotly.js that it was made from; with any other the installed package's
whole library is taken.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

TRACES = ("bar", "heatmap", "sankey", "scatter")
"""The kinds of traces that it can draw; a figure of another kind belongs in this list first."""
OPTIONS: dict[str, Any] = {
    "displaylogo": False,
    "showSendToCloud": False,
    "modeBarButtonsToRemove": ["sendChartToCloud"],
    "plotlyServerURL": "",
}
"""Plotly's configuration of every figure: nothing of it is sent to another machine."""
_HEAD = 200
"""Bytes within which the library names its version."""


@lru_cache(maxsize=1)
def path() -> Path:
    """Return the library's file: ours, or the installed package's where versions differ."""
    import plotly

    own = Path(__file__).with_name("plotly.min.js")
    whole = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    return own if version(own) == version(whole) else whole


def version(file: Path) -> str:
    """Return which plotly.js a file is, e.g. "v4.1.1"; "" if it does not say.

    A file that is not there says nothing.
    """
    try:
        with file.open(encoding="utf-8") as text:
            words = text.read(_HEAD).split()
    except OSError:
        return ""
    return words[words.index("plotly.js") + 1] if "plotly.js" in words[:-1] else ""


__all__ = ["OPTIONS", "TRACES", "path", "version"]
