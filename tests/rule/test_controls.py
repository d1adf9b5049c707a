"""Controls among the rules: as many sources as greedy takes, chosen by something else."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from dtvg.rule.decide import decide, decide_steps
from dtvg.rule.draws import draw_places
from dtvg.rule.memory import may_regroup
from dtvg.rule.rules import RULES
from dtvg.rule.types import RuleSettings

CONTROLS = [name for name, rule in RULES.items() if rule.control]


def drawn(seed: int, steps: int = 30, n: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(steps, n + 1, 6))
    vectors[:, 1:] += 0.6 * vectors[:, :1] + rng.normal(size=(steps, 1, 6))
    return (vectors @ vectors.swapaxes(-1, -2) / 6).astype(np.float32)


def test_the_controls_are_those_of_the_paper_of_names() -> None:
    assert CONTROLS == ["random", "largest", "farthest"]


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.3, -0.5]))
def test_a_control_takes_as_many_sources_as_greedy(seed: int, cut: float) -> None:
    grams, steps = drawn(seed), np.arange(1, 31)
    size = decide(grams, threshold=cut).group_size
    for rule in CONTROLS:
        made = decide_steps(grams, steps, rule, seed=seed, threshold=cut)
        assert np.array_equal(made.group_size, size), rule


@given(st.integers(0, 10_000))
def test_largest_takes_the_longest_vectors_and_farthest_the_least_similar(seed: int) -> None:
    for gram in drawn(seed, steps=5):
        size = int(decide(gram).group_size)
        norms, near = np.diagonal(gram)[1:], gram[0, 1:]
        longest = set(np.argsort(-norms)[:size].tolist())
        assert set(np.flatnonzero(decide(gram, "largest").member).tolist()) == longest
        by_cosine = decide(gram, "largest", measure="cosine")
        count = int(decide(gram, measure="cosine").group_size)
        assert set(np.flatnonzero(by_cosine.member)) == set(np.argsort(-norms)[:count])
        least = set(np.argsort(near)[:size].tolist())
        assert set(np.flatnonzero(decide(gram, "farthest").member).tolist()) == least


def test_every_subset_of_a_size_is_drawn_equally_often_and_anew_at_every_step() -> None:
    gram = next(g for g in drawn(3) if int(decide(g).group_size) == 2)
    size = int(decide(gram).group_size)
    assert 1 < size < 5
    steps = np.arange(1, 6001)
    member = decide_steps(np.broadcast_to(gram, (6000, 6, 6)), steps, "random", seed=11).member
    found = Counter(tuple(np.flatnonzero(m).tolist()) for m in member)
    counts = [found[c] for c in combinations(range(5), size)]
    assert sum(counts) == 6000 and chisquare(counts).pvalue > 1e-3
    same = (member[1:] == member[:-1]).all(-1).mean()
    assert abs(same - 1 / len(counts)) < 0.02


def test_seed_and_step_alone_make_the_draw() -> None:
    grams, steps = drawn(4), np.arange(1, 31)
    whole = decide_steps(grams, steps, "random", seed=3).member
    chunked = decide_steps(grams, steps, "random", seed=3, chunk=7).member
    assert np.array_equal(whole, chunked)
    late = decide(grams[20:], "random", step=steps[20:], seed=3).member
    assert np.array_equal(whole[20:], late)
    alone = [
        decide(g, "random", step=int(s), seed=3).member for g, s in zip(grams, steps, strict=True)
    ]
    assert np.array_equal(whole, alone)
    other = decide_steps(grams, steps, "random", seed=4).member
    assert not np.array_equal(whole, other)
    two = decide(
        torch.from_numpy(grams[:2]),
        "random",
        step=torch.tensor([5, 9]),
        seed=torch.tensor([3, 2**40]),
    )
    for i, (step, seed) in enumerate(((5, 3), (9, 2**40))):
        assert np.array_equal(
            two.member[i].numpy(), decide(grams[i], "random", step=step, seed=seed).member
        )


def test_draws_of_large_seeds_and_steps_differ_and_stay_32_bit_words() -> None:
    like = np.zeros(1)
    words = [
        draw_places(like, (4,), seed, step)
        for seed in (0, 1, 2**31, 2**32, 2**40 + 1)
        for step in (1, 2, 10**6)
    ]
    flat = np.stack(words)
    assert len(np.unique(flat, axis=0)) == len(words)
    assert flat.min() >= 0 and flat.max() < 2**32


def test_what_is_drawn_stays_what_it_was_so_that_old_runs_replay() -> None:
    like = np.zeros(1)
    first = draw_places(like, (4,), 0, 1)
    assert first.tolist() == [1767134606, 1481535990, 949908268, 3655588599]
    late = draw_places(like, (3,), 2**40 + 7, 30_000)
    assert late.tolist() == [1497715325, 2966211842, 1357575401]
    at = may_regroup(RuleSettings(regroup_every=10, schedule="random"), np.arange(1, 81), 3)
    assert (np.flatnonzero(at) + 1).tolist() == [1, 17, 30, 38, 41, 59, 63, 76]


@pytest.mark.parametrize("every", [2, 7, 40])
def test_a_random_schedule_regroups_once_in_every_k_steps_at_a_drawn_one(every: int) -> None:
    made = RuleSettings(regroup_every=every, schedule="random")
    steps = np.arange(1, 40 * every + 1)
    at = may_regroup(made, steps, 9).reshape(40, every)
    assert (at.sum(axis=1) == 1).all() and at[0, 0]
    places = at.argmax(axis=1)[1:]
    assert len(set(places.tolist())) > min(every, 10) / 2
    assert [bool(may_regroup(made, int(s), 9)) for s in steps] == at.ravel().tolist()
    regular = may_regroup(RuleSettings(regroup_every=every), steps, 9)
    assert regular.sum() == at.sum()
    assert not np.array_equal(at.ravel(), may_regroup(made, steps, 10))


def test_the_group_of_a_random_schedule_changes_at_its_steps_only() -> None:
    grams, steps = drawn(8, steps=120), np.arange(1, 121)
    made = decide_steps(grams, steps, seed=2, regroup_every=6, schedule="random")
    may = may_regroup(made.settings, steps, 2)
    fresh = decide(grams).member
    assert np.array_equal(made.member[may], fresh[may])
    changed = np.flatnonzero((made.member[1:] != made.member[:-1]).any(-1)) + 1
    assert len(changed) > 5 and may[changed].all()


def test_with_init_only_the_first_group_stays() -> None:
    grams, steps = drawn(9), np.arange(1, 31)
    made = decide_steps(grams, steps, "exact", init_only=True)
    assert (made.member == decide(grams[0], "exact").member).all()
    assert made.held.tolist() == [False, *[True] * 29]
