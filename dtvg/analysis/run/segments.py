"""Which sources were in the group from when to when: exact intervals, changes and combinations.

A membership history `[S n]` becomes run-length segments, so a single step in or out of the
group is never lost to sampling. Pure arrays and tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from dtvg.analysis.downsample import bucket_edges

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

MAX_SEGMENTS = 3000
"""Segments a timeline may have before it is merged into buckets."""


@dataclass(frozen=True)
class Segments:
    """Unbroken stretches of membership: source number, first and last row of each."""

    source: Ints
    first: Ints
    last: Ints


def breaks_of(steps: Ints) -> Bools:
    """Return `[S]`: whether rows are missing before a row.

    The usual distance of two rows is 1, or k in a thinned log; a larger one is a gap.
    """
    broken = np.ones(len(steps), dtype=bool)
    apart = np.diff(steps)
    thinned = len(apart) > 1 and apart.min() > 1
    broken[1:] = apart > (np.sort(apart)[len(apart) // 2] if thinned else 1)
    return broken


def find_segments(steps: Ints, member: Bools) -> Segments:
    """Cut membership into unbroken stretches, source by source, in order of steps.

    Args:
        steps: `[S]` rising step numbers; a gap ends every stretch.
        member: `[S n]`.
    """
    broken = breaks_of(steps)
    before = np.zeros_like(member)
    before[1:] = member[:-1]
    starts = member & (~before | broken[:, None])
    after = np.zeros_like(member)
    after[:-1] = member[1:] & ~broken[1:, None]
    ends = member & ~after
    source, first = np.nonzero(starts.T)
    last = np.nonzero(ends.T)[1]
    return Segments(source.astype(np.int64), first.astype(np.int64), last.astype(np.int64))


def timeline(
    steps: Ints,
    sources: Sequence[str],
    member: Bools,
    similarity: npt.NDArray[np.float32],
    max_segments: int = MAX_SEGMENTS,
) -> tuple[pd.DataFrame, bool]:
    """Build the membership timeline: exact intervals, or buckets where there are too many.

    Args:
        steps: `[S]`.
        sources: n names.
        member: `[S n]`.
        similarity: `[S n]`.
        max_segments: intervals allowed before they are merged into buckets.

    Returns:
        A table with `source, first, last, steps, share, similarity, similarity_low,
        similarity_high` (`steps`: steps in the group within [first, last], `share` of the
        interval's steps; similarity over those steps), and whether every interval is exact.
    """
    segments = find_segments(steps, member)
    exact = len(segments.source) <= max_segments
    if exact:
        count = segments.last - segments.first + 1
        share = np.ones(len(count))
    else:
        edges = bucket_edges(len(steps), max(1, max_segments // max(1, len(sources))))
        segments, count, share = _bucketed(edges, member)
    mean, low, high = _similarity_over(segments, count, member, similarity)
    table = pd.DataFrame(
        {
            "source": named(segments.source, sources),
            "first": steps[segments.first],
            "last": steps[segments.last],
            "steps": count,
            "share": share,
            "similarity": mean,
            "similarity_low": low,
            "similarity_high": high,
        }
    )
    return table, exact


def _bucketed(edges: Ints, member: Bools) -> tuple[Segments, Ints, Floats]:
    """Merge membership into buckets of rows; leave out buckets without a member step."""
    inside = np.add.reduceat(member.astype(np.int64), edges[:-1], axis=0)
    source, bucket = np.nonzero(inside.T)
    count = inside[bucket, source]
    first, last = edges[:-1][bucket], edges[1:][bucket] - 1
    share = count / (last - first + 1)
    return Segments(source.astype(np.int64), first, last), count, share


def _similarity_over(
    segments: Segments, count: Ints, member: Bools, similarity: npt.NDArray[np.float32]
) -> tuple[Floats, Floats, Floats]:
    """Mean, lowest and highest similarity over the member steps of each segment."""
    size = len(segments.source)
    mean, low, high = np.empty(size), np.empty(size), np.empty(size)
    for s in np.unique(segments.source):
        mine = segments.source == s
        inside, values = member[:, s], similarity[:, s].astype(np.float64)
        bounds = np.stack([segments.first[mine], segments.last[mine] + 1], axis=1).ravel()
        stretch = slice(None, None, 2)
        pad = np.append(values, np.nan)
        absent = np.append(~inside, True)
        total = np.add.reduceat(np.where(absent, 0.0, pad), bounds)[stretch]
        mean[mine] = total / count[mine]
        low[mine] = np.minimum.reduceat(np.where(absent, np.inf, pad), bounds)[stretch]
        high[mine] = np.maximum.reduceat(np.where(absent, -np.inf, pad), bounds)[stretch]
    return mean, low, high


def changes(
    steps: Ints, sources: Sequence[str], member: Bools, similarity: npt.NDArray[np.float32]
) -> pd.DataFrame:
    """List every change of the group: `step, source, event, similarity`.

    `event` is `start` for the members of the first row (and after a gap in the steps),
    `enter` and `leave` for what changed against the step before.
    """
    broken = breaks_of(steps)
    before = np.zeros_like(member)
    before[1:] = member[:-1]
    before[broken] = False
    row, source = np.nonzero(member != before)
    kinds = ("start", "enter", "leave")
    kind = np.where(member[row, source], np.where(broken[row], 0, 1), 2)
    return pd.DataFrame(
        {
            "step": steps[row],
            "source": named(source, sources),
            "event": named(kind, kinds),
            "similarity": similarity[row, source],
        }
    )


def churn(steps: Ints, member: Bools) -> Ints:
    """Return `[S]`: how many sources entered or left against the step before (0 at a start)."""
    count = np.zeros(len(steps), dtype=np.int64)
    if len(steps) > 1:
        count[1:] = (member[1:] != member[:-1]).sum(axis=1)
    count[breaks_of(steps)] = 0
    return count


def combinations(steps: Ints, sources: Sequence[str], member: Bools) -> pd.DataFrame:
    """List which groups occurred and how long, most frequent first.

    Returns:
        `members` (names in source order joined by " + ", "(empty)" for none), `size, first,
        last, steps, share, stretches, longest` (`stretches`: how often the group came up
        again; `longest`: steps of its longest unbroken stretch).
    """
    columns = ["members", "size", "first", "last", "steps", "share", "stretches", "longest"]
    if not len(steps):
        return pd.DataFrame({name: [] for name in columns})
    changed = breaks_of(steps)
    changed[1:] |= (member[1:] != member[:-1]).any(axis=1)
    starts = np.flatnonzero(changed)
    lengths = np.diff(np.append(starts, len(steps)))
    groups, which = _distinct(member[starts])
    size = len(groups)
    taken = np.bincount(which, weights=lengths, minlength=size).astype(np.int64)
    longest = np.zeros(size, dtype=np.int64)
    np.maximum.at(longest, which, lengths)
    first, last = np.full(size, len(steps)), np.zeros(size, dtype=np.int64)
    np.minimum.at(first, which, starts)
    np.maximum.at(last, which, starts + lengths - 1)
    table = pd.DataFrame(
        {
            "members": [group_name(group, sources) for group in groups],
            "size": groups.sum(axis=1),
            "first": steps[first],
            "last": steps[last],
            "steps": taken,
            "share": taken / len(steps),
            "stretches": np.bincount(which, minlength=size),
            "longest": longest,
        }
    )
    return table.sort_values(["steps", "first"], ascending=[False, True], ignore_index=True)


def strip(
    steps: Ints,
    sources: Sequence[str],
    member: Bools,
    most: int = 10,
    max_segments: int = MAX_SEGMENTS,
) -> tuple[pd.DataFrame, bool]:
    """Show when each of the most frequent groups was in force.

    Args:
        steps: `[S]`.
        sources: n names.
        member: `[S n]`.
        most: groups with a row of their own; the rest share the row "(other)".
        max_segments: intervals allowed before they are merged into buckets.

    Returns:
        `members, first, last, steps, share` in order of frequency, and whether intervals are
        exact (else buckets with the share of their steps).
    """
    names = combinations(steps, sources, member)["members"].tolist()
    shown = names if len(names) <= most + 1 else [*names[:most], "(other)"]
    if not len(steps):
        return pd.DataFrame(columns=["members", "first", "last", "steps", "share"]), True
    groups, which = _distinct(member)
    place = [min(names.index(group_name(group, sources)), len(shown) - 1) for group in groups]
    active = np.array(place)[which][:, None] == np.arange(len(shown))
    found = find_segments(steps, active)
    exact = len(found.source) <= max_segments
    count, share = found.last - found.first + 1, np.ones(len(found.source))
    if not exact:
        edges = bucket_edges(len(steps), max(1, max_segments // len(shown)))
        found, count, share = _bucketed(edges, active)
    table = pd.DataFrame(
        {
            "members": named(found.source, shown),
            "first": steps[found.first],
            "last": steps[found.last],
            "steps": count,
            "share": share,
        }
    )
    return table, exact


def _distinct(member: Bools) -> tuple[Bools, Ints]:
    """Return the distinct rows of `member [K n]` and for each row the number of its own."""
    if member.shape[1] > 62:
        groups, which = np.unique(member, axis=0, return_inverse=True)
        return groups, which.reshape(-1)
    codes = member.astype(np.int64) @ (np.int64(1) << np.arange(member.shape[1], dtype=np.int64))
    _, where, which = np.unique(codes, return_index=True, return_inverse=True)
    return member[where], which.reshape(-1)


def settling_step(steps: Ints, member: Bools) -> int | None:
    """Return the first step of the group that was never changed again (None: no rows)."""
    if not len(steps):
        return None
    changed = np.flatnonzero((member[1:] != member[:-1]).any(axis=1))
    return int(steps[changed[-1] + 1]) if len(changed) else int(steps[0])


def group_name(members: Bools, sources: Sequence[str]) -> str:
    """Write a group as its members' names in source order, "(empty)" for none."""
    return " + ".join(n for n, m in zip(sources, members, strict=True) if m) or "(empty)"


def said(member: npt.NDArray[np.bool_], sources: Sequence[str]) -> str:
    """Return a group in words, e.g. "film-mood + meal-mood" or "no source".

    Args:
        member: `[n]`, which sources are in it.
        sources: their names, `[n]`.
    """
    name = group_name(member, sources)
    return "no source" if name == "(empty)" else name


def named(codes: npt.NDArray[np.integer], names: Sequence[str]) -> pd.Categorical[str]:
    """Return a categorical column from numbers into `names` (duplicates are not allowed)."""
    index: pd.Index[str] = pd.Index(list(names), dtype=str)
    return pd.Categorical.from_codes(codes, categories=index)


def zero_vectors(names: Sequence[str]) -> str:
    """Say that the vectors of these candidates are zero."""
    if len(names) == 1:
        return (
            f"The vector of {names[0]} is zero: it learned nothing in Stage I. A similarity of 0 "
            "is at the cut or above, so it is a candidate, but merging it adds nothing."
        )
    return (
        f"The vectors of {', '.join(names[:-1])} and {names[-1]} are zero: they learned nothing in "
        "Stage I. A similarity of 0 is at the cut or above, so they are candidates, but merging "
        "them adds nothing."
    )
