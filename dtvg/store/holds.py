"""Sources pinned to the group or banned from it in mid-run: requests, events, and their effect.

A pinned source is a member at every step from the next one on, a banned one at none, whatever
the rule decides; the rule's own decision is logged and replayed as ever. docs/run_files.md
"Pinned and banned sources".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from dtvg.errors import JobError, unknown
from dtvg.records import RunState
from dtvg.store.reader import Run, read_table
from dtvg.store.status import request, requested

Kind = Literal["pin", "ban", "free"]
KINDS: tuple[Kind, ...] = get_args(Kind)
VALUES = {"pin": 1, "ban": -1, "free": 0}
"""What a run's state holds for a source."""


@dataclass(frozen=True)
class Hold:
    """One change: from the step after `step` on."""

    step: int
    source: str
    kind: Kind


def ask(run: Run, source: str, kind: Kind) -> None:
    """Ask the process that trains a run to pin, ban or free a source at its next step.

    Args:
        run: one that trains.
        source: one of its sources.
        kind: `pin`, `ban`, or `free` to leave it to the rule again.

    Raises:
        JobError: the run does not train, decides nothing by a rule, or has no such source.
    """
    if run.state is not RunState.RUNNING:
        raise JobError(
            f"Run '{run.name}' is {run.state.value.lower()}; only a run that is training can "
            f"be changed. {_instead(run)}"
        )
    if run.config is None or not run.config.method.can_hold:
        raise JobError(
            f"Run '{run.name}' ({run.method}) does not group sources by a rule, so sources cannot "
            "be pinned or banned; choose a run of 'dtvg' or 'all_sources'."
        )
    if source not in run.sources:
        raise JobError(unknown(f"source of run '{run.name}'", source, run.sources))
    request(run.directory, f"{kind}.{source}", source=source)


def _instead(run: Run) -> str:
    """Return what to do with a run that does not train."""
    if run.state is RunState.FINISHED:
        return (
            "Clone its experiment, or fork the run at a commit that it kept (logging.keep_every), "
            "then resume the fork."
        )
    if run.state.resumable:
        return "Resume it first."
    if run.state is RunState.STOPPING:
        return "Resume it once it has stopped."
    return "Ask again where it is trained."


def asked(run: Run) -> list[tuple[Kind, str]]:
    """Return what has been asked for and not been done yet."""
    return wanted(requested(run.directory))


def wanted(words: set[str]) -> list[tuple[Kind, str]]:
    """Return the changes among requests, in an order that does not depend on the disk."""
    found = []
    for kind in KINDS:
        found += [
            (kind, w.removeprefix(f"{kind}.")) for w in sorted(words) if w.startswith(f"{kind}.")
        ]
    return found


def detail(source: str, kind: Kind, step: int) -> str:
    """Return the sentence of the event, for people; its `subject` is what `history` reads."""
    what = {
        "pin": "is in the group, whatever the rule decides",
        "ban": "is not in the group, whatever the rule decides",
        "free": "is decided by the rule again",
    }[kind]
    return f"{source}: {what}, from step {step + 1} on."


def history(run: Run) -> list[Hold]:
    """Return what was pinned, banned and freed in a run, in order."""
    events = read_table(run, "events", ["step", "kind", "subject", "detail"]).to_pylist()
    return [
        Hold(row["step"], row["subject"] or _source_in_old_sentence(row["detail"]), row["kind"])
        for row in events
        if row["kind"] in KINDS
    ]


def _source_in_old_sentence(sentence: str) -> str:
    """Return the source of an event of schema version 1, which had no `subject`."""
    return sentence.partition(":")[0]


def now_held(run: Run) -> dict[str, Kind]:
    """Return what is pinned or banned in a run as committed so far."""
    found: dict[str, Kind] = {}
    for hold in history(run):
        found.pop(hold.source, None)
        if hold.kind != "free":
            found[hold.source] = hold.kind
    return found


@dataclass(frozen=True)
class Stretch:
    """One source pinned or banned without a break."""

    source: str
    kind: Kind
    first: int
    """First step at which it is in force."""
    last: float
    """Last step; infinite while nothing ended it."""


def stretches(holds: Sequence[Hold]) -> list[Stretch]:
    """Return when which source was pinned or banned.

    Args:
        holds: from `history`, in order.
    """
    found = []
    for i, hold in enumerate(holds):
        ends = [later.step for later in holds[i + 1 :] if later.source == hold.source]
        last = ends[0] if ends else np.inf
        if hold.kind != "free" and last > hold.step:
            found.append(Stretch(hold.source, hold.kind, hold.step + 1, last))
    return found


def in_force(holds: Sequence[Hold], step: int) -> dict[str, Stretch]:
    """Return what is pinned or banned at a step, by source."""
    return {s.source: s for s in stretches(holds) if s.first <= step <= s.last}


def overlay(
    member: npt.NDArray[np.bool_],
    steps: npt.NDArray[np.int64],
    sources: Sequence[str],
    holds: Sequence[Hold],
) -> npt.NDArray[np.bool_]:
    """Return groups as they were trained: the rule's, with what was held in force.

    Args:
        member: `[S n]`, the rule's groups.
        steps: `[S]`.
        sources: in the order of the columns.
        holds: from `history`, in order.
    """
    found = np.array(member, dtype=bool)
    places = {source: place for place, source in enumerate(sources)}
    for held in stretches(holds):
        if held.source in places:
            inside = (steps >= held.first) & (steps <= held.last)
            found[inside, places[held.source]] = held.kind == "pin"
    return found
