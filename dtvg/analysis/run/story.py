"""The story of a run in plain sentences: who joined and left, how surely, and what followed.

Everything is counted over all recorded steps; sentences are made only of what is told. The
numbers are those of `group_info` and of the log. docs/method.md "Reading a run".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dtvg.analysis.run.curves import curve_info
from dtvg.analysis.run.explain import digits
from dtvg.analysis.run.groups import GroupInfo, Membership, group_info
from dtvg.analysis.run.partings import PARTINGS, compared, partings
from dtvg.analysis.run.segments import breaks_of, group_name, said
from dtvg.analysis.words import counted, in_percent, listed, percent
from dtvg.rule.memory import may_regroup
from dtvg.rule.rules import RULES, choose_candidates
from dtvg.store.holds import Stretch
from dtvg.store.reader import Run, read_table

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

NARROW = 0.01
"""A decision with a smaller lead is called narrow."""
WINDOW = 20
"""Recorded steps before and after a change over which the loss is averaged."""
TOLD = 12
"""Changes told in sentences, those that lasted longest; the table holds all."""
UNCERTAIN = 8
"""Least certain decisions listed."""
NAMED = 3
"""Sources named one by one in the first sentence."""
CONSISTENCY, CUT = "consistency", "cut"
"""What a lead is: of the group's consistency over the next best, or a similarity's distance from
the cut."""
BY_HAND = {"pin": "pinned", "ban": "banned"}
MOMENTS = [
    "step",
    "joined",
    "left",
    "by_hand",
    "group",
    "lead",
    "lasted",
    "stretch",
    "loss_before",
    "loss_after",
    "score_before",
    "score_after",
    "told",
]


@dataclass(frozen=True, eq=False)
class StoryInfo:
    """The story of one run; losses in nats per token, scores and shares 0..1."""

    run: str
    sentence: str
    """The whole run in one sentence."""
    lines: pd.DataFrame
    """`step, kind (start|change|hand|kept|settled), sentence`: the story, in order of steps."""
    moments: pd.DataFrame
    """`MOMENTS`, every change of the group: `lead` of the decision (see `lead_of`), `lasted`:
    recorded steps until the next change, `stretch`: recorded steps that a source which changed
    had been, and then was, in or out (the smaller; of several sources the largest); loss: means
    over `WINDOW` recorded steps before it and from it on; score: the last evaluation before it
    and the first after it on validation; `told`: whether `lines` tells it."""
    uncertain: pd.DataFrame
    """`step, lead, group, instead, steps, sentence`: the decision with the smallest lead of each
    unbroken stretch of a group, smallest first; `instead`: the next best group, where known."""
    partings: pd.DataFrame
    """`PARTINGS`, a row per other seed: share of common steps with the same group, mean Jaccard,
    how many steps both recorded, whether those are all steps of both, the first of them whose
    groups differ (null: none), and the one from which they differ for good."""
    lead_of: str
    """`CONSISTENCY`, `CUT`, or empty where the method's decisions have no lead."""
    narrow: float
    """Share of the decisions with a lead below `NARROW`; NaN without leads."""
    notes: tuple[str, ...]

    @property
    def table(self) -> pd.DataFrame:
        """The story's lines."""
        return self.lines

    @property
    def text(self) -> str:
        """The whole story as text, a line per sentence."""
        parts = [self.sentence, "", *_stepped(self.lines)]
        for title, rows in (
            ("Least certain decisions:", self.uncertain),
            ("Where seeds part:", self.partings.drop(columns="step")),
        ):
            if len(rows):
                parts += ["", title, *_stepped(rows)]
        return "\n".join([*parts, "", *self.notes]).rstrip()

    def __str__(self) -> str:
        return self.text


def _stepped(rows: pd.DataFrame) -> list[str]:
    """Return a table's sentences, each after its step where it has one."""
    if "step" not in rows:
        return [str(sentence) for sentence in rows["sentence"]]
    pairs = zip(rows["step"], rows["sentence"], strict=True)
    return [f"Step {step:,}: {sentence}" for step, sentence in pairs]


def siblings(run: Run, runs: Sequence[Run]) -> tuple[Run, ...]:
    """Return the other seeds of a run's method on its target that log groups."""
    return tuple(
        other
        for other in runs
        if other.problem is None
        and (other.target, other.method) == (run.target, run.method)
        and other.name != run.name
        and other.config is not None
        and other.config.logs_sources
    )


def story_info(
    run: Run, info: GroupInfo | None = None, others: Sequence[Membership] = ()
) -> StoryInfo:
    """Tell a run.

    Args:
        run: from `dtvg.store.reader`.
        info: its groups over all steps; None: they are read.
        others: groups of other seeds, for where they part.

    Returns:
        The story; without lines where the run logs no groups, and the notes say why.
    """
    info = group_info(run) if info is None else info
    if not len(info.steps):
        sentence = info.notes[0] if info.notes else "No step of this run is committed yet."
        nothing = pd.DataFrame(columns=["step", "kind", "sentence"])
        uncertain = pd.DataFrame(columns=["step", "lead", "group", "instead", "steps", "sentence"])
        return StoryInfo(
            run.name, sentence, nothing, pd.DataFrame(columns=MOMENTS), uncertain,
            pd.DataFrame(columns=PARTINGS), "", float("nan"), (),
        )  # fmt: skip
    lead_of, lead, decided = leads(run, info)
    decided = decided & ~_held(info)  # a person decided there
    known = decided & ~np.isnan(lead)
    narrow = float((lead[known] < NARROW).sum() / decided.sum()) if known.any() else float("nan")
    moments = _moments(run, info, lead, lead_of)
    parted = partings(info, others)
    return StoryInfo(
        run=run.name,
        sentence=_sentence(info, lead_of, narrow),
        lines=_lines(run, info, moments, lead_of),
        moments=moments,
        uncertain=_uncertain(info, lead_of, lead, known),
        partings=parted,
        lead_of=lead_of if known.any() else "",
        narrow=narrow,
        notes=(*_notes(run, info, moments), *compared(parted)),
    )


# -- how surely ----------------------------------------------------------------------------


def leads(run: Run, info: GroupInfo) -> tuple[str, Floats, Bools]:
    """Return what a lead is, the lead of each step `[S]`, and at which steps one decided `[S]`.

    A lead is NaN where there was no rival: with fewer than two candidates, or in a method that
    does not choose.
    """
    count, settings = len(info.steps), run.config.rule_settings if run.config else None
    nothing, decided = np.full(count, np.nan), np.ones(count, dtype=bool)
    if settings is None or settings.rule not in RULES or info.weighs:
        return "", nothing, decided
    if settings.init_only or RULES[settings.rule].never_regroups:
        decided = info.steps == 1
    elif settings.regroup_every > 1:
        decided = np.asarray(may_regroup(settings, info.steps, info.seed), dtype=bool)
    if not decided.any():
        decided = np.arange(count) == 0
    if not np.isnan(info.consistency_margin).all():
        return CONSISTENCY, np.maximum(info.consistency_margin.astype(np.float64), 0), decided
    if RULES[settings.rule].choose is choose_candidates and np.isfinite(info.threshold):
        away = _from_cut(info).min(axis=1, initial=np.inf)
        return CUT, np.where(np.isfinite(away), away, np.nan), decided
    return "", nothing, decided


def _held(info: GroupInfo) -> Bools:
    """Return at which steps a source was pinned or banned by hand, `[S]`."""
    held = np.zeros(len(info.steps), dtype=bool)
    for one in info.held:
        held |= (info.steps >= one.first) & (info.steps <= one.last)
    return held


def _from_cut(info: GroupInfo) -> Floats:
    """Return each similarity's distance from the cut `[S n]`; infinite for a zero vector's."""
    away = np.abs(info.similarity.astype(np.float64) - info.threshold)
    return np.where((info.similarity == 0).all(axis=0), np.inf, away)


def _uncertain(info: GroupInfo, lead_of: str, lead: Floats, known: Bools) -> pd.DataFrame:
    """Return the narrowest decision of each stretch of one group, narrowest first."""
    columns = ["step", "lead", "group", "instead", "steps", "sentence"]
    rows = np.flatnonzero(known)
    if not lead_of or not len(rows):
        return pd.DataFrame(columns=columns)
    changed = breaks_of(info.steps)
    changed[1:] |= (info.member[1:] != info.member[:-1]).any(axis=1)
    stretch = np.cumsum(changed) - 1
    by_lead = rows[np.lexsort((rows, lead[rows]))]
    _, first = np.unique(stretch[by_lead], return_index=True)
    chosen = by_lead[np.sort(first)][:UNCERTAIN]
    lengths = np.bincount(stretch)
    made = []
    for row in chosen:
        group, instead = said(info.member[row], info.sources), _instead(info, lead_of, int(row))
        step, steps = int(info.steps[row]), int(lengths[stretch[row]])
        told = f"{group}{_surely(float(lead[row]), lead_of)}"
        if instead:
            told += f"; next best: {instead}" if lead_of == CONSISTENCY else f" ({instead})"
        made.append([step, lead[row], group, instead, steps, f"{told}."])
    return pd.DataFrame(made, columns=columns)


def _surely(lead: float, lead_of: str) -> str:
    """Say how surely a group was decided; nothing where that is not known."""
    if np.isnan(lead):
        return ""
    if lead_of == CUT:
        return f", {_small(lead)} from the cut" if lead else ", on the cut"
    return f" by a lead of {_small(lead)}" if lead else " in a tie"


def _small(lead: float) -> str:
    """Write a lead with no more digits than say something: three decimals, or one digit."""
    return digits(round(lead, 3) if lead >= 0.001 else float(f"{lead:.0e}"))


def _instead(info: GroupInfo, lead_of: str, row: int) -> str:
    """Return the next best group of a decision, or the source nearest to the cut."""
    if lead_of == CUT:
        nearest = int(_from_cut(info)[row].argmin())
        return f"{info.sources[nearest]} is nearest to it"
    value, rank = info.consistency_by_source[row], info.rank[row]
    own = info.member[row] & ~np.isnan(value)
    others = np.where(own & (rank == rank[own].max(initial=-1)), np.nan, value)
    if np.isnan(others).all():
        return ""
    gap = value[own & (rank == rank[own].max(initial=-1))].max(initial=-np.inf)
    second = int(np.nanargmax(others))
    margin = float(info.consistency_margin[row])
    if not np.isclose(gap - others[second], margin, rtol=1e-2, atol=1e-6):
        return ""  # the rule's next best group is no prefix
    return said(rank <= rank[second], info.sources)


# -- what happened -------------------------------------------------------------------------


def _moments(run: Run, info: GroupInfo, lead: Floats, lead_of: str) -> pd.DataFrame:
    """Return every change of the group with what followed it."""
    rows = np.flatnonzero(info.churn)
    now, before = info.member[rows], info.member[rows - 1]
    at = lead[rows]
    if lead_of == CUT:  # of the sources that crossed it
        at = np.where(now != before, _from_cut(info)[rows], np.inf).min(axis=1, initial=np.inf)
    held = _changed_by_hand(info, rows)
    stretch = _lasting(info.member)[rows].max(axis=1, initial=0)
    loss_before, loss_after = _losses(run, info.steps[rows])
    score_before, score_after = _scores(run, info.steps[rows])
    weight = np.where(held, np.inf, stretch.astype(np.float64))
    told = np.zeros(len(rows), dtype=bool)
    told[np.lexsort((rows, -weight))[:TOLD]] = True
    columns = {
        "step": info.steps[rows],
        "joined": _names(now & ~before, info.sources),
        "left": _names(before & ~now, info.sources),
        "by_hand": held,
        "group": _names(now, info.sources, "(empty)"),
        "lead": at,
        "lasted": np.diff(np.append(rows, len(info.steps))),
        "stretch": stretch,
        "loss_before": loss_before,
        "loss_after": loss_after,
        "score_before": score_before,
        "score_after": score_after,
        "told": told,
    }
    return pd.DataFrame(columns, columns=MOMENTS)


def _names(member: Bools, sources: Sequence[str], nobody: str = "") -> list[str]:
    """Return each row's names; distinct rows are named once."""
    if not len(member):
        return []
    groups, which = np.unique(member, axis=0, return_inverse=True)
    names = [group_name(g, sources).replace("(empty)", nobody) for g in groups]
    return [names[i] for i in which.reshape(-1)]


def _lasting(member: Bools) -> Ints:
    """Return `[S n]`: at a change the shorter of the stretches before and after it, else 0."""
    found = np.zeros(member.shape, dtype=np.int64)
    for s in range(member.shape[1]):
        at = np.flatnonzero(member[1:, s] != member[:-1, s]) + 1
        lengths = np.diff(np.concatenate([[0], at, [len(member)]]))
        found[at, s] = np.minimum(lengths[:-1], lengths[1:])
    return found


def _changed_by_hand(info: GroupInfo, rows: Ints) -> Bools:
    """Return for each change whether a pin or ban that was in force made it."""
    found = np.zeros(len(rows), dtype=bool)
    for held in info.held:
        if held.source in info.sources:
            s = info.sources.index(held.source)
            inside = (info.steps[rows] >= held.first) & (info.steps[rows] <= held.last)
            moved = info.member[rows, s] != info.member[rows - 1, s]
            found |= inside & moved
    return found


def _losses(run: Run, steps: Ints) -> tuple[Floats, Floats]:
    """Return the mean loss of the recorded steps before, and of those from a step on."""
    table = read_table(run, "steps", ["step", "loss"])
    at = table.column("step").to_numpy()
    loss = table.column("loss").to_numpy().astype(np.float64)
    known = np.isfinite(loss)
    total = np.append(0.0, np.cumsum(np.where(known, loss, 0.0)))
    count = np.append(0, np.cumsum(known))
    place = np.searchsorted(at, steps)
    ends = np.maximum(place - WINDOW, 0), np.minimum(place + WINDOW, len(at))

    def mean(first: Ints, last: Ints) -> Floats:
        number = count[last] - count[first]
        total_of = total[last] - total[first]
        return np.divide(total_of, number, out=np.full(len(number), np.nan), where=number > 0)

    return mean(ends[0], place), mean(place, ends[1])


def _scores(run: Run, steps: Ints) -> tuple[Floats, Floats]:
    """Return the validation score last evaluated before a step, and first after it."""
    curves = curve_info([run], "score", group_by="run").curves
    if not curves:
        return np.full(len(steps), np.nan), np.full(len(steps), np.nan)
    value = np.concatenate([[np.nan], curves[0].y, [np.nan]])
    place = np.searchsorted(curves[0].x, steps)  # evaluated after fewer steps
    return value[place], value[place + 1]


# -- in words ------------------------------------------------------------------------------


def _sentence(info: GroupInfo, lead_of: str, narrow: float) -> str:
    """Tell the whole run in one sentence."""
    parts = _weights(info) if info.weighs else _shares(info)
    if lead_of == CONSISTENCY and narrow == narrow:
        parts.append(f"decided by a lead below {NARROW:g} in {percent(narrow)} of steps")
    elif lead_of == CUT and narrow == narrow:
        parts.append(f"decided within {NARROW:g} of the cut in {percent(narrow)} of steps")
    parts += [_hand(held) for held in info.held]
    return f"{'Merged' if info.weighs else 'In the group'}: {', '.join(parts)}."


def _shares(info: GroupInfo) -> list[str]:
    share = info.member.mean(axis=0)
    order = np.argsort(-share, kind="stable")
    always = [info.sources[s] for s in order if share[s] == 1]
    some = [s for s in order if 0 < share[s] < 1]
    parts = []
    if len(always) == len(info.sources):
        return [f"all {len(always)} sources always" if len(always) > 1 else f"{always[0]} always"]
    if always:
        parts.append(f"{listed(always)} always")
    parts += [
        f"{info.sources[s]} {percent(share[s])}{' of steps' if not k else ''}"
        for k, s in enumerate(some[:NAMED])
    ]
    if len(some) > NAMED:
        highest = percent(float(share[some[NAMED]]))
        parts.append(f"{counted(len(some) - NAMED, 'other')} at most {highest}")
    empty = float((info.group_size == 0).mean())
    if empty:
        parts.append("no source at any step" if empty == 1 else f"no source {percent(empty)}")
    never = int((share == 0).sum())
    if never and empty < 1:
        names = [n for n, there in zip(info.sources, share, strict=True) if not there]
        parts.append(f"{listed(names) if never < NAMED else f'{never} sources'} never")
    return parts


def _weights(info: GroupInfo) -> list[str]:
    mean = info.weight.astype(np.float64).mean(axis=0)
    order = np.argsort(-mean, kind="stable")
    parts = [f"{info.sources[s]} {digits(mean[s])}" for s in order[:NAMED]]
    rest = len(mean) - NAMED
    more = [f"{counted(rest, 'other')} with less"] if rest > 0 else []
    return [f"{parts[0]} (mean weight)", *parts[1:], *more]


def _hand(held: Stretch) -> str:
    """Say from when to when a source was pinned or banned."""
    until = f" to step {int(held.last):,}" if np.isfinite(held.last) else " on"
    return f"{held.source} {BY_HAND[held.kind]} by hand from step {held.first:,}{until}"


def _lines(run: Run, info: GroupInfo, moments: pd.DataFrame, lead_of: str) -> pd.DataFrame:
    """Return the story's sentences in order."""
    first = int(info.steps[0])
    made: list[tuple[int, str, str]] = [
        (first, "start", f"The run began with {said(info.member[0], info.sources)}.")
    ]
    last = int(info.steps[-1])
    unit = "recorded step" if run.config is not None and run.config.logging.gaps else "step"
    for held in info.held:
        if held.first <= last:
            made.append((held.first, "hand", f"{_hand(held)}."))
    for row in moments[moments["told"]].to_dict("records"):
        made.append((int(row["step"]), "change", _change(row, lead_of, unit)))
    if info.settling_step is not None and len(moments) and info.settling_step < last:
        state = "so far" if run.result is None else "to the end"
        group = said(info.member[-1], info.sources)
        made.append(
            (info.settling_step, "settled", f"From here {state} ({last:,}) it was {group}.")
        )
    made += _kept(run, info)
    table = pd.DataFrame(made, columns=["step", "kind", "sentence"])
    return table.sort_values("step", kind="stable", ignore_index=True)


def _kept(run: Run, info: GroupInfo) -> list[tuple[int, str, str]]:
    """Say whose prompt was kept, and what the group was."""
    best = run.result.best_step if run.result is not None else 0
    row = int(np.searchsorted(info.steps, best, side="right")) - 1
    if run.result is None:
        return []
    score = f"{in_percent(run.result.validation_score)} %"
    if row < 0:
        text = f"The prompt that the run began with was kept (validation score {score})."
        return [(int(info.steps[0]), "kept", text)]
    group, at = said(info.member[row], info.sources), int(info.steps[row])
    then = "then" if at == best else f"at step {at:,}, the last one recorded by then"
    text = (
        f"The prompt of step {best:,} was kept (validation score {score}); group {then}: {group}."
    )
    return [(at, "kept", text)]


def _change(row: Mapping[Any, Any], lead_of: str, unit: str) -> str:
    """Tell one change: who, how surely, for how long, and what loss and score did after."""
    # "+" joins the names of a table's cell
    joined, left = (str(row[k]).split(" + ") if row[k] else [] for k in ("joined", "left"))
    who = [f"{listed(joined)} joined"] * bool(joined) + [f"{listed(left)} left"] * bool(left)
    text, lead = " and ".join(who), _number(row["lead"])
    if row["by_hand"]:
        text += ", by hand"
    else:
        text += _surely(lead, lead_of)
    group = "no source" if row["group"] == "(empty)" else row["group"]
    text += f"; the group was {group} for {counted(int(_number(row['lasted'])), unit)}."
    before, after = _number(row["loss_before"]), _number(row["loss_after"])
    if before == before and after == after:
        text += f" Loss {before:.3g} before, {after:.3g} after"
        before, after = _number(row["score_before"]), _number(row["score_after"])
        if before == before and after == after:
            text += f"; validation score {in_percent(before)} % before, {in_percent(after)} % after"
        text += "."
    return text


def _number(value: object) -> float:
    return float(value)  # type: ignore[arg-type]


def _notes(run: Run, info: GroupInfo, moments: pd.DataFrame) -> tuple[str, ...]:
    """Say what the sentences rest on and what they leave out."""
    notes = []
    untold = int((~moments["told"]).sum()) if len(moments) else 0
    if untold:
        notes.append(
            f"{counted(len(moments), 'change')} of the group in all; the {TOLD} that lasted "
            f"longest are told, and those by hand first. The table holds the other {untold:,} too."
        )
    if len(moments):
        notes.append(
            f"Loss: means over {WINDOW} recorded steps before the change and from it on; score: "
            "the evaluations around it. Both move for other reasons too, so what followed a change "
            "need not have come from it."
        )
    if run.config is not None and run.config.logging.gaps:
        every = run.config.logging.thin_every
        notes.append(
            f"Thinned log: only every {every}th step was kept, so a change happened up to {every} "
            "steps before the step it is told at, and steps are counted as recorded."
        )
    return tuple(notes)


__all__ = [
    "CONSISTENCY", "CUT", "NARROW", "TOLD", "StoryInfo", "leads", "siblings", "story_info",
]  # fmt: skip
