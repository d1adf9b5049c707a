"""Copying while runs train: one thread, never in the way of a step.

The thread looks every few seconds for a new commit and copies the newest one, so at most one waits,
however slow the store is. A store that fails or does not answer is reported once and tried again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

from dtvg.errors import DtvgError
from dtvg.storage.place import Foreign, Place, hidden
from dtvg.storage.push import Pusher
from dtvg.store.bank import PromptBank, TaskPrompt
from dtvg.store.files import read_json
from dtvg.store.layout import CohortDir, ExperimentDir, RunDir
from dtvg.store.liveness import read_lease

log = logging.getLogger(__name__)

PAUSE_SECONDS = 2.0
"""Between two looks for a new commit, at least."""
SHARE = 0.05
"""Of one core that the thread takes at most, on average."""
BEAT_SECONDS = 15.0
"""While something trains its status is copied so often, also without a new commit."""
SLOW_SECONDS = 60.0
"""A store that does not answer for so long is reported; it may answer later."""
FIRST_WAIT, LONGEST_WAIT = 5.0, 300.0
"""Seconds until a store that failed is tried again: doubled each time."""
END_SECONDS, STOP_SECONDS = 30.0, 5.0
"""When training has ended, or was stopped, the rest gets so long."""

FAILING = "storage"
"""Kind of the event that says that a store fails."""


class _Left(Exception):
    """Nobody waits for the thread any more."""


class _Watched:
    """A part of the experiment, with what was copied of it."""

    def __init__(self, pusher: Pusher) -> None:
        self.pusher = pusher
        self._copied: object = None
        self._at = 0.0

    def due(self) -> bool:
        """Whether there is something new, or a sign of life is due."""
        if self._stamp() != self._copied:
            return True
        if time.monotonic() - self._at < BEAT_SECONDS:
            return False
        cohort, whole = self.pusher.cohort, self.pusher.experiment.path
        if cohort is None:
            return _is_held(whole)
        trains = any(state in ("running", "stopping") for state in self._states())
        return _is_held(cohort.path) or (trains and _is_held(whole))

    def push(self, look: Callable[[], None], last: bool) -> None:
        """Copy it; see `Pusher.push`."""
        stamp = self._stamp()
        self.pusher.push(look, last)
        self._copied, self._at = stamp, time.monotonic()

    def _stamp(self) -> object:
        """Return what changes with a commit, a result, a state, or a file of the experiment."""
        cohort, experiment = self.pusher.cohort, self.pusher.experiment
        used = tuple(sorted(self.pusher.prompts))
        if cohort is None:
            files = (experiment.config_path, experiment.plan_path, experiment.scale_path)
            return used, tuple(map(_written, (*files, experiment.engine_path)))
        results = tuple(_written(run.result_path) for run in self.pusher.runs)
        return used, _written(cohort.state_path), results, self._states()

    def _states(self) -> tuple[str, ...]:
        """Return what the statuses of the part's runs say that have no result."""
        waiting = (run for run in self.pusher.runs if not run.result_path.exists())
        return tuple(str((read_json(run.status_path) or {}).get("state")) for run in waiting)


class Copies:
    """The storage mirror of one process: parts are added, and what fails is told to each run."""

    def __init__(
        self,
        uri: str | None = None,
        experiment: ExperimentDir | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """Make it; nothing is started yet.

        Args:
            uri: of the store; None: nothing is copied.
            experiment: whose files are copied.
            stopping: whether training was asked to stop.
        """
        self.uri, self.experiment, self._stopping = uri, experiment, stopping
        self.problem = ""
        """What was reported, one sentence; empty: nothing failed so far."""
        self._told: set[str] = set()
        self._watched: list[_Watched] = []
        self._place: Place | None = None
        self._new: list[tuple[CohortDir | None, tuple[RunDir, ...]]] = []
        self._prompts: dict[str, Path] = {}
        self._ending, self._left = threading.Event(), False
        self._asked: float | None = None
        self._unfinished = ""
        self._thread = threading.Thread(target=self._work, name="storage", daemon=True)

    def add(self, cohort: CohortDir | None, runs: Iterable[RunDir] = ()) -> None:
        """Copy one more part: a cohort with its runs, or (None) the experiment itself."""
        if self.uri is not None:
            self._new.append((cohort, tuple(runs)))

    def used(self, bank: PromptBank, prompts: Iterable[TaskPrompt]) -> None:
        """Copy entries of the bank that were used or made here."""
        if self.uri is None:
            return
        for prompt in prompts:
            name = f"{prompt.task}-{prompt.fingerprint}"
            self._prompts[name] = bank.root / name

    def told(self, run: str) -> list[tuple[str, str]]:
        """Return the events that a run's log should hold and does not yet: kind and sentence."""
        asked = self._asked
        if asked is not None and time.monotonic() - asked > SLOW_SECONDS:
            self._report(
                f"The storage mirror '{self.uri}' has not answered for {SLOW_SECONDS:g} s."
            )
        if not self.problem or run in self._told:
            return []
        self._told.add(run)
        return [(FAILING, self.problem)]

    def _report(self, sentence: str, again: bool = True) -> None:
        if self.problem:
            return
        more = "Training goes on; " + ("copying is tried again." if again else "nothing is copied.")
        self.problem = f"{sentence} {more}"
        log.warning("%s", self.problem)

    def _work(self) -> None:
        waits = FIRST_WAIT
        pause = 0.0
        while True:
            last = self._ending.wait(pause)
            began = time.thread_time()
            self._unfinished = ""
            try:
                self._turn(last)
                waits, pause = FIRST_WAIT, PAUSE_SECONDS
            except _Left:
                return
            except Foreign as error:
                self._unfinished = str(error)
                self._report(str(error), again=False)
                return
            except Exception as error:  # noqa: BLE001 - of a client or a disk; said once
                said = error if isinstance(error, DtvgError) else _said(error)
                self._unfinished = str(said)
                self._report(f"{said}")
                pause, waits = waits, min(2 * waits, LONGEST_WAIT)
            finally:
                self._asked = None
            if last:
                return
            pause = max(pause, (time.thread_time() - began) / SHARE)

    def _turn(self, last: bool) -> None:
        """Copy what is due, everything at the end."""
        self._look()
        if self._place is None:
            assert self.uri is not None
            self._place = Place(self.uri)
        while self._new:
            cohort, runs = self._new[0]
            assert self.experiment is not None
            pusher = Pusher(self._place, self.experiment, cohort, runs)
            self._watched.append(_Watched(pusher))
            self._new.pop(0)
        if self._watched:
            self._watched[0].pusher.prompts.update(self._prompts.copy())
        for watched in reversed(self._watched):  # the first last: it shows the others to readers
            if watched.due() or (last and watched is self._watched[0]):
                watched.push(self._look, last)

    def _look(self) -> None:
        if self._left:
            raise _Left
        self._asked = time.monotonic()

    def start(self) -> Copies:
        """Start the thread."""
        if self.uri is not None and not self._thread.ident:
            self._thread.start()
        return self

    def close(self, seconds: float) -> None:
        """Give the store a moment for the rest; say if something is left."""
        if not self._thread.ident:
            return
        self._ending.set()
        self._thread.join(seconds)
        self._left = True
        if self._thread.is_alive():
            self._unfinished = f"The storage mirror '{self.uri}' was not ready when training ended."
        if self._unfinished:
            log.warning("%s `dtvg runs push` copies the rest later.", self._unfinished)

    def __enter__(self) -> Copies:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        hurry = kind is not None or self._stopping()
        self.close(STOP_SECONDS if hurry else END_SECONDS)


def _is_held(folder: Path) -> bool:
    """Whether somebody trains under a lease that was not given back."""
    lease = read_lease(folder)
    return lease is not None and not lease.released


def _said(error: Exception) -> str:
    return f"Copying to the storage mirror failed ({type(error).__name__}: {hidden(str(error))})."


def _written(path: Path) -> tuple[int, int] | None:
    try:
        there = path.stat()
    except OSError:
        return None
    return there.st_mtime_ns, there.st_size
