"""THE LOOP: one training loop for everything; a lone run is a cohort of one.

Search and score what is due, obey requests, commit once in a while, take one step. It
reads top to bottom; the moves are `Cohort`'s. Requests pin or ban sources between two steps, and
kept commits can be forked.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from functools import partial

from dtvg.errors import StoreError
from dtvg.methods.base import HELD
from dtvg.records import RunState
from dtvg.store import audit
from dtvg.store.fork import keep_state
from dtvg.store.holds import VALUES, detail, wanted
from dtvg.store.status import clear, requested
from dtvg.training.cohort import Cohort
from dtvg.training.exchanging import Exchange
from dtvg.training.progress import Progress, Report, ended_progress
from dtvg.training.searching import search_between_steps
from dtvg.training.signals import StopWish
from dtvg.training.state import Stack

log = logging.getLogger(__name__)

CONTROL_SECONDS = 0.5
"""How often control files are looked for."""


Remarks = Callable[[str], Iterable[tuple[str, str]]]
"""Run → kinds and sentences that its events should say now, each once."""


def train(
    cohort: Cohort,
    stop: StopWish,
    report: Report = lambda progress: None,
    remarks: Remarks = lambda run: (),
    exchange: Exchange | None = None,
) -> None:
    """Train a cohort until every run has finished, stopped or failed.

    Args:
        cohort: prepared runs; those resumed carry their state.
        stop: becomes true when this process should commit and stop.
        report: told about progress about twice a second.
        remarks: asked as often.
        exchange: how runs meet those on other targets; None: none of them does.
    """
    steps = {slot.name: slot.config.total_steps for slot in cohort.slots}
    total = sum(steps.values())
    looked = 0.0
    for slot in cohort.slots:
        cohort.board.update(
            slot.name,
            state=RunState.RUNNING,
            step=slot.step,
            total_steps=slot.config.total_steps,
            message="",
        )
    while cohort.stacks:
        search_between_steps(cohort)
        if exchange is None or exchange.between_steps(cohort):
            cohort.evaluate()
        if stop or time.monotonic() - looked > CONTROL_SECONDS:
            stop.look()
            note_people(cohort)
            hold_sources(cohort)
            stop.committing = bool(stop)
            cohort.obey(bool(stop))
            stop.committing = False
            for slot in cohort.slots:
                for remark in remarks(slot.name):
                    cohort.event(slot, *remark)
            report(_progress(cohort, total))
            looked = time.monotonic()
        if cohort.committer.due():
            cohort.commit()
        if cohort.committer.full:
            cohort.pause(partial(_asked, stop))
            continue
        cohort.step()
        keep_commit(cohort)
    take_back(cohort, False)
    runs = [(cohort.run_dirs[name], number) for name, number in steps.items()]
    report(ended_progress(cohort.directory.id, runs))


def _asked(stop: StopWish) -> bool:
    stop.look()
    return bool(stop)


def _progress(cohort: Cohort, total: int) -> Progress:
    """Sum up how far the cohort is; runs that left it count as done."""
    slots = cohort.slots
    open_steps = sum(slot.config.total_steps - slot.step for slot in slots)
    losses = [slot.loss for slot in slots if slot.loss is not None]
    mean = sum(losses) / len(losses) if losses else None
    return Progress(cohort.directory.id, total - open_steps, total, len(slots), mean)


def hold_sources(cohort: Cohort) -> None:
    """Meet the requests to pin, ban and free sources."""
    before = len(cohort.met)
    asked = {slot.name: wanted(requested(cohort.run_dirs[slot.name])) for slot in cohort.slots}
    if any(asked.values()):
        cohort.write_rows()  # before a stack is changed: a run that fails by its rows leaves it
    for stack in cohort.stacks:
        for row, slot in enumerate(stack.slots):
            run = cohort.run_dirs[slot.name]
            for kind, source in asked[slot.name]:
                if (run, f"{kind}.{source}") in cohort.met:
                    continue
                cohort.met.append((run, f"{kind}.{source}"))
                if source not in slot.config.sources or HELD not in stack.state.memory:
                    continue
                if slot.note.get("held", {}).get(source) == kind:
                    continue  # met by a commit after which the process died
                _hold(stack, row, slot.config.sources.index(source), VALUES[kind])
                slot.note["held"] = {**slot.note.get("held", {}), source: kind}
                cohort.event(slot, kind, detail(source, kind, slot.step), subject=source)
    take_back(cohort, len(cohort.met) > before)


def note_people(cohort: Cohort) -> None:
    """Write down as events who did what to the runs, as the app of a shared server noted it."""
    before = len(cohort.met)
    for slot in cohort.slots:
        run = cohort.run_dirs[slot.name]
        for word, sentence in audit.told(run):
            if (run, word) not in cohort.met:
                cohort.met.append((run, word))
                cohort.event(slot, audit.EVENT, sentence)
    take_back(cohort, len(cohort.met) > before)


def take_back(cohort: Cohort, new: bool) -> None:
    """Take the requests back that were met, once a commit holds what they did.

    Where the disk refuses they stay, without being met twice, until a later commit is written.

    Args:
        cohort: whose.
        new: whether some were met after the last commit.
    """
    if cohort.met and cohort.committed(new):
        for run, word in cohort.met:
            clear(run, word)
        cohort.met.clear()


def _hold(stack: Stack, row: int, place: int, value: int) -> None:
    """Set what is held; a new tensor, since queued steps may still refer to the old one."""
    held = stack.state.memory[HELD].clone()
    held[row, place] = value
    stack.state.memory[HELD] = held


def keep_commit(cohort: Cohort) -> None:
    """Commit and keep the state where a run has come to a multiple of `logging.keep_every`.

    Where the disk refuses, that of a later step is kept, when another commit would be due.
    """
    every = [(slot.step, slot.config.logging.keep_every) for slot in cohort.slots]
    late = cohort.keep_again is not None and time.monotonic() >= cohort.keep_again
    if not every or not (late or any(steps and step % steps == 0 for step, steps in every)):
        return
    cohort.keep_again = time.monotonic() + cohort.committer.pause
    if not cohort.committed():
        return
    try:
        keep_state(cohort.directory, max(step for step, _ in every))
    except StoreError as error:
        log.warning("%s The state of a later step is kept instead.", error)
    else:
        cohort.keep_again = None
