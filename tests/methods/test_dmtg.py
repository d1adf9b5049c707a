"""DMTG: the Gumbel-softmax by hand and by frequency, annealing, and the group that is kept."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dtvg.methods.base import StepBatch, find_method
from dtvg.methods.dmtg import gumbel, most_likely, relaxed_assignment, straight_through, temperature
from dtvg.methods.specs import Dmtg
from dtvg.testing.methods import random_inputs


def batch(step: int, total: int = 100, seeds: tuple[int, ...] = (4, 5)) -> StepBatch:
    return StepBatch(tuple(step for _ in seeds), tuple(total for _ in seeds), seeds)


def test_the_relaxed_assignment_is_the_softmax_of_noisy_logits() -> None:
    logits, noise = torch.randn(2, 3, 4).double(), torch.randn(2, 3, 4).double()
    made = relaxed_assignment(logits, noise, torch.tensor([0.5, 2.0]).double())
    for run, heat in enumerate((0.5, 2.0)):
        for source in range(3):
            terms = [
                math.exp((float(logits[run, source, k]) + float(noise[run, source, k])) / heat)
                for k in range(4)
            ]
            assert np.allclose(made[run, source].tolist(), np.array(terms) / sum(terms))


def test_one_hot_samples_come_as_often_as_their_softmax_says() -> None:
    logits = torch.tensor([[0.0, 1.0, -1.0]]).double()
    uniform = torch.from_numpy(np.random.default_rng(0).random((40_000, 1, 3)))
    heat = torch.full((40_000,), 0.01).double()
    drawn = relaxed_assignment(logits.expand(40_000, 1, 3), gumbel(uniform), heat).argmax(-1)
    shares = torch.bincount(drawn.flatten(), minlength=3) / 40_000
    assert torch.allclose(shares.double(), torch.softmax(logits[0], -1), atol=0.01)


def test_gumbel_numbers_are_finite_at_both_ends() -> None:
    for dtype in (torch.float32, torch.float64):
        assert torch.isfinite(gumbel(torch.tensor([0.0, 0.5, 1.0 - 1e-7], dtype=dtype))).all()


def test_hard_samples_are_one_hot_with_the_relaxed_gradient() -> None:
    logits = torch.randn(3, 4).double().requires_grad_()
    weight = torch.randn(3, 4).double()
    soft = torch.softmax(logits, -1)
    (straight_through(soft) * weight).sum().backward()
    expected = torch.autograd.grad((torch.softmax(logits, -1) * weight).sum(), logits)[0]
    assert torch.allclose(logits.grad, expected)
    assert torch.equal(straight_through(soft).detach(), most_likely(soft))


def test_the_temperature_falls_exponentially_between_its_ends() -> None:
    made = temperature(torch.tensor([0.0, 0.5, 1.0, 3.0]).double(), 4.0, 0.25)
    assert np.allclose(made.tolist(), [4.0, 1.0, 0.25, 0.25])


@pytest.mark.parametrize("sample", ["soft", "hard"])
def test_while_learning_a_source_counts_by_its_sample_of_the_target_s_group(sample: str) -> None:
    inputs = random_inputs(2, 4)
    config = Dmtg(groups=3, sample=sample, learn_share=0.5)
    method = find_method(config)
    state = method.prepare(inputs)
    with torch.no_grad():
        state.parameters["logits"].copy_(torch.randn(2, 4, 3))
    coming = batch(step=11)
    step = method.forward(state, coming)
    heat = 2.5 * (0.1 / 2.5) ** (0.1 / 0.5)
    noise = gumbel(coming.uniform((4, 3), "dmtg", inputs.init))
    assigned = torch.softmax((state.parameters["logits"] + noise) / heat, -1)
    if sample == "hard":
        assigned = torch.nn.functional.one_hot(assigned.argmax(-1), 3).double()
    assert torch.allclose(step.weights, assigned[..., 0].detach())
    merged = (step.weights[..., None, None] * inputs.source_vectors).sum(1)
    assert torch.allclose(step.prompt, inputs.target_prompt + merged)
    other = method.forward(state, batch(step=12)).weights
    assert not torch.equal(other, step.weights)


def test_after_learning_the_most_likely_group_is_kept_whatever_the_logits_do() -> None:
    inputs = random_inputs(2, 4)
    method = find_method(Dmtg(learn_share=0.5))
    state = method.prepare(inputs)
    likely = torch.tensor([[1.0, -1.0, 2.0, -2.0], [-1.0, 1.0, 1.0, -1.0]]).double()
    with torch.no_grad():
        state.parameters["logits"][..., 0].copy_(likely)
    step = method.forward(state, batch(step=51))
    assert torch.equal(step.weights, (likely > 0).double())
    state.memory.update(step.memory)
    with torch.no_grad():
        state.parameters["logits"].neg_()
    for coming in (batch(step=52), None):
        assert torch.equal(method.forward(state, coming).weights, (likely > 0).double())
    grads = torch.autograd.grad(
        method.forward(state, batch(step=52)).prompt.sum(), state.parameters["logits"]
    )
    assert not grads[0].any()


def test_an_evaluation_while_learning_scores_the_most_likely_group() -> None:
    inputs = random_inputs(2, 4)
    method = find_method(Dmtg())
    state = method.prepare(inputs)
    with torch.no_grad():
        state.parameters["logits"][:, 1, 1] += 1
    assert method.forward(state).weights.tolist() == [[1.0, 0.0, 1.0, 1.0]] * 2


def test_draws_are_a_function_of_run_seed_step_and_purpose_alone() -> None:
    like = torch.zeros(1)
    both = batch(step=3, seeds=(4, 5)).uniform((2,), "a", like)
    assert torch.equal(both[1], batch(step=3, seeds=(5,)).uniform((2,), "a", like)[0])
    others = [
        batch(step=3, seeds=(6,)).uniform((2,), "a", like),
        batch(step=4, seeds=(5,)).uniform((2,), "a", like),
        batch(step=3, seeds=(5,)).uniform((2,), "b", like),
    ]
    assert not any(torch.equal(other[0], both[1]) for other in others)
