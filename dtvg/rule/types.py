"""What goes into a decision and what comes out: settings, ranking, rule, grouping.

Arrays may be NumPy's or torch's, with any leading axes `...` (runs, steps); `n` counts the
sources, `m = n + 1` the target first. docs/method.md, Stage II.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, lru_cache
from typing import Any, Generic, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from dtvg.errors import ConfigError, unknown
from dtvg.rule.arrays import A, consistency_of, measured, namespace
from dtvg.rule.precision import lengths_of, spread_of, zero_target

Measure = Literal["dot", "cosine"]
Reach = Literal["sources", "candidates"]
Total = Literal["mean", "sum"]
Unit = Literal["absolute", "relative"]
Schedule = Literal["regular", "random"]
RULE_VERSION = 2
"""Of new runs; see `RuleSettings.version`."""
VERSIONS = (1, 2)


@dataclass(frozen=True)
class RuleSettings:
    """How a group is decided: everything `decide` needs beside the Gram matrix.

    Raises:
        ConfigError: a value that is none of those allowed. The name of the rule is looked up
            by `decide`.
    """

    rule: str = "greedy"
    """Name of an entry of `dtvg.rule.rules.RULES`."""
    measure: Measure = "dot"
    """Inner products of the pooled vectors as they are (the paper's), or their cosines."""
    threshold: float = 0.0
    """Smallest similarity of a candidate; the threshold itself counts."""
    consistency_weight: float = 1.0
    """λ of rule `exact`: weight of consistency against similarity."""
    exact_over: Reach = "sources"
    """Rule `exact` searches the subsets of all sources, or of the candidates only."""
    exact_similarity: Total = "mean"
    """Rule `exact` takes the mean or the sum of the members' similarities."""
    regroup_every: int = 1
    """k: the group may change only at steps 1, 1 + k, 1 + 2k, …"""
    hysteresis: float | None = None
    """Keep a group that is still admissible unless the best one's objective exceeds its own by
    more than this (see `dtvg.rule.memory.objective`); None: always take the best."""
    hysteresis_unit: Unit = "absolute"
    """Hysteresis in units of the objective, or as a share of the best objective's size."""
    schedule: Schedule = "regular"
    """Regroup at the first of every k steps, or at one of every k that is drawn by the run's
    seed."""
    init_only: bool = False
    """Keep the first step's group: it has made the start, and no source is merged later."""
    version: int = RULE_VERSION
    """1: numbers are compared as they are, and where the target's vector is zero the first of the
    equal sources is taken. 2: numbers equal within the Gram matrix's precision tie, and a zero
    target vector makes the group empty."""

    def __post_init__(self) -> None:
        for name, what, allowed in _CHOICES:
            if getattr(self, name) not in allowed:
                raise ConfigError(unknown(what, str(getattr(self, name)), allowed))
        if self.regroup_every < 1:
            raise ConfigError(
                f"'regroup_every' counts steps and has to be at least 1; got {self.regroup_every}."
            )
        if self.version not in VERSIONS:
            raise ConfigError(
                f"The rule has versions {', '.join(map(str, VERSIONS))}; got {self.version}. A run "
                "made by a newer version of dtvg needs that version."
            )
        if self.hysteresis is not None and not self.hysteresis >= 0:
            raise ConfigError(
                "'hysteresis' has to be 0 or more, or None to switch it off; got "
                f"{self.hysteresis}."
            )

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the name of every setting."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def of(cls, rule: str | RuleSettings, /, **changes: Any) -> RuleSettings:
        """Return the settings of a rule given by name or by settings, with some changed.

        Raises:
            ConfigError: an unknown setting or value.
        """
        if changes:
            for name in changes:
                if name not in cls.names():
                    raise ConfigError(unknown("setting of the rule", name, cls.names()))
            given = rule if isinstance(rule, RuleSettings) else cls(rule)
            return replace(given, **changes)
        return rule if isinstance(rule, RuleSettings) else _named(rule)


@lru_cache(maxsize=64)
def _named(rule: str) -> RuleSettings:
    """Return the default settings of a rule, one object for each name."""
    return RuleSettings(rule)


_CHOICES = (
    ("measure", "similarity measure", get_args(Measure)),
    ("exact_over", "value of 'exact_over'", get_args(Reach)),
    ("exact_similarity", "value of 'exact_similarity'", get_args(Total)),
    ("hysteresis_unit", "value of 'hysteresis_unit'", get_args(Unit)),
    ("schedule", "value of 'schedule'", get_args(Schedule)),
)


@dataclass(frozen=True, eq=False)
class Ranking(Generic[A]):
    """The sources by similarity, with what every rule chooses from."""

    gram: Float[A, "... m m"]
    """Float32 in training and in logs; target first."""
    similarity: Float64[A, "... n"]
    """TS(s), in source order."""
    order: Int[A, "... n"]
    """Source indices, most similar first, ties in source order."""
    rank: Int[A, "... n"]
    """Place of each source, 0 = most similar; in source order."""
    n_candidates: Int[A, " ..."]
    """Sources with similarity at or above the threshold."""
    consistency_by_prefix: Float64[A, "... n"]
    """Entry k − 1 is KC(k); 0 beyond the candidates."""
    settings: RuleSettings
    squares: Float64[A, "... n"] = field(kw_only=True)
    """⟨v_s, v_s⟩ / d of every source, whatever the measure."""
    draws: Int[A, "... n"] | None = field(default=None, kw_only=True)
    """For each place of the ranking a number drawn at random; None where the rule draws none."""

    @cached_property
    def candidate(self) -> Bool[A, "... n"]:
        """Whether a source may enter the group."""
        return self.rank < self.n_candidates[..., None]

    def measured_gram(self) -> Float64[A, "... m m"]:
        """Return the inner products the decision compared (cosines if asked)."""
        return measured(self.gram, self.settings.measure)

    @cached_property
    def lengths(self) -> Float64[A, "... m"]:
        """√G_ii of the target and the sources, as compared."""
        return lengths_of(self.gram, self.settings.measure)

    @cached_property
    def spread(self) -> Float64[A, "... m m"]:
        """How far rounding may have moved each inner product compared; 0 in version 1."""
        spread = spread_of(self.lengths)
        return namespace(spread).zeros_like(spread) if self.settings.version == 1 else spread

    @cached_property
    def zero_target(self) -> Bool[A, " ..."]:
        """Whether the target's vector is zero."""
        return zero_target(self.gram)

    @property
    def aimless(self) -> Bool[A, " ..."]:
        """Whether no source may be chosen by its similarity, since the target's vector is zero."""
        return self.zero_target & (self.settings.version > 1)


@dataclass(frozen=True, eq=False)
class Grouping(Ranking[A]):
    """A decision about the sources, with what it rests on."""

    entry: Rule
    """What decided."""
    member: Bool[A, "... n"]
    """The group, in source order."""
    consistency_margin: Float64[A, " ..."]
    """KC(k*) − max over other k of KC(k); NaN with fewer than two candidates. With rules that
    search subsets: lead over the second best subset they compared (NaN: none)."""
    rule: str = "greedy"
    """Name of the rule; `soft` where a method weighs sources and `member` means weight > 0."""
    held: Bool[A, " ..."] | None = None
    """Whether the group is the previous one, kept by `fixed`, between two regroupings or by
    hysteresis; None where no previous group was given."""
    between: Bool[A, " ..."] | None = None
    """Whether the step lies between two regroupings; None as for `held`."""

    @cached_property
    def group_size(self) -> Int[A, " ..."]:
        """Members of the group."""
        xp = namespace(self.member)
        return xp.sum(xp.astype(self.member, xp.int64), axis=-1)

    @cached_property
    def consistency(self) -> Float64[A, " ..."]:
        """KC of the actual group, also where it is not a prefix."""
        return consistency_of(self.gram, self.member, self.settings.measure)

    @cached_property
    def similarity_margin(self) -> Float64[A, "... n"]:
        """Smallest change of one source's similarity, the rest fixed, that changes the group.

        Only TS(s) moves; inner products between sources stay. The value is an infimum: any change
        larger than it (in the better direction) gives another group. Infinite where no change
        of that one similarity matters, as where a group is kept between two regroupings; NaN
        where hysteresis compared the previous group with the best one, and where the target's
        vector is zero, so that no similarity can change: the margin is not defined there.
        Computed when first asked for.
        """
        xp = namespace(self.gram)
        undefined = self.held is not None and self.settings.hysteresis is not None
        if undefined and not self.keeps_first:
            return xp.full_like(self.similarity, xp.nan)
        margin = self.entry.margin(self)
        if self.entry.asks_target:
            margin = xp.where(self.aimless[..., None], xp.nan, margin)
        if self.held is None:
            return margin
        return xp.where(xp.asarray(self.held)[..., None], xp.inf, margin)

    @property
    def keeps_first(self) -> bool:
        """Whether the first step's group stays for ever."""
        return self.entry.never_regroups or self.settings.init_only

    @cached_property
    def switch_change(self) -> Float64[np.ndarray, " n"]:
        """Smallest signed change of each source's similarity that moves that source in or out.

        Positive to rise, negative to fall; NaN where no change moves the source, where a memory
        keeps the group, and where hysteresis compared groups. For NumPy without leading axes.
        """
        compared = self.settings.hysteresis is not None
        kept = self.held is not None and (bool(self.held) or compared)
        kept = kept or (self.entry.asks_target and bool(self.aimless))
        if self.entry.switch is None or kept or self.similarity.shape[-1] == 0:
            return np.full(self.similarity.shape, np.nan)
        return np.asarray(self.entry.switch(self))


@dataclass(frozen=True)
class Words:
    """What Explain says of a rule's decision: sentences with places to fill in.

    In every sentence: {group} (names of the members), {n} sources, {all} ("all 6 sources", "its
    only source") with {their} ("its" of one), {cut} (the threshold). In headlines also
    {candidates} and {size} (how many there are, and how many are taken), {consistency} of the
    group, {prefix} ("the first 2") and {lead}. In reasons, which are about one source, also
    {place} (its similarity and rank), {k} (its rank), {consistency} of the group, {switched}
    (that with the source in or out), {by_prefix} (that of the first {k}), {size} and {chosen}
    ("the first 2 have", "the first alone has").
    """

    headline: str
    member: str
    """Why a source is in."""
    other: str
    """Why a source is out."""
    below: str = ""
    """Why a source below the threshold is out, where the rule asks for the threshold."""
    nobody: str = "no source"
    """{group} where it is empty."""
    lead: str = ""
    """{lead} where one is defined, with {margin} to fill in."""
    tied: str = ""
    """{lead} of 0, where that is said in other words."""
    without_candidates: str = ""
    """Headline where no source reaches the threshold, if another."""
    only_candidate: str = ""
    """Headline where one source reaches the threshold, if another."""
    member_only_candidate: str = ""
    """Why it is in then."""
    member_alone: str = ""
    """Why the only one of several candidates is in, if another reason."""
    always: bool = False
    """Whether the headline also stands while a memory keeps the group."""


@dataclass(frozen=True)
class Rule:
    """One way of deciding; `dtvg.rule.rules.RULES` lists them all."""

    name: str
    summary: str
    """Which sources it takes, in a phrase that completes "the group is …"."""
    choose: Callable[[Ranking[Any]], tuple[Any, Any]]
    """Members `[... n]` of the group it takes afresh, and `consistency_margin` `[...]`."""
    objective: Callable[[Ranking[Any], Any], Any]
    """What it maximises, for any group `[... n]`: the number `[...]` that hysteresis compares.
    −∞ for a group that it could never choose at this step."""
    margin: Callable[[Grouping[Any]], Any]
    """`Grouping.similarity_margin` `[... n]` of a group it took afresh."""
    words: Words
    blur: Callable[[Ranking[Any], Any], Any] | None = None
    """How far rounding may have moved `objective` `[...]` of a group; None: not at all."""
    switch: Callable[[Grouping[Any]], Any] | None = None
    """`Grouping.switch_change` `[n]` of a group it took afresh; None: no source's own similarity
    moves it in or out."""
    offered: bool = True
    """Whether it is a setting of method `dtvg`; else only other methods decide by it."""
    takes_prefix: bool = False
    """Whether the group is always the first k of the ranked candidates."""
    searches_subsets: bool = False
    """Whether all 2^n subsets are compared: how many sources and steps fit is limited."""
    never_regroups: bool = False
    """Whether the first step's group stays for ever."""
    asks_target: bool = True
    """Whether it depends on the similarities: without a target vector it takes no source."""
    asks_cut: bool = True
    """Whether the threshold decides who may be taken; `exact` asks it over candidates only."""
    constant: bool = False
    """Whether the group is the same at every step, whatever the vectors."""
    draws: bool = False
    """Whether chance decides, from the run's seed and the step."""
    control: bool = False
    """Whether it is a control for the paper's rule rather than a way to choose well."""
    own_settings: tuple[str, ...] = ()
    """Settings that no other rule reads."""
