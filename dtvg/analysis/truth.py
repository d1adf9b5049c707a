"""How well the group agrees with known relatedness (the demo's truth table, or one's own).

A truth table says for a target which sources are helpful, neutral or harmful; the group at a
step is right where it holds exactly the helpful ones. Must not import torch, plotly or
streamlit. DESIGN.md "The embedded default".
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from dtvg import paths
from dtvg.analysis.downsample import MAX_POINTS, thin_index
from dtvg.analysis.groups import GroupInfo
from dtvg.errors import DataError, unknown

Floats = npt.NDArray[np.float64]
Truth = dict[str, dict[str, str]]
"""Target → source → relation."""

RELATIONS = ("helpful", "neutral", "harmful")


@dataclass(frozen=True, eq=False)
class TruthInfo:
    """Agreement of a run's group with the truth; arrays `[S]` over steps."""

    run: str
    target: str
    relation: dict[str, str]
    """Source → helpful, neutral or harmful."""
    steps: npt.NDArray[np.int64]
    precision: Floats
    """Share of the group that is helpful; NaN for an empty group."""
    recall: Floats
    """Share of the helpful sources that are in the group; NaN where none is helpful."""
    jaccard: Floats
    """|group ∩ helpful| / |group ∪ helpful|; 1 where both are empty."""
    exact: npt.NDArray[np.bool_]
    """Whether the group is exactly the helpful sources."""
    harmful_share: Floats
    """Share of the group that is harmful; NaN for an empty group."""
    member_share: Floats
    """`[n]`: share of steps in which each source of `relation` was in the group."""

    @property
    def summary(self) -> dict[str, float]:
        """Means over steps (NaN left out), and the share of steps that were exactly right."""
        return {
            "steps": float(len(self.steps)),
            "precision": _mean(self.precision),
            "recall": _mean(self.recall),
            "jaccard": _mean(self.jaccard),
            "exact": _mean(self.exact.astype(np.float64)),
            "harmful_share": _mean(self.harmful_share),
        }

    @property
    def table(self) -> pd.DataFrame:
        """One row per source: its relation and the share of steps it was in the group."""
        return pd.DataFrame(
            {
                "source": list(self.relation),
                "relation": list(self.relation.values()),
                "share": self.member_share,
            }
        )

    @cached_property
    def step_table(self) -> pd.DataFrame:
        """Agreement over steps as plotted, thinned."""
        kept = thin_index(self.jaccard, MAX_POINTS)
        return pd.DataFrame(
            {
                "step": self.steps[kept],
                "precision": self.precision[kept],
                "recall": self.recall[kept],
                "jaccard": self.jaccard[kept],
                "exact": self.exact[kept],
                "harmful_share": self.harmful_share[kept],
            }
        )


def read_truth(path: Path | None = None) -> Truth:
    """Read a truth table: CSV with columns target, source, relation.

    Args:
        path: the file; None for the demo's.

    Raises:
        DataError: no such file, a missing column, or an unknown relation (with its line).
    """
    path = path or paths.demo() / "truth.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = {"target", "source", "relation"} - set(reader.fieldnames or ())
            if missing:
                raise DataError(
                    f"Truth table '{path}' lacks column {', '.join(sorted(missing))}; it needs "
                    "target, source and relation."
                )
            truth: Truth = {}
            for row in reader:
                if row["relation"] not in RELATIONS:
                    what = f"relation in line {reader.line_num} of '{path}'"
                    raise DataError(unknown(what, str(row["relation"]), RELATIONS))
                truth.setdefault(row["target"], {})[row["source"]] = row["relation"]
    except FileNotFoundError:
        raise DataError(
            f"There is no truth table '{path}'; `python -m dtvg demo build` makes the demo's."
        ) from None
    return truth


def truth_info(group: GroupInfo, truth: Truth) -> TruthInfo:
    """Compare a run's groups with the truth about its target.

    Args:
        group: from `group_info`.
        truth: from `read_truth`.

    Raises:
        DataError: the table says nothing about the target, or about one of the sources.
    """
    if group.target not in truth:
        raise DataError(unknown("target of the truth table", group.target, truth))
    known = truth[group.target]
    absent = [s for s in group.sources if s not in known]
    if absent:
        raise DataError(
            f"The truth table says nothing about {', '.join(absent)} for target "
            f"'{group.target}'; add these rows."
        )
    relation = {s: known[s] for s in group.sources}
    kinds = np.array(list(relation.values()))
    helpful, harmful = kinds == "helpful", kinds == "harmful"
    member = group.member
    size = member.sum(axis=1).astype(np.float64)
    right = (member & helpful).sum(axis=1)
    union = (member | helpful).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(size > 0, right / size, np.nan)
        harm = np.where(size > 0, (member & harmful).sum(axis=1) / size, np.nan)
        jaccard = np.where(union > 0, right / np.maximum(union, 1), 1.0)
    total = int(helpful.sum())
    return TruthInfo(
        run=group.run,
        target=group.target,
        relation=relation,
        steps=group.steps,
        precision=precision,
        recall=right / total if total else np.full(len(size), np.nan),
        jaccard=jaccard,
        exact=(member == helpful).all(axis=1),
        harmful_share=harm,
        member_share=member.mean(axis=0) if len(size) else np.full(len(kinds), np.nan),
    )


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
