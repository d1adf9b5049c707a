"""The sentences of `explain.py`: short, exact, the same for every page and export.

Numbers carry three significant digits; the full ones stand in the table beside them. Must
not import torch, plotly or streamlit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dtvg.analysis.explain import ExplainInfo


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
