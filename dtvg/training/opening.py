"""What the events say of a run's start: its rows, its sources, what it starts from.

docs/run_files.md "events".
"""

from __future__ import annotations

from collections.abc import Sequence

from dtvg.training.state import RunSlot


def starting_events(slot: RunSlot, weak: Sequence[str]) -> list[tuple[str, str]]:
    """Return kind and sentence of the events at a run's start.

    Args:
        slot: the run, with its notes.
        weak: what is wrong with the prompts of its sources.
    """
    found = []
    drawn, note = slot.data.drawn, slot.note
    if drawn is not None:
        chosen_on = "all" if drawn.validation is None else str(len(drawn.validation))
        found.append(
            (
                "few_shot",
                f"Trains on {len(drawn.train)} rows drawn by seed {slot.config.seed}, chosen on "
                f"{chosen_on} validation rows (data {slot.data.fingerprint}).",
            )
        )
    found += [("weak_source", sentence) for sentence in weak]
    if "chosen_source" in note:
        sentence = f"Starts from the prompt of {note['chosen_source']} (cosine {note['cosine']})."
        found.append(("chose_source", sentence))
    if "trials" in note:
        kept = ", ".join(note["subset"]) or "none"
        sentence = f"Linear fit of {note['n_trials']} trials keeps {kept}."
        found.append(("chose_source", sentence))
    elif "coefficients" in note:
        terms = " + ".join(f"{c:g} · {name}" for name, c in note["coefficients"].items())
        sentence = f"Starts from the initial prompt plus {terms or 'nothing'}."
        found.append(("chose_source", sentence))
    return found
