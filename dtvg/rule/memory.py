"""Rules with a memory: when the last group is kept, and deciding a whole log step by step.

`fixed` never regroups, `regroup_every` regroups at steps 1, 1 + k, 1 + 2k, …, `hysteresis` keeps
a group unless another's objective beats it clearly. What is kept is a pure function of the
Gram matrix, the previous members and the step, so a scan over a log gives the logged groups.
Array-API code; must import neither torch nor streamlit. docs/method.md, "Rules with a memory".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from array_api_compat import array_namespace, device

from dtvg.rule.subsets import mean_over_pairs

if TYPE_CHECKING:
    from dtvg.rule.decide import Grouping

Array = Any
_CHUNK = 4096
"""Steps decided at once."""
_FIRST_LOOK = 64
"""Steps looked ahead after a change of group; doubled while nothing changes."""


def is_stateful(rule: str, regroup_every: int = 1, hysteresis: float | None = None) -> bool:
    """Whether a decision depends on the one before it."""
    return rule == "fixed" or regroup_every > 1 or hysteresis is not None


def stateful_settings(settings: Mapping[str, Any]) -> bool:
    """Whether `decide` with these arguments depends on the decision before."""
    every, slack = int(settings.get("regroup_every", 1)), settings.get("hysteresis")
    return is_stateful(str(settings.get("rule", "greedy")), every, slack)


def objective(grouping: Grouping, member: Array) -> Array:
    """Return what a rule maximises, for any group: the number that hysteresis compares.

    `greedy`, `fixed`, `consistency_only`: KC. `similarity_only`: Σ (TS − threshold) over members.
    `exact`: similarity + λ · KC. `nearest`: TS. `all_sources`, `empty`: 0. A group the rule could
    never choose at this step has −∞: a member that is no candidate any more (`greedy`, `fixed`,
    `exact` over candidates), or nobody where there is somebody to take.

    Args:
        grouping: a decision; its Gram matrix, candidates, rule and settings are used.
        member: `[... n]` bool.

    Returns:
        `[...]` float64.
    """
    xp = array_namespace(grouping.gram)
    wide = grouping.measured_gram()
    settings, rule = grouping.settings, grouping.rule
    weight = xp.astype(member, xp.float64)
    size = xp.sum(weight, axis=-1)
    if rule in ("all_sources", "empty"):
        return xp.zeros_like(size)
    outside = xp.any(member & ~(grouping.similarity >= settings["threshold"]), axis=-1)
    never = (size == 0) & (grouping.n_candidates > 0)
    if rule == "similarity_only":
        return xp.sum((grouping.similarity - settings["threshold"]) * weight, axis=-1)
    similarity = xp.sum(grouping.similarity * weight, axis=-1)
    if rule == "nearest":
        return xp.where(size == 0, -xp.inf, similarity)
    value = mean_over_pairs(xp, wide[..., 1:, 1:], member)
    if rule in ("greedy", "fixed"):
        return xp.where(outside | never, -xp.inf, value)
    if rule == "consistency_only":
        return value
    if settings["exact_similarity"] == "mean":
        similarity = similarity / xp.where(size > 0, size, 1.0)
    barred = (size == 0) | (outside & (settings["exact_over"] == "candidates"))
    return xp.where(barred, -xp.inf, similarity + settings["consistency_weight"] * value)


def holds(fresh: Grouping, previous: Array, step: int | Array | None) -> tuple[Array, Array]:
    """Return whether the previous group stays `[...]`, and the members then `[... n]`.

    Args:
        fresh: the decision the rule would take without a memory.
        previous: `[... n]` bool, members of the step before.
        step: number of this step, from 1; None: a step at which the group may change.
    """
    xp = array_namespace(fresh.gram)
    where = device(fresh.gram)
    member = fresh.member
    previous = xp.broadcast_to(xp.asarray(previous, device=where), member.shape)
    number = xp.asarray(1 if step is None else step, device=where)
    first = xp.broadcast_to((number <= 1) & (step is not None), member.shape[:-1])
    if fresh.rule == "fixed":
        keep = ~first
    else:
        between = (number - 1) % int(fresh.settings["regroup_every"]) != 0
        keep = xp.broadcast_to(between, member.shape[:-1])
        if fresh.settings["hysteresis"] is not None:
            keep = keep | close_enough(fresh, previous, objective(fresh, member))
        keep = keep & ~first
    return keep, xp.where(keep[..., None], previous, member)


def close_enough(fresh: Grouping, group: Array, best: Array) -> Array:
    """Whether a group is admissible and within the hysteresis of the best objective `[...]`."""
    xp = array_namespace(fresh.gram)
    own = objective(fresh, group)
    slack = float(fresh.settings["hysteresis"])
    room = slack * xp.abs(best) if fresh.settings["hysteresis_unit"] == "relative" else slack
    possible = (own > -xp.inf) & (best > -xp.inf)
    gap = xp.where(possible, best, 0.0) - xp.where(possible, own, 0.0)
    return possible & (gap <= room)


def decide_steps(
    grams: np.ndarray, steps: np.ndarray, chunk: int = _CHUNK, **settings: Any
) -> Grouping:
    """Decide every step of one run's log, each with the group of the step before.

    Equal to calling `decide` step by step with `previous` and `step`, but rules without a memory
    are decided all at once, and hysteresis looks ahead instead of walking.

    Args:
        grams: `[S m m]` of consecutive steps from the run's first on.
        steps: `[S]` their numbers.
        chunk: steps decided at once (rule `exact` holds all subsets for each).
        settings: arguments of `decide`.
    """
    from dtvg.rule.decide import decide

    parts = [decide(grams[i : i + chunk], **settings) for i in range(0, max(1, len(grams)), chunk)]
    fresh = parts[0] if len(parts) == 1 else _joined(parts)
    if not stateful_settings(settings) or not len(grams):
        return fresh
    if fresh.rule == "fixed":
        source = np.zeros(len(steps), dtype=np.int64)
    else:
        source = _regrouped_at(fresh, np.asarray(steps))
    member = np.asarray(fresh.member)[source]
    return replace(fresh, member=member, held=source != np.arange(len(steps)))


def _regrouped_at(fresh: Grouping, steps: np.ndarray) -> np.ndarray:
    """Return for every row the row whose fresh decision is its group."""
    may = (steps - 1) % int(fresh.settings["regroup_every"]) == 0
    may[0] = True
    rows = np.flatnonzero(may)
    if fresh.settings["hysteresis"] is not None:
        rows = _clear_changes(fresh, rows)
    marks = np.zeros(len(steps), dtype=np.int64)
    marks[rows] = rows
    return np.asarray(np.maximum.accumulate(marks))


def _clear_changes(fresh: Grouping, rows: np.ndarray) -> np.ndarray:
    """Return those of the rows where hysteresis lets the group change, the first included."""
    changes, at, look = [rows[0]], 1, _FIRST_LOOK
    best = np.asarray(objective(fresh, fresh.member))
    while at < len(rows):
        ahead = rows[at : at + look]
        group = np.broadcast_to(fresh.member[changes[-1]], (len(ahead), fresh.member.shape[-1]))
        kept = np.asarray(close_enough(_rows(fresh, ahead), group, best[ahead]))
        if kept.all():
            at, look = at + len(ahead), min(2 * look, _CHUNK)
            continue
        turn = int(np.argmin(kept))
        changes.append(ahead[turn])
        at, look = at + turn + 1, _FIRST_LOOK
    return np.asarray(changes)


_FIELDS = (
    "gram",
    "similarity",
    "order",
    "rank",
    "n_candidates",
    "consistency_by_prefix",
    "member",
    "consistency_margin",
)


def _rows(grouping: Grouping, rows: np.ndarray) -> Grouping:
    fields: dict[str, Any] = {name: getattr(grouping, name)[rows] for name in _FIELDS}
    return replace(grouping, **fields)


def _joined(parts: list[Grouping]) -> Grouping:
    fields: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS
    }
    return replace(parts[0], **fields)
