"""The inputs behind stored answers, where a task's rows are at hand without a network.

Must not import torch, plotly or streamlit.
"""

from __future__ import annotations

from collections.abc import Sequence

from dtvg.errors import DtvgError
from dtvg.store.reader import Run
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.sources import at_hand, find_folder
from dtvg.tasks.reading import is_kept, load_task
from dtvg.tasks.spec import example_fingerprint


def input_texts(run: Run, split: str, rows: Sequence[int]) -> dict[str, str]:
    """Return fingerprint → input text of rows of a run's target.

    Args:
        run: whose target and data settings.
        split: `test` or `validation`.
        rows: within the split, as stored with the answers.

    Returns:
        Only rows that can be read now; nothing where the task or its data are not at hand.
    """
    config = run.config
    if config is None:
        return {}
    try:
        spec = find_task(run.target)
        place = find_folder(spec, config.data.folder)
        if at_hand(spec, place) != "yes" and not is_kept(spec, config.data):
            return {}
        examples = load_task(run.target, config.data).split(split)
    except DtvgError:
        return {}
    found = [examples[row] for row in sorted(set(rows)) if row < len(examples)]
    return {example_fingerprint(e): e.source for e in found}
