"""TAPS: gates, their straight-through gradient, the penalty, and what is logged as shared."""

from __future__ import annotations

import pytest
import torch

from dtvg.methods.base import find_method
from dtvg.methods.specs import Taps
from dtvg.methods.taps import gates, mix
from dtvg.testing.methods import random_inputs

SCORES = torch.tensor([0.3, 0.1, 0.09, -0.2], dtype=torch.float64)


def test_a_gate_is_open_from_the_threshold_on_and_its_gradient_passes_straight_through() -> None:
    scores = SCORES.clone().requires_grad_()
    made = gates(scores, 0.1)
    assert made.tolist() == [1.0, 1.0, 0.0, 0.0]
    (made * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert scores.grad.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_open_tokens_are_the_target_s_own_and_closed_ones_the_shared_prompt() -> None:
    base, prompt = torch.zeros(4, 2), torch.ones(4, 2)
    assert mix(base, prompt, gates(SCORES.float(), 0.1)).tolist() == [
        [1, 1],
        [1, 1],
        [0, 0],
        [0, 0],
    ]


@pytest.mark.parametrize("base", ["mean_sources", "init"])
def test_the_prompt_and_both_gradients_are_the_formula_token_by_token(base: str) -> None:
    inputs = random_inputs(2, 4)
    method = find_method(Taps(base=base))
    state = method.prepare(inputs)
    shared = inputs.init + (inputs.source_vectors.mean(1) if base == "mean_sources" else 0)
    assert torch.allclose(method.forward(state).prompt, shared)  # open gates, no change yet
    with torch.no_grad():
        state.parameters["prompt"].copy_(inputs.target_prompt)
        state.parameters["scores"].copy_(SCORES.expand(2, 4))
    step = method.forward(state)
    loss_weight = torch.randn_like(step.prompt)
    (step.prompt * loss_weight).sum().backward()
    for run in range(2):
        for token in range(4):
            opened = token < 2
            expected = inputs.target_prompt[run, token] if opened else shared[run, token]
            assert torch.allclose(step.prompt[run, token], expected)
            own = loss_weight[run, token] if opened else torch.zeros(6, dtype=torch.float64)
            assert torch.allclose(state.parameters["prompt"].grad[run, token], own)
            delta = inputs.target_prompt[run, token] - shared[run, token]
            slope = (loss_weight[run, token] * delta).sum()
            assert torch.allclose(state.parameters["scores"].grad[run, token], slope)


def test_the_penalty_is_the_mean_size_of_the_scores_of_each_run() -> None:
    inputs = random_inputs(2, 3)
    method = find_method(Taps(sparsity=0.5))
    state = method.prepare(inputs)
    with torch.no_grad():
        state.parameters["scores"][0].copy_(SCORES)
    made = method.penalty(state, method.forward(state))
    assert torch.allclose(made, torch.tensor([0.5 * (0.3 + 0.1 + 0.09 + 0.2) / 4, 0.1]).double())


def test_a_source_s_weight_is_its_part_of_the_tokens_taken_from_the_shared_prompt() -> None:
    inputs = random_inputs(2, 4)
    method = find_method(Taps())
    state = method.prepare(inputs)
    assert not method.forward(state).weights.any()
    with torch.no_grad():
        state.parameters["scores"].copy_(SCORES.expand(2, 4))
    step = method.forward(state)
    assert torch.allclose(step.scale_mean, torch.full((2, 4), 0.5).double())
    assert torch.allclose(step.weights, torch.full((2, 4), 0.125).double())
    lengths = inputs.source_vectors[:, :, 2:].flatten(2).norm(dim=-1) / 4
    assert torch.allclose(step.contribution_norm, lengths)
    alone = find_method(Taps(base="init"))
    state = alone.prepare(inputs)
    with torch.no_grad():
        state.parameters["scores"].copy_(SCORES.expand(2, 4))
    step = alone.forward(state)
    assert not step.weights.any() and not step.contribution_norm.any()


def test_a_run_of_version_1_goes_on_from_the_target_s_own_prompt() -> None:
    inputs = random_inputs(2, 4)
    method = find_method(Taps().as_of(1))
    assert torch.allclose(method.forward(method.prepare(inputs)).prompt, inputs.target_prompt)
