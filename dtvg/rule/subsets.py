"""Subsets of sources and what the searching rules score them by.

`exact` scores every subset by similarity and consistency, `consistency_only` every pair.
docs/method.md, "Rules that search subsets".
"""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
from array_api_compat import device
from jaxtyping import Bool, Float64

from dtvg.errors import ConfigError
from dtvg.rule.arrays import A, namespace
from dtvg.rule.precision import first_near_best
from dtvg.rule.types import Ranking, RuleSettings

MAX_EXACT_SOURCES = 20
"""Most sources whose subsets are all compared."""


def best_subset(
    subsets: Bool[A, "S n"], value: Float64[A, "... S"], spread: Float64[A, "... S"] | None = None
) -> tuple[Bool[A, "... n"], Float64[A, " ..."]]:
    """Return the first subset of highest value and its lead; empty where all are −inf.

    The lead is NaN where no second subset is allowed.

    Args:
        subsets: in the order that decides between equal ones.
        value: of each.
        spread: how far rounding may have moved each; None: values are compared as they are.
    """
    xp = namespace(value)
    top = xp.max(value, axis=-1)
    best, lead = xp.argmax(value, axis=-1), None
    if spread is not None:
        best, lead = first_near_best(value, spread)
    member = xp.take(subsets, xp.reshape(best, (-1,)), axis=0)
    member = xp.reshape(member, (*best.shape, subsets.shape[-1])) & (top > -xp.inf)[..., None]
    if lead is not None:
        return member, lead
    places = xp.arange(value.shape[-1], device=device(value))
    second = xp.max(xp.where(places == best[..., None], -xp.inf, value), axis=-1)
    known = (top > -xp.inf) & (second > -xp.inf)
    lead = xp.where(known, top, 0.0) - xp.where(known, second, 0.0)
    return member, xp.where(known, lead, xp.nan)


def pair_objective(ranking: Ranking[A]) -> tuple[Bool[A, "S n"], Float64[A, "... S"]]:
    """Return subsets and values of `consistency_only`: nothing (0), then every pair's consistency.

    A mean over pairs cannot beat its best pair, so larger sets need no look.
    """
    gram = ranking.measured_gram()
    xp = namespace(gram)
    n = gram.shape[-1] - 1
    table = np.zeros((1 + comb(n, 2), n), dtype=bool)
    first, second = np.triu_indices(n, k=1)
    table[np.arange(1, len(table)), first] = True
    table[np.arange(1, len(table)), second] = True
    where = device(gram)
    flat = xp.reshape(gram[..., 1:, 1:], (*gram.shape[:-2], n * n))
    picks = xp.asarray(first * n + second, device=where)
    pairs = xp.take(flat, picks, axis=-1)
    nothing = xp.zeros((*gram.shape[:-2], 1), dtype=xp.float64, device=where)
    return xp.asarray(table, device=where), xp.concat([nothing, pairs], axis=-1)


def pair_spread(ranking: Ranking[A]) -> Float64[A, "... S"]:
    """Return how far rounding may have moved each value of `pair_objective`."""
    spread = ranking.spread
    xp, n = namespace(spread), spread.shape[-1] - 1
    first, second = np.triu_indices(n, k=1)
    where = device(spread)
    flat = xp.reshape(spread[..., 1:, 1:], (*spread.shape[:-2], n * n))
    pairs = xp.take(flat, xp.asarray(first * n + second, device=where), axis=-1)
    nothing = xp.zeros((*spread.shape[:-2], 1), dtype=xp.float64, device=where)
    return xp.concat([nothing, pairs], axis=-1)


def subset_table(n: int) -> np.ndarray:
    """Return all non-empty subsets of n sources `[2^n − 1, n]`: smaller first, then earlier."""
    if n > MAX_EXACT_SOURCES:
        raise ConfigError(
            f"Rule 'exact' compares all subsets, so it takes at most {MAX_EXACT_SOURCES} sources; "
            f"got {n}. Use rule 'greedy', or fewer sources."
        )
    table = np.zeros((2**n - 1, n), dtype=bool)
    row = 0
    for size in range(1, n + 1):
        chosen = np.array(list(combinations(range(n), size)), dtype=np.int64)
        rows = np.arange(row, row + len(chosen))
        table[rows[:, None], chosen] = True
        row += len(chosen)
    return table


def subset_objective(ranking: Ranking[A]) -> tuple[Bool[A, "S n"], Float64[A, "... S"]]:
    """Return subsets and values of `exact`: similarity + λ · consistency; −inf if not allowed."""
    gram = ranking.measured_gram()
    xp = namespace(gram)
    table = subset_table(gram.shape[-1] - 1)
    weight = xp.asarray(table.astype(np.float64), device=device(gram))
    value = _scored(gram, weight, ranking.settings)
    if ranking.settings.exact_over == "candidates":
        barred = xp.astype(~ranking.candidate, xp.float64)
        outside = xp.matmul(weight, barred[..., None])[..., 0]
        value = xp.where(outside > 0, -xp.inf, value)
    return xp.asarray(table, device=device(gram)), value


def subset_spread(ranking: Ranking[A]) -> Float64[A, "... S"]:
    """Return how far rounding may have moved each value of `subset_objective`."""
    spread = ranking.spread
    xp = namespace(spread)
    table = subset_table(spread.shape[-1] - 1)
    weight = xp.asarray(table.astype(np.float64), device=device(spread))
    return _scored(spread, weight, ranking.settings)


def _scored(
    gram: Float64[A, "... m m"], weight: Float64[A, "S n"], settings: RuleSettings
) -> Float64[A, "... S"]:
    """Return similarity + λ · consistency of every subset, given as 0 and 1."""
    xp = namespace(gram)
    size = xp.sum(weight, axis=-1)
    similarity = xp.matmul(weight, gram[..., 0, 1:, None])[..., 0]
    if settings.exact_similarity == "mean":
        similarity = similarity / size
    inner = gram[..., 1:, 1:]
    total = xp.sum(xp.matmul(weight, inner) * weight, axis=-1)
    own = xp.matmul(weight, xp.linalg.diagonal(inner)[..., None])[..., 0]
    pairs = xp.where(size > 1, size * (size - 1), 1.0)
    consistency = xp.where(size > 1, (total - own) / pairs, 0.0)
    return similarity + settings.consistency_weight * consistency
