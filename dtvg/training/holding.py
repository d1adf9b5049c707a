"""Pinning and banning sources of running runs, at the step after they were asked for.

A change is part of the run's state: it goes into a commit before the request is taken back, so
that neither a crash nor a resume loses or doubles it. Must not import streamlit or plotly.
"""

from __future__ import annotations

from dtvg.methods.dtvg import HELD
from dtvg.store.holds import VALUES, detail, wanted
from dtvg.store.status import clear, requested
from dtvg.training.cohort import Cohort
from dtvg.training.state import Stack


def hold_sources(cohort: Cohort) -> None:
    """Meet the requests to pin, ban and free sources."""
    met = []
    for stack in cohort.stacks:
        for row, slot in enumerate(stack.slots):
            run = cohort.run_dirs[slot.name]
            for kind, source in wanted(requested(run)):
                met.append((run, f"{kind}.{source}"))
                if source not in slot.config.sources or HELD not in stack.state.memory:
                    continue
                _hold(stack, row, slot.config.sources.index(source), VALUES[kind])
                slot.note["held"] = {**slot.note.get("held", {}), source: kind}
                cohort.write_rows()
                cohort.event(slot, kind, detail(source, kind, slot.step))
    if met:
        cohort.commit(wait=True)
        for run, word in met:
            clear(run, word)


def _hold(stack: Stack, row: int, place: int, value: int) -> None:
    """Set what is held; a new tensor, since queued steps may still refer to the old one."""
    held = stack.state.memory[HELD].clone()
    held[row, place] = value
    stack.state.memory[HELD] = held
