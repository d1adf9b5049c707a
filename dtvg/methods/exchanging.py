"""Methods whose runs on several targets tell each other what they learn while they train.

A method says when a round is due, who takes part, what a run offers and what it makes of what
others offered. How that gets from run to run (memory, files, an actor) is not up to it:
`dtvg.training.exchanging`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dtvg.methods.base import MethodState, TransferMethod

Meeting = Literal["met", "stale", "ahead", "ended", "skipped", "absent"]
"""How a run met another one in a round: by its offer of that very round, by an older one (it is
slower, or dead), by a newer one (it is further), by its last one (it has ended), not at all since
it skips the round, or since nothing was ever heard of it."""

EXCHANGED = "exchanged"
"""Name in `MethodState.memory`: `[R]`, the step whose round a run has behind it."""


@dataclass(frozen=True)
class Met:
    """What a run knows of another one in a round."""

    how: Meeting
    offer: Mapping[str, np.ndarray] | None = None
    """None where it skips the round or nothing was heard of it."""
    step: int = -1
    """Steps that the other had trained when it made the offer."""


class Exchanging(TransferMethod):
    """A method that exchanges where its configuration's `exchanges_with` names other targets."""

    @abstractmethod
    def is_round(self, step: int) -> bool:
        """Whether there is an exchange after so many steps."""

    @abstractmethod
    def takes_part(self, target: str, seed: int, step: int) -> bool:
        """Whether a run takes part in the round after a step: anybody can tell of anybody.

        Args:
            target: of the run.
            seed: of the run.
            step: of the round.
        """

    @abstractmethod
    def offer(self, state: MethodState, row: int) -> dict[str, np.ndarray]:
        """Return what a run tells the others.

        Args:
            state: not changed.
            row: of the run.
        """

    @abstractmethod
    def take(self, state: MethodState, row: int, met: Mapping[str, Met]) -> None:
        """Take over what the others offered in a round in which the run takes part, in place.

        Args:
            state: of the stack.
            row: of the run.
            met: target → how its run was met; every other target.
        """
