"""Did a run keep the right group? Overlap over time with the best subset and with the truth.

The best subset is the oracle's: highest mean validation score of all subsets trained.
docs/methods.md; docs/demo.md.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from dtvg import paths
from dtvg.analysis.downsample import MAX_POINTS, thin_index
from dtvg.analysis.run.groups import GroupInfo
from dtvg.analysis.statistics import jaccard
from dtvg.analysis.subsets.runs import Subset, in_order, name_of, searched, subset_table
from dtvg.analysis.words import counted, in_percent
from dtvg.errors import DataError, unknown
from dtvg.store.reader import Run

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

ORACLE, TRUTH = "best subset", "truth"
COLUMNS = [
    "reference",
    "run",
    "seed",
    "steps",
    "precision",
    "recall",
    "jaccard",
    "exact",
    "jaccard_last",
    "score",
    "best_score",
    "regret",
    "against",
]


@dataclass(frozen=True)
class BestSubset:
    """The best subset of a target's sources that was trained."""

    subset: Subset
    basis: str
    """Method whose runs were searched: `oracle`, or `surrogate` where there is no oracle."""
    trained: int
    """Subsets searched."""
    possible: int
    """2^n."""
    validation: float
    """Mean validation score over seeds, by which it was chosen."""
    test: dict[int, float]
    """Seed → test score."""
    tied: int = 1
    """Subsets with this validation score, this one among them."""
    sources: Subset = frozenset()
    """Sources whose subsets were searched."""
    ties: Mapping[Subset, Mapping[int, float]] = field(default_factory=dict)
    """Every subset with this validation score, the smallest first → seed → test score."""


@dataclass(frozen=True, eq=False)
class QualityInfo:
    """Agreement of runs' groups (seeds of one method on one target) with what is right."""

    sources: tuple[str, ...]
    references: dict[str, Subset]
    """"best subset" and "truth" → sources, as far as they are known."""
    best: BestSubset | None
    table: pd.DataFrame
    """`COLUMNS`, one row per reference and run: precision, recall, jaccard and exact averaged
    over steps; `regret`: test score of the best subset minus the run's, same seed; `against`:
    the set it is measured by, of several best ones the nearest to the run's groups."""
    curves: pd.DataFrame
    """`reference, run, seed, step, precision, recall, jaccard`, thinned, as plotted."""
    summary: pd.DataFrame
    """One row per reference: means over runs."""
    notes: tuple[str, ...]


def best_subset(runs: Iterable[Run], target: str) -> BestSubset | None:
    """Return the oracle's best subset for a target; None where no subset was searched.

    Chosen on validation over seeds that all have the subsets judged, as many runs as there are;
    ties go to the smaller subset, then to the earlier one, so that a source that adds nothing is
    not called right; all of them are kept.
    """
    rows = subset_table(r for r in runs if r.target == target)
    rows = searched(rows)
    if not len(rows):
        return None
    basis = in_order(rows)[0]
    rows = rows[rows["method"] == basis]
    held: dict[int, set[Subset]] = {}
    for seed, subset in zip(rows["seed"], rows["subset"], strict=True):
        held.setdefault(int(seed), set()).add(subset)
    seeds, kept = judged_alike(held)
    rows = rows[rows["seed"].isin(seeds) & rows["subset"].isin(kept)]
    grouped = rows.groupby("subset", sort=False)["validation"].mean()
    first = grouped.max()
    tied = [s for s, mean in grouped.items() if mean >= first - 1e-12]
    ties: dict[Subset, dict[int, float]] = {}
    for subset in sorted(tied, key=len):  # type: ignore[arg-type]
        mine = rows[rows["subset"] == subset]
        found = zip(mine["seed"], mine["test"], strict=True)
        ties[subset] = {int(seed): float(score) for seed, score in found}  # type: ignore[index]
    best = next(iter(ties))
    sources: Subset = frozenset().union(*rows["subset"])
    counts = (len(grouped), 2 ** len(sources))
    return BestSubset(best, basis, *counts, float(first), ties[best], len(ties), sources, ties)


def judged_alike(held: Mapping[int, set[Subset]]) -> tuple[list[int], set[Subset]]:
    """Return seeds and the subsets that all of them have: as many runs as possible, so that
    neither a seed that has just begun nor a subset that one seed lacks decides alone."""
    best: tuple[list[int], set[Subset]] = ([], set())
    shared: set[Subset] = set()
    order = sorted(held, key=lambda seed: -len(held[seed]))
    for count, seed in enumerate(order, 1):
        shared = held[seed] if count == 1 else shared & held[seed]
        if count * len(shared) > len(best[0]) * len(best[1]):
            best = (order[:count], shared)
    return best


def overlap(member: Bools, right: Bools) -> dict[str, Floats]:
    """Return precision, recall, Jaccard and exactness of groups against one set.

    Args:
        member: `[S n]`.
        right: `[n]`.

    Returns:
        Arrays `[S]`; precision is NaN for an empty group, recall where nothing is right, and
        Jaccard 1 where both are empty.
    """
    hit = (member & right).sum(axis=1).astype(np.float64)
    size, total = member.sum(axis=1), int(right.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "precision": np.where(size > 0, hit / size, np.nan),
            "recall": hit / total if total else np.full(len(hit), np.nan),
            "jaccard": jaccard(member, right),
            "exact": (member == right).all(axis=1).astype(np.float64),
        }


def right_sets(
    best: BestSubset | None, target: str, sources: Sequence[str], truth: Truth | None = None
) -> dict[str, Subset]:
    """Return the sets of sources that are right for a target, by what says so.

    Args:
        best: from `best_subset`.
        target: whose sources.
        sources: those a run could choose from.
        truth: from `read_truth`, if there is one.
    """
    found: dict[str, Subset] = {}
    if best is not None:
        found[ORACLE] = best.subset
    known = (truth or {}).get(target, {})
    if known and all(s in known for s in sources):
        found[TRUTH] = frozenset(s for s in sources if known[s] == "helpful")
    return found


def quality_info(
    groups: Sequence[GroupInfo],
    runs: Sequence[Run],
    everyone: Sequence[Run],
    truth: Truth | None = None,
) -> QualityInfo:
    """Judge the groups of some runs: seeds of one method on one target.

    Args:
        groups: of each run, from `group_info`.
        runs: the same runs, for their scores.
        everyone: all runs of the experiment, among them those on given subsets.
        truth: from `read_truth`, if there is one.
    """
    target = groups[0].target
    sources = groups[0].sources
    best = best_subset(everyone, target)
    references = right_sets(best, target, sources, truth)
    rows, curves = [], []
    for name, subset in references.items():
        for group, run in zip(groups, runs, strict=True):
            if len(group.steps):
                several = best.ties if best is not None and name == ORACLE else {}
                nearest, found = _nearest(group, list(several) or [subset])
                rows.append(_row(name, group, run, best, nearest, found))
                curves.append(_curve(name, group, found))
    table = pd.DataFrame(rows, columns=COLUMNS)
    numbers = ["precision", "recall", "jaccard", "exact", "jaccard_last", "regret"]
    summary = table.groupby("reference", sort=False)[numbers].mean().reset_index()
    columns = ["reference", "run", "seed", "step", "precision", "recall", "jaccard"]
    return QualityInfo(
        sources=sources,
        references=references,
        best=best,
        table=table,
        curves=pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=columns),
        summary=summary,
        notes=_notes(best, references, sources),
    )


def _nearest(group: GroupInfo, sets: Sequence[Subset]) -> tuple[Subset, dict[str, Floats]]:
    """Return that of several sets which a run's groups overlap with most, and the overlap."""
    every = [overlap(group.member, np.array([s in one for s in group.sources])) for one in sets]
    at = int(np.argmax([one["jaccard"].mean() for one in every]))
    return sets[at], every[at]


def _row(
    reference: str,
    group: GroupInfo,
    run: Run,
    best: BestSubset | None,
    right: Subset,
    found: dict[str, Floats],
) -> dict[str, object]:
    """One run against one reference, averaged over steps; regret against the best subset."""
    top = float("nan")
    if best is not None and reference == ORACLE:
        top = best.ties.get(right, best.test).get(run.seed, float("nan"))
    score = float("nan") if run.test_score is None else run.test_score
    return {
        "reference": reference,
        "run": group.run,
        "seed": group.seed,
        "steps": len(group.steps),
        **{key: _mean(values) for key, values in found.items()},
        "jaccard_last": float(found["jaccard"][-1]),
        "score": score,
        "best_score": top,
        "regret": top - score,
        "against": name_of(right, group.sources),
    }


def _curve(reference: str, group: GroupInfo, found: dict[str, Floats]) -> pd.DataFrame:
    kept = thin_index(found["jaccard"], MAX_POINTS)
    return pd.DataFrame(
        {
            "reference": reference,
            "run": group.run,
            "seed": group.seed,
            "step": group.steps[kept],
            **{key: found[key][kept] for key in ("precision", "recall", "jaccard")},
        }
    )


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _notes(
    best: BestSubset | None, references: dict[str, Subset], sources: Sequence[str]
) -> tuple[str, ...]:
    """Say what the references are, and what they are not."""
    notes = []
    if best is None:
        notes.append(
            "No run was trained on a given subset of the sources. Add the method `oracle` "
            "to the experiment to find the best subset and the regret."
        )
    else:
        notes += _of_best(best, sources)
    if TRUTH in references:
        notes.append(
            f"Truth: the table says that {name_of(references[TRUTH], sources)} "
            f"{'help' if len(references[TRUTH]) > 1 else 'helps'} this target."
        )
    return tuple(notes)


def _of_best(best: BestSubset, sources: Sequence[str]) -> list[str]:
    """Say which subset is the best, among which, and what to make of several."""
    among = f"all {best.possible}" if best.trained >= best.possible else f"{best.trained} of the "
    among += "" if best.trained >= best.possible else f"{best.possible}"
    given = f"{counted(len(best.sources), 'source')} that `{best.basis}` was given"
    said = [f"Best subset: the highest mean validation score among {among} subsets of the {given}"]
    left = [s for s in sources if s not in best.sources]
    if left:
        said[0] += f" ({', '.join(left)} not among them)"
    if best.tied == 1:
        said[0] += f": {name_of(best.subset, sources)}."
    else:
        said[0] += f". {best.tied} subsets tie for it with {in_percent(best.validation)} %."
        said.append(
            "Validation cannot tell these subsets apart, so each run is measured by the one that "
            "its groups overlap with most. This favours the run."
        )
    said.append(
        "Regret is the test score of the best subset minus the run's, over the seeds that "
        f"`{best.basis}` shares with it; below 0, the run did better than the best fixed subset."
    )
    return said


Truth = dict[str, dict[str, str]]
"""Target → source → relation."""

RELATIONS = ("helpful", "neutral", "harmful")


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
            f"There is no truth table '{path}'; `dtvg demo build` makes the demo's."
        ) from None
    return truth
