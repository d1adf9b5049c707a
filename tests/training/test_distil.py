"""Source training of `mpt`: the loss after teachers, the law, and the way through the bank."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from dtvg.config import build_config
from dtvg.methods.mpt import factorise
from dtvg.methods.specs import MptSources
from dtvg.plan import plan
from dtvg.records import RunState
from dtvg.store.bank import PromptBank
from dtvg.store.layout import create_experiment
from dtvg.store.reader import list_runs, read_prompts, read_table
from dtvg.store.verify import verify_run
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import procedures
from dtvg.training.batches import Joined
from dtvg.training.instance import composer_of
from dtvg.training.procedures import run_experiment
from dtvg.training.state import RunData, build_stacks
from dtvg.training.step import cohort_step, gather
from tests.training import factory
from tests.training.settings import moved_prompt


@pytest.fixture(scope="module")
def backbone():
    return factory.tiny_backbone()


def _pupil(seed: int = 0, weight: float = 0.9, batch: int = 7):
    """A run on the mixture of four sources whose teachers are random prompts."""
    config = factory.experiment(seeds=[seed])
    run = config.mixture(factory.SOURCES, seed, MptSources(distil_weight=weight))
    optim = run.optim.model_copy(update={"batch_size": batch, "lr_stage1": 0.05})
    made = factory.slot(run.model_copy(update={"optim": optim}))
    parts = [factory.rows(9 + i, 10 + i) for i in range(4)]
    made.data = RunData(f"mixture-{seed}", Joined(parts), ())
    return made


def test_the_loss_is_that_of_the_answer_and_of_logits_and_hidden_states(backbone) -> None:
    slot = _pupil(weight=0.7)
    stack = build_stacks([slot], backbone.device, backbone.dtype)[0]
    rows, examples = gather(slot)
    tasks = slot.data.train.tasks_of(rows)
    assert len(set(tasks.tolist())) > 1
    teachers = slot.inputs["init"] + slot.inputs["source_vectors"].astype(np.float64)
    state = stack.state.keep([0])
    total, tokens = torch.zeros((), dtype=torch.float64), 0
    for example, task in zip(examples, tasks, strict=True):
        u, v = (state.parameters[name][0, task] for name in ("rows", "columns"))
        batch = backbone.collate([example])
        prompt = state.parameters["shared"][0] * torch.outer(u, v)
        logits, hidden = backbone.outputs(prompt[None], batch)
        with torch.no_grad():
            theirs = backbone.outputs(torch.as_tensor(teachers[task])[None], batch)
        for place, token in enumerate(example.target):
            own = torch.softmax(logits[0, place], dim=-1)
            other = torch.softmax(theirs[0][0, place], dim=-1)
            total = total - torch.log(own[int(token)])
            total = total + 0.7 * (other * (torch.log(other) - torch.log(own))).sum()
            total = total + 0.7 * ((hidden[0, place] - theirs[1][0, place]) ** 2).mean()
            tokens += 1
    (total / tokens).backward()
    record = cohort_step(backbone, [stack], 60)[0]
    assert float(record.loss[0]) == pytest.approx(float(total.detach()) / tokens, rel=1e-9)
    norm = sum(float(p.grad.square().sum()) for p in state.parameters.values()) ** 0.5
    assert float(record.grad_norm[0]) == pytest.approx(norm, rel=1e-7)


def test_a_pupil_trains_beside_other_runs_as_it_does_alone(backbone) -> None:
    def made():
        others = [factory.slot(c) for c in factory.experiment(methods=["dtvg", "none"]).runs()]
        return [others[0], _pupil(0), _pupil(1, batch=5), others[1]]

    together, seen = factory.train(backbone, made(), 15)
    single, _ = factory.train(backbone, made(), 15, budget=1)
    for place, slot in enumerate(made()):
        alone, own = factory.train(backbone, [slot], 15)
        losses = [loss for _, loss in own[slot.name]]
        assert losses == pytest.approx([loss for _, loss in seen[slot.name]], rel=1e-8), place
        for stacks in (together, single):
            stack, run = next((s, r) for s in stacks for r in s.slots if r.name == slot.name)
            for name, value in alone[0].state.parameters.items():
                kept = stack.state.parameters[name][stack.slots.index(run)]
                assert torch.allclose(kept, value[0], atol=1e-8), (slot.name, name)


def test_rows_of_a_mixture_are_those_of_one_task_after_the_other() -> None:
    parts = [["a0", "a1"], ["b0"], ["c0", "c1", "c2"]]
    mixture = Joined(parts)  # type: ignore[arg-type]
    assert list(mixture[0:6]) == [row for part in parts for row in part]
    assert mixture.tasks_of(np.array([5, 0, 1, 2, 3, 4])).tolist() == [2, 0, 0, 1, 2, 2]


def test_each_task_of_the_mixture_is_asked_with_its_own_prompt(backbone) -> None:
    slot = _pupil()
    stack = build_stacks([slot], backbone.device, backbone.dtype)[0]
    composer = composer_of(stack, slot)
    prompts = torch.as_tensor(slot.inputs["init"] + slot.inputs["source_vectors"])
    fit = factorise(prompts, 20)
    inputs = [one.source for one in factory.rows(3, 1)]
    for task in range(4):
        asked = dataclasses.replace(composer, task=task)
        assert torch.allclose(asked.prompts(backbone, inputs), fit.made[task].expand(3, -1, -1))
        assert asked.identity != dataclasses.replace(composer, task=(task + 1) % 4).identity
    assert torch.allclose(stack.method.forward(stack.state).prompt[0], fit.shared)


def test_the_plan_trains_pupils_after_their_teachers_and_once_for_all_runs() -> None:
    config = factory.experiment(
        targets=["epsilon", "zeta"],
        methods=["mpt", {"name": "mpt", "start": "mean"}, {"name": "mpt", "distil": "prompts"}],
        seeds=[0, 1],
    )
    made = plan(config)
    assert [c.id for c in made.stage_one] == ["stage1-000", "distil-000"]
    assert len(made.stage_one[1].runs) == 2  # one per seed
    other = factory.experiment(methods=[{"name": "mpt", "distil_weight": 0.5}, "mpt"])
    names = [run.name for run in plan(other).stage_one[1].runs]
    assert len(set(names)) == 2
    assert len(plan(factory.experiment(methods=["dtvg"])).stage_one) == 1


def test_through_files_the_target_starts_from_what_source_training_shared(tmp_path) -> None:
    methods = ["mpt", {"name": "mpt", "start": "mean"}]
    config = build_config(tiny_config(tmp_path / "parts", methods=methods))
    experiment = create_experiment(config, tmp_path / "runs")
    bank = PromptBank(tmp_path / "bank")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(procedures, "to_task_prompt", moved_prompt)
        run_experiment(experiment, bank=bank)
    runs = list_runs(tmp_path / "runs")
    assert all(run.state is RunState.FINISHED for run in runs), [run.problem for run in runs]
    source = next(run for run in runs if run.method_name == "mpt_sources")
    assert verify_run(source.path) == []
    evals = read_table(source, "evals").to_pandas()
    assert set(evals["task"]) == {"sst2", "cola", "mrpc", source.target}
    kept = read_prompts(source, "best")
    assert np.array_equal(kept["mixed_prompt"], kept["parameter.shared"])
    for run in (r for r in runs if r.method_name == "mpt"):
        assert verify_run(run.path) == []
        start = read_prompts(run, "initial")
        assert start["mixture_prompt"].shape == (4, 16)
        assert read_prompts(run, "final")["parameter.rows"].shape == (4,)
    count = len(bank.list())
    again = create_experiment(config.model_copy(update={"name": "again"}), tmp_path / "runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(procedures, "to_task_prompt", moved_prompt)
        run_experiment(again, bank=bank)
    assert len(bank.list()) == count  # teachers and what they taught are found again
    assert not list((again.path / "cohorts").glob("distil*"))
