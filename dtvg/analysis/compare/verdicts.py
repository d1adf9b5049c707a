"""Is the subject better than a baseline? Paired by seed and by example, in words one may use.

docs/verdicts.md "Paired verdicts".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dtvg.analysis.compare.examples import TargetExamples, net_correct, target_examples
from dtvg.analysis.compare.scores import AVERAGE, Kind, Sheet
from dtvg.analysis.statistics import (
    ALPHA,
    FEWEST_SEEDS,
    bootstrap_p,
    cohen_dz,
    hedges_correction,
    holm,
    mcnemar_p,
    percentile_interval,
    resample_indices,
    seeds_for_power,
    seeds_needed,
    sign_flip_p,
    smallest_p,
    t_interval,
)
from dtvg.errors import DataError, unknown
from dtvg.methods.specs import Role
from dtvg.store.reader import Run

__all__ = [
    "NOTE",
    "NOT_ENOUGH",
    "UNDECIDED",
    "check_subject",
    "holm",
    "pairs",
    "verdict",
    "verdict_on_runs",
]

NOTE = (
    "Differences are paired by seed (subject minus baseline) with Student's 95 % t interval. The "
    "p of a verdict is the larger of two: exact two-sided sign flips over seeds, and 10,000 "
    "resamples of seeds and examples together where answers were kept. It is corrected by Holm "
    "over the baselines of the average, and over all targets and baselines for the single "
    "targets; a verdict needs at most 0.05, which a few seeds can never reach, whatever their "
    "scores are. The verdict on these runs asks less: whether these trained prompts would differ "
    "on new examples (McNemar's test for accuracy, else resampled examples; Holm again)."
)
NOT_ENOUGH = "not enough seeds for a verdict"
NONE_YET = "no seed in common yet"
UNDECIDED = "no difference shown"
SLACK = 1e-12


def pairs(
    rows: Sequence[str], kinds: Mapping[str, Kind], subject: str, baselines: Sequence[str] | None
) -> list[tuple[str, str]]:
    """Choose which rows are set against which.

    Args:
        rows: all rows, "method" or "experiment: method".
        kinds: row → what stands in it.
        subject: name or label of the subject.
        baselines: rows or labels; None: all but single sources one by one and Stage I.

    Returns:
        (subject row, baseline row): within an experiment, but for baselines whose whole row
        ("experiment: method") was named.
    """
    subjects = [r for r in rows if subject in (r, kinds[r].method, _label(r))]
    exact = [r for r in subjects if subject in (r, _label(r))]
    found = []
    for mine in exact or subjects:
        for other in rows:
            named = baselines is not None and other in baselines
            if other == mine or (_experiment(other) != _experiment(mine) and not named):
                continue
            if baselines is None:
                kind = kinds[other]
                alone = kind.role is Role.SINGLE and not kind.summary
                wanted = not alone and kind.role is not Role.STAGE_ONE
            else:
                wanted = other in baselines or _label(other) in baselines
            if wanted:
                found.append((mine, other))
    return found


def _label(row: str) -> str:
    return row.rpartition(": ")[2]


def _experiment(row: str) -> str:
    return row.rpartition(": ")[0]


def check_subject(sheet: Sheet, subject: str, baselines: Sequence[str] | None = None) -> None:
    """Refuse names that no finished run has, with the nearest one.

    Raises:
        DataError: an unknown subject or baseline; fine while nothing has finished.
    """
    known = {name for row in sheet.rows for name in (row, _label(row), sheet.kinds[row].method)}
    known.discard("")
    for kind, name in (("subject", subject), *(("baseline", b) for b in baselines or ())):
        if known and name not in known:
            raise DataError(unknown(f"method among finished runs ({kind})", name, known))


def verdict(n: int, difference: float, p_holm: float, compared: int) -> str:
    """Put one comparison of methods in words; never what no scores could have reached.

    Args:
        n: common seeds.
        difference: subject minus baseline.
        p_holm: corrected p; NaN: none.
        compared: comparisons of the family.
    """
    if n == 0:
        return NONE_YET
    if n < FEWEST_SEEDS or smallest_p(n, max(1, compared)) > ALPHA + SLACK:
        return NOT_ENOUGH
    if np.isnan(p_holm) or p_holm > ALPHA + SLACK:
        return UNDECIDED
    return "better" if difference > 0 else "worse"


def verdict_on_runs(difference: float, p_holm: float) -> str:
    """Put one comparison of trained runs in words; empty where answers are not stored."""
    if np.isnan(p_holm):
        return ""
    if p_holm > ALPHA + SLACK:
        return UNDECIDED
    return "better" if difference > 0 else "worse"


Floats = npt.NDArray[np.float64]

COLUMNS = (
    "subject",
    "baseline",
    "target",
    "n_seeds",
    "difference",
    "low",
    "high",
    "p",
    "p_holm",
    "verdict",
    "seeds_needed",
    "seeds_attainable",
    "cohen_d",
    "hedges_g",
    "p_seeds",
    "n_examples",
    "low_both",
    "high_both",
    "p_both",
    "low_examples",
    "high_examples",
    "only_subject",
    "only_baseline",
    "examples_test",
    "p_examples",
    "p_examples_holm",
    "verdict_runs",
)


@dataclass(frozen=True, eq=False)
class PairedInfo:
    """The subject against each baseline, on the average and per target."""

    table: pd.DataFrame
    """`COLUMNS`, one row per pair and target, the average first. `difference` is subject minus
    baseline, mean over common seeds, with `low, high` Student's t interval over seeds.
    `p` = max(`p_seeds`, `p_both`), `p_holm` that corrected; `verdict` on the method:
    better, worse, no difference shown, not enough seeds for a verdict, no seed in common yet.
    `low_both, high_both, p_both`: seeds and examples resampled. `low_examples, high_examples,
    p_examples`: these runs as trained, examples resampled or McNemar's test (`examples_test`);
    `only_subject, only_baseline`: examples that more seeds of the one got right; `verdict_runs`
    on the trained runs. `seeds_needed`: for 80 % power at the effect seen, at least
    `seeds_attainable`; NaN: beyond 1,000, or no effect known yet. NaN wherever it cannot be
    known."""
    family_sizes: dict[str, int]
    """Comparisons corrected together: on the average, and over the targets."""
    examples: dict[str, int]
    """Target → examples that runs are paired on; 0 where answers are not stored."""
    note: str
    """What the verdicts rest on."""
    problems: tuple[str, ...]
    """Where pairing by example was not possible, and why."""

    def of(self, target: str) -> pd.DataFrame:
        """Return the rows of one target ("average" is one)."""
        return self.table[self.table["target"] == target].reset_index(drop=True)


def paired(sheet: Sheet, against: Sequence[tuple[str, str]]) -> PairedInfo:
    """Set each pair of rows against each other, per target and on average.

    Args:
        sheet: from `scores.collect`.
        against: (subject row, baseline row), e.g. from `verdicts.pairs`.
    """
    rows = list(dict.fromkeys(row for pair in against for row in pair))
    found = {t: _Resampled.of(sheet, t, rows, i) for i, t in enumerate(sheet.targets)}
    families = [[AVERAGE]] if len(sheet.targets) > 1 else []
    families.append(list(sheet.targets))
    frames, sizes = [], {}
    for family in families:
        cells = [(mine, other, target) for target in family for mine, other in against]
        frame = _family([_compare(sheet, found, *cell) for cell in cells])
        sizes["average" if family == [AVERAGE] else "targets"] = int(frame["p"].notna().sum())
        frames.append(frame)
    frames = [frame for frame in frames if len(frame)]
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS))
    return PairedInfo(
        table=table,
        family_sizes=sizes,
        examples={t: one.examples.n_examples for t, one in found.items()},
        note=NOTE,
        problems=tuple(
            f"{t}: {'; '.join(one.examples.problems)}; those are paired by seed only."
            for t, one in found.items()
            if one.examples.problems
        ),
    )


@dataclass(frozen=True, eq=False)
class _Resampled:
    """One target's answers with every run's score on the same resamples of its examples."""

    examples: TargetExamples
    scores: dict[Path, Floats]

    @staticmethod
    def of(sheet: Sheet, target: str, rows: Sequence[str], draw: int) -> _Resampled:
        examples = target_examples(sheet, target, rows)
        runs = [
            run
            for row in rows
            for behind in sheet.behind.get((row, target), {}).values()
            for run in behind
        ]
        return _Resampled(examples, examples.resampled(runs, draw))

    def differences(self, sheet: Sheet, mine: str, other: str, seeds: list[int]) -> Floats | None:
        """Differences `[B S]` on resampled examples; None where a run has no answers."""
        columns = []
        for seed in seeds:
            sides = [sheet.behind[(row, self.examples.target)][seed] for row in (mine, other)]
            if any(run.path not in self.scores for side in sides for run in side):
                return None
            a, b = (np.mean([self.scores[r.path] for r in side], axis=0) for side in sides)
            columns.append(a - b)
        return np.stack(columns, axis=1) if columns else None


def _compare(
    sheet: Sheet, found: dict[str, _Resampled], mine: str, other: str, target: str
) -> dict[str, Any]:
    """One row before correction."""
    a, b = sheet.scores.get((mine, target), {}), sheet.scores.get((other, target), {})
    seeds = sorted(set(a) & set(b))
    d = np.array([a[s] - b[s] for s in seeds])
    interval, dz = t_interval(d), cohen_dz(d)
    row: dict[str, Any] = dict.fromkeys(COLUMNS, np.nan)
    row |= {
        "subject": mine,
        "baseline": other,
        "target": target,
        "n_seeds": len(seeds),
        "difference": d.mean() if len(d) else np.nan,
        "low": interval.low,
        "high": interval.high,
        "cohen_d": dz,
        "hedges_g": dz * hedges_correction(len(d)) if np.isfinite(dz) else np.nan,
        "p_seeds": sign_flip_p(d) if len(d) > 1 else np.nan,
        "examples_test": "",
        "n_examples": 0,
    }
    targets = sheet.targets if target == AVERAGE else (target,)
    each = [found[t].differences(sheet, mine, other, seeds) for t in targets]
    known = [one for one in each if one is not None]
    if seeds and len(known) == len(targets):
        row |= _by_example(np.mean(known, axis=0))
        row["n_examples"] = sum(found[t].examples.n_examples for t in targets)
        one_each = all(
            len(sheet.behind[(r, t)][s]) == 1 for r in (mine, other) for t in targets for s in seeds
        )
        if target != AVERAGE and found[target].examples.accuracy and one_each:
            row |= _mcnemar(sheet, found[target].examples, mine, other, seeds)
    row["p"] = np.fmax(row["p_seeds"], row["p_both"]) if len(seeds) > 1 else np.nan
    return row


def _by_example(differences: Floats) -> dict[str, Any]:
    """Intervals and p from differences `[B S]`: seeds as they are, and seeds resampled too."""
    count = differences.shape[1]
    fixed = differences.mean(axis=1)
    interval = percentile_interval(fixed)
    made: dict[str, Any] = {
        "low_examples": interval.low,
        "high_examples": interval.high,
        "examples_test": "bootstrap",
        "p_examples": bootstrap_p(fixed),
    }
    if count > 1:
        drawn = resample_indices(count, [1, count])
        both = np.take_along_axis(differences, drawn, axis=1).mean(axis=1)
        interval = percentile_interval(both)
        made |= {"low_both": interval.low, "high_both": interval.high, "p_both": bootstrap_p(both)}
    return made


def _mcnemar(
    sheet: Sheet, examples: TargetExamples, mine: str, other: str, seeds: Sequence[int]
) -> dict[str, Any]:
    """Count examples that more seeds of the one got right than of the other, and test them."""

    def runs(row: str, seed: int) -> Sequence[Run]:
        return sheet.behind[(row, examples.target)][seed]

    net = np.sum([net_correct(examples, runs(mine, s), runs(other, s)) for s in seeds], axis=0)
    first, second = int((net > 1e-9).sum()), int((net < -1e-9).sum())
    p, name = mcnemar_p(first, second)
    return {
        "only_subject": first,
        "only_baseline": second,
        "examples_test": name,
        "p_examples": p,
    }


def _family(made: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Correct a family of comparisons together and put each in words."""
    table = pd.DataFrame(list(made), columns=list(COLUMNS))
    for p, corrected in (("p", "p_holm"), ("p_examples", "p_examples_holm")):
        table[corrected] = holm(table[p].to_numpy(dtype=np.float64))
    compared = max(1, int(table["p"].notna().sum()))
    table["verdict"] = [
        verdict(int(n), float(d), float(p), compared)
        for n, d, p in zip(table["n_seeds"], table["difference"], table["p_holm"], strict=True)
    ]
    table["verdict_runs"] = [
        verdict_on_runs(float(d), float(p))
        for d, p in zip(table["difference"], table["p_examples_holm"], strict=True)
    ]
    # planning counts every comparison shown: those without seeds yet will join the family
    shown = max(1, len(table))
    table["seeds_attainable"] = seeds_needed(shown)
    table["seeds_needed"] = [
        np.nan if (n := seeds_for_power(float(g), shown)) is None else n for g in table["hedges_g"]
    ]
    return table
