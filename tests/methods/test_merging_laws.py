"""Laws of the merging formulas: the order of sources does not matter, and scale passes through."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dtvg.methods.awd import disentangle, redundant_vector
from dtvg.methods.consensus import choose_thresholds, consensus_mask, tall_masks
from dtvg.methods.ties import elect_and_share, trim


def ties(vectors: Tensor) -> Tensor:
    return elect_and_share(trim(vectors, 0.4))


def consensus(vectors: Tensor) -> Tensor:
    return vectors * consensus_mask(tall_masks(vectors, choose_thresholds(vectors)), 2)[None]


def awd(vectors: Tensor) -> Tensor:
    return disentangle(vectors, redundant_vector(vectors, 0.1, 20, 0.01))


RULES = [ties, consensus, awd]


def sources(seed: int, n: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(n, 3, 5, generator=generator, dtype=torch.float64)
    return made + 0.7 * torch.randn(3, 5, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("rule", RULES)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 6), random=st.randoms(use_true_random=False))
def test_permuting_the_sources_permutes_their_parts(rule: Callable, seed, n, random) -> None:
    vectors = sources(seed, n)
    order = list(range(n))
    random.shuffle(order)
    assert torch.allclose(rule(vectors[order]), rule(vectors)[order], atol=1e-9)


@pytest.mark.parametrize("rule", RULES)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 6), power=st.integers(-8, 8))
def test_scaling_all_vectors_by_a_power_of_two_scales_the_merge(rule, seed, n, power) -> None:
    vectors = sources(seed, n)
    scaled = rule(vectors * 2.0**power) * 2.0**-power
    assert torch.allclose(scaled, rule(vectors), atol=1e-9)


@pytest.mark.parametrize("rule", [ties, consensus])
@given(seed=st.integers(0, 2**31))
def test_sources_that_agree_are_merged_to_what_they_agree_on(rule: Callable, seed: int) -> None:
    one = sources(seed, 1)
    merged = rule(one.expand(3, -1, -1)).sum(0)
    if rule is ties:
        assert torch.allclose(merged, trim(one, 0.4)[0])
    else:
        assert torch.allclose(merged, 3 * one[0])
