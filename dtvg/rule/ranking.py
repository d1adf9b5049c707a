"""Ranking the sources: similarity, candidates, and consistency of every prefix.

What `decide` does first under every rule. docs/method.md, Stage II, steps 2 to 4.
"""

from __future__ import annotations

from array_api_compat import device
from jaxtyping import Bool, Float, Float64, Int

from dtvg.errors import ConfigError
from dtvg.rule.arrays import A, measured, namespace
from dtvg.rule.precision import (
    ROUNDINGS,
    UNIT,
    chained_order,
    lengths_of,
    prefix_means,
    zero_target,
)
from dtvg.rule.types import Ranking, RuleSettings


def rank_sources(gram: Float[A, " ..."], settings: RuleSettings) -> Ranking[A]:
    """Rank the sources by similarity and compute what every rule chooses from.

    Args:
        gram: `[... m m]`, target first.
        settings: their measure, threshold and version are read.

    Raises:
        ConfigError: a Gram matrix that is not square or has no target row.
    """
    if gram.ndim < 2 or gram.shape[-1] != gram.shape[-2] or gram.shape[-1] < 1:
        raise ConfigError(
            f"A Gram matrix has shape [..., m, m] with the target first; got {tuple(gram.shape)}."
        )
    xp = namespace(gram)
    wide = measured(gram, settings.measure)
    similarity = wide[..., 0, 1:]
    squares = xp.astype(xp.linalg.diagonal(gram)[..., 1:], xp.float64)
    if settings.version == 1 or similarity.shape[-1] == 0:
        order = xp.argsort(-similarity, axis=-1, stable=True)
        n_candidates = xp.sum(xp.astype(similarity >= settings.threshold, xp.int64), axis=-1)
        by_prefix = _consistency_by_prefix(wide[..., 1:, 1:], order, n_candidates)
    else:
        length = lengths_of(gram, settings.measure)
        spread = (ROUNDINGS * UNIT) * length[..., :1] * length[..., 1:]
        order, chain = chained_order(similarity, spread)
        n_candidates = _reaching(similarity + spread >= settings.threshold, order, chain)
        n_candidates = xp.where(zero_target(gram), 0, n_candidates)
        by_prefix = prefix_means(wide[..., 1:, 1:], order, n_candidates)
    rank = xp.argsort(order, axis=-1, stable=True)
    return Ranking(
        gram, similarity, order, rank, n_candidates, by_prefix, settings, squares=squares
    )


def _reaching(
    reaches: Bool[A, "... n"], order: Int[A, "... n"], chain: Int[A, "... n"]
) -> Int[A, " ..."]:
    """Return how many sources stand in a chain that reaches the cut, or before such a chain."""
    xp = namespace(chain)
    inside = xp.take_along_axis(reaches, order, axis=-1)
    last = xp.max(xp.where(inside, chain, -1), axis=-1)
    return xp.sum(xp.astype(chain <= last[..., None], xp.int64), axis=-1)


def _consistency_by_prefix(
    inner: Float64[A, "... n n"], order: Int[A, "... n"], n_candidates: Int[A, " ..."]
) -> Float64[A, "... n"]:
    """Return KC(k) for k = 1..n, 0 beyond the candidates, as version 1 adds it up."""
    xp, n = namespace(inner), order.shape[-1]
    places = xp.arange(1, n + 1, device=device(order))
    rows = xp.broadcast_to(order[..., :, None], (*order.shape, n))
    pairs = xp.take_along_axis(inner, rows, axis=-2)
    pairs = xp.take_along_axis(pairs, xp.matrix_transpose(rows), axis=-1)
    added = xp.sum(xp.tril(pairs, k=-1), axis=-1)
    counts = xp.astype(places * (places - 1), xp.float64)
    total = 2.0 * xp.cumulative_sum(added, axis=-1)
    by_prefix = total / xp.where(counts > 0, counts, 1.0)
    return xp.where(places <= n_candidates[..., None], by_prefix, 0.0)
