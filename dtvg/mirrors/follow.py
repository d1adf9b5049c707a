"""Following runs while they train: a thread per tracker, never in the way of a step.

A thread looks every few seconds for what has been committed. A tracker that raises, or does not
answer for a while, is reported once and left behind; its thread is never waited for.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType

from dtvg.errors import StoreError
from dtvg.mirrors.adapter import make
from dtvg.mirrors.bring import RunMirror
from dtvg.store.layout import RunDir

log = logging.getLogger(__name__)

PAUSE_SECONDS = 2.0
"""Between two looks for committed rows, at least."""
SHARE = 0.05
"""Of one core that a tracker's thread takes at most, on average."""
SLOW_SECONDS = 60.0
"""A tracker that does not answer for so long is left behind."""
END_SECONDS = 30.0
"""When training has ended, trackers get so long for the rest."""
STOP_SECONDS = 5.0
"""The same where training was stopped or failed."""


LEFT_BEHIND = "mirror"
"""Kind of the event that says that a tracker was left behind."""


class _Left(Exception):
    """The tracker was left behind meanwhile."""


class _Follower(threading.Thread):
    """One tracker's thread; nobody waits for it but for a moment at the end."""

    def __init__(self, tracker: str) -> None:
        super().__init__(name=f"mirror-{tracker}", daemon=True)
        self.tracker = tracker
        self.waiting: list[RunDir] = []
        """Runs that were added and not begun yet; only appended to by others."""
        self.problem = ""
        """Why the tracker was left behind, one sentence; empty: it was not."""
        self.ending = threading.Event()
        self.asked: float | None = None
        """Since when the tracker is at work, on the monotonic clock; None: it is not."""

    def run(self) -> None:
        """Bring what is committed, until it is over and everything was brought."""
        try:
            self._follow()
        except _Left:
            return
        except Exception as error:  # noqa: BLE001 - of a tracker; said once
            said = " ".join(str(error).split())[:200]
            self.leave(f"failed ({type(error).__name__}: {said or 'no message'})")
        finally:
            self.asked = None

    def _follow(self) -> None:
        self.asked = time.monotonic()
        adapter = make(self.tracker)
        mirrors: list[RunMirror] = []
        pause = 0.0
        while True:
            last = self.ending.wait(pause)
            while self.waiting:
                mirrors.append(RunMirror(self.waiting.pop(0), self.tracker, adapter))
            began = time.thread_time()
            mirrors = [mirror for mirror in mirrors if not self._bring(mirror)]
            if last:
                for mirror in mirrors:
                    mirror.leave()
                return
            self.asked = None
            pause = max(PAUSE_SECONDS, (time.thread_time() - began) / SHARE)

    def _bring(self, mirror: RunMirror) -> bool:
        """Bring what is new of a run; what cannot be read now is for the next time."""
        self._look()
        try:
            return mirror.bring(self._look)
        except StoreError as error:
            log.debug("mirror %s of %s: %s", self.tracker, mirror.run.name, error)
            return False

    def _look(self) -> None:
        if self.problem:
            raise _Left
        self.asked = time.monotonic()

    def look(self) -> None:
        """Leave the tracker behind if it has not answered for too long."""
        asked = self.asked
        if asked is not None and time.monotonic() - asked > SLOW_SECONDS:
            self.leave(f"has not answered for {SLOW_SECONDS:g} s")

    def leave(self, what: str) -> None:
        """Report it once."""
        if not self.problem:
            self.problem = (
                f"The mirror to {self.tracker} {what} and is left behind; training goes on. "
                "`dtvg runs mirror EXPERIMENT` brings the rest later."
            )
            log.warning("%s", self.problem)


class Mirrors:
    """All trackers of a process: runs are added, and what was left behind is told to each run."""

    def __init__(
        self, trackers: Iterable[str] = (), stopping: Callable[[], bool] = lambda: False
    ) -> None:
        """Make it; nothing is started yet.

        Args:
            trackers: their names.
            stopping: whether training was asked to stop.
        """
        self._stopping = stopping
        self._followers = [_Follower(tracker) for tracker in dict.fromkeys(trackers)]
        self._told: set[tuple[str, str]] = set()

    def add(self, runs: Iterable[RunDir]) -> None:
        """Follow some more runs."""
        added = list(runs)
        for follower in self._followers:
            follower.waiting += added

    def start(self) -> Mirrors:
        """Start the threads, which first import what the trackers need."""
        for follower in self._followers:
            follower.start()
        return self

    def told(self, run: str) -> list[tuple[str, str]]:
        """Return the events that a run's log should hold and does not yet: kind and sentence."""
        found = []
        for follower in self._followers:
            follower.look()
            if follower.problem and (follower.tracker, run) not in self._told:
                self._told.add((follower.tracker, run))
                found.append((LEFT_BEHIND, follower.problem))
        return found

    def close(self, seconds: float) -> None:
        """Give the trackers a moment for the rest; who needs longer is left behind."""
        until = time.monotonic() + seconds
        begun = [f for f in self._followers if f.ident is not None]
        for follower in begun:
            follower.ending.set()
        for follower in begun:
            while follower.is_alive() and not follower.problem and time.monotonic() < until:
                follower.join(0.05)
            if follower.is_alive():
                follower.leave("was not ready when training ended")

    def __enter__(self) -> Mirrors:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        hurry = kind is not None or self._stopping()
        self.close(STOP_SECONDS if hurry else END_SECONDS)
