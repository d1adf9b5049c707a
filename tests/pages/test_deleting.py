"""Deleting on the pages: whole experiments, what trains, and what another tab then does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dtvg.analysis import titles
from dtvg.jobs import launcher
from dtvg.store import trash
from tests.pages.states import NAME, ROOT, Home, Recorded

RUN = "rte.dtvg.s0"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    made = Recorded.make(tmp_path_factory.mktemp("recorded"))
    yield made
    made.end()


@pytest.fixture
def to(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Home]]:
    """Go to a home of its own in a state."""
    homes: list[Home] = []

    def go(state: str) -> Home:
        homes.append(recorded.new(state, tmp_path / state))
        monkeypatch.setenv("DTVG_HOME", str(homes[-1].path))
        return homes[-1]

    yield go
    for home in homes:
        if home.holder is not None and home.holder.process.poll() is None:
            home.holder.kill()


def _draw(page: str, **query: str) -> AppTest:
    made = AppTest.from_file(str(ROOT / "pages" / f"{page}.py"), default_timeout=60)
    for key, value in query.items():
        made.query_params[key] = value
    made.run()
    assert not made.exception and not made.error
    return made


def _ticked(*rows: int, **query: str) -> AppTest:
    made = _draw("overview", **query)
    chosen = {"selection": {"rows": list(rows), "columns": [], "cells": []}}
    made.session_state[made.dataframe[0].key] = chosen
    return made.run()


def _press(made: AppTest, label: str) -> AppTest:
    (button,) = [b for b in made.button if b.label == label]
    return button.click().run()


def _labels(made: AppTest) -> set[str]:
    return {b.label for b in made.button}


@pytest.mark.parametrize("level", ["Experiments", "Runs"])
def test_an_experiment_with_stage_one_runs_is_deleted_whole(
    level: str, to: Callable[[str], Home]
) -> None:
    home = to("finished")
    count = len(home.transfers())
    assert len(home.experiment.run_names()) > count  # Stage I has runs too
    rows = [0] if level == "Experiments" else list(range(count))
    made = _ticked(*rows, filter=f"experiment={NAME}", level=level)
    assert f"Moves the whole of `{NAME}` to the trash." in [m.value for m in made.markdown]
    assert any("Stage I; the table hides these" in c.value for c in made.caption)
    _press(made, "Move to the trash")
    assert [one.name for one in trash.deleted()] == [NAME]
    assert not home.experiment.path.exists()


def test_a_part_of_the_runs_is_not_the_whole(to: Callable[[str], Home]) -> None:
    home = to("finished")
    made = _ticked(0, filter=f"experiment={NAME}")
    assert "Moves 1 run to the trash." in [m.value for m in made.markdown]
    whole = _ticked(0, filter=f"experiment={NAME} role=stage1")
    assert not any("the whole of" in m.value for m in whole.markdown)
    assert home.experiment.path.exists()


def test_nothing_is_deleted_where_one_of_the_chosen_trains(to: Callable[[str], Home]) -> None:
    home = to("running")
    assert home.holder is not None
    home.holder.freeze()  # it would say again that the first one trains
    ended, alive = (run.name for run in home.transfers()[:2])
    status = home.experiment.run(ended).path / "status.json"
    text = status.read_text().replace('"running"', '"stopped"')
    status.unlink()
    status.write_text(text)
    made = _ticked(0, 1, filter=f"experiment={NAME}")
    _press(made, "Move to the trash")
    (said,) = [e.value for e in made.error]
    assert "stop it first with the button Stop" in said and "dtvg runs" not in said
    assert titles.run(alive) in said and said.count(titles.run(alive)) == 1
    assert not trash.deleted()


def test_live_says_that_its_run_was_deleted_in_another_tab(to: Callable[[str], Home]) -> None:
    home = to("stopped")

    def again() -> None:
        import streamlit as st

        from dtvg.store.reader import open_experiment
        from dtvg.ui import live

        view = live.View("loss", "step", "run", 0.6, False)
        live.draw(open_experiment(st.session_state["place"]), "rte.dtvg.s0", view)

    trash.delete(home.experiment, RUN)
    made = AppTest.from_function(again, default_timeout=60)
    made.session_state["place"] = str(home.experiment.path)
    made.run()
    assert not made.exception
    (said,) = [w.value for w in made.warning]
    assert said.startswith(f"{titles.run(RUN)} of '{NAME}' was deleted meanwhile.")
    trash.delete(home.experiment)
    made.run()
    assert not made.exception
    assert made.warning[0].value.startswith(f"'{NAME}' was deleted meanwhile.")


@pytest.mark.parametrize(
    ("button", "asked", "left"),
    [
        ("Resume only the runs that are here", True, 1),
        ("Restore from the trash, then resume", False, 0),
        ("Train all, the deleted anew", False, 1),
    ],
)
def test_resume_asks_about_deleted_runs(
    button: str,
    asked: bool,
    left: int,
    to: Callable[[str], Home],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = to("stopped")
    other = next(run.name for run in home.transfers() if run.name != RUN)
    trash.delete(home.experiment, other)
    resumed: list[tuple[str, ...]] = []
    monkeypatch.setattr(launcher, "resume", lambda folder, runs=(): resumed.append(tuple(runs)))
    made = _draw("live", experiment=NAME, run=RUN)
    assert "Resume" not in _labels(made)
    said = f"1 run of it is in the trash: {titles.run(other)}."
    assert said in [m.value for m in made.markdown]
    _press(made, button)
    names = tuple(run.name for run in home.transfers())
    assert resumed == [names if asked else ()]
    assert len(trash.deleted()) == left
    assert (other in names) == (not left)


def test_resume_on_the_overview_leaves_deleted_runs_alone(
    to: Callable[[str], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dtvg.ui.overview import actions

    home = to("stopped")
    for name in home.experiment.run_names():
        if name != RUN:
            trash.delete(home.experiment, name)
    queued: list[tuple[str, ...]] = []
    monkeypatch.setattr(actions.queue, "add", lambda folder, runs=(): queued.append(tuple(runs)))
    _press(_ticked(0, filter=f"experiment={NAME}"), "Resume")
    assert queued == [(RUN,)]


def test_stop_while_a_process_loads_says_that_it_ends_later(
    to: Callable[[str], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    to("waiting")
    monkeypatch.setattr(launcher, "may_be_working", lambda *a, **k: True)
    monkeypatch.setattr(launcher, "is_working", lambda folder: True)
    made = _draw("live", experiment=NAME)
    _press(made, "Stop")
    assert "it ends by itself once it has loaded" in made.toast[0].value
