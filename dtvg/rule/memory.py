"""Rules with a memory: when the last group is kept.

`fixed` never regroups, `regroup_every` regroups at steps 1, 1 + k, 1 + 2k, …, `hysteresis` keeps
a group unless another's objective beats it clearly. What is kept is a pure function of the
Gram matrix, the previous members and the step, so a scan over a log gives the logged groups.
docs/method.md, "Rules with a memory".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from array_api_compat import device
from jaxtyping import Bool, Float64

from dtvg.rule.arrays import A, namespace
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
)


def has_memory(settings: RuleSettings) -> bool:
    """Whether a decision depends on the one before it."""
    regroups = settings.regroup_every > 1 or settings.hysteresis is not None
    return regroups or rule_of(settings).never_regroups


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
    fresh: Grouping[A], previous: Bool[A, "... n"], step: int | A | None
) -> tuple[Bool[A, " ..."], Bool[A, "... n"]]:
    """Return whether the previous group stays, and the members then.

    Args:
        fresh: the decision the rule would take without a memory.
        previous: members of the step before.
        step: number of this step, from 1; None: a step at which the group may change.
    """
    xp = namespace(fresh.gram)
    where = device(fresh.gram)
    member = fresh.member
    previous = xp.broadcast_to(xp.asarray(previous, device=where), member.shape)
    number = xp.asarray(1 if step is None else step, device=where)
    first = xp.broadcast_to((number <= 1) & (step is not None), member.shape[:-1])
    if fresh.entry.never_regroups:
        keep = ~first
    else:
        between = (number - 1) % fresh.settings.regroup_every != 0
        keep = xp.broadcast_to(between, member.shape[:-1])
        if fresh.settings.hysteresis is not None:
            keep = keep | close_enough(fresh, previous, objective(fresh, member))
        keep = keep & ~first
    return keep, xp.where(keep[..., None], previous, member)


def close_enough(
    fresh: Grouping[A], group: Bool[A, "... n"], best: Float64[A, " ..."]
) -> Bool[A, " ..."]:
    """Whether a group is admissible and within the hysteresis of the best objective."""
    xp = namespace(fresh.gram)
    own = objective(fresh, group)
    slack = fresh.settings.hysteresis or 0.0
    room = slack * xp.abs(best) if fresh.settings.hysteresis_unit == "relative" else slack
    possible = (own > -xp.inf) & (best > -xp.inf)
    gap = xp.where(possible, best, 0.0) - xp.where(possible, own, 0.0)
    return possible & (gap <= room)


def regrouped_at(fresh: Grouping[np.ndarray], steps: np.ndarray) -> np.ndarray:
    """Return for every step the place of the step whose fresh decision is its group.

    Args:
        fresh: decisions `[S]` without a memory, from the run's first step on.
        steps: `[S]` their numbers.
    """
    if fresh.entry.never_regroups:
        return np.zeros(len(steps), dtype=np.int64)
    may = (steps - 1) % fresh.settings.regroup_every == 0
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
    best = np.asarray(objective(fresh, fresh.member))
    while at < len(rows):
        ahead = rows[at : at + look]
        group = np.broadcast_to(fresh.member[changes[-1]], (len(ahead), fresh.member.shape[-1]))
        kept = np.asarray(close_enough(_at(fresh, ahead), group, best[ahead]))
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
    return replace(grouping, **fields)


def joined(parts: list[Grouping[np.ndarray]]) -> Grouping[np.ndarray]:
    """Return decisions of one rule after another as one."""
    fields: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS
    }
    return replace(parts[0], **fields)
