"""Rules with a memory: when the last group is kept.

`fixed` and `init_only` never regroup, `regroup_every` regroups once in k steps, `hysteresis` keeps
a group unless another's objective beats it clearly. What is kept is a pure function of the Gram
matrix, the previous members, the step and the seed, so a scan over a log gives the logged groups.
docs/method.md, "Rules with a memory".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from array_api_compat import device
from jaxtyping import Bool, Float64

from dtvg.rule.arrays import A, namespace
from dtvg.rule.draws import draw_offset
from dtvg.rule.rules import rule_of
from dtvg.rule.types import Grouping, RuleSettings

_FIRST_LOOK = 64
"""Steps looked ahead after a change of group; doubled while nothing changes."""
_FURTHEST_LOOK = 4096
_FIELDS = (
    "gram",
    "similarity",
    "order",
    "rank",
    "n_candidates",
    "consistency_by_prefix",
    "member",
    "consistency_margin",
    "squares",
)


def has_memory(settings: RuleSettings) -> bool:
    """Whether a decision depends on the one before it."""
    regroups = settings.regroup_every > 1 or settings.hysteresis is not None
    return regroups or settings.init_only or rule_of(settings).never_regroups


def needs_every_step(settings: RuleSettings) -> bool:
    """Whether a log with gaps cannot give the group again: it may have changed in between."""
    keeps_first = settings.init_only or rule_of(settings).never_regroups
    return has_memory(settings) and not keeps_first


def needs_step(settings: RuleSettings) -> bool:
    """Whether a decision depends on the number of the step."""
    return has_memory(settings) or rule_of(settings).draws


def may_regroup(settings: RuleSettings, step: int | A, seed: int | A = 0) -> Any:
    """Return whether a step is one at which `regroup_every` and `schedule` let the group change.

    Args:
        settings: of the rule.
        step: its number, from 1; an array of numbers gives an array.
        seed: of the run.
    """
    every = settings.regroup_every
    steps = np.asarray(step) if isinstance(step, int | np.integer) else step
    block, place = (steps - 1) // every, (steps - 1) % every
    if settings.schedule == "regular" or every == 1:
        return place == 0
    drawn = draw_offset(steps, seed, block, every)
    return (steps == 1) | ((block > 0) & (place == drawn))


def objective(grouping: Grouping[A], member: Bool[A, "... n"]) -> Float64[A, " ..."]:
    """Return what the rule maximises, for any group: the number that hysteresis compares.

    The formula is the rule's own, see `dtvg.rule.rules`; −∞ for a group that the rule could
    never choose at this step.

    Args:
        grouping: a decision; its Gram matrix, candidates, rule and settings are used.
        member: any group.
    """
    return grouping.entry.objective(grouping, member)


def holds(
    fresh: Grouping[A], previous: Bool[A, "... n"], step: int | A | None, seed: int | A = 0
) -> tuple[Bool[A, " ..."], Bool[A, " ..."], Bool[A, "... n"]]:
    """Return whether the previous group stays, whether the step lies between two regroupings, and
    the members.

    Args:
        fresh: the decision the rule would take without a memory.
        previous: members of the step before.
        step: number of this step, from 1; None: a step at which the group may change.
        seed: of the run.
    """
    xp = namespace(fresh.gram)
    where = device(fresh.gram)
    member = fresh.member
    previous = xp.broadcast_to(xp.asarray(previous, device=where), member.shape)
    number = xp.asarray(1 if step is None else step, device=where)
    first = xp.broadcast_to((number <= 1) & (step is not None), member.shape[:-1])
    between = ~may_regroup(fresh.settings, number, seed)
    between = xp.broadcast_to(between, member.shape[:-1]) & ~first
    if fresh.keeps_first:
        keep = ~first
    else:
        keep = between
        if fresh.settings.hysteresis is not None:
            keep = keep | close_enough(fresh, previous, fresh.member)
        keep = keep & ~first
    return keep, between, xp.where(keep[..., None], previous, member)


def close_enough(
    fresh: Grouping[A], group: Bool[A, "... n"], best: Bool[A, "... n"]
) -> Bool[A, " ..."]:
    """Whether a group is admissible and within the hysteresis of the best one's objective.

    From version 2 on, a difference that rounding can make does not count.
    """
    xp = namespace(fresh.gram)
    own, top = objective(fresh, group), objective(fresh, best)
    possible = (own > -xp.inf) & (top > -xp.inf)
    own, top = xp.where(possible, own, 0.0), xp.where(possible, top, 0.0)
    slack = fresh.settings.hysteresis or 0.0
    room = slack * xp.abs(top) if fresh.settings.hysteresis_unit == "relative" else slack
    if fresh.settings.version > 1 and fresh.entry.blur is not None:
        room = room + (fresh.entry.blur(fresh, group) + fresh.entry.blur(fresh, best))
    return possible & (top - own <= room)


def regrouped_at(fresh: Grouping[np.ndarray], steps: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return for every step the place of the step whose fresh decision is its group.

    Args:
        fresh: decisions `[S]` without a memory, from the run's first step on.
        steps: `[S]` their numbers.
        seed: of the run.
    """
    if fresh.keeps_first:
        return np.zeros(len(steps), dtype=np.int64)
    may = np.array(may_regroup(fresh.settings, steps, seed))
    may[0] = True
    rows = np.flatnonzero(may)
    if fresh.settings.hysteresis is not None:
        rows = _clear_changes(fresh, rows)
    marks = np.zeros(len(steps), dtype=np.int64)
    marks[rows] = rows
    return np.asarray(np.maximum.accumulate(marks))


def _clear_changes(fresh: Grouping[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Return those of the rows where hysteresis lets the group change, the first included."""
    changes, at, look = [rows[0]], 1, _FIRST_LOOK
    while at < len(rows):
        ahead = rows[at : at + look]
        group = np.broadcast_to(fresh.member[changes[-1]], (len(ahead), fresh.member.shape[-1]))
        kept = np.asarray(close_enough(_at(fresh, ahead), group, fresh.member[ahead]))
        if kept.all():
            at, look = at + len(ahead), min(2 * look, _FURTHEST_LOOK)
            continue
        turn = int(np.argmin(kept))
        changes.append(ahead[turn])
        at, look = at + turn + 1, _FIRST_LOOK
    return np.asarray(changes)


def _at(grouping: Grouping[np.ndarray], rows: np.ndarray) -> Grouping[np.ndarray]:
    """Return the decisions at some of the rows."""
    fields: dict[str, Any] = {name: getattr(grouping, name)[rows] for name in _FIELDS}
    draws = None if grouping.draws is None else grouping.draws[rows]
    return replace(grouping, **fields, draws=draws)


def joined(parts: list[Grouping[np.ndarray]]) -> Grouping[np.ndarray]:
    """Return decisions of one rule after another as one."""
    fields: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS
    }
    draws = [part.draws for part in parts if part.draws is not None]
    return replace(parts[0], **fields, draws=np.concatenate(draws) if draws else None)
