"""Type an input, and see what the prompts of two runs answer, and of one without a source."""

from __future__ import annotations

from dtvg.ui import runs
from dtvg.ui.page import page
from dtvg.ui.playground import playground


def body() -> None:
    """Choose an experiment; the rest asks its prompts."""
    experiment = runs.pick_experiment()
    if experiment is not None:
        playground(experiment)


page("Playground", "Type an input, and see what two runs' prompts answer.", body)
