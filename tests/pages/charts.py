"""The charts of a page under test, as the browser would get them."""

from __future__ import annotations

import json
from typing import Any

from streamlit.testing.v1 import AppTest


def charts(app: AppTest) -> list[dict[str, Any]]:
    """Return what each chart was given: its figure as Plotly's JSON, its text, its options."""
    found = [json.loads(e.proto.json) for e in app.get("bidi_component")]
    return [{**data, "figure": json.loads(data["figure"])} for data in found]
