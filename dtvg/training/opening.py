"""What the events say of a run's start: its rows, its answers, its sources, what it starts from.

docs/run_files.md "events".
"""

from __future__ import annotations

from collections.abc import Sequence

from dtvg.backbones.base import Backbone
from dtvg.backbones.speech import round_trip
from dtvg.methods.base import TransferMethod
from dtvg.tasks.splits import without_test
from dtvg.training.state import RunSlot

Told = tuple[str, str] | tuple[str, str, str]
"""Kind and sentence of an event, and maybe the source it is about."""


def starting_events(
    slot: RunSlot, method: TransferMethod, told: Sequence[Told], backbone: Backbone
) -> list[Told]:
    """Return the events at a run's start.

    Args:
        slot: the run, with its notes.
        method: its code.
        told: what was found before the run could start.
        backbone: whose tokenizer writes the answers.
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
    found += [("answers", sentence) for sentence in _unanswerable(slot, backbone)]
    found += told
    opening = method.opening(slot.note)
    return [*found, ("chose_source", opening)] if opening else found


_SAID: dict[tuple[str, str, str], list[str]] = {}


def _unanswerable(slot: RunSlot, backbone: Backbone) -> list[str]:
    """Say what of a run's tasks the backbone cannot write or read, and how a task was split."""
    found = []
    for task in slot.data.tasks:
        key = (backbone.name, backbone.revision, task.fingerprint)
        if key not in _SAID:
            trip = round_trip(task.spec, backbone.speech, task.texts["validation"])
            _SAID[key] = trip.sentences()
        found += _SAID[key]
        if task.spec.split.rule == "official" and task.rule == "size":
            note = without_test(task.spec)
            found.append(f"{note[:1].upper()}{note[1:]}.")
    return found
