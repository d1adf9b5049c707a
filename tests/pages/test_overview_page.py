"""The overview: filter, levels, columns, tags, tour, many runs; every choice in the URL."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from benchmarks import make_store
from dtvg.analysis.overview import learned
from dtvg.analysis.overview import table as overview
from dtvg.store.files import read_json, replace_json
from dtvg.store.health import NEVER_FELL
from dtvg.store.labels import Labels, read_labels, write_labels
from dtvg.store.reader import open_experiment, open_run
from dtvg.store.verify import verify_run
from dtvg.ui.overview import table
from dtvg.ui.overview.filter import View
from tests.analysis.factory import config, record

PAGE = Path(__file__).resolve().parents[2] / "pages" / "overview.py"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    make_store.make(folder, "made", runs=6, steps=60, sources=3, distinct=3)
    return folder


@pytest.fixture
def home(store: Path, own_home: Path) -> Path:
    shutil.copytree(store, own_home / "runs")
    return own_home


def _page(**query: str) -> AppTest:
    app = AppTest.from_file(str(PAGE), default_timeout=60)
    for key, value in {"filter": "experiment=made", **query}.items():
        app.query_params[key] = value
    return _sound(app.run())


def _sound(app: AppTest) -> AppTest:
    assert not app.exception
    assert not app.error
    return app


def _url(app: AppTest, key: str) -> str:
    value = app.query_params[key]
    return value if isinstance(value, str) else value[0]


def _table(app: AppTest) -> Any:
    """Return the table; a run's name is a link, of which the name is what counts here."""
    table = app.dataframe[0].value
    if "run" in table:
        assert all(table["run"].str.startswith("run?experiment="))
        table = table.assign(run=table["run"].str.partition("&run=")[2])
    return table


def _choose(app: AppTest, *rows: int) -> AppTest:
    chosen = {"selection": {"rows": list(rows), "columns": [], "cells": []}}
    app.session_state[app.dataframe[0].key] = chosen
    return _sound(app.run())


def test_runs_stand_with_curves_scores_and_their_state(home: Path) -> None:
    table = _table(_page())
    assert len(table) == 6
    assert set(table["state"]) == {"Finished"}
    assert all(len(curve) > 5 for curve in table["score"])
    assert all(len(curve) == 40 for curve in table["loss"])
    first = table[table["run"] == "rte.dtvg.s0"].iloc[0]
    run = open_run(home / "runs" / "made" / "rte.dtvg.s0")
    assert first["test"] == run.test_score


def test_the_first_screen_holds_question_answer_certainty_and_next_step(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned, "MOST_RUNS", 300)
    app = _page()
    assert app.header[0].value == "Which sources helped RTE?"
    said = " ".join(m.value for m in app.markdown)
    assert "DTVG mostly grouped " in said and "no run without transfer has finished" in said
    assert [m.label for m in app.metric] == ["DTVG", "all sources"]
    assert not any("in a moment" in c.value for c in app.caption)


@pytest.mark.parametrize(("most", "over"), [(10, "Over 3 seeds."), (2, "Over the first 2 seeds.")])
def test_the_card_of_a_large_experiment_counts_the_seeds_it_looked_at(
    home: Path, monkeypatch: pytest.MonkeyPatch, most: int, over: str
) -> None:
    monkeypatch.setattr(learned, "MOST_RUNS", 3)
    monkeypatch.setattr(learned, "MOST_SEEDS", most)
    assert any(c.value.startswith(over) for c in _page().caption)


def test_the_card_says_which_seed_it_draws_and_that_runs_are_lost(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned, "MOST_RUNS", 300)
    folder = home / "runs" / "made" / "rte.all_sources.s1"
    (folder / "result.json").unlink()
    status = {**(read_json(folder / "status.json") or {}), "state": "lost", "step": 20}
    replace_json(folder / "status.json", status)
    app = _page()
    assert any(c.value == "The groups of seed 0, 1 of 3 finished seeds." for c in app.caption)
    told = [w.value for w in app.warning]
    assert len(told) == 1 and told[0].startswith("1 of 6 runs is lost: its process ended before")
    tile = next(m for m in app.metric if m.label == "all sources")
    assert "on 2 common seeds" in tile.delta
    shutil.copytree(home / "runs" / "made", home / "runs" / "newer")
    for place in (home / "runs" / "newer").glob("*/result.json"):
        place.unlink()
        replace_json(place.with_name("status.json"), {**status, "run": place.parent.name})
    os.utime(home / "runs" / "newer", (time.time() + 60, time.time() + 60))
    told = [w.value for w in _page().warning]
    assert [("newest experiment" in w, "lost" in w) for w in told] == [(False, True), (True, True)]


def test_the_filter_names_any_setting_and_stands_in_the_url(home: Path) -> None:
    app = _page()
    app.text_input(key="filter").set_value("experiment=made method=dtvg seed<2 lr_prompt=0.001")
    _sound(app.run())
    assert list(_table(app)["run"]) == ["rte.dtvg.s0", "rte.dtvg.s1"]
    again = _page(filter=_url(app, "filter"))
    assert list(_table(again)["run"]) == ["rte.dtvg.s0", "rte.dtvg.s1"]
    again.text_input(key="filter").set_value("metod=dtvg")
    _sound(again.run())
    assert "Did you mean 'method'?" in again.warning[0].value
    again.text_input(key="filter").set_value("experiment=made seed>100")
    _sound(again.run())
    assert "No run matches" in again.info[0].value


def test_pickers_and_order_come_back_from_the_url(home: Path) -> None:
    app = _page(method="all_sources", sort="seed", falling="True")
    assert list(_table(app)["run"]) == [f"rte.all_sources.s{s}" for s in (2, 1, 0)]


def test_a_setting_can_be_a_column(home: Path) -> None:
    app = _page(columns="state,optim.lr_prompt,method.rule")
    table = _table(app)
    assert set(table["optim.lr_prompt"]) == {0.001}
    rules = dict(zip(table["run"], table["method.rule"], strict=True))
    assert rules["rte.dtvg.s0"] == "greedy"


def test_seeds_together_give_mean_and_spread(home: Path) -> None:
    table = _table(_page(level="Seeds together"))
    assert sorted(table["method"]) == ["All sources", "DTVG"]
    row = table[table["method"] == "DTVG"].iloc[0]
    scores = [open_run(home / "runs" / "made" / f"rte.dtvg.s{s}").test_score for s in range(3)]
    mean = sum(scores) / 3  # type: ignore[arg-type]
    assert row["test"] == pytest.approx(mean)
    spread = (sum((s - mean) ** 2 for s in scores) / 2) ** 0.5  # type: ignore[operator]
    assert row["test ±"] == pytest.approx(spread)
    assert (row["n"], row["seeds"]) == (3, "0, 1, 2")


def test_rows_of_several_runs_name_every_device_and_in_files_what_is_wrong(
    own_home: Path,
) -> None:
    values = config("made", methods=["none"], targets=["lake"])
    made = record(own_home / "runs", values, unfinished=[f"lake.none.s{s}" for s in range(3)])
    for run, device in zip(made.runs, ("cuda:0", "cuda:1", "cuda:1"), strict=True):
        status = read_json(run.path / "status.json") or {}
        told = {"device": device, "health": {NEVER_FELL: "It never fell."}}
        replace_json(run.path / "status.json", {**status, **told})
    made = open_experiment(made.path)
    rows = overview.run_rows([made])
    (group,), (row,) = overview.grouped(rows), overview.experiment_rows([made], rows)
    view = View("Seeds together", ("device", "health"), "newest", False, "")
    assert table._group_record(group, view, False)["device"] == "cuda:0; cuda:1"
    assert table._experiment_record(row, view, True)["health"] == [f"{NEVER_FELL} (3)"]
    assert table._experiment_record(row, view, False)["health"] == f"{NEVER_FELL} (3)"


def test_experiments_stand_with_what_they_hold(home: Path) -> None:
    table = _table(_page(level="Experiments"))
    row = table[table["experiment"] == "made"].iloc[0]
    assert (row["runs"], row["state"], row["seeds"]) == (6, "6 finished", "0, 1, 2")


def test_a_setting_of_an_experiment_names_every_value_that_its_runs_have(own_home: Path) -> None:
    methods = [
        "none",
        {"name": "dtvg", "threshold": 0.2},
        {"name": "dtvg", "threshold": 0.1, "lr": 0.5},
    ]
    record(own_home / "runs", config("made", methods=methods, targets=["lake"], seeds=[0, 1]))
    record(own_home / "runs", config("other", methods=["none"], targets=["lake"], seeds=[0]))
    named = "method.threshold,optim.lr_prompt,optim.batch_size"
    page = _page(level="Experiments", columns=named, filter="experiment=made,other")
    row = _table(page).set_index("experiment").loc["made"]
    assert row["method.threshold"] == "0.2, 0.1"
    assert row["optim.lr_prompt"] == "0.001, 0.5"
    assert row["optim.batch_size"] == 16


def test_of_several_values_one_that_is_not_set_and_lists_are_named_too(own_home: Path) -> None:
    methods = ["none", "dtvg", {"name": "dtvg", "hysteresis": 0.1}, "oracle"]
    both = ["amber", "birch"]
    values = config("made", methods=methods, targets=["lake"], seeds=[0], sources=both)
    made = record(own_home / "runs", values)
    (row,) = overview.experiment_rows([made], overview.run_rows([made]))
    columns = ("method.hysteresis", "method.subset")
    told = table._experiment_record(row, View("Experiments", columns, "newest", False, ""), True)
    assert told["method.hysteresis"] == "not set, 0.1"
    assert set(told["method.subset"].split(", ")) >= {"amber", "birch", "amber+birch"}


def test_groups_and_experiments_stand_in_the_order_that_is_asked_for(home: Path) -> None:
    for row, scores in {"dtvg": (0.9, 0.1, 0.2), "all_sources": (0.5, 0.5, 0.5)}.items():
        for seed, score in enumerate(scores):
            path = home / "runs" / "made" / f"rte.{row}.s{seed}" / "result.json"
            replace_json(path, {**(read_json(path) or {}), "test_score": score})
    shutil.copytree(home / "runs" / "made", home / "runs" / "newer")
    for seed in range(3):
        path = home / "runs" / "newer" / f"rte.dtvg.s{seed}" / "result.json"
        replace_json(path, {**(read_json(path) or {}), "test_score": 0.95})
    asked = {"filter": "experiment=made,newer", "sort": "test"}
    groups = _table(_page(**asked, level="Seeds together", falling="True"))
    assert groups["test"].is_monotonic_decreasing and groups["method"].iloc[1] == "All sources"
    assert _table(_page(**asked, level="Seeds together"))["test"].is_monotonic_increasing
    for falling, first in (("True", "newer"), ("False", "made")):
        named = _table(_page(**asked, level="Experiments", falling=falling))["experiment"]
        assert list(named)[0] == first
    asked["sort"] = "experiment"
    named = _table(_page(**asked, level="Experiments", falling="True"))["experiment"]
    assert list(named) == ["newer", "made"]


def test_chosen_runs_are_tagged_and_found_by_tag(home: Path) -> None:
    app = _choose(_page(), 0, 1)
    names = list(_table(app)["run"])[:2]
    tags = next(m for m in app.multiselect if m.key and m.key.startswith("tags-"))
    tags.set_value(["paper"])
    next(a for a in app.text_area if a.key and a.key.startswith("note-")).set_value("good ones")
    next(b for b in app.button if b.label == "Save").click()
    _sound(app.run())
    for name in names:
        folder = home / "runs" / "made" / name
        assert read_labels(folder) == Labels(("paper",), "good ones")
        assert not [p for p in verify_run(folder) if "tags.json" in p]
    found = _page(filter="experiment=made tag=paper")
    assert list(_table(found)["run"]) == names
    assert [list(t) for t in _table(found)["tags"]] == [["paper"], ["paper"]]


def test_a_tag_that_cannot_be_kept_is_told(home: Path) -> None:
    app = _choose(_page(), 0)
    tags = next(m for m in app.multiselect if m.key and m.key.startswith("tags-"))
    tags.set_value(["two words"])
    next(b for b in app.button if b.label == "Save").click()
    app.run()
    assert "cannot be used as a tag" in app.error[0].value
    folder = home / "runs" / "made" / "rte.dtvg.s0"
    assert not (folder / "tags.json").exists()
    (folder / "tags.json").write_text("[]")
    assert any("tags.json" in problem for problem in verify_run(folder))


def test_time_left_follows_the_pace_so_far(home: Path) -> None:
    folder = home / "runs" / "made" / "rte.dtvg.s0"
    (folder / "result.json").unlink()
    status = {**(read_json(folder / "status.json") or {}), "state": "running", "host": "elsewhere"}
    status |= {"step": 20, "total_steps": 60, "seconds": 10.0, "updated_at": time.time()}
    replace_json(folder / "status.json", {**status, "memory_gib": 1.5, "device": "cuda:0"})
    app = _page(filter="experiment=made state=running", columns="state,left,device,memory")
    row = _table(app).iloc[0]
    assert (row["time left"], row["device"], row["memory (GiB)"]) == ("20 s", "cuda:0", 1.5)


def test_the_tour_opens_for_a_newcomer_walks_on_and_stays_hidden(own_home: Path) -> None:
    app = _page(filter="")
    assert "Which tasks help mine?" in [s.value for s in app.header]
    for title in ("Rank the sources", "Keep those that agree", "Merge, train on", "Did it help?"):
        next(b for b in app.button if b.label == "Next").click()
        _sound(app.run())
        assert any(title in s.value for s in app.header)
    assert _url(app, "tour") == "5"
    said = [m.value for m in app.markdown if " scored " in m.value]
    assert len(said) == 2 and any("Against no transfer: " in one for one in said)  # card and tour
    assert any("than without transfer" in m.value for m in app.markdown)
    next(b for b in app.button if b.label == "Hide the tour").click()
    _sound(app.run())
    assert not any("Did it help?" in s.value for s in app.header)
    assert _url(app, "tour") == "off"


def test_a_thousand_runs_are_drawn_a_page_at_a_time(
    own_home: Path,
) -> None:
    make_store.make(own_home / "runs", "many", runs=1000, steps=20, sources=2, distinct=1)
    app = _page(filter="experiment=many", page="20")
    table = _table(app)
    assert len(table) == 50
    assert _url(app, "page") == "20"
    assert any("1,000 runs" in c.value for c in app.caption)
    _sound(app.run())


def test_labels_survive_beside_foreign_files(home: Path) -> None:
    write_labels(home / "runs" / "made", Labels(("whole",), "of all"))
    (home / "runs" / "made" / "holiday-photos").mkdir()
    (home / "runs" / "broken").mkdir()
    (home / "runs" / "broken" / "experiment.yaml").write_text("targets: [")
    app = _page(filter="", level="Experiments")
    table = _table(app).set_index("experiment")
    assert list(table.loc["made", "tags"]) == ["whole"]
    assert "broken" in table.index and "yaml" in table.loc["broken", "message"]
    runs = _table(_page(filter="tag=whole holiday"))
    assert list(runs["run"]) == ["holiday-photos"]
