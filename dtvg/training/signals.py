"""Stopping politely: SIGTERM and Ctrl-C become a wish that the loop meets at its next step.

A second signal interrupts at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopWish:
    """Whether somebody asked this process to stop after a commit."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def ask(self) -> None:
        """Ask the loop to commit and stop at its next step."""
        self._event.set()


@contextmanager
def stop_on_signals() -> Iterator[StopWish]:
    """Turn SIGTERM and SIGINT into a `StopWish` while inside; the second one interrupts.

    Outside the main thread signals cannot be caught: then the wish is never set from here.
    """
    wish = StopWish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return

    def note(number: int, frame: FrameType | None) -> None:
        if wish:
            raise KeyboardInterrupt
        wish.ask()

    kept = {s: signal.signal(s, note) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield wish
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
