"""Why this source? One step of one run, decided again from its Gram matrix and put in words.

Ranking with the cut, consistency by prefix, the Gram matrix, and for every source a sentence:
why it is in or out, and what change of its similarity would change that. arXiv 2503.18063,
section 3.2; docs/method.md, "Margins".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from dtvg.analysis.run.replay import replay
from dtvg.analysis.run.segments import zero_vectors
from dtvg.analysis.words import percent
from dtvg.errors import DataError
from dtvg.rule.arrays import consistency_of
from dtvg.rule.decide import decide
from dtvg.rule.memory import has_memory, may_regroup, needs_every_step
from dtvg.rule.rules import INIT_ONLY_WORDS, RULES
from dtvg.rule.types import Grouping, Words
from dtvg.store.holds import Stretch, history, in_force, stretches
from dtvg.store.reader import Run, no_configuration, only_scores, read_grams, read_table

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
SOFT = Words(
    headline="The method weighs sources instead of choosing them; sources with a weight: {group}.",
    nobody="none",
    member="{place}, but this method weighs sources instead of choosing them.",
    other="{place}, but this method weighs sources instead of choosing them.",
    always=True,
)
"""What is said of a method that weighs its sources, where no rule decides."""


SLIGHTEST = 1e-5
"""A change below this share of the largest similarity is within the precision of ties."""
HANDS = {"pin": "pinned", "ban": "banned"}


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
    """What keeps it: "", "fixed", "init_only", "regroup_every" or "hysteresis"."""
    aimless: bool
    """Whether the target's vector is zero, so that the rule takes no source."""
    sources: tuple[str, ...]
    gram: Floats
    """`[m m]`, target first: inner products as compared (cosines where `measure` says so)."""
    similarity: Floats
    rank: npt.NDArray[np.int64]
    candidate: Bools
    member: Bools
    """The rule's group; `trained` is the one that was merged."""
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
    scale_negative: Floats | None = None
    """`[n]`: share of each source's scale entries below 0; None where it was not logged."""
    by_hand: tuple[Stretch | None, ...] = ()
    """Per source, what was decided by hand at this step instead of by the rule; empty: nothing."""

    @cached_property
    def trained(self) -> Bools:
        """`[n]`: the group that was merged: the rule's, but for what was decided by hand."""
        found = self.member.copy()
        for s, held in enumerate(self.by_hand):
            if held is not None:
                found[s] = held.kind == "pin"
        return found

    @property
    def group_size(self) -> int:
        """Members of the group."""
        return int(self.member.sum())

    @property
    def chosen_prefix(self) -> int | None:
        """k*: how many of the ranked candidates were taken; None if the group is no prefix."""
        size = self.group_size
        in_front = (self.rank[self.member] < size).all() if size else True
        known = self.rule in RULES and RULES[self.rule].takes_prefix
        return size if in_front and known and size <= self.n_candidates else None

    def hand(self, s: int) -> str:
        """Return "pinned" or "banned" for a source decided by hand, else nothing."""
        held = self.by_hand[s] if self.by_hand else None
        return "" if held is None else HANDS[held.kind]

    @cached_property
    def headline(self) -> str:
        """What was decided by hand, then one sentence about the rule's whole decision."""
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
                "member": self.trained,
                "by_rule": self.member,
                "by_hand": [self.hand(s) for s in range(len(self.sources))],
                "consistency": np.where(
                    self.candidate, self.consistency_by_prefix[self.rank], np.nan
                ),
                "consistency_switched": self.consistency_switched,
                "scale_negative": np.nan if self.scale_negative is None else self.scale_negative,
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
        raise DataError(no_configuration(run.name))
    if run.config.logging.detail == "scores":
        raise DataError(only_scores(run.name))
    if not run.config.method.has_source_vectors:
        raise DataError(
            f"Run '{run.name}' (method '{run.method}') groups no sources, so there is no decision "
            "to explain; choose a run of 'dtvg'."
        )
    steps, grams = _gram_at(run, step)
    settings, seed = run.config.rule_settings, run.config.seed
    number = int(steps[0])
    previous = None
    if has_memory(settings) and number > 1:
        if run.config.logging.gaps and needs_every_step(settings):
            raise DataError(
                f"Run '{run.name}' has a thinned log, and its rule needs the group of the step "
                "before; choose step 1, or a run with full detail."
            )
        previous = _remembered(run, 1 if run.config.logging.gaps else number - 1)
    grouping = decide(grams[0], settings, previous, number, seed)
    if run.config.method.soft:
        grouping = replace(grouping, rule="soft", member=_logged_group(run, number))
    info = explain_grouping(
        grouping, tuple(run.config.sources), run=run.name, target=run.target, step=number
    )
    held = in_force(history(run), number)
    if held:
        info = replace(info, by_hand=tuple(held.get(source) for source in info.sources))
    return _checked(run, _with_scales(run, info))


def _with_scales(run: Run, info: ExplainInfo) -> ExplainInfo:
    """Add the share of negative scale entries at the step, where it was logged."""
    rows = read_table(run, "sources", ["source", "scale_negative"], info.step, info.step)
    found = dict(zip(*(rows.column(name).to_pylist() for name in rows.column_names), strict=True))
    shares = np.array([found.get(s) for s in info.sources], dtype=np.float64)
    if np.isnan(shares).all():
        return info
    inside = shares[info.trained]
    notes = info.notes
    if len(inside) and inside.mean() > 0:
        notes = (
            *notes,
            f"Of the group's scale entries {percent(float(inside.mean()), 1)} are negative: for "
            "these prompt tokens a member is subtracted, not added.",
        )
    return replace(info, scale_negative=shares, notes=notes)


def _remembered(run: Run, step: int) -> Bools:
    """Return the rule's own group at a step, which it remembers at the next one.

    It is the logged one unless something was pinned or banned by hand until then: the rule
    remembers what it decided, not what was merged.
    """
    config = run.config
    if config is None or all(held.first > step for held in stretches(history(run))):
        return _logged_group(run, step)
    settings, at = config.rule_settings, 1
    if needs_every_step(settings):
        if settings.hysteresis is not None:
            return replay(run, last=step).replayed[-1]
        at += int(np.flatnonzero(may_regroup(settings, np.arange(1, step + 1), config.seed))[-1])
    return np.asarray(decide(_gram_at(run, at)[1][0], settings, None, at, config.seed).member)


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
        raise DataError(f"Run '{run.name}' has no committed step yet; try again in a few seconds.")
    if step is not None:
        which = f"from {there[0]} to {there[-1]}"
        if run.config is not None and run.config.logging.gaps:
            kept = ", ".join(str(number) for number in there[:3])
            which = f"that its thinned log keeps: {kept} … {there[-1]}"
        raise DataError(f"Run '{run.name}' has no step {step}; choose one {which}.")
    return read_grams(run, int(there[-1]), int(there[-1]))


def _checked(run: Run, info: ExplainInfo) -> ExplainInfo:
    """Say so where the log holds another group than the rule and the hand give."""
    rows = read_table(run, "sources", ["source", "member"], info.step, info.step)
    logged = dict(
        zip(rows.column("source").to_pylist(), rows.column("member").to_pylist(), strict=True)
    )
    differing = [
        s
        for s, m in zip(info.sources, info.trained, strict=True)
        if logged.get(s, bool(m)) != bool(m)
    ]
    if not differing:
        return info
    note = (
        f"The run's log holds another decision for {', '.join(differing)} than rule '{info.rule}' "
        "gives; `dtvg runs verify` says which steps differ."
    )
    return replace(info, notes=(*info.notes, note))


def explain_grouping(
    grouping: Grouping[np.ndarray],
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
    memory = _memory(grouping)
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
        threshold=float(grouping.settings.threshold),
        measure=grouping.settings.measure,
        held=grouping.held is not None and bool(grouping.held),
        memory=memory,
        aimless=grouping.entry.asks_target and bool(grouping.aimless),
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
        switch_change=grouping.switch_change,
        notes=_zero_vectors(grouping, sources),
    )


def _zero_vectors(grouping: Grouping[np.ndarray], sources: tuple[str, ...]) -> tuple[str, ...]:
    """Say which vectors are zero, since what the rule makes of them may surprise."""
    found = []
    if grouping.entry.asks_target and bool(grouping.zero_target) and grouping.settings.version == 1:
        found.append(
            "The target's vector is zero, so every similarity is 0; in version 1 of the rule, "
            "which made this run, the sources then rank as they are listed."
        )
    lost = np.asarray(grouping.candidate) & (np.asarray(grouping.squares) == 0)
    names = [s for s, zero in zip(sources, lost, strict=True) if zero]
    if names:
        found.append(zero_vectors(names))
    return tuple(found)


def _memory(grouping: Grouping[np.ndarray]) -> str:
    """Return which setting keeps a group at this step; between two regroupings nothing else
    takes part."""
    if grouping.settings.init_only:
        return "init_only"
    if grouping.entry.never_regroups:
        return grouping.entry.name
    every = grouping.settings.regroup_every
    between = grouping.between is not None and bool(grouping.between)
    if grouping.settings.hysteresis is not None and not between:
        return "hysteresis"
    return "regroup_every" if every > 1 else ""


def digits(value: float) -> str:
    """Write a number with three significant digits and a real minus sign."""
    if not np.isfinite(value):
        return "none" if np.isnan(value) else ("∞" if value > 0 else "−∞")
    return f"{value:.3g}".replace("-", "−") if value else "0"


def _words(info: ExplainInfo) -> Words:
    if info.memory == "init_only" and info.rule in RULES:
        return INIT_ONLY_WORDS
    return RULES[info.rule].words if info.rule in RULES else SOFT


def _said(info: ExplainInfo, **more: str | int) -> dict[str, str | int]:
    """Return what can be filled into every sentence, and more."""
    names = [s for s, m in zip(info.sources, info.member, strict=True) if m]
    size = info.group_size
    return {
        "group": ", ".join(names) or _words(info).nobody,
        "n": len(info.sources),
        "all": "its only source" if len(info.sources) == 1 else f"all {len(info.sources)} sources",
        "their": "its" if len(info.sources) == 1 else "their",
        "cut": digits(info.threshold),
        "size": size,
        "prefix": "the first" if size == 1 else f"the first {size}",
        "chosen": "the first alone has" if size == 1 else f"the first {size} have",
        "consistency": digits(info.consistency),
        **more,
    }


def headline(info: ExplainInfo) -> str:
    """Say what was decided by hand, and in one sentence which group the rule chose, and why."""
    if not any(info.by_hand):
        return _by_rule(info)
    said = [
        f"{source} was {info.hand(s)} by hand at step {held.first:,}."
        for s, (source, held) in enumerate(zip(info.sources, info.by_hand, strict=True))
        if held is not None
    ]
    names = [s for s, m in zip(info.sources, info.trained, strict=True) if m]
    said.append(f"The group that was merged: {', '.join(names) or 'no source'}.")
    if (info.trained == info.member).all():
        said.append("The rule decided the same.")
    return " ".join([*said, f"The rule alone: {_by_rule(info)}"])


def _by_rule(info: ExplainInfo) -> str:
    """Say which group the rule chose at this step, and why."""
    words, text = _words(info), _words(info).headline
    if info.held and not words.always:
        why = "no other is better by more than the hysteresis"
        why = "between two regroupings" if info.memory == "regroup_every" else why
        group = ", ".join(s for s, m in zip(info.sources, info.member, strict=True) if m)
        return f"The group of the previous step is kept ({why}): {group or 'no source'}."
    if info.aimless and not words.always:
        return (
            "The target's vector is zero, so no source is more similar to it than another: the "
            "group is empty."
        )
    if info.n_candidates == 0 and words.without_candidates:
        text = words.without_candidates
    elif info.n_candidates == 1 and words.only_candidate:
        text = words.only_candidate
    margin = info.consistency_margin
    lead = "" if np.isnan(margin) else words.lead.format(margin=digits(margin))
    if words.tied and margin <= 0:
        lead = words.tied
    return text.format_map(_said(info, candidates=info.n_candidates, lead=lead))


def sentence(info: ExplainInfo, s: int) -> str:
    """Say why one source is in the group or not, and what would change that."""
    state = "is in" if info.trained[s] else "is out"
    held = info.by_hand[s] if info.by_hand else None
    if held is None:
        return f"{info.sources[s]} {state}: {_reason(info, s)}{_change(info, s)}"
    alone = "in" if info.member[s] else "out"
    also = " as well" if info.member[s] == info.trained[s] else ""
    return (
        f"{info.sources[s]} {state}: {info.hand(s)} by hand at step {held.first:,}. By the rule "
        f"alone it would be {alone}{also}: {_reason(info, s)}"
    )


def _reason(info: ExplainInfo, s: int) -> str:
    """The first sentence: where the source stands, and what that means under the rule."""
    place = (
        f"similarity {digits(info.similarity[s])} (rank {info.rank[s] + 1} of {len(info.sources)})"
    )
    words, member = _words(info), bool(info.member[s])
    lasting = info.memory == "init_only" or (info.rule in RULES and RULES[info.rule].never_regroups)
    if info.held and not lasting:
        return f"{place} now, but the group of the previous step is kept."
    if info.aimless and not lasting:
        return f"{place}, since the target's vector is zero."
    text = words.member if member else words.other
    if words.below and not info.candidate[s]:
        text = words.below
    elif member and info.n_candidates == 1 and words.member_only_candidate:
        text = words.member_only_candidate
    elif member and info.group_size == 1 and words.member_alone:
        text = words.member_alone
    rank = int(info.rank[s])
    said = _said(
        info,
        place=place,
        k=rank + 1,
        switched=digits(info.consistency_switched[s]),
        by_prefix=digits(info.consistency_by_prefix[rank]),
    )
    return text.format_map(said)


def _change(info: ExplainInfo, s: int) -> str:
    """The second sentence: the change of its similarity that would move the source."""
    if info.rule not in RULES or RULES[info.rule].switch is None or info.memory == "init_only":
        return ""
    if info.aimless and not info.held:
        return " No single similarity can change while it is."
    change, margin = info.switch_change[s], info.similarity_margin[s]
    if np.isnan(margin):
        return " With hysteresis, its distance from a change is not defined."
    if info.held:
        return " No similarity can change that at this step."
    verb = "leave" if info.member[s] else "join"
    if abs(change) <= SLIGHTEST * np.abs(info.similarity).max():
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
