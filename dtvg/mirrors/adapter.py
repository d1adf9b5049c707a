"""What a tracker has to do, which there are, and whether their packages are here."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from dtvg.config import LoggingConfig
from dtvg.extras import require

Setting = str | int | float | bool | None


class Row(NamedTuple):
    """The scalars of one step of a run."""

    step: int
    time: float
    """Seconds since 1970: when the run was made, plus the seconds it has trained."""
    values: Mapping[str, float]
    """Finite numbers by name, e.g. `train/loss`, `group/size`, `member/sst2`."""


@dataclass(frozen=True)
class Facts:
    """What a tracker is told about a run."""

    experiment: str
    run: str
    folder: Path
    """Of the experiment's mirrors; a tracker that keeps files puts them here, under its name."""
    settings: Mapping[str, Setting]
    """The run's configuration with dotted names."""


Stored = set[tuple[int, str]]
"""Steps and names of values."""


class Adapter(Protocol):
    """A tracker. Every method may raise anything: it is then reported and left behind."""

    def open(self, facts: Facts, known: str | None) -> str:
        """Begin a run, or go on with one; return the tracker's own name of it.

        Args:
            facts: of the run.
            known: what this returned before, maybe in another process; None: a run to begin.
        """

    def write(self, key: str, rows: Sequence[Row]) -> None:
        """Store rows; they are safe with the tracker when this returns."""

    def stored(self, key: str) -> Stored | None:
        """Return what the tracker has of a run already; None: it cannot tell."""

    def close(self, key: str, finished: bool) -> None:
        """Say that no more rows come now; `finished`: nor ever."""


MAKERS = {
    "tensorboard": "dtvg.mirrors.on_tensorboard:TensorBoard",
    "wandb": "dtvg.mirrors.on_wandb:Wandb",
    "mlflow": "dtvg.mirrors.on_mlflow:Mlflow",
    "trackio": "dtvg.mirrors.on_trackio:Trackio",
}
"""Tracker → module and class of its adapter, imported when it is asked for."""


def make(tracker: str) -> Adapter:
    """Make a tracker's adapter; imports its package."""
    module, _, name = MAKERS[tracker].partition(":")
    made: Adapter = getattr(importlib.import_module(module), name)()
    return made


def check_installed(logging: LoggingConfig) -> None:
    """Refuse trackers whose packages are not installed.

    Raises:
        ConfigError: with what to install.
    """
    for tracker in logging.mirror:
        require(tracker, f"logging.mirror: [{tracker}]")
