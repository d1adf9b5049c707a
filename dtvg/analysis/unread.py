"""Runs whose files cannot be read: left out of what many runs are read for, and named there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from dtvg.analysis.words import counted
from dtvg.errors import StoreError
from dtvg.store.reader import Run

T = TypeVar("T")
MOST = 3
"""Runs that a sentence names."""
MET: set[str] = set()
"""Folders of all runs met so far that could not be read: whoever remembers what was made without
them has to look whether their files were mended."""


class Unread:
    """Runs that were met and cannot be read, with why."""

    def __init__(self) -> None:
        self._found: dict[Path, str] = {}

    def __contains__(self, run: Run) -> bool:
        """Whether something of a run could not be read."""
        return run.path in self._found

    def tried(self, run: Run, read: Callable[[Run], T]) -> T | None:
        """Return what is read of a run; None, and the run is noted, where it cannot be read."""
        try:
            return read(run)
        except StoreError as error:
            MET.add(str(run.path))
            self._found.setdefault(run.path, f"{run.experiment}/{run.name}: {error}".rstrip("."))
            return None

    @property
    def named(self) -> str:
        """The runs with why each cannot be read, the first few; empty: none."""
        told = sorted(self._found.values())
        more = [f"and {len(told) - MOST} more"] if len(told) > MOST else []
        return "; ".join([*told[:MOST], *more])

    @property
    def note(self) -> str:
        """One sentence on what is left out; empty: nothing."""
        count = len(self._found)
        it = "it is" if count == 1 else "they are"
        said = f"Files of {counted(count, 'run')} cannot be read; {it} left out where those are "
        return f"{said}needed ({self.named})." if count else ""
