"""Two runs side by side: whose group held which source when, where they differ, where they part.

Steps that only one of the runs recorded do not count. docs/overview.md "Curves".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from dtvg.analysis.run import segments
from dtvg.analysis.run.groups import GroupInfo
from dtvg.analysis.statistics import jaccard
from dtvg.analysis.words import percent

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PairInfo:
    """Two runs over their common steps; arrays `[S n]` over all sources of either."""

    names: tuple[str, str]
    groups: tuple[GroupInfo, GroupInfo]
    sources: tuple[str, ...]
    """Of the first run, then those that only the second has."""
    steps: Ints
    """`[S]`: recorded by both."""
    members: tuple[Bools, Bools]
    timelines: tuple[pd.DataFrame, pd.DataFrame]
    """Membership of each over its own steps, as on the groups page."""
    apart: pd.DataFrame
    """`source, first, last, steps, share, who`: where only one of them had the source."""
    notes: tuple[str, ...]

    @property
    def differs(self) -> Bools:
        """`[S]`: whether the groups differ."""
        return np.asarray((self.members[0] != self.members[1]).any(axis=1))

    @property
    def same_share(self) -> float:
        """Share of the common steps with the same group; NaN without one."""
        return 1 - float(self.differs.mean()) if len(self.steps) else float("nan")

    @property
    def overlap(self) -> float:
        """Mean Jaccard of the groups over the common steps; NaN without one."""
        both = jaccard(self.members[0], self.members[1])
        return float(both.mean()) if len(self.steps) else float("nan")

    @property
    def first_parted(self) -> int | None:
        """The first common step at which the groups differ."""
        return int(self.steps[self.differs.argmax()]) if self.differs.any() else None

    @property
    def parted_for_good(self) -> int | None:
        """From which step on the groups were never the same again."""
        same = np.flatnonzero(~self.differs)
        at = int(same[-1]) + 1 if len(same) else 0
        return int(self.steps[at]) if at < len(self.steps) else None

    @cached_property
    def moments(self) -> pd.DataFrame:
        """Where they parted and met again: `step, event (part|meet), a, b` with both groups."""
        turned = np.flatnonzero(np.diff(self.differs, prepend=False))
        rows = [
            (
                int(self.steps[at]),
                "part" if self.differs[at] else "meet",
                segments.group_name(self.members[0][at], self.sources),
                segments.group_name(self.members[1][at], self.sources),
            )
            for at in turned
        ]
        return pd.DataFrame(rows, columns=["step", "event", "a", "b"])

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per source: share of the common steps in either group, and in one alone."""
        a, b = (member.astype(np.float64) for member in self.members)
        filled = len(self.steps) > 0
        nothing = np.full(len(self.sources), np.nan)
        return pd.DataFrame(
            {
                "source": self.sources,
                "a": a.mean(axis=0) if filled else nothing,
                "b": b.mean(axis=0) if filled else nothing,
                "only_a": (a * (1 - b)).mean(axis=0) if filled else nothing,
                "only_b": (b * (1 - a)).mean(axis=0) if filled else nothing,
            }
        )

    @cached_property
    def sentence(self) -> str:
        """Where they part, in a sentence."""
        if not len(self.steps):
            return "The two runs have no recorded step in common."
        if self.first_parted is None:
            return f"Both have the same group at all {len(self.steps):,} common steps."
        good, first = self.parted_for_good, self.first_parted
        said = f"The groups part at step {first:,}"
        if good is None:
            said += ", but not for good"
        elif good == first:
            said += " and are never the same again"
        else:
            said += f" and for good at step {good:,}"
        return (
            f"{said}; they are the same at {percent(self.same_share)} of {len(self.steps):,} "
            f"common steps and overlap by {self.overlap:.2f} (mean Jaccard)."
        )


def pair_info(a: GroupInfo, b: GroupInfo, names: tuple[str, str] = ("", "")) -> PairInfo:
    """Set two runs' groups side by side.

    Args:
        a: groups of the one run.
        b: of the other; its sources and steps may be others.
        names: how the runs are called; empty: by their own names.
    """
    sources = tuple(dict.fromkeys((*a.sources, *b.sources)))
    steps, at_a, at_b = np.intersect1d(a.steps, b.steps, assume_unique=True, return_indices=True)
    members = (_spread(a, sources)[at_a], _spread(b, sources)[at_b])
    notes = []
    if set(a.sources) != set(b.sources):
        only = [s for s in sources if s not in a.sources or s not in b.sources]
        notes.append(
            f"Only one of the runs could choose {', '.join(only)}; for the other, a source it does "
            "not have counts as left out."
        )
    if a.target != b.target:
        notes.append(f"They learn different targets: {a.target} and {b.target}.")
    return PairInfo(
        names=(names[0] or a.run, names[1] or b.run),
        groups=(a, b),
        sources=sources,
        steps=steps,
        members=members,
        timelines=(a.timeline, b.timeline),
        apart=_apart(steps, sources, members),
        notes=tuple(notes),
    )


def _spread(info: GroupInfo, sources: tuple[str, ...]) -> Bools:
    """Return membership `[S n]` over the sources of both runs."""
    made = np.zeros((len(info.steps), len(sources)), dtype=bool)
    made[:, [sources.index(s) for s in info.sources]] = info.member
    return made


def _apart(steps: Ints, sources: tuple[str, ...], members: tuple[Bools, Bools]) -> pd.DataFrame:
    """Return the stretches in which exactly one run had a source."""
    found = []
    for who, only in (("a", members[0] & ~members[1]), ("b", members[1] & ~members[0])):
        nothing = np.zeros(only.shape, dtype=np.float32)
        table, _ = segments.timeline(steps, sources, only, nothing)
        found.append(table[["source", "first", "last", "steps", "share"]].assign(who=who))
    return pd.concat(found, ignore_index=True)
