"""A difference over several targets as random effects: targets are drawn from more of their kind.

The mean over targets answers for these targets; the random-effects summary says what to expect
of another one. docs/verdicts.md "Several targets".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dtvg.analysis.compare.evidence import Evidence
from dtvg.analysis.statistics import COVERAGE, beyond_rounding

NAN = float("nan")
FEWEST_TARGETS = 3
"""Targets from which an interval over targets is shown: with two it has one degree of freedom."""


@dataclass(frozen=True)
class RandomEffects:
    """The summary; NaN where fewer than two targets have an estimate with a variance."""

    n_targets: int = 0
    mean: float = NAN
    low: float = NAN
    high: float = NAN
    between: float = NAN
    """Standard deviation of the differences between targets (τ)."""


def over_targets(each: Sequence[Evidence], level: float = COVERAGE) -> RandomEffects:
    """Summarise one difference on several targets.

    Weights by the inverse of each target's variance plus that between targets, which is found
    by iteration (Paule and Mandel, J. Res. Natl. Bur. Stand. 87, 1982); the interval is that of
    Hartung and Knapp (Statist. Med. 20, 2001), never narrower than the one with known variances.
    Targets with fewer than two seeds, whose variance is not known, do not count.

    Args:
        each: the difference on each target.
        level: coverage of the interval.
    """
    known = [one for one in each if len(one.d) > 1]
    effects = np.array([one.difference for one in known])
    return random_effects(effects, np.array([variance_of(one) for one in known]), level)


def random_effects(
    effects: npt.NDArray[np.float64],
    variances: npt.NDArray[np.float64],
    level: float = COVERAGE,
) -> RandomEffects:
    """Summarise estimates `[T]` with their variances `[T]`; see `over_targets`.

    A target on which nothing varies (variance 0) weighs as the surest of the others; where nothing
    varies on any, there is no summary.
    """
    from scipy.special import stdtrit
    from statsmodels.stats.meta_analysis import combine_effects

    sure = variances > 0
    if len(effects) < 2 or not sure.any():
        return RandomEffects()
    variances = np.where(sure, variances, variances[sure].min())
    with np.errstate(divide="ignore"):  # I², which is not used, where all effects are equal
        made = combine_effects(effects, variances, method_re="iterated", use_t=True)
    error = max(float(made.sd_eff_w_re), float(made.sd_eff_w_re_hksj))
    mean, half = float(made.mean_effect_re), float(stdtrit(len(effects) - 1, (1 + level) / 2))
    between = float(np.sqrt(max(float(made.tau2), 0.0)))
    return RandomEffects(len(effects), mean, mean - half * error, mean + half * error, between)


def variance_of(one: Evidence) -> float:
    """Return the variance of the mean difference: over seeds and examples, or over seeds alone.

    0 with fewer than two seeds, or where nothing varies.
    """
    if len(one.d) < 2:
        return 0.0
    seeds = float(one.d.var(ddof=1)) / len(one.d)
    variance = seeds if one.crossed is None else float(one.crossed.variance)
    return beyond_rounding(variance, one.difference)
