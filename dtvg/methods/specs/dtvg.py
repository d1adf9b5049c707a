"""DTVG: the group of sources is decided again at every step.

Its settings; the code is `dtvg.methods.dtvg`. arXiv 2503.18063, sections 3 and 4.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from dtvg.methods.specs.base import Kind, MethodConfig
from dtvg.rule.rules import RULE_NAMES, RULES, RuleName, idle_settings, unread_settings
from dtvg.rule.types import RuleSettings


class Dtvg(MethodConfig):
    """Dynamic task vector grouping: the group is decided again at every step."""

    title = "DTVG"
    paper = "Dynamic Task Vector Grouping, arXiv 2503.18063"
    summary = "Sources ranked by target similarity, grouped by knowledge consistency, every step."
    kind = Kind.GROUPING
    weights = "grouped"

    name: Literal["dtvg"] = "dtvg"
    rule: RuleName = Field(
        "greedy",
        description="How the group is decided: greedy is the paper's, the others are ablations "
        "and controls. " + "; ".join(f"{name}: {RULES[name].summary}" for name in RULE_NAMES) + ".",
    )
    measure: Literal["dot", "cosine"] = Field(
        "dot", description="Inner product of the pooled vectors (the paper's), or their cosine."
    )
    threshold: float = Field(
        0.0, description="Smallest target similarity of a candidate; the paper's is 0."
    )
    consistency_weight: float = Field(
        1.0, ge=0, le=1e6, description="λ of rule exact: weight of consistency against similarity."
    )
    exact_over: Literal["sources", "candidates"] = Field(
        "sources", description="Rule exact searches the subsets of all sources or of candidates."
    )
    exact_similarity: Literal["mean", "sum"] = Field(
        "mean", description="Rule exact takes the mean or the sum of the members' similarities."
    )
    regroup_every: int = Field(
        1, ge=1, le=10**8, description="k: the group may change only at steps 1, 1 + k, 1 + 2k, …"
    )
    hysteresis: float | None = Field(
        None,
        ge=0,
        le=1e6,
        description="Keep the group unless the best one's objective (greedy: consistency) exceeds "
        "its own by more than this; empty: always take the best.",
    )
    hysteresis_unit: Literal["absolute", "relative"] = Field(
        "absolute",
        description="Hysteresis in units of the objective, or as a share of the best objective.",
    )
    schedule: Literal["regular", "random"] = Field(
        "regular",
        description="Regroup at the first of every k steps, or (a control) at one of every k that "
        "is drawn by the run's seed: as many regroupings, at random times.",
    )
    shuffled: bool = Field(
        False,
        description="A control: one random order of the d entries for all source vectors. Norms "
        "and products between sources stay, the relation to the target goes.",
    )
    init_only: bool = Field(
        False,
        description="A control: start where the first step composes the prompt, then tune it "
        "alone, without sources.",
    )
    nonnegative_scale: bool = Field(
        False,
        description="A control: scales are the sizes of the learned numbers, so that no source is "
        "subtracted.",
    )
    scale_activation: Literal["identity", "sigmoid", "relu"] = Field(
        "identity", description="What the learned scales pass through; the paper's is identity."
    )

    def grouping_settings(self) -> RuleSettings:
        """Settings of `decide` that reproduce this method's decisions."""
        names = [name for name in RuleSettings.names() if name != "version"]
        return RuleSettings(**{name: getattr(self, name) for name in names})

    @property
    def module(self) -> str:
        """Tuning from a start is code of its own."""
        return "dtvg.methods.init_only" if self.init_only else super().module

    @property
    def has_scales(self) -> bool:
        """After a start there is nothing to scale."""
        return not self.init_only

    @property
    def can_hold(self) -> bool:
        """After a start no group is merged that a source could be held in."""
        return not self.init_only and super().can_hold

    @property
    def scales_pass(self) -> str:
        """What the learned scales pass through: `scale_activation`, or their size."""
        return "absolute value" if self.nonnegative_scale else self.scale_activation

    def part_of_label(self, key: str, value: Any) -> str:
        """Switches by their names alone; a random schedule is not a random rule."""
        if key == "schedule":
            return f"{key}_{value}"
        return key if value is True else super().part_of_label(key, value)

    def unread(self) -> dict[str, str]:
        """What its rule does not read."""
        return unread_settings(self.grouping_settings())

    @model_validator(mode="after")
    def _every_setting_has_an_effect(self) -> Self:
        idle = idle_settings(self.grouping_settings())
        if self.nonnegative_scale and self.init_only:
            idle = "with 'init_only' no scale is trained, so 'nonnegative_scale' has no effect"
        elif self.nonnegative_scale and self.scale_activation != "identity":
            idle = (
                f"scales through {self.scale_activation} are never negative, so "
                "'nonnegative_scale' has no effect; leave one of them out"
            )
        if idle:
            raise ValueError(idle)
        return self
