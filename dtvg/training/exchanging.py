"""Exchanges between steps: runs on other targets are met by what they offered, wherever they train.

Who is in step is waited for, up to a bound; who is slower, dead, further or over is met by the last
that is known of it, and that is logged. What a run takes is kept until a commit has it, so that a
run that goes on from there takes the same again. docs/scale.md "Runs that exchange".
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
import torch

from dtvg.config import run_name
from dtvg.methods.exchanging import EXCHANGED, Exchanging, Meeting, Met
from dtvg.store.offers import OfferFiles, Place
from dtvg.training.cohort import Cohort
from dtvg.training.state import RunSlot, Stack

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.02
"""An offer that is waited for is looked for so often."""
START_FACTOR = 10
"""A run that is begun and has not offered anything yet is waited for so many times as long."""
OUT_OF_STEP: tuple[Meeting, ...] = ("stale", "ahead")
BEFORE_US: tuple[Meeting | None, ...] = ("ended", "ahead", None)
"""How runs were met that may be many rounds further: their newest offer counts until one is not."""

Party = tuple[Stack, int, RunSlot, Exchanging]


@dataclass
class Exchange:
    """The exchanges of one cohort's runs."""

    files: OfferFiles
    place: Place
    wait_seconds: float = 30.0
    begun: Callable[[str], bool] = lambda run: False
    """Run → whether a process trains it, or is about to."""
    asked: Callable[[], bool] = lambda: False
    """Whether this process was asked to stop."""
    _known: dict[str, int] = field(default_factory=dict)
    """Run of this cohort → the step at which it was last seen."""
    _resumed: dict[str, int] = field(default_factory=dict)
    """Run → the step it went on from, until it met the others again."""
    _without: dict[tuple[str, str], int | None] = field(default_factory=dict)
    """Run and another one that was waited for in vain → the newest offer there was."""
    _commits: list[tuple[int, dict[str, int]]] = field(default_factory=list)

    def begin(self, cohort: Cohort) -> None:
        """Let the cohort's runs take part."""
        for _, _, slot, _ in parties(cohort):
            before = self.files.begin(slot.name)
            self._known[slot.name] = slot.step
            if slot.step or before:
                self._resumed[slot.name] = slot.step

    def between_steps(self, cohort: Cohort) -> bool:
        """Hold the rounds that are due.

        Returns:
            False where somebody asked to stop meanwhile: then a round is still to be held, and
            nothing may be scored before.
        """
        if not self._known:
            return True
        there = parties(cohort)
        self._let_go(cohort, there)
        for stack, row, slot, method in there:
            if slot.step > self._known[slot.name] and slot.step >= slot.config.total_steps:
                self._offer(stack, row, slot, method)  # its last, whether or not there is a round
        due = [party for party in there if _is_due(*party)]
        active = [
            p for p in due if p[3].takes_part(p[2].config.target, p[2].config.seed, p[2].step)
        ]
        for party in active:
            self._offer(*party)
        for party in due:
            if party not in active:
                self._skip(cohort, *party)
            elif not self._hold(cohort, *party):
                return False
        self._known = {slot.name: slot.step for _, _, slot, _ in there}
        return True

    def close(self, cohort: Cohort) -> None:
        """Say which runs are over, unless the whole process stops and they go on later."""
        self._let_go(cohort, parties(cohort))
        self.place.close()

    def _let_go(self, cohort: Cohort, there: list[Party]) -> None:
        """Say of runs that left the cohort that they offer nothing more."""
        left = set(self._known) - {slot.name for _, _, slot, _ in there}
        for name in left:
            step = self._known.pop(name)
            if not self.asked():
                self.files.end(name, step)
        self._forget(cohort, there)

    def _forget(self, cohort: Cohort, there: list[Party]) -> None:
        """Remove what runs took that the commit before the newest has behind it.

        A commit counts when it is done: what was trained when the one before it was seen to be
        done is in it.
        """
        done = cohort.committer.commits
        steps = {slot.name: slot.step for _, _, slot, _ in there}
        if self._commits and self._commits[-1][0] == done:
            self._commits[-1] = (done, steps)
            return
        self._commits.append((done, steps))
        old = [its for number, its in self._commits if number <= done - 3]
        for name, step in (old[-1] if old else {}).items():
            self.files.forget_taken(name, step)
        self._commits = [one for one in self._commits if one[0] > done - 3]

    # -- one run in one round ------------------------------------------------------------------

    def _offer(self, stack: Stack, row: int, slot: RunSlot, method: Exchanging) -> None:
        offer = method.offer(stack.state, row)
        self.place.publish(slot.name, slot.step, offer)

    def _skip(
        self, cohort: Cohort, stack: Stack, row: int, slot: RunSlot, method: Exchanging
    ) -> None:
        """Note that a run leaves a round out."""
        _count(slot, "skipped")
        _write(slot, {slot.config.target: Met("skipped")}, {})
        _has_behind_it(stack, row, slot.step)

    def _hold(
        self, cohort: Cohort, stack: Stack, row: int, slot: RunSlot, method: Exchanging
    ) -> bool:
        """Meet the others and take over what they offered; False where somebody asked to stop."""
        again = _from_kept(self.files.taken(slot.name, slot.step))
        if again is not None:
            met, waited = again
        else:
            found = self._meet(cohort, slot, method)
            if found is None:
                return False
            met, waited = found
            self._keep(slot, met, waited)
        self._say(cohort, slot, method, met, again is None)
        method.take(stack.state, row, met)
        _count(slot, "held")
        _write(slot, met, waited)
        _has_behind_it(stack, row, slot.step)
        return True

    def _meet(
        self, cohort: Cohort, slot: RunSlot, method: Exchanging
    ) -> tuple[dict[str, Met], dict[str, float]] | None:
        """Meet every other run, waiting for those in step; None where somebody asked to stop."""
        config, began = slot.config, time.monotonic()
        here = {other.name for other in cohort.slots}
        others = {t: other_run(slot, t) for t in config.method.exchanges_with(config.target)}
        seen = {t for t, run in others.items() if self.place.newest(run) is not None}
        met: dict[str, Met] = {}
        waited: dict[str, float] = {}
        while len(met) < len(others):
            for target, run in others.items():
                if target in met:
                    continue
                bound = self.wait_seconds * (1 if target in seen else START_FACTOR)
                late = time.monotonic() - began > bound
                found = self._look(slot, method, target, run, patient=not late and run not in here)
                if found is not None:
                    met[target], waited[target] = found, time.monotonic() - began
                    if late and found.how in ("stale", "absent"):
                        self._without[slot.name, run] = self.place.newest(run)
            if len(met) < len(others):
                if self.asked():
                    return None
                time.sleep(LOOK_SECONDS)
        return {target: met[target] for target in others}, waited

    def _look(
        self, slot: RunSlot, method: Exchanging, target: str, run: str, patient: bool
    ) -> Met | None:
        """Return how a run is met; None: it is in step, and worth waiting for."""
        step, seed, ended = slot.step, slot.config.seed, self.files.ended(run)
        if not ended and not method.takes_part(target, seed, step):
            return Met("skipped")
        newest = self.place.newest(run)
        before = _told(slot).get("now", {}).get(target)
        further = newest is not None and newest > (step if ended else _round_after(method, step))
        offer = None if further and before in BEFORE_US else self.place.at(run, step)
        if offer is not None:
            return Met("met", offer, step)
        patient = patient and not ended and self._without.get((slot.name, run), -1) != newest
        if newest is None:
            return None if patient and self.begun(run) else Met("absent")
        if patient and newest < step and newest >= _round_before(method, target, seed, step):
            return None
        how: Meeting = "ended" if ended else "ahead" if newest > step else "stale"
        offer = self.place.at(run, newest)
        return None if offer is None else Met(how, offer, newest)  # None: removed just now

    def _keep(self, slot: RunSlot, met: Mapping[str, Met], waited: Mapping[str, float]) -> None:
        """Keep what is about to be taken."""
        arrays = {
            f"{target}/{name}": np.asarray(array, order="C")  # a number stays one, without axes
            for target, one in met.items()
            for name, array in (one.offer or {}).items()
        }
        facts = {t: {"how": m.how, "step": m.step, "waited": waited[t]} for t, m in met.items()}
        self.files.keep_taken(slot.name, slot.step, arrays, facts)

    def _say(
        self,
        cohort: Cohort,
        slot: RunSlot,
        method: Exchanging,
        met: Mapping[str, Met],
        new: bool,
    ) -> None:
        """Write events where another run falls out of step, comes back, or moved on meanwhile."""
        states = dict(_told(slot).get("now", {}))
        resumed = self._resumed.pop(slot.name, None) if new else None
        for target, one in met.items():
            before = states.get(target)
            newest = self.place.newest(other_run(slot, target)) if resumed is not None else None
            moved = newest is not None and newest > _round_after(method, slot.step)
            if before == "met" and moved:
                cohort.event(
                    slot,
                    "moved_on",
                    f"After this run went on from step {resumed}, the run on {target} was found at "
                    f"step {newest}, having met this one's step {slot.step} without it: from here "
                    "on this run is not what it would have been without the interruption.",
                )
            elif one.how == "stale" and before != "stale":
                cohort.event(
                    slot,
                    "stale",
                    f"The run on {target} did not offer anything of step {slot.step} in time; its "
                    f"offer of step {one.step} counts until it does.",
                )
            elif one.how == "met" and before in OUT_OF_STEP:
                cohort.event(slot, "in_step", f"The run on {target} is in step again.")
            if one.how != "skipped":
                states[target] = one.how
            _count(slot, one.how, target)
        slot.note["exchange"] = {**_told(slot), "now": states}


def parties(cohort: Cohort) -> list[Party]:
    """Return the runs of a cohort that exchange, with where their tensors are."""
    return [
        (stack, row, slot, stack.method)
        for stack in cohort.stacks
        if isinstance(stack.method, Exchanging)
        for row, slot in enumerate(stack.slots)
        if slot.config.method.exchanges_with(slot.config.target)
    ]


def other_run(slot: RunSlot, target: str) -> str:
    """Return the name of the run of the same method and seed on another target."""
    return run_name(target, slot.config.method.label, slot.config.seed)


def _is_due(stack: Stack, row: int, slot: RunSlot, method: Exchanging) -> bool:
    """Whether a run has a round before it; the device is asked only then."""
    if not method.is_round(slot.step):
        return False
    return int(stack.state.memory[EXCHANGED][row]) < slot.step


def _has_behind_it(stack: Stack, row: int, step: int) -> None:
    """Note in a run's memory, which a commit holds, that it has the round of a step behind it."""
    done = stack.state.memory[EXCHANGED].clone()
    done[row] = torch.as_tensor(step).to(done)
    stack.state.memory[EXCHANGED] = done


def _round_after(method: Exchanging, step: int) -> int:
    """Return the next round after a step."""
    return next(after for after in count(step + 1) if method.is_round(after))


def _round_before(method: Exchanging, target: str, seed: int, step: int) -> int:
    """Return the last round before a step in which a run takes part; 0: there is none."""
    return next(
        (
            before
            for before in range(step - 1, 0, -1)
            if method.is_round(before) and method.takes_part(target, seed, before)
        ),
        0,
    )


def _from_kept(kept: tuple[Any, Any] | None) -> tuple[dict[str, Met], dict[str, float]] | None:
    """Return what a run took before; None where it is not known (or not whole)."""
    if kept is None or not isinstance(kept[1], dict):
        return None
    arrays, facts = kept
    met, waited = {}, {}
    for target, fact in facts.items():
        own = {k.partition("/")[2]: v for k, v in arrays.items() if k.startswith(f"{target}/")}
        met[target] = Met(fact["how"], own or None, int(fact["step"]))
        waited[target] = float(fact["waited"])
    return met, waited


def _told(slot: RunSlot) -> dict[str, Any]:
    """Return what the run's result says of its exchanges; a commit may still be writing it."""
    return slot.note.get("exchange") or {}


def _count(slot: RunSlot, how: str, target: str = "") -> None:
    """Count a round, or how another run was met in it, for the result."""
    told = _told(slot)
    if target:
        counts = told.get("met", {}).get(target, {})
        counts = {**counts, how: counts.get(how, 0) + 1}
        slot.note["exchange"] = {**told, "met": {**told.get("met", {}), target: counts}}
    else:
        slot.note["exchange"] = {**told, how: told.get(how, 0) + 1}


def _write(slot: RunSlot, met: Mapping[str, Met], waited: Mapping[str, float]) -> None:
    """Write the rows of `exchanges`, where the run's detail keeps them."""
    logging_, step = slot.config.logging, slot.step
    if logging_.detail == "scores" or not (logging_.detail == "full" or logging_.logs_step(step)):
        return
    slot.writer.extend(
        "exchanges",
        {
            "step": [step] * len(met),
            "task": list(met),
            "how": [one.how for one in met.values()],
            "task_step": [one.step if one.offer is not None else None for one in met.values()],
            "waited_s": [float(waited.get(target, 0.0)) for target in met],
        },
    )
