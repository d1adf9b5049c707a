"""Adaptive weight disentanglement: the objective by hand, near-orthogonality, a bounded δ."""

from __future__ import annotations

import numpy as np
import torch

from dtvg.methods.awd import disentangle, mean_cosine, objective, redundant_vector
from dtvg.methods.base import find_method
from dtvg.methods.specs import METHODS
from dtvg.testing.methods import random_inputs


def entangled(n: int = 5, r: int = 6, d: int = 16) -> torch.Tensor:
    """Vectors that share a strong common part, as prompts tuned from one start do."""
    generator = torch.Generator().manual_seed(4)
    own = torch.randn(n, r, d, generator=generator, dtype=torch.float64)
    return own + 1.5 * torch.randn(r, d, generator=generator, dtype=torch.float64)


def objective_by_hand(flat: np.ndarray, redundant: np.ndarray, weight: float) -> float:
    kept = flat - redundant
    cosines = [
        abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b)
        for i, a in enumerate(kept)
        for j, b in enumerate(kept)
        if i != j
    ]
    size = np.mean([np.linalg.norm(row) for row in flat])
    return float(np.mean(cosines) + weight * np.linalg.norm(redundant) / size)


def test_the_objective_is_the_formula_pair_by_pair() -> None:
    flat = entangled().flatten(1)
    redundant = torch.linspace(-1, 1, flat.shape[1], dtype=torch.float64)
    made = float(objective(flat, redundant, 0.3))
    assert np.isclose(made, objective_by_hand(flat.numpy(), redundant.numpy(), 0.3))


def test_what_is_left_is_near_orthogonal_and_the_redundant_part_is_the_common_one() -> None:
    vectors = entangled()
    redundant = redundant_vector(vectors, 0.1, 300, 0.01)
    before, after = mean_cosine(vectors.flatten(1)), mean_cosine((vectors - redundant).flatten(1))
    assert before > 0.5 and after < 0.1 * before
    common = vectors.mean(0).flatten()
    along = redundant.flatten() @ common / redundant.norm() / common.norm()
    assert along > 0.9


def test_orthogonal_vectors_lose_nothing_and_length_is_paid_for() -> None:
    orthogonal = torch.eye(4, dtype=torch.float64).reshape(4, 2, 2)
    assert float(redundant_vector(orthogonal, 0.1, 100, 0.01).norm()) < 1e-6
    free = redundant_vector(entangled(), 0.0, 200, 0.01).norm()
    assert redundant_vector(entangled(), 2.0, 200, 0.01).norm() < 0.5 * free


def test_the_first_step_is_the_rate_times_the_root_mean_square_entry() -> None:
    vectors = 7.0 * entangled()
    step = 0.01 * vectors.square().mean().sqrt()
    made = redundant_vector(vectors, 0.0, 1, 0.01)
    assert torch.isclose(made.abs().max(), step, rtol=1e-3)


def test_one_source_or_nothing_at_all_has_nothing_redundant() -> None:
    assert not redundant_vector(entangled(1), 0.1, 10, 0.01).any()
    assert not redundant_vector(torch.zeros(3, 2, 2), 0.1, 10, 0.01).any()


def test_a_source_that_never_left_the_initial_prompt_takes_no_part() -> None:
    vectors = entangled(4)
    alone = redundant_vector(vectors, 0.1, 60, 0.01)
    with_nothing = torch.cat([vectors[:2], torch.zeros_like(vectors[:2]), vectors[2:]])
    assert torch.equal(redundant_vector(with_nothing, 0.1, 60, 0.01), alone)
    kept = disentangle(with_nothing, alone)
    assert not kept[2:4].any() and torch.equal(kept[0], vectors[0] - alone)


def test_the_method_adds_the_disentangled_vectors_and_notes_how_orthogonal_they_are() -> None:
    inputs = random_inputs(2, 4)
    method = find_method(METHODS["awd"](iterations=50))
    state = method.prepare(inputs)
    step = method.forward(state)
    for run in range(2):
        redundant = redundant_vector(inputs.source_vectors[run], 0.1, 50, 0.01)
        merged = (inputs.source_vectors[run] - redundant).sum(0)
        assert torch.allclose(step.prompt[run], inputs.target_prompt[run] + merged)
        note = state.notes[run]
        assert note["mean_cosine_after"] < note["mean_cosine_before"]
