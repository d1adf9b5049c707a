"""Every page in every state draws without an exception, and says which state it is."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dtvg import paths
from dtvg.analysis import titles
from dtvg.jobs import launcher
from dtvg.store import trash
from dtvg.store.files import read_json, replace_json
from dtvg.store.liveness import EXPIRES_SECONDS_BEFORE, FRESH_SECONDS
from dtvg.store.reader import Run, open_experiment
from dtvg.store.status import requested
from tests.pages.states import (
    NAME,
    ROOT,
    STATES,
    STOPPED_AFTER,
    WENT_WRONG,
    Recorded,
    touch_back,
)

PAGES = sorted((ROOT / "pages").glob("*.py"))
RUN = "rte.dtvg.s0"
BADGES = {
    "waiting": ":gray-badge[Waiting]",
    "running": ":blue-badge[Running]",
    "stopping": ":orange-badge[Stopping]",
    "stopped": ":orange-badge[Stopped]",
    "finished": ":green-badge[Finished]",
    "failed": ":red-badge[Failed]",
    "lost": ":red-badge[Lost]",
    "unknown": ":violet-badge[Unknown]",
}
COMPLAINTS = {
    "failed": WENT_WRONG,
    "lost": "its process is gone",
    "unknown": "s ago on host elsewhere",
}
"""What pages that show one run say about it."""
LIVING, RESUMABLE = ("running", "stopping"), ("waiting", "stopped", "failed", "lost")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """Miniature experiments, finished and half-way, and what becomes of them."""
    made = Recorded.make(tmp_path_factory.mktemp("recorded"))
    yield made
    made.end()


def _draw(page: Path | str, **query: str) -> AppTest:
    path = page if isinstance(page, Path) else ROOT / "pages" / f"{page}.py"
    made = AppTest.from_file(str(path), default_timeout=60)
    for key, value in query.items():
        made.query_params[key] = value
    return _sound(made.run())


def _sound(made: AppTest) -> AppTest:
    assert not made.exception
    assert not [e.value for e in made.error if "did not work" in e.value]
    return made


def _in_state(state: str, recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go to a home in this state; the reader itself says that it is."""
    home = recorded.home(state)
    monkeypatch.setenv("DTVG_HOME", str(home.path))
    assert home.states() == {state}
    assert launcher.is_working(home.experiment) == (state in LIVING)


def _enabled(made: AppTest) -> set[str]:
    """Return the labels of the buttons that can be pressed."""
    return {button.label for button in made.button if not button.disabled}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_a_page_draws_the_recorded_example(page: Path, own_home: Path) -> None:
    made = _draw(page)
    if page.stem in ("live", "groups", "explain", "share"):
        assert made.selectbox(key="experiment").value == "demo-recorded"
        assert made.selectbox(key="run").value.endswith(".s0")
        assert all(o.endswith("finished") for o in made.selectbox(key="run").options)
    if page.stem == "live":
        assert not {"Stop", "Resume", "Kill the process", "Pin"} & {b.label for b in made.button}
        assert any("you can look at it, but not change it" in c.value for c in made.caption)


SECOND = "yelp-recorded"


@pytest.mark.parametrize("page", ["live", "groups", "explain", "compare", "share"])
def test_a_page_draws_the_second_recorded_example(page: str, own_home: Path) -> None:
    made = _draw(page, experiment=SECOND)
    if page != "compare":
        assert made.selectbox(key="experiment").value == SECOND
        assert made.selectbox(key="run").value.startswith("yelp.")
    else:
        assert any("14 of 14 transfer runs have finished" in c.value for c in made.caption)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_a_page_draws_where_nothing_is_recorded(
    page: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "examples", lambda: own_home / "no-examples")
    made = _draw(page)
    assert not {"Stop", "Resume", "Kill the process"} & {b.label for b in made.button}
    if page.stem in ("overview", "live", "groups", "explain", "compare", "share"):
        assert any("Nothing has been recorded yet" in i.value for i in made.info)
    elif page.stem == "prompts":
        assert any("The prompt bank is empty" in i.value for i in made.info)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_a_page_draws_whatever_state_the_runs_are_in(
    page: Path, state: str, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    _in_state(state, recorded, monkeypatch)
    made = _draw(page)
    if page.stem in ("live", "groups", "explain", "share"):
        assert made.selectbox(key="experiment").value == NAME
        options = made.selectbox(key="run").options
        assert options and all(option.endswith(f"·  {state}") for option in options)
    if page.stem in ("live", "groups", "explain"):
        said = " ".join(e.value for e in [*made.error, *made.warning])
        for other, complaint in COMPLAINTS.items():
            assert (complaint in said) == (other == state)
    if page.stem in ("groups", "explain"):
        empty = any("No step of this run is committed yet" in i.value for i in made.info)
        assert empty == (state == "waiting")
    _in_state(state, recorded, monkeypatch)  # looking has changed nothing


@pytest.mark.parametrize("state", STATES)
def test_live_offers_what_would_do_something(
    state: str, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    _in_state(state, recorded, monkeypatch)
    made = _draw("live", experiment=NAME, run=RUN)
    (line,) = [m.value for m in made.markdown if m.value.startswith(f"**{titles.run(RUN)}**")]
    steps = 12 if state == "finished" else STOPPED_AFTER
    assert BADGES[state] in line
    assert "step" not in line if state == "waiting" else f" step {steps} of 12" in line
    enabled = _enabled(made)
    assert ("Stop" in enabled) == (state in (*LIVING, "unknown"))
    assert ("Count it as lost" in enabled) == (state == "unknown")
    assert ("Kill the process" in enabled) == (state in LIVING)
    assert ("Resume" in enabled) == (state in RESUMABLE)
    assert ("Pin" in enabled) == ("Ban" in enabled) == (state == "running")
    assert ("Fork and train" in enabled) == (state not in ("waiting", "finished"))
    runs = open_experiment(recorded.home(state).experiment.path).runs
    (progress,) = made.get("progress")
    assert f"{sum(r.state == state for r in runs)} {state}" in progress.proto.text


@pytest.mark.parametrize("state", STATES)
def test_the_overview_says_the_state_of_every_run(
    state: str, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    _in_state(state, recorded, monkeypatch)
    made = _draw("overview", filter=f"experiment={NAME} state={state} role=transfer")
    table = made.dataframe[0].value
    assert len(table) == len(recorded.home(state).transfers())
    assert set(table["state"]) == {state.capitalize()}
    whole = _draw("overview", filter=f"experiment={NAME} role=transfer", level="Experiments")
    assert f"{len(table)} {state}" in str(whole.dataframe[0].value.iloc[0]["state"])


@pytest.mark.parametrize("state", STATES)
def test_compare_counts_finished_runs_only(
    state: str, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    _in_state(state, recorded, monkeypatch)
    made = _draw("compare", experiment=NAME)
    count = len(recorded.home(state).transfers())
    done = count if state == "finished" else 0
    assert any(f"{done} of {count} transfer runs have finished" in c.value for c in made.caption)
    assert any("Nothing to compare yet" in i.value for i in made.info) == (not done)


def test_stop_turns_a_running_experiment_into_a_stopping_one(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = recorded.new("running", tmp_path)
    monkeypatch.setenv("DTVG_HOME", str(home.path))
    assert home.states() == {"running"} and home.holder is not None
    made = _draw("live", experiment=NAME, run=RUN)
    for _ in range(3):  # impatience interrupts nothing
        next(b for b in made.button if b.label == "Stop").click().run()
        _sound(made)
    assert home.holder.heard() == "asked to stop"
    assert home.states() == {"stopping"}
    assert BADGES["stopping"] in " ".join(m.value for m in _sound(made.run()).markdown)
    assert all(requested(run.directory) == {"stop"} for run in home.transfers())
    assert home.holder.end() == ""  # one signal, and no second one


def test_what_trains_on_another_host_can_be_stopped_and_is_not_started_twice(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = recorded.new("stopped", tmp_path)
    monkeypatch.setenv("DTVG_HOME", str(home.path))
    living, waiting = home.transfers()[:-1], home.transfers()[-1]
    for run in living:
        _write_status(run, state="running", host="elsewhere", updated_at=time.time())
    for cohort in home.experiment.cohorts():  # recorded by this very process
        there = {**(read_json(cohort.process_path) or {}), "host": "elsewhere"}
        replace_json(cohort.process_path, there)
    _write_status(waiting, state="waiting")
    assert home.states() == {"running", "waiting"}
    made = _draw("live", experiment=NAME, run=RUN)
    assert "Stop" in _enabled(made) and not {"Resume", "Kill the process"} & _enabled(made)
    next(b for b in made.button if b.label == "Stop").click().run()
    _sound(made)
    assert home.states() == {"stopping", "waiting"}
    for run in living:  # its process does not answer any more
        touch_back(run.directory.status_path, 2 * FRESH_SECONDS)
    made = _draw("live", experiment=NAME, run=RUN)
    assert home.states() == {"unknown", "waiting"}
    assert "Stop" in _enabled(made) and not {"Resume", "Kill the process"} & _enabled(made)
    for run in living:
        touch_back(run.directory.status_path, 2 * EXPIRES_SECONDS_BEFORE)
    made = _draw("live", experiment=NAME, run=RUN)
    assert home.states() == {"lost", "waiting"}
    assert "Resume" in _enabled(made) and "Stop" not in _enabled(made)


def _write_status(run: Run, **values: object) -> None:
    path = run.directory.status_path
    replace_json(path, {**(read_json(path) or {}), **values})


@pytest.mark.parametrize("state", LIVING)
def test_what_trains_is_not_deleted(
    state: str, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    _in_state(state, recorded, monkeypatch)
    made = _draw("overview", filter=f"experiment={NAME} role=transfer")
    chosen = {"selection": {"rows": [0], "columns": [], "cells": []}}
    made.session_state[made.dataframe[0].key] = chosen
    made.run()
    next(b for b in made.button if b.label == "Move to the trash").click().run()
    assert "stop it first" in made.error[0].value
    assert "stop it first" in made.run().error[0].value  # until it was read
    next(b for b in made.button if b.label == "Read").click().run()
    assert not made.error and not trash.deleted()
    assert {"Stop"} <= {b.label for b in made.button}  # of the ticked run
    _in_state(state, recorded, monkeypatch)


def test_kill_turns_a_stopping_experiment_into_a_lost_one(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = recorded.new("stopping", tmp_path)
    monkeypatch.setenv("DTVG_HOME", str(home.path))
    assert home.states() == {"stopping"} and home.holder is not None
    made = _draw("live", experiment=NAME, run=RUN)
    next(b for b in made.button if b.label == "Kill the process").click().run()
    assert home.holder.process.wait(timeout=30) != 0
    made = _draw("live", experiment=NAME, run=RUN)
    assert home.states() == {"lost"}
    assert "Resume" in _enabled(made) and not {"Stop", "Kill the process"} & _enabled(made)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_foreign_and_half_written_folders_are_shown_as_such(
    page: Path, recorded: Recorded, own_home: Path
) -> None:
    runs = own_home / "runs"
    shutil.copytree(recorded.home("finished").experiment.path, runs / "tiny")
    (runs / "tiny" / "holiday-photos").mkdir()
    (runs / "tiny" / "rte.dtvg.s0" / "status.json").write_text("{half a")
    (runs / "stranger").mkdir()
    (runs / "broken").mkdir()
    (runs / "broken" / "experiment.yaml").write_text("targets: [")
    _draw(page)


def test_what_is_loaded_ahead_is_there_and_brings_no_torch() -> None:
    code = "import sys\nfrom dtvg.ui import ahead\nahead.WAIT_SECONDS = 0\nahead.load().join()\n"
    code += "print([m for m in ahead.MODULES if m not in sys.modules], 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] False", done.stdout
