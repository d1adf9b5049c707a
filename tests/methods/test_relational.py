"""Relational context: attention, choice and prompt computed directly, token by token."""

from __future__ import annotations

import math

import pytest
import torch

from dtvg.methods.base import StepBatch, find_method
from dtvg.methods.relational import KINDS
from dtvg.methods.specs import Relational
from dtvg.testing.methods import random_inputs


def _normed(token: torch.Tensor) -> torch.Tensor:
    return (token - token.mean()) / torch.sqrt(((token - token.mean()) ** 2).mean() + 1e-5)


def _context(state, target, source, run: int, window: int | None) -> torch.Tensor:
    query, key = state.parameters["query"][run].detach(), state.parameters["key"][run].detach()
    rows = []
    for i in range(len(target)):
        near = [j for j in range(len(source)) if window is None or abs(i - j) <= window]
        logits = [
            float((_normed(target[i]) @ query) @ (_normed(source[j]) @ key))
            / math.sqrt(query.shape[1])
            for j in near
        ]
        total = sum(math.exp(x) for x in logits)
        rows.append(sum(math.exp(x) / total * source[j] for x, j in zip(logits, near, strict=True)))
    return torch.stack(rows)


@pytest.mark.parametrize("window", [0, 1])
def test_the_kept_kinds_give_the_prompt_of_the_formula(window: int) -> None:
    inputs = random_inputs(2, 4)
    method = find_method(Relational(window=window, projection=5))
    state = method.prepare(inputs)
    kinds = torch.tensor([[0, 1, 2, 1], [2, 2, 0, 0]])
    with torch.no_grad():
        state.parameters["logits"].copy_(3.0 * torch.nn.functional.one_hot(kinds, 3))
        state.parameters["scale_sources"] += 0.5 * torch.rand_like(
            state.parameters["scale_sources"]
        )
        state.parameters["scale_target"] -= 0.3
    step = method.forward(state)
    for run in range(2):
        vector = inputs.target_prompt[run] - inputs.init[run]
        prompt = inputs.init[run] + 0.7 * vector
        for s in range(4):
            kind = KINDS[int(kinds[run, s])]
            source = inputs.source_vectors[run, s]
            assert float(step.weights[run, s]) == (0.0 if kind == "none" else 1.0)
            if kind == "none":
                assert float(step.contribution_norm[run, s]) == 0
                continue
            made = _context(state, vector, source, run, window if kind == "local" else None)
            part = state.parameters["scale_sources"][run, s, :, None].detach() * made
            assert float(step.contribution_norm[run, s]) == pytest.approx(float(part.norm()))
            prompt = prompt + part
        assert torch.allclose(step.prompt[run], prompt)


def test_without_a_window_the_local_context_is_the_source_s_vector() -> None:
    inputs = random_inputs(2, 3)
    method = find_method(Relational())
    step = method.forward(method.prepare(inputs))
    assert torch.allclose(step.prompt, inputs.target_prompt + inputs.source_vectors.sum(1))


def test_while_searching_kinds_are_mixed_by_the_gumbel_softmax() -> None:
    inputs = random_inputs(2, 3)
    method = find_method(Relational(temperature_start=2.0, temperature_end=0.5, search_share=0.5))
    state = method.prepare(inputs)
    batch = StepBatch((26, 26), (100, 100), (4, 9))
    step = method.forward(state, batch)
    uniform = batch.uniform((3, 3), "relational", inputs.init)
    heat = 2.0 * (0.5 / 2.0) ** 0.5  # half of the search is done
    raised = torch.exp((-torch.log(-torch.log(uniform))) / heat)
    share = raised / raised.sum(-1, keepdim=True)
    assert torch.allclose(step.weights, 1 - share[..., 2])
    assert torch.autograd.grad(step.prompt.sum(), state.parameters["logits"])[0].any()


def test_choices_are_kept_once_the_search_is_over_and_told_with_names() -> None:
    inputs = random_inputs(2, 3)
    method = find_method(Relational(search_share=0.5))
    state = method.prepare(inputs)
    with torch.no_grad():
        state.parameters["logits"][:, 1, 2] = 2.0
    step = method.forward(state, StepBatch((51, 51), (100, 100), (4, 9)))
    assert step.weights.tolist() == [[1.0, 0.0, 1.0]] * 2
    state.memory.update(step.memory)
    with torch.no_grad():
        state.parameters["logits"][:, 1, 2] = -2.0
    later = method.forward(state, StepBatch((52, 52), (100, 100), (4, 9)))
    assert torch.equal(later.weights, step.weights)
    assert torch.equal(method.forward(state).weights, step.weights)
    found = method.findings(state, inputs.source_names)
    assert found[0].note["contexts"] == {"source0": "local", "source1": "none", "source2": "local"}
    assert "kept" in found[0].detail
    assert sum(found[1].note["context_probabilities"]["source1"].values()) == pytest.approx(1)


def test_parameters_are_counted_as_they_are_trained() -> None:
    state = find_method(Relational(projection=5)).prepare(random_inputs(1, 3))
    gates = sum(state.parameters[name].numel() for name in ("logits", "query", "key"))
    assert Relational(projection=5).gate_count(4, 6, 3) == gates
