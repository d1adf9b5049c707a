"""Small-sample statistics against other implementations, published values and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dtvg.analysis.compare.over_targets import random_effects
from dtvg.analysis.statistics import (
    FEWEST_SEEDS,
    JOINT_SEEDS,
    bootstrap_interval,
    bootstrap_p,
    cohen_dz,
    crossed_effects,
    hedges_correction,
    holm,
    joint_sign_flips,
    mcnemar_p,
    paired_power,
    seeds_for_power,
    sign_flip_p,
    student_p,
    t_interval,
)

scores = st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=2, max_size=8)


@settings(max_examples=60, deadline=None)
@given(scores)
def test_sign_flips_try_every_pattern(d: list[float]) -> None:
    sums = [abs(np.dot(s, d)) for s in itertools.product((1, -1), repeat=len(d))]
    assert sign_flip_p(d) == np.mean([s >= abs(sum(d)) - 1e-9 for s in sums])


def test_sign_flips_beyond_sixteen_pairs_are_near_the_t_test() -> None:
    d = np.random.default_rng(3).normal(0.4, 1, 40)
    assert sign_flip_p(d) == pytest.approx(stats.ttest_1samp(d, 0).pvalue, abs=0.01)


def test_students_t_is_that_of_scipy_for_stacks_with_missing_seeds() -> None:
    d = np.random.default_rng(0).normal(0.4, 1, (3, 2, 7))
    want = stats.ttest_1samp(d, 0, axis=-1).pvalue
    assert student_p(d) == pytest.approx(want)
    d[1, 0, 2] = np.nan
    assert student_p(d)[1, 0] == pytest.approx(stats.ttest_1samp(d[1, 0], 0, nan_policy="omit")[1])
    assert student_p(d[..., :2]) == pytest.approx(stats.ttest_1samp(d[..., :2], 0, axis=-1).pvalue)
    assert np.isnan(student_p(np.array([0.3]))) and np.isnan(sign_flip_p([]))


def test_equal_differences_are_no_certainty_but_sign_flips() -> None:
    assert student_p(np.full(3, 0.1)) == sign_flip_p([0.1] * 3) == 0.25
    assert student_p(np.full(8, -0.1)) == 2.0**-7
    assert student_p(np.zeros(5)) == 1


def test_joint_sign_flips_try_every_pattern_on_all_comparisons_together() -> None:
    rng = np.random.default_rng(1)
    d = rng.normal(0, 1, (4, 7)) + np.array([[2.0], [0.8], [0.0], [-1.0]])

    def most(signs: tuple[int, ...], rows: list[int]) -> float:
        return max(abs(stats.ttest_1samp(np.array(signs) * d[r], 0).statistic) for r in rows)

    t = [most((1,) * 7, [r]) for r in range(4)]
    order = sorted(range(4), key=lambda r: -t[r])
    patterns = list(itertools.product((1, -1), repeat=7))
    least, want = 0.0, {}
    for place, row in enumerate(order):  # step-down: the rest of the family, p never falls
        hits = [most(signs, order[place:]) >= t[row] - 1e-9 for signs in patterns]
        least = max(least, float(np.mean(hits)))
        want[row] = least
    assert joint_sign_flips(d) == pytest.approx([want[r] for r in range(4)])
    assert joint_sign_flips(d[:1])[0] == sign_flip_p(d[0])
    stacked = joint_sign_flips(np.stack([d, d[::-1]]))
    assert stacked[1][::-1] == pytest.approx(stacked[0])


def test_six_seeds_suffice_for_a_family_of_any_size() -> None:
    d = np.abs(np.random.default_rng(2).normal(1, 0.1, (200, JOINT_SEEDS)))
    assert joint_sign_flips(d).max() <= 2 ** (1 - JOINT_SEEDS) * 1.0001 <= 0.05
    assert joint_sign_flips(d[:, 1:]).min() > 0.05
    d[0, 2:] = np.nan
    assert joint_sign_flips(d)[0] >= 0.5 and joint_sign_flips(d)[1] <= 0.05


def test_joint_sign_flips_keep_the_family_wise_error() -> None:
    rng = np.random.default_rng(3)
    common = rng.normal(0, 1, (1500, 1, 8))  # one subject against six baselines
    p = joint_sign_flips(common + rng.normal(0, 1, (1500, 6, 8)))
    rate = (p <= 0.05).any(axis=1).mean()
    assert 0.02 <= rate <= 0.06
    holm_rate = np.mean([(holm(one) <= 0.05).any() for one in student_p(common + 0 * p[..., None])])
    assert holm_rate < 0.05


def test_joint_sign_flips_give_a_comparison_with_fewer_seeds_its_own_degrees_of_freedom() -> None:
    d = np.random.default_rng(3).normal(0.5, 1, (4, 6))
    d[1, 2:], d[2, :3] = np.nan, np.nan
    kept = [row[~np.isnan(row)] for row in d]
    patterns = list(itertools.product((1, -1), repeat=6))

    def p_of(signs: tuple[int, ...]) -> list[float]:
        held = [np.array(signs)[~np.isnan(row)] for row in d]
        return [stats.ttest_1samp(s * k, 0).pvalue for s, k in zip(held, kept, strict=True)]

    each = np.array([p_of(signs) for signs in patterns])
    order = np.argsort(each[0])
    want, least = np.zeros(4), 0.0
    for place, row in enumerate(order):
        reached = each[:, order[place:]].min(axis=1) <= each[0, row] + 1e-12
        want[row] = least = max(least, reached.mean())
    assert joint_sign_flips(d) == pytest.approx(want)


def test_crossed_effects_are_those_of_the_two_way_table() -> None:
    rng = np.random.default_rng(4)
    d = rng.normal(0, 1, (5, 40)) + rng.normal(0, 0.5, (5, 1)) + rng.normal(0.3, 0.5, (1, 40))
    seeds, n = d.shape
    rows, columns = d.mean(axis=1, keepdims=True), d.mean(axis=0, keepdims=True)
    rest = ((d - rows - columns + d.mean()) ** 2).sum() / ((seeds - 1) * (n - 1))
    of_seeds = n * ((rows - d.mean()) ** 2).sum() / (seeds - 1)
    of_examples = seeds * ((columns - d.mean()) ** 2).sum() / (n - 1)
    squares = np.array([of_seeds, of_examples, rest])
    freedom = np.array([seeds - 1, n - 1, (seeds - 1) * (n - 1)])
    variance = (of_seeds + of_examples - rest) / d.size
    df = variance**2 / ((squares / d.size) ** 2 / freedom).sum()
    found = crossed_effects([d])
    assert float(found.variance) == pytest.approx(variance)
    assert float(found.freedom) == pytest.approx(df)
    assert float(found.p) == pytest.approx(2 * stats.t.sf(abs(d.mean()) / np.sqrt(variance), df))
    low, high = found.interval()
    assert (low, high) == pytest.approx(stats.t.interval(0.95, df, d.mean(), np.sqrt(variance)))
    twice = crossed_effects([d, d])  # the same seeds, other examples
    assert float(twice.variance) == pytest.approx(
        of_seeds / d.size + (of_examples - rest) / d.size / 2
    )


def test_crossed_effects_hold_their_level_where_seeds_alone_do_not() -> None:
    rng = np.random.default_rng(5)
    shape = (2000, 8, 30)
    d = (
        rng.normal(0, 1, shape)
        + rng.normal(0, 0.6, (2000, 1, 30))
        + rng.normal(0, 0.1, (2000, 8, 1))
    )
    assert (student_p(d.mean(axis=2)) <= 0.05).mean() > 0.1
    assert (crossed_effects([d]).p <= 0.05).mean() <= 0.06


def test_intervals_of_the_mean() -> None:
    sample = [0.71, 0.74, 0.69, 0.78]
    want = stats.t.interval(0.95, 3, np.mean(sample), stats.sem(sample))
    got = t_interval(sample)
    assert (got.low, got.high) == pytest.approx(want)
    boot = bootstrap_interval(sample)
    assert 0.69 <= boot.low < np.mean(sample) < boot.high <= 0.78
    assert boot == bootstrap_interval(sample)
    assert np.isnan(bootstrap_interval([0.5]).low) and np.isnan(t_interval([0.5]).high)


def test_holm_against_a_worked_example_and_its_laws() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    with_gap = holm([0.01, np.nan, 0.04])
    assert np.isnan(with_gap[1]) and with_gap[[0, 2]] == pytest.approx([0.02, 0.04])
    assert holm([]).shape == (0,)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_exact_and_mid_p(b: int, c: int) -> None:
    p, name = mcnemar_p(b, c)
    n = b + c
    exact = stats.binomtest(min(b, c), n).pvalue if n else 1.0
    if n < 25:
        assert name.endswith("exact") and p == pytest.approx(exact)
    else:
        assert name.endswith("mid-p")
        middle = 2 * stats.binom.cdf(min(b, c), n, 0.5) - stats.binom.pmf(min(b, c), n, 0.5)
        assert p == pytest.approx(min(1, middle)) and p <= exact + 1e-12
    assert mcnemar_p(c, b) == (p, name)


def test_effect_sizes() -> None:
    d = [0.02, 0.05, 0.03]
    assert cohen_dz(d) == pytest.approx(np.mean(d) / np.std(d, ddof=1))
    assert np.isnan(cohen_dz([0.1])) and np.isnan(cohen_dz([0.1, 0.1]))
    # Hedges 1981: J(m) is near 1 - 3 / (4 m - 1)
    for n in (3, 5, 10, 30):
        assert hedges_correction(n) == pytest.approx(1 - 3 / (4 * (n - 1) - 1), abs=0.01)
    assert np.isnan(hedges_correction(2))


def test_power_of_the_paired_t_test_against_tables_and_simulation() -> None:
    # G*Power: two-sided paired t, d = 0.5, n = 34: 0.808; d = 0.8, n = 15: 0.821
    assert paired_power(0.5, 34) == pytest.approx(0.808, abs=0.001)
    assert paired_power(0.8, 15) == pytest.approx(0.821, abs=0.001)
    assert paired_power(0, 10) == pytest.approx(0.05)
    drawn = np.random.default_rng(0).normal(1.2, 1, (4000, 8))
    hits = (stats.ttest_1samp(drawn, 0, axis=1).pvalue <= 0.05).mean()
    assert paired_power(1.2, 8) == pytest.approx(hits, abs=0.02)


def test_power_at_few_seeds_is_that_of_the_near_tail_where_the_far_one_has_no_number() -> None:
    """It was called certain, so that a large effect in a family seemed to need a seed less."""
    for effect, n, alpha in ((5.0, 3, 0.05 / 8), (10.0, 3, 0.05 / 40), (6.0, 4, 0.05 / 40)):
        drawn = np.random.default_rng(1).normal(effect, 1, (20_000, n))
        hits = (stats.ttest_1samp(drawn, 0, axis=1).pvalue <= alpha).mean()
        assert paired_power(effect, n, alpha) == pytest.approx(hits, abs=0.02)
    assert seeds_for_power(4.5, 2) == seeds_for_power(4.5, 8) == 4


def test_seeds_for_power_is_the_fewest_and_never_below_the_attainable() -> None:
    assert seeds_for_power(0.5) == 34
    assert seeds_for_power(20.0, 1) == FEWEST_SEEDS
    n = seeds_for_power(-0.7, 4)
    assert n is not None and paired_power(0.7, n, 0.0125) >= 0.8 > paired_power(0.7, n - 1, 0.0125)
    assert seeds_for_power(0.001) is None and seeds_for_power(float("nan")) is None


def test_the_p_of_resamples_is_never_zero_and_at_most_one() -> None:
    assert bootstrap_p(np.full(999, 0.2)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.zeros(999)) == 1.0
    assert bootstrap_p(np.array([-1.0, 1.0] * 500)) == 1.0


def test_joint_sign_flips_step_down_never_gives_a_better_p_to_a_weaker_comparison() -> None:
    rng = np.random.default_rng(12)
    turned = 0
    for _ in range(60):
        d = rng.normal(size=(5, 8)) + rng.normal(size=(5, 1))
        alone = stats.ttest_1samp(d, 0.0, axis=1).pvalue
        order = np.argsort(alone)
        adjusted = joint_sign_flips(d)[order]
        assert (np.diff(adjusted) >= 0).all()
        signs = 1.0 - 2.0 * ((np.arange(256)[:, None] >> np.arange(8)) & 1)
        flipped = stats.ttest_1samp(d[:, None] * signs, 0.0, axis=-1).pvalue  # [m P]
        shares = [
            (flipped[order[k:]].min(0) <= alone[order[k]] * (1 + 1e-9)).mean() for k in range(5)
        ]
        np.testing.assert_allclose(adjusted, np.maximum.accumulate(shares), atol=1e-12)
        turned += bool((np.diff(shares) < 0).any())
    assert turned > 10, "the maximum of those before matters"


def test_targets_that_agree_keep_the_interval_of_known_variances() -> None:
    effects, variances = np.array([0.020, 0.021, 0.0205]), np.array([0.010, 0.012, 0.011]) ** 2
    half = stats.t.ppf(0.975, 2) / np.sqrt((1 / variances).sum())
    made = random_effects(effects, variances)
    assert (made.high - made.low) / 2 == pytest.approx(half)
    apart = random_effects(np.array([-0.2, 0.0, 0.3]), variances)
    assert (apart.high - apart.low) / 2 > 10 * half
