"""Choosing on one half of the test examples and scoring on the other, for every seed and example.

What is chosen for an example never saw it, nor the seed it is scored with, so that no luck of
the choice remains in the score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from dtvg.analysis.compare.evidence import Evidence
from dtvg.analysis.compare.examples import resample_weights
from dtvg.analysis.statistics import crossed_effects, resample_indices

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

SPLITS = 10
"""Random halvings of the examples; each half chooses once and scores once."""


def halves(count: int, draw: int) -> Bools:
    """Return which examples choose, `[2 × SPLITS E]`; rows 2j and 2j + 1 are two halves.

    Args:
        count: examples E, two at least.
        draw: number of the draw; each target has its own.
    """
    rng = np.random.default_rng([2, draw])
    rows = []
    for _ in range(SPLITS):
        first = np.zeros(count, dtype=bool)
        first[rng.permutation(count)[: count // 2]] = True
        rows += [first, ~first]
    return np.array(rows)


def chosen(values: Floats, choosing: Bools) -> Ints:
    """Choose the best candidate for each half and seed by the other seeds.

    Args:
        values: `[S K E]`: seeds, candidates, examples.
        choosing: `[H E]`: examples that choose.

    Returns:
        `[H S]`: the candidate with the highest mean over the choosing examples and all seeds but
        this one (the only seed itself where there is one); ties go to the first.
    """
    weights = choosing.T / choosing.sum(axis=1)
    means = values @ weights  # [S K H]
    total = means.sum(axis=0)
    others = (total - means) / (len(values) - 1) if len(values) > 1 else means
    best = others.max(axis=1, keepdims=True)
    return np.asarray((others >= best - 1e-12).argmax(axis=1).T)


def scored(values: Floats, choice: Ints, choosing: Bools) -> Floats:
    """Return the value of what was chosen, on the examples that did not choose.

    Args:
        values: `[S K E]`.
        choice: `[H S]`, from `chosen`.
        choosing: `[H E]`.

    Returns:
        `[S E]`: mean over the halves that an example did not choose in.
    """
    made = np.zeros((values.shape[0], values.shape[2]))
    seeds = np.arange(values.shape[0])
    for half, picked in zip(choosing, choice, strict=True):
        made += np.where(half, 0.0, values[seeds, picked])
    return made / (~choosing).sum(axis=0)


def evidences(tables: Mapping[str, Floats], seeds: Sequence[int], draw: int) -> dict[str, Evidence]:
    """Return tables of seeds × examples as differences with their tests.

    Args:
        tables: name → `[S E]`, what each example adds to a difference; its mean is the difference.
        seeds: S seeds.
        draw: number of the draw of resamples.
    """
    if not tables:
        return {}
    stacked = np.concatenate(list(tables.values()))
    count = stacked.shape[1]
    drawn = [weights @ stacked.T / count for weights in resample_weights(count, draw)]
    resampled = np.split(np.concatenate(drawn), len(tables), axis=1)
    found = {}
    for (name, table), own in zip(tables.items(), resampled, strict=True):
        both, crossed = None, None
        if len(seeds) > 1:
            rows = resample_indices(len(seeds), [1, len(seeds)])
            both = np.take_along_axis(own, rows, axis=1).mean(axis=1)
            crossed = crossed_effects([table]) if count > 1 else None
        by_seed = dict(zip(map(int, seeds), map(float, table.mean(axis=1)), strict=True))
        found[name] = Evidence(by_seed, count, own.mean(axis=1), both, crossed)
    return found
