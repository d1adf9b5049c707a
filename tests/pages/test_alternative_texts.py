"""What charts say to those who do not see them: values in words, on every page and view."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from dtvg.analysis.run.groups import group_info
from dtvg.analysis.subsets.beside import Beside, marks_of
from dtvg.config import RunConfig
from dtvg.figures.groups import combinations_figure, timeline_figure
from dtvg.figures.spoken import spoken
from dtvg.store.writer import RunWriter
from dtvg.tasks.families import demo
from dtvg.testing import made_runs
from tests.analysis.factory import config, find
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


def test_bars_that_are_longer_than_their_steps_say_how_many_these_are(tmp_path: Path) -> None:
    def rows(run: RunConfig, writer: RunWriter) -> None:
        rng = np.random.default_rng(0)
        grams = np.concatenate([made_runs.walking_grams(rng, 1, 4) for _ in range(4000)])
        made_runs.write_steps(writer, run, np.arange(1, 4001), grams)

    settings = config(methods=["dtvg"], targets=["lake"], seeds=[0])
    run = find(made_runs.write_experiment(tmp_path, settings, rows), "dtvg")
    info = group_info(run)
    assert not info.exact
    beside = Beside(marks_of(run).head(0), _agreement(), {"truth": frozenset({"amber"})})
    text = spoken(timeline_figure(info, beside=beside), "Membership")
    steps = dict(zip(info.sources, info.member.sum(axis=0), strict=True))
    assert all(f"{name}: {count:,} steps between " in text for name, count in steps.items())
    assert "truth: amber, mean overlap with the group 0.25." in text
    groups = spoken(combinations_figure(info), "Groups")
    first = info.combinations.iloc[0]
    assert f"{first['members']}: {first['steps']:,} steps between " in groups


def _agreement() -> pd.DataFrame:
    names = ["reference", "members", "first", "last", "steps", "overlap"]
    rows = [("truth", "amber", 1, 3000, 3000, 0.0), ("truth", "amber", 3001, 4000, 1000, 1.0)]
    return pd.DataFrame(rows, columns=names)
