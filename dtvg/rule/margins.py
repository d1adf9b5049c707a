"""How close a decision was: the smallest change of one source's similarity that changes it.

Margins say when the group changes, switches when one source moves in or out, of a decision taken
afresh: by trial decisions, or for `exact` by all subsets (up to the precision of its values).
`Grouping` adds what a memory does. Computed when asked for, not in training. docs/method.md.
"""

from __future__ import annotations

from dataclasses import fields, replace
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


def place_margin(grouping: Grouping[A]) -> Float64[A, "... n"]:
    """Return the margin where only the place of a source counts, by trial decisions.

    Between two neighbouring edges (where its similarity meets another's or the cut, as far as
    rounding blurs them) the group does not depend on where exactly a source stands.
    """
    if grouping.similarity.shape[-1] == 0:
        return no_margin(grouping)
    xp, lead = namespace(grouping.gram), grouping.similarity.shape[:-1]
    found = [_tried(_one(grouping, at))[0] for at in np.ndindex(tuple(lead))]
    shaped = np.array(found).reshape(grouping.similarity.shape)
    return xp.asarray(shaped, device=device(grouping.gram))


def place_switch(grouping: Grouping[np.ndarray]) -> Float64[np.ndarray, " n"]:
    """Return the signed change that moves a source in or out where only its place counts.

    Args:
        grouping: a decision without leading axes.

    Returns:
        Positive to rise, negative to fall, NaN where no change moves the source.
    """
    return _tried(grouping)[1]


def _one(grouping: Grouping[Any], at: tuple[int, ...]) -> Grouping[np.ndarray]:
    """Return one of many decisions, in NumPy."""
    names = [f.name for f in fields(Grouping) if f.name not in ("settings", "entry", "rule")]
    values = {name: getattr(grouping, name) for name in names}
    one: dict[str, Any] = {k: None if v is None else np.asarray(v)[at] for k, v in values.items()}
    return replace(grouping, **one)


def _tried(grouping: Grouping[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest change `[n]` that alters the group, and the signed one that moves the
    source itself (infinite and NaN where none does)."""
    n = len(grouping.similarity)
    margin, switch = np.full(n, np.inf), np.full(n, np.nan)
    for s in range(n):
        trial, change = _gaps(grouping, s)
        moved = _again(grouping, s, trial) != grouping.member
        margin[s] = np.abs(change[moved.any(axis=-1)]).min(initial=np.inf)
        own = change[moved[:, s]]
        if len(own):
            switch[s] = own[np.abs(own).argmin()]
    return margin, switch


def _gaps(grouping: Grouping[np.ndarray], s: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a value of TS(s) inside each gap between its edges, and the signed change that
    reaches the gap: both `[G]`."""
    similarity, spread = np.asarray(grouping.similarity), np.asarray(grouping.spread)[0, 1:]
    t, cut = float(similarity[s]), grouping.settings.threshold
    others = np.delete(similarity, s)
    touch = np.delete(spread, s) + spread[s]
    edges = np.concatenate([others - touch, others + touch])
    if np.isfinite(cut):
        edges = np.append(edges, cut - spread[s])
    edges = np.unique(edges) if len(edges) else np.array([t])
    room = max(1.0, float(np.abs(edges).max())) + abs(t)
    lower = np.concatenate([[edges[0] - room], edges])
    upper = np.concatenate([edges, [edges[-1] + room]])
    return (lower + upper) / 2, np.maximum(lower - t, 0.0) + np.minimum(upper - t, 0.0)


def _again(grouping: Grouping[np.ndarray], s: int, values: np.ndarray) -> np.ndarray:
    """Decide again with TS(s) at each of the values: members `[G n]`."""
    inner = np.asarray(grouping.measured_gram())
    grams = np.repeat(inner[None], len(values), axis=0)
    grams[:, 0, 1 + s] = grams[:, 1 + s, 0] = values
    ranking = rank_sources(grams, replace(grouping.settings, measure="dot"))
    shape = ranking.similarity.shape
    draws = None if grouping.draws is None else np.broadcast_to(grouping.draws, shape)
    squares = np.broadcast_to(grouping.squares, shape)
    again, _ = grouping.entry.choose(replace(ranking, draws=draws, squares=squares))
    return np.asarray(again)


def exact_margin(grouping: Grouping[A]) -> Float64[A, "... n"]:
    """Return the margin of `exact`, matrix by matrix, by all subsets."""
    if grouping.similarity.shape[-1] == 0:
        return no_margin(grouping)
    xp = namespace(grouping.gram)
    gram = np.asarray(grouping.measured_gram())
    flat = gram.reshape(-1, *gram.shape[-2:])
    member = np.asarray(grouping.member).reshape(len(flat), -1)
    spread = np.asarray(grouping.spread)[..., 0, 1:].reshape(len(flat), -1)
    found = [
        _of_one(g, m, grouping.settings, blur)
        for g, m, blur in zip(flat, member, spread, strict=True)
    ]
    shaped = np.array(found).reshape(grouping.similarity.shape)
    return xp.asarray(shaped, device=device(grouping.gram))


def _of_one(
    gram: np.ndarray, member: np.ndarray, settings: RuleSettings, blur: np.ndarray
) -> np.ndarray:
    """Return the margins of rule `exact` for one Gram matrix.

    Moving TS(s) by δ moves the objective of a subset holding s by δ / size (mean) or δ (sum);
    two subsets swap places where their lines cross.
    """
    n, cuts = gram.shape[-1] - 1, settings.threshold - blur
    table, value, slope_of = _subset_lines(gram, settings)
    candidates_only = settings.exact_over == "candidates"
    is_candidate = gram[0, 1:] >= cuts
    margins = np.empty(n)
    for s in range(n):
        t = float(gram[0, 1 + s])
        others_out = table & ~is_candidate
        others_out[:, s] = False
        barred = others_out.any(axis=-1) & candidates_only
        allowed = np.asarray(~barred)
        slope = np.where(table[:, s], slope_of, 0.0)
        margins[s] = _first_change(
            value, slope, allowed, table, member, s, t, cuts[s] if candidates_only else -np.inf
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
    cuts = settings.threshold - np.asarray(grouping.spread)[0, 1:]
    if settings.exact_over != "candidates":
        cuts = np.full(len(similarity), -np.inf)
    change = np.empty(len(similarity))
    for s, own in enumerate(similarity):
        barred = similarity < cuts
        barred[s] = False
        allowed = ~(table & barred).any(axis=-1)
        holds = table[:, s]
        without = value[allowed & ~holds].max(initial=-np.inf)
        rivals = allowed & holds
        need = ((without - value[rivals]) / slope[rivals]).min()
        change[s] = max(need, cuts[s] - own)
    return np.where(np.isfinite(change), change, np.nan)


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
