"""Laws of the rule in both of its versions: permuting, scaling, stacking, and brute force."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from dtvg.rule.decide import decide
from dtvg.rule.rules import RULES


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
