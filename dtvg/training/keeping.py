"""Commits that are kept beside the newest, every so many steps, so that runs can be forked there.

Must not import streamlit or plotly. docs/run_files.md "Forks".
"""

from __future__ import annotations

from dtvg.store.fork import keep_state
from dtvg.training.cohort import Cohort


def keep_commit(cohort: Cohort) -> None:
    """Commit and keep the state where a run has come to a multiple of `logging.keep_every`."""
    every = [(slot.step, slot.config.logging.keep_every) for slot in cohort.slots]
    if any(steps and step % steps == 0 for step, steps in every):
        cohort.commit(wait=True)
        keep_state(cohort.directory, max(step for step, _ in every))
