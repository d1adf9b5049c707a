"""A deleted run that its cohort's commit still holds is trained again, never half restored."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtvg.config import build_config
from dtvg.records import RunState
from dtvg.store import trash
from dtvg.store.bank import PromptBank
from dtvg.store.layout import ExperimentDir, create_experiment
from dtvg.store.reader import open_run, read_table
from dtvg.store.status import request
from dtvg.store.verify import verify_run
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import loop
from dtvg.training.procedures import run_experiment

NAMES = ("rte.dtvg.s0", "rte.none.s0")


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest):
    """Two runs of one cohort, stopped after six steps or finished."""
    monkeypatch.setenv("DTVG_HOME", str(tmp_path / "home"))
    values = tiny_config(tmp_path / "parts", methods=["dtvg", "none"])
    experiment = create_experiment(build_config(values), tmp_path / "home" / "runs")
    if request.param == "stopped":
        whole = loop.hold_sources

        def hold(cohort) -> None:
            for slot in cohort.slots:
                if slot.name in NAMES and slot.step == 6:
                    _ask(experiment, slot.name)
            whole(cohort)

        with monkeypatch.context() as inner:
            inner.setattr(loop, "CONTROL_SECONDS", 0.0)
            inner.setattr(loop, "hold_sources", hold)
            run_experiment(experiment, bank=PromptBank(tmp_path / "bank"))
    else:
        run_experiment(experiment, bank=PromptBank(tmp_path / "bank"))
    return experiment, PromptBank(tmp_path / "bank")


def _ask(experiment: ExperimentDir, name: str) -> None:
    request(experiment.run(name), "stop")


@pytest.mark.parametrize("trained", ["stopped", "finished"], indirect=True)
def test_a_deleted_run_is_trained_anew_from_its_first_step(trained) -> None:
    experiment, bank = trained
    trash.delete(experiment, NAMES[0])
    run_experiment(experiment, bank=bank)
    for name in NAMES:
        run = open_run(experiment.run(name).path)
        assert run.state is RunState.FINISHED
        assert read_table(run, "steps").column("step").to_pylist() == list(range(1, 13))
        assert verify_run(run.path) == [], name


@pytest.mark.parametrize("trained", ["stopped"], indirect=True)
def test_a_restored_run_goes_on_where_it_stood(trained) -> None:
    experiment, bank = trained
    trash.delete(experiment, NAMES[0])
    trash.restore(f"{experiment.name}/{NAMES[0]}")
    run_experiment(experiment, bank=bank)
    run = open_run(experiment.run(NAMES[0]).path)
    kinds = read_table(run, "events").column("kind").to_pylist()
    assert run.state is RunState.FINISHED and kinds.count("started") == 1 and "resumed" in kinds
    assert verify_run(run.path) == []


@pytest.mark.parametrize("trained", ["stopped"], indirect=True)
def test_a_run_that_was_restored_over_its_second_life_has_no_row_twice(
    trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit was that of the second life, at step 2; rows up to step 6 were there."""
    experiment, bank = trained
    first = trash.delete(experiment, NAMES[0])
    usual = loop.hold_sources

    def hold(cohort) -> None:
        if any(slot.name == NAMES[0] and slot.step == 2 for slot in cohort.slots):
            _ask(experiment, NAMES[0])
        usual(cohort)

    with monkeypatch.context() as inner:
        inner.setattr(loop, "CONTROL_SECONDS", 0.0)
        inner.setattr(loop, "hold_sources", hold)
        run_experiment(experiment, bank=bank)
    trash.delete(experiment, NAMES[0])
    trash.restore(first.id)
    run_experiment(experiment, bank=bank)
    run = open_run(experiment.run(NAMES[0]).path)
    scored = read_table(run, "evals", ["step", "split", "metric"]).to_pylist()
    assert len({tuple(row.values()) for row in scored}) == len(scored)
    assert verify_run(run.path) == []
