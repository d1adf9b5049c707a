"""Small-sample statistics against other implementations, published values and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dtvg.analysis.statistics import (
    bootstrap_interval,
    bootstrap_p,
    cohen_dz,
    hedges_correction,
    holm,
    mcnemar_p,
    paired_power,
    seeds_for_power,
    seeds_needed,
    sign_flip_p,
    smallest_p,
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


def test_the_least_p_over_few_seeds_decides_how_many_are_needed() -> None:
    assert smallest_p(3) == sign_flip_p([0.1, 0.2, 0.3]) == 0.25
    assert (seeds_needed(1), seeds_needed(2), seeds_needed(8)) == (6, 7, 9)
    for m in (1, 2, 5, 13):
        n = seeds_needed(m)
        assert smallest_p(n, m) <= 0.05 < smallest_p(n - 1, m)


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


def test_seeds_for_power_is_the_fewest_and_never_below_the_attainable() -> None:
    assert seeds_for_power(0.5) == 34
    assert seeds_for_power(9.0, 8) == seeds_needed(8)
    n = seeds_for_power(-0.7, 4)
    assert n is not None and paired_power(0.7, n, 0.0125) >= 0.8 > paired_power(0.7, n - 1, 0.0125)
    assert seeds_for_power(0.001) is None and seeds_for_power(float("nan")) is None


def test_the_p_of_resamples_is_never_zero_and_at_most_one() -> None:
    assert bootstrap_p(np.full(999, 0.2)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.zeros(999)) == 1.0
    assert bootstrap_p(np.array([-1.0, 1.0] * 500)) == 1.0
