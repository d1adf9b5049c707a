"""(a) The best combination of sources is neither one source nor all of them.

Groups of two to n − 1 sources against no source, single sources and all of them, from oracle
runs. The best group is chosen on one half of the test rows, by the other seeds, and scored on
the other half. docs/claims.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
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
from dtvg.analysis.claims.effects import NAN, Effect, Part, Summary, of_evidence, summed
from dtvg.analysis.claims.halves import evidences
from dtvg.analysis.claims.searched import Searched, search
from dtvg.analysis.subsets.runs import Subset, name_of

WORDING = Wording(
    "a",
    "Neither one nor all",
    "The best combination of sources is neither a single source nor all of them.",
    "Test score of the best group of two to n − 1 sources minus that of the best of: no source, "
    "each single source, all sources.",
    POINTS,
)
BOTH = "best group − best of the others"
AT_LEAST = "best group − best of the others in hindsight"
AT_MOST = "best group in hindsight − best of the others"
NOTES = (
    "The best is chosen on one half of the test rows by all seeds but one, and scored on the "
    "other half with that seed (10 random halvings, both ways).",
    "The lower end is that of the chosen group against the other that is best in hindsight, the "
    "upper end that of the group that is best in hindsight against the chosen other. What is best "
    "in hindsight looks better than it is, so the interval holds for the truly best of both.",
)


def claim(blocks: Sequence[Block], margin: float) -> Claim:
    """Compute the claim; see `WORDING`."""
    found = [search(block) for block in blocks]
    there = [one for one, _ in found if one is not None]
    lacks = [] if there else [what for _, what in found]
    counted = [one for one in there if _complete(one)]
    made, whole = [effects_of(one) for one in counted], all(one.whole for one in counted)
    if there and not made:
        lacks.append("oracle runs over at least three sources, the single sources and all of them")
    parts = gathered(made)
    summary = summary_of({part.name: part for part in parts}, whole)
    missing = missing_everywhere(lacks)
    verdict = judged(summary, margin)
    sentence = ""
    if summary.known:
        sentence = (
            f"The best group, chosen on the other half of the test rows, scores "
            f"{numbers(summary, POINTS)} against the best of no, one and all sources; "
            f"{where(summary)}."
        )
        if not whole:
            sentence += (
                " Not every subset of the sources was trained: others might be better, so the "
                "claim can be supported but not contradicted."
            )
    return Claim(
        WORDING,
        summary,
        margin,
        verdict,
        sentence,
        what_it_takes(WORDING, summary, verdict, missing),
        missing,
        parts_table(parts),
        _evidence(there),
        NOTES,
    )


def _complete(one: Searched) -> bool:
    """Whether there are groups, and everything that they are compared with."""
    n = len(one.sources)
    sizes = [len(s) for s in one.subsets]
    others = sum(k in (0, 1, n) for k in sizes)
    return n > 2 and others == n + 2 and bool(len(one.places(proper=True)))


def effects_of(one: Searched) -> dict[str, Effect]:
    """Return the chosen group against the chosen other, both bounds, and against each other."""
    groups, others = one.places(proper=True), one.places(proper=False)
    group, _ = one.best(groups)
    rival, _ = one.best(others)
    means = one.values.mean(axis=(0, 2))
    top_group, top_rival = (among[int(means[among].argmax())] for among in (groups, others))
    tables = {
        BOTH: group - rival,
        AT_LEAST: group - one.values[:, top_rival],
        AT_MOST: one.values[:, top_group] - rival,
    }
    order = one.sources
    for place in others:
        name = f"best group − {name_of(one.subsets[place], order)}"
        tables[name] = group - one.values[:, place]
    known = evidences(tables, one.seeds, one.draw)
    return {name: of_evidence(one.name, e) for name, e in known.items()}


def gathered(made: Sequence[Mapping[str, Effect]]) -> list[Part]:
    """Return the comparisons of several targets by name."""
    names = dict.fromkeys(name for effects in made for name in effects)
    return [Part(name, [effects[name] for effects in made if name in effects]) for name in names]


def summary_of(parts: Mapping[str, Part], whole: bool) -> Summary:
    """Return the difference with an interval that holds for the truly best of both."""
    if BOTH not in parts:
        return Summary()
    middle = summed(parts[BOTH].effects)
    low = min(middle.low, summed(parts[AT_LEAST].effects).low)
    high = max(middle.high, summed(parts[AT_MOST].effects).high) if whole else NAN
    return replace(middle, low=low, high=high)


def _evidence(there: Sequence[Searched]) -> pd.DataFrame:
    """Return a row per target and subset: its mean score, and how often it was chosen as best."""
    rows = []
    for one in there:
        n = len(one.sources)
        _, choice = one.best(np.arange(len(one.subsets)))
        for place, subset in enumerate(one.subsets):
            rows.append(
                {
                    "target": one.name,
                    "subset": name_of(subset, one.sources),
                    "size": len(subset),
                    "kind": _kind(subset, n),
                    "score": float(one.values[:, place].mean()),
                    "chosen": float((choice == place).mean()),
                    "n_seeds": len(one.seeds),
                }
            )
    columns = ["target", "subset", "size", "kind", "score", "chosen", "n_seeds"]
    return pd.DataFrame(rows, columns=columns)


def _kind(subset: Subset, n: int) -> str:
    if 1 < len(subset) < n:
        return "group"
    return {0: "no source", 1: "one source"}.get(len(subset), "all sources")
