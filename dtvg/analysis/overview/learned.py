"""What an experiment showed about one target: question, answer, how sure, and against what.

The sentences of the overview's first card and of the tour's last one. Every number is that of the
compare page or of the groups page. docs/overview.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dtvg.analysis.compare.info import CompareInfo
from dtvg.analysis.compare.limits import NONE as NO_TEST
from dtvg.analysis.compare.scores import AVERAGE, SUBJECT, best_single
from dtvg.analysis.run.groups import ShareInfo
from dtvg.analysis.statistics import POWER
from dtvg.analysis.subsets.transfer import HARMFUL, HELPFUL, TransferInfo
from dtvg.analysis.words import counted, in_percent, listed, percent
from dtvg.methods.specs import METHODS
from dtvg.store.holds import Kind, history, stretches
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
    """Mean over the seeds that both have, 0..1."""
    difference: float
    """Of the method to it, 0..1: the mean over the seeds that both have."""
    verdict: str
    """As on the compare page; empty where nothing was tested."""
    seeds: int | None = None
    """Seeds that both have, where one of both has more; else None."""
    subject_score: float = float("nan")
    """The method's own mean over the seeds that both have, 0..1."""


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


@dataclass(frozen=True)
class ByHand:
    """A source that a person pinned to the group or banned from it."""

    source: str
    kind: Kind
    """`pin` or `ban`."""
    share: float
    """Mean share of the steps, over all runs, 0..1."""


def held_by_hand(runs: Sequence[Run]) -> tuple[ByHand, ...]:
    """Return what was pinned and banned by hand in runs, most of the steps first.

    Args:
        runs: the seeds of a method; only their events are read.
    """
    found: dict[tuple[str, Kind], float] = {}
    for run in runs:
        steps = run.step if run.result is None else run.result.steps
        for held in stretches(history(run)):
            share = (min(held.last, steps) - held.first + 1) / max(steps, 1)
            if share > 0:
                place = (held.source, held.kind)
                found[place] = found.get(place, 0.0) + share / len(runs)
    order = sorted(found.items(), key=lambda one: -one[1])
    return tuple(ByHand(source, kind, share) for (source, kind), share in order)


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


def looked_at(experiment: Experiment, target: str = "") -> tuple[tuple[Run, ...], bool]:
    """Return the transfer runs that the card rests on, and whether some were left out.

    Of a large experiment these are the first seeds only, of those that grouped sources for the
    target, and nothing is tested.
    """
    runs = tuple(run for run in experiment.runs if run.role == "transfer")
    if len(runs) <= MOST_RUNS:
        return runs, False
    told = {run.seed for run in grouping_runs(experiment, target)}
    seeds = sorted(told or {run.seed for run in runs})[:MOST_SEEDS]
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
    by_hand: Sequence[ByHand] = (),
) -> Learned:
    """Put what an experiment showed about a target in words.

    Args:
        experiment: whose.
        target: one of its targets.
        groups: of the method's finished runs on the target, seed by seed.
        compared: the experiment's comparison with the method as subject.
        alone: what each source adds by itself, where that was trained.
        tested: whether verdicts are asked for, which takes a moment when first done.
        by_hand: what was pinned and banned in these runs, from `held_by_hand`.
    """
    subject = groups[0].method
    sources = _sources(groups)
    rivals = _rivals(compared, subject, target, tested)
    score = _mean(compared, subject, target)
    row = _verdict_row(compared, subject, _row_of(compared, "none"), target) if tested else None
    took = f"{_grouped(subject, sources, by_hand)}{_scored(target, score, rivals)}"
    sureness = ""
    if tested:
        levels = ("", "") if row is None else _levels(compared.verdicts, row)
        sureness = _sureness(row, levels, alone, target)
    return Learned(
        experiment.name,
        target,
        subject,
        score,
        f"Which sources helped {target}?",
        " ".join(filter(None, [_did_it_help(rivals), took, _banned(by_hand)])),
        sureness,
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
        SINGLE: best_single(compared.sheet),
    }
    ours = compared.sheet.scores.get((subject, target), {})
    made = []
    for title, name in rows.items():
        theirs = compared.sheet.scores.get((name, target), {})
        both = sorted(set(ours) & set(theirs))
        if both and name != subject:
            row = _verdict_row(compared, subject, name, target) if tested else None
            verdict = "" if row is None else str(row["verdict"])
            difference = sum(ours[seed] - theirs[seed] for seed in both) / len(both)
            fewer = len(both) if len(both) < max(len(ours), len(theirs)) else None
            own, its = (sum(by[seed] for seed in both) / len(both) for by in (ours, theirs))
            made.append(Rival(title, its, difference, verdict, fewer, own))
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


def _grouped(subject: str, sources: pd.DataFrame, by_hand: Sequence[ByHand]) -> str:
    """Name what was most in the group, and how much of it was a person's doing."""
    if len(sources) and sources["share"].isna().all():
        return f"{subject} did not record its groups"
    often = sources[sources["share"] >= OFTEN]
    named = often if len(often) else sources[sources["share"] > 0].head(1)
    if not len(named):
        return f"{subject} grouped no source"
    shares = [percent(share) for share in named["share"]]
    shares[:1] = [f"{share} of the steps" for share in shares[:1]]
    pinned = {one.source: one.share for one in by_hand if one.kind == "pin"}
    told = []
    for source, share in zip(named["source"], shares, strict=True):
        hand = f", pinned by hand in {percent(pinned[source])}" if source in pinned else ""
        told.append(f"{source} ({share}{hand})")
    return f"{subject} mostly grouped {listed(told)}"


def _banned(by_hand: Sequence[ByHand]) -> str:
    """Name what a person kept out of the group."""
    told = [f"{one.source} in {percent(one.share)}" for one in by_hand if one.kind == "ban"]
    return f"Banned from the group by hand: {listed(told)} of the steps." if told else ""


def _scored(target: str, score: float, rivals: Sequence[Rival]) -> str:
    """Say what the method scored, and what there was without transfer."""
    if score != score:
        return "; no test score is known yet."
    said = f" and scored {_percent(score)} on {target}"
    against = next((r for r in rivals if r.title == NO_TRANSFER), None)
    if against is None:
        return f"{said}; no run without transfer has finished to compare with."
    if against.seeds is not None:
        on = f"on the {counted(against.seeds, 'seed')} that both have"
        said = f"{said}; {on} it scored {_percent(against.subject_score)}"
    if abs(against.difference) < 0.0005:
        return f"{said}, as much as without transfer."
    way = "more" if against.difference > 0 else "less"
    points = points_text(abs(against.difference), sign=False)
    return f"{said}, {points} {way} than without transfer ({_percent(against.score)})."


def _levels(verdicts: pd.DataFrame, row: pd.Series) -> tuple[str, str]:
    """Say for how many comparisons an interval and a number of seeds are corrected.

    Planning counts every comparison that is shown; those without enough seeds or answers for any
    verdict widen no interval yet. See `families.judge` and `verdicts.paired`.
    """
    if row["family"] == "primary":
        return ("tested alone, as the experiment declared it",) * 2
    if row["family"] != "exploratory":
        return "", ""
    same = verdicts[verdicts["family"] == "exploratory"]
    same = same[(same["target"] == AVERAGE) == (row["target"] == AVERAGE)]
    tried = int((same["test"] != NO_TEST).sum())
    return _corrected_for(tried), _corrected_for(len(same))


def _corrected_for(comparisons: int) -> str:
    if comparisons > 1:
        return f"corrected for {comparisons:,} comparisons"
    return "for this one comparison"


def _sureness(
    row: pd.Series | None, levels: tuple[str, str], alone: TransferInfo | None, target: str
) -> str:
    """Say what the difference to no transfer rests on, and what single sources did alone.

    Args:
        row: of the comparison with no transfer; None: there is none.
        levels: of the interval and of the seeds needed, from `_levels`.
        alone: what single sources did, where that was trained.
        target: the task.
    """
    told = []
    if row is not None:
        rests = [counted(int(row["n_seeds"]), "seed")]
        if row["n_examples"]:
            rests.append(counted(int(row["n_examples"]), "test example"))
        ends, level = ("low_corrected", "high_corrected"), levels[0]
        if row[ends[0]] != row[ends[0]]:
            ends, level = ("low", "high"), "of the seeds alone"
        low, high = (float(row[end]) for end in ends)
        interval = "" if low != low else f"; 95 % interval {_signed(low)} to {_signed(high)} points"
        interval += f", {level}" if interval and level else ""
        told.append(f"Against no transfer: {row['verdict']} ({' and '.join(rests)}{interval}).")
        needed = float(row["seeds_needed"])
        if row["verdict"] == "undecided" and needed == needed and needed <= MOST_NEEDED:
            told.append(
                f"About {needed:,.0f} seeds would show a difference of this size in "
                f"{100 * POWER:.0f} % of such experiments ({levels[1]})."
            )
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
        return f"Alone, none of {counted(len(rows), 'source')} is known to help or harm."
    told = [
        f"{listed(helped)} helped" if helped else "",
        f"{listed(harmed)} harmed" if harmed else "",
    ]
    rest = f"; {open_ones} undecided" if open_ones else ""
    return f"Alone, {' and '.join(filter(None, told))}{rest}."


def points_text(value: float, sign: bool = True) -> str:
    """Return a difference of scores, 0..1, in points: `+1.0 point`, `−2.3 points`."""
    text = _signed(value) if sign else in_percent(value)
    return f"{text} {'point' if text.lstrip('+−') == '1.0' else 'points'}"


def _signed(value: float) -> str:
    """Return points with one decimal, a sign, and a minus as it is printed."""
    text = in_percent(value, 1, "+")
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", "−")


def _percent(value: float, digits: int = 1) -> str:
    return "–" if np.isnan(value) else f"{in_percent(value, digits)} %"
