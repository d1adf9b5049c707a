"""The comparison an experiment declares in its configuration, tested alone, and what was found.

Everything else on the page is exploratory. docs/verdicts.md "The primary comparison".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dtvg.analysis.compare.families import in_words
from dtvg.analysis.compare.scores import AVERAGE, Sheet, collect
from dtvg.analysis.compare.verdicts import paired
from dtvg.analysis.words import in_percent
from dtvg.config import ExperimentConfig, HypothesisConfig
from dtvg.methods.specs import Role
from dtvg.store.reader import Run, experiment_config

SPLIT, METRIC = "test", "score"
"""What a hypothesis is about."""


@dataclass(frozen=True)
class Declared:
    """What one experiment declared."""

    folders: frozenset[Path]
    """Of the experiments that declare it: one, or several that are counted as one."""
    experiment: str
    better: str
    """Label of the method that should be better."""
    than: str
    on: str
    """A target or the average; of a single target its name."""
    targets: tuple[str, ...]
    """Of the experiment."""
    margin: float
    """Difference, 0..1, that would matter."""

    def text(self, several: bool = False) -> str:
        """Return the hypothesis in words."""
        whose = f"{self.experiment}: " if several else ""
        points = f"{100 * self.margin:g} point{'' if self.margin == 0.01 else 's'}"
        place = "on average over the targets" if self.on == AVERAGE else f"on {self.on}"
        return f"{whose}{self.better} is better than {self.than} {place} (margin {points})"


@dataclass(frozen=True, eq=False)
class PrimaryInfo:
    """A declared comparison and what became of it."""

    declared: Declared
    row: pd.Series | None
    """As in `PairedInfo.table`; None while no run of either method has finished."""
    sentence: str
    """Declaration, verdict and numbers."""


def declared(runs: Sequence[Run]) -> tuple[Declared, ...]:
    """Return the hypotheses of the experiments that runs belong to."""
    told: dict[tuple[str, Path, HypothesisConfig], list[tuple[Path, ExperimentConfig]]] = {}
    for folder, name in dict.fromkeys((run.path.parent, run.experiment) for run in runs):
        config = experiment_config(folder)
        if config is not None and config.hypothesis.declared:
            place = (name, folder.parent, config.hypothesis)
            told.setdefault(place, []).append((folder, config))
    return tuple(_declared(name, what, by) for (name, _, what), by in told.items())


def _declared(
    name: str, told: HypothesisConfig, by: Sequence[tuple[Path, ExperimentConfig]]
) -> Declared:
    """Return what experiments that are counted as one declare together."""
    targets = tuple(dict.fromkeys(target for _, config in by for target in config.targets))
    alone = told.on == AVERAGE and len(targets) == 1
    first = by[0][1]
    return Declared(
        folders=frozenset(folder for folder, _ in by),
        experiment=name,
        better=first.row_of(told.better),
        than=first.row_of(told.than),
        on=targets[0] if alone else told.on,
        targets=targets,
        margin=told.margin / 100,
    )


def cells_of(hypotheses: Sequence[Declared], sheet: Sheet) -> frozenset[tuple[str, str, str]]:
    """Return (better row, baseline row, target) of the declared comparisons that a sheet holds.

    An average over other targets than the experiment's is not what was declared.
    """
    if (sheet.split, sheet.metric) != (SPLIT, METRIC):
        return frozenset()
    return frozenset(
        (_row(one, one.better, sheet), _row(one, one.than, sheet), one.on)
        for one in hypotheses
        if one.on != AVERAGE or set(one.targets) == set(sheet.targets)
    )


def margins_of(hypotheses: Sequence[Declared], sheet: Sheet) -> dict[str, float]:
    """Return row → margin of its experiment; of several that count as one the least, so that what
    is within it is so for all."""
    found: dict[str, float] = {}
    for one in hypotheses:
        prefix = f"{one.experiment}: " if sheet.several else ""
        mine = (row for row in sheet.rows if row.startswith(prefix))
        found |= {row: min(one.margin, found.get(row, one.margin)) for row in mine}
    return found


def _row(one: Declared, label: str, sheet: Sheet) -> str:
    return f"{one.experiment}: {label}" if sheet.several else label


def primary(one: Declared, runs: Sequence[Run], several: bool = False) -> PrimaryInfo:
    """Test a declared comparison on the runs of its own experiment.

    Args:
        one: from `declared`.
        runs: of any state, of any experiment.
        several: name the experiment.
    """
    transfer = [r for r in runs if r.experiment == one.experiment and _near(one, r)]
    wanted = (one.better, one.than)
    finished = [r for r in transfer if r.result is not None and r.full_role is not Role.MIXTURE]
    targets = tuple(dict.fromkeys(r.target for r in transfer))
    mine = [r for r in finished if r.method in wanted]
    needed = set(one.targets) if one.on == AVERAGE else {one.on}
    if {r.method for r in mine} != set(wanted) or not needed <= set(targets):
        return PrimaryInfo(one, None, sentence(one, None, several))
    sheet = collect([r for r in transfer if r.method in wanted], mine, SPLIT, METRIC, one.targets)
    margin = margins_of((one,), sheet)
    table = paired(sheet, [wanted], None, cells_of((one,), sheet), margin).table
    found = table[table["family"] == "primary"]
    row = found.iloc[0] if len(found) else None
    return PrimaryInfo(one, row, sentence(one, row, several))


def _near(one: Declared, run: Run) -> bool:
    """Whether a transfer run lies beside the experiments that declare it, not in another place."""
    beside = {folder.parent for folder in one.folders}
    return run.role == "transfer" and run.path.parent.parent in beside


def found_in(table: pd.DataFrame, one: Declared, several: bool = False) -> PrimaryInfo | None:
    """Return a declared comparison from a comparison's own table; None where it is not there."""
    if several or not len(table):
        return None
    wanted = (table["subject"] == one.better) & (table["baseline"] == one.than)
    rows = table[wanted & (table["target"] == one.on) & (table["family"] == "primary")]
    return PrimaryInfo(one, rows.iloc[0], sentence(one, rows.iloc[0])) if len(rows) else None


def sentence(one: Declared, row: pd.Series | None, several: bool = False) -> str:
    """Say what was declared and what was found."""
    said = f"Primary comparison, declared in the experiment: {one.text(several)}."
    if row is None or not row["n_seeds"]:
        return f"{said} No seed has finished with both methods yet."
    numbers = f"{in_percent(row['difference'], 1, '+')} points"
    if np.isfinite(row["low_corrected"]):
        low, high = (in_percent(row[f"{end}_corrected"], 1, "+") for end in ("low", "high"))
        numbers += f" (95 %: {low} … {high})"
    numbers = numbers.replace("-", "−")
    if np.isfinite(row["p"]):
        p = row["p"] if np.isnan(row["p_corrected"]) else row["p_corrected"]
        numbers += ", p < 0.001" if p < 0.001 else f", p = {p:.3f}"
    examples = f", {row['n_examples']:,.0f} examples" if row["n_examples"] else ""
    seeds = f"{row['n_seeds']} seed{'' if row['n_seeds'] == 1 else 's'}"
    found = in_words(row["verdict"], row["statement"])
    return f"{said} Tested alone at 5 %: {found}; {numbers}; {seeds}{examples}.{_beyond(one, row)}"


def _beyond(one: Declared, row: pd.Series) -> str:
    """Set what was found against the margin."""
    if not row["statement"] or not one.margin:
        return ""
    if row["low_corrected"] >= one.margin:
        return " The difference exceeds the margin."
    if -one.margin < row["low_corrected"] and row["high_corrected"] < one.margin:
        return " The difference is smaller than the margin."
    if row["high_corrected"] <= -one.margin:
        return " It is worse by more than the margin."
    if row["high_corrected"] < one.margin:
        return " The difference does not exceed the margin."
    return " Whether the difference exceeds the margin is open."
