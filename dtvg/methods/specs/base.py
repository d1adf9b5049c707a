"""What every transfer method's configuration has in common, and what methods may need.

A method says here what its runs start from and wait for (`needs`), so that planning, training
and pages name no method. docs/methods.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from dtvg.methods.specs.rates import ENTRY_FIELDS, RATE_FIELDS, TUNED, OwnRates, Rated, Tuned
from dtvg.names import number_in_name, word_in_name
from dtvg.rule.types import RuleSettings

STORED = "stored"
"""Pydantic's context in which an experiment that was made before a refusal opens all the same."""
Subset = tuple[str, ...]
"""Names of sources, in the order of all sources."""


class Role(StrEnum):
    """What a run is for in a comparison."""

    HEADLINE = auto()
    """A row that a person chooses between."""
    SINGLE = auto()
    """One source alone; compared as the best of its kind and as their mean."""
    SUBSET = auto()
    """One subset of an exhaustive search; together they are the reference for every grouping."""
    TRIAL = auto()
    """One subset tried so that another run of its method can choose its sources."""
    STAGE_ONE = auto()
    """Stage I tuning of one task."""
    MIXTURE = auto()
    """Stage I tuning of a mixture of sources."""

    @property
    def on_subset(self) -> bool:
        """Whether the run judges one subset of the sources: no row of a comparison by itself."""
        return self in (Role.SUBSET, Role.TRIAL)

    @property
    def in_stage_one(self) -> bool:
        """Whether the run makes a prompt that transfer runs start from."""
        return self in (Role.STAGE_ONE, Role.MIXTURE)


class Kind(StrEnum):
    """What sort of method it is; forms and lists put methods of one kind together."""

    BASELINE = auto()
    GROUPING = auto()
    MERGING = auto()
    ATTENTION = auto()
    ORACLE = auto()
    OTHER = auto()

    @property
    def line(self) -> str:
        """What methods of this kind have in common, in one line."""
        return _LINES[self]


_LINES = {
    Kind.BASELINE: "What a method has to beat: no source, one source, or all of them alike.",
    Kind.GROUPING: "Choose which sources take part, before or during training.",
    Kind.MERGING: "Merge the vectors or prompts of all sources, entry by entry or by weights.",
    Kind.ATTENTION: "Weigh sources anew for every example or token.",
    Kind.ORACLE: "Try every subset: the reference for all the others, and the most work.",
    Kind.OTHER: "Methods of other packages.",
}


@dataclass(frozen=True)
class StageOne:
    """A task's own prompt, tuned before the run."""

    task: str
    few_shot: bool = False
    """Whether on the few rows of a few-shot target instead of the whole task."""


@dataclass(frozen=True)
class Mixture:
    """A prompt trained before the run on the mixture of some sources."""

    sources: Subset
    method: MethodConfig
    """What is trained there; its own `needs` say whether it has teachers."""


@dataclass(frozen=True)
class Needs:
    """What must be there before a run can start, and into what it branches."""

    stage_one: tuple[StageOne, ...] = ()
    mixture: Mixture | None = None
    trials: tuple[MethodConfig, ...] = ()
    """Runs on the same target and seed that must have finished; `choose` reads their scores."""
    branches: tuple[Subset, ...] = ()
    """Sources of each branch that trains side by side within the run; empty: it does not branch."""
    source_data: bool = False
    """Whether a branch trains on its sources' data as well as on the target's."""

    @property
    def batches(self) -> int:
        """Batches of examples that a step of the run trains on."""
        if not self.branches:
            return 1
        return sum(1 + (len(branch) if self.source_data else 0) for branch in self.branches)


@dataclass(frozen=True)
class Choice:
    """Which sources a run merges after its trials, and what is said about it."""

    chosen: tuple[bool, ...]
    sentence: str
    """For the run's events."""
    note: Mapping[str, Any]
    """For the run's result."""
    candidates: tuple[tuple[bool, ...], ...] = ()
    """Subsets that the run trains side by side to keep the best; empty: only the one chosen."""


class MethodConfig(Rated):
    """What every transfer method's configuration has in common.

    Class variables say what kind of method it is; subclasses override those that differ.
    """

    title: ClassVar[str]
    paper: ClassVar[str]
    summary: ClassVar[str]
    kind: ClassVar[Kind] = Kind.OTHER
    """With which methods it is listed."""
    after: ClassVar[str] = ""
    """Method and paper that this is an adaptation of, not that method as its authors run it; empty:
    it is run as they do, or ours. Said wherever the method is named to people."""
    version: ClassVar[int] = 1
    """Raised when the same settings give other numbers than before; written into each run."""
    earlier: ClassVar[tuple[int, ...]] = ()
    """Earlier versions whose half-trained runs the code can still go on with."""
    code: ClassVar[str] = ""
    """Module whose class `Method` trains it; empty: the one of the same name in `dtvg.methods`.
    Methods of other packages name theirs."""
    prepares: ClassVar[tuple[type[MethodConfig], ...]] = ()
    """Classes of its own that `needs` trains on mixtures."""

    reads: ClassVar[Literal["nothing", "mixture", "prompts", "vectors"]] = "vectors"
    """How a run meets its sources: not at all, only through what was trained on their mixture, as
    prompts that are ranked by cosine, or as vectors whose Gram matrix is logged at every step."""
    weights: ClassVar[Literal["grouped", "all", "given", "learned"]] = "all"
    """Who says how much of a source is merged: a rule that groups again at every step and can be
    told to hold sources, nobody since all are, a choice made before training, or training."""
    rates: ClassVar[Literal["stage_one", "transfer"]] = "transfer"
    """Which rates of `optim` it takes: plain tuning from another start takes Stage I's."""
    own: ClassVar[OwnRates] = OwnRates()
    """Its rates where neither its entry nor `optim` names any."""
    trains_scales: ClassVar[bool] = True
    """Whether there are learned per-token scales."""
    instance_wise: ClassVar[bool] = False
    """Whether every example gets its own prompt; `mixed_prompt` in files is then their mean."""
    role: ClassVar[Role] = Role.HEADLINE
    """What its runs are for, where they do not judge a subset of sources."""
    candidate: ClassVar[bool] = True
    """Whether a person would choose it; a row that only explains others is in no family."""

    name: str
    tuned: Tuned | None = Field(
        None, description="How its rates were chosen, where `dtvg tune` chose them."
    )

    @model_validator(mode="after")
    def _rates_have_an_effect(self) -> Self:
        if self.code:  # of another package, which may train what its settings do not tell
            return self
        for what, name in ENTRY_FIELDS.items():
            if getattr(self, name) is not None and what not in (*self.rated, "decay"):
                raise ValueError(
                    f"method '{self.name}' trains nothing at '{name}', so it has no effect; leave "
                    "it out"
                )
        return self

    # -- what follows from the class variables ----------------------------------------------

    @property
    def uses_sources(self) -> bool:
        """Whether a run depends on the target's sources."""
        return self.reads != "nothing"

    @property
    def has_source_vectors(self) -> bool:
        """Whether there is something to group at every step, so a Gram matrix is logged."""
        return self.reads == "vectors" and self.uses_sources

    @property
    def ranks_prompts(self) -> bool:
        """Whether source prompts are ranked by cosine: the logged Gram matrix is of prompts."""
        return self.reads == "prompts"

    @property
    def logs_sources(self) -> bool:
        """Whether a run writes a Gram matrix and a row per source at every step."""
        return self.has_source_vectors or self.ranks_prompts

    @property
    def soft(self) -> bool:
        """Whether weights are given or learned: `member` is weight > 0, nothing is a candidate."""
        return self.weights in ("given", "learned")

    @property
    def can_hold(self) -> bool:
        """Whether sources can be pinned to the group, or banned from it, in mid-run."""
        return self.weights == "grouped" and self.has_source_vectors

    @property
    def module(self) -> str:
        """The module whose class `Method` trains a run of this configuration."""
        return self.code or f"dtvg.methods.{self.name}"

    @property
    def has_scales(self) -> bool:
        """Whether a run of this configuration trains per-token scales."""
        return self.trains_scales

    @property
    def rated(self) -> tuple[str, ...]:
        """What has a learning rate: prompt, scale_target, scale, gate."""
        found = ["prompt"]
        if self.has_scales:
            found += ["scale_target", *(["scale"] if self.scale_count(1) else [])]
        return (*found, *(["gate"] if self.gate_count(1, 1, 1) else []))

    @property
    def continues_target(self) -> bool:
        """Whether the prompt it tunes goes on from the target's own Stage I prompt."""
        return True

    @property
    def proven(self) -> Tuned | None:
        """How its rates were chosen; None where they were not, or were changed since."""
        tuned = self.tuned
        return tuned if tuned is not None and tuned.belongs_to(self.given) else None

    def without_rates(self) -> Self:
        """Return the same settings without rates and budget of its own."""
        return self.model_copy(update=dict.fromkeys((*RATE_FIELDS, TUNED)))

    # -- what runs it stands for -------------------------------------------------------------

    @classmethod
    def role_of(cls, on_subset: bool) -> Role:
        """Return what a run is for.

        Args:
            on_subset: whether the run judges one subset of the sources.
        """
        return Role.TRIAL if on_subset else cls.role

    @property
    def subset_of_sources(self) -> Subset | None:
        """The one subset of the sources that the run judges; None where it is no such run."""
        return None

    @property
    def trial(self) -> bool:
        """Whether the run only serves to judge a subset of sources: no row of a comparison."""
        return self.subset_of_sources is not None

    @property
    def label(self) -> str:
        """Short name that tells variants apart: the name and every setting not at default."""
        parts = [self.name]
        fields = type(self).model_fields
        for key in (*(k for k in fields if k not in RATE_FIELDS), *RATE_FIELDS):
            value, field = getattr(self, key), fields[key]
            if key in ("name", TUNED) or value == field.default or value is None:
                continue
            parts.append(self.part_of_label(key, value))
        return "-".join(parts)

    def part_of_label(self, key: str, value: Any) -> str:
        """Return how the label names a setting that is not at default.

        Args:
            key: the setting.
            value: what it is set to.
        """
        text = _in_letters(value)
        return text if isinstance(value, str) else f"{key.replace('_', '')}{text}"

    def named_sources(self) -> Subset:
        """Return sources this configuration names; they must be among the experiment's."""
        return ()

    def unread(self) -> dict[str, str]:
        """Return settings that nothing reads beside the others as they are: name → why."""
        return {}

    @property
    def idle(self) -> dict[str, str]:
        """Settings that were given another value than the usual one, to no effect: name → why."""
        fields = type(self).model_fields
        return {k: v for k, v in self.unread().items() if getattr(self, k) != fields[k].default}

    def exchanges_with(self, target: str) -> Subset:
        """Return other targets of the experiment whose runs of the same seed, with these very
        settings, tell each other what they learn while they train.

        Args:
            target: of the run.

        Returns:
            Nothing for nearly every method. A method that exchanges does so on every target.
        """
        return ()

    def expand(self, sources: Subset) -> tuple[MethodConfig, ...]:
        """Return the configurations this one stands for on a target with these sources.

        Args:
            sources: the target's sources.

        Returns:
            One per run of a seed; nothing where the method does not apply.
        """
        return () if self.uses_sources and not sources else (self,)

    def run_count(self, sources: int) -> int:
        """Return how many runs `expand` gives at most, without making them."""
        return 1

    def takes(self, sources: Subset) -> Subset:
        """Return those of the target's sources that a run reads."""
        return sources if self.uses_sources else ()

    @classmethod
    def always_merges(cls, sources: Subset) -> Subset | None:
        """Return the sources a run merges from the first step to the last, whatever they are like.

        Such runs, at their default settings, tell what a subset of sources is worth, beside those
        that judge a subset (`subset_of_sources`). None: a run decides for itself, or differs from
        them in more than the subset.

        Args:
            sources: those the run reads.
        """
        return None

    def chosen(self, sources: Subset) -> tuple[bool, ...] | None:
        """Return which sources the configuration itself chooses; None where it chooses none."""
        return None

    def stackable(self) -> Self:
        """Return what runs must agree in to share a stack: without what differs run by run."""
        return self

    # -- what a run starts from and waits for --------------------------------------------------

    def needs(self, sources: Subset, target: str, few_shot: bool = False) -> Needs:
        """Return what must be there before a run can start.

        Args:
            sources: those the run reads.
            target: the task it is trained on; of a run on a mixture, that mixture's name.
            few_shot: whether the target has only a few rows.

        Returns:
            By default the Stage I prompts of the sources and of the target.
        """
        own = StageOne(target, few_shot)
        return Needs(stage_one=(*(StageOne(source) for source in sources), own))

    def choose(
        self, sources: Subset, trials: Sequence[MethodConfig], scores: Sequence[float]
    ) -> Choice:
        """Return which sources to merge, after the trials that `needs` names.

        Args:
            sources: those the run reads.
            trials: the finished ones among them.
            scores: validation score of each, 0..1.

        Raises:
            NumericsError: the trials do not tell.
        """
        raise NotImplementedError(f"method '{self.name}' needs no trials")

    def as_of(self, version: int) -> MethodConfig:
        """Return the configuration under which a run of an earlier version goes on.

        It has the same settings and name; only what they mean is what it was then.

        Args:
            version: that the run was made with.
        """
        return self

    # -- sizes and budgets -----------------------------------------------------------------------

    def budget(self, stage_one: int, transfer: int, equal: bool = False) -> int:
        """Return the optimiser steps of a transfer run.

        Args:
            stage_one: steps of Stage I.
            transfer: steps of Stage II.
            equal: whether a prompt that does not go on from the target's gets Stage I's steps too.
        """
        return transfer + (stage_one if equal and not self.continues_target else 0)

    def scale_count(self, sources: int) -> int:
        """Return how many learned scales `[r]` there are beside the target's."""
        return sources if self.has_scales and self.has_source_vectors else 0

    def gate_count(self, length: int, width: int, sources: int) -> int:
        """Return how many learned gates, assignment logits or attention weights there are."""
        return 0

    def grouping_settings(self) -> RuleSettings:
        """Settings of `decide` that reproduce this method's decisions."""
        if self.ranks_prompts:
            return RuleSettings("nearest", measure="cosine", threshold=float("-inf"))
        return RuleSettings("all_sources")


def _in_letters(value: Any) -> str:
    """Write a setting's value in the letters a name may have."""
    if isinstance(value, tuple | list):
        return "_".join(_in_letters(entry) for entry in value)
    return number_in_name(value) if isinstance(value, float) else word_in_name(str(value).lower())
