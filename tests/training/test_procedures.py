"""ForkMerge, surrogate and oracle: their formulas by hand, and whole runs through files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from dtvg.config import build_config
from dtvg.methods.base import StepBatch, find_method
from dtvg.methods.forkmerge import WeightSearch, apply_weights
from dtvg.methods.specs import ForkMerge, Oracle
from dtvg.methods.specs.trials import fit_surrogate
from dtvg.plan import plan
from dtvg.plan.estimate import trained_parameters
from dtvg.records import RunState
from dtvg.store.bank import PromptBank
from dtvg.store.layout import create_experiment
from dtvg.store.reader import Run, list_runs, read_table
from dtvg.store.verify import verify_run
from dtvg.testing.methods import random_inputs
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import procedures
from dtvg.training.batches import batch_rows
from dtvg.training.procedures import run_experiment
from dtvg.training.searching import search_together
from dtvg.training.state import build_stacks
from dtvg.training.step import cohort_step
from tests.training import factory
from tests.training.settings import moved_prompt


@pytest.fixture(scope="module")
def backbone():
    return factory.tiny_backbone()


# -- forkmerge ---------------------------------------------------------------------------------


def test_all_branches_start_at_the_target_s_prompt_and_read_one_source_s_data_each() -> None:
    inputs = random_inputs(2, 3)
    method = find_method(ForkMerge())
    state = method.prepare(inputs)
    branches = method.branches(state)
    assert branches.shape == (2, 4, 4, 6)
    assert torch.equal(branches, inputs.target_prompt[:, None].expand(-1, 4, -1, -1))
    step = method.forward(state, StepBatch((1, 1), (9, 9), (0, 1)))
    assert step.beside == ((), (0,), (1,), (2,))


def test_every_branch_goes_on_from_the_merged_prompt_which_the_merge_keeps(backbone) -> None:
    config = factory.experiment(methods=["forkmerge"]).runs()[0]
    stacks, _ = factory.train(backbone, [factory.slot(config)], steps=4)
    (stack,) = stacks
    weights = np.array([0.5, 0.25, 0.0, 0.125, 0.125])
    branches = stack.method.branches(stack.state)[0].detach().clone()
    assert len({float(b.sum()) for b in branches}) == 5
    by_hand = sum(w * branch for w, branch in zip(weights, branches, strict=True))
    moments = (stack.moments.first, stack.moments.second)
    kept = [moment["prompt"].clone() for moment in moments]
    apply_weights(stack.state, moments, 0, weights, 4)
    run = stack.method.forward(stack.state).prompt[0]
    assert torch.allclose(run, by_hand, atol=1e-12)
    for branch in stack.method.branches(stack.state)[0]:
        assert float((branch - run).norm().detach()) == pytest.approx(0.0, abs=1e-12)
    assert all(torch.equal(m["prompt"], k) for m, k in zip(moments, kept, strict=True))
    assert stack.state.memory["merged_at"].tolist() == [4]
    assert stack.state.parameters["prompt"].is_leaf


def test_the_loss_does_not_jump_when_branches_merge_to_the_best(backbone) -> None:
    config = factory.experiment(methods=["forkmerge"]).runs()[0]
    slot = factory.slot(config)
    (stack,) = build_stacks([slot], backbone.device, backbone.dtype)
    for _ in range(12):
        cohort_step(backbone, [stack], 400)
        slot.step += 1
    before = stack.method.branches(stack.state)[0, 1].detach().clone()
    apply_weights(stack.state, (), 0, np.array([0.0, 1, 0, 0, 0]), slot.step)
    record = cohort_step(backbone, [stack], 400)[0]
    assert torch.allclose(record.prompt_step.prompt[0], before.expand(5, -1, -1))
    own = [e for e in record.rows[0]]
    examples = [slot.data.train[int(row)] for row in own]
    batch = backbone.collate(examples)
    nll = backbone.loss(before.expand(len(examples), -1, -1), batch)[0].sum()
    assert float(record.loss[0]) == pytest.approx(float(nll) / sum(len(e.target) for e in examples))


def test_a_branch_trains_on_the_target_s_loss_plus_its_source_s(backbone) -> None:
    """The gradient of a branch, by hand: both means, each over its own batch's answer tokens."""
    config = factory.experiment(methods=["forkmerge"]).runs()[0]
    slot = factory.slot(config)
    (stack,) = build_stacks([slot], backbone.device, backbone.dtype)
    seen = {}
    observe = stack.method.observe
    stack.method.observe = lambda state, g, batch: seen.update(g=g) or observe(state, g, batch)
    start = stack.state.parameters["prompt"][0, 2].detach().clone().requires_grad_()
    record = cohort_step(backbone, [stack], 10_000)[0]
    target = [slot.data.train[int(row)] for row in record.rows[0]]
    task = slot.data.beside[1]
    rows = batch_rows(task.fingerprint, config.data.seed, config.seed, 6, 1, len(task.train))
    total = 0.0
    for examples in (target, [task.train[int(row)] for row in rows]):
        nll = backbone.loss(start.expand(len(examples), -1, -1), backbone.collate(examples))[0]
        total = total + nll.sum() / sum(len(e.target) for e in examples)
    total.backward()
    assert torch.allclose(seen["g"][0, 2], start.grad, atol=1e-12)
    assert record.examples == [6 * (5 + 4)]


def test_the_branch_without_source_trains_as_a_run_without_sources(backbone) -> None:
    settings = {"batch_size": 6, "steps": 30, "lr_prompt": 0.05, "clip_norm": 0.1}
    forked, alone = factory.experiment(methods=["forkmerge", "none"], optim=settings).runs()
    stacks, _ = factory.train(backbone, [factory.slot(forked)], steps=10)
    plain, _ = factory.train(backbone, [factory.slot(alone)], steps=10)
    prompt = stacks[0].state.parameters["prompt"][0, 0]
    assert torch.allclose(prompt, plain[0].state.parameters["prompt"][0], atol=1e-9)


def test_a_forked_run_in_a_cohort_follows_the_trajectory_it_has_alone(backbone) -> None:
    configs = factory.experiment(methods=["forkmerge", "dtvg"], seeds=[0, 1]).runs()
    together, _ = factory.train(backbone, [factory.slot(c) for c in configs], steps=10)
    for config in configs:
        alone, _ = factory.train(backbone, [factory.slot(config)], steps=10)
        difference = factory.prompts(alone)[config.name] - factory.prompts(together)[config.name]
        assert float(difference.abs().max()) < 1e-8, config.name


def _value(weights: np.ndarray) -> float:
    """Best at half branch 1, half branch 3: a score to be searched."""
    return float(1 - np.abs(weights - np.array([0, 0.5, 0, 0.5])).sum() - 0.01 * weights[3])


def test_the_greedy_search_finds_a_mixture_by_the_rule_done_by_hand() -> None:
    search, seen = WeightSearch(4, (0.25, 0.5, 0.75), bounded=False), []

    def score(asked):
        seen.append(asked[0])
        return [[_value(w) for w in asked[0]]]

    search_together([search], score)
    assert np.allclose(search.weights, [0, 0.5, 0, 0.5]) and search.tried == 4 + 3 * 3
    assert np.array_equal(seen[0], np.eye(4))
    assert all(np.allclose(w.sum(-1), 1) for w in seen)
    assert np.allclose(seen[1], [[0, 0.75, 0, 0.25], [0, 0.5, 0, 0.5], [0, 0.25, 0, 0.75]])


def test_equal_scores_leave_the_earlier_branch_alone() -> None:
    search = WeightSearch(3, (0.5,))
    search_together([search], lambda asked: [[0.7] * len(asked[0])])
    assert search.weights.tolist() == [1, 0, 0]


# -- subsets -----------------------------------------------------------------------------------


def test_a_subset_is_merged_whatever_the_similarities() -> None:
    inputs = random_inputs(1, 4)
    method = find_method(Oracle(subset=("source0", "source2")))
    given = dataclasses.replace(inputs, chosen=torch.tensor([[1.0, 0, 1, 0]], dtype=torch.float64))
    step = method.forward(method.prepare(given))
    vectors = inputs.source_vectors[0]
    expected = inputs.target_prompt[0] + vectors[0] + vectors[2]
    assert torch.allclose(step.prompt[0], expected, atol=1e-12)
    assert step.weights.tolist() == [[1, 0, 1, 0]] and bool((step.grouping.gram != 0).all())


def test_all_subsets_of_a_target_share_one_stack(backbone) -> None:
    runs = factory.experiment(methods=["oracle"]).runs()
    assert len(runs) == 16
    slots = []
    for run in runs:
        slot = factory.slot(run)
        slot.inputs["chosen"] = np.array(run.method.chosen(run.sources), dtype=np.float32)
        slots.append(slot)
    assert len(build_stacks(slots, backbone.device, backbone.dtype)) == 1


# -- through files -----------------------------------------------------------------------------

METHODS = [
    {"name": "forkmerge", "merge_every": 5, "grid": [0.5]},
    {"name": "surrogate", "samples": 6},
    "oracle",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("procedures")
    config = build_config(tiny_config(folder / "parts", methods=METHODS))
    experiment = create_experiment(config, folder / "runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(procedures, "to_task_prompt", moved_prompt)
        run_experiment(experiment, bank=PromptBank(folder / "bank"))
    return folder


def _transfers(folder: Path) -> dict[str, Run]:
    return {r.name: r for r in list_runs(folder / "runs") if r.role == "transfer"}


def test_procedures_finish_and_their_logs_are_as_specified(folder: Path) -> None:
    runs = _transfers(folder)
    assert len(runs) == 1 + 6 + 1 + 8
    for run in runs.values():
        assert run.state is RunState.FINISHED, run.message
        assert verify_run(run.path) == [], run.name
        assert trained_parameters(run.config, 16) == run.result.trained_parameters, run.name
        assert (run.subset is not None) == ("-of-" in run.name)


def test_a_subsets_members_are_logged_at_every_step(folder: Path) -> None:
    for run in _transfers(folder).values():
        if run.subset is None:
            continue
        rows = read_table(run, "sources").to_pandas()
        assert set(rows[rows["member"]]["source"]) == set(run.subset)
        assert len(rows) == 36


def test_branches_merge_after_every_round_and_the_weights_are_logged(folder: Path) -> None:
    run = next(r for r in _transfers(folder).values() if r.method_name == "forkmerge")
    events = read_table(run, "events").to_pandas()
    assert events[events["kind"] == "merged"]["step"].tolist() == [5, 10, 12]
    assert sum(run.result.extra["mixture"].values()) == pytest.approx(1)
    rows = read_table(run, "sources").to_pandas()
    assert (rows[rows["step"] <= 5]["weight"] == 0).all()
    assert rows[rows["step"].between(6, 10)].groupby("source")["weight"].nunique().max() == 1
    steps = read_table(run, "steps").to_pandas()
    assert (steps["examples"] == 4 * (4 + 3)).all()  # batches of the target and of each source


def test_a_surrogate_merges_what_the_fit_of_its_trials_keeps(folder: Path) -> None:
    runs = _transfers(folder)
    final = next(r for r in runs.values() if r.method == "surrogate-samples6")
    extra = final.result.extra
    trials = [runs[name] for name in extra["trials"]]
    fit = fit_surrogate(
        final.sources, [t.subset for t in trials], [t.result.validation_score for t in trials]
    )
    assert extra["subset"] == list(fit.kept())
    found = [extra["coefficients"][name][0] for name in final.sources]
    assert np.allclose(found, fit.coefficients)
    rows = read_table(final, "sources").to_pandas()
    assert set(rows[rows["member"]]["source"]) == set(extra["subset"])


def test_a_final_run_comes_after_its_trials_in_the_plan(folder: Path) -> None:
    config = build_config(tiny_config(folder / "parts", methods=METHODS))
    cohorts = plan(config).transfer
    assert [c.id for c in cohorts] == ["transfer-000", "derived-000"]
    assert [r.method.label for r in cohorts[-1].runs] == ["surrogate-samples6"]


def test_a_final_run_without_its_trials_says_what_it_waits_for(folder: Path, tmp_path) -> None:
    config = build_config(tiny_config(folder / "parts", methods=["surrogate"]))
    experiment = create_experiment(config, tmp_path / "runs")
    name = config.runs()[-1].name
    run_experiment(experiment, only=[name], bank=PromptBank(folder / "bank"))
    run = _transfers(tmp_path)[name]
    assert run.state is RunState.FAILED and "0 finished trials" in run.message
    run_experiment(experiment, bank=PromptBank(folder / "bank"))
    assert {r.state for r in _transfers(tmp_path).values()} == {RunState.FINISHED}
