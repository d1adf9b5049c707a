"""How exactly a Gram matrix is known, and which of its numbers tie within that.

From version 2 of the rule on, numbers whose intervals of rounding touch are ties. Additions
stand in a fixed order, so that NumPy and torch agree bit for bit. docs/method.md, "Ties, and
versions of the rule".
"""

from __future__ import annotations

from array_api_compat import device
from jaxtyping import Bool, Float, Float64, Int

from dtvg.rule.arrays import A, namespace, root

UNIT = 2.0**-23
"""ε of float32, the precision of every Gram matrix."""
ROUNDINGS = 4.0
"""Half the width of an entry's interval, in ε times the largest size its d terms can add up to.
Two entries tie within twice that; one was measured to be off by 5 ε at most."""


def lengths_of(gram: Float[A, "... m m"], measure: str = "dot") -> Float64[A, "... m"]:
    """Return √G_ii of every vector as it is compared: of cosines 1, or 0 for a zero vector."""
    xp = namespace(gram)
    squares = xp.clip(xp.astype(xp.linalg.diagonal(gram), xp.float64), 0.0, None)
    return root(squares) if measure == "dot" else xp.astype(squares > 0, xp.float64)


def spread_of(lengths: Float64[A, "... m"]) -> Float64[A, "... m m"]:
    """Return half the width of every entry's interval of rounding: `4 ε √(G_ii G_jj)`.

    An inner product of float32 vectors adds d terms, whose sizes add up to at most ‖v_i‖ ‖v_j‖.

    Args:
        lengths: from `lengths_of`.
    """
    return (ROUNDINGS * UNIT) * lengths[..., :, None] * lengths[..., None, :]


def chained_order(
    value: Float64[A, "... n"], spread: Float64[A, "... n"]
) -> tuple[Int[A, "... n"], Int[A, "... n"]]:
    """Rank by falling value; values whose intervals touch, directly or in a chain, tie.

    Args:
        value: of every source.
        spread: half the width of its interval.

    Returns:
        Source indices, the highest first, ties in source order; and for each place of that order
        the number of its chain, from 0.
    """
    xp, n = namespace(value), value.shape[-1]
    where = device(value)
    rough = xp.argsort(-value, axis=-1, stable=True)
    high = xp.take_along_axis(value, rough, axis=-1)
    half = xp.take_along_axis(spread, rough, axis=-1)
    places = xp.arange(n, device=where)
    touch = high[..., :, None] <= high[..., None, :] + (half[..., :, None] + half[..., None, :])
    touch = xp.astype(touch & (places[:, None] < places), xp.int64)
    # pairs that touch across the gap behind a place: begun before it and not ended
    across = xp.cumulative_sum(xp.sum(touch, axis=-1) - xp.sum(touch, axis=-2), axis=-1)
    parted = xp.astype(across[..., :-1] == 0, xp.int64)
    first = xp.zeros((*value.shape[:-1], 1), dtype=xp.int64, device=where)
    chain = xp.concat([first, xp.cumulative_sum(parted, axis=-1)], axis=-1)
    turned = xp.argsort(chain * n + rough, axis=-1)  # all different
    return xp.take_along_axis(rough, turned, axis=-1), chain


def prefix_means(
    inner: Float64[A, "... n n"], order: Int[A, "... n"], n_candidates: Int[A, " ..."]
) -> Float64[A, "... n"]:
    """Return the mean over pairs i ≠ j of the first k, for k = 1..n; 0 beyond the candidates.

    Added up term by term in the order of the ranking, whatever the library.
    """
    xp, n = namespace(inner), order.shape[-1]
    rows = xp.broadcast_to(order[..., :, None], (*order.shape, n))
    pairs = xp.take_along_axis(inner, rows, axis=-2)
    pairs = xp.tril(xp.take_along_axis(pairs, xp.matrix_transpose(rows), axis=-1), k=-1)
    added = pairs[..., 0]
    for j in range(1, n):
        added = added + pairs[..., j]
    totals = [added[..., 0]]
    for k in range(1, n):
        totals.append(totals[-1] + added[..., k])
    places = xp.arange(1, n + 1, device=device(order))
    counts = xp.astype(places * (places - 1), xp.float64)
    by_prefix = 2.0 * xp.stack(totals, axis=-1) / xp.where(counts > 0, counts, 1.0)
    return xp.where(places <= n_candidates[..., None], by_prefix, 0.0)


def prefix_spread(lengths: Float64[A, "... n"], order: Int[A, "... n"]) -> Float64[A, "... n"]:
    """Return how far rounding may have moved each of `prefix_means`: the mean over its pairs.

    Args:
        lengths: √G_ss of every source.
        order: sources as they are ranked.
    """
    xp, n = namespace(lengths), order.shape[-1]
    ranked = xp.take_along_axis(lengths, order, axis=-1)
    total, squares, means = ranked[..., 0], ranked[..., 0] * ranked[..., 0], []
    for k in range(n):
        if k > 0:
            total = total + ranked[..., k]
            squares = squares + ranked[..., k] * ranked[..., k]
        # the sum over pairs i ≠ j of √G_ii √G_jj
        means.append((total * total - squares) / max(1, k * (k + 1)))
    return (ROUNDINGS * UNIT) * xp.clip(xp.stack(means, axis=-1), 0.0, None)


def first_near_best(
    value: Float64[A, "... k"], spread: Float64[A, "... k"]
) -> tuple[Int[A, " ..."], Float64[A, " ..."]]:
    """Return the first of the values that tie with the highest, and its lead.

    A value ties if its interval reaches up to the highest lower end of all intervals.

    Args:
        value: to choose from, −∞ where not allowed.
        spread: half the width of each value's interval.

    Returns:
        The place, and by how much its value exceeds all others: 0 where another one ties.
    """
    xp = namespace(value)
    floor = xp.max(value - spread, axis=-1)
    near = (value + spread >= floor[..., None]) & (value > -xp.inf)
    best = xp.argmax(xp.astype(near, xp.int64), axis=-1)
    places = xp.arange(value.shape[-1], device=device(value))
    chosen = places == best[..., None]
    top = xp.max(xp.where(chosen, value, -xp.inf), axis=-1)
    rest = xp.max(xp.where(chosen, -xp.inf, value), axis=-1)
    known = (top > -xp.inf) & (rest > -xp.inf)
    lead = xp.where(known, top, 0.0) - xp.where(known, rest, 0.0)
    lead = xp.where(xp.any(near & ~chosen, axis=-1), 0.0, lead)
    return best, xp.where(known, lead, xp.nan)


def zero_target(gram: Float[A, "... m m"]) -> Bool[A, " ..."]:
    """Whether the target's vector is zero: its whole row of the Gram matrix is."""
    xp = namespace(gram)
    return xp.all(gram[..., 0, :] == 0, axis=-1)
