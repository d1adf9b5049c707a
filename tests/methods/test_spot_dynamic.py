"""SPoT that chooses again: when, from where it restarts, and that Adam really starts again."""

from __future__ import annotations

import numpy as np
import torch

from dtvg.methods.base import ADAM_SINCE, MethodState, StepBatch, find_method
from dtvg.methods.specs import Spot, SpotDynamic
from dtvg.methods.spot_dynamic import REFERENCE, TUNED
from dtvg.testing.methods import random_inputs
from dtvg.training.optim import AdamState, put
from dtvg.training.state import Stack
from dtvg.training.step import restart
from tests.training.factory import updated

BATCH = StepBatch((1, 1), (9, 9), (0, 1))


def towards(state: MethodState, inputs, places: list[int], branch: int) -> None:
    """Move a branch's prompts next to other sources than those they came from."""
    with torch.no_grad():
        for run, place in enumerate(places):
            near = inputs.init[run] + 1.01 * inputs.source_vectors[run, place]
            state.parameters["prompt"][run, branch].copy_(near)


def test_the_reference_is_the_target_s_own_prompt_and_only_the_tuned_one_is_scored() -> None:
    inputs = random_inputs(2, 4)
    method, plain = find_method(SpotDynamic()), find_method(Spot())
    state = method.prepare(inputs)
    assert torch.equal(state.parameters["prompt"][:, REFERENCE], inputs.target_prompt)
    assert torch.equal(method.forward(state).prompt, plain.forward(plain.prepare(inputs)).prompt)
    step = method.forward(state, BATCH)
    assert step.counted == 1 and step.prompt.shape == (2, 2, 4, 6)


def test_only_every_k_steps_and_in_training_a_nearer_source_restarts_the_prompt() -> None:
    inputs = random_inputs(2, 4)
    method = find_method(SpotDynamic(regroup_every=3))
    state = method.prepare(inputs)
    first = method.forward(state, BATCH)
    start = first.weights.argmax(-1)
    assert not first.restarted.any() and torch.equal(first.prompt, state.parameters["prompt"])
    other = [(int(i) + 1) % 4 for i in start]
    towards(state, inputs, other, REFERENCE)
    for done in (1, 2):  # steps 2 and 3: not yet
        state.memory.update(first.memory, decided=torch.tensor([done, done]))
        assert not method.forward(state, BATCH).restarted.any()
    state.memory["decided"] = torch.tensor([3, 2])  # step 4 of one run, 3 of the other
    step = method.forward(state, BATCH)
    assert step.restarted.tolist() == [[True, False], [False, False]]
    assert step.weights.argmax(-1).tolist() == [other[0], int(start[1])]
    expected = inputs.init[0] + inputs.source_vectors[0, other[0]]
    prompt = state.parameters["prompt"]
    assert torch.allclose(step.prompt[0, TUNED], expected)
    assert torch.equal(step.prompt[0, REFERENCE], prompt[0, REFERENCE])
    assert torch.equal(step.prompt[1], prompt[1])
    assert step.memory[ADAM_SINCE].tolist() == [[3, 0], [0, 0]]
    scored = method.forward(state)  # an evaluation scores the prompt that was tuned
    assert scored.restarted is None and torch.equal(scored.prompt, prompt[:, TUNED])


def test_where_the_tuned_prompt_lies_has_no_say_in_the_choice() -> None:
    inputs = random_inputs(2, 4)
    method = find_method(SpotDynamic(regroup_every=1))
    state = method.prepare(inputs)
    start = method.forward(state, BATCH).weights.argmax(-1)
    towards(state, inputs, [(int(i) + 1) % 4 for i in start], TUNED)
    assert torch.equal(method.forward(state, BATCH).weights.argmax(-1), start)
    biased = find_method(SpotDynamic(regroup_every=1).as_of(1))
    state = biased.prepare(inputs)
    with torch.no_grad():
        for run, i in enumerate(start):
            near = inputs.init[run] + 1.01 * inputs.source_vectors[run, (int(i) + 1) % 4]
            state.parameters["prompt"][run].copy_(near)
    assert not torch.equal(biased.forward(state, BATCH).weights.argmax(-1), start)


def test_the_choice_is_the_highest_cosine_of_mean_pooled_prompts() -> None:
    inputs = random_inputs(2, 4)
    method = find_method(SpotDynamic(regroup_every=1))
    state = method.prepare(inputs)
    state.memory["decided"] += 5
    with torch.no_grad():
        state.parameters["prompt"].copy_(torch.randn_like(state.parameters["prompt"]))
    step = method.forward(state, BATCH)
    for run in range(2):
        own = state.parameters["prompt"][run, REFERENCE].detach().mean(0).numpy()
        pooled = (inputs.init[run] + inputs.source_vectors[run]).mean(1).numpy()
        cosines = pooled @ own / np.linalg.norm(pooled, axis=1) / np.linalg.norm(own)
        assert int(step.weights[run].argmax()) == int(cosines.argmax())


def test_after_a_restart_the_updates_are_those_of_a_new_adam() -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(6, 2, 3, generator=generator, dtype=torch.float64)
    start = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    anew = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    parameter = start.clone().requires_grad_()
    state = MethodState({"prompt": parameter}, {})
    stack = Stack(None, [], state, AdamState.zeros(state.parameters))  # type: ignore[arg-type]
    rate = {"prompt": torch.full((2,), 0.1, dtype=torch.float64)}
    since = torch.zeros(2, dtype=torch.int64)
    for number in range(6):
        if number == 4:  # the first run restarts, the second goes on
            mask = torch.tensor([True, False])
            kept = state.parameters, stack.moments
            put(*kept, *restart(*kept, mask, {"prompt": anew}))
            since = torch.tensor([4, 0])
        steps = torch.full((2,), number + 1.0, dtype=torch.float64) - since
        alive = torch.ones(2, dtype=torch.bool)
        decay = torch.zeros(2, dtype=torch.float64)
        given = {"prompt": gradients[number]}
        updated(state.parameters, given, stack.moments, rate, decay, steps, alive)
    for run, (origin, rows) in enumerate(((anew[0], range(4, 6)), (start[1], range(6)))):
        reference = origin.clone().requires_grad_()
        adam = torch.optim.AdamW([reference], lr=0.1, weight_decay=0.0)
        for number in rows:
            reference.grad = gradients[number, run].clone()
            adam.step()
        assert torch.allclose(parameter[run], reference, atol=1e-12)


def test_a_branch_restarts_without_the_other_one() -> None:
    generator = torch.Generator().manual_seed(1)
    parameter = torch.zeros(1, 2, 3, dtype=torch.float64, requires_grad=True)
    state = MethodState({"prompt": parameter}, {})
    stack = Stack(None, [], state, AdamState.zeros(state.parameters))  # type: ignore[arg-type]
    gradients = torch.randn(4, 1, 2, 3, generator=generator, dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    since = torch.zeros(1, 2, dtype=torch.int64)
    for number in range(4):
        if number == 2:
            anew = torch.stack([torch.ones(1, 3).double(), parameter[:, 1].detach()], dim=1)
            mask = torch.tensor([[True, False]])
            kept = state.parameters, stack.moments
            put(*kept, *restart(*kept, mask, {"prompt": anew}))
            since = torch.tensor([[2, 0]])
        steps = (number + one)[:, None] - since
        given, alive = {"prompt": gradients[number]}, torch.ones(1, dtype=torch.bool)
        updated(
            state.parameters, given, stack.moments, {"prompt": 0.1 * one}, 0 * one, steps, alive
        )
    for branch, (origin, rows) in enumerate(((1.0, (2, 3)), (0.0, (0, 1, 2, 3)))):
        reference = torch.full((3,), origin, dtype=torch.float64, requires_grad=True)
        adam = torch.optim.AdamW([reference], lr=0.1, weight_decay=0.0)
        for number in rows:
            reference.grad = gradients[number, 0, branch].clone()
            adam.step()
        assert torch.allclose(parameter[0, branch], reference, atol=1e-12)
