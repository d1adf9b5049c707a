"""What the events say of a run's start: its rows, its sources, what it starts from.

docs/run_files.md "events".
"""

from __future__ import annotations

from collections.abc import Sequence

from dtvg.methods.base import TransferMethod
from dtvg.training.state import RunSlot

Told = tuple[str, str]
"""Kind and sentence of an event."""


def starting_events(slot: RunSlot, method: TransferMethod, told: Sequence[Told]) -> list[Told]:
    """Return the events at a run's start.

    Args:
        slot: the run, with its notes.
        method: its code.
        told: what was found before the run could start.
    """
    found: list[Told] = []
    drawn = slot.data.drawn
    if drawn is not None:
        chosen_on = "all" if drawn.validation is None else str(len(drawn.validation))
        found.append(
            (
                "few_shot",
                f"Trains on {len(drawn.train)} rows drawn by seed {slot.config.seed}, chosen on "
                f"{chosen_on} validation rows (data {slot.data.fingerprint}).",
            )
        )
    found += told
    opening = method.opening(slot.note)
    return [*found, ("chose_source", opening)] if opening else found
