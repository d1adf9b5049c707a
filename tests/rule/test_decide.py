"""THE RULE: the published decisions, laws, brute force, and margins by perturbation."""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dtvg.errors import ConfigError
from dtvg.rule.arrays import consistency_of
from dtvg.rule.decide import decide, gram_matrix, merge
from dtvg.rule.rules import RULES

CASES = np.load(Path(__file__).parents[1] / "golden" / "grouping_cases.npz")
NUMBERS = range(int(CASES["n_cases"]))
settings.register_profile("dtvg", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("dtvg")


def _case(number: int, name: str) -> np.ndarray:
    return CASES[f"{number}/{name}"]


INPUTS = ("target_vector", "source_vectors", "alpha_target", "alpha_source")


ZERO_TARGET = [n for n in NUMBERS if not CASES[f"{n}/target_vector"].any()]


def test_the_only_published_decision_that_version_2_changes_is_that_without_a_target() -> None:
    assert len(ZERO_TARGET) == 1
    for number in ZERO_TARGET:
        made = decide(gram_matrix(*(_case(number, name) for name in INPUTS)))
        assert not made.member.any() and made.n_candidates == 0


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize("number", NUMBERS)
def test_the_published_decisions_come_out_again(number: int, convert, version: int) -> None:
    if version == 2 and number in ZERO_TARGET:
        return
    vectors = [convert(_case(number, name)) for name in INPUTS]
    made = decide(gram_matrix(*vectors), version=version)
    count = int(made.n_candidates)
    assert count == int(_case(number, "n_candidates"))
    assert np.allclose(made.similarity, _case(number, "similarity"), atol=1e-5)
    assert np.array_equal(np.asarray(made.order)[:count], _case(number, "rank")[:count])
    assert np.array_equal(np.asarray(made.member), _case(number, "member"))
    expected = _case(number, "consistency_by_prefix")
    assert np.allclose(np.asarray(made.consistency_by_prefix)[: len(expected)], expected, atol=1e-5)
    mixed = merge(convert(_case(number, "init")), *vectors, made.member)
    assert np.allclose(mixed, _case(number, "mixed_prompt"), atol=1e-5)


@pytest.mark.parametrize("number", NUMBERS)
def test_gradients_are_the_published_ones(number: int) -> None:
    init = torch.from_numpy(_case(number, "init"))
    prompt = (init + torch.from_numpy(_case(number, "target_vector"))).requires_grad_()
    own = torch.from_numpy(_case(number, "alpha_target")).requires_grad_()
    scale = torch.from_numpy(_case(number, "alpha_source")).requires_grad_()
    sources = torch.from_numpy(_case(number, "source_vectors"))
    vectors = (prompt - init, sources, own, scale)
    mixed = merge(init, *vectors, decide(gram_matrix(*vectors), version=1).member)
    (mixed * torch.from_numpy(_case(number, "loss_weight"))).sum().backward()
    for tensor, name in (
        (prompt, "grad_target_prompt"),
        (own, "grad_alpha_target"),
        (scale, "grad_alpha_source"),
    ):
        assert tensor.grad is not None
        assert np.allclose(tensor.grad, _case(number, name), atol=1e-4), name


@st.composite
def vectors(draw: st.DrawFn, most: int = 7) -> np.ndarray:
    """A target and n sources `[m d]`, away from ties."""
    n = draw(st.integers(1, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    made = rng.normal(size=(n + 1, 8))
    made[1:] += draw(st.sampled_from([0.0, 0.6, -0.6])) * made[0]
    return made


def _gram(made: np.ndarray) -> np.ndarray:
    return (made @ made.T / made.shape[-1]).astype(np.float32)


def _away_from_ties(gram: np.ndarray) -> bool:
    similarity = np.sort(gram[0, 1:])
    made = decide(gram)
    values = np.sort(made.consistency_by_prefix[: int(made.n_candidates)])
    gaps = [np.abs(similarity).min(), *np.diff(similarity), *np.diff(values)]
    return bool(min(gaps) > 1e-6)


@given(vectors(), st.randoms(use_true_random=False))
def test_permuting_the_sources_permutes_the_group(made: np.ndarray, random) -> None:
    gram = _gram(made)
    assume(_away_from_ties(gram))
    order = list(range(1, len(made)))
    random.shuffle(order)
    moved = gram[np.ix_([0, *order], [0, *order])]
    for rule, version in product(RULES, (1, 2)):
        member = decide(gram, rule, version=version).member
        again = decide(moved, rule, version=version).member
        assert np.array_equal(member[np.array(order) - 1], again), (rule, version)


@given(vectors(), st.integers(-8, 8))
def test_scaling_all_vectors_by_a_power_of_two_leaves_the_group(
    made: np.ndarray, power: int
) -> None:
    gram = _gram(made)
    scaled = (gram * np.float32(4.0**power)).astype(np.float32)
    for rule, version in product(RULES, (1, 2)):
        member = decide(gram, rule, version=version).member
        again = decide(scaled, rule, version=version).member
        assert np.array_equal(member, again), (rule, version)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=4))
def test_leading_axes_and_torch_decide_as_one_matrix_at_a_time(seeds: list[int]) -> None:
    grams = np.stack([_gram(np.random.default_rng(s).normal(size=(5, 8))) for s in seeds])
    for rule in RULES:
        together = decide(grams[:, None], rule)
        on_torch = decide(torch.from_numpy(grams), rule)
        for i, gram in enumerate(grams):
            alone = decide(gram, rule)
            assert np.array_equal(together.member[i, 0], alone.member)
            assert np.array_equal(np.asarray(on_torch.member[i]), alone.member)
            assert np.allclose(together.consistency[i, 0], alone.consistency)
            assert np.array_equal(together.rank[i, 0], alone.rank)


@given(vectors(most=6))
def test_exact_and_consistency_only_equal_brute_force(made: np.ndarray) -> None:
    gram = _gram(made)
    n = len(made) - 1
    wide = gram.astype(float)
    best = {"exact": (-np.inf, ()), "consistency_only": (0.0, ())}
    for size in range(1, n + 1):
        for chosen in combinations(range(n), size):
            pairs = [wide[1 + i, 1 + j] for i in chosen for j in chosen if i != j]
            consistency = float(np.mean(pairs)) if pairs else 0.0
            value = float(np.mean([wide[0, 1 + i] for i in chosen])) + consistency
            if value > best["exact"][0] + 1e-12:
                best["exact"] = (value, chosen)
            if consistency > best["consistency_only"][0] + 1e-12:
                best["consistency_only"] = (consistency, chosen)
    for rule, (_, chosen) in best.items():
        assert tuple(np.flatnonzero(decide(gram, rule).member)) == chosen, rule


@given(vectors(most=6), st.sampled_from(["greedy", "similarity_only", "exact"]))
def test_the_group_changes_just_beyond_the_similarity_margin_and_not_before(
    made: np.ndarray, rule: str
) -> None:
    gram = _gram(made).astype(np.float64)
    assume(_away_from_ties(gram.astype(np.float32)))
    base = decide(gram.astype(np.float32), rule)

    def moved(s: int, by: float) -> bool:
        other = base.gram.astype(np.float64).copy()
        other[0, 1 + s] += by
        other[1 + s, 0] += by
        return not np.array_equal(decide(other, rule).member, base.member)

    for s, margin in enumerate(np.asarray(base.similarity_margin)):
        if np.isinf(margin):
            assert not any(moved(s, by) for by in np.linspace(-9, 9, 19))
            continue
        assert not any(moved(s, by) for by in np.linspace(-margin, margin, 9) * 0.999)
        beyond = margin * 1.0001 + 1e-6
        assert moved(s, beyond) or moved(s, -beyond)


def test_zero_similarity_counts_as_a_candidate_and_ties_stay_in_source_order() -> None:
    gram = np.eye(4, dtype=np.float32)
    made = decide(gram)
    assert made.n_candidates == 3
    assert made.order.tolist() == [0, 1, 2]
    assert made.member.tolist() == [True, False, False]


def test_without_candidates_or_sources_the_group_is_empty() -> None:
    gram = np.array([[1, -1, -2], [-1, 1, 0], [-2, 0, 1]], dtype=np.float32)
    assert not decide(gram).member.any()
    none = decide(np.ones((3, 1, 1), dtype=np.float32))
    assert none.member.shape == (3, 0) and none.n_candidates.tolist() == [0, 0, 0]
    assert np.isnan(none.consistency_margin).all()


def test_the_fixed_rule_takes_the_previous_group() -> None:
    rng = np.random.default_rng(1)
    first = decide(_gram(rng.normal(size=(5, 8))), "fixed")
    later = _gram(rng.normal(size=(5, 8)))
    assert np.array_equal(decide(later, "fixed", previous=first).member, first.member)
    assert np.array_equal(decide(later, "fixed").member, decide(later).member)


def test_consistency_of_the_group_is_the_prefix_value() -> None:
    gram = _gram(np.abs(np.random.default_rng(2).normal(size=(6, 8))))
    made = decide(gram)
    assert np.isclose(made.consistency, made.consistency_by_prefix[int(made.group_size) - 1])
    assert consistency_of(gram, np.eye(5, dtype=bool)[0]) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: decide(np.ones((3, 3), np.float32), "gredy"), "Did you mean 'greedy'"),
        (lambda: decide(np.ones((3, 2), np.float32)), r"shape \[..., m, m\]"),
        (lambda: decide(np.ones((23, 23), np.float32), "exact"), "at most 20 sources; got 22"),
    ],
)
def test_what_cannot_be_decided_is_said_in_a_sentence(call, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call()
