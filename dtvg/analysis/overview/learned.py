"""What an experiment showed about one target: question, answer, how sure, and against what.

The sentences of the overview's first card and of the tour's last one. Every number is that of the
compare page or of the groups page. docs/overview.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dtvg.analysis.compare.info import BEST_SINGLE, CompareInfo
from dtvg.analysis.compare.scores import SUBJECT
from dtvg.analysis.run.groups import ShareInfo
from dtvg.analysis.subsets.transfer import HARMFUL, HELPFUL, TransferInfo
from dtvg.methods.specs import METHODS
from dtvg.store.reader import Experiment, Run

OFTEN = 0.5
"""A source that is in the group in at least this share of the steps is named in the answer."""
MOST_RUNS, MOST_SEEDS = 300, 10
"""Of an experiment with more runs the card looks at so many seeds, and tests nothing."""
MOST_NEEDED = 1_000
"""More seeds than that are not worth proposing."""
NO_TRANSFER, ALL_SOURCES, SINGLE = "no transfer", "all sources", "best single source"


@dataclass(frozen=True)
class Rival:
    """What the method is set against."""

    title: str
    score: float
    """Mean over seeds, 0..1."""
    difference: float
    """Of the method to it, 0..1: the mean over the seeds that both have."""
    verdict: str
    """As on the compare page; empty where nothing was tested."""
    seeds: int | None = None
    """Seeds that both have, where the method has more; else None."""


@dataclass(frozen=True, eq=False)
class Learned:
    """One card."""

    experiment: str
    target: str
    subject: str
    """Label of the method."""
    score: float
    """Its mean test score, 0..1; NaN where no run has one."""
    question: str
    answer: str
    """One or two sentences."""
    sureness: str
    """What the answer rests on; empty while nothing was tested."""
    sources: pd.DataFrame
    """`source, share`: mean share of steps in the group, over seeds; most often first."""
    rivals: tuple[Rival, ...]


def grouping_runs(experiment: Experiment, target: str = "") -> tuple[Run, ...]:
    """Return the finished runs of the method that an experiment's answer is about.

    It is the one of its declared comparison, else DTVG, else the first whose rule groups sources.

    Args:
        experiment: whose.
        target: of one target; empty: of all.
    """
    found = [
        run
        for run in experiment.runs
        if run.problem is None and run.result is not None and run.sources and _groups(run)
    ]
    config = experiment.config
    declared = config.hypothesis.better if config is not None else ""
    first = min(
        found,
        key=lambda r: (declared not in (r.method, r.method_name), r.method_name != SUBJECT),
        default=None,
    )
    if first is None:
        return ()
    return tuple(r for r in found if r.method == first.method and target in ("", r.target))


def looked_at(experiment: Experiment) -> tuple[tuple[Run, ...], bool]:
    """Return the transfer runs that the card rests on, and whether some were left out.

    Of a large experiment these are the first seeds only, and nothing is tested.
    """
    runs = tuple(run for run in experiment.runs if run.role == "transfer")
    if len(runs) <= MOST_RUNS:
        return runs, False
    seeds = sorted({run.seed for run in runs})[:MOST_SEEDS]
    return tuple(run for run in runs if run.seed in seeds), True


def _groups(run: Run) -> bool:
    spec = METHODS.get(run.method_name)
    return run.role == "transfer" and spec is not None and spec.weights == "grouped"


def worth_telling(experiments: Sequence[Experiment]) -> Experiment | None:
    """Return the first experiment with a finished run that grouped sources."""
    return next((e for e in experiments if grouping_runs(e)), None)


def learned(
    experiment: Experiment,
    target: str,
    groups: Sequence[ShareInfo],
    compared: CompareInfo,
    alone: TransferInfo | None = None,
    tested: bool = True,
) -> Learned:
    """Put what an experiment showed about a target in words.

    Args:
        experiment: whose.
        target: one of its targets.
        groups: of the method's finished runs on the target, seed by seed.
        compared: the experiment's comparison with the method as subject.
        alone: what each source adds by itself, where that was trained.
        tested: whether verdicts are asked for, which takes a moment when first done.
    """
    subject = groups[0].method
    sources = _sources(groups)
    rivals = _rivals(compared, subject, target, tested)
    score = _mean(compared, subject, target)
    row = _verdict_row(compared, subject, _row_of(compared, "none"), target) if tested else None
    return Learned(
        experiment.name,
        target,
        subject,
        score,
        f"Which sources helped {target}?",
        " ".join([_did_it_help(rivals), _took(subject, target, score, sources, rivals)]).strip(),
        _sureness(row, alone, target) if tested else "",
        sources,
        rivals,
    )


def _sources(groups: Sequence[ShareInfo]) -> pd.DataFrame:
    shares = [pd.Series(info.shares, index=info.sources) for info in groups]
    mean = pd.concat(shares, axis=1).mean(axis=1) if shares else pd.Series(dtype=float)
    frame = mean.sort_values(ascending=False, kind="stable").rename("share").reset_index()
    return frame.set_axis(["source", "share"], axis=1)


def _rivals(compared: CompareInfo, subject: str, target: str, tested: bool) -> tuple[Rival, ...]:
    rows = {
        NO_TRANSFER: _row_of(compared, "none"),
        ALL_SOURCES: _row_of(compared, "all_sources"),
        SINGLE: BEST_SINGLE if BEST_SINGLE in compared.rows else "",
    }
    ours = compared.sheet.scores.get((subject, target), {})
    made = []
    for title, name in rows.items():
        theirs = compared.sheet.scores.get((name, target), {})
        both = sorted(set(ours) & set(theirs))
        if both:
            row = _verdict_row(compared, subject, name, target) if tested else None
            verdict = "" if row is None else str(row["verdict"])
            difference = sum(ours[seed] - theirs[seed] for seed in both) / len(both)
            fewer = len(both) if len(both) < len(ours) else None
            made.append(Rival(title, _mean(compared, name, target), difference, verdict, fewer))
    return tuple(made)


def _row_of(compared: CompareInfo, method: str) -> str:
    """Return the first row of a method, by its name; empty where there is none."""
    kinds = compared.sheet.kinds
    return next((r for r in compared.rows if kinds[r].method == method), "")


def _mean(compared: CompareInfo, row: str, target: str) -> float:
    table = compared.table
    found = table.loc[(table["method"] == row) & (table["target"] == target), "mean"]
    return float(found.iloc[0]) if len(found) else float("nan")


def _verdict_row(
    compared: CompareInfo, subject: str, baseline: str, target: str
) -> pd.Series | None:
    table = compared.verdicts
    if not len(table):
        return None
    wanted = (table["subject"] == subject) & (table["baseline"] == baseline)
    found = table[wanted & (table["target"] == target)]
    return found.iloc[0] if len(found) else None


def _did_it_help(rivals: Sequence[Rival]) -> str:
    """Answer with one word where a test gave one."""
    against = next((r for r in rivals if r.title == NO_TRANSFER), None)
    if against is None or not against.verdict:
        return ""
    return {
        "better": "Transfer helped.",
        "worse": "Transfer harmed.",
    }.get(against.verdict, "No source is known to have helped.")


def _took(
    subject: str, target: str, score: float, sources: pd.DataFrame, rivals: Sequence[Rival]
) -> str:
    """Say what the method took, what it scored, and what there was without transfer."""
    often = sources[sources["share"] >= OFTEN]
    named = often if len(often) else sources.head(1)
    shares = [_percent(share, 0) for share in named["share"]]
    shares[:1] = [f"{share} of the steps" for share in shares[:1]]
    told = listed([f"{s} ({share})" for s, share in zip(named["source"], shares, strict=True)])
    took = f"{subject} mostly grouped {told}" if len(named) else f"{subject} grouped no source"
    if score != score:
        return f"{took}; no test score is known yet."
    said = f"{took} and scored {_percent(score)} on {target}"
    against = next((r for r in rivals if r.title == NO_TRANSFER), None)
    if against is None:
        return f"{said}; no run without transfer has finished to compare with."
    if abs(against.difference) < 0.0005:
        return f"{said}, as much as without transfer."
    way = "more" if against.difference > 0 else "less"
    points = points_text(abs(against.difference), sign=False)
    return f"{said}, {points} {way} than without transfer ({_percent(against.score)})."


def _sureness(row: pd.Series | None, alone: TransferInfo | None, target: str) -> str:
    """Say what the difference to no transfer rests on, and what single sources did alone."""
    told = []
    if row is not None:
        rests = [_counted(int(row["n_seeds"]), "seed")]
        if row["n_examples"]:
            rests.append(_counted(int(row["n_examples"]), "test example"))
        low, high = (float(row[k]) for k in ("low_corrected", "high_corrected"))
        if low != low:
            low, high = float(row["low"]), float(row["high"])
        interval = "" if low != low else f", 95 % interval {_signed(low)} to {_signed(high)} points"
        told.append(f"Against no transfer: {row['verdict']} ({' and '.join(rests)}{interval}).")
        needed = float(row["seeds_needed"])
        if row["verdict"] == "undecided" and needed == needed and needed <= MOST_NEEDED:
            told.append(f"A difference of this size would show with about {needed:,.0f} seeds.")
    if alone is not None:
        told.append(_alone(alone, target))
    return " ".join(filter(None, told))


def _alone(alone: TransferInfo, target: str) -> str:
    """Count what each source did by itself."""
    rows = alone.of("single")
    rows = rows[rows["target"] == target]
    if not len(rows):
        return ""
    helped = list(rows.loc[rows["verdict"] == HELPFUL, "source"])
    harmed = list(rows.loc[rows["verdict"] == HARMFUL, "source"])
    open_ones = len(rows) - len(helped) - len(harmed)
    if not helped and not harmed:
        return f"Alone, none of {_counted(len(rows), 'source')} is known to help or harm."
    told = [
        f"{listed(helped)} helped" if helped else "",
        f"{listed(harmed)} harmed" if harmed else "",
    ]
    rest = f"; {open_ones} undecided" if open_ones else ""
    return f"Alone, {' and '.join(filter(None, told))}{rest}."


def listed(names: Sequence[str]) -> str:
    """Return names as one reads them: `a, b and c`."""
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + "".join(names[-1:])


def points_text(value: float, sign: bool = True) -> str:
    """Return a difference of scores, 0..1, in points: `+1.0 point`, `−2.3 points`."""
    text = _signed(value) if sign else f"{100 * value:.1f}"
    return f"{text} {'point' if text.lstrip('+−') == '1.0' else 'points'}"


def _signed(value: float) -> str:
    """Return points with one decimal, a sign, and a minus as it is printed."""
    text = f"{100 * value:+.1f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", "−")


def _percent(value: float, digits: int = 1) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.{digits}f} %"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
