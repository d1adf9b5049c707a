"""The relation matrix in the dual: gains, exchange, image and prompt computed directly."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from dtvg.methods.base import MethodState, StepBatch, find_method
from dtvg.methods.exchanging import Met
from dtvg.methods.primal_dual import Method, exchange, gains, relation
from dtvg.methods.specs import PrimalDual
from dtvg.testing.methods import random_inputs
from dtvg.training.state import build_stacks
from dtvg.training.step import cohort_step, gather
from tests.training import factory


def _cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a * b).sum() / math.sqrt(float((a * a).sum()) * float((b * b).sum())))


def test_gains_are_cosines_of_falling_directions_and_vectors() -> None:
    inputs = random_inputs(2, 3)
    gradient = torch.randn_like(inputs.init)
    target = inputs.target_prompt - inputs.init
    made = gains(gradient, target, inputs.source_vectors)
    for run in range(2):
        vectors = [target[run], *inputs.source_vectors[run]]
        falls = [-gradient[run], *inputs.source_vectors[run]]
        for i, fall in enumerate(falls):
            for j, vector in enumerate(vectors):
                assert float(made[run, i, j]) == pytest.approx(_cosine(fall, vector))


def test_a_vector_or_gradient_of_zeros_gains_nothing() -> None:
    inputs = random_inputs(1, 2)
    made = gains(torch.zeros_like(inputs.init), inputs.init * 0, inputs.source_vectors)
    assert torch.isfinite(made).all() and not made[:, 0].any() and not made[:, :, 0].any()


def test_what_a_pair_gains_while_one_is_absent_waits_and_nothing_is_lost() -> None:
    generator = torch.Generator().manual_seed(3)
    duals = waiting = torch.zeros(3, 3).double()
    total = torch.zeros(3, 3).double()
    for _ in range(20):
        gained = torch.randn(3, 3, generator=generator).double()
        active = torch.rand(3, generator=generator) > 0.5
        before = duals
        duals, waiting = exchange(duals, waiting, gained, active)
        total = total + gained
        for i in range(3):
            for j in range(3):
                if active[i] and active[j]:
                    assert duals[i, j] == pytest.approx(float(total[i, j])) and not waiting[i, j]
                else:
                    assert duals[i, j] == before[i, j]
    assert torch.allclose(duals + waiting, total)


def test_the_relation_is_a_softmax_of_duals_over_the_root_of_the_rounds() -> None:
    duals = torch.tensor([[3.0, 0.0, -1.0], [1.0, 1.0, 1.0], [0.0, 5.0, 2.0]]).double()
    made = relation(duals, torch.tensor(4.0), 0.5)
    for i in range(3):
        raised = [math.exp(0.5 * float(y) / 2) for y in duals[i]]
        assert made[i].tolist() == pytest.approx([x / sum(raised) for x in raised])


def test_before_the_first_round_all_tasks_are_related_alike() -> None:
    inputs = random_inputs(2, 3)
    method = find_method(PrimalDual())
    step = method.forward(method.prepare(inputs))
    assert torch.allclose(step.weights, torch.full((2, 3), 0.25).double())
    assert torch.allclose(step.prompt, inputs.target_prompt + inputs.source_vectors.sum(1) / 4)


def test_a_source_along_which_the_loss_falls_gains_weight() -> None:
    inputs = random_inputs(2, 3)
    method = find_method(PrimalDual())
    state = method.prepare(inputs)
    for step in range(1, 9):
        batch = StepBatch((step, step), (20, 20), (0, 1))
        state.memory.update(method.observe(state, -inputs.source_vectors[:, 1], batch))
    made = method.forward(state)
    assert (made.weights.argmax(-1) == 1).all() and float(made.weights[:, 1].min()) > 0.5
    expected = inputs.target_prompt + (made.weights[..., None, None] * inputs.source_vectors).sum(1)
    assert torch.allclose(made.prompt, expected)
    lengths = made.weights * inputs.source_vectors.flatten(2).norm(dim=-1)
    assert torch.allclose(made.contribution_norm, lengths)


def test_the_engine_hands_over_the_gradient_of_the_loss_by_the_prompt() -> None:
    backbone = factory.tiny_backbone()
    config = factory.experiment(methods=["primal_dual"]).runs()[0]
    stack = build_stacks([factory.slot(config)], backbone.device, backbone.dtype)[0]
    prompt = stack.method.forward(stack.state).prompt.detach().requires_grad_()
    examples = gather(stack.slots[0])[1]
    shared = prompt.expand(len(examples), -1, -1)
    nll, tokens = backbone.loss(shared, backbone.collate(examples))
    (nll.sum() / tokens.sum()).backward()
    vector = stack.state.parameters["prompt"].detach() - stack.state.frozen["init"]
    expected = gains(prompt.grad, vector, stack.state.frozen["source_vectors"])
    cohort_step(backbone, [stack], 60)
    assert torch.allclose(stack.state.memory["duals"], expected, atol=1e-12)
    assert stack.state.memory["rounds"].tolist() == [1.0]


def _pair(**settings: object) -> tuple[Method, list[MethodState]]:
    """The runs of two targets that share, in stacks of their own."""
    method = find_method(PrimalDual(share=("first", "second"), rate=3.0, **settings))
    inputs = [
        dataclasses.replace(random_inputs(1, n), targets=(target,), source_names=(names,))
        for n, target, names in ((2, "first", ("a", "b")), (3, "second", ("b", "c", "a")))
    ]
    return method, [method.prepare(one) for one in inputs]


def test_a_shared_matrix_follows_its_equations_over_rounds() -> None:
    method, (mine, other) = _pair()
    generator = torch.Generator().manual_seed(5)
    row, heard, total, steps = torch.zeros(4).double(), None, torch.zeros(4).double(), 0
    for step in range(1, 6):
        gradient = torch.randn(mine.frozen["init"].shape, generator=generator).double()
        vectors = [mine.parameters["prompt"][0] - mine.frozen["init"][0]]
        vectors += [*mine.frozen["source_vectors"][0], heard]
        gained = [0.0 if v is None else _cosine(-gradient[0], v) for v in vectors]
        total = total + torch.tensor(gained).double()
        mine.memory.update(method.observe(mine, gradient, StepBatch((step,), (20,), (0,))))
        with torch.no_grad():
            mine.parameters["prompt"] += 0.1 * gradient
            other.parameters["prompt"] += 0.2
        if step % 2 == 0:  # a round; at step 4 the other one leaves it out
            offer = None if step == 4 else method.offer(other, 0)
            method.take(mine, 0, {"second": Met("met" if offer else "skipped", offer, step)})
            steps, settled = step, total.clone()
            if offer is None:
                settled[3] = row[3]
            else:
                heard = torch.as_tensor(offer["vector"])
            row = settled
        known = 4 if heard is not None else 3
        raised = [math.exp(3.0 * float(y) / math.sqrt(max(steps, 1))) for y in row[:known]]
        weights = [x / sum(raised) for x in raised]
        prompt = mine.parameters["prompt"][0].detach().clone()
        for weight, vector in zip(
            weights[1:], [*mine.frozen["source_vectors"][0], heard], strict=False
        ):
            prompt += weight * vector if vector is not None else 0
        made = method.forward(mine)
        assert made.weights[0].tolist() == pytest.approx(weights[1:3])
        assert torch.allclose(made.prompt[0], prompt)
        assert torch.allclose(mine.memory["duals"][0, 0] + mine.memory["waiting"][0, 0], total)


def test_rows_of_others_are_matched_by_the_names_of_sources() -> None:
    method, (mine, other) = _pair()
    duals = torch.arange(25.0).double().view(1, 5, 5)  # second, b, c, a, first
    other.memory["duals"] = duals
    method.take(mine, 0, {"second": Met("met", method.offer(other, 0), 1)})
    matrix = mine.memory["duals"][0]  # first, a, b, second
    assert matrix[3].tolist() == [4, 3, 1, 0]  # second's row: of first, a, b, itself
    assert matrix[1:3, 3].tolist() == [15, 5]  # a's and b's gains along second


def test_who_never_hears_of_another_trains_as_without_sharing() -> None:
    method, (mine, _) = _pair()
    alone = find_method(PrimalDual(rate=3.0))
    inputs = dataclasses.replace(random_inputs(1, 2), source_names=(("a", "b"),))
    state = alone.prepare(inputs)
    for step in range(1, 5):
        gradient, batch = torch.randn_like(inputs.init), StepBatch((step,), (20,), (0,))
        mine.memory.update(method.observe(mine, gradient, batch))
        method.take(mine, 0, {"second": Met("absent")})
        state.memory.update(alone.observe(state, gradient, batch))
        assert torch.equal(method.forward(mine).weights, alone.forward(state).weights)
        assert torch.equal(method.forward(mine).prompt, alone.forward(state).prompt)


def test_the_share_of_rounds_left_out_is_drawn_apart_for_every_target() -> None:
    method, _ = _pair(skip=0.25, every=5)
    rounds = [s for s in range(1, 5001) if method.is_round(s)]
    assert rounds == list(range(5, 5001, 5))
    there = {t: [method.takes_part(t, 3, s) for s in rounds] for t in ("first", "second")}
    assert there["first"] != there["second"]
    assert all(abs(sum(known) / len(known) - 0.75) < 0.04 for known in there.values())
