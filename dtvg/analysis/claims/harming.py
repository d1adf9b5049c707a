"""(e) Dynamic groups suffer less negative transfer than other methods.

How often and how far each method falls below no transfer. Whether a run fell below is decided on
one half of the test rows, and how far is measured on the other. docs/claims.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from dtvg.analysis.claims.blocks import NONE, SINGLE, Block, Rows
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
from dtvg.analysis.claims.halves import evidences, halves
from dtvg.analysis.compare.scores import SUBJECT
from dtvg.analysis.words import listed

Floats = npt.NDArray[np.float64]
WORDING = Wording(
    "e",
    "Less negative transfer",
    "Dynamic groups fall below no transfer less often and less far than other methods.",
    "Points lost below no transfer by the other methods that read sources, their mean, minus those "
    "lost by the dynamic group.",
    POINTS,
)
LEAD = "others − dynamic group"
OTHERS = "points lost by the others"
NOTES = (
    "Points lost: where a run scores below no transfer of its seed on one half of the test rows, "
    "how far it lies below on the other half, else 0 (10 random halvings, both ways). A run that "
    "is as good as no transfer loses 0 on average, whatever the noise of its rows.",
    "The others are all methods run here that read sources and are no variant of the dynamic "
    "group; single sources count as one method, their mean.",
)


def claim(blocks: Sequence[Block], margin: float) -> Claim:
    """Compute the claim; see `WORDING`."""
    made = [_measured(block) for block in blocks]
    there = [one for one, _ in made if one]
    names = list(dict.fromkeys(name for one in there for name in one))
    parts = [Part(name, [one[name] for one in there if name in one]) for name in names]
    by_name = {part.name: part for part in parts}
    lead = by_name.get(LEAD, Part(LEAD))
    summary, lost = summed(lead.effects), summed(by_name.get(OTHERS, Part(OTHERS)).effects)
    mine = summed(by_name.get(f"points lost by {SUBJECT}", Part("")).effects)
    verdict = verdict_of(summary, lost, margin)
    harmless = not lost.low > 0
    missing = missing_everywhere([] if there else [what for _, what in made])
    takes = what_it_takes(WORDING, summary, verdict, missing)
    if takes and harmless and summary.known and not summary.problem and summary.high < margin:
        takes = (
            "The other methods are not shown to fall below no transfer here, so there is no harm "
            "to avoid. It needs targets on which sources do harm."
        )
    if takes and summary.problem:
        takes = " ".join([takes, *filter(None, map(_waits_for, blocks))])
    return Claim(
        WORDING,
        summary,
        margin,
        verdict,
        _sentence(summary, lost, mine, blocks),
        takes,
        missing,
        parts_table(parts),
        _evidence(blocks, by_name),
        NOTES,
    )


def verdict_of(summary: Summary, lost: Summary, margin: float) -> str:
    """Return the verdict; where nothing is shown to be lost, nothing could have been saved.

    Args:
        summary: points that the others lose, minus the dynamic group's.
        lost: points that the others lose.
        margin: effects below it do not matter.
    """
    verdict = judged(summary, margin)
    if verdict == CONTRADICTED and summary.high >= 0 and not lost.low > 0:
        return CANNOT_TELL
    return verdict


def _rows(block: Block) -> dict[str, list[Rows]]:
    """Return method → its runs by seed; several for single sources, which count as their mean."""
    found: dict[str, list[Rows]] = {SUBJECT: [block.of(SUBJECT)]}
    found |= {name: [block.of(name)] for name in block.rivals}
    if block.all_singles:
        found[SINGLE] = list(block.singles.values())
    return {name: rows for name, rows in found.items() if all(rows)}


def _measured(block: Block) -> tuple[dict[str, Effect], str]:
    """Return what each method loses on one target, or what is missing."""
    none, rows = block.of(NONE), _rows(block)
    if not none or SUBJECT not in rows:
        return {}, f"runs of `{NONE}` and `{SUBJECT}`"
    if len(rows) < 2:
        return {}, "runs of other methods that read sources, e.g. `all_sources`"
    known, none, rows = block.values, _answered(block, none), _answered_rows(block)
    shared = [set(each) for held in rows.values() for each in held]
    seeds = sorted(set(none).intersection(*shared)) if shared else []
    if not none or SUBJECT not in rows or len(rows) < 2:
        return {}, "stored test answers (evaluation.keep_predictions: test)"
    if not seeds:
        return {}, "seeds that all methods have in common"
    choosing = halves(block.examples.n_examples, block.draw)
    base = np.array([known[none[s].path] for s in seeds])
    lost = {
        name: np.mean(
            [losses(np.array([known[e[s].path] for s in seeds]) - base, choosing) for e in held],
            axis=0,
        )
        for name, held in rows.items()
    }
    others = np.mean([lost[name] for name in lost if name != SUBJECT], axis=0)
    tables = {LEAD: others - lost[SUBJECT], OTHERS: others}
    tables |= {f"points lost by {name}": table for name, table in lost.items()}
    found = evidences(tables, seeds, block.draw)
    return {name: of_evidence(block.name, e) for name, e in found.items()}, ""


def _answered(block: Block, runs: Rows) -> Rows:
    """Return the runs whose answers are stored; the seeds of others do not count."""
    return {seed: run for seed, run in runs.items() if run.path in block.values}


def _answered_rows(block: Block) -> dict[str, list[Rows]]:
    """Return `_rows` with the runs whose answers are stored, without methods that have none."""
    rows = {name: [_answered(block, each) for each in held] for name, held in _rows(block).items()}
    return {name: held for name, held in rows.items() if all(held)}


def _waits_for(block: Block) -> str:
    """Name the methods whose few seeds keep the others' from counting; empty: all have as many."""
    none, rows = set(_answered(block, block.of(NONE))), _answered_rows(block)
    seeds = {name: none.intersection(*map(set, held)) for name, held in rows.items() if none}
    most = max(map(len, seeds.values()), default=0)
    fewer = [f"`{name}` ({len(s)} of {most})" for name, s in seeds.items() if len(s) < most]
    if not fewer:
        return ""
    return f"{block.name}: only seeds that every method has count; fewer have {listed(fewer)}."


def losses(difference: Floats, choosing: npt.NDArray[np.bool_]) -> Floats:
    """Return the points lost below no transfer, decided on one half and measured on the other.

    Args:
        difference: `[S E]`: what each example adds to a run's score minus no transfer's.
        choosing: `[H E]`, from `halves`.

    Returns:
        `[S E]`: mean over the halves that an example did not decide in; on average over the
        examples above 0 where runs fall below.
    """
    weights = choosing.T / choosing.sum(axis=1)
    below = (difference @ weights) < -1e-12  # [S H]; equal scores are no loss
    free = (~choosing).astype(np.float64)  # [H E]
    share = (below.astype(np.float64) @ free) / free.sum(axis=0)
    return np.asarray(-difference * share)


def _sentence(summary: Summary, lost: Summary, mine: Summary, blocks: Sequence[Block]) -> str:
    """Say how far and how often."""
    if not summary.known:
        return ""
    table = how_often(blocks)
    own = table[table["method"] == SUBJECT]
    rest = table[table["method"] != SUBJECT]
    counts = [f"{int(t['below'].sum())} of {int(t['runs'].sum())} runs" for t in (own, rest)]
    return (
        f"The other methods lose {numbers(lost, POINTS)} below no transfer, the dynamic group "
        f"{numbers(mine, POINTS)}: a difference of {numbers(summary, POINTS)}. It scores below no "
        f"transfer in {counts[0]}, the others in {counts[1]}; {where(summary)}."
    )


def how_often(blocks: Sequence[Block]) -> pd.DataFrame:
    """Return how many runs of each method score below no transfer of their seed.

    Returns:
        `method, target, runs, below, deepest`: `deepest` is the largest loss of a run, 0..1.
    """
    made = []
    for block in blocks:
        none = block.of(NONE)
        for name, held in _rows(block).items():
            lost = [
                (none[s].test_score or 0.0) - (run.test_score or 0.0)
                for each in held
                for s, run in each.items()
                if s in none
            ]
            if lost:
                below = [x for x in lost if x > 1e-12]
                made.append((name, block.name, len(lost), len(below), max([0.0, *lost])))
    return pd.DataFrame(made, columns=["method", "target", "runs", "below", "deepest"])


def _evidence(blocks: Sequence[Block], parts: Mapping[str, Part]) -> pd.DataFrame:
    """Return a row per method: how often and how far it falls below no transfer."""
    table = how_often(blocks)
    rows = []
    for name in dict.fromkeys(table["method"]):
        mine = table[table["method"] == name]
        lost = (
            summed(parts[f"points lost by {name}"].effects)
            if (f"points lost by {name}" in parts)
            else Summary()
        )
        rows.append(
            {
                "method": name,
                "runs": int(mine["runs"].sum()),
                "below": int(mine["below"].sum()),
                "share": float(mine["below"].sum() / mine["runs"].sum()),
                "lost": lost.estimate,
                "low": lost.low,
                "high": lost.high,
                "deepest": float(mine["deepest"].max()),
            }
        )
    columns = ["method", "runs", "below", "share", "lost", "low", "high", "deepest"]
    return pd.DataFrame(rows, columns=columns)
