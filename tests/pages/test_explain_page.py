"""The Explain page says, for the step of its address, what the Info says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from streamlit.testing.v1 import AppTest

from dtvg.analysis.run.explain import explain_step
from dtvg.config import RunConfig
from dtvg.records import RunResult
from dtvg.store.writer import RunWriter
from dtvg.testing import made_runs
from tests.analysis.factory import config, drifting_grams, find, record
from tests.pages.charts import charts

PAGE = Path(__file__).resolve().parents[2] / "pages" / "explain.py"


@pytest.mark.parametrize("step", [1, 8, 24])
def test_headline_ranks_marks_and_sentences_stand_on_the_page(own_home: Path, step: int) -> None:
    made = config(methods=["dtvg"], targets=["lake"], seeds=[0])
    run = find(record(own_home / "runs", made, steps=24), "dtvg")
    info = explain_step(run, step)
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    for key, value in {"experiment": made.name, "run": run.name, "step": str(step)}.items():
        page.query_params[key] = value
    page.run()
    assert not page.exception and not page.error
    assert f"The decision at step {step}" in [said.value for said in page.header]
    said = [text.value for text in page.markdown]
    at = said.index(f"**{info.headline}**")
    ranked = np.argsort(info.rank)
    why = [said.split(": ", 1)[1] for said in info.sentences]  # the name stands before it
    marks = {True: ":green-badge[in the group]", False: ":gray-badge[left out]"}
    assert said[at + 1 : at + 1 + len(ranked)] == [
        f"{place}. **{info.sources[s]}** {marks[bool(info.member[s])]}  "
        f"{why[s][:1].upper()}{why[s][1:]}"
        for place, s in enumerate(ranked, 1)
    ]


def test_the_button_says_where_the_best_step_is_the_shown_one(own_home: Path) -> None:
    made = config(methods=["dtvg"], targets=["lake"], seeds=[0])
    run = find(record(own_home / "runs", made, steps=24), "dtvg")
    assert run.result is not None and run.result.best_step
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    for key, value in {"experiment": made.name, "run": run.name}.items():
        page.query_params[key] = value
    page.query_params["step"] = str(run.result.best_step)
    page.run()
    (button,) = [b for b in page.button if b.label.startswith("Best step")]
    assert button.label == "Best step is shown" and button.disabled
    page.slider[0].set_value(run.result.best_step - 1).run()
    (button,) = [b for b in page.button if b.label.startswith("Best step")]
    assert button.label == "Best step" and not button.disabled


def test_a_step_between_those_of_a_thinned_log_has_the_address_of_the_shown_one(
    own_home: Path,
) -> None:
    thinned = {"detail": "thinned", "thin_every": 5}
    made = config(methods=["dtvg"], targets=["lake"], seeds=[0], logging=thinned)
    steps = np.arange(1, 25)
    logged = (steps == 1) | (steps % 5 == 0)

    def rows(run: RunConfig, writer: RunWriter) -> RunResult:
        grams = drifting_grams(len(steps), len(run.sources), run.seed)
        made_runs.write_steps(writer, run, steps[logged], grams[logged])
        return made_runs.result_of(24, 0.5, 0.5, {"accuracy": 0.5})

    made_runs.write_experiment(own_home / "runs", made, rows)
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    page.query_params["experiment"] = made.name
    page.run()
    page.slider[0].set_value(13).run()
    assert "The decision at step 10" in [said.value for said in page.header]
    again = AppTest.from_file(str(PAGE), default_timeout=60)
    for key in ("experiment", "run", "step"):
        value = page.query_params[key]
        again.query_params[key] = value if isinstance(value, str) else value[0]
    again.run()
    assert not again.warning
    assert "The decision at step 10" in [said.value for said in again.header]
    page.run()  # the slider stays where it was put
    assert page.slider[0].value == 13


def test_launch_opens_with_what_was_replayed(own_home: Path) -> None:
    from dtvg.ui.explain import launch_query

    made = config(methods=["dtvg"], targets=["lake"], seeds=[0])
    run = find(record(own_home / "runs", made, steps=24), "dtvg")
    changes = {"rule": "similarity_only", "threshold": 0.1, "consistency_weight": 0.5}
    page = AppTest.from_file(str(PAGE.with_name("launch.py")), default_timeout=60)
    page.query_params["preset"] = "clone"
    page.query_params["clone"] = f"{made.name}/{run.name}"
    page.query_params["set"] = launch_query(run, changes, run.sources[:1])
    page.run()
    assert not page.exception and not page.error
    form = yaml.safe_load(page.code[0].value)
    (method,) = form["methods"]
    assert (method["rule"], method["threshold"]) == ("similarity_only", 0.1)
    assert form["sources"] == list(run.sources[1:]) and form["targets"] == ["lake"]
    assert launch_query(run, {}, run.sources) == ""  # no source would be left


@pytest.mark.parametrize("cut", ["0.12345678", "1234567.8", "0.5", "-0.25"])
def test_an_address_holds_every_digit_of_a_cut(own_home: Path, cut: str) -> None:
    record(own_home / "runs", config(methods=["dtvg"], targets=["lake"], seeds=[0]), steps=20)
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    page.query_params["cut"] = cut
    page.run()
    assert not page.exception and not page.error
    assert page.query_params["cut"] == cut


def test_a_run_without_a_readable_configuration_says_what_is_wrong(own_home: Path) -> None:
    made = record(own_home / "runs", config(methods=["dtvg"], targets=["lake"], seeds=[0]), steps=9)
    (find(made, "dtvg").path / "config.yaml").write_text("a: [1\n")
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert not page.exception
    said = {e.value for e in page.error}
    assert len(said) == 1 and "cannot be read" in said.pop()


def test_runs_of_one_name_in_two_experiments_are_zoomed_into_apart(own_home: Path) -> None:
    zoomed = []
    for name in ("one", "two"):
        made = config(name, methods=["dtvg"], targets=["lake"], seeds=[0])
        record(own_home / "runs", made, steps=20)
        page = AppTest.from_file(str(PAGE), default_timeout=60)
        page.query_params["experiment"] = name
        zoomed.append({c["figure"]["layout"]["uirevision"] for c in charts(page.run())})
    assert len(zoomed[0]) == len(zoomed[1]) > 5 and not zoomed[0] & zoomed[1]


def test_rules_are_replayed_with_the_measure_of_the_run(own_home: Path) -> None:
    made = config(methods=[{"name": "dtvg", "measure": "cosine"}], targets=["lake"], seeds=[0])
    (run,) = [r for r in record(own_home / "runs", made, steps=12).runs if r.role == "transfer"]
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    for key, value in {"experiment": made.name, "run": run.name}.items():
        page.query_params[key] = value
    page.run()
    assert not page.exception and not page.error
    (measure,) = [box for box in page.selectbox if box.label == "Measure"]
    assert measure.value == "cosine"
    assert not [text for text in page.markdown if "Launch with" in text.value]
