"""Does a source help or harm a target? Its score with it minus without it, and linear fits.

From `single` runs (against `none`) and from runs on subsets of the sources (`oracle`,
`surrogate`), paired by seed and by example and judged as the compare page judges methods.
docs/compare.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dtvg.analysis.compare.evidence import Answered, Evidence, gather
from dtvg.analysis.compare.examples import examples_of
from dtvg.analysis.compare.families import Judged, judge
from dtvg.analysis.compare.over_targets import FEWEST_TARGETS, over_targets
from dtvg.analysis.statistics import ALPHA, FEWEST_SEEDS, bootstrap_interval
from dtvg.analysis.subsets.quality import Truth, judged_alike
from dtvg.analysis.subsets.runs import Subset, contrasts, of_search, searched, subset_table
from dtvg.errors import NumericsError
from dtvg.methods.specs import Role
from dtvg.methods.specs.trials import fit_surrogate
from dtvg.store.reader import Run

SINGLES = Role.SINGLE.value
"""Basis of single sources against no source."""
HELPFUL, HARMFUL, UNDECIDED = "helpful", "harmful", "undecided"
NOTE = (
    "Score with the source minus score without it, paired by seed: `single` against `none`; for "
    "runs on subsets the mean over pairs of subsets that differ only in this source (a linear fit "
    "where only a sample of subsets was trained). Verdicts follow the rule of the compare page: "
    "the larger p of Student's t over seeds and of resampled seeds and examples, corrected over "
    "the sources of a target, at 0.05. Intervals are corrected too."
)
COLUMNS = [
    "experiment",
    "basis",
    "target",
    "source",
    "n_seeds",
    "n_examples",
    "pairs",
    "difference",
    "low",
    "high",
    "p_student",
    "p_both",
    "p",
    "p_holm",
    "p_joint",
    "p_corrected",
    "correction",
    "low_corrected",
    "high_corrected",
    "verdict",
    "statement",
    "test",
    "known",
]
OVER_TARGETS = [
    "experiment",
    "basis",
    "source",
    "n_targets",
    "mean",
    "n_summed",
    "random_effect",
    "low",
    "high",
    "between",
]


@dataclass(frozen=True, eq=False)
class TransferInfo:
    """What each source does to each target; scores and differences 0..1."""

    split: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    """Columns of the heat map: targets, with their experiment where there are several."""
    bases: tuple[str, ...]
    """Where numbers come from: `single`, then the methods that train on subsets."""
    table: pd.DataFrame
    """`COLUMNS`, one row per basis, target and source; `pairs`: pairs of subsets over all
    seeds; `low, high`: percentile bootstrap over seeds, of this cell alone; p, corrected interval
    and `statement` as in a comparison's `PairedInfo`; `known`: the truth table's relation, empty
    where it says nothing."""
    over_targets: pd.DataFrame
    """`OVER_TARGETS`, one row per experiment, basis and source with several targets: the mean of
    its differences, and their summary as random effects over the `n_summed` targets that have two
    seeds or more, with its interval, corrected over the sources, and the standard deviation
    between targets."""
    points: pd.DataFrame
    """`basis, target, source, seed, difference`: what means and intervals rest on."""
    notes: tuple[str, ...]

    def of(self, basis: str) -> pd.DataFrame:
        """Return the rows of one basis."""
        return self.table[self.table["basis"] == basis]

    def notes_of(self, basis: str) -> tuple[str, ...]:
        """Return what the numbers of one basis rest on; `notes` counts the cells of all."""
        return _notes(self.of(basis))


def transfer_info(
    runs: Sequence[Run], split: str = "test", truth: Truth | None = None
) -> TransferInfo:
    """Measure what each source adds to each target.

    Args:
        runs: runs of any kind; finished ones that train on one subset throughout count.
        split: `test` or `validation`.
        truth: target → source → relation, shown beside the verdicts.
    """
    rows = subset_table(runs).dropna(subset=[split])
    several = rows["experiment"].nunique() > 1
    order = tuple(dict.fromkeys(s for r in runs if r.role == "transfer" for s in r.sources))
    by_name = {(r.experiment, r.name): r for r in runs}
    cells = rows.groupby(["experiment", "target"], sort=False)
    families: list[_Family] = []
    for draw, ((experiment, target), cell) in enumerate(cells):
        mine = [by_name[(str(experiment), str(name))] for name in cell["run"]]
        answered = Answered(examples_of(mine, str(target), split), tuple(mine), draw)
        families += _families(cell, answered, str(experiment), order, split)
    table, points = _table(families, truth or {}), _points(families)
    if several:
        for frame in (points, table):
            frame["target"] = frame["experiment"] + ": " + frame["target"]
    return TransferInfo(
        split=split,
        sources=order,
        targets=tuple(dict.fromkeys(table["target"])),
        bases=tuple(dict.fromkeys(table["basis"])),
        table=table,
        over_targets=_over_targets(families, order),
        points=points,
        notes=_notes(table),
    )


@dataclass
class _Family:
    """The sources of one target by one way of measuring, judged together."""

    experiment: str
    basis: str
    target: str
    evidence: dict[str, Evidence]
    """By source."""
    pairs: dict[str, dict[int, int]]
    """Source → seed → pairs of subsets."""


def _families(
    cell: pd.DataFrame, answered: Answered, experiment: str, order: Sequence[str], split: str
) -> list[_Family]:
    """Measure the sources of one target of one experiment, basis by basis."""
    by_seed: dict[int, Cells] = {}
    read = (cell[c] for c in ("seed", "method", "role", "subset", split))
    for seed, method, role, subset, score, run in zip(*read, answered.runs, strict=True):
        kind = method if Role(role).on_subset else SINGLES if role == Role.SINGLE else ""
        if kind or not subset:  # of the other plain methods only those without any source
            by_seed.setdefault(int(seed), {}).setdefault(kind, {})[subset] = (float(score), run)
    made = []
    for basis in [SINGLES, *dict.fromkeys(searched(cell)["method"])]:
        weighed: dict[str, dict[int, dict[Any, float]]] = {}
        found: dict[str, dict[int, float]] = {}
        pairs: dict[str, dict[int, int]] = {}
        for seed, of_seed in sorted(_with_equal_pairs(by_seed, basis, cell).items()):
            scored = {**of_seed.get("", {}), **of_seed.get(basis, {})}
            for source, (weights, count) in _contrasts(of_seed, basis, order).items():
                value = sum(w * scored[s][0] for s, w in weights.items())
                found.setdefault(source, {})[seed] = float(value)
                runs = {scored[s][1].path: w for s, w in weights.items()}
                weighed.setdefault(source, {})[seed] = runs
                pairs.setdefault(source, {})[seed] = count
        evidence = {s: gather(found[s], [(answered, weighed[s])]) for s in order if s in found}
        if evidence:
            made.append(_Family(experiment, basis, answered.examples.target, evidence, pairs))
    return made


Cells = dict[str, dict[Subset, tuple[float, Run]]]
"""Of one seed: basis (empty: plain methods without a source) → subset → score and run."""


def _with_equal_pairs(
    by_seed: dict[int, Cells], basis: str, cell: pd.DataFrame
) -> dict[int, Cells]:
    """Leave out what a search of all subsets has not trained for every seed, so that the mean over
    seeds is of the same pairs; a sample of subsets is each seed's own."""
    roles = set(cell.loc[cell["method"] == basis, "role"])
    if roles != {Role.SUBSET.value}:
        return by_seed
    held = {
        seed: {*cells.get("", {}), *cells[basis]}
        for seed, cells in by_seed.items()
        if basis in cells
    }
    seeds, kept = judged_alike(held)
    return {
        seed: {
            kind: {subset: one for subset, one in found.items() if subset in kept}
            for kind, found in by_seed[seed].items()
        }
        for seed in seeds
    }


def _contrasts(
    of_seed: Cells, basis: str, order: Sequence[str]
) -> dict[str, tuple[dict[Subset, float], int]]:
    """Weights of subsets in each source's effect, for the sources that a seed tells about."""
    without, mine = of_seed.get("", {}), of_seed.get(basis, {})
    sources = [s for s in order if any(s in subset for subset in mine)]
    if basis == SINGLES:
        none: Subset = frozenset()
        alone = [s for s in sources if none in without and frozenset([s]) in mine]
        return {s: ({frozenset([s]): 1.0, none: -1.0}, 1) for s in alone}
    found = contrasts(list({**without, **mine}), sources)
    return {source: made for source, made in found.items() if made[0]}


def _points(families: Sequence[_Family]) -> pd.DataFrame:
    """One row per basis, target, source and seed."""
    columns = ["experiment", "basis", "target", "source", "seed", "difference", "pairs"]
    found = [
        (one.experiment, one.basis, one.target, source, seed, value, one.pairs[source][seed])
        for one in families
        for source, evidence in one.evidence.items()
        for seed, value in sorted(evidence.differences.items())
    ]
    return pd.DataFrame(found, columns=columns)


def _table(families: Sequence[_Family], truth: Truth) -> pd.DataFrame:
    """Means, intervals and verdicts, corrected within each target."""
    made = []
    for one in families:
        for source, judged in zip(one.evidence, judge(list(one.evidence.values())), strict=True):
            known = truth.get(one.target, {}).get(source, "")
            made.append({**_row(one, source, judged), "known": known})
    return pd.DataFrame(made, columns=COLUMNS)


def _row(family: _Family, source: str, judged: Judged) -> dict[str, Any]:
    """One source on one target."""
    evidence = family.evidence[source]
    interval = bootstrap_interval(evidence.d)
    return {
        "experiment": family.experiment,
        "basis": family.basis,
        "target": family.target,
        "source": source,
        "n_seeds": len(evidence.d),
        "n_examples": evidence.n_examples,
        "pairs": sum(family.pairs[source].values()),
        "difference": evidence.difference,
        "low": interval.low,
        "high": interval.high,
        "p_student": evidence.p_student,
        "p_both": evidence.p_both,
        "p": evidence.p,
        "p_holm": judged.p_holm,
        "p_joint": judged.p_joint,
        "p_corrected": judged.p,
        "correction": judged.correction,
        "low_corrected": judged.interval.low,
        "high_corrected": judged.interval.high,
        "verdict": {"better": HELPFUL, "worse": HARMFUL}.get(judged.verdict, UNDECIDED),
        "statement": judged.statement or judged.verdict,
        "test": judged.test,
    }


def _over_targets(families: Sequence[_Family], order: Sequence[str]) -> pd.DataFrame:
    """Each source over the targets of an experiment, where it was measured on several."""
    made = []
    for place in dict.fromkeys((one.experiment, one.basis) for one in families):
        mine = [one.evidence for one in families if (one.experiment, one.basis) == place]
        sources = [s for s in order if sum(s in evidence for evidence in mine) > 1]
        for source in sources:
            each = [evidence[source] for evidence in mine if source in evidence]
            summed = over_targets(each, 1 - ALPHA / len(sources))
            mean = float(np.mean([one.difference for one in each]))
            summary = (summed.n_targets, summed.mean, summed.low, summed.high, summed.between)
            made.append([*place, source, len(each), mean, *summary])
    return pd.DataFrame(made, columns=OVER_TARGETS)


def over_targets_shown(info: TransferInfo, basis: str = "") -> pd.DataFrame:
    """Return `over_targets` as it is printed: no interval, and no spread, over too few targets.

    Args:
        info: from `transfer_info`.
        basis: whose rows; empty: all.
    """
    rows = info.over_targets
    rows = rows[rows["basis"] == basis] if basis else rows
    few = rows["n_summed"] < FEWEST_TARGETS
    return rows.assign(**{c: rows[c].mask(few) for c in ("low", "high", "between")})


def _notes(table: pd.DataFrame) -> tuple[str, ...]:
    """Say what the numbers rest on."""
    if not len(table):
        return ()
    notes = [NOTE]
    few = int((table["n_seeds"] < FEWEST_SEEDS).sum())
    if few:
        notes.append(
            f"{few} of {len(table)} cells are based on fewer than {FEWEST_SEEDS} seeds and stay "
            "undecided, whatever their scores are."
        )
    blind = int((table["n_examples"] == 0).sum())
    if blind:
        notes.append(
            f"{blind} of {len(table)} cells have no stored answers to resample and stay undecided "
            "(evaluation.keep_predictions)."
        )
    return tuple(notes)


COEFFICIENT_COLUMNS = ["source", "coefficient", "low", "high", "verdict"]
SEED_COLUMNS = ["seed", "source", "coefficient", "low", "high", "kept"]


@dataclass(frozen=True, eq=False)
class SurrogateInfo:
    """Coefficients of one target; scores 0..1."""

    target: str
    method: str
    """Whose runs on subsets were fitted: `surrogate` or `oracle`."""
    table: pd.DataFrame
    """`COLUMNS`: fitted over all seeds, 95 % t interval; helpful or harmful where it leaves out
    zero, else undecided."""
    seeds: pd.DataFrame
    """`SEED_COLUMNS`: what the final run of each seed had fitted, and whether it kept the
    source; empty for `oracle`, which keeps nothing."""
    r_squared: float
    trials: int
    notes: tuple[str, ...]


def surrogate_info(runs: Sequence[Run], target: str, method: str) -> SurrogateInfo | None:
    """Fit the score of a subset on its sources.

    Args:
        runs: of one experiment.
        target: whose.
        method: whose runs on subsets to fit, `surrogate` or `oracle`; of several variants a label.

    Returns:
        None where too few subsets are trained to tell the sources apart.
    """
    mine = of_search((r for r in runs if r.target == target), method)
    rows = subset_table(r for r in mine if r.full_role.on_subset)
    rows = rows.dropna(subset=["validation"])
    order = tuple(dict.fromkeys(s for r in mine for s in r.sources))
    if not len(rows) or not order:
        return None
    subsets = [tuple(s for s in order if s in held) for held in rows["subset"]]
    seeds = [int(s) for s in rows["seed"]]
    try:
        fit = fit_surrogate(order, subsets, rows["validation"].tolist(), blocks=seeds)
    except NumericsError:
        return None
    table = pd.DataFrame(
        {
            "source": order,
            "coefficient": fit.coefficients,
            "low": fit.low,
            "high": fit.high,
            "verdict": [
                _coefficient_verdict(*pair) for pair in zip(fit.low, fit.high, strict=True)
            ],
        },
        columns=COEFFICIENT_COLUMNS,
    )
    note = (
        f"Least squares on the validation scores of {fit.n_trials} runs on subsets, an intercept "
        f"for each of {len(set(seeds))} seeds; 95 % t intervals, each on its own, not corrected "
        "for their number. They assume that runs of one seed are independent and that the "
        "effects of sources add up."
    )
    return SurrogateInfo(
        target, method, table, _of_seeds(mine, order), fit.r_squared, fit.n_trials, (note,)
    )


def _coefficient_verdict(low: float, high: float) -> str:
    if np.isnan(low) or low <= 0 <= high:
        return "undecided"
    return "helpful" if low > 0 else "harmful"


def _of_seeds(mine: Sequence[Run], order: Sequence[str]) -> pd.DataFrame:
    """What each final run wrote into its result."""
    rows = []
    for run in mine:
        found = None if run.result is None else run.result.extra.get("coefficients")
        if not isinstance(found, dict) or run.result is None:
            continue
        kept = set(run.result.extra.get("subset") or ())
        for source in order:
            if source in found:
                bounds = [np.nan if x is None else float(x) for x in found[source]]
                rows.append([run.seed, source, *bounds, source in kept])
    return pd.DataFrame(rows, columns=SEED_COLUMNS)
