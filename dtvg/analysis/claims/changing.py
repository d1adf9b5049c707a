"""(b) Similarity to the target changes while transferring, by more than noise alone.

From the logged Gram matrices. What a run would show by the noise of its batches alone comes from
the run itself: the same moves of its similarities, block by block, each in a random direction.
docs/claims.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from dtvg.analysis.claims.blocks import Block
from dtvg.analysis.claims.claim import (
    POINTS,
    Claim,
    Wording,
    judged,
    missing_everywhere,
    numbers,
    parts_table,
    what_it_takes,
    where,
)
from dtvg.analysis.claims.effects import Part, Summary, of_seeds, summed
from dtvg.analysis.compare.scores import SUBJECT
from dtvg.store.reader import Run, read_grams

Floats = npt.NDArray[np.float64]
WORDING = Wording(
    "b",
    "Similarity changes",
    "How similar the sources are to the target changes while transferring.",
    "How far the ranking of the sources by similarity has moved from that at the start, "
    "(1 − Spearman's ρ) / 2 averaged over the run, minus what noise alone would show.",
    POINTS,
)
RANKING = "change of the ranking"
SIGNS = "sources on the other side of the cut"
TOP = "another most similar source"
MEASURES = (RANKING, SIGNS, TOP)
BLOCK = 10
"""Steps of a block at least: the memory of Adam's first moment."""
MOST_BLOCKS, FEWEST_BLOCKS = 50, 8
DRAWS = 1_000
"""Runs with noise alone that are drawn for each run."""
NOTES = (
    "Noise alone: the moves of all similarities within a block of steps (50 blocks a run, of at "
    "least 10 steps) keep their size and their relation to one another, and get one random sign a "
    "block. This assumes that without a direction in training a block's moves are as likely as "
    "their negative, and that blocks do not remember each other.",
    "Change is averaged over the ends of the blocks and is 0 where the ranking is that of the "
    "first step, 50 points where it has nothing to do with it, 100 where it is reversed.",
)


@dataclass(frozen=True, eq=False)
class Walk:
    """One run's similarities, and what its moves would give without a direction."""

    seed: int
    progress: Floats
    """`[B]`: share of the run at the end of each block."""
    seen: dict[str, Floats]
    """Measure → `[B]`."""
    noise: dict[str, Floats]
    """Measure → `[D B]`: of drawn runs."""

    def excess(self, measure: str) -> float:
        """Return the change beyond that of noise alone, mean over the run."""
        return float(self.seen[measure].mean() - self.noise[measure].mean())


def claim(blocks: Sequence[Block], margin: float) -> Claim:
    """Compute the claim; see `WORDING`."""
    walks = {block.name: _walks(block) for block in blocks}
    there = {name: found for name, found in walks.items() if found}
    parts = [
        Part(
            measure,
            [
                of_seeds(name, {w.seed: w.excess(measure) for w in found})
                for name, found in there.items()
            ],
        )
        for measure in MEASURES
    ]
    summary = summed(parts[0].effects)
    needed = f"{SUBJECT} runs over two or more sources with {FEWEST_BLOCKS * BLOCK} logged steps"
    missing = missing_everywhere([] if there else [needed])
    verdict = judged(summary, margin)
    return Claim(
        WORDING,
        summary,
        margin,
        verdict,
        _sentence(summary, there),
        what_it_takes(WORDING, summary, verdict, missing),
        missing,
        parts_table(parts),
        _evidence(there),
        NOTES,
    )


def _walks(block: Block) -> list[Walk]:
    """Return the walks of the dynamic runs on one target, those whose log is long enough."""
    made = (walk_of(run) for _, run in sorted(block.of(SUBJECT).items()))
    return [walk for walk in made if walk is not None]


def walk_of(run: Run, draws: int = DRAWS) -> Walk | None:
    """Measure how a run's similarities moved; None where too few steps are logged.

    Args:
        run: with Gram matrices.
        draws: runs with noise alone.
    """
    _, grams = read_grams(run)
    if grams.shape[-1] < 3:
        return None
    ends = block_ends(len(grams))
    if len(ends) - 1 < FEWEST_BLOCKS:
        return None
    places = grams[ends, 0, 1:].astype(np.float64)
    if np.ptp(places[0]) == 0:  # nothing is ranked at the start
        return None
    start, moves = places[0], np.diff(places, axis=0)
    rng = np.random.default_rng([3, run.seed])
    signs = rng.choice([-1.0, 1.0], size=(draws, len(moves), 1))
    drawn = start + (signs * moves).cumsum(axis=1)
    return Walk(
        run.seed,
        ends[1:] / ends[-1],
        changes(start, places[1:]),
        changes(start, drawn),
    )


def block_ends(rows: int) -> npt.NDArray[np.int64]:
    """Return the rows at which blocks begin and end: 0, then equal blocks to the last row."""
    blocks = min(MOST_BLOCKS, (rows - 1) // BLOCK)
    return np.linspace(0, rows - 1, max(blocks, 0) + 1).round().astype(np.int64)


def changes(start: Floats, later: Floats) -> dict[str, Floats]:
    """Measure how far similarities are from those at the start.

    Args:
        start: `[n]`.
        later: `[... n]`.

    Returns:
        Measure → `[...]`, from 0 (as at the start) to 1.
    """
    from scipy.stats import rankdata

    first = rankdata(start) - (len(start) + 1) / 2
    ranks = rankdata(later, axis=-1) - (len(start) + 1) / 2
    length = np.sqrt((first**2).sum() * (ranks**2).sum(axis=-1))
    product = (ranks * first).sum(axis=-1)
    rho = np.divide(product, length, out=np.zeros_like(length), where=length > 0)
    return {
        RANKING: (1 - rho) / 2,
        SIGNS: ((later >= 0) != (start >= 0)).mean(axis=-1),
        TOP: (later.argmax(axis=-1) != start.argmax()).astype(np.float64),
    }


def _sentence(summary: Summary, walks: Mapping[str, Sequence[Walk]]) -> str:
    """Say the excess, what was seen, and what noise alone shows."""
    if not summary.known:
        return ""
    every = [walk for found in walks.values() for walk in found]
    seen = float(np.mean([w.seen[RANKING].mean() for w in every]))
    noise = np.mean([w.noise[RANKING].mean(axis=1) for w in every], axis=0)
    beyond = (1 + int((noise >= seen - 1e-12).sum())) / (len(noise) + 1)
    signs, top = (float(np.mean([w.seen[m].mean() for w in every])) for m in (SIGNS, TOP))
    return (
        f"The ranking moves by {numbers(summary, POINTS)} beyond noise: seen {100 * seen:.1f} "
        f"points, by noise alone {100 * noise.mean():.1f} (these runs: p = {beyond:.3f}). On "
        f"average over the run {100 * signs:.0f} % of the sources are on the other side of the "
        f"cut, and another source than at the start is the most similar for {100 * top:.0f} % of "
        f"the time; {where(summary)}."
    )


def _evidence(walks: Mapping[str, Sequence[Walk]]) -> pd.DataFrame:
    """Return what was seen and the middle 95 % of noise alone, averaged over all runs."""
    columns = ["measure", "progress", "seen", "noise", "low", "high", "n_runs"]
    every = [walk for found in walks.values() for walk in found]
    if not every:
        return pd.DataFrame(columns=columns)
    grid = np.linspace(0, 1, min(len(w.progress) for w in every) + 1)[1:]
    rows = []
    for measure in MEASURES:
        seen = np.mean([_at(grid, w, w.seen[measure]) for w in every], axis=0)
        noise = np.mean([_at(grid, w, w.noise[measure]) for w in every], axis=0)
        low, high = np.quantile(noise, [0.025, 0.975], axis=0)
        told = zip(grid, seen, noise.mean(axis=0), low, high, strict=True)
        rows += [(measure, *map(float, one), len(every)) for one in told]
    return pd.DataFrame(rows, columns=columns)


def _at(grid: Floats, walk: Walk, values: Floats) -> Floats:
    """Return values `[... B]` at the block of each point of a grid."""
    place = np.searchsorted(walk.progress, grid - 1e-9).clip(max=len(walk.progress) - 1)
    return np.asarray(values[..., place])
