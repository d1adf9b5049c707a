"""Addresses: what is not there is said and stays, defaults are not written, foreign keys go."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.analysis.factory import config, record

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("recorded")
    record(runs, config(targets=["lake"], seeds=[0, 1]), steps=20)
    record(runs, config("other", targets=["lake"], seeds=[0]), steps=20)
    return runs


@pytest.fixture
def home(own_home: Path, recorded: Path) -> Path:
    shutil.copytree(recorded / "trial", own_home / "runs" / "trial")
    return own_home


def opened(page: str, /, **query: str) -> AppTest:
    made = AppTest.from_file(str(ROOT / "pages" / f"{page}.py"), default_timeout=60)
    for key, value in query.items():
        made.query_params[key] = value
    return sound(made.run())


def sound(made: AppTest) -> AppTest:
    assert not made.exception and not made.error
    return made


def query(made: AppTest) -> dict[str, str]:
    return {k: v[0] if isinstance(v, list) else v for k, v in made.query_params.items()}


def said(made: AppTest) -> str:
    return " ".join(w.value for w in made.warning)


@pytest.mark.parametrize("page", ["live", "groups", "explain", "compare", "share"])
def test_an_experiment_that_is_not_there_is_said_and_its_address_stays(
    home: Path, page: str
) -> None:
    asked = {"experiment": "trail", "run": "lake.dtvg.s0", "view": "Seeds"}
    made = opened(page, **asked)
    assert "no experiment 'trail'" in said(made) and "'trial'" in said(made)
    assert query(sound(made.run())) == asked
    if page == "compare":
        sound(made.multiselect[0].set_value(["trial"]).run())
    else:
        sound(made.selectbox(key="experiment").select("trial").run())
    assert query(made)["experiment"] == "trial" and "trail" not in said(made)


def test_a_run_that_is_not_there_is_said_and_another_experiment_begins_at_its_own(
    home: Path, recorded: Path
) -> None:
    shutil.copytree(recorded / "other", home / "runs" / "other")
    asked = {"experiment": "trial", "run": "lake.dtvg.s7"}
    made = opened("groups", **asked)
    assert "has no run 'lake.dtvg.s7'" in said(made) and query(made) == asked
    sound(made.selectbox(key="experiment").select("other").run())
    assert query(made) == {"experiment": "other", "run": "lake.dtvg.s0"} and not said(made)
    sound(made.selectbox(key="experiment").select("trial").run())
    assert query(made)["experiment"] == "trial" and not said(made)


def test_a_step_that_is_not_recorded_is_said_and_the_nearest_one_offered(home: Path) -> None:
    asked = {"experiment": "trial", "run": "lake.dtvg.s0", "step": "400"}
    made = opened("explain", **asked)
    assert "Step '400'" in said(made) and query(made) == asked
    assert not [h for h in made.header if "decision" in h.value]
    (button,) = [b for b in made.button if b.label.startswith("Show step")]
    sound(button.click().run())
    assert "The decision at step 20" in [h.value for h in made.header]
    assert not said(made)


def test_a_step_of_the_run_opens_and_the_newest_is_not_written(home: Path) -> None:
    asked = {"experiment": "trial", "run": "lake.dtvg.s0", "step": "7"}
    made = opened("explain", **asked)
    assert query(made) == asked
    sound(made.slider(key="step").set_value(20).run())
    assert "step" not in query(made)


def test_defaults_and_foreign_keys_are_not_in_an_address_and_choices_are(home: Path) -> None:
    assert query(opened("overview")) == {}
    made = opened("compare", experiment="trial", split="test", which="best", tour="2")
    assert query(made) == {"experiment": "trial"}
    sound(made.selectbox(key="split").select("validation").run())
    assert query(made) == {"experiment": "trial", "split": "validation"}
    del made.query_params["split"]  # the back button
    sound(made.run())
    assert made.selectbox(key="split").value == "test"


def test_of_two_experiments_the_one_that_is_there_is_compared_and_the_other_named(
    home: Path,
) -> None:
    made = opened("compare", experiment="trial,gone")
    assert "'gone'" in said(made) and made.multiselect[0].value == ["trial"]
    assert query(made) == {"experiment": "trial,gone"}
    made = opened("compare", runs="trial/lake.dtvg.s0,trial/lake.none.s9")
    assert "lake.none.s9" in said(made)


def test_a_foreign_folder_is_nobody_s_default(home: Path) -> None:
    (home / "runs" / "wandb" / "run-1").mkdir(parents=True)
    for page in ("live", "groups", "compare"):
        assert query(opened(page))["experiment"] == "trial"


def test_a_task_that_is_not_there_is_said(home: Path) -> None:
    made = opened("tasks", task="rtee")
    assert "no task 'rtee'" in said(made) and query(made) == {"task": "rtee"}


def test_a_view_that_is_not_there_is_said(home: Path) -> None:
    asked = {"experiment": "trial", "view": "Verdict"}
    made = opened("compare", **asked)
    assert "no view 'Verdict'" in said(made) and "'Verdicts'" in said(made)
    assert query(sound(made.run())) == asked
    made.segmented_control(key="view").set_value("Cost")
    sound(made.run())
    assert "no view" not in said(made) and query(made)["view"] == "Cost"


def test_a_run_to_lay_over_others_that_is_not_there_is_said(home: Path) -> None:
    for runs in ("trial/gone", "trial/lake.dtvg.s0,trial/gone", "gone/lake.dtvg.s0"):
        made = opened("curves", runs=runs)
        for again in range(2):
            assert "no longer there" in said(made).lower(), (runs, again)
            assert query(made)["runs"] == runs
            sound(made.run())
    made.multiselect(key="runs").set_value(["trial/lake.none.s0"])
    sound(made.run())
    assert query(made)["runs"] == "trial/lake.none.s0" and not said(made)


def test_one_goes_back_to_what_was_cloned_before(home: Path) -> None:
    made = opened("launch", preset="clone", clone="trial")
    sound(made.selectbox(key="clone-name").select("demo-recorded").run())
    run = made.selectbox(key="clone-run-demo-recorded").options[1]
    sound(made.selectbox(key="clone-run-demo-recorded").select_index(1).run())
    assert query(made)["clone"] != "demo-recorded", f"{run} was chosen"
    made.query_params["clone"] = "demo-recorded"  # what the browser does
    sound(made.run())
    assert made.selectbox(key="clone-run-demo-recorded").value == "whole experiment"
    made.query_params["clone"] = "trial"
    sound(made.run())
    assert made.selectbox(key="clone-name").value == query(made)["clone"] == "trial"


def test_nothing_else_is_cloned_than_what_was_asked_for(home: Path) -> None:
    asked = {"preset": "clone", "clone": "trail"}
    made = opened("launch", **asked)
    assert "no experiment 'trail'" in said(made) and "'trial'" in said(made)
    assert query(sound(made.run())) == asked
    sound(made.selectbox(key="clone-name").select("trial").run())
    assert not said(made) and query(made)["clone"] == "trial"


def told(made: AppTest) -> str:
    """What the page says of its address."""
    return " ".join(c.value for c in made.caption if "address asks for" in c.value)


def test_a_rule_that_is_not_there_is_said_and_the_run_s_own_is_chosen(home: Path) -> None:
    made = opened("explain", experiment="trial", run="lake.dtvg.s0", rule="grdy")
    assert "rule=grdy" in told(made) and "Did you mean greedy?" in told(made)
    assert told(made).count("address asks for") == 1
    assert "rule" not in query(made)
    assert not told(sound(made.run()))


@pytest.mark.parametrize(
    ("page", "key", "text", "words"),
    [
        ("launch", "preset", "zzz", "Allowed: "),
        ("launch", "effect", "999", "instead&#58; 2. Allowed&#58; a number of at least 0.1"),
        ("launch", "set", "{optim.steps: 2024-99-99}", "Allowed: YAML"),
        ("launch", "set", "{optim.steeps: 5}", "optim.steeps"),
        ("overview", "page", "99", "a whole number from 1 to"),
        ("overview", "tour", "zzz", "Allowed: 1, 2"),
        ("overview", "falling", "yes", "True or False"),
        ("overview", "columns", "state,zzz", "columns=zzz"),
        ("explain", "cut", "abc", "a number"),
        ("explain", "lambda", "-1", "of at least 0"),
        ("explain", "every", "1e308", "at most 1e+09"),
        ("explain", "without", "zzz", "instead&#58; nothing"),
        ("tasks", "row", "-4", "a whole number from 0"),
        ("curves", "smooth", "2", "instead&#58; 0.99"),
        ("curves", "logx", "1", "instead&#58; False"),
        ("curves", "panels", "zzz", "instead&#58; loss, score"),
        ("curves", "logy", "zzz", "logy=zzz"),
        ("curves", "off", "zzz", "off=zzz"),
        ("compare", "pool", "1", "True or False"),
        ("compare", "runs", "zzz", "experiment/run"),
        ("live", "log", "1", "True or False"),
        ("share", "views", "scores,zzz", "views=zzz"),
    ],
)
def test_a_value_that_cannot_be_taken_is_said_once_with_what_is_allowed_and_shown(
    home: Path, recorded: Path, page: str, key: str, text: str, words: str
) -> None:
    where = {} if page in ("overview", "launch", "tasks") else {"experiment": "trial"}
    where = {"runs": "trial/lake.dtvg.s0"} if page == "curves" else where
    where = {"task": "trip-mood"} if page == "tasks" else where
    where = {"preset": "guide"} if key == "effect" else where
    if key == "pool":
        shutil.copytree(recorded / "other", home / "runs" / "other")
        where = {"experiment": "trial,other"}
    made = opened(page, **where, **{key: text})
    found = told(made).replace("&#58;", ":").replace("\\", "")
    assert f"asks for {key}=" in found and words.replace("&#58;", ":") in found
    assert found.count("address asks for") == 1


ALL = "amber,birch,cedar,dune"
RUNS = ",".join(f"trial/lake.single-{s}.s{n}" for s in ALL.split(",") for n in range(2))


@pytest.mark.parametrize(
    ("page", "asked"),
    [
        ("launch", {"set": "{optim.steps: 2024-99-99}"}),
        ("launch", {"set": "{optim.steps: !!float foo}"}),
        ("launch", {"set": "{optim.steps: !!timestamp foo}"}),
        ("launch", {"set": "[" * 3000}),
        ("launch", {"set": "{sources: [1, 2, {a: b}]}"}),
        ("launch", {"set": "{sources: &a [*a], methods: [*a], optim.precision: {a: b}}"}),
        ("curves", {"runs": "trial/lake.dtvg.s0,trial/lake.dtvg.s0"}),
        ("curves", {"runs": "trial/lake.dtvg.s0", "panels": "loss,loss"}),
        ("explain", {"experiment": "trial", "run": "lake.dtvg.s0", "without": ALL}),
        ("explain", {"experiment": "trial", "run": "lake.dtvg.s0", "every": "1e308"}),
        ("explain", {"experiment": "trial", "run": "lake.dtvg.s0", "cut": "-1e308"}),
        ("tasks", {"folder": "x" * 5000}),
        ("tasks", {"folder": "~nobody-at-all/x"}),
        ("tasks", {"task": "trip-mood", "with": "x" * 5000}),
        ("tasks", {"task": "trip-mood", "with": "~nobody-at-all/x"}),
    ],
)
def test_no_address_ends_in_an_apology(home: Path, page: str, asked: dict[str, str]) -> None:
    made = AppTest.from_file(str(ROOT / "pages" / f"{page}.py"), default_timeout=60)
    for key, value in asked.items():
        made.query_params[key] = value
    made.run()
    assert not made.exception
    assert not [e for e in made.error if "did not work" in e.value]


def test_of_more_runs_than_can_be_told_apart_the_first_are_shown(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dtvg.ui.curves.MOST", 3)
    made = opened("curves", runs=RUNS)
    assert len(made.multiselect(key="runs").value) == 3
    assert "at most 3 runs" in told(made) and "the first 3" in told(made)
