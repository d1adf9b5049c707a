"""Did a prompt learn its task? Asked before it is used as a source.

A source whose prompt did not learn is a frequent, silent failure of prompt tuning: its vector
adds nothing, or noise. Must not import torch.
"""

from __future__ import annotations

import numpy as np

from dtvg.store.bank import TaskPrompt

NO_CHANGE = 1e-3
"""A vector shorter than this share of its initial prompt did not move."""
SURE = 1.96
"""Standard errors a score must lie above the commonest answer's to count as learned."""

HEALTHY, AT_MAJORITY, NOT_MOVED, NO_VECTOR, UNKNOWN = (
    "learned",
    "at the commonest answer",
    "did not move",
    "no vector",
    "not known",
)
ADVICE = {
    HEALTHY: "Scores above always giving the commonest answer.",
    AT_MAJORITY: "Scores no better than always giving the commonest answer; as a source it adds "
    "noise. Tune it longer or with another rate.",
    NOT_MOVED: "Its best prompt is the initial one, so its vector is zero and adds nothing: no "
    "step scored better on validation. Tune it longer or with another rate, or leave it out.",
    NO_VECTOR: "Imported without its initial prompt: only methods that use prompts themselves "
    "(spot, attempt) can take it.",
    UNKNOWN: "Nothing says how well it scores.",
}


def health(prompt: TaskPrompt) -> str:
    """Say whether a prompt learned its task; one of `ADVICE`'s keys."""
    if prompt.init is not None:
        moved = float(np.linalg.norm(prompt.vector))
        if moved <= NO_CHANGE * float(np.linalg.norm(prompt.init)):
            return NOT_MOVED
    if prompt.score is not None and prompt.majority is not None:
        rows = prompt.n_examples or 1
        spread = np.sqrt(max(prompt.majority * (1 - prompt.majority), 0.0) / rows)
        if prompt.score <= prompt.majority + SURE * spread:
            return AT_MAJORITY
    if prompt.init is None:
        return NO_VECTOR
    return UNKNOWN if prompt.score is None or prompt.majority is None else HEALTHY


def complaints(sources: dict[str, TaskPrompt]) -> list[str]:
    """Return one sentence for each source whose prompt did not learn.

    Args:
        sources: prompts by the name of their task.
    """
    found = {name: health(prompt) for name, prompt in sources.items()}
    return [
        f"Source {name}: {state}. {ADVICE[state]}"
        for name, state in found.items()
        if state in (AT_MAJORITY, NOT_MOVED)
    ]
