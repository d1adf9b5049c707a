"""(c) Similarity of vectors predicts transfer better than similarity of prompts.

Both are computed from the prompts each run started from, and set against what each single source
gained over no transfer. docs/claims.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from math import factorial

import numpy as np
import numpy.typing as npt
import pandas as pd

from dtvg.analysis.claims.blocks import ALL, FIXED, NONE, Block, plain_label
from dtvg.analysis.claims.claim import (
    CORRELATION,
    Claim,
    Wording,
    judged,
    missing_everywhere,
    numbers,
    parts_table,
    shown,
    what_it_takes,
    where,
    within,
)
from dtvg.analysis.claims.effects import Effect, Part, of_seeds, summed
from dtvg.analysis.compare.scores import SUBJECT
from dtvg.analysis.statistics import (
    Interval,
    average_ranks,
    correlation,
    t_factor,
    t_interval,
)
from dtvg.analysis.words import listed
from dtvg.errors import StoreError
from dtvg.store.reader import Run, read_grams, read_prompts

Floats = npt.NDArray[np.float64]
WORDING = Wording(
    "c",
    "Vectors predict transfer",
    "Similarity of task prompt vectors predicts which sources help, better than similarity of "
    "the prompts.",
    "Spearman's correlation over sources of similarity at the start with the gain of each single "
    "source over no transfer: of the vectors, ⟨v_t, v_s⟩ / d, minus of the prompts, their cosine.",
    CORRELATION,
)
DIFFERENCE = "vectors − prompts"
VECTORS, PROMPTS = "vectors", "prompts"
MOST = {DIFFERENCE: 2.0, VECTORS: 1.0, PROMPTS: 1.0}
"""Beyond which no correlation, and no difference of two, can lie."""
FEWEST_SOURCES = 4
WHOLE = 7
"""Sources up to which every order is tried."""
ORDERS = 5_000
"""Random orders beyond."""
PLAIN = (SUBJECT, FIXED, ALL)
"""Rows whose first Gram matrix is that of the vectors as they are."""
NOTES = (
    "Correlations are within a target and seed, over its sources, averaged over seeds. On one "
    "target the interval is the widest of three: over seeds (Student's t); over sources, from "
    "all orders of the gains (the same order in every seed), which are equally likely where "
    "neither similarity tells anything; and over sources, from leaving out one after the other "
    "(jackknife).",
    "Similarities are those of the Stage I prompts, as stored with each single run (`initial`), "
    "else from the Gram matrices of the first step.",
)


@dataclass(frozen=True, eq=False)
class Measured:
    """Similarities and gains of the sources of one target, seed by seed."""

    target: str
    sources: tuple[str, ...]
    seeds: tuple[int, ...]
    vectors: Floats
    """`[S n]`: ⟨v_t, v_s⟩ / d."""
    prompts: Floats
    """`[S n]`: cosine."""
    gains: Floats
    """`[S n]`: score with the source alone minus without any."""
    lacking: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Seed that does not count → sources whose single run it lacks."""


def claim(blocks: Sequence[Block], margin: float) -> Claim:
    """Compute the claim; see `WORDING`."""
    found = [measure(block) for block in blocks]
    there = [one for one, _ in found if one is not None]
    effects = [effects_of(one) for one in there]
    parts = [Part(name, [made[name] for made in effects], most) for name, most in MOST.items()]
    summary = within(summed(parts[0].effects), MOST[DIFFERENCE])
    missing = missing_everywhere([] if there else [what for _, what in found])
    verdict = judged(summary, margin)
    sentence = ""
    if summary.known:
        own = {part.name: summed(part.effects).estimate for part in parts}
        sentence = (
            f"Correlation with the gain: vectors {shown(own[VECTORS], CORRELATION)}, prompts "
            f"{shown(own[PROMPTS], CORRELATION)}; difference {numbers(summary, CORRELATION)}; "
            f"{where(summary)}, {_sources(there)}."
        )
    sentence = " ".join(filter(None, [sentence, *map(_left_out, there)]))
    takes = what_it_takes(WORDING, summary, verdict, missing)
    if takes and summary.n_targets == 1 and not missing:
        takes += " More sources narrow it too: with few of them, chance orders them as well."
    return Claim(
        WORDING,
        summary,
        margin,
        verdict,
        sentence,
        takes,
        missing,
        parts_table(parts),
        _evidence(there),
        NOTES,
    )


def _left_out(one: Measured) -> str:
    """Say which seeds do not count, and what they lack; empty: all do."""
    if not one.lacking:
        return ""
    seeds = [str(seed) for seed in one.lacking]
    lost = dict.fromkeys(source for sources in one.lacking.values() for source in sources)
    what = f"seed {seeds[0]} does not" if len(seeds) == 1 else f"seeds {listed(seeds)} do not"
    runs = f"finished single runs of {listed(list(lost))}"
    return f"{one.target}: {what} count, since {runs} are missing there."


def _sources(there: Sequence[Measured]) -> str:
    counts = sorted({len(one.sources) for one in there})
    told = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{told} sources"


def measure(block: Block) -> tuple[Measured | None, str]:
    """Gather similarities and gains of a target; what is missing, if that cannot be."""
    none, singles = block.of(NONE), block.singles
    if not none or not singles:
        return None, f"runs of `{NONE}` and of every `single` source"
    sources = tuple(s for s in block.sources if s in singles)
    if len(sources) < FEWEST_SOURCES:
        return None, f"single runs of at least {FEWEST_SOURCES} sources"
    seeds, rows = [], []
    lacking = {
        seed: lost
        for seed in sorted(none)
        if (lost := tuple(s for s in sources if seed not in singles[s]))
    }
    for seed in sorted(none.keys() - lacking.keys()):
        alone = [singles[s][seed] for s in sources]
        places = [(run, 0) for run in alone]
        pairs = _from_prompts(places)
        if pairs is None:
            pairs = _from_other_runs(block, seed, sources) or _from_grams(block, seed, sources)
        if pairs is not None:
            base = none[seed].test_score or 0.0
            seeds.append(seed)
            rows.append([*pairs, np.array([(run.test_score or 0.0) - base for run in alone])])
    if not seeds:
        return None, "the prompts that runs started from (`prompts/initial.safetensors`)"
    vectors, prompts, gains = (np.array([row[i] for row in rows]) for i in range(3))
    return Measured(block.name, sources, tuple(seeds), vectors, prompts, gains, lacking), ""


def _from_other_runs(
    block: Block, seed: int, sources: Sequence[str]
) -> tuple[Floats, Floats] | None:
    """Return both similarities `[n]` from a run of the seed that kept all prompts."""
    for run in block.finished:
        if run.seed == seed and set(sources) <= set(run.sources):
            found = _from_prompts([(run, run.sources.index(s)) for s in sources])
            if found is not None:
                return found
    return None


def _from_prompts(places: Sequence[tuple[Run, int]]) -> tuple[Floats, Floats] | None:
    """Return both similarities `[n]` from the prompts that runs started from.

    Args:
        places: for each source a run, and the place of the source among the run's.
    """
    found = []
    for run, place in places:
        try:
            tensors = read_prompts(run, "initial")
            init, target = tensors["init"], tensors["target_prompt"]
            vectors = tensors["source_vectors"]
        except (StoreError, KeyError):
            return None
        if len(vectors) != len(run.sources):
            return None
        vector = vectors[place]
        own, start, moved = (x.astype(np.float64).mean(0) for x in (target, init, vector))
        there = start + moved
        length = float(np.linalg.norm(own) * np.linalg.norm(there))
        cosine = float(own @ there) / length if length else 0.0
        found.append((float((own - start) @ moved) / len(start), cosine))
    similarity, cosines = np.array(found).T
    return similarity, cosines


def _from_grams(block: Block, seed: int, sources: Sequence[str]) -> tuple[Floats, Floats] | None:
    """Return both similarities `[n]` from Gram matrices of the first step, where both are logged.

    A method that starts from a source's prompt does not log the target's, and is passed over.
    """
    found: dict[bool, Floats] = {}
    for run in block.finished:
        config = run.config
        whole = run.seed == seed and set(sources) <= set(run.sources)
        if config is None or not whole or not config.method.logs_sources:
            continue
        of_prompts = config.method.ranks_prompts
        if of_prompts in found or not (of_prompts or plain_label(run) in PLAIN):
            continue
        read = block.unread.tried(run, lambda one: read_grams(one, last=1))
        if read is None or not len(read[0]):
            continue
        _, grams = read
        gram = grams[0].astype(np.float64)
        length = np.sqrt(np.diag(gram))
        cosine = gram / np.where(length > 0, length, 1) / np.where(length > 0, length, 1)[:, None]
        if of_prompts and cosine[0, 1:].max() > 1 - 1e-6:
            continue
        at = [1 + run.sources.index(s) for s in sources]
        found[of_prompts] = (cosine if of_prompts else gram)[0, at]
    return (found[False], found[True]) if len(found) == 2 else None


def effects_of(one: Measured) -> dict[str, Effect]:
    """Return both correlations and their difference on one target."""
    orders = orders_of(len(one.sources))
    drawn = {}
    ranked = [average_ranks(gains)[orders] for gains in one.gains]  # orders keep the ranks
    for name, similarity in ((VECTORS, one.vectors), (PROMPTS, one.prompts)):
        every = [
            correlation(average_ranks(s), gains)
            for s, gains in zip(similarity, ranked, strict=True)
        ]
        drawn[name] = np.array(every)  # [S orders], the first as it is
    drawn[DIFFERENCE] = drawn[VECTORS] - drawn[PROMPTS]
    left_out = without_each(one)
    return {
        name: _effect(one, values, left_out[name], MOST[name]) for name, values in drawn.items()
    }


def without_each(one: Measured) -> dict[str, Floats]:
    """Return both correlations and their difference `[n]`, each without one of the sources."""
    gains = _ranks_without_each(one.gains)
    found = {
        name: correlation(_ranks_without_each(similarity), gains).mean(axis=0)
        for name, similarity in ((VECTORS, one.vectors), (PROMPTS, one.prompts))
    }
    return {**found, DIFFERENCE: found[VECTORS] - found[PROMPTS]}


def _ranks_without_each(values: Floats) -> Floats:
    """Return the ranks `[S n n-1]` of values `[S n]`, without the first, the second, …"""
    n = values.shape[-1]
    kept = np.array([[j for j in range(n) if j != i] for i in range(n)])
    return average_ranks(values[:, kept])


def _effect(one: Measured, drawn: Floats, left_out: Floats, most: float) -> Effect:
    """Return a correlation, with the widest of the intervals over seeds and over sources."""
    by_seed = dict(zip(one.seeds, map(float, drawn[:, 0]), strict=True))
    chance = drawn.mean(axis=0)
    values, centre = drawn[:, 0], float(drawn[:, 0].mean())
    n = len(left_out)
    error = float(np.sqrt((n - 1) * left_out.var()))  # the jackknife's

    def interval(level: float) -> Interval:
        by_orders = float(np.quantile(np.abs(chance), level, method="higher"))
        half = max(by_orders, t_factor(level, n - 1) * error)
        ends = t_interval(values, level)
        low, high = min(ends.low, centre - half), max(ends.high, centre + half)
        return Interval(max(low, -most), min(high, most))  # none lies beyond what there can be

    plain = of_seeds(one.target, by_seed, wider=float(chance.var()))
    return Effect(
        plain.target, by_seed, plain.estimate, plain.variance, interval, problem=plain.problem
    )


def orders_of(n: int) -> npt.NDArray[np.int64]:
    """Return orders of n sources `[orders n]`, the first as they are: all, or random ones."""
    if n <= WHOLE:
        return np.array(list(permutations(range(n))), dtype=np.int64)
    rng = np.random.default_rng([4, n])
    drawn = rng.permuted(np.tile(np.arange(n), (min(ORDERS, factorial(n)), 1)), axis=1)
    drawn[0] = np.arange(n)
    return np.asarray(drawn, dtype=np.int64)


def _evidence(there: Sequence[Measured]) -> pd.DataFrame:
    """Return a row per target and source: mean similarities, gains and where they stand."""
    rows = []
    for one in there:
        for place, source in enumerate(one.sources):
            rows.append(
                {
                    "target": one.target,
                    "source": source,
                    "vectors": float(one.vectors[:, place].mean()),
                    "prompts": float(one.prompts[:, place].mean()),
                    "rank_vectors": float(average_ranks(-one.vectors)[:, place].mean()),
                    "rank_prompts": float(average_ranks(-one.prompts)[:, place].mean()),
                    "gain": float(one.gains[:, place].mean()),
                    "n_seeds": len(one.seeds),
                }
            )
    columns = ["target", "source", "vectors", "prompts", "rank_vectors", "rank_prompts"]
    return pd.DataFrame(rows, columns=[*columns, "gain", "n_seeds"])
