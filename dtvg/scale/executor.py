"""What an engine has to do for a driver: start a cohort, watch it, stop it, say why it ended.

`scheduler.py` decides what starts when; an executor knows neither plan nor files of the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dtvg.store.formats import Ending

Kind = Ending
"""How a job ended: its cohort has nothing left to do; it was asked to stop; it was sent away by a
scheduler after a commit; it is gone without a word; it failed; this machine cannot train it;
another process trains the cohort."""


@dataclass(frozen=True)
class Ended:
    """How a job ended and why, in one sentence."""

    kind: Kind
    why: str = ""
    blameless: bool = False
    """Whether it ended for a reason that has nothing to do with the cohort, as a lost node."""


@dataclass(frozen=True)
class Job:
    """One attempt to train a cohort; stored with the cohort, so that another driver finds it."""

    cohort: str
    token: str
    """Names this attempt."""
    executor: str
    id: str
    """The engine's name of it: a process, an actor, a Slurm job."""
    slot: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the executor needs to find it again."""
    started: float = 0.0


@dataclass(frozen=True)
class Place:
    """A machine, or a device of one, as an engine shows it."""

    host: str
    title: str
    slots: int
    """Cohorts it has room for; 0 where it is not available."""
    state: str = "up"


class Executor(Protocol):
    """An engine that trains cohorts as jobs."""

    name: str
    pause: float
    """Seconds between two looks at its jobs."""

    def check(self) -> None:
        """Refuse at once what can never start.

        Raises:
            ConfigError: no machine has what a cohort asks for.
        """

    def capacity(self) -> int:
        """Return how many jobs may be started or waiting in the engine at once, as of now."""

    def start(self, cohort: str, token: str) -> Job:
        """Start a cohort, or hand it to the engine's own queue.

        Raises:
            JobError: the engine refuses.
        """

    def watch(self, jobs: Sequence[Job]) -> Mapping[str, Ended]:
        """Return the cohorts whose job has ended, and why as far as the engine can tell."""

    def stop(self, job: Job) -> None:
        """Take back a job that only waits; one that trains finds a request in its folder."""

    def adopt(self, job: Job) -> bool | None:
        """Say whether a job of an earlier driver still waits or trains, and watch it from now on.

        Returns:
            None where that cannot be told.
        """

    def places(self) -> list[Place]:
        """Return the machines there are."""

    def close(self) -> None:
        """Let go of the engine; jobs that still train go on."""
