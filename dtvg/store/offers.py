"""What runs tell each other while they train, as files: the newest offers of each, what it took.

An offer is a few arrays that a run made after a step; a finished run leaves its last one. What a
run took since its last commits stays with it, so that it takes the same again when it goes on from
there. docs/scale.md "Runs that exchange".
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from dtvg.plain_text import load_json
from dtvg.store.files import replace_bytes, replace_json
from dtvg.store.layout import ExperimentDir

Arrays = Mapping[str, np.ndarray]
KEPT = 8
"""A run's newest offers that stay: who is slower takes the newest instead."""
_OFFER = re.compile(r"offer-(\d+)\.safetensors")
_TAKEN = re.compile(r"taken-(\d+)\.safetensors")


class Place(Protocol):
    """Where runs meet; files always do, and an engine may have something faster in front."""

    def publish(self, run: str, step: int, offer: Arrays) -> None:
        """Let others see what a run offers after a step."""

    def at(self, run: str, step: int) -> Arrays | None:
        """Return a run's offer after a step; None where there is none (any more)."""

    def newest(self, run: str) -> int | None:
        """Return the step of a run's newest offer."""

    def close(self) -> None:
        """Leave."""


class OfferFiles:
    """Offers in the runs' own folders, `<run>/offers/`."""

    def __init__(self, experiment: ExperimentDir) -> None:
        self.experiment = experiment

    def _folder(self, run: str) -> Path:
        return self.experiment.run(run).path / "offers"

    def publish(self, run: str, step: int, offer: Arrays) -> None:
        """Write an offer, and remove those that nobody in step can ask for.

        Raises:
            StoreError: the disk refuses.
        """
        folder = self._folder(run)
        replace_bytes(folder / f"offer-{step:09d}.safetensors", save(dict(offer)), durable=False)
        for old in _steps(folder, _OFFER)[:-KEPT]:
            (folder / f"offer-{old:09d}.safetensors").unlink(missing_ok=True)

    def at(self, run: str, step: int) -> Arrays | None:
        """Return a run's offer after a step; one that is damaged is none."""
        found = _read(self._folder(run) / f"offer-{step:09d}.safetensors")
        return None if found is None else found[0]

    def newest(self, run: str) -> int | None:
        """Return the step of a run's newest offer."""
        found = _steps(self._folder(run), _OFFER)
        return found[-1] if found else None

    def close(self) -> None:
        """Files need no farewell."""

    # -- beginnings and ends -------------------------------------------------------------------

    def begin(self, run: str) -> bool:
        """Let a run take part; return whether it did so before, in an earlier life."""
        folder = self._folder(run)
        (folder / "ended.json").unlink(missing_ok=True)
        return bool(_steps(folder, _OFFER) or _steps(folder, _TAKEN))

    def end(self, run: str, step: int) -> None:
        """Say that a run offers nothing more: its last offer counts from now on.

        Raises:
            StoreError: the disk refuses.
        """
        folder = self._folder(run)
        for path in folder.glob("taken-*.safetensors"):
            path.unlink(missing_ok=True)
        replace_json(folder / "ended.json", {"step": step})

    def ended(self, run: str) -> bool:
        """Whether a run offers nothing more."""
        folder = self._folder(run)
        return (folder / "ended.json").exists() or (folder.parent / "result.json").exists()

    # -- what a run took -----------------------------------------------------------------------

    def keep_taken(self, run: str, step: int, arrays: Arrays, facts: object) -> None:
        """Keep what a run is about to take in a round.

        Raises:
            StoreError: the disk refuses.
        """
        content = save(dict(arrays), metadata={"dtvg": json.dumps(facts)})
        path = self._folder(run) / f"taken-{step:09d}.safetensors"
        replace_bytes(path, content, durable=False)

    def taken(self, run: str, step: int) -> tuple[Arrays, object] | None:
        """Return what a run took in a round before it was interrupted; None: nothing is known."""
        return _read(self._folder(run) / f"taken-{step:09d}.safetensors")

    def forget_taken(self, run: str, until: int) -> None:
        """Remove what a run took in rounds that a commit of it has behind it."""
        folder = self._folder(run)
        for step in _steps(folder, _TAKEN):
            if step <= until:
                (folder / f"taken-{step:09d}.safetensors").unlink(missing_ok=True)


def _steps(folder: Path, names: re.Pattern[str]) -> list[int]:
    """Return the steps of the files of one kind, ascending."""
    found = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        found = [int(match[1]) for entry in entries if (match := names.fullmatch(entry.name))]
    return sorted(found)


def _read(path: Path) -> tuple[Arrays, object] | None:
    """Return arrays and facts of a file; None where it is absent or cut off."""
    try:
        with safe_open(path, "numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return arrays, load_json((file.metadata() or {}).get("dtvg", "null"))
    except (OSError, SafetensorError, ValueError):
        return None
