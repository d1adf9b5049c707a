"""A simulated engine and folder with a clock of their own, which drive the real scheduler.

For tests and `benchmarks/scale.py`: thousands of cohorts on hundreds of slots in seconds, with
workers that die, nodes that are lost and come back, and cohorts that end before their time.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dtvg.plan.graph import cut_sizes
from dtvg.scale.executor import Ended, Job, Place
from dtvg.scale.scheduler import Piece, Scheduler


@dataclass(frozen=True)
class Faults:
    """What goes wrong, per hour of simulated time."""

    deaths: float = 0.0
    """Of each worker that trains."""
    node_losses: float = 0.0
    """Of each node."""
    away: float = 600.0
    """Seconds until a lost node is back."""
    hopeless: frozenset[str] = frozenset()
    """Cohorts that fail at each attempt, before any commit."""


@dataclass
class Life:
    """One attempt at a cohort."""

    job: Job
    node: int
    began: float
    ends: float
    token: int


@dataclass
class Simulation:
    """Slots on nodes, and cohorts with lengths that only the simulation knows.

    Args:
        pieces: what is to be trained.
        lengths: real seconds of each piece.
        nodes: how many there are.
        slots_each: of every node.
        faults: what goes wrong.
        seed: of everything random.
        overhead: seconds from a start to the first step.
        commit_every: seconds of work that a death may lose.
    """

    pieces: Sequence[Piece]
    lengths: Mapping[str, float]
    nodes: int
    slots_each: int
    faults: Faults = Faults()
    seed: int = 0
    overhead: float = 10.0
    commit_every: float = 10.0
    name: str = "simulated"
    pause: float = 0.0
    now: float = 0.0
    lives: dict[str, Life] = field(default_factory=dict)
    committed: dict[str, float] = field(default_factory=dict)
    lost_seconds: float = 0.0
    trained_seconds: float = 0.0
    starts: int = 0
    node_losses: int = 0
    given_up: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.up = set(range(self.nodes))
        self.used = [0] * self.nodes
        self.home = {run: piece for piece in self.pieces for run in piece.runs}
        self.events: list[tuple[float, int, str, object]] = []
        self._ended: dict[str, Ended] = {}
        self._count = 0
        for node in range(self.nodes):
            self._next_loss(node)

    # -- the executor ----------------------------------------------------------------------

    def check(self) -> None:
        """Everything fits."""

    def capacity(self) -> int:
        """Return the slots of the nodes that are up."""
        return len(self.up) * self.slots_each

    def start(self, cohort: str, token: str) -> Job:
        """Begin an attempt, on the node with the most room."""
        if cohort in self.lives:
            raise AssertionError(f"{cohort} would be trained by two workers at once")
        if self.committed.get(cohort, 0.0) >= self.lengths[cohort]:
            raise AssertionError(f"{cohort} would be trained again")
        node = min(self.up, key=lambda n: self.used[n])
        if self.used[node] >= self.slots_each:
            raise AssertionError("a slot would have two workers")
        self.used[node] += 1
        self.starts += 1
        job = Job(cohort, token, self.name, f"{cohort}/{token}", str(node), {}, self.now)
        left = self.lengths[cohort] - self.committed.get(cohort, 0.0)
        ends, what = self.now + self.overhead + left, "done"
        if cohort in self.faults.hopeless:
            ends, what = self.now + self.overhead / 2, "failed"
        elif self.faults.deaths:
            death = self.now + self.random.expovariate(self.faults.deaths / 3600.0)
            if death < ends:
                ends, what = death, "died"
        self._count += 1
        self.lives[cohort] = Life(job, node, self.now, ends, self._count)
        heapq.heappush(self.events, (ends, self._count, what, cohort))
        return job

    def watch(self, jobs: Sequence[Job]) -> Mapping[str, Ended]:
        """Return what has ended since."""
        found, self._ended = self._ended, {}
        return found

    def stop(self, job: Job) -> None:
        """End an attempt at once, after a commit."""
        self._end(job.cohort, Ended("stopped"), commit=True)

    def adopt(self, job: Job) -> bool | None:
        """Whether an attempt goes on."""
        return job.cohort in self.lives

    def places(self) -> list[Place]:
        """Return a row per node."""
        return [Place(f"node{n}", "simulated", self.slots_each * (n in self.up))
                for n in range(self.nodes)]  # fmt: skip

    def close(self) -> None:
        """Nothing is held."""

    # -- the folder ------------------------------------------------------------------------

    def made(self, run: str) -> bool:
        """Whether a run has finished: those of a piece one after the other, evenly."""
        piece = self.home[run]
        done = self._work_done(piece.id) / self.lengths[piece.id]
        return done >= (piece.runs.index(run) + 1) / len(piece.runs) - 1e-9

    def _work_done(self, cohort: str) -> float:
        done = self.committed.get(cohort, 0.0)
        life = self.lives.get(cohort)
        if life is not None:
            done += max(0.0, self.now - life.began - self.overhead)
        return done

    def progress(self, cohort: str) -> object:
        """Return the committed work."""
        return self.committed.get(cohort, 0.0)

    def intend(self, cohort: str, token: str) -> None:
        """Nothing is noted."""

    def started(self, job: Job) -> None:
        """Nothing is noted."""

    def ended(self, job: Job, told: Ended) -> Ended:
        """The engine's words are the worker's."""
        return told

    def held(self, cohort: str) -> bool | None:
        """Whether a worker is at it."""
        return cohort in self.lives

    def free(self, cohort: str) -> None:
        """Nothing is held by the dead."""

    def again(self, cohort: str, why: str) -> None:
        """Nothing is shown."""

    def give_up(self, cohort: str, why: str) -> None:
        """Note it."""
        self.given_up.append(cohort)

    def ask_to_stop(self, cohort: str) -> None:
        """`stop` does it."""

    # -- time ------------------------------------------------------------------------------

    def _next_loss(self, node: int) -> None:
        if self.faults.node_losses:
            at = self.now + self.random.expovariate(self.faults.node_losses / 3600.0)
            self._count += 1
            heapq.heappush(self.events, (at, self._count, "node lost", node))

    def _end(self, cohort: str, ended: Ended, commit: bool = False) -> None:
        """End an attempt: what was committed stays."""
        life = self.lives.pop(cohort)
        self.used[life.node] -= 1
        before = self.committed.get(cohort, 0.0)
        work = max(0.0, self.now - life.began - self.overhead)
        kept = work if commit else work // self.commit_every * self.commit_every
        kept = self.lengths[cohort] - before if ended.kind == "done" else kept
        self.committed[cohort] = before + kept
        self.lost_seconds += work - min(kept, work)
        self.trained_seconds += kept
        self._ended[cohort] = ended

    def advance(self, until: float | None = None) -> None:
        """Go on to the next thing that happens, at most to a moment."""
        if not self.events or (until is not None and self.events[0][0] > until):
            self.now = max(self.now, until if until is not None else self.now)
            return
        self.now, count, what, whom = heapq.heappop(self.events)
        if what == "node lost":
            self._lose(int(str(whom)))
        elif what == "node back":
            self.up.add(int(str(whom)))
            self._next_loss(int(str(whom)))
        else:
            cohort = str(whom)
            life = self.lives.get(cohort)
            if life is None or life.token != count:
                return  # its node was lost before
            if what == "done":
                self._end(cohort, Ended("done"))
            elif what == "failed":
                self._end(cohort, Ended("failed", "It fails each time."))
            else:
                self._end(cohort, Ended("lost", "Its worker died."))

    def _lose(self, node: int) -> None:
        self.up.discard(node)
        self.node_losses += 1
        for cohort in [c for c, life in self.lives.items() if life.node == node]:
            self._end(cohort, Ended("lost", f"Node {node} was lost.", blameless=True))
        self._count += 1
        heapq.heappush(self.events, (self.now + self.faults.away, self._count, "node back", node))


def run(simulation: Simulation, look: float = 5.0, tries: int = 3) -> Scheduler:
    """Train everything of a simulation with the real scheduler.

    Args:
        simulation: engine and folder in one.
        look: the driver looks at its jobs so often, in simulated seconds.
        tries: of the scheduler.
    """
    tokens = iter(range(1, 10**9))
    scheduler = Scheduler(
        simulation.pieces, simulation, simulation, tries,
        clock=lambda: simulation.now, tokens=lambda: str(next(tokens)),
    )  # fmt: skip
    while not scheduler.finished:
        scheduler.turn()
        end = simulation.now + look
        while simulation.now < end:
            simulation.advance(end)
    return scheduler


def many_pieces(
    runs: int = 10_000,
    cohorts: int = 1_000,
    seed: int = 0,
    stage_one: float = 0.2,
    spread: float = 0.25,
    slots: int | None = None,
) -> tuple[list[Piece], dict[str, float]]:
    """Return pieces like those of a large experiment, and their real lengths in seconds.

    Args:
        runs: of all pieces.
        cohorts: how many pieces, of the same number of runs.
        seed: of what is random.
        stage_one: share of pieces that others start from.
        spread: of the logarithm of expected lengths; real ones are up to a quarter off.
        slots: the last cohorts are cut finer, as the planner does for so many; what is random
            stays as it is. None: all have the same number of runs.
    """
    rng = random.Random(seed)
    each, first = runs // cohorts, int(cohorts * stage_one)
    made: list[Piece] = []
    for number in range(cohorts):
        names = tuple(f"r{number}.{i}" for i in range(each))
        needs: frozenset[str] = frozenset()
        if number >= first:
            homes = rng.sample(range(first), 5)
            needs = frozenset(f"r{home}.{rng.randrange(each)}" for home in homes)
        cost = rng.lognormvariate(7.0, spread)
        made.append(Piece(f"c{number:04d}", cost, names, needs))
    lengths = {piece.id: piece.cost * rng.uniform(0.8, 1.25) for piece in made}
    if slots is None:
        return made, lengths
    return _cut_anew(made, lengths, first, cut_sizes((cohorts - first) * each, each, slots))


def _cut_anew(
    pieces: Sequence[Piece], lengths: Mapping[str, float], first: int, sizes: Sequence[int]
) -> tuple[list[Piece], dict[str, float]]:
    """Cut all pieces but the first ones to other sizes; a run's share of its piece goes along."""
    made, real = list(pieces[:first]), {piece.id: lengths[piece.id] for piece in pieces[:first]}
    runs = [(run, piece) for piece in pieces[first:] for run in piece.runs]
    start = 0
    for number, size in enumerate(sizes, start=first):
        part, start = runs[start : start + size], start + size
        if not part:
            break
        id_ = f"c{number:04d}"
        cost = sum(piece.cost / len(piece.runs) for _, piece in part)
        needs = frozenset().union(*(piece.needs for _, piece in part))
        made.append(Piece(id_, cost, tuple(run for run, _ in part), needs))
        real[id_] = sum(lengths[piece.id] / len(piece.runs) for _, piece in part)
    return made, real


def least_time(pieces: Sequence[Piece], lengths: Mapping[str, float], slots: int) -> float:
    """Return a time below which no schedule can be, also one that knows all lengths.

    With as many slots as one likes, each piece would begin when what it needs is made. By a moment
    t no more work can be done than by t then; the slots need at least (the rest) / slots from t
    on. So the time is at least t + rest(t) / slots for every t, and the longest path.
    """
    made: dict[str, float] = {}
    begin: dict[str, float] = {}
    for piece in pieces:
        begin[piece.id] = max((made[name] for name in piece.needs), default=0.0)
        for place, run in enumerate(piece.runs, start=1):
            made[run] = begin[piece.id] + lengths[piece.id] * place / len(piece.runs)
    length = np.array([lengths[piece.id] for piece in pieces])
    start = np.array([begin[piece.id] for piece in pieces])
    path = float((start + length).max())
    moments = np.unique(np.concatenate([start, start + length]))  # where the bend of rest(t) is
    rest = [length.sum() - np.clip(t - start, 0, length).sum() for t in moments]
    return max(path, float((moments + np.array(rest) / slots).max()))


def bound(pieces: Sequence[Piece], lengths: Mapping[str, float], slots: int) -> float:
    """Return the time of a schedule that knows all lengths and may move work at any moment.

    At every moment the pieces with the longest path behind them have the slots (Muntz and Coffman
    1970). A real schedule to compare with, close to the least time; a cohort stays where it is,
    so that no order of starting reaches it when there are few cohorts per slot.
    """
    home = {run: piece.id for piece in pieces for run in piece.runs}
    after: dict[str, set[str]] = {piece.id: set() for piece in pieces}
    for piece in pieces:
        for name in piece.needs:
            after[home[name]].add(piece.id)
    level: dict[str, float] = {}
    for piece in reversed(pieces):
        level[piece.id] = lengths[piece.id] + max((level[x] for x in after[piece.id]), default=0.0)
    place = {run: (i + 1) / len(piece.runs) for piece in pieces for i, run in enumerate(piece.runs)}
    left = dict(lengths)
    waits = {piece.id: set(piece.needs) for piece in pieces}
    now, slice_ = 0.0, max(1.0, sum(lengths.values()) / slots / 500)
    while left:
        for id_, names in waits.items():
            if names:
                waits[id_] = {
                    n for n in names
                    if 1 - left.get(home[n], 0.0) / lengths[home[n]] < place[n] - 1e-9
                }  # fmt: skip
        ready = [id_ for id_ in left if not waits[id_]]
        ready.sort(key=lambda id_: lengths[id_] - left[id_] - level[id_])
        for id_ in ready[:slots]:
            left[id_] -= slice_
            if left[id_] <= 0:
                del left[id_]
        now += slice_
    return now
