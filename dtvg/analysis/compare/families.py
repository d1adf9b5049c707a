"""Comparisons that are tested together: corrected p, corrected intervals, words one may use.

docs/verdicts.md "Families" and "What is said".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np
import numpy.typing as npt

from dtvg.analysis.compare import limits
from dtvg.analysis.compare.evidence import Evidence
from dtvg.analysis.statistics import (
    ALPHA,
    FEWEST_SEEDS,
    JOINT_SEEDS,
    Interval,
    holm,
    joint_sign_flips,
)

Floats = npt.NDArray[np.float64]
NOT_ENOUGH = "not enough seeds for a verdict"
NONE_YET = "no seed in common yet"
NO_ANSWERS = "no verdict without stored answers"
TOO_UNSURE = "no verdict: the test errs too often at this size"
UNDECIDED = "undecided"
WITHIN = "within the margin"
BOUND = "differs by less than "
"""How a `statement` begins where nothing is decided; the number of points follows."""
SLACK = 1e-12
ALONE, BY_HOLM, JOINTLY = "alone", "Holm", "joint sign flips"
"""How p was corrected."""


@dataclass(frozen=True)
class Judged:
    """One comparison within its family."""

    test: str
    """Which test counts here (`limits`)."""
    correction: str
    """`ALONE`, `BY_HOLM` or `JOINTLY`."""
    p_holm: float
    """Corrected by Holm alone."""
    p_joint: float
    """Of joint sign flips over the family; NaN: not used."""
    p: float
    """Corrected as the verdict is, NaN where no scores could give one."""
    interval: Interval
    """At the family's level, in line with the corrected p."""
    level: float
    """Coverage of `interval` by itself, so that all of the family hold together with 95 %."""
    verdict: str
    statement: str
    """What the interval says, e.g. `at least +1.2`; empty without a verdict."""


def judge(
    family: Sequence[Evidence], margins: Sequence[float | None] | None = None
) -> list[Judged]:
    """Judge comparisons that are tested together; one alone is not corrected.

    Those whose seeds and examples are too few for any verdict do not count.

    Args:
        family: all of them.
        margins: of each the difference, 0..1, that would matter; None: none was named.
    """
    found = [limits.at(len(one.d), one.n_examples) for one in family]
    factors = np.array([one.factor for one in found])
    counts = np.array([one.test != limits.NONE for one in found], dtype=bool)
    p = np.array([one.p if c else np.nan for one, c in zip(family, counts, strict=True)])
    count = max(1, int(counts.sum()))
    joint = _joint([one for one, c in zip(family, counts, strict=True) if c])
    p_joint = np.full(len(family), np.nan)
    if joint is not None:
        p_joint[counts] = joint
    p_both = np.array([one.p_both for one in family], dtype=np.float64)
    after = corrected(np.minimum(p * factors, 1), p_both, p_joint)
    plain = holm(p)
    how = ALONE if count == 1 else BY_HOLM if joint is None else JOINTLY
    made = []
    for i, (one, limit) in enumerate(zip(family, found, strict=True)):
        level = 1 - ALPHA / (count * limit.factor)
        said = _verdict(one, float(after[i]), limit)
        interval = _in_line(one.interval(level), said)
        margin = None if margins is None else margins[i]
        if said == UNDECIDED and margin is not None and _reach(interval) < margin:
            said = WITHIN
        told = statement(said, interval)
        p_all = (float(plain[i]), float(p_joint[i]), float(after[i]))
        made.append(Judged(limit.test, how, *p_all, interval, level, said, told))
    return made


def _joint(family: Sequence[Evidence]) -> Floats | None:
    """Joint sign flips of a family; None where it is none, or has too few seeds for them."""
    if len(family) < 2 or min(len(one.d) for one in family) < JOINT_SEEDS:
        return None
    seeds = sorted({seed for one in family for seed in one.differences})
    nowhere = float("nan")
    table = [[one.differences.get(seed, nowhere) for seed in seeds] for one in family]
    return joint_sign_flips(np.array(table, dtype=np.float64))


def corrected(p: Floats, p_both: Floats, p_joint: Floats) -> Floats:
    """Return the corrected p of a family `[m]`.

    Seeds and examples are two questions, and a verdict needs both answered. With joint sign
    flips for every comparison that has a p, they correct for the seeds and Holm for the
    examples; a result is never below the comparison's own p. Without, Holm corrects the whole.

    Args:
        p: of each comparison alone; NaN: none.
        p_both: of resampled seeds and examples alone; NaN: unknown.
        p_joint: of joint sign flips over this family; NaN: not enough seeds.
    """
    known = ~np.isnan(p)
    if not known.any() or np.isnan(p_joint[known]).any():
        return holm(p)
    found = np.fmax(np.fmax(p, p_joint), holm(np.where(known, p_both, np.nan)))
    return np.where(known, np.minimum(found, 1.0), np.nan)


def _verdict(one: Evidence, p: float, limit: limits.Limit) -> str:
    """Put a comparison in one of the words of this module."""
    if not len(one.d):
        return NONE_YET
    if len(one.d) < FEWEST_SEEDS:
        return NOT_ENOUGH
    if limit.test == limits.NONE:
        return TOO_UNSURE if one.n_examples else NO_ANSWERS
    if np.isnan(p) or p > ALPHA + SLACK:
        return UNDECIDED
    return "better" if one.difference > 0 else "worse"


def _in_line(interval: Interval, verdict: str) -> Interval:
    """Return the interval with 0 outside where the test left 0 out, and inside elsewhere.

    Step-down tests reject a little more than one interval for each comparison shows: such an
    interval begins at 0. Where the test did not reject, 0 belongs to what is possible.
    """
    low, high = interval.low, interval.high
    if verdict == "better":
        return Interval(max(low, 0.0), high)
    if verdict == "worse":
        return Interval(low, min(high, 0.0))
    return Interval(min(low, 0.0), max(high, 0.0))


def _reach(interval: Interval) -> float:
    """How far from 0 an interval reaches."""
    return max(abs(interval.low), abs(interval.high))


def statement(verdict: str, interval: Interval) -> str:
    """Say in points what an interval shows, rounded so that it stays true.

    Args:
        verdict: one of the words of this module.
        interval: of the difference, 0..1, in line with the verdict.
    """
    if verdict == "better":
        least = floor(1000 * interval.low + 1e-9) / 10
        return f"at least +{least:.1f}" if least > 0 else "above 0"
    if verdict == "worse":
        least = floor(-1000 * interval.high + 1e-9) / 10
        return f"at least −{least:.1f}" if least > 0 else "below 0"
    if verdict in (UNDECIDED, WITHIN):
        most = max(ceil(1000 * _reach(interval) - 1e-9) / 10, 0.1)
        return f"{BOUND}{most:.1f}"
    return ""


def in_words(verdict: str, statement: str) -> str:
    """Return a verdict with what its interval shows, e.g. `undecided (within ±8.3 points)`.

    An interval that holds 0 never stands alone, since however wide it is it would read as if
    both were shown to be equal.

    Args:
        verdict: one of the words of this module, or any other.
        statement: from `statement`, or why there is none.
    """
    if statement.startswith(BOUND):
        within = "" if verdict == WITHIN else "within "
        return f"{verdict} ({within}±{statement.removeprefix(BOUND)} points)"
    unit = " points" if statement[-2:-1] == "." else ""
    return ", ".join(filter(None, (verdict, f"{statement}{unit}")))
