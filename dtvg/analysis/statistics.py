"""Statistics of all analyses, each once: intervals, bootstrap, paired tests, families, power.

Tests take whole stacks of comparisons at once, so that simulations run the very functions that
give verdicts. The percentile interval itself stands in `tasks/scoring.py`, which scores single
runs with it. docs/verdicts.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dtvg.tasks.scoring import COVERAGE
from dtvg.tasks.scoring import Interval as Interval
from dtvg.tasks.scoring import percentile_interval as percentile_interval

Floats = npt.NDArray[np.float64]

ALPHA = 1 - COVERAGE
RESAMPLES = 10_000
EXACT_PAIRS = 16
"""Pairs up to which every sign pattern is tried; beyond, random ones are."""
KEPT = 200
"""Values up to which resamples are remembered: those of 200 take 16 MB."""
FEWEST_SEEDS = 3
"""Below this no verdict is given."""
JOINT_SEEDS = 6
"""Seeds from which on joint sign flips can reach 5 %: 2^(1 − 6) = 3.1 %."""
EXACT_DISCORDANT = 25
"""Discordant examples below which McNemar's test is exact."""
POWER = 0.8
"""Chance to show a difference that the number of seeds needed is computed for."""
MOST_SEEDS = 1_000
"""Numbers of seeds beyond this are not named."""


def resample_indices(count: int, seed: int | Sequence[int]) -> npt.NDArray[np.int64]:
    """Return which of `count` values stand in each bootstrap resample, `[10,000 count]`.

    Not to be written to: rows of a table have equally many seeds, and get the same resamples.
    """
    asked = seed if isinstance(seed, int) else tuple(seed)
    return _drawn(count, asked) if count <= KEPT else _draw(count, asked)


def _draw(count: int, seed: int | tuple[int, ...]) -> npt.NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))


@lru_cache(maxsize=4)
def _drawn(count: int, seed: int | tuple[int, ...]) -> npt.NDArray[np.int64]:
    drawn = _draw(count, seed)
    drawn.flags.writeable = False
    return drawn


def bootstrap_interval(values: Sequence[float] | Floats, seed: int = 0) -> Interval:
    """Percentile bootstrap interval of the mean (95 %, 10,000 resamples, seeded).

    With very few values it is too narrow; `t_interval` is the careful companion.

    Returns:
        NaN ends with fewer than two values.
    """
    sample = np.asarray(values, dtype=np.float64)
    if len(sample) < 2:
        return Interval(float("nan"), float("nan"))
    return percentile_interval(sample.take(resample_indices(len(sample), seed)).mean(axis=1))


def t_interval(values: Sequence[float] | Floats, level: float = COVERAGE) -> Interval:
    """Student's t interval of the mean; NaN ends with fewer than two values."""
    sample = np.asarray(values, dtype=np.float64)
    if len(sample) < 2:
        return Interval(float("nan"), float("nan"))
    half = t_factor(level, len(sample) - 1) * float(sample.std(ddof=1))
    half /= float(np.sqrt(len(sample)))
    return Interval(float(sample.mean()) - half, float(sample.mean()) + half)


def unseen(interval: Interval, mean: float, examples: int, level: float) -> Interval:
    """Widen an interval by what examples may do that all examples seen do not.

    Where n examples all differ by the same, resamples of them show nothing; yet with a share
    `1 − (α/2)^(1/n)` of others, n alike are seen in α/2 of all draws. The others differ by -1 to 1.

    Args:
        interval: of the mean difference.
        mean: what every example differs by.
        examples: n; 0: not known, and nothing is widened.
        level: coverage, 1 − α.
    """
    share = 1 - ((1 - level) / 2) ** (1 / examples) if examples else 0.0
    low, high = share * max(1 + mean, 0.0), share * max(1 - mean, 0.0)
    return Interval(interval.low - low, interval.high + high)


def t_factor(level: float, freedom: int) -> float:
    """Return how many standard errors an interval of Student's t reaches to either side."""
    from scipy.special import stdtrit  # scipy.stats takes half a second to import

    return float(stdtrit(freedom, (1 + level) / 2))


def student_p(differences: Floats) -> Floats:
    """Two-sided p of Student's paired t test over the last axis.

    Scores move in steps of one example, so differences can all be equal, and t has no
    denominator. Then the exact sign flips stand in: `2^(1 − n)`, or 1 where all are 0.

    Args:
        differences: `[... n]`; NaN: that pair does not exist.

    Returns:
        `[...]`; NaN with fewer than two pairs.
    """
    from scipy.special import stdtr

    d = np.asarray(differences, dtype=np.float64)
    n = (~np.isnan(d)).sum(axis=-1)
    mean = np.nansum(d, axis=-1) / np.maximum(n, 1)
    squares = np.nansum((d - mean[..., None]) ** 2, axis=-1)
    spread = np.sqrt(squares / np.maximum(n - 1, 1))
    equal = spread <= 1e-12 + 1e-9 * np.abs(mean)
    t = np.divide(
        np.abs(mean), spread / np.sqrt(np.maximum(n, 1)), where=~equal, out=np.zeros(np.shape(mean))
    )
    flips = np.where(np.abs(mean) > 1e-12, 2.0 ** (1.0 - n), 1.0)
    p = np.where(equal, flips, 2 * stdtr(np.maximum(n - 1, 1), -t))
    return np.where(n < 2, np.nan, p)


def beyond_rounding(variance: float, mean: float) -> float:
    """Return a variance, or 0 where it is only that of rounding.

    Differences of scores that are equal differ in their last bits, and a variance of 1e-33 would
    outweigh every other.

    Args:
        variance: of some values or of their mean.
        mean: of the values.
    """
    return variance if variance > (1e-12 + 1e-9 * abs(mean)) ** 2 else 0.0


def sign_flip_p(differences: Sequence[float] | Floats, seed: int = 0) -> float:
    """Two-sided p of paired differences under exchangeable signs, by trying every pattern.

    Up to 16 pairs all 2^n patterns are tried; beyond that 2^16 random ones (seeded), counting
    the observed one. NaN without differences.
    """
    d = np.asarray(differences, dtype=np.float64)
    n = len(d)
    if n == 0:
        return float("nan")
    if n <= EXACT_PAIRS:
        patterns = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        sums = np.abs((1.0 - 2.0 * patterns) @ d)
    else:
        sums = _random_sums(d, np.random.default_rng(seed))
    observed = abs(float(d.sum()))
    slack = 1e-12 * float(np.abs(d).sum())
    return float((sums >= observed - slack).mean())


def _random_sums(d: Floats, rng: np.random.Generator) -> Floats:
    """Absolute sums under 2^16 random sign patterns, the first the observed one; in blocks,
    since all patterns of 500 pairs at once take half a gigabyte."""
    rows, found = 2**12, []
    for _ in range(2**EXACT_PAIRS // rows):
        bits = rng.integers(0, 256, (rows, -(-len(d) // 8)), dtype=np.uint8)
        signs = 1.0 - 2.0 * np.unpackbits(bits, axis=1, count=len(d))
        found.append(np.abs(signs @ d))
    sums = np.concatenate(found)
    sums[0] = abs(float(d.sum()))
    return sums


def holm(p: Sequence[float] | Floats) -> Floats:
    """Holm's step-down adjusted p values; NaN entries stay out of the family."""
    values = np.asarray(p, dtype=np.float64)
    adjusted = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return adjusted


def joint_sign_flips(differences: Floats, seed: int = 0) -> Floats:
    """Adjusted p of a family by the maximum statistic under joint sign flips, step-down.

    A pattern of signs turns a seed's differences in all comparisons together, which keeps how
    the comparisons depend on one another; the family's most extreme Student's t of each pattern
    is what an observed one is set against (Westfall and Young, Resampling-Based Multiple
    Testing, 1993). It assumes joint symmetry: without an effect, a seed's vector of differences
    is as likely as its negative. Up to 16 seeds all patterns are tried, beyond 2^16 random ones.

    Args:
        differences: `[... m S]`, a row a comparison, a column a seed; NaN: the seed is missing.
        seed: of the random patterns.

    Returns:
        `[... m]`, at least `2^(1 − S)`; NaN where a comparison has no two seeds.
    """
    from scipy.special import stdtr

    d = np.asarray(differences, dtype=np.float64)
    n = (~np.isnan(d)).sum(axis=-1)
    known, d = n > 1, np.nan_to_num(d)
    length = np.sqrt(np.maximum(n * (d**2).sum(axis=-1), 1e-300))
    signs = _patterns(d.shape[-1], seed)
    # the squares stay under flips, so t follows from the correlation of differences and signs
    r = np.clip(np.round(np.abs(d @ signs.T) / length[..., None], 12), 0, 1)
    freedom = np.maximum(n - 1, 1)[..., None]
    t = np.sqrt(freedom) * r / np.sqrt(np.maximum(1 - r**2, 1e-24))
    p = np.where(known[..., None], stdtr(freedom, -t), np.inf)
    order = np.argsort(p[..., 0], axis=-1, kind="stable")
    ranked = np.take_along_axis(p, order[..., None], axis=-2)
    least = np.minimum.accumulate(ranked[..., ::-1, :], axis=-2)[..., ::-1, :]
    shares = (least <= ranked[..., :1] * (1 + 1e-9)).mean(axis=-1)
    adjusted = np.empty_like(shares)
    np.put_along_axis(adjusted, order, np.maximum.accumulate(shares, axis=-1), axis=-1)
    return np.where(known, adjusted, np.nan)


def _patterns(n: int, seed: int) -> Floats:
    """Signs `[P n]`, the first all positive: every pattern, or 2^16 random ones."""
    if n <= EXACT_PAIRS:
        every = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return 1.0 - 2.0 * every.astype(np.float64)
    drawn = np.random.default_rng(seed).integers(0, 2, (2**EXACT_PAIRS, n), dtype=np.int8)
    drawn[0] = 0
    return 1.0 - 2.0 * drawn.astype(np.float64)


class Crossed(NamedTuple):
    """A mean difference under crossed random effects of seeds and examples."""

    difference: Floats
    variance: Floats
    """Of the mean difference."""
    freedom: Floats
    """Degrees of freedom after Satterthwaite."""

    @property
    def p(self) -> Floats:
        """Two-sided p; NaN where nothing varies."""
        from scipy.special import stdtr

        t = np.abs(self.difference) / np.sqrt(np.where(self.variance > 0, self.variance, np.nan))
        return np.asarray(2 * stdtr(self.freedom, -t))

    def interval(self, level: float = COVERAGE) -> tuple[Floats, Floats]:
        """Return both ends of the interval of the mean difference."""
        from scipy.special import stdtrit

        half = stdtrit(self.freedom, (1 + level) / 2) * np.sqrt(self.variance)
        return np.asarray(self.difference - half), np.asarray(self.difference + half)


def crossed_effects(parts: Sequence[Floats]) -> Crossed:
    """Estimate a mean difference whose seeds and examples are both drawn from larger ones.

    Each example's difference is `μ + seed + example + rest`. Mean squares of the two-way table
    give the variance of the mean, Satterthwaite (Biometrics Bulletin 2, 1946) its degrees of
    freedom. Several targets share the seeds and have examples of their own; the mean is the
    average over them. The estimate is never below what seeds, or examples, alone give.

    Args:
        parts: one `[... S E]` a target, the subject's value minus the baseline's; S, E ≥ 2.
    """
    count, seeds = len(parts), parts[0].shape[-2]
    means = sum(part.mean(axis=-1) for part in parts) / count
    by_seed = means.var(axis=-1, ddof=1) / seeds
    by_example, rest = np.zeros_like(by_seed), np.zeros_like(by_seed)
    terms = by_seed**2 / (seeds - 1)
    for part in parts:
        n = part.shape[-1]
        own, columns = part.mean(axis=-1), part.mean(axis=-2)
        total = ((part - own.mean(axis=-1)[..., None, None]) ** 2).sum(axis=(-1, -2))
        squares = seeds * (n - 1) * columns.var(axis=-1, ddof=1)
        left = np.maximum(total - squares - n * (seeds - 1) * own.var(axis=-1, ddof=1), 0)
        scale, freedom = 1 / (seeds * n * count**2), (seeds - 1) * (n - 1)
        example, residual = scale * squares / (n - 1), scale * left / freedom
        by_example, rest = by_example + example, rest + residual
        terms = terms + example**2 / (n - 1) + residual**2 / freedom
    floor = np.maximum(by_seed, by_example)
    variance = np.maximum(by_seed + by_example - rest, floor)
    freedom = np.divide(variance**2, terms, out=np.full_like(terms, np.nan), where=terms > 0)
    return Crossed(np.asarray(means.mean(axis=-1)), np.asarray(variance), freedom)


def mcnemar_p(first_only: int, second_only: int) -> tuple[float, str]:
    """McNemar's two-sided p from the discordant counts, and which form of it.

    Exact binomial below 25 discordant examples; from there on mid-p, which is less
    conservative and keeps its level (Fagerland, Lydersen and Laake, BMC Med. Res. Methodol. 13,
    2013). 1 where nothing is discordant.

    Args:
        first_only: examples that only the first got right.
        second_only: examples that only the second got right.
    """
    from scipy.special import bdtr

    n, fewer = first_only + second_only, min(first_only, second_only)
    name = "McNemar, exact" if n < EXACT_DISCORDANT else "McNemar, mid-p"
    if n == 0:
        return 1.0, name
    p = 2 * float(bdtr(fewer, n, 0.5))
    if n >= EXACT_DISCORDANT:
        p -= float(bdtr(fewer, n, 0.5)) - (float(bdtr(fewer - 1, n, 0.5)) if fewer else 0.0)
    return min(1.0, p), name


def cohen_dz(differences: Sequence[float] | Floats) -> float:
    """Cohen's d of paired differences: mean over standard deviation (n − 1).

    NaN with fewer than two differences, or where all are equal.
    """
    d = np.asarray(differences, dtype=np.float64)
    spread = float(d.std(ddof=1)) if len(d) > 1 else 0.0
    return float(d.mean()) / spread if spread > 1e-12 else float("nan")


def hedges_correction(n: int) -> float:
    """Hedges' factor for d of n paired differences, Γ(m/2) / (√(m/2) Γ((m−1)/2)), m = n − 1."""
    from scipy.special import gammaln

    m = n - 1
    if m < 2:
        return float("nan")
    log = float(gammaln(m / 2) - gammaln((m - 1) / 2))
    return float(np.exp(log) / np.sqrt(m / 2))


def paired_power(effect: float, n: int, alpha: float = ALPHA) -> float:
    """Power of the two-sided paired t test with n pairs at a standardised effect d."""
    from scipy.special import nctdtr, stdtrit

    critical, shift = float(stdtrit(n - 1, 1 - alpha / 2)), abs(effect) * float(np.sqrt(n))
    near, far = 1 - float(nctdtr(n - 1, shift, critical)), float(nctdtr(n - 1, shift, -critical))
    # neither is known of every large shift: there the near tail is all of it, the far one nothing
    return near + (far if np.isfinite(far) else 0.0) if np.isfinite(near) else 1.0


def seeds_for_power(effect: float, comparisons: int = 1, power: float = POWER) -> int | None:
    """Seeds with which an effect of this size would be shown with the given power.

    Paired t test at 5 % over the number of comparisons (Holm's first step), and never fewer
    than `FEWEST_SEEDS`. The effect seen on few seeds is itself uncertain, and so is this.

    Args:
        effect: standardised mean difference (Cohen's d, Hedges' g).
        comparisons: of the family.
        power: wanted.

    Returns:
        None beyond 1,000 seeds, or without an effect.
    """
    if not np.isfinite(effect) or effect == 0:
        return None
    alpha = ALPHA / max(1, comparisons)
    if paired_power(effect, MOST_SEEDS, alpha) < power:
        return None
    low, high = FEWEST_SEEDS, MOST_SEEDS
    while low < high:
        middle = (low + high) // 2
        if paired_power(effect, middle, alpha) >= power:
            high = middle
        else:
            low = middle + 1
    return low


def bootstrap_p(resampled: Floats) -> float:
    """Two-sided p from resampled differences: twice the smaller tail at zero, counting itself."""
    n = len(resampled)
    below, above = float((resampled <= 0).sum()), float((resampled >= 0).sum())
    return min(1.0, 2 * (1 + min(below, above)) / (n + 1))


def jaccard(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> Floats:
    """Return |A ∩ B| / |A ∪ B| over the last axis; 1 where both are empty."""
    union = (a | b).sum(axis=-1)
    return np.where(union > 0, (a & b).sum(axis=-1) / np.maximum(union, 1), 1.0)


def average_ranks(values: Floats) -> Floats:
    """Return ranks from 1 along the last axis, ties sharing their mean rank.

    Args:
        values: `[... n]`, n small: every pair is compared.
    """
    v = np.ascontiguousarray(np.moveaxis(np.asarray(values, dtype=np.float64), -1, 0))
    return np.ascontiguousarray(np.moveaxis(twice_ranks(v), 0, -1)) / 2


def twice_ranks(values: Floats) -> npt.NDArray[np.int16]:
    """Return twice the ranks of `average_ranks`, along the first axis.

    Args:
        values: `[n ...]`, n small and the rest long: quicker than along the last axis.
    """
    twice = np.ones(values.shape, dtype=np.int16)
    for one in values:  # each value counts in the ranks of all
        twice += one < values
        twice += one <= values
    return twice


def correlation(first: Floats, second: Floats) -> Floats:
    """Return Pearson's correlation along the last axis; 0 where one of both does not vary.

    Args:
        first: `[... n]`; of ranks, the result is Spearman's.
        second: `[... n]`.
    """
    a, b = (x - x.mean(axis=-1, keepdims=True) for x in (first, second))
    length = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    product = (a * b).sum(axis=-1)
    return np.divide(product, length, out=np.zeros_like(product), where=length > 1e-300)
