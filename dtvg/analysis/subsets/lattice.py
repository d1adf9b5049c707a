"""The subset lattice: what each subset of sources scores, and how a run walked over it.

Up to six sources every subset is a node; with more only those that a run visited or trained
on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from dtvg.analysis.run.groups import GroupInfo
from dtvg.analysis.subsets.quality import best_subset
from dtvg.analysis.subsets.runs import Subset, in_order, name_of, subset_table
from dtvg.analysis.words import counted
from dtvg.store.reader import Run

WHOLE = 6
"""Sources up to which every subset is drawn."""
MOST_NODES = 120
"""Visited subsets kept where not all are drawn: those in force longest."""
MOST_EDGES = 80
"""Steps from subset to subset kept: the most frequent."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, eq=False)
class LatticeInfo:
    """Nodes and edges of one target's lattice and one run's walk."""

    run: str
    """The run that walked; empty where none did."""
    target: str
    split: str
    sources: tuple[str, ...]
    letters: dict[str, str]
    """Source → the letter that stands for it on nodes."""
    nodes: pd.DataFrame
    """`key, subset, size, place, score, n_seeds, basis, steps, share, first, last, best,
    right`: `key` letters of the sources, `place` from the middle of its layer, `score` NaN where
    no run was trained on the subset, `steps` of the walk in it, `best` the highest of these
    scores, `right` the best subset on validation (`best_subset`), or each of several."""
    edges: pd.DataFrame
    """`before, after, count, first`: changes of the group, most frequent first."""
    whole: bool
    """Whether every subset is a node."""
    notes: tuple[str, ...]


def lattice_info(
    runs: Iterable[Run], target: str, group: GroupInfo | None = None, split: str = "test"
) -> LatticeInfo:
    """Lay out the lattice of a target.

    Args:
        runs: of one experiment; finished ones on a given subset colour its node.
        target: whose.
        group: of the run whose walk is drawn.
        split: score that colours nodes, `test` or `validation`.
    """
    of_target = [r for r in runs if r.target == target and r.role == "transfer"]
    known = group.sources if group else ()
    sources = tuple(dict.fromkeys((*known, *(s for r in of_target for s in r.sources))))
    letters = {s: _letter(i) for i, s in enumerate(sources)}
    scored = _scored(of_target, split)
    walk = _Walk.of(group)
    whole = len(sources) <= WHOLE
    if whole:
        held = [frozenset(c) for k in range(len(sources) + 1) for c in combinations(sources, k)]
    else:
        held = list(dict.fromkeys([*scored, *sorted(walk.steps, key=lambda s: -walk.steps[s])]))
        held = held[: max(len(scored), MOST_NODES)]
    nodes = _nodes(held, sources, letters, scored, walk)
    chosen = best_subset(of_target, target)
    right = {name_of(s, sources) for s in (chosen.ties if chosen is not None else ())}
    nodes["right"] = nodes["subset"].isin(right)
    keys = set(nodes["key"])
    edges = _edges(walk, sources, letters)
    kept = edges[edges["before"].isin(keys) & edges["after"].isin(keys)]
    return LatticeInfo(
        run=group.run if group else "",
        target=target,
        split=split,
        sources=sources,
        letters=letters,
        nodes=nodes,
        edges=kept.head(MOST_EDGES).reset_index(drop=True),
        whole=whole,
        notes=_notes(scored, walk, held, edges, len(kept.head(MOST_EDGES)), whole, len(sources)),
    )


@dataclass(frozen=True)
class _Walk:
    """A run's groups in time."""

    steps: dict[Subset, int]
    first: dict[Subset, int]
    last: dict[Subset, int]
    changes: dict[tuple[Subset, Subset], tuple[int, int]]
    """(before, after) → (count, step of the first)."""

    @staticmethod
    def of(group: GroupInfo | None) -> _Walk:
        """Count the subsets a run was in and its changes between them."""
        if group is None or not len(group.steps):
            return _Walk({}, {}, {}, {})
        packed = np.packbits(group.member, axis=1)
        _, place = np.unique(packed, axis=0, return_inverse=True)
        place = place.reshape(-1)
        count = int(place.max()) + 1
        starts = np.full(count, len(place))
        np.minimum.at(starts, place, np.arange(len(place)))
        ends = np.zeros(count, dtype=np.int64)
        np.maximum.at(ends, place, np.arange(len(place)))
        names = [
            frozenset(s for s, held in zip(group.sources, group.member[at], strict=True) if held)
            for at in starts
        ]
        often = np.bincount(place, minlength=count)
        moved = np.flatnonzero(place[1:] != place[:-1])
        changes: dict[tuple[Subset, Subset], tuple[int, int]] = {}
        for at in moved:
            pair = (names[place[at]], names[place[at + 1]])
            seen, first = changes.get(pair, (0, int(group.steps[at + 1])))
            changes[pair] = (seen + 1, first)
        return _Walk(
            {n: int(often[i]) for i, n in enumerate(names)},
            {n: int(group.steps[starts[i]]) for i, n in enumerate(names)},
            {n: int(group.steps[ends[i]]) for i, n in enumerate(names)},
            changes,
        )


def _letter(place: int) -> str:
    """A, B, … Z, then A2, B2, …"""
    turn, at = divmod(place, len(LETTERS))
    return LETTERS[at] + (str(turn + 1) if turn else "")


def _scored(runs: Sequence[Run], split: str) -> dict[Subset, tuple[float, int, str]]:
    """Subset → mean score, seeds, method; runs that search subsets before all others."""
    rows = subset_table(runs).dropna(subset=[split])
    found: dict[Subset, tuple[float, int, str]] = {}
    for method in in_order(rows):
        mine = rows[rows["method"] == method]
        for subset, values in mine.groupby("subset", sort=False)[split]:
            seeds = (float(values.mean()), len(values), method)
            found.setdefault(subset, seeds)  # type: ignore[arg-type]
    return found


NODE_COLUMNS = [
    "key", "subset", "size", "score", "n_seeds", "basis", "steps", "share", "first", "last", "best",
]  # fmt: skip


def _nodes(
    held: Sequence[Subset],
    sources: Sequence[str],
    letters: dict[str, str],
    scored: dict[Subset, tuple[float, int, str]],
    walk: _Walk,
) -> pd.DataFrame:
    """One row per subset: layer by size, sources in their order from left to right."""
    total = sum(walk.steps.values())
    ordered = sorted(held, key=lambda s: (len(s), [i for i, x in enumerate(sources) if x in s]))
    top = max(
        (s for s in ordered if s in scored), key=lambda s: (scored[s][0], -len(s)), default=None
    )
    layers = pd.Series([len(s) for s in ordered], dtype=int)
    widths = layers.value_counts()
    place = layers.groupby(layers).cumcount() - (layers.map(widths) - 1) / 2
    rows = []
    for subset in ordered:
        score, seeds, basis = scored.get(subset, (np.nan, 0, ""))
        steps = walk.steps.get(subset, 0)
        rows.append(
            {
                "key": key_of(subset, sources, letters),
                "subset": name_of(subset, sources),
                "size": len(subset),
                "score": score,
                "n_seeds": seeds,
                "basis": basis,
                "steps": steps,
                "share": steps / total if total else 0.0,
                "first": walk.first.get(subset),
                "last": walk.last.get(subset),
                "best": subset == top,
            }
        )
    table = pd.DataFrame(rows, columns=NODE_COLUMNS)
    table.insert(3, "place", place.to_numpy(dtype=np.float64))
    return table.astype({"first": "Int64", "last": "Int64"})


def key_of(subset: Subset, sources: Sequence[str], letters: dict[str, str]) -> str:
    """Return a subset as letters; ∅ for the empty one."""
    return "".join(letters[s] for s in sources if s in subset) or "∅"


def _edges(walk: _Walk, sources: Sequence[str], letters: dict[str, str]) -> pd.DataFrame:
    rows = [
        (key_of(a, sources, letters), key_of(b, sources, letters), count, first)
        for (a, b), (count, first) in walk.changes.items()
    ]
    table = pd.DataFrame(rows, columns=["before", "after", "count", "first"])
    return table.sort_values(["count", "first"], ascending=[False, True], ignore_index=True)


def _notes(
    scored: dict[Subset, tuple[float, int, str]],
    walk: _Walk,
    held: Sequence[Subset],
    edges: pd.DataFrame,
    kept: int,
    whole: bool,
    n: int,
) -> tuple[str, ...]:
    """Say what is drawn and what is not."""
    counts = Counter(method for _, _, method in scored.values())
    by = ", ".join(f"{count} from `{method}`" for method, count in counts.items())
    through = f"; the walk went through {len(walk.steps):,}" if walk.steps else ""
    notes = [
        f"{len(scored)} of the {2**n:,} subsets of {counted(n, 'source')} were trained on and have"
        " a score"
        f"{f' ({by})' if by else ''}{through}."
    ]
    if not whole:
        hidden = len(set(walk.steps) - set(held))
        text = f"With {n} sources only subsets that were visited or trained on are drawn"
        notes.append(
            f"{text}; {hidden:,} that were visited only briefly are left out."
            if hidden
            else f"{text}."
        )
    if kept < len(edges):
        notes.append(f"The {kept} most frequent of {len(edges):,} different changes are drawn.")
    return tuple(notes)
