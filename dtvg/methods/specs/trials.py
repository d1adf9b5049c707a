"""Subsets of sources as trials: which are trained, and the linear fit of what they scored.

Shared by the methods that search subsets, and read by pages. arXiv 2303.14582, sections 3 and
4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BeforeValidator, Field

from dtvg.errors import NumericsError
from dtvg.methods.specs.base import MethodConfig, Subset
from dtvg.methods.specs.rates import RATE_FIELDS, TUNED

OF_SUBSET = "-of-"
"""In the label of a run on a subset, between the label of its search and the subset."""
DRAWS = 1_000_000
"""Subsets drawn with the chance that was asked for; what is left of nearly all subsets after so
many would hardly ever come up."""
DECIMALS = 10
"""Of a coefficient: what is smaller is rounding, which differs between processors and never
chooses a source."""


def list_of_names(value: Any) -> Any:
    """Let text such as `mnli, qqp` stand for a list of sources, and sort out repetitions."""
    if isinstance(value, str):
        value = [part for part in value.replace(",", " ").split() if part]
    if isinstance(value, list | tuple) and len(set(value)) < len(value):
        raise ValueError("a source is named twice; name each source once")
    return value


class SubsetConfig(MethodConfig):
    """What the methods have in common that merge a subset of sources chosen before training."""

    weights = "given"

    subset: Annotated[Subset | None, BeforeValidator(list_of_names)] = Field(
        None,
        description="Sources merged at every step, for one given subset only; empty: the "
        "method makes a run for each subset it needs.",
    )

    @property
    def subset_of_sources(self) -> Subset | None:
        """The sources merged, where the run judges a subset."""
        return self.subset

    @property
    def label(self) -> str:
        """The name, the settings not at default, and the subset."""
        plain = super().label if self.subset is None else self.stackable().label
        return (
            plain if self.subset is None else f"{plain}{OF_SUBSET}{'.'.join(self.subset) or 'none'}"
        )

    def named_sources(self) -> Subset:
        """The sources of the subset."""
        return self.subset or ()

    def unread(self) -> dict[str, str]:
        """How subsets are drawn and judged, where one is given."""
        if self.subset is None:
            return {}
        known = {*RATE_FIELDS, TUNED, "name", "subset"}
        names = (name for name in type(self).model_fields if name not in known)
        return dict.fromkeys(names, "it has one given subset")

    def of(self, subset: Subset) -> Self:
        """Return the configuration of the run that judges a subset."""
        return self.model_copy(update={"subset": subset})

    def chosen(self, sources: Subset) -> tuple[bool, ...] | None:
        """Return which sources the subset has."""
        return None if self.subset is None else tuple(name in self.subset for name in sources)

    def stackable(self) -> Self:
        """The subset differs run by run."""
        return self.model_copy(update={"subset": None})


def all_subsets(sources: Sequence[str]) -> tuple[Subset, ...]:
    """Return all 2^n subsets, the smaller first, sources in their own order."""
    sizes = range(len(sources) + 1)
    return tuple(subset for size in sizes for subset in combinations(sources, size))


def drawn_subsets(
    sources: Sequence[str], count: int, include: float, seed: int
) -> tuple[Subset, ...]:
    """Draw distinct subsets that tell the sources apart; all where `count` reaches them.

    The empty and the whole set are always among them, the rest holds each source independently
    with chance `include`. They come in the order of `all_subsets`.

    Args:
        sources: in their own order.
        count: how many; raised to n + 2, which a fit with a residual needs.
        include: chance of a source.
        seed: of the draw.

    Returns:
        Subsets whose indicator matrix with a column of ones has full rank.
    """
    return _drawn(tuple(sources), count, include, seed)


def drawn_count(sources: int, count: int) -> int:
    """Return how many subsets `drawn_subsets` draws."""
    wanted = max(count, sources + 2)
    return min(wanted, 2**sources) if sources <= 16 else wanted


@lru_cache(maxsize=256)
def _drawn(sources: Subset, count: int, include: float, seed: int) -> tuple[Subset, ...]:
    n, count = len(sources), drawn_count(len(sources), count)
    if n <= 16 and count >= 2**n:
        return all_subsets(sources)
    generator = np.random.default_rng([seed, n, count])
    while True:
        found = {(False,) * n: None, (True,) * n: None}
        draws = 0
        while len(found) < count:
            chance = include if draws < DRAWS else 0.5  # then every subset comes up alike
            found[tuple(bool(x) for x in generator.random(n) < chance)] = None
            draws += 1
        design = np.column_stack([np.ones(count), np.array(list(found), dtype=float)])
        if np.linalg.matrix_rank(design) == n + 1:
            break
    masks = sorted(found, key=lambda mask: (sum(mask), [not held for held in mask]))
    return tuple(tuple(s for s, held in zip(sources, mask, strict=True) if held) for mask in masks)


@dataclass(frozen=True)
class SurrogateFit:
    """`score ≈ intercept + Σ coefficient_s · [s in subset]`, by least squares.

    Every value is a score, 0..1; a coefficient is what a source adds on average over subsets.
    """

    sources: Subset
    intercept: float
    coefficients: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    """Bounds of each coefficient's t interval; NaN without degrees of freedom."""
    r_squared: float
    n_trials: int
    blocks: int = 1
    """Groups of trials (seeds) with an intercept each; `intercept` is their mean."""

    def kept(self, threshold: float = 0.0) -> Subset:
        """Return the sources whose coefficient is above the threshold."""
        pairs = zip(self.sources, self.coefficients, strict=True)
        return tuple(name for name, value in pairs if value > threshold)

    def to_json(self) -> dict[str, Any]:
        """Return what a run's result keeps; unknown bounds as None."""
        rows = zip(self.sources, self.coefficients, self.low, self.high, strict=True)
        return {
            "coefficients": {
                name: [value, *(None if np.isnan(x) else x for x in bounds)]
                for name, value, *bounds in rows
            },
            "intercept": self.intercept,
            "r_squared": None if np.isnan(self.r_squared) else self.r_squared,
            "n_trials": self.n_trials,
        }


def fit_surrogate(
    sources: Sequence[str],
    subsets: Sequence[Subset],
    scores: Sequence[float],
    coverage: float = 0.95,
    blocks: Sequence[Any] | None = None,
) -> SurrogateFit:
    """Fit the linear surrogate of the score of a subset.

    Args:
        sources: all of them, in their order.
        subsets: what was trained on, `N`.
        scores: of each, 0..1.
        coverage: of the intervals.
        blocks: label of each trial (its seed); each block has an intercept of its own, so that
            seeds that are better as a whole do not blur the sources' coefficients.

    Raises:
        NumericsError: the trials do not tell the sources apart.
    """
    from scipy.stats import t as student

    labels = list(dict.fromkeys(blocks)) if blocks is not None else [None]
    given = list(blocks) if blocks is not None else [None] * len(subsets)
    ones = np.array([[float(b == label) for label in labels] for b in given])
    design = np.column_stack(
        [ones.reshape(len(subsets), len(labels)), [[s in t for s in sources] for t in subsets]]
    ).astype(float)
    values = np.asarray(scores, dtype=float)
    if len(subsets) == 0 or np.linalg.matrix_rank(design) < design.shape[1]:
        raise NumericsError(
            f"{len(subsets)} finished trials cannot tell {len(sources)} sources apart; "
            f"at least {len(sources) + len(labels)} different subsets are needed. Resume the "
            "unfinished trials, or raise 'samples'."
        )
    solution = np.linalg.lstsq(design, values, rcond=None)[0]
    left = values - design @ solution
    freedom = len(values) - design.shape[1]
    total = float(np.square(values - ones @ (ones.T @ values / ones.sum(0))).sum())
    explained = 1.0 - float(np.square(left).sum()) / total if total > 1e-18 else float("nan")
    if freedom > 0:
        variance = float(np.square(left).sum()) / freedom
        spread = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))[len(labels) :]
        half = float(student.ppf(0.5 + coverage / 2, freedom)) * spread
    else:
        half = np.full(len(sources), np.nan)
    found = np.round(solution[len(labels) :], DECIMALS) + 0.0  # no -0
    return SurrogateFit(
        tuple(sources),
        float(solution[: len(labels)].mean()),
        tuple(found.tolist()),
        tuple((found - half).tolist()),
        tuple((found + half).tolist()),
        explained,
        len(values),
        len(labels),
    )


def best_subset_of(scores: Mapping[Subset, Sequence[float]]) -> Subset:
    """Return the subset with the highest mean score; the smaller, then earlier one on ties.

    Args:
        scores: per subset, in the order of `all_subsets`, one score per seed.
    """
    return max(scores, key=lambda subset: math.fsum(scores[subset]) / len(scores[subset]))
