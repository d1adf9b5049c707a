"""Multitask prompt tuning: a distilled shared prompt times a rank-one matrix.

Its settings; the code is `dtvg.methods.mpt`. arXiv 2303.02861.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field

from dtvg.methods.specs.base import Kind, MethodConfig, Mixture, Needs, Subset
from dtvg.methods.specs.mpt_sources import MptSources
from dtvg.methods.specs.rates import OwnRates


class Mpt(MethodConfig):
    """One shared prompt times a rank-one matrix per task, distilled from the sources."""

    title = "Multitask prompt tuning"
    paper = "Wang et al. 2023, arXiv 2303.02861"
    summary = "A shared prompt distilled from the sources, times the target's rank-one matrix."
    kind = Kind.BASELINE
    reads = "prompts"
    weights = "learned"
    trains_scales = False
    own = OwnRates(0.3, gate=0.4, decay=1e-5, source="Wang et al. 2023, 0.4 for u and v")
    prepares = (MptSources,)

    name: Literal["mpt"] = "mpt"
    start: Literal["fit", "mean"] = Field(
        "fit",
        description="The target's rank-one matrix starts as close as possible to its Stage I "
        "prompt, or at the mean of the sources' matrices.",
    )
    distil: Literal["backbone", "prompts"] = Field(
        "backbone",
        description="The shared prompt is distilled from the teachers on the sources' data, or "
        "fitted to the teachers' prompts without data.",
    )
    distil_weight: float = Field(
        0.9,
        ge=0,
        le=1e6,
        description="λ: weight of the teachers' logits and hidden states in that loss.",
    )
    iterations: int = Field(
        20, ge=1, le=1000, description="Rounds of the least squares that fit the prompts."
    )

    def needs(self, sources: Subset, target: str, few_shot: bool = False) -> Needs:
        """Every task's prompt, and source training where the backbone distils."""
        plain = super().needs(sources, target, few_shot)
        if self.distil == "prompts":
            return plain
        method = MptSources(distil_weight=self.distil_weight, iterations=self.iterations)
        return replace(plain, mixture=Mixture(sources, method))

    def unread(self) -> dict[str, str]:
        """Without data there is no loss to weigh."""
        why = "only 'distil: backbone' has such a loss"
        return {"distil_weight": why} if self.distil == "prompts" else {}

    @property
    def continues_target(self) -> bool:
        """Where the product starts as close as possible to the target's Stage I prompt."""
        return self.start == "fit"

    def gate_count(self, length: int, width: int, sources: int) -> int:
        """The target's rank-one matrix."""
        return length + width
