"""One number on each target, and what several targets together say: intervals and limits.

On one target the interval is that of the compare page; several targets are random effects.
A claim with several comparisons is as strong as its weakest: `smallest`. docs/claims.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, log2
from typing import Any

import numpy as np

from dtvg.analysis.compare import limits
from dtvg.analysis.compare.evidence import Evidence
from dtvg.analysis.compare.families import NO_ANSWERS, NOT_ENOUGH, SLACK, TOO_UNSURE
from dtvg.analysis.compare.over_targets import random_effects, variance_of
from dtvg.analysis.statistics import (
    ALPHA,
    COVERAGE,
    FEWEST_SEEDS,
    Interval,
    beyond_rounding,
    cohen_dz,
    hedges_correction,
    seeds_for_power,
    t_interval,
    unseen,
)

NAN = float("nan")
NOWHERE = Interval(NAN, NAN)


@dataclass(frozen=True, eq=False)
class Effect:
    """One quantity on one target."""

    target: str
    by_seed: Mapping[int, float]
    estimate: float
    """Mean over seeds."""
    variance: float
    """Of the estimate; 0: nothing varies, or it cannot be known."""
    interval: Callable[[float], Interval]
    """Coverage → interval on this target alone."""
    examples: int = 0
    """Test examples that it rests on; 0: it rests on no single answers."""
    problem: str = ""
    """Why this target alone gives no verdict; empty: it may."""


def of_evidence(target: str, known: Evidence) -> Effect:
    """Return a difference of scores as an effect, within the limits of the compare page.

    Args:
        target: whose.
        known: paired by seed, and by example where answers are stored.
    """
    seeds = len(known.d)
    limit = limits.at(seeds, known.n_examples)
    problem = ""
    if seeds < FEWEST_SEEDS:
        problem = NOT_ENOUGH
    elif limit.test == limits.NONE:
        problem = TOO_UNSURE if known.n_examples else NO_ANSWERS

    def interval(level: float) -> Interval:
        ends = known.interval(1 - (1 - level) / limit.factor)
        if known.p * limit.factor > 1 - level + SLACK:  # the test leaves 0 in, so 0 is possible
            return Interval(min(ends.low, 0.0), max(ends.high, 0.0))
        return ends

    variance = variance_of(known)
    return Effect(
        target,
        known.differences,
        known.difference,
        variance,
        interval,
        known.n_examples,
        problem,
    )


def of_seeds(target: str, by_seed: Mapping[int, float], wider: float = 0.0) -> Effect:
    """Return a quantity that rests on seeds as an effect.

    Args:
        target: whose.
        by_seed: seed → value.
        wider: a variance that the estimate has whatever its seeds are; the larger one counts.
    """
    values = np.array([by_seed[s] for s in sorted(by_seed)], dtype=np.float64)
    mean = float(values.mean()) if len(values) else NAN
    own = float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.0
    return Effect(
        target,
        by_seed,
        mean,
        beyond_rounding(max(own, wider), mean),
        lambda level: t_interval(values, level),
        problem=NOT_ENOUGH if len(values) < FEWEST_SEEDS else "",
    )


@dataclass(frozen=True)
class Summary:
    """What all targets together say of one quantity."""

    estimate: float = NAN
    low: float = NAN
    high: float = NAN
    """Ends of the interval; NaN where there is none."""
    between: float = NAN
    """Standard deviation between targets (τ); NaN with one target."""
    n_targets: int = 0
    n_seeds: int = 0
    """Of the target with the fewest."""
    n_examples: int = 0
    """Over all targets."""
    problem: str = ""
    """Why there is no interval."""
    needs: str = ""
    """Seeds or targets with which an effect of this size would be shown; empty: not known."""

    @property
    def known(self) -> bool:
        """Whether there is an estimate."""
        return self.n_targets > 0


def summed(effects: Sequence[Effect], level: float = COVERAGE) -> Summary:
    """Summarise a quantity: one target as it is, several as random effects.

    A target on which nothing varies weighs as the surest of the others. One with a single seed,
    whose spread is not known, does not count beside others. One of several experiments is one.

    Args:
        effects: a target each, with its experiment where there are several.
        level: coverage of the interval.
    """
    effects = [one for one in effects if np.isfinite(one.estimate)]
    effects = [one for one in effects if len(one.by_seed) > 1] or effects
    places = dict.fromkeys(target_of(one.target) for one in effects)
    effects = [_as_one([e for e in effects if target_of(e.target) == t]) for t in places]
    if not effects:
        return Summary()
    counts: dict[str, Any] = {
        "n_targets": len(effects),
        "n_seeds": min(len(one.by_seed) for one in effects),
        "n_examples": sum(one.examples for one in effects),
    }
    if len(effects) == 1:
        (one,) = effects
        ends = NOWHERE if one.problem else one.interval(level)
        needs = _seeds_needed(one, level)
        return Summary(
            one.estimate, ends.low, ends.high, **counts, problem=one.problem, needs=needs
        )
    return _over(effects, level, counts)


def target_of(name: str) -> str:
    """Return the target of a block, which stands behind its experiment where there are several."""
    return name.rpartition(": ")[2]


def _as_one(effects: Sequence[Effect]) -> Effect:
    """Return what experiments with other settings say of one target together: their mean.

    They share the target's test examples, so no number of them makes its interval narrower than
    theirs are on average. Those that give a verdict alone count before others. One in which
    nothing varies says nothing of how sure the estimate is.
    """
    if len(effects) == 1:
        return effects[0]
    held = [one for one in effects if not one.problem] or list(effects)
    errors = [np.sqrt(one.variance) for one in held if one.variance > 0]
    by_seed: dict[int, list[float]] = {}
    for one in held:
        for seed, value in one.by_seed.items():
            by_seed.setdefault(seed, []).append(value)

    def interval(level: float) -> Interval:
        ends = [one.interval(level) for one in held]
        return Interval(*(float(np.mean([getattr(e, x) for e in ends])) for x in ("low", "high")))

    return Effect(
        target_of(held[0].target),
        {seed: float(np.mean(values)) for seed, values in sorted(by_seed.items())},
        float(np.mean([one.estimate for one in held])),
        float(np.mean(errors or [0.0])) ** 2,
        interval,
        max(one.examples for one in held),
        held[0].problem,
    )


def _over(effects: Sequence[Effect], level: float, counts: dict[str, Any]) -> Summary:
    """Several targets as random effects."""
    estimates = np.array([one.estimate for one in effects])
    variances = np.array([one.variance for one in effects])
    mean = float(estimates.mean())
    if counts["n_seeds"] < 2:
        return Summary(mean, **counts, problem=NOT_ENOUGH)
    if not (variances > 0).any():
        problem = NOT_ENOUGH if float(np.ptp(estimates)) > SLACK else ""
        problem = problem or next((e.problem for e in effects if e.problem and not e.examples), "")
        still = unseen(Interval(mean, mean), mean, counts["n_examples"], level)
        ends = NOWHERE if problem else still
        return Summary(mean, ends.low, ends.high, 0.0, **counts, problem=problem)
    variances = np.where(variances > 0, variances, variances[variances > 0].min())
    made = random_effects(estimates, variances, level)
    spread = float(np.sqrt(made.between**2 + float(variances.mean())))
    effect = made.mean / spread if spread > 0 else NAN
    count = seeds_for_power(effect, round(ALPHA / max(1 - level, 1e-9)))
    needs = "" if count is None else f"about {max(count, counts['n_targets'] + 1)} targets"
    return Summary(made.mean, made.low, made.high, made.between, **counts, needs=needs)


def _seeds_needed(one: Effect, level: float) -> str:
    """Seeds with which an effect of this size would be shown on the one target."""
    values = np.array(list(one.by_seed.values()))
    effect = cohen_dz(values) * hedges_correction(len(values)) if len(values) > 2 else NAN
    count = seeds_for_power(effect, max(1, round(ALPHA / (1 - level))))
    if count is None and len(values) < FEWEST_SEEDS:
        return f"at least {limits.fewest_seeds()} seeds"
    if count is None:
        apart = float(np.ptp(values)) > SLACK or abs(one.estimate) <= SLACK
        return "" if apart else f"at least {ceil(1 - log2(1 - level))} seeds"  # sign flips decide
    return f"about {max(count, len(values) + 1, limits.fewest_seeds())} seeds"


@dataclass(frozen=True, eq=False)
class Part:
    """One comparison of a claim: a number on each target."""

    name: str
    effects: Sequence[Effect] = field(default_factory=tuple)
    reach: float = np.inf
    """Intervals end at -reach and reach, beyond which the quantity cannot lie."""

    @property
    def there(self) -> bool:
        """Whether any target has it."""
        return any(np.isfinite(one.estimate) for one in self.effects)


def smallest(parts: Sequence[Part]) -> tuple[Summary, Part | None]:
    """Return the smallest of several quantities with an interval, and which it is.

    The smallest is above a bound only if all are, so its lower end is the least lower end, with
    no correction (intersection–union: Berger, Technometrics 24, 1982). It is below a bound if any
    is, so its upper end is the least upper end after Bonferroni's correction.

    Args:
        parts: those without any target do not count.
    """
    there = [part for part in parts if part.there]
    if not there:
        return Summary(), None
    plain = [summed(part.effects) for part in there]
    strict = [summed(part.effects, 1 - ALPHA / len(there)) for part in there]
    at = int(np.argmin([one.estimate for one in plain]))
    known = [one for one in plain if not one.problem]
    least = plain[at]
    return (
        Summary(
            least.estimate,
            min(one.low for one in plain) if len(known) == len(plain) else NAN,
            min((one.high for one in strict if not one.problem), default=NAN),
            least.between,
            min(one.n_targets for one in plain),
            min(one.n_seeds for one in plain),
            max(one.n_examples for one in plain),
            next((one.problem for one in plain if one.problem), ""),
            least.needs,
        ),
        there[at],
    )
