"""SPoT that chooses its source again every k steps.

Its settings; the code is `dtvg.methods.spot_dynamic`. SPoT is arXiv 2110.07904.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field

from dtvg.methods.specs.base import MethodConfig
from dtvg.methods.specs.rates import PLAIN
from dtvg.rule.types import RuleSettings


class SpotDynamic(MethodConfig):
    """SPoT that chooses again every k steps and restarts from the source that is nearest then."""

    title = "SPoT, choosing again"
    paper = "ours; SPoT is Vu et al. 2022, arXiv 2110.07904"
    summary = "SPoT whose source is chosen again every k steps; a new source restarts the prompt."
    reads = "prompts"
    weights = "grouped"
    rates = "stage_one"
    own = PLAIN
    trains_scales = False

    name: Literal["spot_dynamic"] = "spot_dynamic"
    regroup_every: int = Field(
        100, ge=1, description="k: the source is chosen again at steps 1, 1 + k, 1 + 2k, …"
    )

    @property
    def continues_target(self) -> bool:
        """It goes on from a source's prompt."""
        return False

    def grouping_settings(self) -> RuleSettings:
        """Settings of `decide` that give the logged choice: cosines of pooled prompts."""
        return replace(super().grouping_settings(), regroup_every=self.regroup_every)
