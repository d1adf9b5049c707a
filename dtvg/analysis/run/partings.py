"""Where the groups of other seeds part from those of a run, over the steps that both recorded.

A thinned log holds few steps, so that it is said how many were compared. docs/method.md "Reading
a run".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from dtvg.analysis.run.groups import Membership
from dtvg.analysis.run.segments import said
from dtvg.analysis.words import counted, listed, percent

Ints = npt.NDArray[np.int64]

PARTINGS = [
    "seed",
    "run",
    "same",
    "overlap",
    "common",
    "whole",
    "step",
    "for_good",
    "here",
    "there",
    "sentence",
]


def partings(info: Membership, others: Sequence[Membership]) -> pd.DataFrame:
    """Return where other seeds part from a run, the least alike first.

    Args:
        info: the run's groups.
        others: groups of other seeds over the same sources; those without common steps are left
            out.

    Returns:
        `PARTINGS`.
    """
    made = []
    for other in others:
        _, a, b = np.intersect1d(info.steps, other.steps, assume_unique=True, return_indices=True)
        if other.sources == info.sources and len(a):
            made.append(_parting(info, other, a, b))
    table = pd.DataFrame(made, columns=PARTINGS)
    return table.sort_values(["same", "seed"], kind="stable", ignore_index=True)


def _parting(info: Membership, other: Membership, a: Ints, b: Ints) -> list[object]:
    """Compare two runs at their common rows `a` and `b`."""
    mine, theirs = info.member[a], other.member[b]
    apart = (mine != theirs).any(axis=1)
    union = (mine | theirs).sum(axis=1)
    shared = (mine & theirs).sum(axis=1)
    overlap = float(np.where(union > 0, shared / np.maximum(union, 1), 1.0).mean())
    same, steps = 1 - float(apart.mean()), info.steps[a]
    whole = len(a) == len(info.steps) == len(other.steps) and bool((np.diff(steps) == 1).all())
    start = [other.seed, other.run, same, overlap, len(a), whole]
    if not apart.any():
        return [*start, None, None, "", "", f"Seed {other.seed} has {alike(len(a), whole)}."]
    first = int(apart.argmax())
    ends = np.flatnonzero(~apart)
    good = int(ends[-1]) + 1 if len(ends) else 0
    for_good = int(steps[good]) if good < len(steps) else None
    at = good if for_good is not None else first
    at_latest = "at or before"  # what was between common steps nobody knows
    here, there = said(mine[at], info.sources), said(theirs[at], info.sources)
    at_first = f"{'at' if whole or steps[first] == 1 else at_latest} step {int(steps[first]):,}"
    text = f"Seed {other.seed} parts {at_first}"
    if for_good is None:
        text += ", but not for good"
    elif good == first:
        text += " for good"
    else:
        text += f", for good {'at' if whole else at_latest} step {for_good:,}"
    text += f" ({here} here, {there} there); same group in {percent(same)} of "
    text += "common steps." if whole else f"the {counted(len(a), 'step')} that both recorded."
    return [*start, int(steps[first]), for_good, here, there, text]


def alike(common: int, whole: bool, who: str = "both") -> str:
    """Say that groups are the same wherever they can be compared.

    Args:
        common: steps that the runs have in common.
        whole: whether those are all steps of all of them.
        who: recorded the common steps.

    Returns:
        Part of a sentence, e.g. "the same group at all 16 steps that both recorded".
    """
    if whole:
        return "the same group at every step"
    at = f"all {common:,} steps" if common > 1 else "the one step"
    return f"the same group at {at} that {who} recorded"


def compared(parted: pd.DataFrame) -> tuple[str, ...]:
    """Say of which seeds only some steps can be compared.

    Args:
        parted: from `partings`.
    """
    some = sorted(int(seed) for seed in parted.loc[~parted["whole"].astype(bool), "seed"])
    if not some:
        return ()
    who = f"{'Seed' if len(some) == 1 else 'Seeds'} {listed([str(seed) for seed in some])}"
    return (
        f"{who}: compared at the steps that both runs recorded, which are not all, as their logs "
        "are thinned or end at different steps. Between those the groups may differ unseen.",
    )


__all__ = ["PARTINGS", "alike", "compared", "partings"]
