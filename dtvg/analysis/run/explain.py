"""Why this source? One step of one run, decided again from its Gram matrix and put in words.

Ranking with the cut, consistency by prefix, the Gram matrix, and for every source a sentence:
why it is in or out, and what change of its similarity would change that. arXiv 2503.18063,
section 3.2; docs/method.md "Margins".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dtvg.errors import DataError
from dtvg.rule.decide import Grouping, consistency_of, decide
from dtvg.rule.margins import exact_switch
from dtvg.rule.memory import stateful_settings
from dtvg.store.reader import Run, read_grams, read_table

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ExplainInfo:
    """One decision in full; arrays over sources stand in source order."""

    run: str
    target: str
    step: int
    rule: str
    threshold: float
    measure: str
    held: bool
    """Whether the group is the step before's, kept by a rule with a memory."""
    memory: str
    """What keeps it: "", "fixed", "regroup_every" or "hysteresis"."""
    sources: tuple[str, ...]
    gram: Floats
    """`[m m]`, target first: inner products as compared (cosines where `measure` says so)."""
    similarity: Floats
    rank: npt.NDArray[np.int64]
    candidate: Bools
    member: Bools
    n_candidates: int
    consistency_by_prefix: Floats
    """`[n]`: entry k − 1 is KC(k); 0 beyond the candidates."""
    consistency: float
    """Of the group."""
    consistency_margin: float
    """Lead of the chosen prefix (or subset) over the second best; NaN: no other."""
    consistency_switched: Floats
    """`[n]`: consistency of the group without the source (member) or with it (others)."""
    similarity_margin: Floats
    """`[n]`: smallest change of one similarity that changes the group; infinite: none does."""
    switch_change: Floats
    """`[n]`: signed smallest change of a source's similarity that takes it out of the group
    (member) or brings it in (others); NaN where no change does."""
    notes: tuple[str, ...]

    @property
    def group_size(self) -> int:
        """Members of the group."""
        return int(self.member.sum())

    @property
    def chosen_prefix(self) -> int | None:
        """k*: how many of the ranked candidates were taken; None where the group is no prefix."""
        size = self.group_size
        in_front = (self.rank[self.member] < size).all() if size else True
        known = self.rule in ("greedy", "fixed", "similarity_only")
        return size if in_front and known and size <= self.n_candidates else None

    @cached_property
    def headline(self) -> str:
        """One sentence about the whole decision."""
        return headline(self)

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """One sentence or two per source, in source order."""
        return tuple(sentence(self, s) for s in range(len(self.sources)))

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per source, most similar first."""
        table = pd.DataFrame(
            {
                "rank": self.rank + 1,
                "source": self.sources,
                "similarity": self.similarity,
                "candidate": self.candidate,
                "member": self.member,
                "consistency": np.where(
                    self.candidate, self.consistency_by_prefix[self.rank], np.nan
                ),
                "consistency_switched": self.consistency_switched,
                "similarity_margin": self.similarity_margin,
                "switch_change": self.switch_change,
                "why": self.sentences,
            }
        )
        return table.sort_values("rank", ignore_index=True)

    @cached_property
    def prefix_table(self) -> pd.DataFrame:
        """Consistency by prefix over the candidates: `k, source, consistency, chosen`."""
        order = np.argsort(self.rank)[: self.n_candidates]
        k = np.arange(1, len(order) + 1)
        return pd.DataFrame(
            {
                "k": k,
                "source": [self.sources[s] for s in order],
                "consistency": self.consistency_by_prefix[: len(order)],
                "chosen": k == (self.chosen_prefix or 0),
            }
        )

    @cached_property
    def gram_table(self) -> pd.DataFrame:
        """The Gram matrix with names, target first."""
        names = [f"{self.target} (target)", *self.sources]
        table = pd.DataFrame(self.gram, columns=names)
        table.insert(0, "", names)
        return table


def explain_step(run: Run, step: int | None = None) -> ExplainInfo:
    """Explain the decision of one step of a run.

    Args:
        run: from `dtvg.store.reader`.
        step: the step; None for the newest.

    Raises:
        DataError: the run has nothing to group, or no such step (with the steps it has).
    """
    if run.config is None:
        raise DataError(f"Run '{run.name}' has no readable configuration: {run.problem}")
    if not run.config.method.has_source_vectors:
        raise DataError(
            f"Run '{run.name}' (method '{run.method}') groups no sources, so there is no decision "
            "to explain; choose a run of 'dtvg'."
        )
    steps, grams = _gram_at(run, step)
    settings = run.config.method.grouping_settings()
    number = int(steps[0])
    previous = None
    if stateful_settings(settings) and number > 1:
        previous = _logged_group(run, number - 1)
    grouping = decide(grams[0], previous=previous, step=number, **settings)
    if run.config.method.soft:
        grouping = replace(grouping, rule="soft", member=_logged_group(run, number))
    info = explain_grouping(
        grouping, tuple(run.config.sources), run=run.name, target=run.target, step=number
    )
    return _checked(run, info)


def _logged_group(run: Run, step: int) -> Bools:
    """Return the members of the group at a step, `[n]` in the order of the configuration."""
    rows = read_table(run, "sources", ["source", "member"], step, step)
    found = dict(
        zip(rows.column("source").to_pylist(), rows.column("member").to_pylist(), strict=True)
    )
    sources = run.config.sources if run.config is not None else ()
    return np.array([bool(found.get(name, False)) for name in sources], dtype=bool)


def _gram_at(run: Run, step: int | None) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return the Gram matrix of one step with a leading axis of 1."""
    if step is not None:
        steps, grams = read_grams(run, step, step)
        if len(steps):
            return steps, grams
    there = read_table(run, "steps", ["step"]).column("step").to_numpy()
    if not len(there):
        raise DataError(f"Run '{run.name}' has no committed step yet; look again in some seconds.")
    if step is not None:
        raise DataError(
            f"Run '{run.name}' has no step {step}; choose one from {there[0]} to {there[-1]}."
        )
    return read_grams(run, int(there[-1]), int(there[-1]))


def _checked(run: Run, info: ExplainInfo) -> ExplainInfo:
    """Say so where the log holds another group than the rule gives (a pinned source, ...)."""
    rows = read_table(run, "sources", ["source", "member"], info.step, info.step)
    logged = dict(
        zip(rows.column("source").to_pylist(), rows.column("member").to_pylist(), strict=True)
    )
    differing = [
        s
        for s, m in zip(info.sources, info.member, strict=True)
        if logged.get(s, bool(m)) != bool(m)
    ]
    if not differing:
        return info
    note = (
        f"The run's log differs from rule '{info.rule}' for {', '.join(differing)}: a source was "
        "pinned or banned by hand, or the method weights sources softly."
    )
    return ExplainInfo(**{**_fields(info), "notes": (*info.notes, note)})


def _fields(info: ExplainInfo) -> dict[str, Any]:
    return {name: getattr(info, name) for name in ExplainInfo.__dataclass_fields__}


def explain_grouping(
    grouping: Grouping,
    sources: tuple[str, ...],
    *,
    run: str = "",
    target: str = "target",
    step: int = 0,
) -> ExplainInfo:
    """Explain a decision on one Gram matrix; see `ExplainInfo`.

    Args:
        grouping: `decide(gram)` with NumPy arrays and no leading axes.
        sources: n names.
        run: name of the run.
        target: name of the target task.
        step: step number.
    """
    measured = np.asarray(grouping.measured_gram())
    memory = _memory(grouping, step)
    member = np.asarray(grouping.member, dtype=bool)
    n = len(sources)
    switched = np.tile(member, (n, 1))
    switched[np.arange(n), np.arange(n)] ^= True
    grams = np.broadcast_to(measured, (n, *measured.shape))
    return ExplainInfo(
        run=run,
        target=target,
        step=step,
        rule=grouping.rule,
        threshold=float(grouping.settings.get("threshold", 0.0)),
        measure=str(grouping.settings.get("measure", "dot")),
        held=grouping.held is not None and bool(grouping.held),
        memory=memory,
        sources=sources,
        gram=measured,
        similarity=np.asarray(grouping.similarity),
        rank=np.asarray(grouping.rank),
        candidate=np.asarray(grouping.candidate),
        member=member,
        n_candidates=int(grouping.n_candidates),
        consistency_by_prefix=np.asarray(grouping.consistency_by_prefix),
        consistency=float(grouping.consistency),
        consistency_margin=float(grouping.consistency_margin),
        consistency_switched=np.asarray(consistency_of(grams, switched)),
        similarity_margin=(
            np.full(n, np.inf)
            if memory == "regroup_every" and grouping.held is not None and bool(grouping.held)
            else np.asarray(grouping.similarity_margin)
        ),
        switch_change=switch_change(grouping),
        notes=(),
    )


def _memory(grouping: Grouping, step: int) -> str:
    """Return which setting keeps a group at this step; between two regroupings nothing else
    takes part."""
    if grouping.rule == "fixed":
        return "fixed"
    every = int(grouping.settings.get("regroup_every", 1))
    between = step > 1 and (step - 1) % every != 0
    if grouping.settings.get("hysteresis") is not None and not between:
        return "hysteresis"
    return "regroup_every" if every > 1 else ""


def switch_change(grouping: Grouping) -> Floats:
    """Smallest signed change of each source's similarity that moves that source in or out.

    Between two neighbouring similarities of the other sources the group does not depend on
    where exactly a source stands (rules `greedy`, `similarity_only` and `nearest`), so one trial
    decision per gap is exact. For `exact`, see `exact_switch`. Other rules do not look at one
    similarity.

    Returns:
        `[n]`: positive to rise, negative to fall, NaN where no change moves the source.
    """
    similarity = np.asarray(grouping.similarity)
    n = len(similarity)
    looks = grouping.rule in ("greedy", "similarity_only", "nearest", "exact")
    if not looks or n == 0 or _kept(grouping):
        return np.full(n, np.nan)
    if grouping.rule == "exact":
        return exact_switch(grouping)
    trial, change = _gaps(similarity, float(grouping.settings.get("threshold", 0.0)))
    moved = _moved(grouping, trial) & np.isfinite(change)
    distance = np.where(moved, np.abs(change), np.inf)
    best = distance.argmin(axis=1)
    found = change[np.arange(n), best]
    return np.where(np.isfinite(distance.min(axis=1)), found, np.nan)


def _kept(grouping: Grouping) -> bool:
    """Whether the group came from a memory, so that trial decisions would say nothing."""
    return grouping.held is not None and (
        bool(grouping.held) or grouping.settings.get("hysteresis") is not None
    )


def _gaps(similarity: Floats, threshold: float) -> tuple[Floats, Floats]:
    """Return per source a value inside each gap between the others' similarities and the cut,
    and the signed change that reaches the gap: both `[n G]`."""
    n = len(similarity)
    trial, change = np.empty((n, n + 1)), np.empty((n, n + 1))
    for s in range(n):
        cut = threshold if np.isfinite(threshold) else similarity[s]  # no edge, one gap split
        edges = np.sort(np.append(np.delete(similarity, s), cut))
        room = max(1.0, float(np.abs(edges).max())) + abs(float(similarity[s]))
        lower = np.concatenate([[edges[0] - room], edges])
        upper = np.concatenate([edges, [edges[-1] + room]])
        trial[s] = (lower + upper) / 2
        t = similarity[s]
        rise, fall = np.maximum(lower - t, 0.0), np.minimum(upper - t, 0.0)
        change[s] = np.where(upper > lower, rise + fall, np.inf)
    return trial, change


def _moved(grouping: Grouping, trial: Floats) -> Bools:
    """Decide anew with TS(s) = trial[s, g]: `[n G]`, whether s changed sides."""
    n, gaps = trial.shape
    grams = np.broadcast_to(np.asarray(grouping.measured_gram()), (n, gaps, n + 1, n + 1)).copy()
    rows = np.arange(n)
    grams[rows, :, 0, rows + 1] = trial
    grams[rows, :, rows + 1, 0] = trial
    settings = {**grouping.settings, "measure": "dot"}
    again = np.asarray(decide(grams, rule=grouping.rule, **settings).member)
    return np.asarray(again[rows, :, rows] != np.asarray(grouping.member)[:, None], dtype=bool)


def digits(value: float) -> str:
    """Write a number with three significant digits and a real minus sign."""
    if not np.isfinite(value):
        return "none" if np.isnan(value) else ("∞" if value > 0 else "−∞")
    return f"{value:.3g}".replace("-", "−") if value else "0"


def headline(info: ExplainInfo) -> str:
    """Say in one sentence which group the rule chose at this step, and why."""
    group = ", ".join(s for s, m in zip(info.sources, info.member, strict=True) if m)
    n, cut = len(info.sources), digits(info.threshold)
    if info.rule in ("all_sources", "empty"):
        what = f"all {n} sources" if info.rule == "all_sources" else "no source"
        return f"The method merges {what} at every step, whatever their similarity."
    if info.rule == "soft":
        return f"The method weighs sources instead of choosing; with weight: {group or 'none'}."
    if info.rule == "fixed":
        return f"The group of the first step is kept for ever: {group or 'no source'}."
    if info.held:
        why = "no other is better by more than the hysteresis"
        why = "between two regroupings" if info.memory == "regroup_every" else why
        return f"The group of the step before is kept ({why}): {group or 'no source'}."
    if info.rule == "nearest":
        return f"The most similar source alone is taken: {group or 'no source'}."
    if info.rule == "similarity_only":
        return f"Every source with similarity of at least {cut} is in: {group or 'none is'}."
    if info.rule in ("exact", "consistency_only"):
        aim = "similarity and consistency" if info.rule == "exact" else "consistency"
        second = "subset" if info.rule == "exact" else "of the pairs and the empty group"
        lead = f", {digits(info.consistency_margin)} ahead of the second best {second}"
        lead = "" if np.isnan(info.consistency_margin) else lead
        return f"Best subset by {aim}{lead}: {group or 'no source'}."
    if info.n_candidates == 0:
        return f"No source reaches the cut at {cut}, so the group is empty."
    if info.n_candidates == 1:
        return f"Only {group} reaches the cut at {cut}, so it alone is the group."
    lead = digits(info.consistency_margin)
    tie = f"{lead} ahead of the next" if info.consistency_margin > 0 else "tied, fewest taken"
    return (
        f"{info.n_candidates} of {n} sources reach the cut at {cut}; consistency is highest for "
        f"the first {info.group_size} of them ({digits(info.consistency)}, {tie}): {group}."
    )


def sentence(info: ExplainInfo, s: int) -> str:
    """Say why one source is in the group or not, and what would change that."""
    state = "is in" if info.member[s] else "is out"
    return f"{info.sources[s]} {state}: {_reason(info, s)}{_change(info, s)}"


def _reason(info: ExplainInfo, s: int) -> str:
    place = (
        f"similarity {digits(info.similarity[s])} (rank {info.rank[s] + 1} of {len(info.sources)})"
    )
    if info.held and info.rule != "fixed":
        return f"{place} now, but the group of the step before is kept."
    if info.rule in ("greedy", "similarity_only"):
        return _ranked_reason(info, s, place)
    if info.rule in ("exact", "consistency_only"):
        with_without = "without it" if info.member[s] else "with it"
        return (
            f"{place}; the group's consistency is {digits(info.consistency)}, {with_without} "
            f"{digits(info.consistency_switched[s])}."
        )
    if info.rule == "nearest":
        which = "it is the most similar" if info.member[s] else "another source is more similar"
        return f"{place}; {which}."
    if info.rule == "fixed":
        return f"{place} now, but only the first step's group counts."
    if info.rule == "soft":
        return f"{place}, but this method weighs sources instead of choosing."
    return f"{place}, but this method does not choose."


def _ranked_reason(info: ExplainInfo, s: int, place: str) -> str:
    """Reasons under the paper's rule, or its similarity-only ablation."""
    cut = digits(info.threshold)
    if not info.candidate[s]:
        return f"{place} lies below the cut at {cut}."
    if info.rule == "similarity_only":
        return f"{place} reaches the cut at {cut}."
    k, size = int(info.rank[s]) + 1, info.group_size
    if info.n_candidates == 1:
        return f"{place}; it is the only one to reach the cut at {cut}."
    if size == 1 and info.member[s]:
        return f"{place}; it is the most similar, and no longer prefix has positive consistency."
    if info.member[s]:
        without = digits(info.consistency_switched[s])
        return (
            f"{place}, and consistency is highest for the first {size}: "
            f"{digits(info.consistency)}, without it {without}."
        )
    by_prefix = info.consistency_by_prefix[k - 1]
    return (
        f"{place} reaches the cut at {cut}, but the first {k} together have consistency "
        f"{digits(by_prefix)}, the first {size} have {digits(info.consistency)}."
    )


def _change(info: ExplainInfo, s: int) -> str:
    """The second sentence: the change of its similarity that would move the source."""
    if info.rule in ("all_sources", "empty", "fixed", "consistency_only", "soft"):
        return ""
    change, margin = info.switch_change[s], info.similarity_margin[s]
    if np.isnan(margin):
        return " How far it is from a change is not defined where hysteresis compares groups."
    if info.held:
        return " No similarity can change that at this step."
    verb = "leave" if info.member[s] else "join"
    if change == 0:
        return f" The slightest change of its similarity could make it {verb}."
    if np.isfinite(change):
        direction = "higher" if change > 0 else "lower"
        text = f" It would {verb} if its similarity were {direction} by {digits(abs(change))}."
        if np.isfinite(margin) and margin < abs(change) * (1 - 1e-9):
            text += f" A change of {digits(margin)} would already alter the rest of the group."
        return text
    if np.isfinite(margin):
        return (
            f" No change of its similarity alone would make it {verb}, but one of "
            f"{digits(margin)} would alter the rest of the group."
        )
    return f" No change of its similarity alone would make it {verb}."
