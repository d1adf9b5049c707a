"""Which cohort starts when: a list scheduler over the plan, on as many slots as there are.

Of the cohorts that have what they need, the one with the longest path behind it starts first. A
cohort may start while those before it still train, once the very runs that it starts from are
made. What ends before its time starts again elsewhere; what ends again and again is given up, and
the rest goes on. Knows neither files nor engines, so that a simulation drives this very class.
"""

from __future__ import annotations

import heapq
import logging
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dtvg.errors import DtvgError, JobError
from dtvg.scale.executor import Ended, Executor, Job

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""So often one looks whether a cohort that still trains has made what others wait for."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds before a cohort that failed starts again: doubled with every failure in a row."""
BUSY_WAIT = 5.0
"""The same after an engine took nothing, or while another process holds the cohort."""
REFUSALS = 3
"""So many refusals before anything could be trained end the whole: every machine would refuse."""


@dataclass(frozen=True)
class Piece:
    """A cohort as the scheduler sees it."""

    id: str
    cost: float
    """Expected length in any unit, the same for all."""
    runs: tuple[str, ...]
    needs: frozenset[str] = frozenset()
    """Runs of other pieces that have to be made before it can start."""


class Ground(Protocol):
    """What the scheduler knows of the world: the experiment's folder, or a simulation."""

    def made(self, run: str) -> bool:
        """Whether what others start from is there."""

    def progress(self, cohort: str) -> object:
        """Return what changes with every commit of a cohort."""

    def intend(self, cohort: str, token: str) -> None:
        """Note that a cohort is about to be started."""

    def started(self, job: Job) -> None:
        """Note which job a cohort is."""

    def ended(self, job: Job, told: Ended) -> Ended:
        """Return how a job ended by its worker's own words; without any, as the engine told."""

    def held(self, cohort: str) -> bool | None:
        """Whether a worker holds a cohort's lease; None where that cannot be told."""

    def free(self, cohort: str) -> None:
        """Declare the lease of a worker free of which the engine says that it is gone."""

    def again(self, cohort: str, why: str) -> None:
        """Say on its runs that a cohort waits to go on."""

    def give_up(self, cohort: str, why: str) -> None:
        """End a cohort's runs with the reason."""

    def ask_to_stop(self, cohort: str) -> None:
        """Ask a cohort's worker to commit and stop."""


@dataclass
class Attempts:
    """What is known of a cohort's attempts."""

    jobs: int = 0
    in_a_row: int = 0
    """Ends without a new commit since the last one."""
    stamp: object = None
    not_before: float = 0.0


@dataclass
class Usage:
    """How the slots were used, in slot-seconds."""

    offered: float = 0.0
    busy: float = 0.0

    @property
    def share(self) -> float:
        """Busy over offered."""
        return self.busy / self.offered if self.offered else 0.0


@dataclass
class Scheduler:
    """Starts pieces on an executor until all of them are over; see the module's first lines.

    Args:
        pieces: in an order in which each comes after those it needs.
        executor: where they train.
        ground: what is made and noted.
        tries: ends in a row without a new commit after which a piece is given up.
        clock: monotonic seconds.
        tokens: makes the name of an attempt.
    """

    pieces: Sequence[Piece]
    executor: Executor
    ground: Ground
    tries: int = 3
    clock: Callable[[], float] = time.monotonic
    tokens: Callable[[], str] = lambda: secrets.token_hex(8)
    running: dict[str, Job] = field(default_factory=dict)
    over: dict[str, Ended] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    stopping: bool = False

    def __post_init__(self) -> None:
        self.by_id = {piece.id: piece for piece in self.pieces}
        self.home = {run: piece.id for piece in self.pieces for run in piece.runs}
        self.attempts = {piece.id: Attempts() for piece in self.pieces}
        self.foreign: set[str] = set()
        """Running ones that this executor cannot ask: their lease tells when they end."""
        self.missing: dict[str, set[str]] = {}
        self.awaited: dict[str, set[str]] = {}
        self._level = self._levels()
        self._ready: list[tuple[float, int, str]] = []
        self._later: list[tuple[float, str]] = []
        self._place = {piece.id: i for i, piece in enumerate(self.pieces)}
        self._looked = self._counted = -1e9
        self._refused = 0
        self._worked = False
        for piece in self.pieces:
            needs = {n for n in piece.needs if n in self.home and not self.ground.made(n)}
            self.missing[piece.id] = needs
            for name in needs:
                self.awaited.setdefault(name, set()).add(piece.id)
        for piece in self.pieces:
            if not self.missing[piece.id]:
                self._push(piece.id)

    def _levels(self) -> dict[str, float]:
        """Return each piece's cost with the costliest chain of pieces that wait for it."""
        after: dict[str, set[str]] = {piece.id: set() for piece in self.pieces}
        for piece in self.pieces:
            for name in piece.needs:
                if name in self.home and self.home[name] != piece.id:
                    after[self.home[name]].add(piece.id)
        level: dict[str, float] = {}
        for piece in reversed(self.pieces):
            behind = max((level.get(id_, 0.0) for id_ in after[piece.id]), default=0.0)
            level[piece.id] = piece.cost + behind
        return level

    # -- what is seen from outside ---------------------------------------------------------

    @property
    def waiting(self) -> list[str]:
        """Pieces that are neither running nor over, in the order of the plan."""
        return [p.id for p in self.pieces if p.id not in self.over and p.id not in self.running]

    def waits_for(self, cohort: str) -> list[str]:
        """Return the pieces that a waiting one still needs something of; empty: a free slot."""
        return list(dict.fromkeys(self.home[run] for run in sorted(self.missing[cohort])))

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        if self.stopping:
            return not self.running
        return len(self.over) == len(self.pieces)

    # -- one turn --------------------------------------------------------------------------

    def adopt(self, jobs: Collection[Job]) -> None:
        """Take over what an earlier driver started and what still trains or waits."""
        for job in jobs:
            if job.cohort not in self.by_id:
                continue
            known = job.executor == self.executor.name
            alive = self.executor.adopt(job) if known and job.id else None
            if alive is False:
                if self.ground.held(job.cohort) is not False:
                    self.ground.free(job.cohort)
                continue
            if alive is None and self.ground.held(job.cohort) is False:
                continue
            if alive is None:
                self.foreign.add(job.cohort)
            log.info("cohort %s still runs as %s %s", job.cohort, job.executor, job.id)
            self.running[job.cohort] = job
            self.attempts[job.cohort].stamp = self.ground.progress(job.cohort)

    def turn(self) -> None:
        """Meet what has ended, see what is made, and fill the free slots.

        Raises:
            JobError: every machine refuses to train.
        """
        self._count()
        for cohort, told in self._ended().items():
            self._meet(cohort, self.ground.ended(self.running[cohort], told))
        self._look_for_what_is_made()
        if not self.stopping:
            self._fill()

    def stop(self) -> None:
        """Start nothing more, and let everything commit and stop."""
        if self.stopping:
            return
        self.stopping = True
        for job in self.running.values():
            self.ground.ask_to_stop(job.cohort)
            if job.cohort not in self.foreign:
                self.executor.stop(job)

    def _count(self) -> None:
        now = self.clock()
        if self._counted > -1e9:
            passed = now - self._counted
            # a slot that is gone while its job still ends was offered all the same
            self.usage.offered += passed * max(self.executor.capacity(), len(self.running))
            self.usage.busy += passed * len(self.running)
        self._counted = now

    def _ended(self) -> Mapping[str, Ended]:
        own = [job for job in self.running.values() if job.cohort not in self.foreign]
        found = dict(self.executor.watch(own))
        for cohort in list(self.foreign):
            if self.ground.held(cohort) is False:
                self.foreign.discard(cohort)
                found[cohort] = Ended("lost", "Its worker is gone.", blameless=True)
        return found

    def _meet(self, cohort: str, ended: Ended) -> None:
        """Decide what becomes of a cohort whose job has ended."""
        del self.running[cohort]
        if ended.kind in ("done", "stopped"):
            self._worked = True
            self._close(cohort, ended)
            return
        log.warning("cohort %s: %s", cohort, ended.why or ended.kind)
        if ended.kind == "lost":
            self.ground.free(cohort)
        if self.stopping:
            self.over[cohort] = ended
            return
        self._again(cohort, ended)

    def _again(self, cohort: str, ended: Ended) -> None:
        """Let a cohort go on from its newest commit, or give it up."""
        known, stamp = self.attempts[cohort], self.ground.progress(cohort)
        if stamp != known.stamp:
            known.in_a_row, known.stamp, self._worked = 0, stamp, True
        if ended.kind == "refused" and not self._worked:
            self._refused += 1
            if self._refused >= REFUSALS:
                raise JobError(f"No machine could train anything. {ended.why}")
        if not ended.blameless and ended.kind != "held":
            known.in_a_row += 1
        if known.in_a_row >= self.tries:
            sentence = (
                f"Given up after {_attempts(known.in_a_row)} without a new commit; the last one: "
                f"{ended.why or ended.kind}"
            )
            self.ground.give_up(cohort, sentence)
            self._close(cohort, Ended("failed", sentence))
            return
        self.ground.again(cohort, ended.why)
        waits = FIRST_WAIT * 2 ** max(known.in_a_row - 1, 0) if known.in_a_row else 0.0
        if ended.kind in ("held", "refused"):
            waits = max(waits, BUSY_WAIT)
        known.not_before = self.clock() + min(waits, LONGEST_WAIT)
        heapq.heappush(self._later, (known.not_before, cohort))

    def _close(self, cohort: str, ended: Ended) -> None:
        """Let what waited for a cohort start: what is missing then is said by its runs."""
        self.over[cohort] = ended
        for run in self.by_id[cohort].runs:
            self._open(run)

    def _open(self, run: str) -> None:
        for cohort in self.awaited.pop(run, ()):
            self.missing[cohort].discard(run)
            if not self.missing[cohort] and cohort not in self.over:
                self._push(cohort)

    def _look_for_what_is_made(self) -> None:
        """See what cohorts that still train have made already."""
        now = self.clock()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        for run in [r for r in self.awaited if self.home[r] in self.running]:
            if self.ground.made(run):
                self._open(run)

    def _push(self, cohort: str) -> None:
        heapq.heappush(self._ready, (-self._level[cohort], self._place[cohort], cohort))

    def _fill(self) -> None:
        """Start ready cohorts while there are slots."""
        now = self.clock()
        while self._later and self._later[0][0] <= now:
            self._push(heapq.heappop(self._later)[1])
        room = self.executor.capacity() - len(self.running)
        while room > 0 and self._ready:
            _, _, cohort = heapq.heappop(self._ready)
            if cohort in self.running or cohort in self.over:
                continue
            room -= self._start(cohort)

    def _start(self, cohort: str) -> bool:
        """Start a cohort; False where the engine takes nothing now, so that it waits."""
        known, token = self.attempts[cohort], self.tokens()
        known.jobs += 1
        if known.jobs == 1:
            known.stamp = self.ground.progress(cohort)
        try:
            self.ground.intend(cohort, token)
            job = self.executor.start(cohort, token)
        except DtvgError as error:
            self._again(cohort, Ended("refused", str(error), blameless=True))
            return False
        self.running[cohort] = job
        self.ground.started(job)
        return True


def _attempts(number: int) -> str:
    return "one attempt" if number == 1 else f"{number} attempts in a row"
