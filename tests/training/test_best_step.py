"""Of equal validation scores the lower loss wins, then the later step; step 0 may be left out."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch

from dtvg.analysis.compare.info import compare_info
from dtvg.config import build_config
from dtvg.store import verify
from dtvg.store.bank import PromptBank
from dtvg.store.layout import ExperimentDir, create_experiment
from dtvg.store.reader import Run, open_experiment, open_run, read_table
from dtvg.store.verify import verify_run
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import procedures
from dtvg.training.losses import mean_losses
from dtvg.training.searching import _due
from dtvg.training.state import RunData, RunSlot, build_stacks

from . import factory


def slot(count_start: bool = True, versions: dict[str, int] | None = None) -> RunSlot:
    config = factory.experiment(evaluation={"count_start": count_start}).runs()[0]
    config = config.model_copy(update={"versions": versions})
    return RunSlot(config, RunData("", (), ()), None, {})  # type: ignore[arg-type]


def chosen(made: RunSlot, evaluations: list[tuple[float, float | None]]) -> int:
    for step, (score, loss) in enumerate(evaluations):
        made.step = step * 5
        if made.would_be_best(score, loss):
            made.best_step, made.best_score, made.best_loss = made.step, score, loss
    return made.best_step


def test_ties_go_to_the_lower_loss_then_to_the_later_step() -> None:
    assert chosen(slot(), [(0.5, 2.0), (0.7, 1.5), (0.7, 1.0), (0.7, 1.2)]) == 10
    assert chosen(slot(), [(0.7, 1.0), (0.7, 1.0), (0.7, 1.1)]) == 5
    assert chosen(slot(), [(0.7, 1.0), (0.8, 9.0)]) == 5
    assert chosen(slot(), [(0.7, math.nan), (0.7, 3.0), (0.7, math.nan)]) == 5


def test_the_start_counts_unless_it_is_left_out() -> None:
    evaluations = [(0.9, 0.1), (0.5, 1.0), (0.6, 1.0)]
    assert chosen(slot(), evaluations) == 0
    assert chosen(slot(count_start=False), evaluations) == 10


@pytest.mark.parametrize(("count_start", "searched"), [(True, [0, 5]), (False, [5])])
def test_a_start_that_is_left_out_chooses_no_branch_either(count_start, searched) -> None:
    config = factory.experiment(
        methods=["surrogate"], evaluation={"count_start": count_start, "every": 5}
    )
    run = next(run for run in config.runs() if not run.method.trial)
    made = factory.slot(run)
    cuts = np.tri(5, 4, -1, dtype=np.float32)
    made.inputs |= {"chosen": cuts[1], "candidates": cuts}
    cohort = SimpleNamespace(stacks=build_stacks([made], torch.device("cpu"), torch.float64))
    found = []
    for step in (0, 3, 5):
        made.step = step
        for _, _, search in _due(cohort):
            search.judge([0.9, 0.1, 0.1, 0.1, 0.1])
            search.apply(cohort.stacks[0].state, ())
            found.append(step)
    assert found == searched


def test_runs_of_before_keep_the_earlier_step() -> None:
    evaluations = [(0.7, None), (0.7, None), (0.7, None)]
    assert chosen(slot(versions={}), evaluations) == 0
    assert chosen(slot(versions={"selection": 2}), [(0.7, 2.0), (0.7, 1.0)]) == 5


def test_a_prompt_s_loss_is_the_same_however_rows_are_batched() -> None:
    backbone = factory.tiny_backbone()
    prompts = torch.randn(2, factory.LENGTH, factory.WIDTH, dtype=backbone.dtype)
    asked = {3: factory.rows(7, 1), 8: factory.rows(5, 2)}

    def prompts_of(owners: np.ndarray, sources: object) -> torch.Tensor:
        return prompts[torch.as_tensor(owners)]

    found = mean_losses(backbone, asked, prompts_of, factory.LENGTH, 60)
    for place, (number, rows) in enumerate(asked.items()):
        alone = [backbone.loss(prompts[place][None], backbone.collate([row])) for row in rows]
        nll, tokens = (sum(float(one[k]) for one in alone) for k in (0, 1))
        assert found[number] == pytest.approx(nll / tokens, rel=1e-9)


def _trained(folder: Path, **evaluation: object) -> ExperimentDir:
    values = tiny_config(folder / "parts", methods=["none", "spot", {"name": "attempt"}])
    values["evaluation"] = {**values["evaluation"], **evaluation}
    experiment = create_experiment(build_config(values), folder / "runs")
    procedures.run_experiment(experiment, bank=PromptBank(folder / "bank"))
    return experiment


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> ExperimentDir:
    return _trained(tmp_path_factory.mktemp("best"), count_start=False)


def test_the_loss_on_validation_is_logged_and_decides(trained: ExperimentDir) -> None:
    for name in ("rte.none.s0", "rte.spot.s0", "rte.attempt.s0"):
        run = open_run(trained.run(name).path)
        evals = read_table(run, "evals").to_pandas()
        evals = evals[evals["split"] == "validation"]
        scores = evals[evals["metric"] == "score"].set_index("step")["value"]
        losses = evals[evals["metric"] == "loss"].set_index("step")["value"]
        assert list(losses.index) == list(scores.index) == [0, 5, 10, 12]
        assert np.isfinite(losses).all() and losses.nunique() > 1
        later = scores[scores.index > 0]
        best = losses[later[later == later.max()].index].idxmin()
        assert run.result.best_step == best > 0, name
        assert verify_run(run.path) == []
    stage = open_run(trained.run("stage1.rte.s0").path)
    assert "loss" not in set(read_table(stage, "evals")["metric"].to_pylist())


def test_verify_knows_that_stage_one_counts_the_start(
    trained: ExperimentDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_a_good_start(run: Run, table: str, *more: object) -> pa.Table:
        data = read_table(run, table, *more)
        if table != "evals":
            return data
        frame = data.to_pandas().assign(value=lambda t: np.where(t["step"] == 0, 0.9, 0.1))
        return pa.Table.from_pandas(frame, schema=data.schema)

    monkeypatch.setattr(verify, "read_table", with_a_good_start)
    for name, fine in (("stage1.rte.s0", True), ("rte.none.s0", False)):
        run = open_run(trained.run(name).path)
        run = replace(run, result=replace(run.result, validation_score=0.9))
        found = [one for one in verify._check_end(run) if "is not the best of evals" in one]
        assert (found == []) == fine, name


def test_comparisons_state_best_steps_the_share_at_the_start_and_saturation(
    trained: ExperimentDir,
) -> None:
    info = compare_info(open_experiment(trained.path).runs)
    table = info.budgets.table.set_index("method")
    run = open_run(trained.run("rte.none.s0").path)
    assert table.loc["none", "best_step"] == run.result.best_step
    assert (table["at_start"] == 0).all() and table["saturated"].between(0, 1).all()
    flat = {m for m in ("none", "spot", "attempt") if table.loc[m, "saturated"] >= 0.5}
    assert ("Validation is saturated for" in info.budgets.note) == bool(flat)
    assert table.loc["attempt", "rates"].startswith("prompt 0.05, gates 0.01")
