"""THE LAW: a run in a cohort follows the trajectory it has alone; and what it rests on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dtvg.backbones.base import Encoded
from dtvg.testing.tiny_backbones import make_model
from dtvg.training import step as step_module
from dtvg.training.optim import rate_factor
from dtvg.training.state import RunSlot, build_stacks
from dtvg.training.step import accumulate, cohort_step
from tests.training import factory


@pytest.fixture(scope="module")
def backbone():
    return factory.tiny_backbone()


@pytest.mark.parametrize("steps", [40, pytest.param(100, marks=pytest.mark.slow)])
def test_a_run_in_a_cohort_of_ten_follows_the_trajectory_it_has_alone(backbone, steps) -> None:
    configs = factory.experiment().runs()
    together, seen = factory.train(backbone, [factory.slot(c) for c in configs], steps)
    mixed = factory.prompts(together)
    assert any(len({g for g, _ in seen[c.name]}) > 1 for c in configs), "groups never change"
    for config in configs:
        alone, own = factory.train(backbone, [factory.slot(config)], steps)
        assert [g for g, _ in own[config.name]] == [g for g, _ in seen[config.name]]
        difference = (factory.prompts(alone)[config.name] - mixed[config.name]).abs().max()
        assert float(difference) < 1e-6, config.name


def test_seeds_and_batch_sizes_may_differ_within_a_cohort(backbone) -> None:
    small = factory.experiment(methods=["dtvg"], seeds=[0, 1]).runs()
    large = factory.experiment(
        methods=["dtvg", "none"],
        seeds=[2],
        optim={"batch_size": 9, "steps": 50, "lr_prompt": 0.02, "weight_decay": 0.1},
    ).runs()
    configs = (*small, *large)
    together, _ = factory.train(backbone, [factory.slot(c) for c in configs], steps=20)
    for config in configs:
        alone, _ = factory.train(backbone, [factory.slot(config)], steps=20)
        difference = (
            (factory.prompts(alone)[config.name] - factory.prompts(together)[config.name])
            .abs()
            .max()
        )
        assert float(difference) < 1e-8, config.name


def test_the_result_does_not_depend_on_the_cut_into_micro_batches(backbone) -> None:
    configs = factory.experiment(methods=["dtvg", "all_sources"]).runs()
    whole, _ = factory.train(backbone, [factory.slot(c) for c in configs], 10, budget=10_000)
    single, _ = factory.train(backbone, [factory.slot(c) for c in configs], 10, budget=1)
    for name, prompt in factory.prompts(whole).items():
        assert torch.allclose(prompt, factory.prompts(single)[name], atol=1e-10)


def test_in_float32_one_steps_gradient_is_that_of_the_run_alone() -> None:
    backbone = factory.tiny_backbone(torch.float32)
    configs = factory.experiment().runs()
    together, _ = factory.train(backbone, [factory.slot(c) for c in configs], steps=1)
    for config in configs:
        alone, _ = factory.train(backbone, [factory.slot(config)], steps=1)
        for stack in together:
            for i, slot in enumerate(stack.slots):
                if slot.name != config.name:
                    continue
                for name, moment in stack.moments.first.items():
                    own = alone[0].moments.first[name][0]
                    scale = own.abs().max().clamp(min=1e-12)
                    assert float((own - moment[i]).abs().max() / scale) < 1e-4, (slot.name, name)


def test_nothing_but_the_methods_parameters_changes(backbone) -> None:
    before = {k: v.clone() for k, v in backbone.model.state_dict().items()}
    slots = [factory.slot(c) for c in factory.experiment().runs()]
    stacks, _ = factory.train(backbone, slots, steps=3)
    assert all(torch.equal(before[k], v) for k, v in backbone.model.state_dict().items())
    for stack in stacks:
        fresh = factory.build_stacks(stack.slots, backbone.device, backbone.dtype)[0]
        for name, tensor in stack.state.frozen.items():
            assert torch.equal(tensor, fresh.state.frozen[name])
        for name, tensor in stack.state.parameters.items():
            assert not torch.equal(tensor, fresh.state.parameters[name])
            assert tensor.requires_grad


def test_dropping_a_run_leaves_the_others_as_they_would_have_been(backbone) -> None:
    configs = factory.experiment(methods=["dtvg"], seeds=[0, 1, 2]).runs()
    slots = [factory.slot(c) for c in configs]
    stacks, _ = factory.train(backbone, slots, steps=5)
    kept = [stack.keep({configs[0].name, configs[2].name}) for stack in stacks]
    from dtvg.training.step import cohort_step

    for _ in range(5):
        cohort_step(backbone, kept, 400)
        for slot in kept[0].slots:
            slot.step += 1
    whole, _ = factory.train(backbone, [factory.slot(c) for c in configs], steps=10)
    for config in (configs[0], configs[2]):
        difference = factory.prompts(kept)[config.name] - factory.prompts(whole)[config.name]
        assert float(difference.abs().max()) < 1e-9


def test_a_run_with_an_infinite_vector_stays_put_and_the_others_train_on(backbone) -> None:
    configs = factory.experiment(methods=["dtvg", "none"]).runs()
    slots = [factory.slot(c) for c in configs]
    slots[0].inputs["target_prompt"] = slots[0].inputs["target_prompt"] * float("inf")
    stacks, seen = factory.train(backbone, slots, steps=3)
    assert seen[configs[0].name][0][1] != seen[configs[0].name][0][1]  # NaN
    assert all(loss == loss for _, loss in seen[configs[1].name])
    alone, _ = factory.train(backbone, [factory.slot(configs[1])], steps=3)
    difference = factory.prompts(alone)[configs[1].name] - factory.prompts(stacks)[configs[1].name]
    assert float(difference.abs().max()) < 1e-9


DRAWN_OR_RESTARTED = [
    "dmtg",
    "relational",
    {"name": "mpt", "distil": "prompts"},
    {"name": "primal_dual", "skip": 0.3},
    "taps",
    {"name": "spot_dynamic", "regroup_every": 2},
    {"name": "dtvg", "hysteresis": 0.01},
    {"name": "dtvg", "regroup_every": 3},
    "dare",
]


def _close_sources(config):
    """A run whose source prompts lie so close together that tuning soon leads to another."""
    made = factory.slot(config)
    made.inputs["source_vectors"] = 0.1 * made.inputs["source_vectors"]
    return made


def test_chance_restarts_and_memory_do_not_depend_on_the_cohort_nor_on_a_resume(backbone) -> None:
    configs = factory.experiment(methods=DRAWN_OR_RESTARTED, seeds=[0, 1]).runs()
    together, seen = factory.train(backbone, [_close_sources(c) for c in configs], steps=24)
    mixed = factory.prompts(together)
    restarted = [name for name, steps in seen.items() if "spot_dynamic" in name and steps]
    assert any(len({group for group, _ in seen[name]}) > 1 for name in restarted)
    for config in configs[::3]:
        alone, own = factory.train(backbone, [_close_sources(config)], steps=24)
        assert [g for g, _ in own[config.name]] == [g for g, _ in seen[config.name]]
        assert torch.allclose(factory.prompts(alone)[config.name], mixed[config.name], atol=1e-9)
    half, _ = factory.train(backbone, [_close_sources(c) for c in configs], steps=11)
    saved = {k: v.numpy() for stack in half for k, v in stack.tensors().items()}
    slots = [_close_sources(c) for c in configs]
    for slot in slots:
        slot.step = 11
    resumed, _ = factory.train(backbone, slots, steps=13, saved=saved)
    for name, prompt in factory.prompts(resumed).items():
        assert torch.equal(prompt, mixed[name]), name


def test_in_float16_a_gradient_is_as_exact_among_thousands_of_answer_tokens() -> None:
    rng, words, spread = np.random.default_rng(0), 2000, 0.02
    examples = [
        Encoded(rng.integers(5, words, 8), np.append(rng.integers(5, words, 99), 1))
        for _ in range(64)
    ]
    start = spread * torch.from_numpy(rng.normal(size=(1, 4, 16))).float()
    found = []
    for dtype in (torch.float32, torch.float16):
        model, prompt = make_model("t5", words, spread).to(dtype), start.clone().requires_grad_()
        backbone = factory.EncoderDecoder(model, factory.Numbers(), "tiny", "0")
        one, whole = np.zeros(len(examples), dtype=int), np.array([6400])
        loss = accumulate(backbone, prompt, examples, one, whole, 4000)
        assert float(loss[0]) == pytest.approx(np.log(words), rel=0.01)
        assert prompt.grad is not None
        found.append(prompt.grad)
    right, half = found
    assert float((half - right).norm() / right.norm()) < 0.03  # 0.39 without a larger loss


def test_dropout_draws_by_the_cohort_and_its_step_alone(backbone) -> None:
    dropping = type(backbone)(backbone.model, backbone.tokenizer, "tiny", "0", dropout=0.3)
    configs = factory.experiment(methods=["none", "dtvg"]).runs()
    try:
        whole, _ = factory.train(dropping, [factory.slot(c) for c in configs], steps=6)
        half, _ = factory.train(dropping, [factory.slot(c) for c in configs], steps=2)
        saved = {k: v.numpy() for stack in half for k, v in stack.tensors().items()}
        slots = [factory.slot(c) for c in configs]
        for slot in slots:
            slot.step = 2
        before = torch.get_rng_state()
        resumed, _ = factory.train(dropping, slots, steps=4, saved=saved)
        assert torch.equal(torch.get_rng_state(), before), "others draw as without training"
        still, _ = factory.train(backbone, [factory.slot(c) for c in configs], steps=6)
    finally:
        dropping.training(False)
        type(backbone)(backbone.model, backbone.tokenizer, "tiny", "0")
    mixed, without = factory.prompts(whole), factory.prompts(still)
    for name, prompt in factory.prompts(resumed).items():
        assert torch.equal(prompt, mixed[name]), name
        assert not torch.equal(prompt, without[name]), name


def test_every_step_and_every_cohort_drops_otherwise(backbone) -> None:
    dropping = type(backbone)(backbone.model, backbone.tokenizer, "tiny", "0", dropout=0.3)
    configs = factory.experiment(methods=["none"], seeds=[0, 1]).runs()
    one, other = (factory.slot(c) for c in configs)

    def drawn(*slots: RunSlot) -> float:
        with step_module.dropping(dropping, slots):
            return float(torch.rand(()))

    try:
        first = drawn(one)
        assert first == drawn(one)
        assert len({first, drawn(other), drawn(one, other)}) == 3
        one.step += 1
        assert drawn(one) != first
    finally:
        type(backbone)(backbone.model, backbone.tokenizer, "tiny", "0")


def test_the_first_update_after_a_restart_is_as_long_as_a_new_adam_s(backbone) -> None:
    """Adam's first update moves every entry by the learning rate, whatever the gradient."""
    settings = [{"name": "spot_dynamic", "regroup_every": 2}]
    configs = factory.experiment(methods=settings, seeds=[0, 1, 2]).runs()
    slots = [_close_sources(config) for config in configs]
    stack, seen = build_stacks(slots, backbone.device, backbone.dtype)[0], 0
    for _ in range(24):
        step = cohort_step(backbone, [stack], 400)[0].prompt_step
        for i, slot in enumerate(slots):
            if bool(step.restarted[i, 0]):
                moved = (stack.state.parameters["prompt"][i, 0] - step.prompt[i, 0]).abs()
                optim = slot.config.optim
                rate = optim.lr_stage1 * rate_factor(slot.step + 1, 100, optim)
                assert torch.allclose(moved.median(), torch.tensor(rate).double(), rtol=1e-2)
                seen += 1
            slot.step += 1
    assert seen
