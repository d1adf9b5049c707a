"""TIES by hand: trimming, elected signs, the disjoint mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dtvg.methods.base import find_method
from dtvg.methods.specs import METHODS
from dtvg.methods.ties import elect_and_share, trim
from dtvg.testing.methods import random_inputs


def by_hand(vectors: np.ndarray, density: float) -> np.ndarray:
    """The merged vector of `[n entries]`, entry by entry, as the paper's algorithm reads."""
    keep = max(1, round(density * vectors.shape[1]))
    trimmed = np.zeros_like(vectors)
    for row, source in zip(trimmed, vectors, strict=True):
        largest = np.argsort(-np.abs(source))[:keep]
        row[largest] = source[largest]
    merged = np.zeros(vectors.shape[1])
    for entry in range(vectors.shape[1]):
        values = trimmed[:, entry]
        sign = np.sign(values.sum())
        agreeing = [v for v in values if sign != 0 and np.sign(v) == sign]
        merged[entry] = np.mean(agreeing) if agreeing else 0.0
    return merged


@pytest.mark.parametrize("density", [0.05, 0.2, 0.5, 1.0])
def test_the_parts_add_up_to_the_paper_s_merged_vector(density: float) -> None:
    vectors = random_inputs(1, 4).source_vectors[0]
    parts = elect_and_share(trim(vectors, density))
    expected = by_hand(vectors.flatten(1).numpy(), density)
    assert np.allclose(parts.sum(0).flatten().numpy(), expected, atol=1e-12)


def test_a_small_case_written_out() -> None:
    vectors = torch.tensor([[[3.0, -1.0, 0.5]], [[1.0, 2.0, -0.4]], [[-1.0, 2.0, 0.1]]])
    trimmed = trim(vectors, 2 / 3)
    assert trimmed[:, 0].tolist() == [[3.0, -1.0, 0.0], [1.0, 2.0, 0.0], [-1.0, 2.0, 0.0]]
    merged = elect_and_share(trimmed).sum(0)
    assert merged[0].tolist() == [2.0, 2.0, 0.0]  # (3 + 1) / 2, (2 + 2) / 2, nothing left


def test_an_exact_tie_of_signs_adds_nothing() -> None:
    vectors = torch.tensor([[[2.0, 1.0]], [[-2.0, 1.0]]])
    assert elect_and_share(vectors).sum(0)[0].tolist() == [0.0, 1.0]


def test_the_method_adds_the_merged_vector_under_one_scale() -> None:
    inputs = random_inputs(3, 4)
    method = find_method(METHODS["ties"](density=0.4, coefficient=0.7))
    state = method.prepare(inputs)
    assert state.parameters["scale_sources"].shape == (3, 1, 4)
    with torch.no_grad():
        state.parameters["scale_sources"].mul_(torch.tensor([1.0, 2.0, 0.5, -1.0]))
    step = method.forward(state)
    scale = torch.tensor([1.0, 2.0, 0.5, -1.0]).double()[:, None]
    for run in range(3):
        merged = by_hand(inputs.source_vectors[run].flatten(1).numpy(), 0.4).reshape(4, 6)
        expected = inputs.target_prompt[run] + 0.7 * scale * torch.from_numpy(merged)
        assert torch.allclose(step.prompt[run], expected, atol=1e-12)
    parts = elect_and_share(trim(inputs.source_vectors, 0.4))
    norms = (0.7 * scale * parts).flatten(2).norm(dim=-1)
    assert torch.allclose(step.contribution_norm, norms)


def test_one_scale_per_source_gives_each_source_its_own() -> None:
    inputs = random_inputs(2, 4)
    method = find_method(METHODS["ties"](scale="source"))
    assert method.prepare(inputs).parameters["scale_sources"].shape == (2, 4, 4)
