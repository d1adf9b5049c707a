"""What a score is measured by: always guessing the commonest answer, and no transfer at all.

Lines in every chart of scores, and marks in tables. docs/verdicts.md "Reference lines".
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dtvg.analysis.compare.scores import AVERAGE, Sheet
from dtvg.errors import DtvgError
from dtvg.methods.specs import METHODS, Role
from dtvg.store.health import guess_of
from dtvg.store.reader import Run, open_run, read_table
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.metrics import score
from dtvg.tasks.spec import Example


@dataclass(frozen=True)
class Reference:
    """What to measure the scores on one target by."""

    guessing: float | None = None
    """Score of always giving the commonest answer of the rows scored; None: not known."""
    no_transfer: float | None = None
    """Mean score of the best method without sources."""
    method: str = ""
    """Row of that method."""

    def mark(self, value: float, row: str = "") -> str:
        """Return `guessing` or `no_transfer` where a score lies below it, else an empty text."""
        if self.guessing is not None and value < self.guessing - 1e-9:
            return "guessing"
        below = self.no_transfer is not None and value < self.no_transfer - 1e-9
        return "no_transfer" if below and row != self.method else ""

    @property
    def lines(self) -> list[tuple[str, float]]:
        """Return label and score of each line to draw."""
        found = []
        if self.guessing is not None:
            found.append(("guessing", self.guessing))
        if self.no_transfer is not None:
            found.append((f"no transfer ({self.method})", self.no_transfer))
        return found


def references(sheet: Sheet) -> dict[str, Reference]:
    """Return the references of every target of a sheet, and of their average.

    The average has one only where every target has.
    """
    found = {target: _reference(sheet, target) for target in sheet.targets}
    if len(sheet.targets) > 1:
        guesses = [one.guessing for one in found.values()]
        known = [g for g in guesses if g is not None]
        mean = float(np.mean(known)) if len(known) == len(guesses) else None
        found[AVERAGE] = Reference(mean, *_no_transfer(sheet, AVERAGE))
    return found


def _reference(sheet: Sheet, target: str) -> Reference:
    guess: float | None = None
    if sheet.metric == "score":
        runs = (
            run
            for (_, there), seeds in sheet.behind.items()
            if there == target
            for behind in seeds.values()
            for run in behind
        )
        guess = next((g for g in (guessing(r, sheet.split) for r in runs) if g is not None), None)
    return Reference(guess, *_no_transfer(sheet, target))


def _no_transfer(sheet: Sheet, target: str) -> tuple[float | None, str]:
    """Return mean score and row of the best method that uses no source."""
    means = {
        row: float(np.mean(list(sheet.scores[(row, target)].values())))
        for row in sheet.rows
        if sheet.scores.get((row, target)) and _is_without(sheet, row)
    }
    if not means:
        return None, ""
    best = max(means, key=lambda row: means[row])
    return means[best], best


def _is_without(sheet: Sheet, row: str) -> bool:
    """Whether a row is a method that trains on the target alone."""
    kind = sheet.kinds[row]
    return kind.role is Role.HEADLINE and _trains_alone(kind.method)


def _trains_alone(method: str) -> bool:
    spec = METHODS.get(method)
    return spec is not None and spec.reads == "nothing"


def of_no_transfer(runs: Sequence[Run], target: str) -> tuple[float | None, str]:
    """Return mean test score and label of the best method without sources on one target.

    Args:
        runs: those of an experiment.
        target: whose scores count.
    """
    scores: dict[str, list[float]] = {}
    for run in runs:
        alone = run.full_role is Role.HEADLINE and _trains_alone(run.method_name)
        if run.target == target and alone and run.test_score is not None:
            scores.setdefault(run.method, []).append(run.test_score)
    means = {label: float(np.mean(found)) for label, found in scores.items()}
    if not means:
        return None, ""
    best = max(means, key=lambda label: means[label])
    return means[best], best


def guessing(run: Run, split: str) -> float | None:
    """Return what always giving the commonest answer scores on the rows that a run was scored on.

    As the run noted; older runs: from their stored answers on test.
    """
    noted = guess_of(run)
    if noted is not None:
        return noted.validation if split == "validation" else noted.test
    if split != "test" or run.result is None:
        return None
    return _from_answers(run.path, run.result.best_step)


@functools.lru_cache(maxsize=1024)
def _from_answers(path: Path, step: int) -> float | None:
    run = open_run(path)
    try:
        spec = find_task(run.target)
        rows = read_table(run, "predictions", ["split", "task", "target"]).to_pydict()
    except DtvgError:
        return None
    there = zip(rows["split"], rows["task"], rows["target"], strict=True)
    gold = [g for s, t, g in there if (s, t) == ("test", run.target)]
    if not spec.labels or not gold or not set(gold) <= set(spec.labels):
        return None
    commonest = max(dict.fromkeys(gold), key=gold.count)
    examples = [Example("", g, (g,), spec.labels.index(g)) for g in gold]
    try:
        return float(score(spec, [commonest] * len(gold), examples)["score"])
    except (DtvgError, ValueError, KeyError, TypeError):
        return None  # a metric that needs more than the answers


def of_target(runs: Sequence[Run], target: str, split: str = "validation") -> Reference:
    """Return the reference of a chart of curves: what guessing scores on one target."""
    mine = [run for run in runs if run.target == target]
    return Reference(next((g for g in (guessing(r, split) for r in mine) if g is not None), None))


BELOW: Mapping[str, str] = {"guessing": "⇓", "no_transfer": "↓"}
"""Signs of scores below a reference."""
