"""The Python interface and the command line on the recorded example."""

from __future__ import annotations

from pathlib import Path

import pytest

import dtvg
from dtvg.api import EXPERIMENT_FIGURES, RUN_FIGURES
from dtvg.cli import main
from dtvg.errors import ConfigError
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
