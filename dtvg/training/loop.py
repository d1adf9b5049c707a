"""THE LOOP: one training loop for everything; a lone run is a cohort of one.

Search and score what is due, obey requests, commit once in a while, take one step. It
reads top to bottom; the moves are `Cohort`'s. Must not import streamlit or plotly.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from dtvg.records import RunState
from dtvg.training.cohort import Cohort
from dtvg.training.holding import hold_sources
from dtvg.training.keeping import keep_commit
from dtvg.training.searching import search_between_steps
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
        cohort.evaluate()
        if stop or time.monotonic() - looked > CONTROL_SECONDS:
            hold_sources(cohort)
            cohort.obey(bool(stop))
            report(_progress(cohort, total))
            looked = time.monotonic()
        if cohort.committer.due():
            cohort.commit()
        cohort.step()
        keep_commit(cohort)
    report(Progress(cohort.directory.id, total, total, 0, None))


def _progress(cohort: Cohort, total: int) -> Progress:
    """Sum up how far the cohort is; runs that left it count as done."""
    slots = cohort.slots
    open_steps = sum(slot.config.total_steps - slot.step for slot in slots)
    losses = [slot.loss for slot in slots if slot.loss is not None]
    mean = sum(losses) / len(losses) if losses else None
    return Progress(cohort.directory.id, total - open_steps, total, len(slots), mean)
