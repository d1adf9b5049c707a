"""Rules with a memory: the scan equals walking, hysteresis by hand, laws, honest margins."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from dtvg.rule.decide import decide, decide_steps
from dtvg.rule.memory import objective
from dtvg.rule.rules import RULES

MEMORIES = [
    {"rule": "fixed"},
    {"rule": "greedy", "regroup_every": 4},
    {"rule": "greedy", "hysteresis": 0.0},
    {"rule": "greedy", "hysteresis": 0.1},
    {"rule": "greedy", "hysteresis": 0.3, "hysteresis_unit": "relative"},
    {"rule": "greedy", "hysteresis": 0.1, "regroup_every": 3, "threshold": -0.1},
    {"rule": "exact", "hysteresis": 0.1},
    {"rule": "exact", "hysteresis": 0.1, "exact_over": "candidates", "exact_similarity": "sum"},
    {"rule": "similarity_only", "hysteresis": 0.2, "measure": "cosine"},
    {"rule": "consistency_only", "hysteresis": 0.1},
    {"rule": "nearest", "regroup_every": 5, "measure": "cosine", "threshold": -np.inf},
    {"rule": "nearest", "hysteresis": 0.2},
    {"rule": "all_sources", "regroup_every": 2},
    {"rule": "greedy", "init_only": True},
    {"rule": "greedy", "regroup_every": 4, "schedule": "random"},
    {"rule": "greedy", "hysteresis": 0.1, "version": 1},
    {"rule": "random", "regroup_every": 3},
    {"rule": "random", "regroup_every": 3, "schedule": "random"},
    {"rule": "largest", "hysteresis": 0.1},
    {"rule": "farthest", "hysteresis": 0.1},
]


def walk_of_grams(seed: int, steps: int = 60, n: int = 4, whole: bool = False) -> np.ndarray:
    """Gram matrices of a slow random walk `[S m m]`; `whole` numbers make ties frequent."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n + 1, 6)) + 0.2 * rng.normal(size=(steps, n + 1, 6)).cumsum(0)
    if whole:
        vectors = np.round(vectors)
    return (vectors @ vectors.swapaxes(-1, -2) / 6).astype(np.float32)


def one_by_one(grams: np.ndarray, **choice) -> np.ndarray:
    """Members `[S n]` as training gets them: every step with the group of the step before."""
    previous, members = None, []
    for number, gram in enumerate(grams, 1):
        made = decide(gram[None], previous=previous, step=number, **choice)
        previous = made.member
        members.append(made.member[0])
    return np.array(members)


@pytest.mark.parametrize("choice", MEMORIES, ids=str)
@pytest.mark.parametrize("whole", [False, True], ids=["real", "ties"])
@pytest.mark.parametrize(
    "seeds",
    [pytest.param([0], id="one"), pytest.param([1, 2, 3, 4], id="more", marks=pytest.mark.slow)],
)
def test_the_scan_over_a_log_equals_walking_through_it(
    choice: dict, whole: bool, seeds: list[int]
) -> None:
    for seed in seeds:
        grams = walk_of_grams(seed, steps=150, whole=whole)
        made = decide_steps(grams, np.arange(1, 151), **choice)
        expected = one_by_one(grams, **choice)
        assert np.array_equal(made.member, expected)
        chunked = decide_steps(grams, np.arange(1, 151), chunk=7, **choice)
        assert np.array_equal(chunked.member, expected)


@pytest.mark.parametrize("choice", MEMORIES, ids=str)
def test_a_log_without_steps_has_no_groups(choice: dict) -> None:
    made = decide_steps(np.zeros((0, 5, 5), np.float32), np.zeros(0, np.int64), **choice)
    assert np.asarray(made.member).shape == (0, 4)


def test_hysteresis_does_not_count_what_lies_within_both_intervals_of_rounding() -> None:
    def stays(gap: float, **more) -> bool:
        gram = np.array(
            [[1, 0.9, 0.8, 0.7], [0.9, 1, 0.5, 0.5], [0.8, 0.5, 1, 0.1], [0.7, 0.5, 0.1, 1]]
        )
        gram[1, 3] = gram[3, 1] = 0.5 - gap
        made = decide(gram.astype(np.float32), previous=before, step=2, hysteresis=0.0, **more)
        assert made.member.tolist() in (before.tolist(), [True, True, False])
        return bool((made.member == before).all())

    before = np.array([True, False, True])  # as good as the first two, but for the gap
    # each interval reaches 4 · 2^−23 = 4.8e-7 to either side
    assert stays(0.0) and stays(8e-7) and not stays(1.1e-6)
    assert stays(0.0, version=1) and not stays(8e-7, version=1)


@pytest.mark.parametrize("choice", MEMORIES, ids=str)
def test_torch_keeps_and_changes_the_groups_that_numpy_does(choice: dict) -> None:
    grams = walk_of_grams(3)
    expected = one_by_one(grams, **choice)
    previous = None
    for number, gram in enumerate(torch.from_numpy(grams), 1):
        made = decide(gram[None], previous=previous, step=torch.tensor([number]), **choice)
        previous = made.member
        assert np.array_equal(made.member[0].numpy(), expected[number - 1])


def test_runs_of_a_stack_at_different_steps_regroup_at_their_own() -> None:
    grams = walk_of_grams(5, steps=4)
    before = np.zeros((4, 4), dtype=bool)
    made = decide(grams, previous=before, step=np.array([1, 2, 4, 5]), regroup_every=4)
    fresh = decide(grams).member
    assert made.held.tolist() == [False, True, True, False]
    assert np.array_equal(made.member, np.where(made.held[:, None], before, fresh))


@pytest.mark.parametrize("rule", ["greedy", "exact", "similarity_only", "nearest", "largest"])
def test_a_run_of_a_stack_keeps_its_group_or_not_whatever_the_others_hold(rule: str) -> None:
    grams = walk_of_grams(5, steps=16)
    previous = np.random.default_rng(6).random((16, 4)) < 0.5
    previous[:4] = False  # nobody is no group that these rules could take while others hold one
    for slack in (0.1, 10.0):
        made = decide(grams, rule, previous, step=2, hysteresis=slack)
        for place, gram in enumerate(grams):
            alone = decide(gram, rule, previous[place], step=2, hysteresis=slack)
            assert np.array_equal(made.member[place], alone.member), (slack, place)


def test_regrouping_every_k_steps_changes_the_group_at_1_and_then_every_k_only() -> None:
    grams = walk_of_grams(1)
    member = decide_steps(grams, np.arange(1, 61), regroup_every=7).member
    fresh = decide(grams).member
    assert np.array_equal(member[::7], fresh[::7])
    changed = [i for i, (a, b) in enumerate(pairwise(member), 2) if (a != b).any()]
    assert changed and all((step - 1) % 7 == 0 for step in changed)


def consistency(gram: np.ndarray, group: list[int]) -> float:
    pairs = [float(gram[1 + i, 1 + j]) for i in group for j in group if i != j]
    return float(np.mean(pairs)) if pairs else 0.0


def hand_hysteresis(grams: np.ndarray, slack: float, relative: bool) -> np.ndarray:
    """Greedy with hysteresis in plain Python, from the definition in docs/method.md."""
    group: list[int] | None = None
    members = np.zeros((len(grams), grams.shape[-1] - 1), dtype=bool)
    for step, gram in enumerate(grams.astype(float)):
        ranked = sorted(range(len(gram) - 1), key=lambda i: -gram[0, 1 + i])
        candidates = [i for i in ranked if gram[0, 1 + i] >= 0]
        prefixes = [candidates[:k] for k in range(1, len(candidates) + 1)] or [[]]
        best = max(prefixes, key=lambda g: consistency(gram, g))
        keep = group is not None and set(group) <= set(candidates)
        keep = keep and (bool(group) or not candidates)
        if keep:
            top = consistency(gram, best)
            room = slack * abs(top) if relative else slack
            keep = top - consistency(gram, group) <= room
        group = group if keep else best
        members[step, group] = True
    return members


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.05, 0.2]), st.booleans())
def test_hysteresis_is_what_its_definition_says(seed: int, slack: float, relative: bool) -> None:
    grams = walk_of_grams(seed, steps=40)
    unit = "relative" if relative else "absolute"
    made = decide_steps(grams, np.arange(1, 41), hysteresis=slack, hysteresis_unit=unit)
    assert np.array_equal(made.member, hand_hysteresis(grams, slack, relative))


def test_more_hysteresis_means_fewer_changes_and_none_equals_the_rule() -> None:
    grams = walk_of_grams(2, steps=300)
    steps = np.arange(1, 301)
    changes = []
    for slack in (0.0, 0.1, 1.0):
        member = decide_steps(grams, steps, hysteresis=slack).member
        changes.append(int((member[1:] != member[:-1]).any(-1).sum()))
    assert changes[0] > changes[1] > changes[2]
    assert np.array_equal(decide_steps(grams, steps).member, decide(grams).member)


def test_a_step_without_candidates_keeps_no_group_and_warns_of_nothing() -> None:
    grams = walk_of_grams(3, steps=6)
    grams[2:4, 0, 1:] = grams[2:4, 1:, 0] = -1.0
    choice = {"rule": "exact", "exact_over": "candidates", "hysteresis": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = one_by_one(grams, **choice, hysteresis_unit="relative")
    assert not made[2:4].any() and made[:2].any() and made[4:].any()


@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_permuting_the_sources_permutes_every_group_of_a_rule_with_memory(seed, random) -> None:
    grams = walk_of_grams(seed, steps=30)
    order = list(range(4))
    random.shuffle(order)
    rows = np.array([0, *(i + 1 for i in order)])
    moved = grams[:, rows[:, None], rows]
    for choice in MEMORIES:
        member = decide_steps(grams, np.arange(1, 31), **choice).member
        assert np.array_equal(
            member[:, order], decide_steps(moved, np.arange(1, 31), **choice).member
        ), choice


@given(st.integers(0, 10_000), st.integers(-6, 6))
def test_scaling_by_a_power_of_two_leaves_groups_if_absolute_slack_scales_too(seed, power) -> None:
    grams = walk_of_grams(seed, steps=30)
    factor = 4.0**power
    scaled = (grams * np.float32(factor)).astype(np.float32)
    for choice in MEMORIES:
        other = dict(choice)
        if choice.get("measure") != "cosine":
            other["threshold"] = choice.get("threshold", 0.0) * factor
            if choice.get("hysteresis_unit") != "relative" and "hysteresis" in choice:
                other["hysteresis"] = choice["hysteresis"] * factor
        member = decide_steps(grams, np.arange(1, 31), **choice).member
        again = decide_steps(scaled, np.arange(1, 31), **other).member
        assert np.array_equal(member, again), choice


@pytest.mark.parametrize("rule", [*RULES])
def test_no_group_has_a_higher_objective_than_the_one_the_rule_takes(rule: str) -> None:
    for seed in range(20):
        made = decide(walk_of_grams(seed, steps=1)[0], rule)
        top = objective(made, made.member)
        size = np.arange(5)
        ranked = [np.asarray(made.rank) < k for k in size]  # every prefix, and nothing
        one = [np.arange(4) == i for i in range(4)]
        allowed = ranked if rule in ("greedy", "fixed") else [*ranked, *one]
        if rule == "nearest":
            allowed = one
        assert all(objective(made, np.asarray(g)) <= top + 1e-12 for g in allowed)


def test_margins_are_infinite_while_a_group_is_kept_and_undefined_under_hysteresis() -> None:
    grams = walk_of_grams(4, steps=3)
    before = np.zeros((3, 4), dtype=bool)
    kept = decide(grams, previous=before, step=np.array([2, 3, 5]), regroup_every=4)
    assert np.isinf(kept.similarity_margin[:2]).all()
    own = decide(grams).similarity_margin
    assert np.array_equal(kept.similarity_margin[2], own[2])
    assert np.array_equal(decide(grams, "fixed").similarity_margin, own)
    slack = decide(grams, previous=before, step=2, hysteresis=0.1)
    assert np.isnan(slack.similarity_margin).all()


@given(st.integers(0, 10_000))
def test_the_nearest_source_changes_just_beyond_its_margin(seed: int) -> None:
    gram = walk_of_grams(seed, steps=1)[0].astype(np.float64)
    base = decide(gram, "nearest")
    assume(np.diff(np.sort(base.similarity)).min() > 1e-6)
    for s, margin in enumerate(base.similarity_margin):
        for share, moves in ((0.999, False), (1.001, True)):
            other = gram.copy()
            other[0, 1 + s] += share * margin * (-1 if base.member[s] else 1)
            changed = not np.array_equal(decide(other, "nearest").member, base.member)
            assert changed == moves
