"""Methods side by side: mean, spread and interval over seeds, and paired verdicts.

Cells without a finished run stay empty, never zero; averages over targets are taken within a
seed first and only over seeds that have every target. Must not import torch, plotly or
streamlit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from dtvg.analysis import verdicts
from dtvg.analysis.statistics import bootstrap_interval
from dtvg.errors import DataError, unknown
from dtvg.store.reader import Run, read_table

AVERAGE = "average"
"""Name of the column that averages over targets."""
BEST_SINGLE = "single (best by validation)"
MEAN_SINGLE = "single (mean)"
STAGE_ONE = "stage I prompt"

Split = Literal["test", "validation"]
Scores = dict[tuple[str, str], dict[int, float]]
"""(row, target) → seed → score."""


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
    verdicts: pd.DataFrame
    """`subject, baseline, target, n_seeds, difference, low, high, p, p_holm, verdict,
    seeds_needed`: paired by seed, subject minus baseline."""
    interval: str
    """What `low` and `high` of `table` are."""
    verdict_note: str
    """What the verdicts rest on."""
    notes: tuple[str, ...]

    @cached_property
    def wide(self) -> pd.DataFrame:
        """Method × target, means; empty cells are NaN."""
        return self._pivot("mean")

    @cached_property
    def wide_std(self) -> pd.DataFrame:
        """Method × target, standard deviations over seeds (n − 1); NaN below two seeds."""
        return self._pivot("std")

    def _pivot(self, column: str) -> pd.DataFrame:
        made = self.table.pivot(index="method", columns="target", values=column)
        shown = [t for t in (*self.targets, AVERAGE) if t in made.columns]
        return made.reindex(index=list(self.rows), columns=shown).astype(float)


def compare_info(
    runs: Sequence[Run],
    split: Split = "test",
    metric: str = "score",
    subject: str = "dtvg",
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
    finished = [r for r in runs if r.result is not None and r.role in ("transfer", "stage1")]
    transfer = [r for r in runs if r.role == "transfer"]
    targets = tuple(dict.fromkeys(r.target for r in transfer))
    several = len({r.experiment for r in transfer}) > 1
    scores, order = _collect(finished, targets, split, metric, several)
    if finished and not scores:
        _refuse_unknown(finished, split, metric)
    _add_singles(scores, order, transfer, finished, split, metric, several)
    rows = tuple(_sorted_rows(order))
    _add_average(scores, rows, targets)
    shown = (*targets, AVERAGE) if len(targets) > 1 else targets
    table = _table(scores, rows, shown)
    against = verdicts.pairs(rows, order, subject, baselines)
    return CompareInfo(
        metric=metric,
        split=split,
        rows=rows,
        targets=targets,
        points=_points(scores, rows, shown),
        table=table,
        verdicts=verdicts.verdict_table(scores, against, targets, AVERAGE),
        interval="95 % percentile bootstrap of the mean over seeds (10,000 resamples, seed 0); "
        "too narrow with very few seeds",
        verdict_note=verdicts.NOTE,
        notes=_notes(transfer, finished, split),
    )


def row_name(run: Run, several: bool) -> str:
    """Return the row a run belongs to."""
    label = STAGE_ONE if run.role == "stage1" else run.method
    return f"{run.experiment}: {label}" if several else label


def _value(run: Run, split: str, metric: str) -> float | None:
    """Return a finished run's score; None where it was not evaluated."""
    if run.result is None:
        return None
    if metric == "score":
        value = run.result.test_score if split == "test" else run.result.validation_score
        return None if value is None else float(value)
    if split == "test":
        return run.result.metrics.get(metric) if run.result.test_score is not None else None
    rows = read_table(
        run,
        "evals",
        ["step", "split", "metric", "value"],
        run.result.best_step,
        run.result.best_step,
    ).to_pandas()
    rows = rows[(rows["split"] == split) & (rows["metric"] == metric)]
    return float(rows["value"].iloc[-1]) if len(rows) else None


def _collect(
    finished: Sequence[Run], targets: Sequence[str], split: str, metric: str, several: bool
) -> tuple[Scores, dict[str, str]]:
    """Gather scores, and the rows in order of appearance with their method's name."""
    scores: Scores = {}
    order: dict[str, str] = {}
    for run in finished:
        if run.target not in targets:
            continue
        value = _value(run, split, metric)
        if value is None:
            continue
        row = row_name(run, several)
        order.setdefault(row, "stage1" if run.role == "stage1" else run.method_name)
        scores.setdefault((row, run.target), {})[run.seed] = value
    return scores, order


def _refuse_unknown(finished: Sequence[Run], split: str, metric: str) -> None:
    known = {"score"}
    for run in finished:
        known |= set(run.result.metrics) if run.result is not None else set()
    if metric not in known:
        raise DataError(unknown(f"metric on {split}", metric, known))


def _add_singles(
    scores: Scores,
    order: dict[str, str],
    transfer: Sequence[Run],
    finished: Sequence[Run],
    split: str,
    metric: str,
    several: bool,
) -> None:
    """Add `single` as its mean over sources and as the source best on validation.

    A seed counts only once every single source planned for it has finished, so that a summary
    never covers the quick ones alone.
    """
    planned: dict[tuple[str, str, int], set[str]] = {}
    done: dict[tuple[str, str, int], dict[str, tuple[float, float]]] = {}
    for run in transfer:
        if run.method_name == "single":
            planned.setdefault((run.experiment, run.target, run.seed), set()).add(run.method)
    for run in finished:
        key = (run.experiment, run.target, run.seed)
        if run.role != "transfer" or run.method_name != "single" or run.result is None:
            continue
        value = _value(run, split, metric)
        if value is not None:
            done.setdefault(key, {})[run.method] = (run.result.validation_score, value)
    for (experiment, target, seed), labels in planned.items():
        of_seed = done.get((experiment, target, seed), {})
        if len(labels) < 2 or set(of_seed) != labels:
            continue
        best = max(of_seed.values(), key=lambda pair: pair[0])
        prefix = f"{experiment}: " if several else ""
        for name, value in (
            (BEST_SINGLE, best[1]),
            (MEAN_SINGLE, float(np.mean([pair[1] for pair in of_seed.values()]))),
        ):
            order.setdefault(prefix + name, "single_summary")
            scores.setdefault((prefix + name, target), {})[seed] = value


def _sorted_rows(order: Mapping[str, str]) -> list[str]:
    """Keep the order of appearance, but Stage I first and single sources after their summaries."""

    def place(row: str) -> int:
        return {"stage1": 0, "single_summary": 2, "single": 3}.get(order[row], 1)

    rows = sorted((r for r in order if place(r) < 2), key=lambda r: place(r))
    subject = [r for r in rows if order[r] == "dtvg"]
    others = [r for r in rows if order[r] != "dtvg"]
    summaries = [r for r in order if place(r) == 2]
    singles = [r for r in order if place(r) == 3]
    return [*others, *summaries, *subject, *singles]


def _add_average(scores: Scores, rows: Sequence[str], targets: Sequence[str]) -> None:
    """Average over targets within each seed that has every target."""
    if len(targets) < 2:
        return
    for row in rows:
        per_target = [scores.get((row, t), {}) for t in targets]
        seeds = set(per_target[0]).intersection(*per_target[1:])
        if seeds:
            scores[(row, AVERAGE)] = {
                s: float(np.mean([values[s] for values in per_target])) for s in sorted(seeds)
            }


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


def _notes(transfer: Sequence[Run], finished: Sequence[Run], split: str) -> tuple[str, ...]:
    """Say what is missing."""
    notes = []
    done = sum(r.role == "transfer" for r in finished)
    if done < len(transfer):
        notes.append(
            f"{len(transfer) - done} of {len(transfer)} runs have not finished; their "
            "cells are empty or rest on fewer seeds."
        )
    unscored = [r for r in finished if r.result is not None and r.result.test_score is None]
    if split == "test" and unscored:
        notes.append(
            f"{len(unscored)} finished runs were not scored on the test split "
            "(evaluation.at_end: none)."
        )
    return tuple(notes)
