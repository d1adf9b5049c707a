"""(b) Similarity to the target changes while transferring, by more than noise alone.

From the logged Gram matrices. What noise of the batches alone would show is bracketed by the run
itself: how neighbouring blocks of steps differ, if noise is forgotten; and its own moves from
block to block with random signs, if noise adds up. docs/claims.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

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
    within,
)
from dtvg.analysis.claims.effects import Effect, Part, Summary, of_seeds, summed
from dtvg.analysis.compare.scores import SUBJECT
from dtvg.analysis.statistics import Interval, t_interval, twice_ranks
from dtvg.analysis.words import in_percent
from dtvg.config import RunConfig
from dtvg.store.reader import READERS, Run, configs_but, read_towards_target

Floats = npt.NDArray[np.float64]
WORDING = Wording(
    "b",
    "Similarity changes",
    "How similar the sources are to the target changes while transferring.",
    "How far the ranking of the sources by similarity has moved from that at the start, "
    "(1 − Spearman's ρ) / 2 averaged over the run, minus what noise of the batches alone would "
    "show.",
    POINTS,
)
RANKING = "change of the ranking"
SIGNS = "sources on the other side of the cut"
TOP = "another most similar source"
MEASURES = (RANKING, SIGNS, TOP)
FORGOTTEN, ADDED = "noise that is forgotten", "noise that adds up"
BLOCK = 5
"""Steps of a block at least."""
MOST_BLOCKS, FEWEST_BLOCKS = 50, 6
DRAWS = 500
"""Runs with noise alone that are drawn for each run."""
NOTES = (
    "Similarities are means over blocks of steps (up to 50 a run, of at least 5 steps), and the "
    "start is the first block. Change is 0 where the ranking is that of the start, 50 points where "
    "it has nothing to do with it, 100 where it is reversed.",
    "One run does not tell how long noise lasts, so the interval spans both extremes. Forgotten "
    "within a block: noise shows what two neighbouring blocks of this run differ by. Added up for "
    "good: the moves of all similarities from block to block keep their size and their relation, "
    "and get random signs, which assumes that without a direction a move is as likely as its "
    "negative, whatever the block before did.",
)


@dataclass(frozen=True, eq=False)
class Walk:
    """One run's similarities since its start, and what noise alone would show of them."""

    seed: int
    progress: Floats
    """`[B]`: share of the run at the end of each block after the first."""
    seen: dict[str, Floats]
    """Measure → `[B]`: change since the first block."""
    neighbours: dict[str, Floats]
    """Measure → `[B]`: change since the block before."""
    drawn: dict[str, Floats]
    """Measure → `[D B]`: change since the first block of drawn runs."""

    def excess(self, measure: str, noise: str) -> float:
        """Return the change beyond that of noise alone, mean over the run."""
        null = self.neighbours if noise == FORGOTTEN else self.drawn
        return float(self.seen[measure].mean() - null[measure].mean())


def claim(blocks: Sequence[Block], margin: float) -> Claim:
    """Compute the claim; see `WORDING`."""
    walks = {block.name: _walks(block) for block in blocks}
    there = {name: found for name, found in walks.items() if found}
    parts = [
        Part(
            f"{measure}, beyond {noise}",
            [effect_of(name, found, measure, noise) for name, found in there.items()],
            reach=1,
        )
        for measure in MEASURES
        for noise in (FORGOTTEN, ADDED)
    ]
    summary = within(between_extremes([summed(part.effects) for part in parts[:2]]), 1)
    steps = FEWEST_BLOCKS * BLOCK
    needed = f"{SUBJECT} runs over two or more sources with at least {steps} logged steps"
    missing = missing_everywhere([] if there else [needed])
    verdict = judged(summary, margin)
    takes = what_it_takes(WORDING, summary, verdict, missing)
    if takes and summed(parts[0].effects).low > 0:
        takes = (
            "The ranking moves beyond noise that is forgotten, but noise that adds up could move "
            "it as far. More seeds or targets, or the same run repeated from the same start with "
            "other batches, would tell."
        )
    return Claim(
        WORDING,
        summary,
        margin,
        verdict,
        _sentence(summary, there),
        takes,
        missing,
        parts_table(parts),
        _evidence(there),
        NOTES,
    )


def effect_of(target: str, walks: Sequence[Walk], measure: str, noise: str) -> Effect:
    """Return the change beyond noise on one target.

    Few seeds tell little of how far noise that adds up may go, and what it does is skewed. So the
    interval beyond it is the wider of Student's t over seeds and of what the drawn runs do, as
    many at a time; in the random effects the larger of both variances counts.
    """
    by_seed = {walk.seed: walk.excess(measure, noise) for walk in walks}
    if noise == FORGOTTEN:
        return of_seeds(target, by_seed)
    apart = [walk.drawn[measure].mean(axis=1) for walk in walks]
    chance = np.mean([one - one.mean() for one in apart], axis=0)
    values = np.array(list(by_seed.values()))

    def interval(level: float) -> Interval:
        ends = t_interval(values, level)
        below, above = np.quantile(chance, [(1 - level) / 2, (1 + level) / 2])
        low, high = plain.estimate - float(above), plain.estimate - float(below)
        return Interval(min(ends.low, low), max(ends.high, high))

    plain = of_seeds(target, by_seed, wider=float(chance.var()))
    return Effect(target, by_seed, plain.estimate, plain.variance, interval, problem=plain.problem)


def _walks(block: Block) -> list[Walk]:
    """Return the walks of the dynamic runs on one target, those whose log is long enough."""
    runs = [run for _, run in sorted(block.of(SUBJECT).items())]
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(
            lambda run, config: block.unread.tried(run, lambda one: walk_of(one, config)),
            runs,
            configs_but(runs, ("name", "seed")),
        )
        return [walk for walk in found if walk is not None]


def between_extremes(ends: Sequence[Summary]) -> Summary:
    """Return the middle of both extremes of noise, with an interval that covers either."""
    first, second = ends
    return replace(
        first,
        estimate=(first.estimate + second.estimate) / 2,
        low=min(first.low, second.low),
        high=max(first.high, second.high),
        between=max(first.between, second.between),
        needs="" if first.estimate * second.estimate <= 0 else first.needs,
    )


def walk_of(run: Run, config: RunConfig | None) -> Walk | None:
    """Measure how a run's similarities moved; None where too few steps are logged.

    Args:
        run: whose.
        config: its configuration, or that of another seed; parsing one takes as long as a walk.
    """
    similarity = read_towards_target(run, config)
    if similarity.shape[-1] < 2:
        return None
    return walk(similarity.astype(np.float64), run.seed)


def walk(similarity: Floats, seed: int, draws: int = DRAWS) -> Walk | None:
    """Measure how similarities moved from block to block, and what noise alone shows.

    Args:
        similarity: `[S n]` to the target, at the logged steps.
        seed: the run's.
        draws: runs with noise alone.

    Returns:
        None with too few steps.
    """
    edges = block_edges(len(similarity))
    if len(edges) - 1 < FEWEST_BLOCKS:
        return None
    places = np.add.reduceat(similarity, edges[:-1]) / np.diff(edges)[:, None]
    places = np.ascontiguousarray(places.T)  # [n B]
    start, moves = places[:, :1], np.diff(places)
    rng = np.random.default_rng([3, seed])
    signs = rng.choice([-1.0, 1.0], size=(draws, moves.shape[1]))
    drawn = np.ascontiguousarray(signs.T) * moves[..., None]  # [n B D], quick along D
    for block in range(1, drawn.shape[1]):  # cumsum goes element by element
        drawn[:, block] += drawn[:, block - 1]
    drawn += start[..., None]
    return Walk(
        seed,
        edges[2:] / edges[-1],
        changes(start, places[:, 1:]),
        changes(places[:, :-1], places[:, 1:]),
        {m: np.ascontiguousarray(c.T) for m, c in changes(start[..., None], drawn).items()},
    )


def block_edges(rows: int) -> npt.NDArray[np.int64]:
    """Return where blocks of rows begin, and the end of the last."""
    blocks = min(MOST_BLOCKS, rows // BLOCK)
    return np.linspace(0, rows, max(blocks, 1) + 1).round().astype(np.int64)


def changes(start: Floats, later: Floats) -> dict[str, Floats]:
    """Measure how far similarities are from earlier ones.

    Args:
        start: `[n ...]`, as `later` or to be broadcast to it.
        later: `[n ...]`, n small and the rest long.

    Returns:
        Measure → `[...]`, from 0 (as they were) to 1.
    """
    before, after = twice_ranks(start), twice_ranks(later)
    same = (before == after).all(axis=0)
    return {
        RANKING: np.where(same, 0.0, (1 - _correlation(before, after)) / 2),
        SIGNS: ((later >= 0) != (start >= 0)).mean(axis=0),
        TOP: (_top(later) != _top(start)).astype(np.float64),
    }


def _top(values: Floats) -> npt.NDArray[np.int64]:
    """Return the place of the largest along the first axis; the first of equal ones."""
    top = np.zeros(values.shape[1:], dtype=np.int64)
    most = values[0]
    for place, one in enumerate(values[1:], 1):
        top[one > most] = place
        most = np.maximum(most, one)
    return top


def _correlation(before: npt.NDArray[np.int16], after: npt.NDArray[np.int16]) -> Floats:
    """Return `statistics.correlation` of ranks `[n ...]`, given twice, along the first axis.

    Of ranks every sum is exact, so that it is the same to the last digit.
    """
    n = len(before)
    a, b = (
        ranks.astype(np.int32) - (n + 1) for ranks in (before, after)
    )  # twice what they are from their mean
    length = np.sqrt((a * a).sum(axis=0) / 4 * ((b * b).sum(axis=0) / 4))
    product = (a * b).sum(axis=0) / 4
    return np.divide(product, length, out=np.zeros_like(product), where=length > 1e-300)


def _sentence(summary: Summary, walks: Mapping[str, Sequence[Walk]]) -> str:
    """Say the excess, what was seen, and what noise alone shows."""
    if not summary.known:
        return ""
    every = [walk for found in walks.values() for walk in found]
    seen, signs, top = (float(np.mean([w.seen[m].mean() for w in every])) for m in MEASURES)
    forgotten = float(np.mean([w.neighbours[RANKING].mean() for w in every]))
    added = float(np.mean([w.drawn[RANKING].mean() for w in every]))
    return (
        f"The ranking moves by {numbers(summary, POINTS)} beyond noise: seen {in_percent(seen)} "
        f"points; noise alone {in_percent(forgotten)} if it is forgotten, {in_percent(added)} if "
        f"it adds up. On average over the run {100 * signs:.0f} % of the sources are on the other "
        f"side of the cut, and the most similar source is another one {100 * top:.0f} % of the "
        f"time; {where(summary)}."
    )


def _evidence(walks: Mapping[str, Sequence[Walk]]) -> pd.DataFrame:
    """Return what was seen and what noise alone shows, averaged over all runs; `low, high` hold
    the middle 95 % of noise that adds up."""
    columns = ["measure", "progress", "seen", "forgotten", "added", "low", "high", "n_runs"]
    every = [walk for found in walks.values() for walk in found]
    if not every:
        return pd.DataFrame(columns=columns)
    grid = np.linspace(0, 1, min(len(w.progress) for w in every) + 1)[1:]
    rows = []
    for measure in MEASURES:
        seen = _mean([_at(grid, w, w.seen[measure]) for w in every])
        near = _mean([_at(grid, w, w.neighbours[measure]) for w in every])
        noise = _mean(_at(grid, w, w.drawn[measure]) for w in every)
        low, high = np.quantile(noise, [0.025, 0.975], axis=0)
        told = zip(grid, seen, near, noise.mean(axis=0), low, high, strict=True)
        rows += [(measure, *map(float, one), len(every)) for one in told]
    return pd.DataFrame(rows, columns=columns)


def _mean(values: Iterable[Floats]) -> Floats:
    """Return the mean of arrays, added one after the other: those of many runs are large."""
    found = iter(values)
    total, count = next(found).copy(), 1
    for one in found:
        total += one
        count += 1
    return np.asarray(total / count)


def _at(grid: Floats, walk: Walk, values: Floats) -> Floats:
    """Return values `[... B]` at the block of each point of a grid."""
    place = np.searchsorted(walk.progress, grid - 1e-9).clip(max=len(walk.progress) - 1)
    return np.asarray(values[..., place])
