"""The stages of an experiment in one line: Stage I, transfer, test, and the time left."""

from __future__ import annotations

from dtvg.analysis.overview.progress import Progress
from dtvg.plan.estimate import duration

COLOURS = {"done": "green", "now": "blue", "later": "gray"}


def stage_line(found: Progress) -> str:
    """Return the stages as badges in Markdown, e.g. `Stage I 12 of 18 → Transfer 0 of 6`."""
    badges = [f":{COLOURS[s.state]}-badge[{s.text}]" for s in found.stages]
    left = f" about {duration(found.left)} left" if found.left and found.now else ""
    return " → ".join(badges) + left
