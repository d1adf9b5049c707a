"""The Python interface and the command line on the recorded example."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dtvg
from dtvg.api import EXPERIMENT_FIGURES, RUN_FIGURES
from dtvg.cli import main
from dtvg.errors import ConfigError, DtvgError, StoreError
from dtvg.store.verify import verify_run

EXAMPLE = Path(__file__).resolve().parent.parent / "data" / "examples" / "demo-recorded"


def test_the_recorded_example_is_whole_and_replays() -> None:
    experiment = dtvg.open_experiment(EXAMPLE)
    runs = [run for run in experiment.runs if run.view.role == "transfer"]
    assert experiment.view.config is not None
    planned = experiment.view.config.runs()
    assert {run.view.name for run in runs} == {run.name for run in planned}
    details = {run.name: run.logging.detail for run in planned}
    looked_at = [run.view for run in runs if run.view.seed in (0, 9)]  # some of every kind
    assert {details[view.name] for view in looked_at} == {"full", "thinned", "scores"}
    for view in looked_at:
        assert view.state.value == "finished" and verify_run(view.path) == []


def test_tables_and_figures_of_a_run_and_an_experiment() -> None:
    experiment = dtvg.open_experiment(EXAMPLE)
    run = experiment.run("trip-mood.dtvg.s0")
    assert len(run.table("steps")) == 150 and len(run.table("sources")) == 1200
    assert run.explain(10)["why"].str.len().min() > 10
    assert {"mean", "std", "n_seeds"} <= set(experiment.scores())
    assert "verdict" in experiment.verdicts()
    for frame in (experiment.ranks(), experiment.profile(), experiment.costs()):
        assert "dtvg" in set(frame["method"])
    assert experiment.published().empty
    assert experiment.export("csv").startswith("origin,method,target")
    for name in RUN_FIGURES:
        assert run.figure(name).data
    for name in EXPERIMENT_FIGURES:
        assert experiment.figure(name).data
    with pytest.raises(ConfigError, match="Did you mean 'membership'"):
        run.figure("membershp")


@pytest.mark.parametrize(
    "words",
    [
        ["methods", "list"],
        ["tasks", "list"],
        ["prompts", "list"],
        ["runs", "list"],
        ["runs", "show", "demo-recorded"],
        ["runs", "compare", "demo-recorded"],
        ["runs", "show", "demo-recorded/trip-mood.dtvg.s0"],
        ["runs", "verify", "demo-recorded/trip-mood.dtvg.s0"],
        ["demo", "run", "--dry-run"],
    ],
    ids=" ".join,
)
def test_commands_answer(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out.strip()


def test_mistakes_are_answered_with_one_sentence_and_status_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["runs", "show", "demo-recordd"]) == 2
    assert main(["run", str(tmp_path / "absent.yaml")]) == 2
    file = tmp_path / "a.yaml"
    file.write_text("targets: [rtee]\nmethods: [none]\n")
    assert main(["run", str(file), "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert "There is no configuration file" in said and "Did you mean 'rte'" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("open_it", "sentence"),
    [
        (lambda: dtvg.open_experiment("demo-recordd"), "Did you mean 'demo-recorded'"),
        (lambda: dtvg.open_experiment("demo-recorded/trip-mood.dtvg.s0"), "open it with open_run"),
        (
            lambda: dtvg.open_experiment("/nowhere/mine"),
            "no experiment in '/nowhere/mine'",
        ),
        (lambda: dtvg.claims("nope"), "Unknown experiment 'nope'"),
        (lambda: dtvg.open_run(EXAMPLE / "s77"), "Unknown run 's77'"),
        (lambda: dtvg.open_run("demo-recorded/trip-mood.dtvg.s00"), "Did you mean 'trip-mood.dtvg"),
        (lambda: dtvg.open_run("demo-recorded/cohorts"), "Unknown run 'cohorts'"),
        (lambda: dtvg.open_run("demo-recorded"), "'demo-recorded' is an experiment; name one of"),
    ],
)
def test_wrong_names_are_refused_in_python(open_it: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(StoreError, match=sentence):
        open_it()


def test_names_open_what_paths_open() -> None:
    named = dtvg.open_experiment("demo-recorded")
    assert named.view.path == dtvg.open_experiment(EXAMPLE).view.path
    assert named.name == "demo-recorded" and named.finished
    run = dtvg.open_run("demo-recorded/trip-mood.dtvg.s0")
    assert run.view.path == dtvg.open_run(EXAMPLE / "trip-mood.dtvg.s0").view.path
    assert run.config is not None and run.config.name == run.name
    assert run.result is not None and run.result.test_score is not None


def test_what_python_shows_fits_in_a_line() -> None:
    experiment = dtvg.open_experiment("demo-recorded")
    assert repr(experiment) == "<experiment demo-recorded: 258 of 258 runs finished>"
    assert repr(experiment.run("trip-mood.dtvg.s0")).startswith(
        "<run demo-recorded/trip-mood.dtvg.s0: finished, step 150 of 150, test score 0."
    )
    assert (
        str(experiment.config)
        == repr(experiment.config)
        == ("<configuration 'demo-recorded': 8 sources, 2 targets, 10 methods, 10 seeds>")
    )
    claims = dtvg.claims("yelp-recorded")
    assert repr(claims).startswith("<claims from 14 runs: a cannot tell, b ")
    with pytest.raises(ConfigError, match="Unknown claim 'z'. Allowed: a, b, c, d, e, f, g"):
        claims["z"]


def _small(name: str, steps: int = 2) -> dict[str, Any]:
    return {
        "name": name,
        "sources": ["film-mood"],
        "targets": ["trip-mood"],
        "methods": ["none"],
        "seeds": [0],
        "optim.steps": steps,
    }


def test_settings_for_python_are_texts_or_a_mapping() -> None:
    file = EXAMPLE.parent.parent / "demo" / "experiment.yaml"
    assert dtvg.load_config(file, "name=mine").name == "mine"
    whole = dtvg.load_config(file)
    for given in ({"optim.steps": 7}, {"optim": {"steps": 7}}, ["optim.steps=7"]):
        changed = dtvg.load_config(file, given)
        assert changed.optim == whole.optim.model_copy(update={"steps": 7})
    with pytest.raises(ConfigError, match="Did you mean 'name'"):
        dtvg.load_config(file, {"nam": "mine"})
    with pytest.raises(ConfigError, match="An override is a text such as"):
        dtvg.load_config(file, [("name", "mine")])  # type: ignore[list-item]


def test_a_yaml_file_can_be_run_and_nothing_else_is_taken_for_one(tmp_path: Path) -> None:
    file = EXAMPLE.parent.parent / "demo" / "experiment.yaml"
    written = tmp_path / "small.yaml"
    written.write_text(dtvg.load_config(file, _small("small")).to_yaml())
    made = dtvg.run(written, tmp_path / "runs", progress=False)
    assert made.finished and dtvg.open_experiment("small", tmp_path / "runs").finished
    with pytest.raises(ConfigError, match="takes a configuration or a YAML file, not a dict"):
        dtvg.run({"targets": ["trip-mood"]})  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_a_stopped_run_does_not_return_as_if_it_had_finished(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dtvg.training import procedures

    real = procedures.train_cohort

    def signalled(session: Any, cohort: Any) -> None:
        os.kill(os.getpid(), number)
        real(session, cohort)

    file = EXAMPLE.parent.parent / "demo" / "experiment.yaml"
    config = dtvg.load_config(file, _small("small", 5))
    assert threading.current_thread() is threading.main_thread()
    with monkeypatch.context() as patch:
        patch.setattr(procedures, "train_cohort", signalled)
        with pytest.raises(KeyboardInterrupt, match="'small' was stopped after a commit"):
            dtvg.run(config, tmp_path, progress=False)
    assert not dtvg.open_experiment("small", tmp_path).finished
    assert dtvg.run(config, tmp_path, progress=False).finished


def test_a_name_that_no_run_has_is_refused_as_on_the_command_line() -> None:
    experiment = dtvg.open_experiment("demo-recorded")
    with pytest.raises(DtvgError, match="method among finished runs .subject. 'dtvgg'"):
        experiment.verdicts(subject="dtvgg")
    with pytest.raises(DtvgError, match="baseline. 'nome'"):
        experiment.compare(against=["nome"])
    with pytest.raises(DtvgError, match="name at least one"):
        dtvg.claims()
    for margin in (1.5, -0.01, float("nan")):  # 1.5 points are 0.015
        with pytest.raises(DtvgError, match="margin is a share from 0 to 1"):
            experiment.claims(margin)


def test_one_name_is_one_name_wherever_several_may_be_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    experiment = dtvg.open_experiment(EXAMPLE)
    assert experiment.export("csv", "ranks") == experiment.export("csv", ["ranks"])
    one, listed = (experiment.compare(against=names).verdicts for names in ("none", ["none"]))
    assert one.equals(listed) and set(one["baseline"]) == {"none"}
    asked: list[Any] = []

    def refuse(trials: Any, *more: Any) -> None:
        asked.append(trials.on)
        raise ConfigError("enough")

    monkeypatch.setattr("dtvg.cli.tune.run_trials", refuse)
    assert experiment.config is not None
    with pytest.raises(ConfigError, match="enough"):
        dtvg.tune(experiment.config, "film-mood", trials=1)
    assert asked == [("film-mood",)]


@pytest.mark.parametrize("margin", [-0.01, 2, float("nan")])
def test_a_margin_that_is_no_difference_of_scores_is_refused(margin: float) -> None:
    with pytest.raises(ConfigError, match="from 0 to 1"):
        dtvg.claims(EXAMPLE, margin=margin)


WRONG: dict[str, Callable[[dtvg.api.Experiment, dtvg.api.Run], object]] = {
    "step takes a number, got 'a'": lambda e, r: r.explain("a"),  # type: ignore[arg-type]
    "name takes a name, got \\['steps'\\]": lambda e, r: r.table(["steps"]),  # type: ignore[arg-type]
    "name takes a name, got 3": lambda e, r: r.figure(3),  # type: ignore[arg-type]
    "name takes a name, got None": lambda e, r: e.run(None),  # type: ignore[arg-type]
    "name takes a name, got 4": lambda e, r: e.figure(4),  # type: ignore[arg-type]
    "split takes a name, got 1": lambda e, r: e.scores(1),  # type: ignore[arg-type]
    "metric takes a name, got None": lambda e, r: e.compare(metric=None),  # type: ignore[arg-type]
    "subject takes a name, got 3": lambda e, r: e.verdicts(subject=3),  # type: ignore[arg-type]
    "against takes a name, got 3": lambda e, r: e.compare(against=3),  # type: ignore[arg-type]
    "against takes a name, got None": lambda e, r: e.compare(against=[None]),  # type: ignore[list-item]
    "tables takes a name, got 3": lambda e, r: e.export(tables=3),  # type: ignore[arg-type]
    "form takes a name, got None": lambda e, r: e.export(None),  # type: ignore[arg-type]
    "margin takes a number, got 'a'": lambda e, r: e.claims("a"),  # type: ignore[arg-type]
    "Unknown claim '\\[\\]'": lambda e, r: e.claims()[[]],  # type: ignore[index]
    "runs_dir takes a folder, got 3": lambda e, r: dtvg.open_experiment("a", 3),  # type: ignore[arg-type]
    "read from a YAML file, got 3": lambda e, r: dtvg.load_config(3),  # type: ignore[arg-type]
    "dtvg.tune takes a configuration, not a dict": lambda e, r: dtvg.tune({}, "rte"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("said", WRONG)
def test_what_is_of_a_wrong_type_is_refused_in_one_sentence(said: str) -> None:
    experiment = dtvg.open_experiment(EXAMPLE)
    run = next(run for run in experiment.runs if run.view.method == "dtvg")
    with pytest.raises(DtvgError, match=said):
        WRONG[said](experiment, run)
