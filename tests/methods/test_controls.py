"""Controls of DTVG as switches: what each takes away, and what it leaves as it is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from dtvg.methods.base import Inputs, MethodState, PromptStep, find_method
from dtvg.methods.dtvg import shuffled
from dtvg.methods.specs import AllSources, Dtvg
from dtvg.rule.decide import gram_matrix
from dtvg.testing.methods import random_inputs


def composed(config: Dtvg, inputs: Inputs) -> tuple[MethodState, PromptStep]:
    method = find_method(config)
    state = method.prepare(inputs)
    return state, method.forward(state)


def grams(inputs: Inputs, vectors: torch.Tensor) -> torch.Tensor:
    own = inputs.target_prompt - inputs.init
    return gram_matrix(own, vectors, torch.ones_like(own[..., 0]), torch.ones_like(vectors[..., 0]))


def test_shuffled_keeps_norms_and_products_between_sources_and_loses_the_target() -> None:
    inputs = random_inputs(3, 4, length=4, width=32)
    state, _ = composed(Dtvg(shuffled=True), inputs)
    vectors = state.frozen["source_vectors"]
    before, after = grams(inputs, inputs.source_vectors), grams(inputs, vectors)
    assert torch.allclose(before[:, 1:, 1:], after[:, 1:, 1:], atol=1e-6)
    assert torch.allclose(before[:, 0, 0], after[:, 0, 0])
    assert not torch.allclose(before[:, 0, 1:], after[:, 0, 1:], atol=0.01)
    for run in range(3):
        order = [
            int((inputs.source_vectors[run, 0, 0] == x).nonzero()[0]) for x in vectors[run, 0, 0]
        ]
        assert sorted(order) == list(range(32)) and order != sorted(order)
        assert torch.equal(vectors[run], inputs.source_vectors[run][..., order])


def test_the_order_of_a_seed_is_the_one_it_had_in_earlier_versions() -> None:
    made = shuffled(torch.arange(8.0).view(1, 1, 1, 8), [3])
    assert made.flatten().tolist() == [6, 1, 2, 7, 5, 4, 3, 0]


def test_the_order_is_the_runs_own_and_the_same_in_any_cohort_and_after_a_resume() -> None:
    inputs = random_inputs(2, 4, width=32)
    both = find_method(Dtvg(shuffled=True)).prepare(inputs).frozen["source_vectors"]
    same = dataclasses.replace(inputs, seeds=(1, 1))
    again = find_method(Dtvg(shuffled=True)).prepare(same).frozen["source_vectors"]
    assert torch.equal(both[1], again[1]) and not torch.equal(both[0], again[0])


def test_shuffling_makes_the_similarity_that_of_strangers_on_average() -> None:
    inputs = random_inputs(1, 4, length=4, width=64)
    found = []
    for seed in range(200):
        one = dataclasses.replace(inputs, seeds=(seed,))
        state, _ = composed(Dtvg(shuffled=True), one)
        found.append(grams(one, state.frozen["source_vectors"])[0, 0, 1:].numpy())
    mean, unshuffled = np.mean(found, axis=0), grams(inputs, inputs.source_vectors)[0, 0, 1:]
    assert np.abs(mean).max() < 0.2 * float(unshuffled.abs().max())


@pytest.mark.parametrize("activation", ["identity", "sigmoid"])
def test_init_only_starts_where_dtvgs_first_step_composes_the_prompt(activation: str) -> None:
    inputs = random_inputs(3, 4)
    _, first = composed(Dtvg(scale_activation=activation), inputs)
    state, step = composed(Dtvg(init_only=True, scale_activation=activation), inputs)
    assert torch.equal(step.prompt, first.prompt)
    assert set(state.parameters) == {"prompt"}
    for name in ("weights", "scale_mean", "contribution_norm"):
        assert torch.allclose(getattr(step, name), getattr(first, name)), name
    assert step.grouping is not None and first.grouping is not None
    assert torch.equal(step.grouping.gram, first.grouping.gram)
    assert step.scale_negative is None


def test_init_only_is_tuned_alone_and_keeps_the_group_of_its_start() -> None:
    inputs = random_inputs(3, 4)
    config = Dtvg(init_only=True)
    method = find_method(config)
    state = method.prepare(inputs)
    first = method.forward(state)
    state.memory.update(first.memory)
    with torch.no_grad():
        state.parameters["prompt"].copy_(2 * state.frozen["init"] - state.parameters["prompt"])
    later = method.forward(state)
    assert torch.equal(later.prompt, state.parameters["prompt"])
    assert torch.equal(later.weights, first.weights)
    vectors = state.parameters["prompt"].detach() - inputs.init
    own = gram_matrix(
        vectors,
        inputs.source_vectors,
        torch.ones_like(vectors[..., 0]),
        torch.ones_like(inputs.source_vectors[..., 0]),
    )
    assert later.grouping is not None and torch.equal(later.grouping.gram, own)
    gradient = torch.autograd.grad(later.prompt.sum(), state.parameters["prompt"])[0]
    assert torch.equal(gradient, torch.ones_like(gradient))


def test_init_only_says_what_it_started_from_and_can_hold_no_source() -> None:
    inputs = random_inputs(2, 4)
    config = Dtvg(init_only=True)
    method = find_method(config)
    state = method.prepare(inputs)
    members = method.forward(state).grouping.member
    for row, note in enumerate(state.notes):
        named = [n for n, m in zip(inputs.source_names[row], members[row], strict=True) if m]
        assert note["started_with"] == named
        assert method.opening(note) == (
            f"Starts with the group of the first step ({', '.join(named)}) and is tuned alone "
            "from there."
        )
    assert not config.can_hold and Dtvg().can_hold
    assert config.scale_count(4) == 0 and Dtvg().scale_count(4) == 4


def test_the_share_of_negative_scale_entries_is_counted_source_by_source() -> None:
    inputs = random_inputs(2, 4)
    method = find_method(Dtvg())
    state = method.prepare(inputs)
    with torch.no_grad():
        state.parameters["scale_sources"][0, 1, :3] = -0.5
        state.parameters["scale_sources"][1, 2, :1] = -0.1
        state.parameters["scale_sources"][1, 3, 0] = 0.0
    shares = method.forward(state).scale_negative
    assert shares is not None
    assert shares.tolist() == [[0, 0.75, 0, 0], [0, 0, 0.25, 0]]
    everything = find_method(AllSources())
    assert everything.forward(everything.prepare(inputs)).scale_negative is not None


def test_nonnegative_scales_are_the_sizes_of_the_learned_numbers() -> None:
    inputs = random_inputs(2, 4)
    plain, control = find_method(Dtvg()), find_method(Dtvg(nonnegative_scale=True))
    one, other = plain.prepare(inputs), control.prepare(inputs)
    assert torch.equal(plain.forward(one).prompt, control.forward(other).prompt)
    with torch.no_grad():
        for state, sign in ((one, 1.0), (other, -1.0)):
            state.parameters["scale_sources"][:, :, 1] = sign * 0.25
            state.parameters["scale_target"][:, 2] = sign * 0.5
    mended = control.forward(other)
    assert torch.allclose(plain.forward(one).prompt, mended.prompt)
    assert mended.scale_negative is not None and not bool(mended.scale_negative.any())
    loss = (mended.prompt * torch.randn_like(mended.prompt)).sum()
    scale = torch.autograd.grad(loss, other.parameters["scale_sources"])[0]
    assert bool((scale[mended.weights > 0][:, 1] != 0).all()), "a negative number can come back"


def test_a_random_group_is_drawn_by_the_runs_seed_and_step_and_kept_in_an_evaluation() -> None:
    inputs = random_inputs(3, 4)
    method = find_method(Dtvg(rule="random"))
    state = method.prepare(inputs)
    groups = []
    for _ in range(12):
        before = method.forward(state)  # as an evaluation composes
        step = method.forward(state)
        assert torch.equal(before.prompt, step.prompt)
        groups.append(step.weights.clone())
        state.memory.update(step.memory)
    assert len({tuple(g[0].tolist()) for g in groups}) > 1
    assert all(torch.equal(g.sum(-1), groups[0].sum(-1)) for g in groups)
    alone = find_method(Dtvg(rule="random"))
    second = alone.prepare(dataclasses.replace(inputs, seeds=(1, 1, 1)))
    assert torch.equal(alone.forward(second).weights[1], groups[0][1])


@pytest.mark.parametrize(
    ("config", "label"),
    [
        (Dtvg(rule="random"), "dtvg-random"),
        (Dtvg(regroup_every=20, schedule="random"), "dtvg-regroupevery20-schedule_random"),
        (Dtvg(shuffled=True), "dtvg-shuffled"),
        (Dtvg(init_only=True), "dtvg-init_only"),
        (Dtvg(nonnegative_scale=True), "dtvg-nonnegative_scale"),
        (Dtvg(rule="largest", shuffled=True), "dtvg-largest-shuffled"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_controls_row_is_named_after_it(config: Dtvg, label: str) -> None:
    assert config.label == label
