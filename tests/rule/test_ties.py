"""Version 2 of the rule: what rounding can make differ is a tie, and a zero target takes nobody."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dtvg.analysis.run.explain import explain_grouping
from dtvg.rule.arrays import root
from dtvg.rule.decide import decide, decide_steps, gram_matrix
from dtvg.rule.precision import ROUNDINGS, UNIT, chained_order
from dtvg.rule.rules import RULES

SEEDS = st.integers(0, 2**32 - 1)
ASKS_TARGET = [name for name, rule in RULES.items() if rule.asks_target]


def rounded(gram: np.ndarray, rng: np.random.Generator, ulps: int = 2) -> np.ndarray:
    """Move every entry by up to so many units in the last place, and keep it symmetric."""
    moves = rng.integers(-ulps, ulps + 1, size=gram.shape) * (UNIT / 2)
    upper = np.triu((gram.astype(np.float64) * (1 + moves)).astype(np.float32))
    return upper + np.triu(upper, 1).T


def twins(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A Gram matrix in which several sources have one vector, and whose vector each source has."""
    rng = np.random.default_rng(seed)
    kinds = rng.normal(size=(3, 12))
    which = rng.integers(0, 3, size=int(rng.integers(3, 7)))
    target = kinds.sum(0) + 0.3 * rng.normal(size=12)
    vectors = np.concatenate([target[None], kinds[which]])
    return (vectors @ vectors.T / 12).astype(np.float32), which


@pytest.mark.parametrize("rule", RULES)
@given(SEEDS)
@settings(max_examples=25)
def test_rounding_does_not_change_what_is_taken_of_identical_sources(rule: str, seed: int) -> None:
    gram, _ = twins(seed)
    rng = np.random.default_rng([seed, 1])
    wanted = decide(gram, rule)
    for _ in range(5):
        made = decide(rounded(gram, rng), rule)
        assert np.array_equal(made.member, wanted.member)
        assert np.array_equal(made.order, wanted.order)
        assert made.n_candidates == wanted.n_candidates


def test_in_version_1_rounding_decides_between_identical_sources() -> None:
    rng = np.random.default_rng(0)
    grams = [twins(seed)[0] for seed in range(40)]
    orders = [[decide(g, version=1).order, decide(rounded(g, rng), version=1).order] for g in grams]
    assert any(not np.array_equal(one, other) for one, other in orders)


@given(SEEDS)
def test_identical_sources_stand_in_source_order(seed: int) -> None:
    gram, which = twins(seed)
    order = decide(rounded(gram, np.random.default_rng(seed))).order
    for kind in range(3):
        mine = [s for s in order if which[s] == kind]
        assert mine == sorted(mine)


@given(SEEDS)
def test_of_identical_sources_the_smallest_prefix_is_taken(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vector = rng.normal(size=(1, 12))
    gram = (np.repeat(vector, 6, 0) @ np.repeat(vector, 6, 0).T / 12).astype(np.float32)
    made = decide(rounded(gram, rng))
    assert made.member.tolist() == [True, True, False, False, False]
    assert made.consistency_margin == 0
    pair = decide(rounded(gram, rng), "consistency_only")
    assert pair.member.tolist() == [True, True, False, False, False]
    alone = decide(rounded(gram, rng), "exact", consistency_weight=0.0)
    assert alone.member.tolist() == [True, False, False, False, False]
    assert explain_grouping(made, tuple("abcde")).headline.endswith(
        "tied, so the fewest sources are taken): a, b."
    )


@given(SEEDS)
def test_a_source_at_the_cut_up_to_rounding_is_a_candidate(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(4, 12))
    gram = (vectors @ vectors.T / 12).astype(np.float32)
    similarity = float(gram[0, 1])
    for move in (-1, 0, 1):
        cut = similarity + move * UNIT * similarity
        assert decide(gram, threshold=cut).candidate[0]
    size = np.sqrt(float(gram[0, 0]) * float(gram[1, 1]))
    beyond = similarity + 1.01 * ROUNDINGS * UNIT * size
    others = decide(gram).similarity[1:]
    if np.abs(others - similarity).min() > 1e-4:
        assert not decide(gram, threshold=beyond).candidate[0]


def test_the_tolerance_is_four_units_of_each_product_of_lengths() -> None:
    length = np.array([2.0, 3.0, 0.5])
    gap = ROUNDINGS * UNIT * length[0] * (length[1] + length[2])
    for share, order in ((0.99, [0, 1]), (1.01, [1, 0])):
        gram = np.diag(length**2)
        gram[0, 1:] = gram[1:, 0] = 0.25, 0.25 + share * gap
        assert decide(gram).order.tolist() == order, share
        assert decide(gram, version=1).order.tolist() == [1, 0]


def test_ties_go_on_in_a_chain_and_a_value_between_two_tied_ones_is_tied_with_them() -> None:
    value = np.array([0.0, 3.0, 1.0, 2.0, 9.0])
    order, chain = chained_order(value, np.full(5, 0.5))
    assert order.tolist() == [4, 0, 1, 2, 3] and chain.tolist() == [0, 1, 1, 1, 1]
    wide = np.array([1.6, 1.6, 0.0, 0.0, 0.0])
    order, chain = chained_order(value, wide)
    assert order.tolist() == [4, 0, 1, 2, 3] and chain.tolist() == [0, 1, 1, 1, 1]
    order, chain = chained_order(value, np.zeros(5))
    assert order.tolist() == [4, 1, 3, 2, 0] and chain.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("measure", ["dot", "cosine"])
def test_numpy_and_torch_agree_bit_for_bit(rule: str, measure: str) -> None:
    rng = np.random.default_rng(3)
    drawn = [rounded(twins(seed)[0], rng) for seed in range(200)]
    grams = np.stack([g for g in drawn if len(g) == 6])
    steps, numbers = np.arange(1, len(grams) + 1), {"rule": rule, "measure": measure}
    ours = decide(grams, step=steps, seed=7, **numbers)
    theirs = decide(torch.from_numpy(grams), step=torch.from_numpy(steps), seed=7, **numbers)
    names = ["member", "order", "rank", "n_candidates", "similarity", "consistency_by_prefix"]
    names += ["spread"] if rule == "exact" else ["spread", "consistency_margin"]
    for name in names:
        one, other = getattr(ours, name), getattr(theirs, name)
        assert np.array_equal(one, other.numpy(), equal_nan=one.dtype.kind == "f"), name


def test_square_roots_have_the_same_bits_in_both_libraries() -> None:
    rng = np.random.default_rng(8)
    values = np.concatenate(
        [[0.0, 1.0, 4.0, 2.0**-40], rng.random(200_000) * 10.0 ** rng.integers(-30, 30, 200_000)]
    )
    assert np.array_equal(root(torch.from_numpy(values)).numpy(), np.sqrt(values))
    assert np.array_equal(root(values), np.sqrt(values))


@given(SEEDS, st.integers(-8, 8))
def test_ties_stay_ties_when_all_vectors_are_scaled_by_a_power_of_two(seed: int, by: int) -> None:
    gram = rounded(twins(seed)[0], np.random.default_rng(seed))
    scaled = (gram * np.float32(4.0**by)).astype(np.float32)
    for rule in RULES:
        one, other = decide(gram, rule), decide(scaled, rule)
        assert np.array_equal(one.member, other.member), rule
        assert np.array_equal(one.order, other.order), rule


@given(SEEDS)
def test_a_group_that_is_as_good_up_to_rounding_stays_under_hysteresis_0(seed: int) -> None:
    gram, which = twins(seed)
    rng = np.random.default_rng([seed, 2])
    grams = np.stack([rounded(gram, rng) for _ in range(20)])
    for rule in ("greedy", "exact", "similarity_only", "consistency_only", "largest", "farthest"):
        made = decide_steps(grams, np.arange(1, 21), rule, hysteresis=0.0)
        assert (made.member == made.member[0]).all(), (rule, which)


# ---- without a target vector -------------------------------------------------------------------


def without_target(n: int = 4) -> np.ndarray:
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(n + 1, 8))
    vectors[0] = 0.0
    return (vectors @ vectors.T / 8).astype(np.float32)


@pytest.mark.parametrize("measure", ["dot", "cosine"])
@pytest.mark.parametrize("rule", ASKS_TARGET)
def test_a_zero_target_vector_makes_the_group_empty(rule: str, measure: str) -> None:
    made = decide(without_target(), rule, measure=measure)
    assert not made.member.any() and made.n_candidates == 0 and made.consistency == 0
    assert np.isnan(made.similarity_margin).all() and np.isnan(made.switch_change).all()
    for cut in (-1.0, float("-inf")):
        assert not decide(without_target(), rule, threshold=cut).member.any()
    on_torch = decide(torch.from_numpy(without_target()), rule, measure=measure)
    assert not bool(on_torch.member.any())


def test_rules_that_do_not_ask_for_the_target_decide_without_one() -> None:
    gram = without_target()
    assert decide(gram, "all_sources").member.all()
    assert decide(gram, "consistency_only").group_size == 2
    assert decide(gram, "nearest").member.tolist() == [True, False, False, False]


def test_version_1_takes_the_first_of_the_equal_sources() -> None:
    gram = np.diag([0.0, 1.0, 1.0, 1.0]).astype(np.float32)
    assert decide(gram, version=1).member.tolist() == [True, False, False]


@pytest.mark.parametrize("rule", ASKS_TARGET)
def test_explain_says_that_the_target_vector_is_zero(rule: str) -> None:
    info = explain_grouping(decide(without_target(), rule), tuple("abcd"), step=1)
    if rule == "fixed":
        assert info.headline == "The group of the first step is kept for the whole run: no source."
    else:
        assert info.headline == (
            "The target's vector is zero, so no source is more similar to it than another: the "
            "group is empty."
        )
        assert info.sentences[1] == (
            "b is out: similarity 0 (rank 2 of 4), since the target's vector is zero. No single "
            "similarity can change while it is."
        )
    assert info.notes == ()
    old = explain_grouping(decide(without_target(), rule, version=1), tuple("abcd"), step=1)
    assert "in version 1 of the rule" in old.notes[0]


def test_explain_names_a_candidate_that_learned_nothing() -> None:
    rng = np.random.default_rng(6)
    vectors = rng.normal(size=(4, 8))
    vectors[2] = 0.0
    gram = gram_matrix(vectors[0][None], vectors[1:, None], np.ones(1), np.ones((3, 1)))
    info = explain_grouping(decide(gram), ("amber", "birch", "cedar"), step=1)
    assert info.notes == (
        "The vector of birch is zero: it learned nothing in Stage I. A similarity of 0 is at the "
        "cut or above, so it is a candidate, but merging it adds nothing.",
    )
    higher = explain_grouping(decide(gram, threshold=0.01), ("amber", "birch", "cedar"), step=1)
    assert higher.notes == ()
