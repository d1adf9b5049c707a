"""THE LOOP: one training loop for everything; a lone run is a cohort of one.

Score what is due, obey requests, commit once in a while, take one step. It reads top to
bottom; the moves are `Cohort`'s. Must not import streamlit or plotly.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from dtvg.records import RunState
from dtvg.training.cohort import Cohort
from dtvg.training.signals import StopWish

CONTROL_SECONDS = 0.5
"""How often control files are looked for."""


@dataclass(frozen=True)
class Progress:
    """How far a cohort is, for progress bars."""

    cohort: str
    steps_done: int
    """Optimiser steps summed over the cohort's runs."""
    steps_total: int
    runs_active: int
    loss: float | None
    message: str = ""


Report = Callable[[Progress], None]


def train(cohort: Cohort, stop: StopWish, report: Report = lambda progress: None) -> None:
    """Train a cohort until every run has finished, stopped or failed.

    Args:
        cohort: prepared runs; those resumed carry their state.
        stop: becomes true when this process should commit and stop.
        report: told about progress about twice a second.
    """
    total = sum(slot.config.total_steps for slot in cohort.slots)
    ended = 0
    looked = 0.0
    for slot in cohort.slots:
        cohort.board.update(slot.name, state=RunState.RUNNING, step=slot.step,
                            total_steps=slot.config.total_steps, message="")
    while cohort.stacks:
        before = {slot.name: slot for slot in cohort.slots}
        cohort.evaluate()
        now = time.monotonic()
        if stop or now - looked > CONTROL_SECONDS:
            cohort.obey(bool(stop))
            looked = time.monotonic()
            done = sum(slot.step for slot in cohort.slots)
            losses = [slot.loss for slot in cohort.slots if slot.loss is not None]
            mean = sum(losses) / len(losses) if losses else None
            report(Progress(cohort.directory.id, ended + done, total, len(cohort.slots), mean))
        if cohort.committer.due():
            cohort.commit()
        cohort.step()
        staying = {slot.name for slot in cohort.slots}
        ended += sum(s.config.total_steps for name, s in before.items() if name not in staying)
    report(Progress(cohort.directory.id, total, total, 0, None))
