"""Stopping politely: what asks a process to end is a wish that the loop meets at its next step.

SIGTERM and Ctrl-C, what schedulers send before their limit (SIGUSR1, SIGUSR2, SIGXCPU), and a
closed terminal (SIGHUP) all commit first. A second signal does not break that commit off; it
interrupts what takes longer.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGHUP", "SIGXCPU")
    if hasattr(signal, name)
)
PATIENCE_SECONDS = 2.0
"""Further signals within so long are the same wish: whoever sends them means one thing."""


class StopWish:
    """Whether somebody asked this process to stop after a commit."""

    def __init__(self, watch: Callable[[], bool] = lambda: False) -> None:
        self._event = threading.Event()
        self._asked_at = 0.0
        self.watch = watch
        """Asked by `look`: whether the process was asked to stop in another way."""
        self.interrupted = False
        """Whether a second signal came."""
        self.committing = False
        """Set while what was asked for is being met: then a signal breaks nothing off."""

    def __bool__(self) -> bool:
        return self._event.is_set()

    def ask(self) -> None:
        """Ask the loop to commit and stop at its next step."""
        if not self._event.is_set():
            self._asked_at = time.monotonic()
        self._event.set()

    def look(self) -> None:
        """Ask also what does not come as a signal."""
        if not self and self.watch():
            self.ask()

    def signalled(self) -> None:
        """Meet a signal.

        Raises:
            KeyboardInterrupt: for a second one, where nothing is being committed.
        """
        if not self:
            self.ask()
            return
        self.interrupted = True
        waited = time.monotonic() - self._asked_at
        if waited > PATIENCE_SECONDS and not self.committing:
            raise KeyboardInterrupt


@contextmanager
def stop_on_signals() -> Iterator[StopWish]:
    """Turn signals into a `StopWish` while inside; see `SIGNALS`.

    A signal that whoever started the process has it ignore (`nohup`) stays ignored. Outside the
    main thread signals cannot be caught: then the wish is never set from here.
    """
    wish = StopWish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return

    def note(number: int, frame: FrameType | None) -> None:
        wish.signalled()

    kept = {}
    for number in SIGNALS:
        if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
            kept[number] = signal.signal(number, note)
    try:
        yield wish
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
