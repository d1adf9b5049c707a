"""Consensus merging: masks entry by entry, the count of users, the chosen λ."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dtvg.methods.base import find_method
from dtvg.methods.consensus import GRID, choose_thresholds, consensus_mask, tall_masks
from dtvg.methods.specs import METHODS
from dtvg.testing.methods import random_inputs


def masks_by_hand(vectors: np.ndarray, thresholds: list[float]) -> np.ndarray:
    made = np.zeros(vectors.shape, dtype=bool)
    for s, row in enumerate(vectors):
        for entry in range(vectors.shape[1]):
            rest = sum(other[entry] for i, other in enumerate(vectors) if i != s)
            made[s, entry] = abs(row[entry]) >= thresholds[s] * abs(rest)
    return made


@pytest.mark.parametrize("thresholds", [[0.4] * 4, [0.2, 1.0, 0.6, 3.0], [0.0] * 4])
def test_masks_are_the_definition_entry_by_entry(thresholds: list[float]) -> None:
    vectors = random_inputs(1, 4).source_vectors[0]
    made = tall_masks(vectors, torch.tensor(thresholds).double())
    expected = masks_by_hand(vectors.flatten(1).numpy(), thresholds)
    assert np.array_equal(made.flatten(1).numpy(), expected)


@pytest.mark.parametrize("at_least", [1, 2, 3, 4, 9])
def test_entries_that_fewer_than_k_sources_use_are_dropped(at_least: int) -> None:
    vectors = random_inputs(2, 4).source_vectors
    config = METHODS["consensus"](min_sources=at_least, mask_threshold=0.5, coefficient=0.3)
    state = find_method(config).prepare(random_inputs(2, 4))
    for run in range(2):
        flat = vectors[run].flatten(1).numpy()
        users = masks_by_hand(flat, [0.5] * 4).sum(0)
        expected = 0.3 * flat.sum(0) * (users >= min(at_least, 4))
        merged = state.frozen["source_vectors"][run].sum(0).flatten()
        assert np.allclose(merged.numpy(), expected, atol=1e-12)


def test_one_source_alone_keeps_what_it_uses() -> None:
    vectors = random_inputs(1, 1).source_vectors[0]
    mask = consensus_mask(tall_masks(vectors, torch.tensor([0.5]).double()), 2)
    assert mask.all()  # nothing opposes it


def test_the_chosen_threshold_is_the_grid_s_best_cosine_for_each_source() -> None:
    inputs = random_inputs(2, 4)
    chosen = choose_thresholds(inputs.source_vectors)
    for run in range(2):
        flat = inputs.source_vectors[run].flatten(1).numpy()
        total = flat.sum(0)
        for s in range(4):
            cosines = []
            for value in GRID:
                masked = total * masks_by_hand(flat, [value] * 4)[s]
                cosines.append(masked @ flat[s] / np.linalg.norm(masked) / np.linalg.norm(flat[s]))
            assert np.isclose(float(chosen[run, s]), GRID[int(np.argmax(cosines))])


def test_what_was_chosen_is_noted_for_every_source() -> None:
    state = find_method(METHODS["consensus"]()).prepare(random_inputs(2, 3))
    assert set(state.notes[0]["mask_threshold"]) == {"source0", "source1", "source2"}
    assert all(value in GRID for value in state.notes[1]["mask_threshold"].values())
