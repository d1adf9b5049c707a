"""The queue's process: starts what is first where a slot is free, and ends when nothing is left.

It keeps nothing in memory that matters, so it may be killed at any moment. Started by
`queue.ensure` as `python -m dtvg queue work`. Must not import torch. docs/launch.md.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import replace

from dtvg.errors import DtvgError, StoreError
from dtvg.jobs import queue
from dtvg.jobs.queue_files import Job, JobState, changing, folder, jobs, stored, write
from dtvg.jobs.slots import free_device
from dtvg.store.files import locked

PAUSE, LONG_PAUSE = 1.0, 4.0
"""Seconds between turns: while something waits, and while all that is left runs."""

log = logging.getLogger(__name__)


def work() -> None:
    """Serve the queue until it is empty; returns at once where another process does."""
    with ExitStack() as stack:
        if not stack.enter_context(locked(folder() / ".worker", wait=False)):
            return
        said: dict[str, int] = {}
        while (folder() / "jobs").is_dir():
            pause = PAUSE
            try:
                with changing():
                    active = turn()
                    if not active:
                        # let go inside the lock: whoever adds next must find nobody at it
                        (folder() / ".spawned.json").unlink(missing_ok=True)
                        stack.close()
                        return
                _say_places(active, said)
                if all(job.state is JobState.RUNNING for job in active):
                    pause = LONG_PAUSE
            except StoreError as error:
                log.warning("%s", error)  # a full disk: again at the next turn
            time.sleep(pause)


def turn() -> list[Job]:
    """Note what ended, start what can be started; return the jobs that wait or run.

    Called with the lock held.
    """
    written = {job.id: job for job in stored()}
    known = jobs()
    for job in known:
        if job.state is not written[job.id].state:
            write(job)
    for place, job in enumerate(known):
        if job.state is not JobState.WAITING:
            continue
        on = free_device(job.device, known)
        if on is None:
            continue
        try:
            queue.say_place(replace(job, place=0))
            job = queue.launch(job, on)
        except DtvgError as error:
            ended = time.time()
            job = replace(job, state=JobState.FAILED, message=str(error), ended_at=ended)
        write(job)
        known[place] = job
    return [job for job in known if job.state in (JobState.WAITING, JobState.RUNNING)]


def _say_places(active: list[Job], said: dict[str, int]) -> None:
    """Note the places that changed; launched ones moved the others up."""
    waiting = [job for job in active if job.state is JobState.WAITING]
    for place, job in enumerate(waiting, start=1):
        if said.get(job.id) != place:
            queue.say_place(replace(job, place=place))
            said[job.id] = place
