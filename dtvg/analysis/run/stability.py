"""Do seeds agree on the group? Jaccard between seeds, and the group most of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from dtvg.analysis.run.groups import Membership
from dtvg.analysis.statistics import jaccard
from dtvg.errors import DataError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
AT_ONCE = 4_000_000
"""Memberships that are compared at a time at most."""


@dataclass(frozen=True, eq=False)
class StabilityInfo:
    """How alike the groups of several runs are; R runs, n sources."""

    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    sources: tuple[str, ...]
    share: Floats
    """`[R n]`: share of a run's steps in which the source was in the group."""
    jaccard: Floats
    """`[R R]`: mean over common steps of |A ∩ B| / |A ∪ B|; two empty groups count 1."""
    jaccard_last: Floats
    """`[R R]`: the same for the newest groups."""
    consensus: tuple[str, ...]
    """Sources in the group in at least half of the steps, averaged over runs."""

    @property
    def mean_jaccard(self) -> float:
        """Mean of `jaccard` over pairs of runs; NaN with fewer than two."""
        return _pair_mean(self.jaccard)

    @property
    def mean_jaccard_last(self) -> float:
        """Mean of `jaccard_last` over pairs of runs; NaN with fewer than two."""
        return _pair_mean(self.jaccard_last)

    @property
    def table(self) -> pd.DataFrame:
        """One row per source: its share per run, the mean, and whether it is in the consensus."""
        shares = pd.DataFrame(self.share.T, columns=pd.Index(self.runs))
        table = pd.concat([pd.DataFrame({"source": self.sources}), shares], axis=1)
        table["mean"] = self.share.mean(axis=0)
        table["spread"] = self.share.max(axis=0) - self.share.min(axis=0)
        table["consensus"] = [s in self.consensus for s in self.sources]
        return table


def stability_of(infos: Sequence[Membership]) -> StabilityInfo:
    """Compare the groups of several runs, normally the seeds of one method on one target.

    Raises:
        DataError: no groups, or runs over different sources.
    """
    infos = [info for info in infos if len(info.steps)]
    if not infos:
        raise DataError("Stability needs at least one run with groups; none of these has any.")
    sources = infos[0].sources
    for info in infos[1:]:
        if info.sources != sources:
            raise DataError(
                f"Run '{info.run}' has sources {', '.join(info.sources)}, run '{infos[0].run}' "
                f"has {', '.join(sources)}; choose runs over the same sources."
            )
    share = np.array([info.member.mean(axis=0) for info in infos])
    last = np.array([info.member[-1] for info in infos])
    chosen = share.mean(axis=0) >= 0.5
    return StabilityInfo(
        runs=tuple(info.run for info in infos),
        seeds=tuple(info.seed for info in infos),
        sources=sources,
        share=share,
        jaccard=_over_steps(infos),
        jaccard_last=jaccard(last[:, None], last[None]),
        consensus=tuple(s for s, c in zip(sources, chosen, strict=True) if c),
    )


def _over_steps(infos: Sequence[Membership]) -> Floats:
    """Return `[R R]`, the mean Jaccard of each pair; of runs with the same steps many at once."""
    found = np.eye(len(infos))
    alike: dict[bytes, list[int]] = {}
    for place, info in enumerate(infos):
        alike.setdefault(info.steps.tobytes(), []).append(place)
    for places in alike.values():
        members = np.stack([infos[i].member.T for i in places])
        many = max(1, AT_ONCE // members[0].size)
        for at, i in enumerate(places):
            for first in range(0, at, many):
                others = slice(first, min(first + many, at))
                means = _mean_jaccard(members[at], members[others])
                found[i, places[others]] = found[places[others], i] = means
    groups = list(alike.values())
    for one, other in ((a, b) for at, a in enumerate(groups) for b in groups[:at]):
        for i in one:
            for j in other:
                found[i, j] = found[j, i] = _common_jaccard(infos[i], infos[j])
    return found


def _mean_jaccard(one: Bools, others: Bools) -> Floats:
    """Return the mean over steps of the Jaccard of `[n S]` with each of `[J n S]`."""
    shared = (one & others).sum(axis=1, dtype=np.int32)
    union = (one | others).sum(axis=1, dtype=np.int32)
    return np.where(union > 0, shared / np.maximum(union, 1), 1.0).mean(axis=-1)


def _common_jaccard(one: Membership, other: Membership) -> float:
    """Mean Jaccard over the steps both runs have; NaN where they share none."""
    k = min(len(one.steps), len(other.steps))
    if np.array_equal(one.steps[:k], other.steps[:k]):  # one went further
        return float(jaccard(one.member[:k], other.member[:k]).mean())
    _, a, b = np.intersect1d(one.steps, other.steps, assume_unique=True, return_indices=True)
    return float(jaccard(one.member[a], other.member[b]).mean()) if len(a) else float("nan")


def _pair_mean(matrix: Floats) -> float:
    pairs = matrix[np.triu_indices(len(matrix), k=1)]
    return float(pairs.mean()) if len(pairs) else float("nan")
