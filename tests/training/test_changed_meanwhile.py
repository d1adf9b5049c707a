"""What changed between two lives of a run: its rows, what was asked of it, what it noted."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file, save_file

from dtvg.config import build_config
from dtvg.methods.base import Inputs, StepBatch, find_method
from dtvg.methods.forkmerge import apply_weights
from dtvg.methods.specs import METHODS
from dtvg.records import RunState
from dtvg.store.bank import PromptBank
from dtvg.store.files import read_json, replace_json
from dtvg.store.fork import fork
from dtvg.store.health import Signs
from dtvg.store.layout import ExperimentDir, create_experiment
from dtvg.store.reader import Run, list_runs, read_table
from dtvg.store.status import request, requested
from dtvg.tasks import reading
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import batches, loop
from dtvg.training.cohort import Cohort
from dtvg.training.procedures import run_experiment
from dtvg.training.recording import StepLog
from dtvg.training.state import RunSlot
from dtvg.training.step import StackStep


class _Killed(BaseException):
    """Ends a life without a word."""


@pytest.fixture
def experiment(tmp_path: Path) -> ExperimentDir:
    values = tiny_config(tmp_path / "parts", methods=["dtvg"], sources=["sst2", "cola"])
    values["optim"] |= {"stage1_steps": 2}
    return create_experiment(build_config(values), tmp_path / "runs")


def _train(experiment: ExperimentDir) -> Run:
    reading._load.cache_clear()
    batches._CACHE.clear()
    run_experiment(experiment, bank=PromptBank(experiment.path.parent.parent / "bank"))
    return _transfer(experiment)


def _transfer(experiment: ExperimentDir) -> Run:
    (run,) = [r for r in list_runs(experiment.path.parent) if r.role == "transfer"]
    return run


def _is_refused(experiment: ExperimentDir, what: str) -> None:
    refused = _train(experiment)
    assert (refused.state, refused.step) == (RunState.FAILED, 6)
    assert f"{what} are others than those that this run began" in refused.message


def _finishes(experiment: ExperimentDir) -> None:
    done = _train(experiment)
    assert done.state is RunState.FINISHED and done.result.steps == 12


def _at_six(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Do something once when the transfer run has made its sixth step."""
    usual = loop.hold_sources
    monkeypatch.setattr(loop, "CONTROL_SECONDS", 0.0)

    def held(cohort: Any) -> None:
        for slot in cohort.slots:
            if slot.config.role == "transfer" and slot.step == 6:
                monkeypatch.setattr(loop, "hold_sources", usual)
                cohort.commit(wait=True)
                act(cohort.run_dirs[slot.name])
        usual(cohort)

    monkeypatch.setattr(loop, "hold_sources", held)


def test_a_run_does_not_go_on_with_other_rows(
    experiment: ExperimentDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    _at_six(monkeypatch, lambda run: request(run, "stop"))
    assert _train(experiment).state is RunState.STOPPED
    (place,) = (experiment.path.parent.parent / "parts" / "data").glob("glue_rte/train.parquet")
    whole = place.read_bytes()
    rows = pq.read_table(place)
    pq.write_table(rows.slice(1).append_column("more", rows.slice(1).column(0)), place)
    refused = _train(experiment)
    assert (refused.state, refused.step) == (RunState.FAILED, 6)
    assert "are others than those that this run began with" in refused.message
    place.write_bytes(whole)
    done = _train(experiment)
    assert done.state is RunState.FINISHED and done.result.steps == 12


def test_a_stop_that_a_dead_process_did_not_meet_stops_no_later_one(
    experiment: ExperimentDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask_and_die(run: Any) -> None:
        request(run, "stop")
        raise _Killed

    _at_six(monkeypatch, ask_and_die)
    with pytest.raises(_Killed):
        _train(experiment)
    assert requested(_transfer(experiment).directory) == {"stop"}
    assert _train(experiment).state is RunState.FINISHED
    assert (
        "stopped" not in read_table(_transfer(experiment), "events", ["kind"]).to_pydict()["kind"]
    )


def test_a_commit_keeps_what_was_noted_at_its_step() -> None:
    slot = RunSlot.__new__(RunSlot)
    for key in RunSlot.SAVED:
        setattr(slot, key, None)
    slot.note, slot.signs = {"restarts": 1, "exchange": {"met": [1]}}, Signs()
    kept = slot.meta()
    slot.note["restarts"] = 2
    slot.note["exchange"]["met"].append(2)
    assert kept["note"] == {"restarts": 1, "exchange": {"met": [1]}}


def test_steps_before_a_merge_are_logged_with_the_weights_of_then() -> None:
    config = METHODS["forkmerge"]()
    method = find_method(config)
    made = torch.Generator().manual_seed(0)
    vectors = torch.randn(1, 2, 3, 4, generator=made)
    zeros = torch.zeros(1, 3, 4)
    names = {"source_names": (("a", "b"),), "seeds": (0,), "targets": ("t",)}
    state = method.prepare(Inputs(zeros, torch.ones(1, 3, 4), vectors, **names))
    rows: dict[str, list[Any]] = {}
    slot: Any = SimpleNamespace(
        name="run", method=config, seconds=0.0, failure=None, loss=None, signs=Signs(), note={},
        config=SimpleNamespace(
            rule_settings=method.settings, sources=("a", "b"), method=config
        ),
        writer=SimpleNamespace(extend=lambda t, c: rows.setdefault(t, []).append(c)),
    )  # fmt: skip
    log = StepLog()
    for step in range(1, 5):
        if step == 3:
            apply_weights(state, ({}, {}), 0, np.array([0.25, 0.75, 0.0]), 2)
        prompt = method.forward(state, StepBatch((step,), (20,), (0,)))
        told = (np.ones((1, 3)), [4], [8], [np.arange(4)])
        log.add([StackStep([slot], [step], prompt, torch.ones(1), torch.ones(1), *told)], 0.0)
    log.drain()
    assert rows["sources"][0]["weight"].tolist() == [0.0, 0.0, 0.0, 0.0, 0.75, 0.0, 0.75, 0.0]


def test_a_run_with_its_own_rows_begins_without_a_commit(
    experiment: ExperimentDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[int] = []
    usual = Cohort.fail
    monkeypatch.setattr(Cohort, "fail", lambda self, f: (failed.append(len(f)), usual(self, f)))
    assert _train(experiment).state is RunState.FINISHED and failed == []


def test_a_pin_that_a_commit_has_is_met_once_though_the_process_died_then(
    experiment: ExperimentDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(run: Any, word: str) -> None:
        raise _Killed

    with monkeypatch.context() as patch:
        _at_six(patch, lambda run: request(run, "pin.sst2"))
        patch.setattr(loop, "clear", die)
        with pytest.raises(_Killed):
            _train(experiment)
    run = _train(experiment)
    assert run.state is RunState.FINISHED and requested(run.directory) == set()
    kinds = read_table(run, "events", ["kind"]).to_pydict()["kind"]
    assert kinds.count("pin") == 1


@pytest.mark.parametrize(
    ("method", "detail", "what"),
    [("dtvg", "thinned", "tuned prompts"), ("forkmerge", "full", "rows")],
)
def test_a_run_does_not_go_on_with_other_rows_of_a_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, detail: str, what: str
) -> None:
    """Without its own copy of what it began with it took the prompts of today, silently."""
    values = tiny_config(tmp_path / "parts", methods=[method], sources=["sst2", "cola"])
    values["optim"] |= {"stage1_steps": 2}
    values["logging"] |= {"detail": detail}
    experiment = create_experiment(build_config(values), tmp_path / "runs")
    _at_six(monkeypatch, lambda run: request(run, "stop"))
    assert _train(experiment).state is RunState.STOPPED
    place = tmp_path / "parts" / "data" / "glue_sst2" / "train.parquet"
    whole = place.read_bytes()
    pq.write_table(pq.read_table(place).slice(1), place)
    if what == "tuned prompts":  # as is advised where a Stage I run has other data now
        shutil.rmtree(experiment.run("stage1.sst2.s0").path)
        (entry,) = (tmp_path / "bank").glob("sst2-*")
        aside = entry.rename(tmp_path / entry.name)
    _is_refused(experiment, f"The {what} of 'sst2'")
    if what == "tuned prompts":
        aside.rename(entry)
    else:
        place.write_bytes(whole)
    _finishes(experiment)


def test_a_run_does_not_go_on_with_another_backbone(
    experiment: ExperimentDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It went on with whatever weights lay in the folder, silently."""
    _at_six(monkeypatch, lambda run: request(run, "stop"))
    assert _train(experiment).state is RunState.STOPPED
    place = experiment.path.parent.parent / "parts" / "backbone" / "model.safetensors"
    whole = place.read_bytes()
    weights = {name: value + 1 for name, value in load_file(place).items()}
    save_file(weights, place, {"format": "pt"})
    _is_refused(experiment, f"The files of '{place.parent}'")
    place.write_bytes(whole)
    _finishes(experiment)


def test_what_made_a_run_stays_noted_where_its_settings_are_written_again(
    experiment: ExperimentDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    _at_six(monkeypatch, lambda run: request(run, "stop"))
    run = _train(experiment).directory
    made = {**(read_json(run.provenance_path) or {}), "time": "2026-01-02T03:04:05+00:00"}
    replace_json(run.provenance_path, {**made, "packages": {"torch": "2.0"}})
    run.config_path.unlink()
    assert _train(experiment).state is RunState.FINISHED
    assert read_json(run.provenance_path) == {**made, "packages": {"torch": "2.0"}}


def _stopped_on_an_own_task(
    tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[ExperimentDir, Path]:
    """Return an experiment whose run was stopped at step 6, and the description of its task."""
    rows = "".join(f"the story {i},{'good' if i % 2 else 'bad'}\n" for i in range(60))
    (own_home / "tasks").mkdir()
    (own_home / "tasks" / "mine.csv").write_text("text,verdict\n" + rows)
    described = own_home / "tasks" / "mine.yaml"
    described.write_text(
        "files: mine.csv\ntext: 'sentence1: {text}'\nlabel: verdict\nlabels: {good: 1, bad: 0}\n"
    )
    values = tiny_config(tmp_path / "parts", methods=["none"], targets=["mine"], sources=[])
    values["optim"] |= {"stage1_steps": 2}
    experiment = create_experiment(build_config(values), tmp_path / "runs")
    _at_six(monkeypatch, lambda run: request(run, "stop"))
    assert _train(experiment).state is RunState.STOPPED
    return experiment, described


@pytest.mark.parametrize("changed", ["metrics: [squad_em]", "max_target_tokens: 3"])
def test_a_run_does_not_go_on_with_its_own_task_scored_otherwise(
    tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """Scores before and after were of different metrics, and the best step was chosen by both."""
    experiment, described = _stopped_on_an_own_task(tmp_path, own_home, monkeypatch)
    before = described.read_text()
    described.write_text(before + changed + "\n")
    _is_refused(experiment, "The metrics or max_target_tokens of 'mine'")
    described.write_text(before)
    assert _train(experiment).state is RunState.FINISHED


def test_a_fork_goes_on_where_the_version_of_its_own_tasks_scores_changed_as_is_advised(
    tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, described = _stopped_on_an_own_task(tmp_path, own_home, monkeypatch)
    described.write_text(described.read_text() + "metrics: [macro_f1]\n")
    refused = _train(experiment)
    assert refused.state is RunState.FAILED and "dtvg runs fork" in refused.message
    made = fork(refused, runs_dir=tmp_path / "forks")
    assert _train(made).state is RunState.FINISHED
