"""Is the subject better than a baseline? Paired by seed and by example, in words one may use.

`evidence` tests one difference, `families` corrects those that are tested together and finds
the words; here are the rows that are compared and the table. docs/verdicts.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from dtvg.analysis.compare import limits
from dtvg.analysis.compare.evidence import Answered, Evidence, gather
from dtvg.analysis.compare.examples import TargetExamples, net_correct, target_examples
from dtvg.analysis.compare.families import NOT_ENOUGH as NOT_ENOUGH
from dtvg.analysis.compare.families import SLACK, UNDECIDED, Judged, judge
from dtvg.analysis.compare.over_targets import RandomEffects, over_targets
from dtvg.analysis.compare.scores import AVERAGE, Kind, Sheet
from dtvg.analysis.statistics import (
    ALPHA,
    COVERAGE,
    bootstrap_p,
    cohen_dz,
    hedges_correction,
    holm,
    mcnemar_p,
    percentile_interval,
    seeds_for_power,
    t_interval,
)
from dtvg.errors import DataError, unknown
from dtvg.methods.specs import METHODS, Role
from dtvg.store.reader import Run

Pair = tuple[str, str]
"""(subject row, baseline row)."""
Family = Literal["primary", "exploratory", "reference"]

NOTE = (
    "Differences are subject minus baseline, paired by seed. The p of a verdict is the larger of "
    "two: Student's t over seeds, and 10,000 resamples of seeds and examples together; where "
    "simulations show more than 5 % errors at this number of seeds and examples it is multiplied "
    f"with {limits.PENALTY:g}, or there is no verdict. A declared comparison is tested alone; all "
    "others are exploratory and corrected together, those of the average and those of the single "
    "targets apart: by Holm below six seeds, from six seeds on by joint sign flips with the "
    "maximum statistic (Westfall and Young) for the seeds and Holm for the examples. The maximum "
    "statistic assumes joint symmetry: without an effect, the differences of a seed in all "
    "comparisons are together as likely as with all signs turned. Intervals beside corrected p "
    "are corrected too. Rows for reference are not tested. The verdict on these runs asks less: "
    "whether these trained prompts would differ on new examples (McNemar's test for accuracy, "
    "else resampled examples; Holm over the same comparisons)."
)
REFERENCE = "for reference, not tested"


def pairs(
    rows: Sequence[str], kinds: Mapping[str, Kind], subject: str, baselines: Sequence[str] | None
) -> list[tuple[str, str]]:
    """Choose which rows are set against which.

    Args:
        rows: all rows, "method" or "experiment: method".
        kinds: row → what stands in it.
        subject: name or label of the subject.
        baselines: rows, labels, or methods whose rows all have longer names; None: all but single
            sources one by one and Stage I.

    Returns:
        (subject row, baseline row): within an experiment, but for baselines whose whole row
        ("experiment: method") was named.
    """
    subjects = [r for r in rows if subject in (r, kinds[r].method, _label(r))]
    exact = [r for r in subjects if subject in (r, _label(r))]
    loose = set(baselines or ()) - {name for row in rows for name in (row, _label(row))}
    found = []
    for mine in exact or subjects:
        for other in rows:
            named = baselines is not None and other in baselines
            if other == mine or (_experiment(other) != _experiment(mine) and not named):
                continue
            kind = kinds[other]
            alone = kind.role is Role.SINGLE and not kind.summary
            wanted = not alone and kind.role is not Role.STAGE_ONE
            if baselines is not None:
                wanted = named or _label(other) in baselines or kind.method in loose
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
        DataError: an unknown subject or baseline, or baselines with which the subject is not
            compared; fine while nothing has finished.
    """
    known = {name for row in sheet.rows for name in (row, _label(row), sheet.kinds[row].method)}
    known.discard("")
    for kind, name in (("subject", subject), *(("baseline", b) for b in baselines or ())):
        if known and name not in known:
            raise DataError(unknown(f"method among finished runs ({kind})", name, known))
    if known and baselines and not pairs(sheet.rows, sheet.kinds, subject, baselines):
        raise DataError(
            f"'{subject}' is not compared with {', '.join(baselines)}: a method is compared with "
            "the others of its own experiment, not with itself; name another baseline."
        )


def explores(sheet: Sheet, pair: Pair, baselines: Sequence[str] | None) -> bool:
    """Whether a pair is in the family of exploratory comparisons.

    Rows that nobody would choose are not: sums over single sources, exhaustive searches, and
    methods that only explain others. Named by a person, every row is.
    """
    kind = sheet.kinds[pair[1]]
    if baselines is not None:
        return True
    spec = METHODS.get(kind.method)
    chosen = kind.role is Role.HEADLINE and not kind.summary
    return chosen and (spec is None or spec.candidate)


def verdict_on_runs(difference: float, p_holm: float, ahead: float = float("nan")) -> str:
    """Put one comparison of trained runs in words; empty where answers are not stored.

    Args:
        difference: of the scores.
        p_holm: corrected.
        ahead: by how many more examples the subject wins, where the test is about these; over
            several seeds they can point the other way than the scores, and then nothing is shown.
    """
    if np.isnan(p_holm):
        return ""
    if p_holm > ALPHA + SLACK or difference * ahead <= 0:
        return UNDECIDED
    return "better" if difference > 0 else "worse"


COLUMNS = (
    "subject",
    "baseline",
    "target",
    "family",
    "n_seeds",
    "difference",
    "low",
    "high",
    "p",
    "p_corrected",
    "correction",
    "low_corrected",
    "high_corrected",
    "verdict",
    "statement",
    "test",
    "seeds_needed",
    "seeds_attainable",
    "cohen_d",
    "hedges_g",
    "p_student",
    "p_seeds",
    "p_holm",
    "p_joint",
    "n_examples",
    "low_both",
    "high_both",
    "p_both",
    "low_crossed",
    "high_crossed",
    "p_crossed",
    "low_examples",
    "high_examples",
    "only_subject",
    "only_baseline",
    "examples_test",
    "p_examples",
    "p_examples_holm",
    "verdict_runs",
    "n_targets",
    "random_effect",
    "low_random",
    "high_random",
    "random_between",
)
WORDS = ("family", "correction", "verdict", "statement", "test", "examples_test", "verdict_runs")


@dataclass(frozen=True, eq=False)
class PairedInfo:
    """The subject against each baseline, on the average and per target."""

    table: pd.DataFrame
    """`COLUMNS`, one row per pair and target, the average first. `difference` is subject minus
    baseline, mean over common seeds, with `low, high` Student's t interval over seeds.
    `family`: primary (declared, tested alone), exploratory (corrected together) or reference
    (not tested). `p` = max(`p_student`, `p_both`); `p_corrected` is what the verdict rests on,
    after `correction` and with the `test` that may be used here (`limits`); `low_corrected,
    high_corrected` are in line with it, and `statement` says in points what they show. `verdict`
    on the method: better, worse, within the margin, undecided, or why there is none.
    `low_both, high_both, p_both`: seeds and examples resampled; `low_crossed, high_crossed,
    p_crossed`: both as crossed random effects; `p_seeds`: exact sign flips; `p_holm`, `p_joint`:
    corrected by Holm, by joint sign flips. `low_examples, high_examples, p_examples`: these runs
    as trained, examples resampled or McNemar's test (`examples_test`); `only_subject,
    only_baseline`: examples that more seeds of the one got right; `verdict_runs` on the trained
    runs. `seeds_needed`: for 80 % power at the effect seen, at least `seeds_attainable`; NaN:
    beyond 1,000, or no effect known yet. On the average `random_effect, low_random, high_random,
    random_between`: the mean over `n_targets` targets as random effects, and their standard
    deviation. NaN wherever it cannot be known."""
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


def paired(
    sheet: Sheet,
    against: Sequence[Pair],
    explored: Collection[Pair] | None = None,
    primary: Collection[tuple[str, str, str]] = (),
    margin: Mapping[str, float] | None = None,
) -> PairedInfo:
    """Set each pair of rows against each other, per target and on average.

    Args:
        sheet: from `scores.collect`.
        against: (subject row, baseline row), e.g. from `verdicts.pairs`.
        explored: those tested as a family; None: all. The others are for reference.
        primary: (subject row, baseline row, target) of declared comparisons, tested alone.
        margin: subject row → difference, 0..1, that would matter.
    """
    rows = list(dict.fromkeys(row for pair in against for row in pair))
    answered = {t: _answered(sheet, t, rows, i) for i, t in enumerate(sheet.targets)}
    families = [[AVERAGE]] if len(sheet.targets) > 1 else []
    families.append(list(sheet.targets))
    frames, sizes = [], {}
    for targets in families:
        cells = [(mine, other, target) for target in targets for mine, other in against]
        made = [_Comparison.of(sheet, answered, *cell) for cell in cells]
        for one in made:
            one.family = _family_of(one, explored, primary)
        frame = _table(sheet, made, margin or {})
        tried = (frame["family"] == "exploratory") & frame["p_corrected"].notna()
        sizes["average" if targets == [AVERAGE] else "targets"] = int(tried.sum())
        frames.append(frame)
    frames = [frame for frame in frames if len(frame)]
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS))
    return PairedInfo(
        table=table,
        family_sizes=sizes,
        examples={t: one.examples.n_examples for t, one in answered.items()},
        note=NOTE,
        problems=tuple(
            f"{t}: {'; '.join(one.examples.problems)}; those are paired by seed only."
            for t, one in answered.items()
            if one.examples.problems
        ),
    )


def _answered(sheet: Sheet, target: str, rows: Sequence[str], draw: int) -> Answered:
    runs = [
        run
        for row in rows
        for behind in sheet.behind.get((row, target), {}).values()
        for run in behind
    ]
    return Answered(target_examples(sheet, target, rows), tuple(runs), draw)


def _family_of(
    one: _Comparison, explored: Collection[Pair] | None, primary: Collection[tuple[str, str, str]]
) -> Family:
    """Return the family of a comparison; turned round it is the same one."""
    ways = ((one.mine, one.other, one.target), (one.other, one.mine, one.target))
    if any(way in primary for way in ways):
        return "primary"
    if explored is None or (one.mine, one.other) in explored:
        return "exploratory"
    return "reference"


@dataclass(eq=False)
class _Comparison:
    """Two rows on one target, or on the average of all, before its family is judged."""

    mine: str
    other: str
    target: str
    evidence: Evidence
    each: tuple[Evidence, ...]
    """By target, on the average."""
    examples: TargetExamples | None
    """Of the one target; None on the average."""
    family: Family = "exploratory"

    @staticmethod
    def of(
        sheet: Sheet, answered: Mapping[str, Answered], mine: str, other: str, target: str
    ) -> _Comparison:
        targets = sheet.targets if target == AVERAGE else (target,)
        whole = _evidence(sheet, answered, mine, other, target, targets)
        each: tuple[Evidence, ...] = ()
        if target == AVERAGE:
            each = tuple(_evidence(sheet, answered, mine, other, t, (t,)) for t in targets)
        examples = None if target == AVERAGE else answered[target].examples
        return _Comparison(mine, other, target, whole, each, examples)

    def seeds(self) -> list[int]:
        """Common seeds."""
        return sorted(self.evidence.differences)


def _evidence(
    sheet: Sheet,
    answered: Mapping[str, Answered],
    mine: str,
    other: str,
    target: str,
    targets: Sequence[str],
) -> Evidence:
    """Test one row against another on the targets behind a column of the sheet."""
    a, b = sheet.scores.get((mine, target), {}), sheet.scores.get((other, target), {})
    differences = {s: a[s] - b[s] for s in sorted(set(a) & set(b))}
    parts = [
        (answered[t], {s: _weights(sheet, mine, other, t, s) for s in differences}) for t in targets
    ]
    return gather(differences, parts)


def _weights(sheet: Sheet, mine: str, other: str, target: str, seed: int) -> dict[Any, float]:
    """Runs behind both rows for a seed with their weight, a row being the mean of its runs."""
    made: dict[Any, float] = {}
    for row, sign in ((mine, 1.0), (other, -1.0)):
        behind = sheet.behind[(row, target)][seed]
        for run in behind:
            made[run.path] = made.get(run.path, 0.0) + sign / len(behind)
    return made


def _table(sheet: Sheet, made: Sequence[_Comparison], margin: Mapping[str, float]) -> pd.DataFrame:
    """Judge primary comparisons one by one, exploratory ones together, and put all in rows."""
    judged: dict[int, Judged] = {}
    shown: dict[int, int] = {}
    groups = [[i] for i, one in enumerate(made) if one.family == "primary"]
    groups.append([i for i, one in enumerate(made) if one.family == "exploratory"])
    corrected = np.full(len(made), np.nan)
    rows = [_row(sheet, one) for one in made]
    for group in filter(None, groups):
        known = judge([made[i].evidence for i in group], [margin.get(made[i].mine) for i in group])
        corrected[group] = holm([rows[i]["p_examples"] for i in group])
        # planning counts every comparison shown: those without seeds yet will join the family
        judged |= dict(zip(group, known, strict=True))
        shown |= dict.fromkeys(group, len(group))
    for i, (row, one) in enumerate(zip(rows, made, strict=True)):
        row["p_examples_holm"] = corrected[i]
        ahead = row["only_subject"] - row["only_baseline"]
        row["verdict_runs"] = verdict_on_runs(row["difference"], float(corrected[i]), ahead)
        row["seeds_attainable"] = limits.fewest_seeds()
        row |= _planned(row["hedges_g"], shown.get(i, 1))
        row |= _judged(one, judged.get(i))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _planned(effect: float, comparisons: int) -> dict[str, float]:
    needed = seeds_for_power(float(effect), comparisons)
    return {"seeds_needed": np.nan if needed is None else max(needed, limits.fewest_seeds())}


def _judged(one: _Comparison, judged: Judged | None) -> dict[str, Any]:
    """What the family adds to a row; without one the plain intervals, and no verdict."""
    level = COVERAGE if judged is None else judged.level
    found: dict[str, Any] = {"family": one.family}
    if judged is None:
        interval = one.evidence.interval(level)
        found |= {"verdict": REFERENCE, "statement": "", "test": "", "correction": ""}
        found |= {"low_corrected": interval.low, "high_corrected": interval.high}
    else:
        found |= {
            "verdict": judged.verdict,
            "statement": judged.statement,
            "test": judged.test,
            "correction": judged.correction,
            "p_corrected": judged.p,
            "p_holm": judged.p_holm,
            "p_joint": judged.p_joint,
            "low_corrected": judged.interval.low,
            "high_corrected": judged.interval.high,
        }
    summed = over_targets(one.each, level) if one.each else RandomEffects()
    return found | {
        "n_targets": summed.n_targets,
        "random_effect": summed.mean,
        "low_random": summed.low,
        "high_random": summed.high,
        "random_between": summed.between,
    }


def _row(sheet: Sheet, one: _Comparison) -> dict[str, Any]:
    """One comparison as it is by itself."""
    known = one.evidence
    interval, dz = t_interval(known.d), cohen_dz(known.d)
    row: dict[str, Any] = dict.fromkeys(COLUMNS, np.nan) | dict.fromkeys(WORDS, "")
    row |= {
        "subject": one.mine,
        "baseline": one.other,
        "target": one.target,
        "n_seeds": len(known.d),
        "difference": known.difference,
        "low": interval.low,
        "high": interval.high,
        "cohen_d": dz,
        "hedges_g": dz * hedges_correction(len(known.d)) if np.isfinite(dz) else np.nan,
        "p_student": known.p_student,
        "p_seeds": known.p_seeds,
        "p": known.p,
        "n_examples": known.n_examples,
    }
    return row | _by_example(known) | _on_runs(sheet, one)


def _by_example(known: Evidence) -> dict[str, Any]:
    """Intervals and p from resampled examples: seeds as they are, drawn too, and as effects."""
    if known.fixed is None:
        return {}
    interval = percentile_interval(known.fixed)
    made: dict[str, Any] = {
        "low_examples": interval.low,
        "high_examples": interval.high,
        "examples_test": "bootstrap",
        "p_examples": bootstrap_p(known.fixed),
    }
    if known.both is not None:
        interval = percentile_interval(known.both)
        made |= {"low_both": interval.low, "high_both": interval.high, "p_both": known.p_both}
    if known.crossed is not None:
        low, high = known.crossed.interval()
        made |= {"low_crossed": float(low), "high_crossed": float(high)}
        made["p_crossed"] = float(known.crossed.p)
    return made


def _on_runs(sheet: Sheet, one: _Comparison) -> dict[str, Any]:
    """McNemar's test on examples that more seeds of the one got right than of the other."""
    examples, seeds = one.examples, one.seeds()
    if examples is None or not examples.accuracy or one.evidence.fixed is None:
        return {}

    def runs(row: str, seed: int) -> Sequence[Run]:
        return sheet.behind[(row, examples.target)][seed]

    if any(len(runs(row, s)) != 1 for row in (one.mine, one.other) for s in seeds):
        return {}
    net = np.sum(
        [net_correct(examples, runs(one.mine, s), runs(one.other, s)) for s in seeds], axis=0
    )
    first, second = int((net > 1e-9).sum()), int((net < -1e-9).sum())
    p, name = mcnemar_p(first, second)
    return {
        "only_subject": first,
        "only_baseline": second,
        "examples_test": name,
        "p_examples": p,
    }
