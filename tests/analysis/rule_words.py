"""The words Explain must use, put together from numbers found by plain loops and deciding again."""

from __future__ import annotations

import numpy as np

from tests.rule_cases import NAMES, Asked, values_compared


def number(value: float) -> str:
    return {np.inf: "∞", -np.inf: "−∞"}.get(value, f"{value:.3g}".replace("-", "−"))


def wanted_headline(asked: Asked) -> str:
    rule, n = asked.choice["rule"], len(asked.similarity)
    group = ", ".join(NAMES[s] for s in np.flatnonzero(asked.grouping.member))
    some, cut = group or "no source", number(asked.threshold)
    if rule == "all_sources":
        merged, their = ("its only source", "its") if n == 1 else (f"all {n} sources", "their")
        return f"The method merges {merged} at every step, whatever {their} similarity."
    if rule == "empty":
        return "The method merges no source at every step, whatever their similarity."
    if asked.choice.get("init_only"):
        return (
            "The prompt was started with the group of the first step and is tuned alone since: "
            f"{some}."
        )
    if rule == "fixed":
        return f"The group of the first step is kept for the whole run: {some}."
    if asked.held:
        why = "no other is better by more than the hysteresis"
        why = "between two regroupings" if asked.between else why
        return f"The group of the previous step is kept ({why}): {some}."
    if rule == "similarity_only":
        return f"Every source with a similarity of at least {cut} is in: {group or 'none is'}."
    if rule == "nearest":
        return f"The most similar source alone is taken: {group}."
    controls = {
        "random": "drawn at random",
        "largest": "those with the longest vectors",
        "farthest": "the least similar ones",
    }
    if rule in controls:
        size = asked.greedy_size
        return f"As many sources as greedy would take ({size}), {controls[rule]}: {some}."
    values = sorted(values_compared(asked), reverse=True)
    lead = number(values[0] - values[1]) if len(values) > 1 else ""
    if rule == "exact":
        lead = f", {lead} ahead of the second best subset" if lead else ""
        return f"Best subset by similarity and consistency{lead}: {some}."
    if rule == "consistency_only":
        lead = f", {lead} ahead of the second best of the pairs and the empty group" if lead else ""
        return f"Best subset by consistency{lead}: {some}."
    assert rule == "greedy", f"write what Explain says under '{rule}'"
    if not values:
        return f"No source reaches the cut at {cut}, so the group is empty."
    if len(values) == 1:
        return f"Only {group} reaches the cut at {cut}, so it alone is the group."
    size = int(np.sum(asked.grouping.member))
    first = "the first" if size == 1 else f"the first {size}"
    return (
        f"{len(values)} of {n} sources reach the cut at {cut}; consistency is highest for "
        f"{first} of them ({number(values[0])}, {lead} ahead of the next): {group}."
    )


def wanted_reason(asked: Asked, s: int) -> str:
    rule, n, cut = asked.choice["rule"], len(asked.similarity), number(asked.threshold)
    group = set(np.flatnonzero(asked.grouping.member).tolist())
    place = asked.ranked.index(s) + 1
    start = f"similarity {number(asked.similarity[s])} (rank {place} of {n})"
    if asked.choice.get("init_only") and s in group:
        return f"{start} now, but its vector was only added to the start."
    if rule == "fixed" or asked.choice.get("init_only"):
        return f"{start} now, but only the first step's group counts."
    if asked.held:
        return f"{start} now, but the group of the previous step is kept."
    if rule in ("all_sources", "empty"):
        return f"{start}, but this method does not choose."
    if rule == "nearest":
        return f"{start}; {'it is the' if s in group else 'another source is more'}" + (
            " most similar." if s in group else " similar."
        )
    if rule == "random":
        drawn = "was drawn" if s in group else "was not drawn"
        return f"{start}, but only chance decides: its place in the ranking {drawn}."
    if rule == "largest":
        why = "it is among the longest" if s in group else "longer ones fill the group"
        return f"{start}, but only the length of its vector decides: {why}."
    if rule == "farthest":
        alike = (
            "it is among the least similar" if s in group else "less similar ones fill the group"
        )
        return f"{start}; {alike}."
    if rule in ("exact", "consistency_only"):
        other = "without it" if s in group else "with it"
        return (
            f"{start}; the group's consistency is {number(asked.consistency(group))}, {other} "
            f"{number(asked.consistency(group ^ {s}))}."
        )
    if asked.similarity[s] < asked.threshold:
        return f"{start} lies below the cut at {cut}."
    if rule == "similarity_only":
        return f"{start} reaches the cut at {cut}."
    if (asked.similarity >= asked.threshold).sum() == 1:
        return f"{start}; it is the only one to reach the cut at {cut}."
    if group == {s}:
        return f"{start}; it is the most similar, and no longer prefix has a positive consistency."
    own = number(asked.consistency(group))
    if s in group:
        return (
            f"{start}, and consistency is highest for the first {len(group)}: {own}, without it "
            f"{number(asked.consistency(group - {s}))}."
        )
    chosen = f"the first {len(group)} have" if len(group) > 1 else "the first alone has"
    return (
        f"{start} reaches the cut at {cut}, but the first {place} together have consistency "
        f"{number(asked.consistency(asked.ranked[:place]))}, {chosen} {own}."
    )


def wanted_change(asked: Asked, s: int, change: float, margin: float) -> str:
    """From a change and a margin that `check_switches` and `check_margins` have found true."""
    if asked.choice["rule"] in ("all_sources", "empty", "fixed", "consistency_only"):
        return ""
    if asked.choice.get("init_only"):
        return ""
    if asked.held and asked.between:
        return " No similarity can change that at this step."
    if asked.compares:
        return " With hysteresis, its distance from a change is not defined."
    verb = "leave" if asked.grouping.member[s] else "join"
    rest = margin < abs(change) - 1e-9 if np.isfinite(change) else np.isfinite(margin)
    if np.isnan(change):
        also = f", but one of {number(margin)} would alter the rest of the group" if rest else ""
        return f" No change of its similarity alone would make it {verb}{also}."
    way = "higher" if change > 0 else "lower"
    also = f" A change of {number(margin)} would already alter the rest of the group."
    return f" It would {verb} if its similarity were {way} by {number(abs(change))}." + (
        also if rest else ""
    )
