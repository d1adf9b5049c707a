"""Every subset of a target's sources with its answers, seed by seed: what oracle runs leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dtvg.analysis.claims.blocks import Block, subsets_in_order
from dtvg.analysis.claims.halves import chosen, halves, scored
from dtvg.analysis.subsets.runs import Subset, in_order, searched, subset_table
from dtvg.store.reader import Run

Floats = npt.NDArray[np.float64]
NEEDS_ORACLE = "oracle runs (a run on every subset of the sources)"
NEEDS_ANSWERS = "stored test answers of the oracle runs (evaluation.keep_predictions: test)"


@dataclass(frozen=True, eq=False)
class Searched:
    """Scores of subsets, example by example."""

    name: str
    """The target."""
    sources: tuple[str, ...]
    draw: int
    """Number of its resamples."""
    subsets: tuple[Subset, ...]
    """K subsets by size, then in the order of the sources."""
    seeds: tuple[int, ...]
    """Seeds that have every one of them."""
    values: Floats
    """`[S K E]`: what each example adds to a score."""

    @property
    def whole(self) -> bool:
        """Whether every subset of the sources is there."""
        return len(self.subsets) == 2 ** len(self.sources)

    def places(self, proper: bool) -> npt.NDArray[np.int64]:
        """Return places of the proper groups (neither none, one nor all), or of the others."""
        n = len(self.sources)
        there = [(1 < len(s) < n) == proper for s in self.subsets]
        return np.flatnonzero(there)

    def best(self, among: npt.NDArray[np.int64]) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Choose the best of some subsets on one half of the examples, score it on the other.

        Args:
            among: places of the subsets.

        Returns:
            Its value `[S E]`, and the places chosen `[H S]` by halves and seeds.
        """
        held = self.values[:, among]
        choosing = halves(held.shape[-1], self.draw)
        choice = chosen(held, choosing)
        return scored(held, choice, choosing), among[choice]


def search(block: Block) -> tuple[Searched | None, str]:
    """Gather the runs on subsets of a target; what is missing, if they tell nothing.

    Subsets that the search lacks are filled in with runs that always merge one source, all or none.
    """
    table = subset_table([run for run in block.finished if block.reads(run)])
    if not len(searched(table)):
        return None, NEEDS_ORACLE
    by_name = {run.name: run for run in block.finished}
    runs: dict[int, dict[Subset, Run]] = {}
    for method in in_order(table):
        mine = table[table["method"] == method]
        for subset, seed, name in zip(mine["subset"], mine["seed"], mine["run"], strict=True):
            runs.setdefault(int(seed), {}).setdefault(subset, by_name[name])
    every = set().union(*runs.values())
    seeds = [s for s in sorted(runs) if len(runs[s]) == len(every)]
    if not seeds:
        most = max(len(held) for held in runs.values())
        seeds = [s for s in sorted(runs) if len(runs[s]) == most]
        every = set.intersection(*(set(runs[s]) for s in seeds))
        if not every:  # as the first runs end
            seeds, every = seeds[:1], set(runs[seeds[0]])
    subsets = subsets_in_order(block.sources, list(every))
    known = block.values
    seeds = [s for s in seeds if all(runs[s][subset].path in known for subset in subsets)]
    if not seeds:
        return None, NEEDS_ANSWERS
    values = np.array([[known[runs[s][k].path] for k in subsets] for s in seeds])
    place = (block.name, block.sources, block.draw)
    return Searched(*place, subsets, tuple(seeds), values), ""
