"""Instance-wise prompts in the engine: the law, the cut, a resume, scoring, and the files."""

from __future__ import annotations

import pytest
import torch

from dtvg.training.instance import composer_of, embed_inputs
from dtvg.training.state import build_stacks
from dtvg.training.step import cohort_step, gather
from tests.training import factory

METHODS = [{"name": "attempt", "temperature": 0.2, "projection": 6}, {"name": "moe", "noise": 0.3}]
BESIDE = [*METHODS, "dtvg", "none"]


@pytest.fixture(scope="module")
def backbone():
    return factory.tiny_backbone()


def _sized(config, batch: int):
    optim = config.optim.model_copy(update={"batch_size": batch})
    return factory.slot(config.model_copy(update={"optim": optim}))


def test_a_run_in_a_cohort_follows_the_trajectory_it_has_alone(backbone) -> None:
    configs = factory.experiment(methods=BESIDE, seeds=[0, 1]).runs()
    sizes = {config.name: 3 + i for i, config in enumerate(configs)}
    slots = [_sized(c, sizes[c.name]) for c in configs]
    together, seen = factory.train(backbone, slots, steps=24)
    mixed = factory.prompts(together)
    for config in configs:
        alone, own = factory.train(backbone, [_sized(config, sizes[config.name])], steps=24)
        assert [g for g, _ in own[config.name]] == [g for g, _ in seen[config.name]]
        difference = (factory.prompts(alone)[config.name] - mixed[config.name]).abs().max()
        assert float(difference) < 1e-6, config.name


def test_the_result_does_not_depend_on_the_cut_nor_on_a_resume(backbone) -> None:
    configs = factory.experiment(methods=BESIDE).runs()
    whole, _ = factory.train(backbone, [factory.slot(c) for c in configs], 10, budget=10_000)
    single, _ = factory.train(backbone, [factory.slot(c) for c in configs], 10, budget=1)
    mixed = factory.prompts(whole)
    for name, prompt in factory.prompts(single).items():
        assert torch.allclose(prompt, mixed[name], atol=1e-9), name
    half, _ = factory.train(backbone, [factory.slot(c) for c in configs], 4, budget=10_000)
    saved = {k: v.numpy() for stack in half for k, v in stack.tensors().items()}
    slots = [factory.slot(c) for c in configs]
    for slot in slots:
        slot.step = 4
    resumed, _ = factory.train(backbone, slots, 6, budget=10_000, saved=saved)
    for name, prompt in factory.prompts(resumed).items():
        assert torch.equal(prompt, mixed[name]), name


def test_dropping_a_run_leaves_the_others_as_they_would_have_been(backbone) -> None:
    configs = factory.experiment(methods=METHODS, seeds=[0, 1, 2]).runs()
    stacks, _ = factory.train(backbone, [factory.slot(c) for c in configs], steps=4)
    gone = {c.name for c in configs if c.seed == 1}
    kept = [stack.keep({s.name for s in stack.slots} - gone) for stack in stacks]
    for _ in range(4):
        cohort_step(backbone, kept, 400)
        for slot in (s for stack in kept for s in stack.slots):
            slot.step += 1
    whole, _ = factory.train(backbone, [factory.slot(c) for c in configs], steps=8)
    expected = factory.prompts(whole)
    for name, prompt in factory.prompts(kept).items():
        assert torch.allclose(prompt, expected[name], atol=1e-9), name


def test_the_logged_weight_is_the_mean_over_the_examples_of_the_step(backbone) -> None:
    configs = factory.experiment(methods=METHODS[:1], seeds=[0, 1]).runs()
    slots = [factory.slot(c) for c in configs]
    stack = build_stacks(slots, backbone.device, backbone.dtype)[0]
    expected = []
    for i, slot in enumerate(slots):
        inputs = [e.source for e in gather(slot)[1]]
        examples = embed_inputs(backbone, inputs, [len(inputs)], torch.float64)
        each = stack.method.mix(stack.state.keep([i]), examples)
        assert float(each.weights.std(0).max()) > 1e-4, "every example has the same attention"
        expected.append(each.weights.mean(0))
    record = cohort_step(backbone, [stack], 400)[0]
    assert record.prompt_step.weights.shape == (2, len(factory.SOURCES))
    assert torch.allclose(record.prompt_step.weights, torch.stack(expected))


def test_gradients_reach_every_example_s_own_prompt(backbone) -> None:
    """The update's gradient equals that of the loss computed in one piece with autograd."""
    config = factory.experiment(methods=METHODS[:1]).runs()[0]
    stack = build_stacks([factory.slot(config)], backbone.device, backbone.dtype)[0]
    batch = gather(stack.slots[0])[1]
    state = stack.state.keep([0])
    examples = embed_inputs(backbone, [e.source for e in batch], [len(batch)], torch.float64)
    prompts = stack.method.mix(state, examples).prompt
    nll, tokens = backbone.loss(prompts, backbone.collate(batch))
    (nll.sum() / tokens.sum()).backward()
    norm = sum(float(p.grad.square().sum()) for p in state.parameters.values()) ** 0.5
    record = cohort_step(backbone, [stack], 60)[0]
    assert float(record.grad_norm) == pytest.approx(norm, rel=1e-9)
    for name, parameter in state.parameters.items():
        limit = min(1.0, config.optim.clip_norm / (norm + 1e-6))
        first = 0.1 * limit * parameter.grad
        assert torch.allclose(stack.moments.first[name], first, rtol=1e-6, atol=1e-15), name


def test_the_mean_prompt_does_not_depend_on_the_batches(backbone) -> None:
    config = factory.experiment(methods=METHODS[:1]).runs()[0]
    stack = build_stacks([factory.slot(config)], backbone.device, backbone.dtype)[0]
    composer = composer_of(stack, stack.slots[0])
    inputs = [one.source for one in factory.rows(9, 3)]
    expected = composer.prompts(backbone, inputs).mean(0)
    for budget in (1, 40, 10_000):
        assert torch.allclose(composer.mean_prompt(backbone, inputs, budget), expected)
