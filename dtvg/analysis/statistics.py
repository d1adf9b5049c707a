"""Statistics of all analyses, each once: intervals, bootstrap, exact tests, Jaccard, power.

Seeds are few, so nothing here leans on normality except where its name says t. The percentile
interval itself stands in `tasks/scoring.py`, which scores single runs with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log2

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
FEWEST_SEEDS = 3
"""Below this no verdict is given."""
EXACT_DISCORDANT = 25
"""Discordant examples below which McNemar's test is exact."""
POWER = 0.8
"""Chance to show a difference that the number of seeds needed is computed for."""
MOST_SEEDS = 1_000
"""Numbers of seeds beyond this are not named."""


def resample_indices(count: int, seed: int | Sequence[int]) -> npt.NDArray[np.int64]:
    """Return which of `count` values stand in each bootstrap resample, `[10,000 count]`."""
    return np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))


def bootstrap_interval(values: Sequence[float] | Floats, seed: int = 0) -> Interval:
    """Percentile bootstrap interval of the mean (95 %, 10,000 resamples, seeded).

    With very few values it is too narrow; `t_interval` is the careful companion.

    Returns:
        NaN ends with fewer than two values.
    """
    sample = np.asarray(values, dtype=np.float64)
    if len(sample) < 2:
        return Interval(float("nan"), float("nan"))
    return percentile_interval(sample[resample_indices(len(sample), seed)].mean(axis=1))


def t_interval(values: Sequence[float] | Floats) -> Interval:
    """Student's t interval of the mean (95 %); NaN ends with fewer than two values."""
    from scipy.special import stdtrit  # scipy.stats takes half a second to import

    sample = np.asarray(values, dtype=np.float64)
    if len(sample) < 2:
        return Interval(float("nan"), float("nan"))
    half = float(stdtrit(len(sample) - 1, 1 - ALPHA / 2)) * float(sample.std(ddof=1))
    half /= float(np.sqrt(len(sample)))
    return Interval(float(sample.mean()) - half, float(sample.mean()) + half)


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


def smallest_p(seeds: int, comparisons: int = 1) -> float:
    """Smallest Holm-adjusted p that sign flips over this number of seeds can give."""
    return min(1.0, comparisons * 2.0 ** (1 - seeds)) if seeds else 1.0


def seeds_needed(comparisons: int = 1) -> int:
    """Seeds from which on a verdict at 5 % is attainable at all."""
    return max(FEWEST_SEEDS, ceil(1 + log2(max(1, comparisons) / ALPHA) - 1e-12))


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
    power = 1 - float(nctdtr(n - 1, shift, critical)) + float(nctdtr(n - 1, shift, -critical))
    return power if np.isfinite(power) else 1.0


def seeds_for_power(effect: float, comparisons: int = 1, power: float = POWER) -> int | None:
    """Seeds with which an effect of this size would be shown with the given power.

    Paired t test at 5 % over the number of comparisons (Holm's first step), and never fewer
    than `seeds_needed`. The effect seen on few seeds is itself uncertain, and so is this.

    Args:
        effect: standardised mean difference (Cohen's d, Hedges' g).
        comparisons: of the family.
        power: wanted.

    Returns:
        None beyond 1,000 seeds, or without an effect.
    """
    if not np.isfinite(effect) or effect == 0:
        return None
    least = seeds_needed(comparisons)
    alpha = ALPHA / max(1, comparisons)
    if paired_power(effect, MOST_SEEDS, alpha) < power:
        return None
    low, high = least, MOST_SEEDS
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
