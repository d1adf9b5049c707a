"""Every method gets the same number of trials on a development target, and the file says so."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

import dtvg
from dtvg import tuning
from dtvg.cli import main, run
from dtvg.config import build_config, load_config
from dtvg.config.budgets import rate_row
from dtvg.errors import ConfigError, StoreError
from dtvg.methods.specs import METHODS
from dtvg.records import RunResult, RunState
from dtvg.store.layout import create_experiment
from dtvg.store.reader import Experiment, Run, open_experiment, read_table
from dtvg.testing.tiny_run import tiny_config

METHODS_TUNED = ["none", {"name": "attempt", "projection": 4}]


def made(*methods, **more):
    values = {"sources": ["sst2", "mnli"], "targets": ["rte"], "methods": list(methods)}
    return build_config({**values, "seeds": [0, 1], **more})


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory):
    """A file before and after `dtvg tune` on the command line, and the folder of runs."""
    folder = tmp_path_factory.mktemp("tune")
    values = tiny_config(folder / "parts", methods=METHODS_TUNED, name="small")
    file = folder / "small.yaml"
    text = "# kept\n" + yaml.safe_dump(values, sort_keys=False)
    file.write_text(text)
    command = ["tune", str(file), "--on", "mrpc", "--trials", "3", "--runs-dir"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DTVG_HOME", str(folder / "home"))
        assert main([*command, str(folder / "runs")]) == 0
    return text, file, folder


def test_every_method_has_the_same_number_of_trials() -> None:
    config = made(*(name for name in METHODS))
    trials = tuning.trials_of(config, ["cb"], 6)
    assert {len(entries) for entries in trials.of} == {6} and trials.count == 6
    labels = [method.label for method in trials.config.methods]
    assert len(set(labels)) == len(labels) == 6 * len(METHODS)
    assert trials.config.targets == ("cb",) and trials.config.seeds == (0,)
    assert trials.config.evaluation.at_end == "none"


def test_the_first_trials_are_the_rates_there_are_and_the_method_s_own() -> None:
    own = tuning.trials_of(made("attempt"), ["cb"], 3).of[0]
    assert own[0].given == {"lr": 0.3, "lr_gate": 0.3} and own[1].given != own[0].given
    named = tuning.trials_of(made("attempt", optim={"lr_prompt": 0.01}), ["cb"], 3, span=2).of[0]
    assert named[0].given == {"lr": 0.01, "lr_gate": 0.01}
    assert named[1].given == {"lr": 0.3, "lr_gate": 0.3}
    assert 0.005 <= named[2].lr <= 0.02
    scales = tuning.trials_of(made("dtvg"), ["cb"], 5).of[0]
    assert all(entry.lr_scale == entry.lr_scale_target for entry in scales)


def test_what_cannot_be_tuned_is_said() -> None:
    config = made("none", "attempt")
    with pytest.raises(ConfigError, match="'rte' is a target"):
        tuning.trials_of(config, ["cb", "rte"])
    with pytest.raises(ConfigError, match="the grid gives none 2, attempt 1"):
        tuning.trials_of(config, ["cb"], grid={"none": {"lr": [0.1, 0.2]}})
    with pytest.raises(ConfigError, match="has no rate 'lr_gate'; it has lr"):
        tuning.trials_of(config, ["cb"], grid={"none": {"lr_gate": [0.1]}})
    with pytest.raises(ConfigError, match="Unknown method of the grid 'nne'"):
        tuning.trials_of(config, ["cb"], grid={"nne": {"lr": [0.1, 0.2]}})
    nan, inf = float("nan"), float("inf")
    for wrong in (nan, inf, 1e200, 0.0):
        with pytest.raises(ConfigError, match="Tuning takes|'lr': must be"):
            tuning.trials_of(config, ["cb"], span=wrong)
        with pytest.raises(ConfigError, match="trial of 'none': 'lr': must be"):
            tuning.trials_of(config, ["cb"], grid={"none": {"lr": [wrong]}})
    even = {"none": {"lr": [0.1, 0.2]}, "attempt": {"lr_gate": [0.1, 0.2]}}
    assert tuning.trials_of(config, ["cb"], grid=even).count == 2


@pytest.mark.parametrize(
    ("span", "grid", "said"),
    [
        (10, {"atempt": {"lr": [0.1]}}, "method of the grid 'atempt'. Did you mean 'attempt'"),
        (10, {"none": {"lr": [-0.1]}, "attempt": {"lr": [0.1]}}, "'lr': must be greater than 0"),
        (float("inf"), None, "a span above 1; got 4 and inf"),
        (1.0001, None, "there are not 4 different rates"),
    ],
)
def test_rates_that_cannot_be_tried_are_refused_in_a_sentence(span, grid, said) -> None:
    with pytest.raises(ConfigError, match=said):
        tuning.trials_of(made("none", "attempt"), ["cb"], 4, span, grid)


NAMED = {
    "hypothesis": {"better": "dtvg", "than": "dtvg-fixed"},
    "seeds_of": {"dtvg-fixed": 1, "none": 2},
    "logging": {"detail_of": {"dtvg-fixed": "thinned"}},
    "prompt": {"given": {"rte": "bank/rte", "sst2": "bank/sst2"}},
}
"""Settings that name rows by their labels, of which rates are a part, and targets."""


def test_an_experiment_that_names_its_rows_is_tuned_and_can_be_read_again() -> None:
    config = made("none", "dtvg", {"name": "dtvg", "rule": "fixed"}, **NAMED)
    trials = tuning.trials_of(config, ["cb"], 3)
    fixed = [entry.label for entry in trials.of[2]]
    assert trials.config.seeds_of == {**dict.fromkeys(fixed, 1), "none": 2}
    assert trials.config.logging.detail_of == dict.fromkeys(fixed, "thinned")
    assert trials.config.prompt.given == {"sst2": "bank/sst2"}

    chosen = tuple(entries[2] for entries in trials.of)
    after = tuning.Tuning(pd.DataFrame(), chosen).applied(config)
    _, greedy, fixed_now = (entry.label for entry in chosen)
    assert (after.hypothesis.better, after.hypothesis.than) == (greedy, fixed_now)
    assert after.seeds_of == {fixed_now: 1, "none": 2}
    assert after.logging.detail_of == {fixed_now: "thinned"}

    text = yaml.safe_dump(config.to_values(), sort_keys=False)
    again = build_config(yaml.safe_load(tuning.written_into(text, chosen, config)))
    assert again == after

    told = "hypothesis: {better: dtvg, than: &row dtvg-fixed}\nseeds_of: {*row : 1, none: 2}\n"
    rest = {k: v for k, v in config.to_values().items() if k not in ("hypothesis", "seeds_of")}
    text = told + yaml.safe_dump(rest, sort_keys=False)
    assert build_config(yaml.safe_load(tuning.written_into(text, chosen, config))) == after


def test_the_command_says_what_it_would_leave_out_and_what_cannot_start(
    tmp_path: Path, own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "small.yaml"
    values = {"name": "small", "backbone": "demo", "sources": ["film-mood"], "seeds": [0]}
    file.write_text(yaml.safe_dump({**values, "targets": ["trip-mood"], "methods": ["none"]}))
    words = ["tune", str(file), "--on", "who-sent", "--dry-run"]
    assert main([*words, "--grid", "none.lr=0.1,0.2", "--trials", "5"]) == 2
    assert "leave --trials and --span out" in capsys.readouterr().err
    assert main([*words, "--set", "data.few_shot=100000"]) == 2
    assert "fewer than data.few_shot asks for" in capsys.readouterr().err
    assert main(words) == 0


def test_trials_are_trained_where_the_experiment_says(
    tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"name": "small", "backbone": "demo", "sources": ["film-mood"], "seeds": [0]}
    values |= {"targets": ["trip-mood"], "methods": ["none"], "scale": {"on": "local"}}
    places: list[str] = []
    monkeypatch.setattr(run, "train", lambda made, scale, quiet: places.append(scale.on))
    with pytest.raises(StoreError, match="have not finished"):
        dtvg.tune(build_config(values), ["who-sent"], 2, tmp_path, progress=False)
    assert places == ["local"]


def test_the_chosen_rates_stand_in_the_file_with_where_they_came_from(tuned) -> None:
    text, file, folder = tuned
    after = file.read_text()
    assert after.startswith("# kept\n") and text.split("seeds:")[1] == after.split("seeds:")[1]
    config = load_config(file)
    experiment = open_experiment(folder / "runs" / "small-tune")
    for method in config.methods:
        proof = method.proven
        assert proof is not None and proof.targets == ("mrpc",) and proof.trials == 3
        assert proof.experiment == "small-tune"
        assert proof.fingerprint == experiment.config.fingerprint()
        rows = [r for r in experiment.runs if r.method_name == method.name]
        assert len(rows) == 3
        best = max(r.result.validation_score for r in rows)
        chosen = next(r for r in rows if r.config.method.given == method.given)
        assert chosen.result.validation_score == best
    assert config.methods[1].projection == 4
    row = rate_row(config.runs()[0])
    assert row.tuned == "3 trials" and row.origin.startswith("tuned on mrpc (small-tune, ")


def test_the_tuning_experiment_never_scores_a_test_row(tuned) -> None:
    experiment = open_experiment(tuned[2] / "runs" / "small-tune")
    runs = [run for run in experiment.runs if run.role == "transfer"]
    assert runs and {run.target for run in runs} == {"mrpc"}
    assert all(run.test_score is None for run in runs)
    assert all("test" not in read_table(r, "evals")["split"].to_pylist() for r in runs)


def test_a_rate_changed_after_tuning_is_not_tuned_any_more(tuned) -> None:
    config = load_config(tuned[1], ["methods.none.lr=0.7"])
    assert rate_row(config.runs()[0]).tuned == "rates not tuned"
    assert rate_row(config.runs()[1]).tuned == "3 trials"


def test_the_same_command_chooses_again_without_training(
    tuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, _, folder = tuned
    monkeypatch.setenv("DTVG_HOME", str(folder / "home"))
    config = build_config(yaml.safe_load(text))
    applied, table = dtvg.tune(config, ["mrpc"], 3, folder / "runs", progress=False)
    assert applied.methods == load_config(tuned[1]).methods
    assert table["chosen"].sum() == 2 and table.groupby("method")["trial"].count().eq(3).all()


def _finished(run, score: float) -> Run:
    result = RunResult(5, score, None, {}, 10, 1.0, 1, {})
    facts = {"method": run.method.label, "method_name": run.method.name, "seed": run.seed}
    where = {"experiment": "x", "name": run.name, "path": Path(run.name), "target": run.target}
    return Run(**where, **facts, state=RunState.FINISHED, result=result)


def test_the_highest_mean_score_wins_then_the_lower_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = tuning.trials_of(made("none", "attempt"), ["cb", "mrpc"], 3, seeds=[0, 1])
    order = {entry.label: i for entries in trials.of for i, entry in enumerate(entries)}
    scores = {"none": (0.2, 0.9, 0.5), "attempt": (0.7, 0.1, 0.7)}
    losses = {"none": (1.0, 1.0, 1.0), "attempt": (2.0, 0.1, 1.0)}
    monkeypatch.setattr(tuning, "_loss", lambda run: losses[run.method_name][order[run.method]])
    runs = [
        _finished(r, scores[r.method.name][order[r.method.label]]) for r in trials.config.runs()
    ]
    found = tuning.choose(trials, Experiment("x", Path("x"), trials.config, tuple(runs)))
    assert found.chosen[0].given == trials.of[0][1].given
    assert found.chosen[1].given == trials.of[1][2].given
    assert found.table["runs"].eq(4).all()


def test_nothing_is_chosen_before_the_trials_have_finished(tmp_path: Path) -> None:
    trials = tuning.trials_of(made("none"), ["cb"], 2)
    experiment = create_experiment(trials.config, tmp_path)
    with pytest.raises(StoreError, match="2 of 2 runs .* have not finished"):
        tuning.choose(trials, open_experiment(experiment.path))


def test_only_the_list_of_methods_is_rewritten() -> None:
    entries = made({"name": "none", "lr": 0.5}).methods
    before = "name: x\nmethods:\n- none  # old\n\n# next\nseeds: [0]\n"
    assert tuning.written_into(before, entries) == (
        "name: x\nmethods:\n  - {name: none, lr: 0.5}\n\n# next\nseeds: [0]\n"
    )
    flow = tuning.written_into("methods: [none]\ntargets: [rte]\n", entries)
    assert flow == "methods:\n  - {name: none, lr: 0.5}\ntargets: [rte]\n"
    with pytest.raises(ConfigError, match="no list 'methods'"):
        tuning.written_into("name: x\n", entries)
