"""What the live page says and draws before, at and after the first commit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dtvg.config import RunConfig
from dtvg.figures.curves import curves_figure, overlay_figure
from dtvg.records import RunResult, RunState
from dtvg.store.reader import Experiment
from dtvg.store.writer import RunWriter
from dtvg.testing import made_runs
from dtvg.ui import cache, live, show
from tests.analysis.factory import config, record, write_evals, write_rows


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    root = tmp_path_factory.mktemp("live-page")
    return record(root / "runs", config(methods=["none", "dtvg"], targets=["lake"], seeds=[0, 1]))


@pytest.mark.parametrize(
    ("loss", "written"),
    [
        (0.0, "0.000"),
        (0.00001, "below 0.0001"),
        (0.00043, "0.0004"),
        (0.0005, "0.001"),
        (1.2345, "1.234"),
        (float("nan"), "nan"),
    ],
)
def test_a_small_loss_is_not_written_as_nothing(loss: float, written: str) -> None:
    assert live.written_loss(loss) == written


def test_the_best_step_is_the_one_whose_prompt_is_kept(tmp_path: Path) -> None:
    def rows(run: RunConfig, writer: RunWriter) -> RunResult:
        write_rows(writer, run, None, 30)
        write_evals(writer, run, {0: 0.9, 10: 0.8, 20: 0.8, 30: 0.5}, "validation")
        return replace(made_runs.result_of(30, 0.8, 0.7, {"accuracy": 0.7}), best_step=20)

    made = config(methods=["none"], targets=["lake"], seeds=[0])
    run = made_runs.write_experiment(tmp_path / "runs", made, rows).runs[-1]
    assert live._validation(run) == ", newest validation 50.0 %, best 80.0 % at step 20"


def test_before_the_first_commit_a_chart_is_a_sentence_without_widgets(
    made: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made.runs[0]
    empty = cache.curves((run,), quantity="consistency", group_by="run")  # of no transfer
    assert not empty.curves
    monkeypatch.setattr(show, "figure", lambda *a, **k: pytest.fail("drawn"))

    def page() -> None:
        import streamlit as st

        from dtvg.ui import live

        live._chart(*st.session_state["chart"])

    app = AppTest.from_function(page)
    for state, said in ((RunState.RUNNING, "yet. The curve appears"), (RunState.LOST, "written.")):
        shown = replace(run, state=state)
        app.session_state["chart"] = (None, empty, shown, "key", "name", (shown,))
        app.run()
        assert not app.exception and not app.caption
        (text,) = [i.value for i in app.info]
        assert text.startswith("Consistency of the group: no value is written") and said in text


def test_a_single_evaluation_stands_on_an_axis_that_begins_at_0(made: Experiment) -> None:
    run = next(r for r in made.runs if r.method == "dtvg")
    info = cache.curves((run,), quantity="score", group_by="run")
    (curve,) = info.curves
    one = replace(curve, x=curve.x[:1], y=curve.y[:1], lower=curve.y[:1], upper=curve.y[:1])
    drawn = curves_figure(replace(info, curves=(one,)))
    assert list(drawn.layout.xaxis.range) == pytest.approx([-0.3, 10.0])
    later = replace(one, x=one.x + 40)
    drawn = curves_figure(replace(info, curves=(later,)))
    assert list(drawn.layout.xaxis.range) == pytest.approx([-2.4, 80.0])
    assert curves_figure(info).layout.xaxis.range is None
    rate = replace(info, quantity="lr_prompt", curves=(replace(one, y=one.y * 0 + 0.3),))
    assert curves_figure(rate).layout.yaxis.rangemode == "tozero"
    logarithmic = overlay_figure(rate, [one.name], log=(True, False))
    assert logarithmic.layout.xaxis.range is None


def test_what_is_drawn_together_is_named_so(
    made: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = made.runs[:2]
    monkeypatch.setattr(live, "progress", lambda _: type("Now", (), {"now": (one, two)}))
    first = replace(one, role="stage1")
    assert live.drawn_together(made, first, following=True) == (one, two)
    assert live.drawn_together(made, first, following=False) == (first,)
    assert live.drawn_together(made, two, following=True) == (two,)

    def page() -> None:
        from dtvg.ui import address, live

        with address.of_page("live"):
            live.choose_view(together=True)

    app = AppTest.from_function(page).run()
    assert not app.exception
    assert app.selectbox(key="series").options[0] == "What trains now"
