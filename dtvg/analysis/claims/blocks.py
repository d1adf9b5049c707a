"""What claims are computed from: the finished runs on one target of one experiment.

Experiments that differ in what they vary alone are one experiment before they come here
(`dtvg.analysis.pools`), so that an oracle trained later counts. Here alone stands which runs a
claim of the paper is about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dtvg.analysis.compare.evidence import Answered, Evidence, gather
from dtvg.analysis.compare.examples import TargetExamples, examples_of
from dtvg.analysis.compare.scores import BEST, BEST_SINGLE, SUBJECT, Sheet, collect, without_source
from dtvg.analysis.subsets.runs import Subset, search_of, subset_of
from dtvg.analysis.unread import Unread
from dtvg.methods.specs import METHODS, Role
from dtvg.store.reader import Run

Floats = npt.NDArray[np.float64]
Rows = Mapping[int, Run]
"""Seed → run."""

SPLIT, METRIC = "test", "score"
FIXED = f"{SUBJECT}-fixed"
SIMILARITY_ONLY = f"{SUBJECT}-similarity_only"
RANDOM = f"{SUBJECT}-random"
ALL, NONE = "all_sources", "none"
SINGLE = "single"
"""Rows that the claims name, by their label without rates."""
NAMED = (SUBJECT, FIXED, SIMILARITY_ONLY, RANDOM, ALL, NONE)


@dataclass(frozen=True, eq=False)
class Block:
    """The runs on one target."""

    name: str
    """The target, with its experiment where settings differ."""
    target: str
    runs: tuple[Run, ...]
    """Transfer runs of any state."""
    draw: int
    """Number of its resamples; targets draw their examples independently."""

    @cached_property
    def unread(self) -> Unread:
        """Runs whose log cannot be read, as claims meet them."""
        return Unread()

    @cached_property
    def finished(self) -> tuple[Run, ...]:
        """Runs with a test score."""
        return tuple(r for r in self.runs if r.result is not None and r.test_score is not None)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """All sources, in the order of the configuration."""
        return tuple(dict.fromkeys(s for r in self.runs for s in r.sources))

    @cached_property
    def sheet(self) -> Sheet:
        """Scores by row and seed, as the compare page has them."""
        return collect(self.runs, self.finished, SPLIT, METRIC, (self.target,))

    @cached_property
    def examples(self) -> TargetExamples:
        """The answers of all runs to the test examples."""
        return examples_of(self.finished, self.target, SPLIT, METRIC)

    @cached_property
    def answered(self) -> Answered:
        """The answers with the score of every run that is a row on the same resamples."""
        rows = [r for r in self.finished if not r.full_role.on_subset]
        return Answered(self.examples, tuple(rows), self.draw)

    @cached_property
    def values(self) -> dict[Path, Floats]:
        """Run's folder → what each example contributes to its score, `[E]`."""
        return self.examples.values(self.finished)

    @cached_property
    def labelled(self) -> dict[str, dict[int, Run]]:
        """Label without rates → seed → finished run; single sources and subsets apart."""
        found: dict[str, dict[int, Run]] = {}
        for run in self.finished:
            if run.full_role not in (Role.SUBSET, Role.TRIAL, Role.SINGLE):
                found.setdefault(self.label_of(run), {}).setdefault(run.seed, run)
        return found

    @cached_property
    def _first_rates(self) -> dict[str, str]:
        """Label without rates → the label, with rates, that stands for it: the one at defaults,
        else that of the first run."""
        firsts: dict[str, str] = {}
        for run in self.runs:
            plain = self._plain(run)
            firsts[plain] = plain if run.method == plain else firsts.get(plain, run.method)
        return firsts

    @cached_property
    def _plain_labels(self) -> dict[tuple[Path, str], str]:
        """Experiment's folder and label → label without rates."""
        return {}

    def _plain(self, run: Run) -> str:
        """Return `plain_label`, read from one run of all that a method has in an experiment."""
        place = (run.path.parent, run.method)
        if place not in self._plain_labels:
            self._plain_labels[place] = plain_label(run)
        return self._plain_labels[place]

    def label_of(self, run: Run) -> str:
        """Return a run's row: its label without rates, and with them where another row stands for
        that, so that no two rows are taken for one."""
        plain = self._plain(run)
        return plain if self._first_rates.get(plain, run.method) == run.method else run.method

    @cached_property
    def passed_over(self) -> dict[str, tuple[str, ...]]:
        """Row that claims read → rows that differ from it in rates alone, which none reads."""
        found: dict[str, dict[str, None]] = {}
        for run in self.runs:
            plain = self._plain(run)
            if (plain in NAMED or is_rival(run)) and self.label_of(run) != plain:
                found.setdefault(plain, {})[run.method] = None
        named = {self._first_rates[plain]: tuple(others) for plain, others in found.items()}
        read, *others = self._variants or ("",)
        named |= {read: tuple(others)} if others else {}
        read, *others = self._searches or ("",)
        apart = [m for m in others if not self.reads(self._searches[m])]
        return named | ({read: tuple(apart)} if apart else {})

    @cached_property
    def _searches(self) -> dict[str, Run]:
        """Label → one run of each search of subsets; first the one that every claim reads."""
        found = {search_of(run): run for run in self.finished if run.full_role.on_subset}
        order = sorted(
            found, key=lambda m: (found[m].full_role is not Role.SUBSET, m not in METHODS)
        )
        return {label: found[label] for label in order}

    @cached_property
    def _variants(self) -> tuple[str, ...]:
        """Labels of `single` without its sources, the one that every claim reads first: the one
        at its defaults, else the first."""
        singles = [run for run in self.runs if run.full_role is Role.SINGLE]
        found = dict.fromkeys(without_source(run) for run in singles)
        return tuple(sorted(found, key=lambda label: label != SINGLE))

    def reads(self, run: Run) -> bool:
        """Whether claims read a run, which none does of rows that are passed over."""
        if run.full_role is Role.SINGLE:
            return without_source(run) == self._variants[0]
        if run.full_role.on_subset:  # searches at the same rates train the same runs
            searches = self._searches
            same = searches.get(search_of(run), run)
            return rates_given(same) == rates_given(next(iter(searches.values()), run))
        return self.label_of(run) == self._plain(run)

    def of(self, label: str) -> Rows:
        """Return the finished runs of a row, by seed."""
        return self.labelled.get(label, {})

    @cached_property
    def singles(self) -> dict[str, dict[int, Run]]:
        """Source → seed → finished run with this source alone."""
        found: dict[str, dict[int, Run]] = {}
        for run in self.finished:
            single = run.full_role is Role.SINGLE and self.reads(run)
            merged = subset_of(run) if single else None
            if merged is not None and len(merged) == 1:
                found.setdefault(next(iter(merged)), {}).setdefault(run.seed, run)
        return found

    @property
    def _read_singles(self) -> list[Run]:
        """Runs of any state on a single source that claims read."""
        return [r for r in self.runs if r.full_role is Role.SINGLE and self.reads(r)]

    @cached_property
    def all_singles(self) -> bool:
        """Whether every single source that is planned has a finished run: a summary of them never
        covers the quick ones alone."""
        planned = {subset_of(run) for run in self._read_singles}
        return len(planned) == len(self.singles) > 0

    @cached_property
    def rivals(self) -> tuple[str, ...]:
        """Labels of other methods that read sources and that a person would choose."""
        names = []
        for label, rows in self.labelled.items():
            run = next(iter(rows.values()))
            if is_rival(run) and self.reads(run):
                names.append(label)
        return tuple(names)

    def row_of(self, label: str) -> str:
        """Return the sheet's row of a label; the best single source for `SINGLE`; else empty."""
        if label == SINGLE:
            planned = self._read_singles
            if len({subset_of(run) for run in planned}) != 1:
                best = self._variants[0] + BEST if len(self._variants) > 1 else BEST_SINGLE
                return best if best in self.sheet.kinds else ""
            return next((run.method for run in planned if run.method in self.sheet.kinds), "")
        runs = self.of(label)
        return next(iter(runs.values())).method if runs else ""

    def contest(self, label: str, other: str) -> Evidence | None:
        """Return one row against another, as the compare page tests it; None where one lacks."""
        rows = [self.row_of(label), self.row_of(other)]
        if not all(rows):
            return None
        scores = [self.sheet.scores.get((row, self.target), {}) for row in rows]
        seeds = sorted(set(scores[0]) & set(scores[1]))
        if not seeds:
            return None
        weights: dict[int, dict[Path, float]] = {s: {} for s in seeds}
        for row, sign in zip(rows, (1.0, -1.0), strict=True):
            for seed in seeds:
                behind = self.sheet.behind[(row, self.target)][seed]
                for run in behind:
                    there = weights[seed].get(run.path, 0.0)
                    weights[seed][run.path] = there + sign / len(behind)
        differences = {s: scores[0][s] - scores[1][s] for s in seeds}
        return gather(differences, [(self.answered, weights)])


def is_rival(run: Run) -> bool:
    """Whether a run is of another method that reads sources and that a person would choose."""
    spec = METHODS.get(run.method_name)
    row = run.full_role not in (Role.SUBSET, Role.TRIAL, Role.SINGLE)
    chosen = spec is None or (spec.candidate and spec.reads != "nothing")
    return row and chosen and run.method_name != SUBJECT


def rates_given(run: Run) -> dict[str, float]:
    """Return the rates and the budget that a run's method was given of its own."""
    return {} if run.config is None else run.config.method.given


def plain_label(run: Run) -> str:
    """Return a run's label without the rates of its method."""
    config = run.config
    return run.method if config is None else config.method.without_rates().label


def blocks_of(runs: Sequence[Run]) -> tuple[Block, ...]:
    """Gather runs by experiment and target.

    Args:
        runs: of any kind and state; those of several experiments as `pools.pool` gives them.
    """
    transfer = [r for r in runs if r.role == "transfer" and r.problem is None]
    several = len({r.experiment for r in transfer}) > 1
    found: dict[tuple[str, str], dict[tuple[str, int], Run]] = {}
    for run in transfer:
        held = found.setdefault((run.experiment, run.target), {})
        key = (run.method, run.seed)
        if key not in held or (held[key].result is None and run.result is not None):
            held[key] = run
    return tuple(
        Block(f"{name}: {target}" if several else target, target, tuple(held.values()), i)
        for i, ((name, target), held) in enumerate(found.items())
    )


def subsets_in_order(sources: Sequence[str], held: Sequence[Subset]) -> tuple[Subset, ...]:
    """Return subsets by size, then in the order of the sources: ties go to the earlier one."""
    return tuple(sorted(held, key=lambda s: (len(s), [i for i, x in enumerate(sources) if x in s])))
