"""Asking prompts for answers: in a process of its own, which keeps the backbone for a while.

The process is started when something is asked and none lives; it ends by itself when nothing was
asked for some minutes. Imports no torch.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from dtvg.errors import JobError
from dtvg.jobs.launcher import detached, tail_of
from dtvg.store import playground
from dtvg.store.files import locked, replace_json
from dtvg.store.playground import Answered, Asked, Prompted

MODULE = "dtvg.training.playground"
SECONDS = 120.0
"""A question that takes longer is given up: a backbone was loaded long before."""
LOOK_SECONDS = 0.05


def ask(text: str, prompts: Sequence[Prompted], seconds: float = SECONDS) -> Answered:
    """Return what prompts answer to an input.

    Args:
        text: the input, as the model reads it.
        prompts: whose.
        seconds: how long to wait.

    Raises:
        JobError: nothing to ask, the process could not be started, ended, or took too long.
    """
    try:
        asked = Asked(text=text, prompts=list(prompts))
    except ValidationError:
        raise JobError(
            f"An input has at most {playground.LONGEST:,} characters, and between 1 and "
            f"{playground.MOST} prompts are asked at once; shorten the input or choose fewer."
        ) from None
    place = playground.folder()
    name = f"{time.time():.3f}-{secrets.token_hex(4)}.json"
    try:
        for folder in (playground.asked_in(place), playground.answered_in(place)):
            folder.mkdir(parents=True, exist_ok=True)
        replace_json(playground.asked_in(place) / name, asked.model_dump(), durable=False)
        _ensure(place)
        return _wait(place, name, seconds)
    except OSError as error:
        raise JobError(
            f"'{place}' cannot be written ({error.strerror or error}), so nothing was asked."
        ) from None
    finally:
        for folder in (playground.asked_in(place), playground.answered_in(place)):
            (folder / name).unlink(missing_ok=True)


def is_warm() -> bool:
    """Whether a process lives that may have the backbone at hand."""
    place = playground.folder()
    if not place.is_dir():
        return False
    with locked(playground.lock_of(place), wait=False) as free:
        return not free


def _ensure(place: Path) -> None:
    """Start the process where none lives; two that start at once settle it by the lock."""
    if not is_warm():
        detached([sys.executable, "-P", "-m", MODULE, str(place)], place / "log.txt")


def _wait(place: Path, name: str, seconds: float) -> Answered:
    """Wait for an answer; start the process again once where it ended before."""
    path = playground.answered_in(place) / name
    until, look = time.monotonic() + seconds, time.monotonic() + 15
    while time.monotonic() < until:
        if path.exists():
            return Answered.model_validate_json(path.read_bytes(), strict=True)
        if time.monotonic() > look:
            _ensure(place)
            look = time.monotonic() + 15
        time.sleep(LOOK_SECONDS)
    said = tail_of(place / "log.txt", 1)
    raise JobError(
        f"Nothing was answered within {seconds:.0f} s"
        + (f"; the process said last: {said[:200]}" if said else "; see its log")
        + f" ('{place / 'log.txt'}')."
    )
