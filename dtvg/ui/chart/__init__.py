"""A Plotly chart that is updated in place: what a reader zoomed, moved or hid stays as it is.

Streamlit's own chart is mounted anew whenever its figure changes. This one keeps its element and
calls `Plotly.react`, which respects `uirevision`. Plotly's JavaScript (`dtvg.figures.library`) is
served by the app itself. Start reading with `chart`; `chart.js` is the other half. Imports nothing
else of the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly
import plotly.graph_objects as go
import plotly.io
from streamlit.components.v2 import component, get_bidi_component_manager
from streamlit.components.v2.manifest_scanner import ComponentConfig, ComponentManifest

from dtvg.figures import library

_LIBRARY = "dtvg_plotly.library"
_LIBRARY_PATH = f"_stcore/bidi-components/{_LIBRARY}/plotly.min.js"
_JS = Path(__file__).with_name("chart.js").read_text(encoding="utf-8")
_CSS = """
.dtvg-chart { width: 100%; }
.dtvg-chart:fullscreen { background: var(--st-background-color); }
"""

_mount = component("dtvg_chart", js=_JS, css=_CSS, isolate_styles=False)


@dataclass(frozen=True)
class Click:
    """The point that was clicked, in the chart's own units."""

    x: Any
    y: Any
    custom: Any
    at: Any = None
    """Where on the horizontal axis the pointer was, e.g. within a bar; None: not told."""


def chart(
    figure: go.Figure,
    key: str,
    alt: str,
    config: dict[str, Any] | None = None,
    clicks: bool = False,
    link: str = "",
) -> Click | None:
    """Show a figure.

    Args:
        figure: what is drawn; its `uirevision` says how long a reader's choices are kept.
        key: stable while the figure shows the same thing.
        alt: what the figure shows, for those who do not see it.
        config: Plotly's configuration where it differs from `library.OPTIONS`.
        clicks: whether a click on a point reruns the page.
        link: charts of one name share their horizontal range and what is hovered.

    Returns:
        The point that was clicked just now, else None.
    """
    _serve_library()
    data = {
        "figure": plotly.io.to_json(figure, validate=False),
        "config": library.OPTIONS | (config or {}),
        "alt": alt,
        "clicks": clicks,
        "link": link,
        "library": _LIBRARY_PATH,
    }
    heard = _mount(key=_speakable(key), data=data, on_clicked_change=_nothing)
    clicked = getattr(heard, "clicked", None)
    if not clicked:
        return None
    return Click(clicked["x"], clicked["y"], clicked["custom"], clicked.get("at"))


def _speakable(key: str) -> str:
    """Return a key, another one for each, that Streamlit takes: it reserves `__` for itself."""
    return key.replace("_", "_-")


def _nothing() -> None:
    """A trigger needs a callback to be heard; the value itself is what counts."""


def _serve_library() -> None:
    """Let the app serve plotly's JavaScript, once per server."""
    manager = get_bidi_component_manager()
    if manager.get(_LIBRARY) is not None:
        return
    package, name = _LIBRARY.split(".")
    place = library.path().parent
    manifest = ComponentManifest(
        name=package,
        version=plotly.__version__,
        components=[ComponentConfig(name=name, asset_dir=place.name)],
    )
    manager.register_from_manifest(manifest, place.parent)


__all__ = ["Click", "chart"]
