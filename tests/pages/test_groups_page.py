"""The groups page shows what every method logs; Explain says where there is nothing to explain."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dtvg.config import build_config
from dtvg.store.bank import PromptBank
from dtvg.store.files import read_json, replace_json
from dtvg.store.layout import ExperimentDir, create_experiment
from dtvg.store.reader import open_run
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import procedures
from dtvg.ui import cache
from tests.analysis.factory import config, record
from tests.pages.charts import charts
from tests.training.settings import moved_prompt

ROOT = Path(__file__).resolve().parents[2]
METHODS = ["none", "dtvg", "attempt", "moe", "spot"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one miniature experiment of methods that decide, weigh and rank."""
    folder = tmp_path_factory.mktemp("weighed")
    config = build_config(tiny_config(folder / "parts", methods=METHODS))
    experiment = create_experiment(config, folder / "runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(procedures, "to_task_prompt", moved_prompt)
        procedures.run_experiment(experiment, bank=PromptBank(folder / "bank"))
    return folder


def _draw(home: Path, patch: pytest.MonkeyPatch, page: str, **query: str) -> AppTest:
    patch.setenv("DTVG_HOME", str(home))
    made = AppTest.from_file(str(ROOT / "pages" / f"{page}.py"), default_timeout=60)
    for key, value in {"experiment": "tiny", **query}.items():
        made.query_params[key] = value
    made.run()
    assert not made.exception and not made.error
    return made


@pytest.mark.parametrize("view", ["Timeline", "Combinations", "Weights", "Vectors", "Scales"])
@pytest.mark.parametrize("method", ["dtvg", "attempt", "moe", "spot"])
def test_every_view_of_every_method_draws(home, monkeypatch, method: str, view: str) -> None:
    run = f"rte.{method}.s0"
    made = _draw(home, monkeypatch, "groups", run=run, view=view)
    assert made.selectbox(key="run").value == run


def test_weights_are_drawn_for_methods_that_weigh_only(home, monkeypatch) -> None:
    titles = {}
    for method in ("attempt", "moe", "dtvg", "spot"):
        made = _draw(home, monkeypatch, "groups", run=f"rte.{method}.s0", view="Weights")
        whole = any("fully or not" in said.value for said in made.info)
        titles[method] = len(charts(made)), whole
    assert titles["attempt"] == titles["moe"] == (2, False)
    assert titles["dtvg"] == titles["spot"] == (1, True)


def test_seeds_of_which_one_has_committed_steps_are_not_compared(own_home: Path) -> None:
    made = config(methods=["dtvg"], targets=["lake"], seeds=[0, 1])
    folder = record(own_home / "runs", made, steps=9).path
    for run in ("lake.dtvg.s0", "lake.dtvg.s1"):
        status = folder / run / "status.json"
        replace_json(status, {**(read_json(status) or {}), "step": 9})
    for table in ("steps", "sources"):
        shutil.rmtree(folder / "lake.dtvg.s1" / table)
    page = AppTest.from_file(str(ROOT / "pages" / "groups.py"), default_timeout=60)
    page.query_params["view"] = "Seeds"
    page.run()
    assert not page.exception and not page.error
    assert [i.value for i in page.info if "Only one seed has committed steps" in i.value]
    assert not [m.value for m in page.markdown if "nan" in m.value]


def test_a_run_trained_anew_is_not_taken_for_the_deleted_one(home, tmp_path) -> None:
    place = tmp_path / "tiny" / "rte.dtvg.s0"
    shutil.copytree(home / "runs" / "tiny" / "rte.dtvg.s0", place)
    before = cache.stamp(open_run(place), "sources", "steps")
    assert before == cache.stamp(open_run(place), "sources", "steps")
    place.rename(tmp_path / "trash")
    shutil.copytree(tmp_path / "trash", place)
    assert before != cache.stamp(open_run(place), "sources", "steps")


def test_explain_says_when_it_shows_another_run_than_was_asked_for(home, monkeypatch) -> None:
    made = _draw(home, monkeypatch, "explain", run="rte.attempt.s0")
    assert made.selectbox(key="run").value == "rte.dtvg.s0"
    assert "rte.attempt.s0" in made.info[0].value and "rte.dtvg.s0" in made.info[0].value
    assert not _draw(home, monkeypatch, "explain", run="rte.dtvg.s0").info


def test_live_opens_at_what_trains_and_offers_it_elsewhere(home, monkeypatch, tmp_path) -> None:
    shutil.copytree(home / "runs", tmp_path / "runs")
    run = tmp_path / "runs" / "tiny" / "rte.moe.s0"
    (run / "result.json").unlink()
    status = read_json(run / "status.json") or {}
    with ExperimentDir(tmp_path / "runs" / "tiny").lock() as lease:  # held, as while it trains
        now = {**status, "state": "running", "lease": lease.token, **_myself()}
        replace_json(run / "status.json", now)
        made = _draw(tmp_path, monkeypatch, "live")
        assert made.selectbox(key="run").value == "rte.moe.s0"
        made.selectbox(key="run").set_value("rte.none.s0").run()
        made.toggle(key="follow").set_value(True).run()
        assert made.selectbox(key="run").value == "rte.moe.s0" and not made.exception


def _myself() -> dict[str, object]:
    """A process that lives: this one."""
    return {"pid": os.getpid(), "host": socket.gethostname()}
