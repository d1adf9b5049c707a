"""Methods side by side: the one Info behind the compare page, `runs compare` and exports.

Cells without a finished run stay empty, never zero; averages over targets are taken within a
seed first and only over seeds that have every target. What costs more to compute than the
table of scores is computed when first asked for. docs/verdicts.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from dtvg.analysis.compare import hypothesis, verdicts
from dtvg.analysis.compare.scores import (
    AVERAGE,
    BEST_SINGLE,
    MEAN_SINGLE,
    STAGE_ONE,
    SUBJECT,
    Scores,
    Sheet,
    collect,
    row_name,
)
from dtvg.analysis.compare.split_rules import split_notes
from dtvg.analysis.statistics import bootstrap_interval
from dtvg.analysis.words import counted
from dtvg.errors import DataError, unknown
from dtvg.methods.specs import Role
from dtvg.store.reader import Run

if TYPE_CHECKING:
    from dtvg.analysis.compare.budgets import BudgetInfo
    from dtvg.analysis.compare.costs import CostInfo
    from dtvg.analysis.compare.health import HealthInfo
    from dtvg.analysis.compare.hypothesis import PrimaryInfo
    from dtvg.analysis.compare.published import PublishedInfo
    from dtvg.analysis.compare.ranks import ProfileInfo, RanksInfo
    from dtvg.analysis.compare.references import Reference
    from dtvg.analysis.compare.verdicts import PairedInfo

__all__ = [
    "AVERAGE",
    "BEST_SINGLE",
    "MEAN_SINGLE",
    "STAGE_ONE",
    "CompareInfo",
    "Scores",
    "compare_info",
    "damaged_note",
    "row_name",
]

Split = Literal["test", "validation"]


@dataclass(frozen=True, eq=False)
class CompareInfo:
    """Scores of rows (methods) on targets over seeds, 0..1; the same numbers as plotted."""

    metric: str
    split: str
    rows: tuple[str, ...]
    """Methods in order of first appearance, `single` also in its two summaries."""
    targets: tuple[str, ...]
    points: pd.DataFrame
    """`method, target, seed, value`: one row per finished run; target "average" where a seed
    has every target."""
    table: pd.DataFrame
    """`method, target, n_seeds, mean, std, low, high, seeds`: std with n − 1; interval as
    named in `interval`; empty where there is no or one seed."""
    interval: str
    """What `low` and `high` of `table` are."""
    notes: tuple[str, ...]
    sheet: Sheet
    """The scores with the runs behind them."""
    against: tuple[tuple[str, str], ...]
    """(subject row, baseline row): what is set against what."""
    explored: frozenset[tuple[str, str]]
    """Those of them that are tested as a family; the others are for reference."""
    hypotheses: tuple[hypothesis.Declared, ...]
    """What the experiments declare."""
    runs: tuple[Run, ...]
    """What was given."""

    @cached_property
    def wide(self) -> pd.DataFrame:
        """Method × target, means; empty cells are NaN."""
        return self._pivot("mean")

    @cached_property
    def paired(self) -> PairedInfo:
        """The subject against each baseline, paired by seed and by example, with verdicts."""
        primary = hypothesis.cells_of(self.hypotheses, self.sheet)
        margins = hypothesis.margins_of(self.hypotheses, self.sheet)
        return verdicts.paired(self.sheet, self.against, self.explored, primary, margins)

    @cached_property
    def primary(self) -> tuple[PrimaryInfo, ...]:
        """Each declared comparison, tested alone, whatever is shown; none but on test scores."""
        if (self.split, self.metric) != (hypothesis.SPLIT, hypothesis.METRIC):
            return ()
        several = len(self.hypotheses) > 1 or self.sheet.several
        return tuple(
            hypothesis.found_in(self.verdicts, one, several)
            or hypothesis.primary(one, self.runs, several)
            for one in self.hypotheses
        )

    @property
    def primary_table(self) -> pd.DataFrame:
        """`experiment, better, than, on, margin, sentence`, then as in `PairedInfo.table`."""
        rows: list[dict[str, object]] = []
        for one in self.primary:
            told = one.declared
            row: dict[str, object] = {
                "experiment": told.experiment,
                "better": told.better,
                "than": told.than,
                "on": told.on,
                "margin": told.margin,
                "sentence": one.sentence,
            }
            if one.row is not None:
                row |= {str(name): value for name, value in one.row.items()}
            rows.append(row)
        first = ("experiment", "better", "than", "on", "margin", "sentence")
        return pd.DataFrame(rows, columns=[*first, *verdicts.COLUMNS])

    @property
    def declared_note(self) -> str:
        """One sentence on what was declared, also where nothing was."""
        if self.primary:
            return " ".join(one.sentence for one in self.primary)
        if self.hypotheses:
            return "The declared comparison is about test scores; here everything is exploratory."
        return "No comparison is declared (`hypothesis`), so everything here is exploratory."

    @property
    def verdicts(self) -> pd.DataFrame:
        """The table of `paired`."""
        return self.paired.table

    @property
    def verdict_note(self) -> str:
        """What the verdicts rest on."""
        return self.paired.note

    @cached_property
    def budgets(self) -> BudgetInfo:
        """Rates, trials and steps of the runs behind each row."""
        from dtvg.analysis.compare.budgets import budgets

        return budgets(self.sheet)

    @cached_property
    def health(self) -> HealthInfo:
        """Runs that trained nothing, and sources that had learned nothing."""
        from dtvg.analysis.compare.health import health_info

        return health_info(self.sheet)

    @cached_property
    def references(self) -> dict[str, Reference]:
        """Target → what its scores are measured by: guessing, no transfer."""
        from dtvg.analysis.compare.references import references

        return references(self.sheet)

    @cached_property
    def ranks(self) -> RanksInfo:
        """Average ranks over targets, Friedman's test and Nemenyi's critical difference."""
        from dtvg.analysis.compare.ranks import ranks

        return ranks(self.sheet)

    @cached_property
    def profile(self) -> ProfileInfo:
        """Share of targets and seeds on which each method is within τ of the best."""
        from dtvg.analysis.compare.ranks import profile

        return profile(self.sheet)

    @cached_property
    def costs(self) -> CostInfo:
        """What each method trained and took, beside its score."""
        from dtvg.analysis.compare.costs import costs

        return costs(self.sheet)

    @cached_property
    def published(self) -> PublishedInfo:
        """Results from papers on the same targets, never mixed into the means here."""
        from dtvg.analysis.compare.published import published

        return published(self.targets)

    def _pivot(self, column: str) -> pd.DataFrame:
        made = self.table.pivot(index="method", columns="target", values=column)
        shown = [t for t in (*self.targets, AVERAGE) if t in made.columns]
        return made.reindex(index=list(self.rows), columns=shown).astype(float)


def compare_info(
    runs: Sequence[Run],
    split: Split = "test",
    metric: str = "score",
    subject: str = SUBJECT,
    baselines: Sequence[str] | None = None,
) -> CompareInfo:
    """Compare the methods of one or several experiments.

    Args:
        runs: runs of any state; only finished ones count. With several experiments, rows are
            named "experiment: method".
        split: `test` (at the best validation step) or `validation` (best value).
        metric: "score" (mean of the task's metrics) or one of them.
        subject: method whose runs are set against the others, by its name or label.
        baselines: rows to set it against; None: every other row except the single sources one
            by one and the Stage I prompt.

    Raises:
        DataError: an unknown split, or a metric that none of the finished runs has.
    """
    if split not in ("test", "validation"):
        raise DataError(unknown("split", split, ("test", "validation")))
    runs = tuple(runs)
    finished = [r for r in runs if r.result is not None and r.full_role is not Role.MIXTURE]
    transfer = [r for r in runs if r.role == "transfer"]
    whole = [r for r in transfer if r.problem is None]
    targets = tuple(dict.fromkeys(r.target for r in whole if r.target))
    sheet = collect(whole, finished, split, metric, targets)
    shown = (*targets, AVERAGE) if len(targets) > 1 else targets
    against = verdicts.pairs(sheet.rows, sheet.kinds, subject, baselines)
    explored = frozenset(pair for pair in against if verdicts.explores(sheet, pair, baselines))
    return CompareInfo(
        metric=metric,
        split=split,
        rows=sheet.rows,
        targets=targets,
        points=_points(sheet.scores, sheet.rows, shown),
        table=_table(sheet.scores, sheet.rows, shown),
        interval="95 % percentile bootstrap of the mean over seeds (10,000 resamples, seed 0); "
        "too narrow with very few seeds",
        notes=(*_notes(transfer, finished, split), *filter(None, (sheet.unread.note,))),
        sheet=sheet,
        against=tuple(against),
        explored=explored,
        hypotheses=hypothesis.declared(transfer),
        runs=runs,
    )


def _points(scores: Scores, rows: Sequence[str], targets: Sequence[str]) -> pd.DataFrame:
    found = [
        (row, target, seed, value)
        for row in rows
        for target in targets
        for seed, value in sorted(scores.get((row, target), {}).items())
    ]
    return pd.DataFrame(found, columns=["method", "target", "seed", "value"])


def _table(scores: Scores, rows: Sequence[str], targets: Sequence[str]) -> pd.DataFrame:
    """Mean, standard deviation and interval of every cell; missing ones stay empty."""
    made = []
    for row in rows:
        for target in targets:
            by_seed = scores.get((row, target), {})
            values = np.array([by_seed[s] for s in sorted(by_seed)])
            interval = bootstrap_interval(values)
            made.append(
                {
                    "method": row,
                    "target": target,
                    "n_seeds": len(values),
                    "mean": values.mean() if len(values) else np.nan,
                    "std": values.std(ddof=1) if len(values) > 1 else np.nan,
                    "low": interval.low,
                    "high": interval.high,
                    "seeds": " ".join(str(s) for s in sorted(by_seed)),
                }
            )
    columns = ["method", "target", "n_seeds", "mean", "std", "low", "high", "seeds"]
    return pd.DataFrame(made, columns=columns)


def damaged_note(runs: Sequence[Run], most: int = 5) -> str:
    """Name the folders that hold no whole run, and why; empty: all do.

    Args:
        runs: maybe of several experiments.
        most: how many are named.
    """
    damaged = [r for r in runs if r.problem is not None]
    if not damaged:
        return ""
    named = "; ".join(f"{r.experiment}/{r.name}: {r.problem}" for r in damaged[:most])
    more = f"; and {len(damaged) - most} more" if len(damaged) > most else ""
    left = "is left out, since it holds" if len(damaged) == 1 else "are left out, since they hold"
    return f"{counted(len(damaged), 'folder')} {left} no whole run ({named}{more})."


def _notes(transfer: Sequence[Run], finished: Sequence[Run], split: str) -> tuple[str, ...]:
    """Say what is missing."""
    notes = []
    open_ends = sum(r.result is None and r.problem is None for r in transfer)
    if open_ends:
        notes.append(
            f"{open_ends} of {len(transfer)} runs have not finished; their "
            "cells are empty or based on fewer seeds."
        )
    damaged = damaged_note(transfer)
    if damaged:
        notes.append(damaged)
    unscored = [
        r
        for r in finished
        if r.role == "transfer" and r.result is not None and r.result.test_score is None
    ]
    if split == "test" and unscored:
        were = "was" if len(unscored) == 1 else "were"
        notes.append(
            f"{counted(len(unscored), 'finished run')} {were} not scored on the test split "
            "(evaluation.at_end: none)."
        )
    notes += split_notes([r for r in finished if r.role == "transfer"])
    return tuple(notes)
