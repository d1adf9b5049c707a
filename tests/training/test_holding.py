"""Pinning and banning a source in mid-run: at the next step, logged, replayed, never lost."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from dtvg.analysis.run.explain import explain_step
from dtvg.analysis.run.groups import group_info
from dtvg.config import build_config
from dtvg.errors import JobError
from dtvg.figures.groups import timeline_figure
from dtvg.records import RunState
from dtvg.store import audit
from dtvg.store.bank import PromptBank
from dtvg.store.holds import Hold, ask, history, overlay, wanted
from dtvg.store.layout import create_experiment
from dtvg.store.reader import Run, open_run, read_table
from dtvg.store.status import request, requested
from dtvg.store.verify import verify_run
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import loop, procedures
from dtvg.training.procedures import run_experiment
from dtvg.training.recording import StepLog
from tests.training.settings import moved_prompt


def members(run: Run) -> np.ndarray:
    rows = read_table(run, "sources").to_pandas().sort_values("step", kind="stable")
    return rows["member"].to_numpy().reshape(-1, len(run.sources))


@pytest.fixture
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parts")


def _train(parts: Path, folder: Path, patch: pytest.MonkeyPatch, asked: dict[int, str]) -> Run:
    """Train one DTVG run, asking for changes after the given steps."""
    values = tiny_config(parts, methods=[{"name": "dtvg", "rule": "empty"}])
    experiment = create_experiment(build_config(values), folder / "runs")
    directory = experiment.run("rte.dtvg-empty.s0")
    audit.tell(directory, "anna@example.org (operator): launch.")
    whole = loop.hold_sources

    def hold(cohort) -> None:
        for slot in cohort.slots:
            if slot.name == directory.name and slot.step in asked:
                request(directory, asked.pop(slot.step))
        whole(cohort)

    patch.setattr(loop, "CONTROL_SECONDS", 0.0)
    patch.setattr(loop, "hold_sources", hold)
    patch.setattr(procedures, "to_task_prompt", moved_prompt)
    run_experiment(experiment, bank=PromptBank(folder / "bank"))
    return open_run(directory.path)


def test_a_source_is_pinned_banned_and_freed_from_the_step_after_it_was_asked(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _train(parts, tmp_path, monkeypatch, {3: "pin.cola", 5: "pin.mrpc", 8: "free.cola"})
    assert run.state is RunState.FINISHED
    found = members(run)
    assert run.sources == ("sst2", "cola", "mrpc")
    assert not found[:, 0].any()
    assert found[:, 1].tolist() == [False] * 3 + [True] * 5 + [False] * 4
    assert found[:, 2].tolist() == [False] * 5 + [True] * 7
    assert history(run) == [Hold(3, "cola", "pin"), Hold(5, "mrpc", "pin"), Hold(8, "cola", "free")]
    assert verify_run(run.path) == []
    assert requested(run.directory) == set()
    told = [e for e in read_table(run, "events").to_pylist() if e["kind"] == audit.EVENT]
    assert [(e["step"], e["detail"]) for e in told] == [(0, "anna@example.org (operator): launch.")]
    assert run.result is not None
    assert run.result.extra["held"] == {"cola": "free", "mrpc": "pin"}
    assert explain_step(run, 4).headline.startswith("cola was pinned by hand at step 4. ")
    held = {(s.source, s.kind, s.first, s.last) for s in group_info(run).held}
    assert held == {("cola", "pin", 4, 8), ("mrpc", "pin", 6, np.inf)}
    drawn = timeline_figure(group_info(run)).data[-1]
    assert drawn.name == "pinned by hand"
    assert list(zip(drawn.y, drawn.base, drawn.x, strict=True)) == [
        ("cola", 3.5, 5),
        ("mrpc", 5.5, 7),
    ]


def test_sources_are_held_although_another_run_of_the_stack_is_found_to_have_failed(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where a step's row is read some steps later."""
    values = tiny_config(parts, methods=[{"name": "dtvg", "rule": "empty"}], seeds=[0, 1])
    experiment = create_experiment(build_config(values), tmp_path / "runs")
    broken, pinned = (experiment.run(f"rte.dtvg-empty.s{seed}") for seed in (0, 1))
    whole = loop.hold_sources

    def hold(cohort) -> None:
        for stack in cohort.stacks:
            first, both = stack.slots[0], len(stack.slots) == 2
            if first.config.role == "transfer" and both and first.step == 3:
                with torch.no_grad():
                    stack.state.parameters["prompt"][0] = float("nan")
            if first.config.role == "transfer" and both and first.step == 4:
                for source in ("cola", "mrpc"):
                    request(pinned, f"pin.{source}")
        whole(cohort)

    monkeypatch.setattr(StepLog, "full", property(lambda rows: False))
    monkeypatch.setattr(loop, "CONTROL_SECONDS", 0.0)
    monkeypatch.setattr(loop, "hold_sources", hold)
    monkeypatch.setattr(procedures, "to_task_prompt", moved_prompt)
    run_experiment(experiment, bank=PromptBank(tmp_path / "bank"))
    assert open_run(broken.path).state is RunState.FAILED
    run = open_run(pinned.path)
    assert run.state is RunState.FINISHED and verify_run(run.path) == []
    assert members(run)[:, 1:].all(axis=1).tolist() == [False] * 4 + [True] * 8


def test_verify_finds_a_member_that_nobody_pinned(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _train(parts, tmp_path, monkeypatch, {3: "pin.cola"})
    monkeypatch.setattr("dtvg.store.verify.history", lambda run: [])
    assert any("sources/member" in problem for problem in verify_run(run.path))


def test_what_was_held_is_read_from_data_and_not_from_the_sentence(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "detail", lambda source, kind, step: "mrpc: a translated sentence.")
    run = _train(parts, tmp_path, monkeypatch, {3: "pin.cola"})
    events = read_table(run, "events", ["kind", "subject"]).to_pylist()
    assert [e["subject"] for e in events if e["kind"] == "pin"] == ["cola"]
    assert {e["subject"] for e in events if e["kind"] not in ("pin", "weak_source")} == {None}
    assert history(run) == [Hold(3, "cola", "pin")]
    assert verify_run(run.path) == []


def test_a_pinned_run_of_before_events_had_a_subject_still_replays(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _train(parts, tmp_path, monkeypatch, {3: "pin.cola", 8: "free.cola"})
    held = [Hold(3, "cola", "pin"), Hold(8, "cola", "free")]
    files = sorted((run.path / "events").glob("part-*.parquet"))
    for file in files:
        data = pq.read_table(file).drop_columns(["subject"])
        pq.write_table(data.replace_schema_metadata({"dtvg_schema": "1"}), file)
    assert read_table(run, "events", ["subject"]).column("subject").null_count
    assert read_table(run, "events").column_names[-1] == "subject"
    assert history(run) == held
    assert verify_run(run.path) == []
    for file in files:
        pq.write_table(pq.read_table(file).replace_schema_metadata({"dtvg_schema": "2"}), file)
    assert verify_run(run.path) == [f"{file} has no column 'subject'." for file in files]


def test_what_is_held_is_part_of_the_commit(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped right after a pin and resumed, the source is still pinned."""
    first = _train(parts, tmp_path, monkeypatch, {4: "pin.cola", 6: "stop"})
    assert first.state is RunState.STOPPED and first.step == 6
    from dtvg.store.layout import ExperimentDir

    run_experiment(ExperimentDir(first.path.parent), bank=PromptBank(tmp_path / "bank"))
    run = open_run(first.path)
    assert run.state is RunState.FINISHED
    assert members(run)[:, 1].tolist() == [False] * 4 + [True] * 8
    assert verify_run(run.path) == []


def test_overlay_is_the_rule_with_what_was_held() -> None:
    member = np.array([[True, False]] * 5)
    holds = [Hold(1, "a", "ban"), Hold(2, "b", "pin"), Hold(3, "a", "free")]
    found = overlay(member, np.arange(1, 6), ("a", "b"), holds)
    assert found[:, 0].tolist() == [True, False, False, True, True]
    assert found[:, 1].tolist() == [False, False, True, True, True]
    assert wanted({"stop", "ban.x", "pin.a.b"}) == [("pin", "a.b"), ("ban", "x")]


def test_runs_that_cannot_be_changed_say_why(parts: Path, tmp_path: Path) -> None:
    config = build_config(tiny_config(parts, methods=["dtvg", "none"]))
    experiment = create_experiment(config, tmp_path / "runs")
    waiting = open_run(experiment.run("rte.dtvg.s0").path)
    with pytest.raises(JobError, match="is waiting; only a run that is training"):
        ask(waiting, "cola", "pin")
    running = dataclasses.replace(waiting, state=RunState.RUNNING)
    with pytest.raises(JobError, match="Did you mean 'cola'"):
        ask(running, "colas", "pin")
    plain = open_run(experiment.run("rte.none.s0").path)
    with pytest.raises(JobError, match="does not group sources by a rule"):
        ask(dataclasses.replace(plain, state=RunState.RUNNING), "cola", "ban")
    ask(running, "cola", "ban")
    assert requested(running.directory) == {"ban.cola"}
