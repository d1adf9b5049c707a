"""How close a decision was: the smallest change of one source's similarity that changes it.

Margins say when the group changes, switches when one source moves in or out; one function for
each kind of rule, of a decision taken afresh. `Grouping` adds what a memory does. Computed when
asked for, not in training. docs/method.md, "Margins".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from array_api_compat import device
from jaxtyping import Float64

from dtvg.rule.arrays import A, namespace
from dtvg.rule.ranking import rank_sources
from dtvg.rule.subsets import subset_table
from dtvg.rule.types import Grouping, RuleSettings


def no_margin(grouping: Grouping[A]) -> Float64[A, "... n"]:
    """Return infinity: no change of one similarity changes the group."""
    xp = namespace(grouping.gram)
    return xp.full_like(grouping.similarity, xp.inf)


def threshold_margin(grouping: Grouping[A]) -> Float64[A, "... n"]:
    """Return the distance to the threshold, which alone decides."""
    xp = namespace(grouping.gram)
    return xp.abs(grouping.similarity - grouping.settings.threshold)


def nearest_margin(grouping: Grouping[A]) -> Float64[A, "... n"]:
    """Return the distance to the most similar source; its own is its lead over the second."""
    if grouping.similarity.shape[-1] == 0:
        return no_margin(grouping)
    xp = namespace(grouping.gram)
    similarity, rank = grouping.similarity, grouping.rank
    first = xp.max(similarity, axis=-1)
    rest = xp.where(rank == 0, -xp.inf, similarity)
    lead = first - xp.max(rest, axis=-1)
    return xp.where(rank == 0, lead[..., None], first[..., None] - similarity)


def prefix_margin(grouping: Grouping[A]) -> Float64[A, "... n"]:
    """Return the margin of the best prefix, which depends on where a source stands.

    Every place p that source s could take among the other candidates is tried, or none. With s
    left out, the others keep their order o_1, o_2, ...; A(k) is the sum of pair products among
    the first k of them and B(k) that of s with them. Putting s at place p makes the prefix sums
    A(k) up to k = p and A(k − 1) + B(k − 1) beyond.
    """
    n = grouping.similarity.shape[-1]
    if n == 0:
        return no_margin(grouping)
    xp, threshold = namespace(grouping.gram), grouping.settings.threshold
    where = device(grouping.gram)
    gram = grouping.measured_gram()[..., 1:, 1:]
    similarity, order = grouping.similarity, grouping.order
    # others[s, j]: the j-th most similar source when s is left out; the last entry is s itself
    is_self = order[..., None, :] == xp.arange(n, device=where)[:, None]
    last = xp.argsort(xp.astype(is_self, xp.int64), axis=-1, stable=True)
    ranked = xp.broadcast_to(order[..., None, :], is_self.shape)
    others = xp.take_along_axis(ranked, last, axis=-1)[..., : n - 1]
    own = xp.take_along_axis(
        xp.broadcast_to(similarity[..., None, :], (*others.shape[:-1], n)), others, axis=-1
    )
    allowed = own >= threshold
    count = xp.sum(xp.astype(allowed, xp.int64), axis=-1)
    among, beside = _sums(xp, gram, others, count)
    k = xp.arange(1, n + 1, device=where)
    places = xp.arange(0, n, device=where)
    pairs = xp.astype(xp.where(k > 1, k * (k - 1), 1), xp.float64)
    without = xp.concat([among[..., 1:], among[..., -1:]], axis=-1)
    with_s = (among + beside)[..., None, :]
    before = k <= places[:, None]
    value = 2.0 * xp.where(before, without[..., None, :], with_s) / pairs
    value = xp.where(k <= count[..., None, None] + 1, value, -xp.inf)
    best = xp.argmax(value, axis=-1) + 1
    absent = xp.where(k <= count[..., None], 2.0 * without / pairs, -xp.inf)
    best_absent = xp.minimum(xp.argmax(absent, axis=-1) + 1, count)
    # members among the others (by their place), and whether s is one
    member_s = best > places
    taken = xp.where(member_s, best - 1, best)
    now = xp.take_along_axis(
        xp.broadcast_to(grouping.member[..., None, :], (*others.shape[:-1], n)), others, axis=-1
    )
    seats = xp.arange(n - 1, device=where)
    same = xp.all((seats < taken[..., None]) == now[..., None, :], axis=-1)
    same = same & (member_s == grouping.member[..., :, None])
    same_absent = xp.all((seats < best_absent[..., None]) == now, axis=-1) & ~grouping.member
    upper, lower = _intervals(xp, own, allowed, count, places, threshold)
    t = similarity[..., None]
    distance = xp.maximum(xp.maximum(lower - t, t - upper), xp.zeros_like(lower))
    reachable = places <= count[..., None]
    distance = xp.where(reachable & ~same, distance, xp.inf)
    leave = xp.where(same_absent, xp.inf, xp.clip(similarity - threshold, 0.0, None))
    return xp.minimum(xp.min(distance, axis=-1), leave)


def _pairs(xp: Any, gram: Any, others: Any) -> Any:
    """Inner products among `others[..., s, :]` for every s: `[... n n−1 n−1]`."""
    n, few = others.shape[-2], others.shape[-1]
    full = xp.broadcast_to(gram[..., None, :, :], (*others.shape[:-1], n, n))
    rows = xp.broadcast_to(others[..., :, None], (*others.shape, n))
    chosen = xp.take_along_axis(full, rows, axis=-2)
    columns = xp.broadcast_to(others[..., None, :], (*others.shape[:-1], few, few))
    return xp.take_along_axis(chosen, columns, axis=-1)


def _intervals(
    xp: Any, own: Any, allowed: Any, count: Any, places: Any, threshold: float
) -> tuple[Any, Any]:
    """Similarities that put s at place p: between the candidates around it, above the cut."""
    ceiling = xp.full_like(
        own[..., :1] if own.shape[-1] else xp.astype(count, xp.float64)[..., None], xp.inf
    )
    upper = xp.concat([ceiling, own], axis=-1)
    floors = xp.where(allowed, own, threshold)
    lower = xp.concat([floors, xp.full_like(ceiling, threshold)], axis=-1)
    inside = places < count[..., None]
    return upper, xp.where(inside, lower, threshold)


def exact_margin(grouping: Grouping[A]) -> Float64[A, "... n"]:
    """Return the margin of `exact`, matrix by matrix, by all subsets."""
    if grouping.similarity.shape[-1] == 0:
        return no_margin(grouping)
    xp = namespace(grouping.gram)
    gram = np.asarray(grouping.measured_gram())
    flat = gram.reshape(-1, *gram.shape[-2:])
    member = np.asarray(grouping.member).reshape(len(flat), -1)
    found = [_of_one(g, m, grouping.settings) for g, m in zip(flat, member, strict=True)]
    shaped = np.array(found).reshape(grouping.similarity.shape)
    return xp.asarray(shaped, device=device(grouping.gram))


def _of_one(gram: np.ndarray, member: np.ndarray, settings: RuleSettings) -> np.ndarray:
    """Return the margins of rule `exact` for one Gram matrix.

    Moving TS(s) by δ moves the objective of a subset holding s by δ / size (mean) or δ (sum);
    two subsets swap places where their lines cross.
    """
    n, threshold = gram.shape[-1] - 1, settings.threshold
    table, value, slope_of = _subset_lines(gram, settings)
    candidates_only = settings.exact_over == "candidates"
    is_candidate = gram[0, 1:] >= threshold
    margins = np.empty(n)
    for s in range(n):
        t = float(gram[0, 1 + s])
        others_out = table & ~is_candidate
        others_out[:, s] = False
        barred = others_out.any(axis=-1) & candidates_only
        allowed = np.asarray(~barred)
        slope = np.where(table[:, s], slope_of, 0.0)
        margins[s] = _first_change(
            value, slope, allowed, table, member, s, t, threshold if candidates_only else -np.inf
        )
    return margins


def _subset_lines(
    gram: np.ndarray, settings: RuleSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all subsets `[S n]`, their objective under `exact` `[S]`, and how much it moves with
    one member's similarity `[S]`."""
    table = subset_table(gram.shape[-1] - 1)
    weight = table.astype(np.float64)
    size = weight.sum(-1)
    slope_of = 1.0 / size if settings.exact_similarity == "mean" else np.ones_like(size)
    inner = gram[1:, 1:]
    total = ((weight @ inner) * weight).sum(-1) - weight @ np.diagonal(inner)
    consistency = np.where(size > 1, total / np.where(size > 1, size * (size - 1), 1.0), 0.0)
    value = (weight @ gram[0, 1:]) * slope_of
    return table, value + settings.consistency_weight * consistency, slope_of


def exact_switch(grouping: Grouping[np.ndarray]) -> Float64[np.ndarray, " n"]:
    """Return the signed change of each source's similarity at which `exact` moves it in or out.

    The best subset that holds s gains as TS(s) rises, the best one without s does not, so s is a
    member from one similarity on.

    Args:
        grouping: a decision of rule `exact` without leading axes.

    Returns:
        Positive where s would join, negative where it would leave, NaN where it stays whatever
        its similarity.
    """
    gram = np.asarray(grouping.measured_gram())
    settings = grouping.settings
    table, value, slope = _subset_lines(gram, settings)
    similarity = gram[0, 1:]
    cut = settings.threshold if settings.exact_over == "candidates" else -np.inf
    change = np.empty(len(similarity))
    for s, own in enumerate(similarity):
        barred = similarity < cut
        barred[s] = False
        allowed = ~(table & barred).any(axis=-1)
        holds = table[:, s]
        without = value[allowed & ~holds].max(initial=-np.inf)
        rivals = allowed & holds
        need = ((without - value[rivals]) / slope[rivals]).min()
        change[s] = max(need, cut - own)
    return np.where(np.isfinite(change), change, np.nan)


def place_switch(grouping: Grouping[np.ndarray]) -> Float64[np.ndarray, " n"]:
    """Return the signed change that moves a source in or out where only its place counts.

    Between two neighbouring similarities of the other sources, or the threshold, the group does
    not depend on where exactly a source stands, so one trial decision per gap is exact.

    Args:
        grouping: a decision without leading axes.

    Returns:
        Positive to rise, negative to fall, NaN where no change moves the source.
    """
    similarity = np.asarray(grouping.similarity)
    trial, change = _gaps(similarity, grouping.settings.threshold)
    moved = _moved(grouping, trial) & np.isfinite(change)
    distance = np.where(moved, np.abs(change), np.inf)
    best = distance.argmin(axis=1)
    found = change[np.arange(len(similarity)), best]
    return np.where(np.isfinite(distance.min(axis=1)), found, np.nan)


def _gaps(similarity: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return per source a value inside each gap between the others' similarities and the cut,
    and the signed change that reaches the gap: both `[n G]`."""
    n = len(similarity)
    trial, change = np.empty((n, n + 1)), np.empty((n, n + 1))
    for s in range(n):
        cut = threshold if np.isfinite(threshold) else similarity[s]  # no edge, one gap split
        edges = np.sort(np.append(np.delete(similarity, s), cut))
        room = max(1.0, float(np.abs(edges).max())) + abs(float(similarity[s]))
        lower = np.concatenate([[edges[0] - room], edges])
        upper = np.concatenate([edges, [edges[-1] + room]])
        trial[s] = (lower + upper) / 2
        t = similarity[s]
        rise, fall = np.maximum(lower - t, 0.0), np.minimum(upper - t, 0.0)
        change[s] = np.where(upper > lower, rise + fall, np.inf)
    return trial, change


def _moved(grouping: Grouping[np.ndarray], trial: np.ndarray) -> np.ndarray:
    """Decide again with TS(s) = trial[s, g]: `[n G]`, whether s changed sides."""
    n, gaps = trial.shape
    grams = np.broadcast_to(np.asarray(grouping.measured_gram()), (n, gaps, n + 1, n + 1)).copy()
    rows = np.arange(n)
    grams[rows, :, 0, rows + 1] = trial
    grams[rows, :, rows + 1, 0] = trial
    again, _ = grouping.entry.choose(rank_sources(grams, replace(grouping.settings, measure="dot")))
    return np.asarray(again[rows, :, rows] != np.asarray(grouping.member)[:, None], dtype=bool)


def _first_change(
    value: np.ndarray,
    slope: np.ndarray,
    allowed: np.ndarray,
    table: np.ndarray,
    member: np.ndarray,
    s: int,
    t: float,
    cut: float,
) -> float:
    """Return the smallest |δ| at which another allowed subset is best once TS(s) = t + δ.

    Below the cut, subsets holding s are not allowed at all.
    """
    holds = table[:, s]
    is_now = (table == member).all(-1)
    changes = [np.inf]
    if not is_now.any():  # empty now: s joins as soon as it passes the cut
        return float(max(cut - t, 0.0)) if (allowed & holds).any() else float("inf")
    now_value, now_slope = value[is_now][0], slope[is_now][0]
    if t < cut:  # s is barred now; from the cut on its subsets compete
        rivals = allowed & holds
        need = (now_value - value[rivals]) / slope[rivals]
        return float(np.maximum(need, cut - t).min()) if rivals.any() else float("inf")
    rivals = allowed & ~is_now & (slope != now_slope)
    crossing = (value[rivals] - now_value) / (now_slope - slope[rivals])
    down = crossing[crossing <= 0]
    within = down >= cut - t if np.isfinite(cut) else np.ones(len(down), dtype=bool)
    changes += list(np.abs(down[within])) + list(crossing[crossing >= 0])
    if np.isfinite(cut) and member[s]:
        changes.append(t - cut)
    return float(min(changes))


def _sums(xp: Any, gram: Any, others: Any, count: Any) -> tuple[Any, Any]:
    """Return A(k) and B(k) for k = 0 … n − 1: sums among the others, and of s with them."""
    zero = xp.zeros((*count.shape, 1), dtype=xp.float64, device=device(gram))
    added = xp.sum(xp.tril(_pairs(xp, gram, others), k=-1), axis=-1)
    among = xp.concat([zero, xp.cumulative_sum(added, axis=-1)], axis=-1)
    beside = xp.take_along_axis(gram, others, axis=-1)
    return among, xp.concat([zero, xp.cumulative_sum(beside, axis=-1)], axis=-1)
