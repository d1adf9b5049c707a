"""The sparse gate: routing, prompt, penalty and noise computed directly."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from dtvg.methods.base import StepBatch, find_method
from dtvg.methods.moe import balance, gaussian, largest
from dtvg.methods.specs import Moe
from dtvg.testing.methods import EXAMPLES, random_examples, random_inputs


def _logits(state, examples, run: int, row: int) -> list[float]:
    """One example's logits, number by number."""
    embedded = examples.embeddings[row][examples.mask[row]]
    mean = embedded.mean(0)
    normed = (mean - mean.mean()) / torch.sqrt(((mean - mean.mean()) ** 2).mean() + 1e-5)
    read = torch.cat([normed, state.parameters["task"][run].detach()])
    return [float(read @ column) for column in state.parameters["gate"][run].detach().T]


@pytest.mark.parametrize(("k", "over"), [(2, "chosen"), (3, "chosen"), (1, "all"), (9, "all")])
def test_prompt_and_weights_equal_the_formula(k: int, over: str) -> None:
    inputs, examples = random_inputs(3, 4), random_examples((0, 1, 2))
    method = find_method(Moe(k=k, softmax_over=over))
    state = method.prepare(inputs)
    step = method.mix(state, examples)
    row = 0
    for run in range(3):
        for _ in range(EXAMPLES[run]):
            logits = _logits(state, examples, run, row)
            kept = sorted(range(4), key=lambda s: -logits[s])[:k]
            total = sum(math.exp(logits[s]) for s in (kept if over == "chosen" else range(4)))
            gate = [math.exp(logits[s]) / total if s in kept else 0.0 for s in range(4)]
            assert torch.allclose(step.weights[row], torch.tensor(gate).double())
            prompt = inputs.target_prompt[run].clone()
            for s in kept:
                prompt += gate[s] * inputs.source_vectors[run, s]
            assert torch.allclose(step.prompt[row], prompt)
            row += 1


def test_the_penalty_is_the_load_balance_of_each_run() -> None:
    inputs, examples = random_inputs(3, 4), random_examples((0, 1, 2))
    method = find_method(Moe(k=2, balance=0.7))
    state = method.prepare(inputs)
    made = method.penalty(state, method.mix(state, examples))
    row = 0
    for run in range(3):
        choices, probabilities = [0.0] * 4, [0.0] * 4
        for _ in range(EXAMPLES[run]):
            logits = _logits(state, examples, run, row)
            total = sum(math.exp(x) for x in logits)
            for s in sorted(range(4), key=lambda s, own=logits: -own[s])[:2]:
                choices[s] += 1
            probabilities = [
                p + math.exp(x) / total for p, x in zip(probabilities, logits, strict=True)
            ]
            row += 1
        count = EXAMPLES[run]
        products = [
            c / (2 * count) * p / count for c, p in zip(choices, probabilities, strict=True)
        ]
        assert float(made[run].detach()) == pytest.approx(0.7 * 4 * sum(products))
    slope = torch.autograd.grad(made.sum(), state.parameters["gate"])[0]
    assert float(slope.abs().max()) > 0


def test_balance_is_one_where_sources_are_used_alike_and_n_where_one_takes_all() -> None:
    even = torch.full((1, 4), 0.25).double()
    assert float(balance(2 * even, even, 2)) == pytest.approx(1)
    one = torch.eye(4)[:1].double()
    assert float(balance(one, one, 1)) == pytest.approx(4)


def test_of_equal_logits_the_earlier_source_is_chosen() -> None:
    assert largest(torch.tensor([1.0, 2.0, 2.0, 2.0]), 2).tolist() == [False, True, True, False]


def test_noise_changes_who_is_chosen_in_training_only_and_depends_on_the_step() -> None:
    inputs, examples = random_inputs(3, 4), random_examples((0, 1, 2))
    method = find_method(Moe(noise=3.0))
    state = method.prepare(inputs)

    def members(step: int | None) -> torch.Tensor:
        batch = None if step is None else StepBatch((step,) * 3, (9,) * 3, (0, 1, 2), examples)
        return method.mix(state, examples, batch).weights > 0

    assert not torch.equal(members(1), members(None))
    assert not torch.equal(members(1), members(2))
    assert torch.equal(members(2), members(2))


def test_gaussian_numbers_have_mean_zero_and_variance_one() -> None:
    drawn = gaussian(torch.rand(20_000, generator=torch.Generator().manual_seed(1)).double())
    assert abs(float(drawn.mean())) < 0.03 and abs(float(drawn.var()) - 1) < 0.05
    assert torch.isfinite(gaussian(torch.tensor([0.0, 1.0]))).all()


def test_a_gate_that_could_not_learn_is_refused() -> None:
    with pytest.raises(ValidationError, match="learns nothing"):
        Moe(k=1)


def test_parameters_are_counted_as_they_are_trained() -> None:
    state = find_method(Moe(task_width=5)).prepare(random_inputs(1, 3))
    gates = sum(v.numel() for k, v in state.parameters.items() if k != "prompt")
    assert Moe(task_width=5).gate_count(4, 6, 3) == gates
