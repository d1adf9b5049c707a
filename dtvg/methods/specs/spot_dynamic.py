"""SPoT that chooses its source again every k steps.

Its settings; the code is `dtvg.methods.spot_dynamic`. SPoT is arXiv 2110.07904.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field

from dtvg.methods.specs.base import Kind, MethodConfig, Needs, Subset
from dtvg.methods.specs.rates import PLAIN
from dtvg.rule.types import RuleSettings


class SpotDynamic(MethodConfig):
    """SPoT that chooses again every k steps, by a prompt of the target alone that trains beside."""

    title = "SPoT, choosing again"
    paper = "ours; SPoT is Vu et al. 2022, arXiv 2110.07904"
    summary = "SPoT that ranks again every k steps by a target-only prompt trained beside."
    kind = Kind.GROUPING
    version = 2
    earlier = (1,)
    reads = "prompts"
    weights = "grouped"
    rates = "stage_one"
    own = PLAIN
    trains_scales = False

    name: Literal["spot_dynamic"] = "spot_dynamic"
    regroup_every: int = Field(
        100,
        ge=1,
        le=10**8,
        description="k: the source is chosen again at steps 1, 1 + k, 1 + 2k, …",
    )

    @property
    def continues_target(self) -> bool:
        """It goes on from a source's prompt."""
        return False

    def needs(self, sources: Subset, target: str, few_shot: bool = False) -> Needs:
        """Every task's prompt; the prompt and the reference are two branches."""
        return replace(super().needs(sources, target, few_shot), branches=((), ()))

    def as_of(self, version: int) -> MethodConfig:
        """Version 1 ranked by the tuned prompt itself."""
        return SpotDynamicByItself.model_construct(**dict(self)) if version == 1 else self

    def grouping_settings(self) -> RuleSettings:
        """Settings of `decide` that give the logged choice: cosines of pooled prompts."""
        return replace(super().grouping_settings(), regroup_every=self.regroup_every)


class SpotDynamicByItself(SpotDynamic):
    """SPoT that chooses again as of version 1."""

    code = "dtvg.methods.earlier.spot_dynamic_1"
