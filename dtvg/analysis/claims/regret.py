"""(g) The group's regret against the oracle, and against random groups of the same size.

Regret is the best subset's score, chosen on one half of the test rows and scored on the other,
minus the run's. A random group has the size that the run's group had at each step.
docs/claims.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.compute as pc

from dtvg.analysis.claims.blocks import RANDOM, Block
from dtvg.analysis.claims.claim import (
    CANNOT_TELL,
    CONTRADICTED,
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
from dtvg.analysis.claims.effects import Effect, Part, Summary, of_evidence, summed
from dtvg.analysis.claims.halves import evidences
from dtvg.analysis.claims.searched import Searched, search
from dtvg.analysis.compare.scores import SUBJECT
from dtvg.store.reader import Run, read_table

Floats = npt.NDArray[np.float64]
WORDING = Wording(
    "g",
    "Close to the best group",
    "The group that is chosen while training comes nearer to the best one than chance would.",
    "Regret of random groups of the same size minus the regret of the dynamic group: the run's "
    "test score minus the mean score of all groups of its sizes.",
    POINTS,
)
LEAD = "dynamic group − random groups of its size"
REGRET = "regret of the dynamic group"
ROOM = "regret of random groups of its size"
CONTROL = f"{SUBJECT} − {RANDOM}"
NOTES = (
    "The oracle's best subset is chosen on one half of the test rows by the other seeds and scored "
    "on the other half; the truly best one can only be better, so regrets are lower bounds.",
    "Random groups are the oracle's runs on fixed subsets, all that were trained, weighed by how "
    "many steps the run's group had each size. Where the oracle is missing, runs with a random "
    "group at every step stand in.",
)


def claim(blocks: Sequence[Block], margin: float) -> Claim:
    """Compute the claim; see `WORDING`."""
    made = [_effects(block) for block in blocks]
    parts = [
        Part(name, [effects[name] for effects, _ in made if name in effects])
        for name in (LEAD, REGRET, ROOM, CONTROL)
    ]
    by_name = {part.name: part for part in parts}
    lead = by_name[LEAD] if by_name[LEAD].there else by_name[CONTROL]
    summary, room = summed(lead.effects), summed(by_name[ROOM].effects)
    flat = lead.name == LEAD and not (room.low > 0)
    verdict = verdict_of(summary, flat, margin)
    lacks = [] if lead.there else [what for _, what in made]
    missing = missing_everywhere(lacks)
    takes = what_it_takes(WORDING, summary, verdict, missing)
    if takes and flat and summary.known and not summary.problem and summary.high < margin:
        takes = (
            "Groups of this size score alike here, so there is nothing to choose. It needs targets "
            "on which the choice of sources matters."
        )
    return Claim(
        WORDING,
        summary,
        margin,
        verdict,
        _sentence(lead.name, summary, by_name),
        takes,
        missing,
        parts_table(parts),
        _evidence(parts),
        NOTES,
    )


def verdict_of(summary: Summary, flat: bool, margin: float) -> str:
    """Return the verdict; where groups of a size score alike, no choice could have been better.

    Args:
        summary: lead over random groups.
        flat: whether groups of a size are not shown to differ.
        margin: effects below it do not matter.
    """
    verdict = judged(summary, margin)
    if verdict == CONTRADICTED and summary.high >= 0 and flat:
        return CANNOT_TELL
    return verdict


def _sentence(name: str, summary: Summary, parts: Mapping[str, Part]) -> str:
    """Say the lead and both regrets."""
    if not summary.known:
        return ""
    if name == CONTROL:
        return (
            f"The dynamic group scores {numbers(summary, POINTS)} against a random group of its "
            f"size at every step; {where(summary)}."
        )
    regret, room = summed(parts[REGRET].effects), summed(parts[ROOM].effects)
    return (
        f"The dynamic group scores {numbers(summary, POINTS)} against random groups of its size. "
        f"Its regret is {numbers(regret, POINTS)}, theirs {numbers(room, POINTS)}; "
        f"{where(summary)}."
    )


def _effects(block: Block) -> tuple[dict[str, Effect], str]:
    """Return what is known on one target, or what is missing."""
    found: dict[str, Effect] = {}
    control = block.contest(SUBJECT, RANDOM)
    if control is not None:
        found[CONTROL] = of_evidence(block.name, control)
    runs = block.of(SUBJECT)
    if not runs:
        return found, f"runs of {SUBJECT}"
    one, lacks = search(block)
    if one is None:
        return found, lacks
    n = len(block.sources)
    known = {
        s: block.unread.tried(runs[s], lambda run: _sizes(run, n)) for s in one.seeds if s in runs
    }
    sizes = {s: shares for s, shares in known.items() if shares is not None}
    if not sizes:
        return found, f"{SUBJECT} runs with logged groups, of the oracle's seeds"
    seeds = [s for s in sizes if runs[s].path in block.values]
    if not seeds:
        return found, f"stored test answers of {SUBJECT} runs"
    own = np.array([block.values[runs[s].path] for s in seeds])
    tables = tables_of(one, own, seeds, sizes)
    if tables is None:
        return found, "oracle runs of every size that the group had"
    evidence = evidences(tables, seeds, block.draw)
    return found | {name: of_evidence(block.name, e) for name, e in evidence.items()}, ""


def _sizes(run: Run, n: int) -> Floats | None:
    """Return the share of steps in which a run's group had 0 … n members; None: not logged."""
    rows = read_table(run, "steps", ["step", "group_size"])
    rows = rows.filter(pc.is_valid(rows.column("group_size")))
    if not rows.num_rows:
        return None
    sizes = rows.column("group_size").to_numpy()
    return np.bincount(sizes, minlength=n + 1)[: n + 1] / len(sizes)


def tables_of(
    one: Searched, own: Floats, seeds: Sequence[int], sizes: Mapping[int, Floats]
) -> dict[str, Floats] | None:
    """Return lead and regrets by seed and example; None where a size was never trained.

    Args:
        one: the subsets.
        own: `[S E]`: what each example adds to the run's score.
        seeds: S seeds.
        sizes: seed → share of steps with a group of 0 … n members.
    """
    best, _ = one.best(np.arange(len(one.subsets)))
    at = [one.seeds.index(s) for s in seeds]
    of_size = np.array([len(s) for s in one.subsets])
    random = np.zeros((len(seeds), one.values.shape[-1]))
    for row, (place, seed) in enumerate(zip(at, seeds, strict=True)):
        for size in np.flatnonzero(sizes[seed]):
            held = one.values[place, of_size == size]
            if not len(held):
                return None
            random[row] += sizes[seed][size] * held.mean(axis=0)
    return {LEAD: own - random, REGRET: best[at] - own, ROOM: best[at] - random}


def _evidence(parts: Sequence[Part]) -> pd.DataFrame:
    """Return a row per comparison, target and seed."""
    rows = [
        (part.name, one.target, seed, value)
        for part in parts
        for one in part.effects
        for seed, value in sorted(one.by_seed.items())
    ]
    return pd.DataFrame(rows, columns=["part", "target", "seed", "difference"])
