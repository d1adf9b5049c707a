"""A fork goes on from its parent's newest commit; without a change it is the parent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dtvg.config import build_config
from dtvg.errors import ConfigError, StoreError
from dtvg.records import RunState
from dtvg.store import versions
from dtvg.store.bank import PromptBank
from dtvg.store.files import read_json
from dtvg.store.fork import _config, fork
from dtvg.store.layout import ExperimentDir, create_experiment
from dtvg.store.reader import Run, open_run, read_prompts, read_provenance, read_table
from dtvg.store.status import request
from dtvg.store.verify import verify_run
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import loop, procedures, stages
from dtvg.training.procedures import run_experiment
from dtvg.versions import ENGINE
from tests.training.settings import moved_prompt

NAME = "rte.dtvg.s0"


def _stopped(
    folder: Path, patch: pytest.MonkeyPatch, after: int = 6, values: dict[str, Any] | None = None
) -> Run:
    """A DTVG run stopped after some steps."""
    values = values or tiny_config(folder / "parts", methods=["dtvg"])
    experiment = create_experiment(build_config(values), folder / "runs")
    whole = loop.hold_sources

    def hold(cohort) -> None:
        for slot in cohort.slots:
            if slot.name == NAME and slot.step == after:
                request(experiment.run(NAME), "stop")
        whole(cohort)

    with patch.context() as inner:
        inner.setattr(loop, "CONTROL_SECONDS", 0.0)
        inner.setattr(loop, "hold_sources", hold)
        inner.setattr(procedures, "to_task_prompt", moved_prompt)
        run_experiment(experiment, bank=PromptBank(folder / "bank"))
    run = open_run(experiment.run(NAME).path)
    assert run.state is RunState.STOPPED and run.step == after
    return run


@pytest.mark.parametrize("changed", ["stage_one", "nothing"])
def test_a_fork_of_a_thinned_run_starts_from_the_prompts_its_parent_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """It tuned its own where Stage I had changed, and was refused for these."""
    values = tiny_config(tmp_path / "parts", methods=["dtvg"])
    values["logging"] |= {"detail": "thinned"}
    parent = _stopped(tmp_path, monkeypatch, values=values)
    if changed == "stage_one":
        monkeypatch.setattr(versions, "STAGE_ONE", 99)
        monkeypatch.setattr(stages, "VERSION", 99)
    done = _go_on(tmp_path, fork(parent).path)
    whole = _go_on(tmp_path, parent.path.parent)
    assert np.array_equal(
        read_prompts(done, "best")["mixed_prompt"], read_prompts(whole, "best")["mixed_prompt"]
    )
    assert not list(done.path.parent.glob("stage1.*/result.json")), "nothing is tuned again"


def _go_on(folder: Path, path: Path) -> Run:
    run_experiment(ExperimentDir(path), bank=PromptBank(folder / "bank"))
    run = next(r for r in (open_run(p) for p in sorted(path.iterdir())) if r.role == "transfer"
               and r.problem is None)  # fmt: skip
    assert run.state is RunState.FINISHED, run.message
    assert verify_run(run.path) == []
    return run


def test_a_fork_without_a_change_is_its_parent_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = _stopped(tmp_path, monkeypatch)
    made = fork(parent)
    assert made.name == "tiny-fork"
    child, whole = _go_on(tmp_path, made.path), _go_on(tmp_path, parent.path.parent)
    for table in ("steps", "sources", "evals"):
        left, right = (read_table(r, table).to_pandas() for r in (child, whole))
        for column in left:
            if column in ("seconds", "step_ms", "device_mem_gib", "gram"):
                continue
            assert left[column].equals(right[column]), (table, column)
    for which in ("best", "final"):
        one, other = read_prompts(child, which), read_prompts(whole, which)
        assert all(np.array_equal(one[key], other[key]) for key in other)
    events = read_table(child, "events").to_pandas()
    assert events[events["kind"] == "forked"]["step"].tolist() == [6]
    origin = {"experiment": "tiny", "run": NAME, "step": 6}
    assert read_provenance(child)["fork_of"] == origin


def test_a_fork_with_a_change_differs_from_there_on_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = _stopped(tmp_path, monkeypatch)
    made = fork(parent, "other", ["optim.lr_prompt=0.5", "optim.steps=15"])
    child, whole = _go_on(tmp_path, made.path), _go_on(tmp_path, parent.path.parent)
    assert child.name == NAME and child.total_steps == 15
    left, right = (read_table(r, "steps").to_pandas() for r in (child, whole))
    assert left["loss"][:6].equals(right["loss"][:6]) and len(left) == 15
    assert not np.allclose(left["loss"][8:12], right["loss"][8:12])


def test_a_finished_run_is_forked_at_a_kept_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = tiny_config(tmp_path / "parts", methods=["dtvg"])
    values["logging"] = {**values["logging"], "keep_every": 5}
    experiment = create_experiment(build_config(values), tmp_path / "runs")
    with monkeypatch.context() as inner:
        inner.setattr(procedures, "to_task_prompt", moved_prompt)
        run_experiment(experiment, bank=PromptBank(tmp_path / "bank"))
    whole = open_run(experiment.run(NAME).path)
    assert whole.state is RunState.FINISHED
    child = _go_on(tmp_path, fork(whole, "same", at=7).path)
    for table in ("steps", "sources", "evals"):
        left, right = (read_table(r, table).to_pandas() for r in (child, whole))
        skipped = ("seconds", "step_ms", "device_mem_gib", "gram")
        for column in (c for c in left if c not in skipped):
            assert left[column].equals(right[column]), (table, column)
    assert read_provenance(child)["fork_of"]["step"] == 5
    with pytest.raises(StoreError, match=r"at or before step 3 \(kept: 5, 10\)"):
        fork(whole, "early", at=3)


def test_what_a_fork_cannot_do_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = _stopped(tmp_path, monkeypatch)
    for change, said in (
        ("data.seed=1", "keeps its parent's 'data'"),
        ("sources=[sst2]", "keeps its parent's 'sources'"),
        ("methods=[all_sources]", "keeps its parent's 'method'"),
        ("optim.steps=6", "would end at 6"),
        ("optim.lr_promt=1", "lr_prompt"),
    ):
        with pytest.raises(ConfigError, match=said):
            fork(parent, "x", [change])
    with pytest.raises(ConfigError, match="There is already an experiment 'tiny'"):
        fork(parent, "tiny")
    assert not (parent.path.parent.parent / "x").exists()
    finished = _go_on(tmp_path, parent.path.parent)
    with pytest.raises(StoreError, match="is finished"):
        fork(finished)


def test_a_run_that_exchanges_is_not_forked_alone(tmp_path: Path) -> None:
    shared = {"name": "primal_dual", "share": ["rte", "mrpc"]}
    values = tiny_config(tmp_path / "parts", methods=[shared], targets=["rte", "mrpc"])
    experiment = create_experiment(build_config(values), tmp_path / "runs")
    run = open_run(experiment.run("rte.primal_dual-sharerte_mrpc.s0").path)
    with pytest.raises(StoreError, match="exchanges with the runs on mrpc.*clone it instead"):
        fork(run)


def test_a_fork_keeps_given_prompts_that_its_run_does_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their initial prompt is its own; it was refused: an unknown task of prompt.given."""
    first = tiny_config(tmp_path / "parts", methods=["none"], targets=["mrpc"])
    made = create_experiment(build_config({**first, "name": "first"}), tmp_path / "runs")
    run_experiment(made, bank=PromptBank(tmp_path / "bank"))
    (tuned,) = PromptBank(tmp_path / "bank").list()
    values = tiny_config(tmp_path / "parts", methods=["dtvg"], targets=["rte", "mrpc"])
    values |= {"sources": ["sst2", "cola"]}
    values["prompt"] |= {"given": {"mrpc": tuned.fingerprint}, "init_seed": 7}
    parent = _stopped(tmp_path, monkeypatch, values=values)
    done = _go_on(tmp_path, fork(parent).path)
    assert done.config is not None and done.config.prompt.given == values["prompt"]["given"]
    assert np.array_equal(read_prompts(done, "initial")["init"], tuned.init)


def test_a_fork_keeps_rates_named_beside_those_of_the_entry(tmp_path: Path) -> None:
    values = tiny_config(tmp_path / "parts", methods=[{"name": "attempt", "lr": 0.2}])
    (parent,) = build_config({**values, "optim": {**values["optim"], "lr_prompt": 0.05}}).runs()
    (child,) = _config(parent, "fork", [], "").runs()
    assert child.optim == parent.optim


def test_a_fork_is_computed_as_its_parent_unless_it_changes_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both went on as version 1 of the engine computed."""
    parent = _stopped(tmp_path, monkeypatch)
    engine = ExperimentDir(parent.path.parent).engine_path
    noted = read_json(engine)
    elsewhere = fork(parent, "elsewhere", ["device.threads=2"])
    _go_on(tmp_path, elsewhere.path)
    assert read_json(elsewhere.engine_path)["version"] == ENGINE
    engine.unlink()  # as its runs noted
    assert read_json(fork(parent, "beside").engine_path) == noted
