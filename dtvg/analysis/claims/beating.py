"""(d) Dynamic beats fixed, all, single and none; (f) consistency adds to similarity.

Differences of test scores, paired by seed and example exactly as on the compare page.
docs/claims.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from dtvg.analysis.claims.blocks import ALL, FIXED, NONE, SIMILARITY_ONLY, SINGLE, Block
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
from dtvg.analysis.claims.effects import NAN, Part, of_evidence, smallest
from dtvg.analysis.compare.scores import SUBJECT

DYNAMIC = Wording(
    "d",
    "Dynamic groups win",
    "Grouping again at every step beats a group fixed at the start, all sources, the best single "
    "source, and no transfer.",
    "The smallest of four differences of test scores: the dynamic group minus fixed group, all "
    "sources, single source that is best by validation, no transfer.",
    POINTS,
)
CONSISTENCY = Wording(
    "f",
    "Consistency adds",
    "Choosing the group by knowledge consistency adds to choosing it by target similarity alone.",
    f"Test score of `{SUBJECT}` minus that of `{SIMILARITY_ONLY}`, which merges every candidate.",
    POINTS,
)
AGAINST = {
    FIXED: f"runs of `{FIXED}` (`{SUBJECT}` with rule fixed)",
    ALL: f"runs of `{ALL}`",
    SINGLE: "runs of every `single` source",
    NONE: f"runs of `{NONE}`",
}
NOTES = (
    "Paired by seed and by example as the verdicts of the compare page (docs/verdicts.md).",
    "A claim about several comparisons holds only if all hold: its lower end is the least of their "
    "95 % intervals, uncorrected (intersection–union); its upper end the least of their intervals "
    "after Bonferroni's correction.",
)


def claim_d(blocks: Sequence[Block], margin: float) -> Claim:
    """Compute claim (d); see `DYNAMIC`."""
    return _contests(DYNAMIC, blocks, margin, AGAINST, NOTES)


def claim_f(blocks: Sequence[Block], margin: float) -> Claim:
    """Compute claim (f); see `CONSISTENCY`."""
    against = {SIMILARITY_ONLY: f"runs of `{SIMILARITY_ONLY}` (`{SUBJECT}` with that rule)"}
    return _contests(CONSISTENCY, blocks, margin, against, NOTES[:1])


def _contests(
    wording: Wording,
    blocks: Sequence[Block],
    margin: float,
    against: dict[str, str],
    notes: tuple[str, ...],
) -> Claim:
    """Set the dynamic group against one or several rows."""
    parts = []
    for other in against:
        found = [(block.name, block.contest(SUBJECT, other)) for block in blocks]
        effects = [of_evidence(name, known) for name, known in found if known is not None]
        parts.append(Part(f"{SUBJECT} − {other}", effects))
    lacks = [lack for part, lack in zip(parts, against.values(), strict=True) if not part.there]
    if not any(block.of(SUBJECT) for block in blocks):
        lacks = [f"runs of `{SUBJECT}`"]
    summary, least = smallest(parts)
    if lacks:  # what is missing might be the smallest
        summary = replace(summary, low=NAN)
    missing = missing_everywhere(lacks)
    verdict = judged(summary, margin)
    sentence = ""
    if least is not None:
        count = sum(part.there for part in parts)
        which = f" (the smallest of {count} differences)" if count > 1 else ""
        sentence = f"{least.name}: {numbers(summary, POINTS)}{which}; {where(summary)}."
    return Claim(
        wording,
        summary,
        margin,
        verdict,
        sentence,
        what_it_takes(wording, summary, verdict, missing),
        missing,
        parts_table(parts),
        _evidence(parts),
        notes,
    )


def _evidence(parts: Sequence[Part]) -> pd.DataFrame:
    """Return a row per comparison, target and seed."""
    rows = [
        (part.name, one.target, seed, value)
        for part in parts
        for one in part.effects
        for seed, value in sorted(one.by_seed.items())
    ]
    return pd.DataFrame(rows, columns=["part", "target", "seed", "difference"])
