"""What a person does to runs on the pages: delete and put back, pin a source, fork."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from benchmarks import make_store
from dtvg.jobs import launcher
from dtvg.store import holds, trash
from dtvg.store.files import read_json, replace_json
from dtvg.store.layout import RunDir
from dtvg.store.status import clear, requested
from dtvg.ui import control, live

PAGES = Path(__file__).resolve().parents[2] / "pages"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    make_store.make(folder, "made", runs=6, steps=60, sources=3, distinct=3)
    return folder


@pytest.fixture
def home(store: Path, own_home: Path) -> Path:
    shutil.copytree(store, own_home / "runs")
    return own_home


def _page(name: str, **query: str) -> AppTest:
    app = AppTest.from_file(str(PAGES / f"{name}.py"), default_timeout=60)
    for key, value in query.items():
        app.query_params[key] = value
    return _sound(app.run())


def _sound(app: AppTest) -> AppTest:
    assert not app.exception
    assert not app.error
    return app


def _press(app: AppTest, label: str) -> AppTest:
    (button,) = [b for b in app.button if b.label == label]
    return _sound(button.click().run())


def _choose(app: AppTest, *rows: int) -> AppTest:
    chosen = {"selection": {"rows": list(rows), "columns": [], "cells": []}}
    app.session_state[app.dataframe[0].key] = chosen
    return _sound(app.run())


def test_chosen_runs_go_to_the_trash_and_back(home: Path) -> None:
    app = _choose(_page("overview", filter="experiment=made"), 0, 1)
    assert any("Moves 2 runs to the trash" in m.value for m in app.markdown)
    _press(app, "Move to the trash")
    assert len(trash.deleted()) == 2
    again = _page("overview", filter="experiment=made")
    assert len(again.dataframe[0].value) == 4
    back = [b for b in again.button if b.label == "Restore"]
    assert len(back) == 2
    _sound(back[0].click().run())
    assert len(trash.deleted()) == 1
    assert len(_page("overview", filter="experiment=made").dataframe[0].value) == 5


def test_choosing_every_run_deletes_the_whole_experiment(home: Path) -> None:
    app = _choose(_page("overview", filter="experiment=made"), *range(6))
    assert any("the whole of `made`" in m.value for m in app.markdown)
    _press(app, "Move to the trash")
    assert not (home / "runs" / "made").exists()
    assert [one.name for one in trash.deleted()] == ["made"]


def test_the_trash_is_emptied_after_a_question(home: Path) -> None:
    _press(_choose(_page("overview", filter="experiment=made"), 0, 1), "Move to the trash")
    app = _page("overview", filter="experiment=made")
    assert any("Erase 2 entries" in m.value and "for good?" in m.value for m in app.markdown)
    assert len(trash.deleted()) == 2
    _press(app, "Erase for good")
    assert trash.deleted() == []


def _make_running(home: Path, name: str) -> RunDir:
    folder = home / "runs" / "made" / name
    (folder / "result.json").unlink()
    status = read_json(folder / "status.json") or {}
    now = time.time()
    live = {"state": "running", "host": "elsewhere", "heartbeat": now, "updated_at": now, "pid": 7}
    replace_json(folder / "status.json", {**status, **live})
    return RunDir(folder)


def test_a_source_of_a_running_run_is_pinned_by_a_button(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _make_running(home, "rte.dtvg.s0")
    app = _page("live", experiment="made", run="rte.dtvg.s0")
    _press(app, "Pin")
    (word,) = requested(run)
    assert word.startswith("pin.")
    (said,) = [i.value for i in app.info if i.value.startswith("Asked for")]
    step = (read_json(run.status_path) or {})["step"]
    assert "is in the group, whatever the rule decides, from the next step on" in said
    assert f"step {step + 1:,} at the earliest" in said
    assert said in [c.value for c in app.caption]  # where it was pressed
    source = word.removeprefix("pin.")
    monkeypatch.setattr(holds, "history", lambda _: [holds.Hold(41, source, "pin")])
    clear(run, word)  # the process met it
    _sound(app.run())
    assert not [i for i in app.info if i.value.startswith("Asked for")]
    assert any(s.value.endswith("from step 42 on.") for s in app.success)
    assert not [b for b in _page("live", experiment="made", run="rte.dtvg.s1").button
                if b.label == "Pin"]  # fmt: skip


def test_pin_and_fork_appear_by_themselves_once_a_run_trains(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _make_running(home, "rte.dtvg.s0")
    status = read_json(run.status_path) or {}
    replace_json(run.status_path, {**status, "state": "waiting", "step": 0})
    looks = []

    def fragment(run_every: float | None) -> Callable[[Callable[[], None]], Callable[[], None]]:
        def twice(look: Callable[[], None]) -> Callable[[], None]:
            def looked() -> None:
                look()
                if not looks:  # meanwhile it begins, and Streamlit looks again
                    looks.append(run_every)
                    replace_json(run.status_path, {**status, "step": 3})
                    look()

            return looked

        return twice

    monkeypatch.setattr(live.st, "fragment", fragment)
    monkeypatch.setattr(control, "may_change", lambda _: True)  # Start was pressed
    app = _page("live", experiment="made", run="rte.dtvg.s0", follow="False")
    assert looks and {"Pin", "Fork and train"} <= {b.label for b in app.button}


def test_a_run_that_cannot_be_forked_says_so_and_starts_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "resume", lambda *a, **k: pytest.fail("started"))
    _make_running(home, "rte.dtvg.s0")
    app = _page("live", experiment="made", run="rte.dtvg.s0")
    (button,) = [b for b in app.button if b.label == "Fork and train"]
    app = button.click().run()
    assert not app.exception
    assert "no commit yet" in app.error[0].value or "cannot be read" in app.error[0].value


def test_what_is_typed_for_a_fork_is_not_that_of_another_experiment(home: Path) -> None:
    _make_running(home, "rte.dtvg.s0")
    shutil.copytree(home / "runs" / "made", home / "runs" / "other")
    app = _page("live", experiment="made", run="rte.dtvg.s0", follow="False")
    (text,) = [t for t in app.text_area if t.label == "Settings that differ"]
    text.set_value("optim.lr_prompt=0.1").run()
    (box,) = [b for b in app.selectbox if b.key == "experiment"]
    app = _sound(box.set_value("other").run())
    (name,) = [t for t in app.text_input if t.label == "Name"]
    (text,) = [t for t in app.text_area if t.label == "Settings that differ"]
    assert (name.value, text.value) == ("other-fork", "")
