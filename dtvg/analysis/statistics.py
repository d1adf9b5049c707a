"""Small-sample statistics over seeds: intervals, exact sign flips, Holm's correction.

Seeds are few, so nothing here leans on normality except where its name says t. Must not
import torch, plotly or streamlit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEVEL = 0.95
"""Coverage of every interval."""
ALPHA = 1 - LEVEL
RESAMPLES = 10_000
EXACT_PAIRS = 16
"""Pairs up to which every sign pattern is tried; beyond, random ones are."""
FEWEST_SEEDS = 3
"""Below this no verdict is given."""


@dataclass(frozen=True)
class Interval:
    """Lower and upper end; NaN where the sample is too small."""

    low: float
    high: float


def bootstrap_interval(values: Sequence[float] | Floats, seed: int = 0) -> Interval:
    """Percentile bootstrap interval of the mean (95 %, 10,000 resamples, seeded).

    With very few values it is too narrow; `t_interval` is the careful companion.

    Returns:
        NaN ends with fewer than two values.
    """
    sample = np.asarray(values, dtype=np.float64)
    if len(sample) < 2:
        return Interval(float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    means = sample[rng.integers(0, len(sample), (RESAMPLES, len(sample)))].mean(axis=1)
    low, high = np.quantile(means, [ALPHA / 2, 1 - ALPHA / 2])
    return Interval(float(low), float(high))


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
    """Smallest Holm-adjusted p that sign flips over so many seeds can give."""
    return min(1.0, comparisons * 2.0 ** (1 - seeds)) if seeds else 1.0


def seeds_needed(comparisons: int = 1) -> int:
    """Seeds from which on a verdict at 5 % is attainable at all."""
    return max(FEWEST_SEEDS, ceil(1 + log2(max(1, comparisons) / ALPHA) - 1e-12))
