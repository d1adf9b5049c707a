"""The rules, one entry each: whom a rule takes, what it maximises, how close it was, its words.

A new rule is one more `Rule` in `_ALL`: `decide`, hysteresis, margins, explain, replay, the form
and the method's configuration read it from there. docs/method.md, "Rules".
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from array_api_compat import device
from jaxtyping import Bool, Float64, Int

from dtvg.errors import ConfigError, unknown
from dtvg.rule.arrays import A, mean_over_pairs, namespace
from dtvg.rule.margins import (
    exact_margin,
    exact_switch,
    no_margin,
    place_margin,
    place_switch,
)
from dtvg.rule.precision import ROUNDINGS, UNIT, chained_order, first_near_best, prefix_spread
from dtvg.rule.subsets import (
    best_subset,
    pair_objective,
    pair_spread,
    subset_objective,
    subset_spread,
)
from dtvg.rule.types import Ranking, Rule, RuleSettings, Words


def choose_prefix(ranking: Ranking[A]) -> tuple[Bool[A, "... n"], Float64[A, " ..."]]:
    """Take the prefix of the candidates with the highest consistency, the shortest of equals."""
    xp = namespace(ranking.gram)
    by_prefix, count = ranking.consistency_by_prefix, ranking.n_candidates
    n = by_prefix.shape[-1]
    if n == 0:
        return xp.astype(ranking.rank, xp.bool), _no_lead(ranking)
    places = xp.arange(n, device=device(ranking.gram))
    value = xp.where(places < count[..., None], by_prefix, -xp.inf)
    if ranking.settings.version > 1:
        spread = prefix_spread(ranking.lengths[..., 1:], ranking.order)
        best, lead = first_near_best(value, spread)
        return ranking.rank < xp.minimum(best + 1, count)[..., None], lead
    best = xp.argmax(value, axis=-1)
    member = ranking.rank < xp.minimum(best + 1, count)[..., None]
    others = xp.where(places == best[..., None], -xp.inf, value)
    known = count > 1
    lead = xp.where(known, xp.max(value, axis=-1), 0.0)
    lead = lead - xp.where(known, xp.max(others, axis=-1), 0.0)
    return member, xp.where(known, lead, xp.nan)


def choose_candidates(ranking: Ranking[A]) -> tuple[Bool[A, "... n"], Float64[A, " ..."]]:
    """Take every candidate."""
    return ranking.candidate, _no_lead(ranking)


def choose_pair(ranking: Ranking[A]) -> tuple[Bool[A, "... n"], Float64[A, " ..."]]:
    """Take the pair of sources with the highest consistency, or nobody if none is positive."""
    if ranking.rank.shape[-1] == 0:
        return choose_nobody(ranking)
    subsets, value = pair_objective(ranking)
    if ranking.settings.version == 1:
        return best_subset(subsets, value)
    return best_subset(subsets, value, pair_spread(ranking))


def choose_subset(ranking: Ranking[A]) -> tuple[Bool[A, "... n"], Float64[A, " ..."]]:
    """Take the subset with the highest similarity + λ · consistency."""
    if ranking.rank.shape[-1] == 0:
        return choose_nobody(ranking)
    subsets, value = subset_objective(ranking)
    if ranking.settings.version == 1:
        return best_subset(subsets, value)
    value = namespace(value).where(ranking.zero_target[..., None], -namespace(value).inf, value)
    return best_subset(subsets, value, subset_spread(ranking))


def choose_everybody(ranking: Ranking[A]) -> tuple[Bool[A, "... n"], Float64[A, " ..."]]:
    """Take every source."""
    return namespace(ranking.gram).ones_like(ranking.candidate), _no_lead(ranking)


def choose_nobody(ranking: Ranking[A]) -> tuple[Bool[A, "... n"], Float64[A, " ..."]]:
    """Take no source."""
    return namespace(ranking.gram).zeros_like(ranking.candidate), _no_lead(ranking)


def choose_nearest(ranking: Ranking[A]) -> tuple[Bool[A, "... n"], Float64[A, " ..."]]:
    """Take the most similar source, whatever the threshold."""
    return ranking.rank < 1, _no_lead(ranking)


def choose_drawn(ranking: Ranking[A]) -> tuple[Bool[A, "... n"], Float64[A, " ..."]]:
    """Take as many sources as `greedy` would, at places of the ranking that are drawn."""
    xp = namespace(ranking.gram)
    draws = ranking.draws
    if draws is None:
        raise ConfigError("A rule that draws is decided by `decide`, which knows step and seed.")
    turn = xp.argsort(xp.argsort(draws, axis=-1, stable=True), axis=-1, stable=True)
    own = xp.take_along_axis(turn, ranking.rank, axis=-1)
    return own < _greedy_size(ranking)[..., None], _no_lead(ranking)


def choose_largest(ranking: Ranking[A]) -> tuple[Bool[A, "... n"], Float64[A, " ..."]]:
    """Take as many sources as `greedy` would, those with the longest vectors."""
    xp, squares = namespace(ranking.gram), ranking.squares
    if ranking.settings.version == 1 or squares.shape[-1] == 0:
        order = xp.argsort(-squares, axis=-1, stable=True)
    else:
        spread = xp.asarray(squares) * (ROUNDINGS * UNIT)
        order, _ = chained_order(squares, spread)
    place = xp.argsort(order, axis=-1, stable=True)
    return place < _greedy_size(ranking)[..., None], _no_lead(ranking)


def choose_farthest(ranking: Ranking[A]) -> tuple[Bool[A, "... n"], Float64[A, " ..."]]:
    """Take as many sources as `greedy` would, the last of the ranking."""
    n = ranking.rank.shape[-1]
    return ranking.rank >= n - _greedy_size(ranking)[..., None], _no_lead(ranking)


def _greedy_size(ranking: Ranking[A]) -> Int[A, " ..."]:
    """Return how many sources `greedy` would take."""
    xp = namespace(ranking.gram)
    return xp.sum(xp.astype(choose_prefix(ranking)[0], xp.int64), axis=-1)


def _no_lead(ranking: Ranking[A]) -> Float64[A, " ..."]:
    """Return NaN for every leading index: there is no next best group."""
    xp = namespace(ranking.gram)
    return xp.full_like(xp.astype(ranking.n_candidates, xp.float64), xp.nan)


def prefix_value(ranking: Ranking[A], member: Bool[A, "... n"]) -> Float64[A, " ..."]:
    """Return KC; −∞ with a member that is not a candidate, or for nobody where there is one."""
    xp = namespace(ranking.gram)
    outside = xp.any(member & ~ranking.candidate, axis=-1)
    nobody = ~xp.any(member, axis=-1) & (ranking.n_candidates > 0)
    return xp.where(outside | nobody, -xp.inf, pair_value(ranking, member))


def threshold_value(ranking: Ranking[A], member: Bool[A, "... n"]) -> Float64[A, " ..."]:
    """Return Σ (TS − threshold) over the members."""
    xp = namespace(ranking.gram)
    above = ranking.similarity - ranking.settings.threshold
    return xp.sum(above * xp.astype(member, xp.float64), axis=-1)


def pair_value(ranking: Ranking[A], member: Bool[A, "... n"]) -> Float64[A, " ..."]:
    """Return KC."""
    return mean_over_pairs(ranking.measured_gram()[..., 1:, 1:], member)


def subset_value(ranking: Ranking[A], member: Bool[A, "... n"]) -> Float64[A, " ..."]:
    """Return similarity + λ · KC; −∞ for nobody, or for one who may not be searched."""
    xp, settings = namespace(ranking.gram), ranking.settings
    weight = xp.astype(member, xp.float64)
    size = xp.sum(weight, axis=-1)
    similarity = xp.sum(ranking.similarity * weight, axis=-1)
    if settings.exact_similarity == "mean":
        similarity = similarity / xp.where(size > 0, size, 1.0)
    barred = size == 0
    if settings.exact_over == "candidates":
        barred = barred | xp.any(member & ~ranking.candidate, axis=-1)
    barred = barred | ranking.aimless
    value = similarity + pair_value(ranking, member) * settings.consistency_weight
    return xp.where(barred, -xp.inf, value)


def nearest_value(ranking: Ranking[A], member: Bool[A, "... n"]) -> Float64[A, " ..."]:
    """Return TS of the member; −∞ for nobody."""
    xp = namespace(ranking.gram)
    similarity = xp.sum(ranking.similarity * xp.astype(member, xp.float64), axis=-1)
    return xp.where(xp.any(member, axis=-1), similarity, -xp.inf)


def sized_value(ranking: Ranking[A], member: Bool[A, "... n"]) -> Float64[A, " ..."]:
    """Return 0 for a group as large as the one `greedy` would take; −∞ for any other."""
    xp = namespace(ranking.gram)
    size = xp.sum(xp.astype(member, xp.int64), axis=-1)
    return xp.where(size == _greedy_size(ranking), 0.0, -xp.inf)


def largest_value(ranking: Ranking[A], member: Bool[A, "... n"]) -> Float64[A, " ..."]:
    """Return Σ ⟨v_s, v_s⟩ / d over the members; −∞ for a group of another size."""
    xp = namespace(ranking.gram)
    total = xp.sum(ranking.squares * xp.astype(member, xp.float64), axis=-1)
    return total + sized_value(ranking, member)


def farthest_value(ranking: Ranking[A], member: Bool[A, "... n"]) -> Float64[A, " ..."]:
    """Return −Σ TS over the members; −∞ for a group of another size."""
    xp = namespace(ranking.gram)
    total = xp.sum(ranking.similarity * xp.astype(member, xp.float64), axis=-1)
    return sized_value(ranking, member) - total


def no_value(ranking: Ranking[A], member: Bool[A, "... n"]) -> Float64[A, " ..."]:
    """Return 0: no group is better than another."""
    xp = namespace(ranking.gram)
    return xp.zeros_like(xp.sum(xp.astype(member, xp.float64), axis=-1))


def pair_blur(ranking: Ranking[A], member: Bool[A, "... n"]) -> Float64[A, " ..."]:
    """Return the spread of KC."""
    return mean_over_pairs(ranking.spread[..., 1:, 1:], member)


def similarity_blur(ranking: Ranking[A], member: Bool[A, "... n"]) -> Float64[A, " ..."]:
    """Return the spread of a sum of the members' similarities."""
    xp = namespace(ranking.gram)
    return xp.sum(ranking.spread[..., 0, 1:] * xp.astype(member, xp.float64), axis=-1)


def subset_blur(ranking: Ranking[A], member: Bool[A, "... n"]) -> Float64[A, " ..."]:
    """Return the spread of similarity + λ · KC."""
    xp, settings = namespace(ranking.gram), ranking.settings
    similarity = similarity_blur(ranking, member)
    if settings.exact_similarity == "mean":
        size = xp.sum(xp.astype(member, xp.float64), axis=-1)
        similarity = similarity / xp.where(size > 0, size, 1.0)
    return similarity + pair_blur(ranking, member) * settings.consistency_weight


def norm_blur(ranking: Ranking[A], member: Bool[A, "... n"]) -> Float64[A, " ..."]:
    """Return the spread of Σ ⟨v_s, v_s⟩ / d."""
    xp = namespace(ranking.gram)
    total = xp.sum(ranking.squares * xp.astype(member, xp.float64), axis=-1)
    return total * (ROUNDINGS * UNIT)


_PREFIX_WORDS = Words(
    headline="{candidates} of {n} sources reach the cut at {cut}; consistency is highest for "
    "{prefix} of them ({consistency}, {lead}): {group}.",
    lead="{margin} ahead of the next",
    tied="tied, so the fewest sources are taken",
    member="{place}, and consistency is highest for the first {size}: {consistency}, without it "
    "{switched}.",
    other="{place} reaches the cut at {cut}, but the first {k} together have consistency "
    "{by_prefix}, {chosen} {consistency}.",
    below="{place} lies below the cut at {cut}.",
    without_candidates="No source reaches the cut at {cut}, so the group is empty.",
    only_candidate="Only {group} reaches the cut at {cut}, so it alone is the group.",
    member_only_candidate="{place}; it is the only one to reach the cut at {cut}.",
    member_alone="{place}; it is the most similar, and no longer prefix has a positive "
    "consistency.",
)
_CANDIDATES_WORDS = Words(
    headline="Every source with a similarity of at least {cut} is in: {group}.",
    nobody="none is",
    member="{place} reaches the cut at {cut}.",
    other="{place} lies below the cut at {cut}.",
)
_PAIR_WORDS = Words(
    headline="Best subset by consistency{lead}: {group}.",
    lead=", {margin} ahead of the second best of the pairs and the empty group",
    tied=", tied with another, so the smaller and then the earlier is taken",
    member="{place}; the group's consistency is {consistency}, without it {switched}.",
    other="{place}; the group's consistency is {consistency}, with it {switched}.",
)
_SUBSET_WORDS = replace(
    _PAIR_WORDS,
    headline="Best subset by similarity and consistency{lead}: {group}.",
    lead=", {margin} ahead of the second best subset",
)
_EVERYBODY_WORDS = Words(
    headline="The method merges {all} at every step, whatever {their} similarity.",
    member="{place}, but this method does not choose.",
    other="{place}, but this method does not choose.",
    always=True,
)
_NOBODY_WORDS = replace(
    _EVERYBODY_WORDS,
    headline="The method merges no source at every step, whatever their similarity.",
)
_FIXED_WORDS = Words(
    headline="The group of the first step is kept for the whole run: {group}.",
    member="{place} now, but only the first step's group counts.",
    other="{place} now, but only the first step's group counts.",
    always=True,
)
_NEAREST_WORDS = Words(
    headline="The most similar source alone is taken: {group}.",
    member="{place}; it is the most similar.",
    other="{place}; another source is more similar.",
)
_SIZED = "As many sources as greedy would take ({size}), "
_DRAWN_WORDS = Words(
    headline=_SIZED + "drawn at random: {group}.",
    member="{place}, but only chance decides: its place in the ranking was drawn.",
    other="{place}, but only chance decides: its place in the ranking was not drawn.",
)
_LARGEST_WORDS = Words(
    headline=_SIZED + "those with the longest vectors: {group}.",
    member="{place}, but only the length of its vector decides: it is among the longest.",
    other="{place}, but only the length of its vector decides: longer ones fill the group.",
)
_FARTHEST_WORDS = Words(
    headline=_SIZED + "the least similar ones: {group}.",
    member="{place}; it is among the least similar.",
    other="{place}; less similar ones fill the group.",
)
INIT_ONLY_WORDS = Words(
    headline="The prompt was started with the group of the first step and is tuned alone since: "
    "{group}.",
    member="{place} now, but its vector was only added to the start.",
    other="{place} now, but only the first step's group counts.",
    always=True,
)
"""Said of any rule under `init_only`."""

_ALL = (
    Rule(
        name="greedy",
        summary="the first k of the candidates by similarity, for the k with the highest "
        "consistency (the paper's)",
        choose=choose_prefix,
        objective=prefix_value,
        margin=place_margin,
        switch=place_switch,
        words=_PREFIX_WORDS,
        takes_prefix=True,
        blur=pair_blur,
    ),
    Rule(
        name="similarity_only",
        summary="every candidate",
        choose=choose_candidates,
        objective=threshold_value,
        margin=place_margin,
        switch=place_switch,
        words=_CANDIDATES_WORDS,
        takes_prefix=True,
        blur=similarity_blur,
    ),
    Rule(
        name="consistency_only",
        summary="the subset of all sources with the highest consistency, which is the closest pair",
        choose=choose_pair,
        objective=pair_value,
        margin=no_margin,
        words=_PAIR_WORDS,
        blur=pair_blur,
        asks_target=False,
        asks_cut=False,
    ),
    Rule(
        name="exact",
        summary="the subset with the highest similarity + λ · consistency, the optimum that the "
        "paper's heuristic approximates",
        choose=choose_subset,
        objective=subset_value,
        margin=exact_margin,
        switch=exact_switch,
        words=_SUBSET_WORDS,
        searches_subsets=True,
        own_settings=("consistency_weight", "exact_over", "exact_similarity"),
        blur=subset_blur,
    ),
    Rule(
        name="all_sources",
        summary="every source",
        choose=choose_everybody,
        objective=no_value,
        margin=no_margin,
        words=_EVERYBODY_WORDS,
        asks_target=False,
        asks_cut=False,
        constant=True,
    ),
    Rule(
        name="fixed",
        summary="the greedy group of the first step, for the whole run",
        choose=choose_prefix,
        objective=prefix_value,
        margin=place_margin,
        words=_FIXED_WORDS,
        takes_prefix=True,
        never_regroups=True,
        blur=pair_blur,
    ),
    Rule(
        name="empty",
        summary="no source",
        choose=choose_nobody,
        objective=no_value,
        margin=no_margin,
        words=_NOBODY_WORDS,
        asks_target=False,
        asks_cut=False,
        constant=True,
    ),
    Rule(
        name="random",
        summary="as many sources as greedy would take, drawn anew at every step (a control)",
        choose=choose_drawn,
        objective=sized_value,
        margin=place_margin,
        switch=place_switch,
        words=_DRAWN_WORDS,
        draws=True,
        control=True,
    ),
    Rule(
        name="largest",
        summary="as many sources as greedy would take, those with the longest vectors (a control)",
        choose=choose_largest,
        objective=largest_value,
        margin=place_margin,
        switch=place_switch,
        words=_LARGEST_WORDS,
        blur=norm_blur,
        control=True,
    ),
    Rule(
        name="farthest",
        summary="as many sources as greedy would take, the least similar ones (a control)",
        choose=choose_farthest,
        objective=farthest_value,
        margin=place_margin,
        switch=place_switch,
        words=_FARTHEST_WORDS,
        blur=similarity_blur,
        control=True,
    ),
    Rule(
        name="nearest",
        summary="the most similar source alone, whatever the threshold (SPoT's)",
        choose=choose_nearest,
        objective=nearest_value,
        margin=place_margin,
        switch=place_switch,
        words=_NEAREST_WORDS,
        offered=False,
        blur=similarity_blur,
        asks_target=False,
        asks_cut=False,
    ),
)

RULES: dict[str, Rule] = {rule.name: rule for rule in _ALL}
"""Every rule by name, the paper's first."""
RULE_NAMES: tuple[str, ...] = tuple(rule.name for rule in _ALL if rule.offered)
"""Names of the rules of method `dtvg`."""

if TYPE_CHECKING:
    RuleName = str
else:
    RuleName = Literal[RULE_NAMES]
    """Type of a configuration's field that takes one of `RULE_NAMES`."""


def rule_of(settings: RuleSettings) -> Rule:
    """Return the entry of the rule that the settings name.

    Raises:
        ConfigError: there is no such rule.
    """
    if settings.rule not in RULES:
        raise ConfigError(unknown("grouping rule", settings.rule, RULES))
    return RULES[settings.rule]


def idle_settings(settings: RuleSettings) -> str:
    """Say which settings contradict the rule because they have nothing to do; "" if none does."""
    entry = rule_of(settings)
    regroups = settings.regroup_every > 1 or settings.hysteresis is not None
    if entry.never_regroups and regroups:
        return (
            f"rule '{settings.rule}' keeps the first step's group for the whole run, so "
            "'regroup_every' and 'hysteresis' have no effect; leave them out or use rule 'greedy'"
        )
    if settings.init_only and regroups:
        return (
            "with 'init_only' only the first step's group counts, so 'regroup_every' and "
            "'hysteresis' have no effect; leave them out"
        )
    if entry.draws and settings.hysteresis is not None:
        return (
            f"rule '{settings.rule}' prefers no group to another, so 'hysteresis' would keep the "
            "first one for ever; leave it out or use 'regroup_every'"
        )
    if settings.schedule == "random" and settings.regroup_every == 1:
        return (
            "'schedule: random' draws one of every 'regroup_every' steps to regroup at, so with "
            "regroup_every: 1 it has no effect; give the mean number of steps between two changes "
            "of the run that it is a control for (the Groups page counts its changes)"
        )
    return ""


def unread_settings(settings: RuleSettings) -> dict[str, str]:
    """Return the settings that the rule does not read as the others are: name → why."""
    entry = rule_of(settings)
    found = {
        name: f"only 'rule: {other.name}' reads it"
        for other in RULES.values()
        if other.name != entry.name
        for name in other.own_settings
    }
    if settings.hysteresis is None:
        found["hysteresis_unit"] = "it has no hysteresis"
    if not entry.asks_cut:
        found["threshold"] = f"'rule: {entry.name}' asks for no cut"
    elif entry.searches_subsets and settings.exact_over == "sources":
        found["threshold"] = "only 'exact_over: candidates' asks for a cut"
    if entry.constant:
        why = f"'rule: {entry.name}' takes the same group at every step"
        found |= dict.fromkeys(("regroup_every", "schedule", "hysteresis", "hysteresis_unit"), why)
    return found
