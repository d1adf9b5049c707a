"""The run page says of a run what its files say, unusual settings first."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dtvg.analysis.run import about as about_module
from dtvg.analysis.run.about import about, files_of
from dtvg.figures.run import result_figure
from dtvg.plan import plan
from dtvg.records import TABLES
from dtvg.store.reader import Run
from dtvg.ui import show
from tests.analysis.factory import config, find, record

PAGE = Path(__file__).resolve().parents[2] / "pages" / "run.py"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run, tuple[Run, ...]]:
    home = tmp_path_factory.mktemp("run-page")
    made = record(home / "runs", config(methods=["none", "dtvg"], targets=["lake"], seeds=[0]))
    return home, find(made, "dtvg"), made.runs


def test_unusual_settings_come_first_and_are_those_that_differ(runs) -> None:
    _, run, everyone = runs
    info = about(run, everyone)
    unusual = info.unusual
    assert len(unusual) and info.settings["differs"].tolist() == sorted(
        info.settings["differs"], reverse=True
    )
    assert (unusual["value"] != unusual["usual"]).all()
    same = info.settings[~info.settings["differs"]]
    assert (same["value"] == same["usual"]).all()
    assert {"optim.steps", "method.rule", "device.name"} <= set(info.settings["setting"])


def test_the_result_is_measured_by_the_run_without_transfer(runs) -> None:
    _, run, everyone = runs
    alone = find(type("E", (), {"runs": everyone})(), "none")
    info = about(run, everyone)
    assert info.reference.no_transfer == alone.test_score and info.reference.method == "none"
    assert f"{100 * run.test_score:.1f} %" in info.sentence
    assert f"{100 * alone.test_score:.1f} %" in info.sentence
    assert "points" not in about(alone, everyone).sentence  # not measured by itself


def test_the_name_of_a_variant_without_transfer_keeps_its_hyphens(runs) -> None:
    _, run, everyone = runs
    alone = find(type("E", (), {"runs": everyone})(), "none")
    assert run.result is not None
    said = about(replace(run, result=replace(run.result, test_score=0.1)), [alone]).sentence
    assert "points" in said and ": −" in said
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(about_module, "of_no_transfer", lambda *_: (0.9, "none-lr1e-05"))
        assert "(`none-lr1e-05`, mean over its seeds) it is 90.0 %: −" in about(run).sentence


def test_a_score_that_is_its_only_metric_stands_there_once(runs) -> None:
    _, run, everyone = runs
    for metrics, shown in (
        ({"accuracy": 0.9, "score": 0.9}, ["accuracy"]),
        ({"score": 0.9}, ["score"]),
        ({"f1": 0.8, "accuracy": 1.0, "score": 0.9}, ["f1", "accuracy", "score"]),
    ):
        one = replace(run, result=replace(run.result, metrics=metrics))
        assert about(one, everyone).scores["metric"].tolist() == shown


def test_who_points_at_a_score_reads_an_interval_only_where_there_is_one(runs) -> None:
    _, run, everyone = runs
    for intervals, told in (
        ({}, "94.2%"),
        ({"score": [0.9, 0.98]}, "94.2%<br>95 % interval 90.0% to 98.0%"),
    ):
        result = replace(run.result, metrics={"score": 0.9425}, intervals=intervals)
        drawn = result_figure(about(replace(run, result=result), everyone)).data[0]
        assert [str(one) for one in drawn.customdata] == [told]


def test_the_page_shows_result_settings_events_and_files(
    runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, run, everyone = runs
    monkeypatch.setenv("DTVG_HOME", str(home))
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    page.query_params["experiment"], page.query_params["run"] = run.experiment, run.name
    page.run()
    assert not page.exception and not page.error
    assert about(run, everyone).sentence in [m.value for m in page.markdown]
    tables = [d.value for d in page.dataframe]
    assert any("usual" in t.columns for t in tables)
    (files,) = [t for t in tables if "file" in t.columns]
    assert files["file"].tolist() == files_of(run)["file"].tolist()
    assert "config.yaml" in set(files["file"]) and all(files["what"])
    assert any("Not recorded" in c.value for c in page.caption)  # of before usage was noted


def test_every_table_of_a_run_is_named_among_its_files() -> None:
    assert set(TABLES) <= set(about_module.TABLE_FILES)


def test_what_happened_is_read_whole(own_home: Path) -> None:
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    page.query_params["experiment"] = "demo-recorded"
    page.query_params["run"] = "trip-mood.dtvg.s0"
    page.run()
    assert not page.exception and not page.error
    (events,) = [d for d in page.dataframe if "what happened" in d.value.columns]
    assert events.value.columns[-1] == "what happened"
    told = json.loads(events.proto.columns).items()
    widths = {name: one["width"] for name, one in told if "width" in one}
    assert "what happened" not in widths and max(widths.values()) < 200  # it has the rest
    assert events.proto.row_height == show.row_height(events.value["what happened"]) > 35


@pytest.mark.parametrize("page", ["run", "live", "groups", "explain", "curves"])
def test_a_run_of_stage_one_can_be_looked_at(page: str, own_home: Path) -> None:
    settings = config(methods=["none", "dtvg"], targets=["lake"], seeds=[0])
    (first, *_) = plan(settings).stage_one[0].runs
    record(own_home / "runs", settings, extra=[first])
    shown = AppTest.from_file(str(PAGE.with_name(f"{page}.py")), default_timeout=60)
    shown.query_params["experiment"], shown.query_params["run"] = settings.name, first.name
    shown.run()
    assert not shown.exception and not [e.value for e in shown.error]
