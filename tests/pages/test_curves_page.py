"""The curves page lays runs over each other as its address says, and keeps named views."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dtvg.store import views
from tests.analysis.factory import config, find, record
from tests.pages.charts import charts

PAGE = Path(__file__).resolve().parents[2] / "pages" / "curves.py"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("curves-page")
    record(made / "runs", config(methods=["none", "dtvg"], targets=["lake"], seeds=[0, 1]))
    return made


def _draw(**query: str) -> AppTest:
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    for key, value in query.items():
        page.query_params[key] = value
    page.run()
    assert not page.exception and not page.error
    return page


def _traces(page: AppTest, at: int = 0) -> list[str]:
    return [trace["name"] for trace in charts(page)[at]["figure"]["data"]]


RUNS = "trial/lake.dtvg.s0,trial/lake.none.s0,trial/lake.dtvg.s1"


def test_runs_panels_and_baseline_of_an_address_are_drawn(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DTVG_HOME", str(home))
    page = _draw(
        runs=RUNS,
        off="trial/lake.dtvg.s1",
        panels="loss,grad_norm",
        baseline="trial/lake.none.s0",
        logx="True",
    )
    assert len(charts(page)) == 2
    assert _traces(page) == ["lake · DTVG · seed 0", "lake · No transfer · seed 0"]
    assert charts(page)[0]["figure"]["layout"]["xaxis"]["type"] == "log"
    colour = charts(page)[0]["figure"]["data"][1]["line"]["color"]
    alone = _draw(runs=RUNS, off="trial/lake.dtvg.s0,trial/lake.dtvg.s1", panels="loss")
    assert _traces(alone) == ["lake · No transfer · seed 0"]
    assert charts(alone)[0]["figure"]["data"][0]["line"]["color"] == colour
    gone = _draw(runs="trial/lake.dtvg.s0,other/x")
    assert any("other/x" in warning.value for warning in gone.warning)


def test_an_address_may_name_an_experiment_and_a_run_as_on_other_pages(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DTVG_HOME", str(home))
    page = _draw(experiment="demo-recorded", view="Side by side")
    assert page.multiselect(key="overlay-experiments").value == ["demo-recorded"]
    assert all(key.startswith("demo-recorded/") for key in page.multiselect(key="runs").value)
    assert {"runs", "view"} <= set(page.query_params) and "experiment" not in page.query_params
    one = _draw(experiment="trial", run="lake.none.s1")
    assert one.multiselect(key="runs").value == ["trial/lake.none.s1"]
    newest = _draw(run="lake.none.s1")
    assert newest.multiselect(key="runs").value == ["trial/lake.none.s1"]
    both = _draw(experiment="demo-recorded", runs="trial/lake.none.s1")
    assert both.multiselect(key="runs").value == ["trial/lake.none.s1"]


def test_an_experiment_or_run_of_an_address_that_is_gone_is_said_so(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DTVG_HOME", str(home))
    page = _draw(experiment="trail")
    assert any("no experiment 'trail' here" in w.value for w in page.warning)
    assert not charts(page) and page.query_params["experiment"] in ("trail", ["trail"])
    page.multiselect(key="overlay-experiments").set_value(["trial"]).run()
    assert not page.exception and not page.warning and charts(page)
    assert "experiment" not in page.query_params
    gone = _draw(experiment="trial", run="nope")
    assert any("not shown: trial/nope" in w.value for w in gone.warning)
    assert not charts(gone) and not gone.multiselect(key="runs").value


def test_a_panel_without_values_is_a_sentence(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTVG_HOME", str(home))
    page = _draw(runs="trial/lake.none.s0", panels="consistency")
    assert not charts(page)
    assert any("None of these runs has a value" in i.value for i in page.info)


def test_a_view_is_kept_and_opened_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTVG_HOME", str(home))
    page = _draw(
        runs=RUNS, off="trial/lake.dtvg.s1", panels="grad_norm", smooth="0.5", logy="grad_norm"
    )
    page.text_input(key="new-view").set_value("mine").run()
    next(b for b in page.button if b.label == "Save").click().run()
    assert not page.exception
    kept = views.read_views()["mine"]
    assert kept.runs == RUNS.split(",") and kept.hidden == ["trial/lake.dtvg.s1"]
    assert [(p.quantity, p.log) for p in kept.panels] == [("grad_norm", True)]
    again = _draw()
    again.selectbox(key="view-name").set_value("mine").run()
    next(b for b in again.button if b.label == "Open").click().run()
    assert not again.exception
    assert _traces(again) == ["lake · DTVG · seed 0", "lake · No transfer · seed 0"]
    assert charts(again)[0]["figure"]["layout"]["yaxis"]["type"] == "log"
    views.path().write_text("no json")
    assert any("is damaged" in w.value for w in _draw().warning)
    views.path().unlink()


def test_side_by_side_names_where_they_part(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dtvg.analysis.run.groups import group_info
    from dtvg.analysis.run.pair import pair_info
    from dtvg.store.reader import open_experiment

    monkeypatch.setenv("DTVG_HOME", str(home))
    made = open_experiment(home / "runs" / "trial")
    info = pair_info(*(group_info(find(made, "dtvg", seed=seed)) for seed in (0, 1)))
    page = _draw(view="Side by side", runs=RUNS)
    assert f"**{info.sentence}**" in [m.value for m in page.markdown]
    assert any(m.value.startswith(f"Step {info.first_parted:,}: they part") for m in page.markdown)
    one = _draw(view="Side by side", runs="trial/lake.dtvg.s0,trial/lake.none.s0")
    assert any("at least two runs" in i.value for i in one.info)
