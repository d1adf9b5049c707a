"""What stands beside a timeline: marks of what happened, and the right sets of sources, if known.

Marks: the best step, evaluations, pins and bans, forks and resumes. Right sets: the truth of made
tasks and the oracle's best subset, each with how far the group agreed with it over the steps.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dtvg.analysis.downsample import bucket_edges
from dtvg.analysis.run.groups import GroupInfo
from dtvg.analysis.subsets.quality import Truth, best_subset, overlap, read_truth, right_sets
from dtvg.analysis.subsets.runs import Subset, name_of
from dtvg.analysis.words import in_percent
from dtvg.errors import DataError
from dtvg.store.reader import Run, read_table

EVENTS: Mapping[str, str] = {
    "pin": "pinned",
    "ban": "banned",
    "free": "left to the rule again",
    "forked": "forked",
    "resumed": "resumed",
    "stopped": "stopped",
    "restarted": "restarted",
    "fell_back": "fell back to an earlier commit",
}
"""Events that are marked, and what is said of them."""
BEST, EVALUATED = "best step", "evaluated"
MOST_STRETCHES, BUCKETS = 400, 200
"""Stretches of equal agreement drawn at most; beyond, means over so many buckets."""


@dataclass(frozen=True, eq=False)
class Beside:
    """Marks and right sets of one run."""

    marks: pd.DataFrame
    """`step, kind, label`: kind is `best step`, `evaluated` or a kind of event."""
    references: pd.DataFrame
    """`reference, members, first, last, steps, overlap`: Jaccard with the group, stretch by
    stretch."""
    right: Mapping[str, Subset]
    """Reference → sources."""

    @property
    def names(self) -> list[str]:
        """Rows below the sources: every reference, and the marks where there are any."""
        return [*self.right, *(["marks"] if len(self.marks) else [])]


def beside(run: Run, info: GroupInfo, right: Mapping[str, Subset]) -> Beside:
    """Gather what stands beside a run's timeline.

    Args:
        run: from `dtvg.store.reader`.
        info: its groups.
        right: sets of sources by what says that they are right.
    """
    told = {name if subset else f"{name} (none)": subset for name, subset in right.items()}
    known = told if len(info.steps) else {}
    rows = [row for name, subset in known.items() for row in _agreement(info, name, subset)]
    columns = ["reference", "members", "first", "last", "steps", "overlap"]
    return Beside(marks_of(run), pd.DataFrame(rows, columns=columns), known)


def marks_of(run: Run) -> pd.DataFrame:
    """Return what happened to a run, step by step: `step, kind, label`."""
    scores = read_table(run, "evals", ["step", "split", "metric", "value"]).to_pandas()
    scores = scores[(scores["split"] == "validation") & (scores["metric"] == "score")]
    rows: list[tuple[int, str, str]] = [
        (int(step), EVALUATED, f"evaluated: {in_percent(value)} %")
        for step, value in scores.groupby("step")["value"].last().items()
    ]
    best = run.result.best_step if run.result is not None else None
    for row in read_table(run, "events", ["step", "kind", "subject"]).to_pylist():
        if row["kind"] == "best" and run.result is None:
            best = row["step"]
        if row["kind"] in EVENTS:
            who = f"{row['subject']} " if row["subject"] else ""
            rows.append((row["step"], row["kind"], f"{who}{EVENTS[row['kind']]}"))
    if best is not None:
        kept = "its prompt is kept" if run.result is not None else "best so far"
        rows.append((int(best), BEST, f"best step: {kept}"))
    table = pd.DataFrame(rows, columns=["step", "kind", "label"])
    return table.sort_values("step", kind="stable", ignore_index=True)


def _agreement(
    info: GroupInfo, name: str, subset: Subset
) -> list[tuple[str, str, int, int, int, float]]:
    """Return the overlap with one set as stretches, or as means over buckets of steps."""
    right = np.array([source in subset for source in info.sources])
    values = overlap(info.member, right)["jaccard"]
    edges = np.flatnonzero(np.diff(values, prepend=np.nan) != 0)
    edges = np.append(edges, len(values))
    if len(edges) > MOST_STRETCHES:
        edges = bucket_edges(len(values), BUCKETS)
    members = name_of(subset, info.sources)
    return [
        (
            name,
            members,
            int(info.steps[a]),
            int(info.steps[b - 1]),
            int(b - a),
            float(values[a:b].mean()),
        )
        for a, b in zip(edges[:-1], edges[1:], strict=True)
    ]


def beside_among(run: Run, info: GroupInfo, everyone: Sequence[Run]) -> Beside:
    """Return `beside` with the right sets that a run's experiment and the demo's truth tell.

    Args:
        run: from `dtvg.store.reader`.
        info: its groups.
        everyone: all runs of its experiment.
    """
    truth: Truth = {}
    with contextlib.suppress(DataError):  # the demo was never built here
        truth = read_truth()
    best = best_subset(everyone, run.target)
    return beside(run, info, right_sets(best, run.target, info.sources, truth))
