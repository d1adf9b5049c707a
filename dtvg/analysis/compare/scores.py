"""Scores of finished runs by row (method), target and seed, and the runs behind each.

Cells without a finished run stay empty, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np

from dtvg.analysis.unread import Unread
from dtvg.config import AVERAGE as AVERAGE
from dtvg.errors import DataError, unknown
from dtvg.methods.specs import Role
from dtvg.methods.specs.base import Subset
from dtvg.methods.specs.trials import OF_SUBSET, best_subset_of
from dtvg.store.reader import Run, read_table

SUBJECT = "dtvg"
"""Method that is set against the others where none is named; its rows stand last."""
SINGLES, BEST, MEAN = "single", " (best by validation)", " (mean)"
BEST_SINGLE, MEAN_SINGLE = SINGLES + BEST, SINGLES + MEAN
STAGE_ONE = "stage I prompt"
ORACLE = "oracle (best subset by validation)"

Scores = dict[tuple[str, str], dict[int, float]]
"""(row, target) → seed → score."""
Runs = tuple[Run, ...]
Cell = TypeVar("Cell")


class Kind(NamedTuple):
    """What stands in a row."""

    method: str
    """Name of its method, by which the row can be asked for; empty: only by the row's own name."""
    role: Role
    summary: bool = False
    """Whether it sums up the single sources of a target."""


@dataclass
class Sheet:
    """Scores of rows on targets, and what each rests on; filled by `collect`."""

    split: str
    metric: str
    targets: tuple[str, ...]
    several: bool
    """Whether rows carry their experiment's name."""
    scores: Scores = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    """Row → what stands in it, in order of appearance."""
    behind: dict[tuple[str, str], dict[int, Runs]] = field(default_factory=dict)
    """(row, target) → seed → runs whose mean score it is (one, but for the mean of singles)."""
    trained: dict[tuple[str, str], dict[int, Runs]] = field(default_factory=dict)
    """(row, target) → seed → all runs that had to be trained for a score that was chosen among
    several (single sources, subsets) or rests on trials."""
    unread: Unread = field(default_factory=Unread)
    """Runs whose scores cannot be read."""

    @property
    def rows(self) -> tuple[str, ...]:
        """Stage I first, then methods as they appeared, the subject, singles one by one last."""
        return tuple(_sorted_rows(self.kinds))

    @property
    def headline(self) -> tuple[str, ...]:
        """Rows that a person would choose between: no Stage I, no yardstick, no singles but the
        best."""
        return tuple(
            r
            for r in self.rows
            if self.kinds[r].role is Role.HEADLINE
            or (self.kinds[r].summary and not r.endswith(MEAN))
        )

    def value_of(self, run: Run) -> float | None:
        """Return a finished run's score; None where it was not evaluated or cannot be read."""
        return self.unread.tried(run, lambda one: value_of(one, self.split, self.metric))

    def put(self, row: str, kind: Kind, target: str, seed: int, value: float, runs: Runs) -> None:
        """Fill one cell of a seed."""
        self.kinds.setdefault(row, kind)
        self.scores.setdefault((row, target), {})[seed] = value
        self.behind.setdefault((row, target), {})[seed] = runs


def collect(
    transfer: Sequence[Run],
    finished: Sequence[Run],
    split: str,
    metric: str,
    targets: Sequence[str],
) -> Sheet:
    """Gather the scores of finished runs.

    Args:
        transfer: transfer runs of any state.
        finished: finished runs, Stage I too.
        split: `test` or `validation`.
        metric: "score" or one of the tasks' metrics.
        targets: targets in order.

    Raises:
        DataError: a metric that none of the finished runs has.
    """
    several = len({r.experiment for r in transfer}) > 1
    sheet = Sheet(split, metric, tuple(targets), several)
    for run in finished:
        if run.target not in targets or run.subset is not None:
            continue
        value = sheet.value_of(run)
        if value is not None:
            own = "" if run.full_role.in_stage_one else run.method_name
            kind = Kind(own, run.full_role)
            sheet.put(row_name(run, several), kind, run.target, run.seed, value, (run,))
    if finished and not sheet.scores:
        _refuse_unknown(finished, split, metric)
    _add_singles(sheet, transfer)
    _add_best_subset(sheet, transfer)
    _add_trials(sheet, transfer)
    _add_average(sheet)
    return sheet


def row_name(run: Run, several: bool) -> str:
    """Return the row a run belongs to."""
    label = STAGE_ONE if run.full_role is Role.STAGE_ONE else run.method
    return f"{run.experiment}: {label}" if several else label


def value_of(run: Run, split: str, metric: str) -> float | None:
    """Return a finished run's score; None where it was not evaluated."""
    if run.result is None:
        return None
    if metric == "score":
        value = run.result.test_score if split == "test" else run.result.validation_score
        return None if value is None else float(value)
    if split == "test":
        return run.result.metrics.get(metric) if run.result.test_score is not None else None
    best = run.result.best_step
    columns = ["step", "split", "metric", "value"]
    rows = read_table(run, "evals", columns, best, best).to_pandas()
    rows = rows[(rows["split"] == split) & (rows["metric"] == metric)]
    return float(rows["value"].iloc[-1]) if len(rows) else None


def _refuse_unknown(finished: Sequence[Run], split: str, metric: str) -> None:
    known = {"score"}
    for run in finished:
        known |= set(run.result.metrics) if run.result is not None else set()
    if metric not in known:
        raise DataError(unknown(f"metric on {split}", metric, known))


def _add_singles(sheet: Sheet, transfer: Sequence[Run]) -> None:
    """Add single sources as their mean and as the one that is best on validation.

    A seed counts only once every single source planned for any seed has finished for it, so that a
    summary never covers the quick ones alone, or those whose folder is whole. Several variants
    (`single`, and `single` with rates of its own) have summaries of their own.
    """
    planned: dict[tuple[str, str, int, str], list[Run]] = {}
    variants: dict[str, set[str]] = {}
    for run in transfer:
        if run.full_role is Role.SINGLE:
            variant = without_source(run)
            planned.setdefault((run.experiment, run.target, run.seed, variant), []).append(run)
            variants.setdefault(run.experiment, set()).add(variant)
    every: dict[tuple[str, str, str], set[str]] = {}
    for (experiment, target, _, variant), runs in planned.items():
        every.setdefault((experiment, target, variant), set()).update(r.method for r in runs)
    for (experiment, target, seed, variant), runs in planned.items():
        values = [sheet.value_of(run) for run in runs]
        scored = [v for v in values if v is not None]
        wanted = every[experiment, target, variant]
        if len(wanted) < 2 or {r.method for r in runs} != wanted or len(scored) < len(values):
            continue
        best = int(np.argmax([r.result.validation_score for r in runs if r.result is not None]))
        prefix = f"{experiment}: " if sheet.several else ""
        prefix += variant if len(variants[experiment]) > 1 else SINGLES
        kind = Kind("", Role.SINGLE, summary=True)
        sheet.put(prefix + BEST, kind, target, seed, scored[best], (runs[best],))
        sheet.put(prefix + MEAN, kind, target, seed, float(np.mean(scored)), tuple(runs))
        sheet.trained.setdefault((prefix + BEST, target), {})[seed] = tuple(runs)


def best_single(sheet: Sheet) -> str:
    """Return the row of the best single source, of several variants that of the one at its
    defaults or else the first; empty where there is none."""
    found = [r for r in sheet.rows if sheet.kinds[r].role is Role.SINGLE and r.endswith(BEST)]
    return BEST_SINGLE if BEST_SINGLE in found else next(iter(found), "")


def without_source(run: Run) -> str:
    """Return the label of a run on a single source without the source, e.g. `single-lr0.1`."""
    own = f"{run.method_name}-{''.join(run.sources)}"
    return run.method_name + run.method.removeprefix(own) if run.method.startswith(own) else SINGLES


def _add_best_subset(sheet: Sheet, transfer: Sequence[Run]) -> None:
    """Add the one searched subset with the best mean validation score over seeds.

    A row for each search; only where every planned subset has finished for a seed does the seed
    count.
    """
    planned: dict[tuple[str, str, str], dict[int, dict[Subset, Run]]] = {}
    for run in transfer:
        if run.full_role is Role.SUBSET and run.subset is not None:
            search = run.method.partition(OF_SUBSET)[0]
            seeds = planned.setdefault((run.experiment, run.target, search), {})
            seeds.setdefault(run.seed, {})[run.subset] = run
    for (experiment, target, search), seeds in planned.items():
        every = dict.fromkeys(subset for runs in seeds.values() for subset in runs)
        whole = {
            seed: runs
            for seed, runs in seeds.items()
            if runs.keys() == every.keys() and all(run.result for run in runs.values())
        }
        if target not in sheet.targets or len(every) < 2 or not whole:
            continue
        found = {s: [_validation(runs[s]) for runs in whole.values()] for s in every}
        best = best_subset_of({s: found[s] for s in sorted(found, key=len)})
        row = ORACLE.replace("oracle", search, 1)
        row = f"{experiment}: {row}" if sheet.several else row
        for seed, runs in whole.items():
            value = sheet.value_of(runs[best])
            if value is not None:
                kind = Kind(runs[best].method_name, Role.SUBSET)
                sheet.put(row, kind, target, seed, value, (runs[best],))
                sheet.trained.setdefault((row, target), {})[seed] = tuple(runs.values())


def _validation(run: Run) -> float:
    return float("nan") if run.result is None else run.result.validation_score


def _add_trials(sheet: Sheet, transfer: Sequence[Run]) -> None:
    """Note which trials a run rests on that chose its sources by them."""
    by_name = {(run.experiment, run.name): run for run in transfer}
    for key, seeds in sheet.behind.items():
        for seed, runs in seeds.items():
            names = [
                (run.experiment, name)
                for run in runs
                if run.result is not None
                for name in run.result.extra.get("trials", ())
            ]
            if names:
                trials = tuple(by_name[name] for name in names if name in by_name)
                sheet.trained.setdefault(key, {})[seed] = (*trials, *runs)


def _sorted_rows(kinds: Mapping[str, Kind]) -> list[str]:
    """Keep the order of appearance, but Stage I first and single sources after their summaries."""

    def place(row: str) -> int:
        kind = kinds[row]
        if kind.role is Role.SINGLE:
            return 2 if kind.summary else 3
        return 0 if kind.role is Role.STAGE_ONE else 1

    rows = sorted((r for r in kinds if place(r) < 2), key=lambda r: place(r))
    subject = [r for r in rows if kinds[r].method == SUBJECT]
    others = [r for r in rows if kinds[r].method != SUBJECT]
    summaries = [r for r in kinds if place(r) == 2]
    singles = [r for r in kinds if place(r) == 3]
    return [*others, *summaries, *subject, *singles]


def _add_average(sheet: Sheet) -> None:
    """Average over targets within each seed that has every target."""
    if len(sheet.targets) < 2:
        return
    for row in sheet.kinds:
        per_target = [sheet.scores.get((row, t), {}) for t in sheet.targets]
        seeds = set(per_target[0]).intersection(*per_target[1:])
        if seeds:
            sheet.scores[(row, AVERAGE)] = {
                s: float(np.mean([values[s] for values in per_target])) for s in sorted(seeds)
            }


def shared_targets(sheet: Sheet, rows: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Return the best covered rows and the targets on which all of them have a score.

    Args:
        sheet: filled by `collect`.
        rows: methods to look at; those without any score are left out.
    """
    cells = {row: {(t,) for t in sheet.targets if sheet.scores.get((row, t))} for row in rows}
    kept, shared = complete_block({row: found for row, found in cells.items() if found})
    return kept, tuple(t for t in sheet.targets if (t,) in shared)


def complete_block(cells: Mapping[str, set[Cell]]) -> tuple[list[str], set[Cell]]:
    """Return the rows and cells of the largest full rectangle among the best covered rows.

    Rows are taken in order of how many cells they have; of the equally many best covered ones with
    the cells they share, the choice with the most numbers (rows times cells) is kept.

    Args:
        cells: row → its cells, e.g. (target,) or (target, seed).
    """
    order = sorted(cells, key=lambda row: -len(cells[row]))
    best: tuple[int, int, set[Cell]] = (0, 0, set())
    shared: set[Cell] = set()
    for k, row in enumerate(order, 1):
        shared = set(cells[row]) if k == 1 else shared & cells[row]
        if k > 1 and k * len(shared) > best[0]:
            best = (k * len(shared), k, set(shared))
    kept = set(order[: best[1]])
    return [row for row in cells if row in kept], best[2]
