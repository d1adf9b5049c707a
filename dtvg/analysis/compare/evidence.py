"""What is known of one difference between runs: paired by seed, and by seed and example.

A comparison is a weighted sum of runs for each seed: a method against a baseline, or a source
against leaving it out. Verdicts of the compare page and of the transfer map both start here.
docs/verdicts.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dtvg.analysis.compare.examples import TargetExamples
from dtvg.analysis.statistics import (
    COVERAGE,
    Crossed,
    Interval,
    bootstrap_p,
    crossed_effects,
    resample_indices,
    sign_flip_p,
    student_p,
    t_interval,
    unseen,
)
from dtvg.store.reader import Run

Floats = npt.NDArray[np.float64]
Weights = Mapping[int, Mapping[Path, float]]
"""Seed → run's folder → weight of its score; the subject's are positive."""


@dataclass(frozen=True, eq=False)
class Answered:
    """One target's answers, with every run's score on the same resamples of its examples."""

    examples: TargetExamples
    runs: tuple[Run, ...]
    draw: int
    """Number of the draw; targets draw their examples independently."""

    @cached_property
    def _resampled(self) -> dict[Path, Floats]:
        return self.examples.resampled(self.runs, self.draw)

    @cached_property
    def _values(self) -> dict[Path, Floats]:
        return self.examples.values(self.runs)

    def resampled(self, weights: Weights) -> Floats | None:
        """Differences `[B S]` on resampled examples; None where a run has no answers."""
        return _summed(weights, self._resampled)

    def values(self, weights: Weights) -> Floats | None:
        """What each example contributes to the differences, `[E S]`; None as above."""
        return _summed(weights, self._values)


def _summed(weights: Weights, known: Mapping[Path, Floats]) -> Floats | None:
    """Weighted sums of runs, a column a seed in order; None where a run is not known."""
    if not weights or any(path not in known for each in weights.values() for path in each):
        return None
    return np.stack([_weighed(weights[seed], known) for seed in sorted(weights)], axis=1)


def _weighed(weights: Mapping[Path, float], known: Mapping[Path, Floats]) -> Floats:
    """One weighted sum, as means of the runs that weigh alike: equal scores then cancel out."""
    groups: dict[float, list[Floats]] = {}
    for path, weight in weights.items():
        groups.setdefault(weight, []).append(known[path])
    sums = [w * len(each) * _mean(each) for w, each in groups.items()]
    return np.asarray(reduce(np.add, sums))


def _mean(each: Sequence[Floats]) -> Floats:
    return each[0] if len(each) == 1 else np.mean(each, axis=0)


@dataclass(frozen=True, eq=False)
class Evidence:
    """A difference with its tests; p are two-sided and NaN where they cannot be known."""

    differences: Mapping[int, float]
    """Seed → difference."""
    n_examples: int
    """Answered by every run of the comparison, over its targets; 0: answers are not known."""
    fixed: Floats | None
    """Mean difference `[B]`, examples resampled, seeds as they are."""
    both: Floats | None
    """Mean difference `[B]`, seeds and examples resampled."""
    crossed: Crossed | None
    """Seeds and examples as crossed random effects."""

    @cached_property
    def d(self) -> Floats:
        """Differences by seed."""
        return np.array([self.differences[s] for s in sorted(self.differences)], dtype=np.float64)

    @cached_property
    def difference(self) -> float:
        """Mean over seeds."""
        return float(self.d.mean()) if len(self.d) else float("nan")

    @cached_property
    def p_student(self) -> float:
        """Student's t over seeds."""
        return float(student_p(self.d)) if len(self.d) > 1 else float("nan")

    @cached_property
    def p_seeds(self) -> float:
        """Exact sign flips over seeds."""
        return sign_flip_p(self.d) if len(self.d) > 1 else float("nan")

    @cached_property
    def p_both(self) -> float:
        """Seeds and examples resampled."""
        return float("nan") if self.both is None else bootstrap_p(self.both)

    @cached_property
    def p(self) -> float:
        """The larger of Student's t and resampling: both must agree."""
        return float(np.fmax(self.p_student, self.p_both)) if len(self.d) > 1 else float("nan")

    def interval(self, level: float = COVERAGE) -> Interval:
        """Return the interval that goes with `p`: from the lower to the higher end of both.

        Where every example differs by the same (mostly not at all) in every seed, resamples show
        nothing: the interval then holds what examples may do that so many did not show.
        """
        ends = t_interval(self.d, level)
        if self.both is None:
            return ends
        low, high = np.quantile(self.both, [(1 - level) / 2, (1 + level) / 2])
        ends = Interval(float(np.fmin(ends.low, low)), float(np.fmax(ends.high, high)))
        still = float(np.ptp(self.both)) <= 1e-12
        return unseen(ends, self.difference, self.n_examples, level) if still else ends


def gather(differences: Mapping[int, float], parts: Sequence[tuple[Answered, Weights]]) -> Evidence:
    """Return what is known of a difference, the mean over targets where there are several.

    Args:
        differences: seed → difference.
        parts: for each target its answers and which runs are compared; every one for the same
            seeds.
    """
    known = [part.resampled(weights) for part, weights in parts]
    found = [one for one in known if one is not None]
    if not differences or not parts or len(found) < len(parts):
        return Evidence(differences, 0, None, None, None)
    resampled = np.mean(found, axis=0)
    both, crossed, count = None, None, len(differences)
    if count > 1:
        drawn = resample_indices(count, [1, count])
        both = np.take_along_axis(resampled, drawn, axis=1).mean(axis=1)
        values = [part.values(weights) for part, weights in parts]
        if all(one is not None for one in values):
            crossed = crossed_effects([one.T for one in values if one is not None])
    examples = sum(part.examples.n_examples for part, _ in parts)
    return Evidence(differences, examples, resampled.mean(axis=1), both, crossed)
