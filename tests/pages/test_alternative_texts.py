"""What charts say to those who do not see them: values in words, on every page and view."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dtvg.tasks.families import demo
from tests.pages.charts import charts

PAGES = Path(__file__).resolve().parents[2] / "pages"
EXAMPLE = "demo-recorded"
SHORT = [("groups", "Combinations"), ("compare", "Subsets")]
LONG = [
    ("overview", ""),
    *(("groups", v) for v in ("Timeline", "Weights", "Seeds", "Vectors", "Scales")),
    ("explain", ""),
    *(("compare", v) for v in ("Scores", "Verdicts", "Claims", "Curves", "Transfer")),
    *(("compare", v) for v in ("Who helped", "Examples", "Cost")),
    ("curves", ""),
    ("curves", "Side by side"),
    ("run", ""),
    ("live", ""),
    ("tasks", ""),
]


def _told(page: str, view: str) -> list[str]:
    app = AppTest.from_file(str(PAGES / f"{page}.py"), default_timeout=120)
    app.query_params["experiment"] = EXAMPLE
    if view:
        app.query_params["view"] = view
    if page == "overview":
        app.query_params["level"] = "Settings"
    if page == "tasks":
        app.query_params["task"] = "film-mood"
    app.run()
    assert not app.exception
    return [chart["alt"] for chart in charts(app)]


def _check(page: str, view: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTVG_HOME", str(home))
    told = _told(page, view)
    assert told
    for text in told:
        what, _, values = text.partition(". ")
        assert re.search(r"\d", values), f"no value: {text}"
        assert not re.search(r"[<>`]|\*\*|\b1 steps|nan", text), text
        named = [name for name in (*demo.SOURCES, *demo.TARGETS) if name in text]
        assert not named, f"ids: {text}"


@pytest.mark.parametrize(("page", "view"), SHORT)
def test_charts_say_their_values(
    page: str, view: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _check(page, view, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(("page", "view"), LONG)
def test_every_chart_says_its_values(
    page: str, view: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _check(page, view, tmp_path, monkeypatch)
