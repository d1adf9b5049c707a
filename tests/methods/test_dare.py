"""DARE: what is dropped, how the rest is enlarged, and that a seed always drops the same."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from dtvg.methods.base import find_method
from dtvg.methods.dare import drop_and_rescale, uniform_draw
from dtvg.methods.specs import METHODS
from dtvg.methods.ties import elect_and_share, trim
from dtvg.testing.methods import random_inputs


def test_entries_below_p_are_dropped_and_the_rest_divided_by_1_minus_p() -> None:
    vectors = torch.tensor([[[1.0, -2.0, 3.0, 4.0]]])
    draw = torch.tensor([[[0.1, 0.75, 0.9, 0.74]]])
    assert drop_and_rescale(vectors, draw, 0.75)[0, 0].tolist() == [0.0, -8.0, 12.0, 0.0]
    assert torch.equal(drop_and_rescale(vectors, draw, 0.0), vectors)


def test_what_a_seed_drops_is_what_it_dropped_in_earlier_versions() -> None:
    drawn = uniform_draw(3, (1, 2, 2), torch.zeros(1, dtype=torch.float64))
    expected = [[[0.6257215201144435, 0.40627701687868356], [0.6652364205680351, 0.7261368101194]]]
    assert torch.allclose(drawn, torch.tensor(expected, dtype=torch.float64))


def test_the_mean_over_many_seeds_is_the_vector_itself() -> None:
    vectors = random_inputs(1, 2).source_vectors[0]
    made = [
        drop_and_rescale(vectors, uniform_draw(seed, tuple(vectors.shape), vectors), 0.5)
        for seed in range(2000)
    ]
    assert torch.allclose(torch.stack(made).mean(0), vectors, atol=0.25)


def test_a_run_drops_by_its_seed_alone_and_in_any_stack() -> None:
    inputs = dataclasses.replace(random_inputs(3, 4), seeds=(7, 8, 7))
    method = find_method(METHODS["dare"](drop=0.6))
    parts = method.prepare(inputs).frozen["source_vectors"]
    dropped = parts == 0
    assert torch.equal(dropped[0], dropped[2]) and not torch.equal(dropped[0], dropped[1])
    again = method.prepare(dataclasses.replace(inputs, seeds=(8, 7, 8)))
    assert torch.equal(again.frozen["source_vectors"][1] == 0, dropped[0])


@pytest.mark.parametrize("merge", ["sum", "mean", "ties"])
def test_what_is_left_is_merged_as_asked(merge: str) -> None:
    inputs = dataclasses.replace(random_inputs(1, 4), seeds=(3,))
    config = METHODS["dare"](drop=0.5, merge=merge, density=0.4, coefficient=2.0)
    merged = find_method(config).prepare(inputs).frozen["source_vectors"].sum(1)[0]
    vectors = inputs.source_vectors[0]
    kept = drop_and_rescale(vectors, uniform_draw(3, tuple(vectors.shape), vectors), 0.5)
    expected = {
        "sum": kept.sum(0),
        "mean": kept.sum(0) / 4,
        "ties": elect_and_share(trim(kept, 0.4)).sum(0),
    }[merge]
    assert torch.allclose(merged, 2.0 * expected)
