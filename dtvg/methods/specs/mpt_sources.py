"""Source training of `mpt`: what the sources share, learned after teachers.

Its settings; the code is `dtvg.methods.mpt_sources`. arXiv 2303.02861.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dtvg.methods.specs.base import MethodConfig, Needs, Role, StageOne, Subset


class MptSources(MethodConfig):
    """Source training of `mpt`: a shared prompt and rank-one matrices that follow the teachers.

    Not a transfer method and not listed with them; it trains on the mixture of the sources.
    """

    title = "Multitask prompt tuning, source training"
    paper = "Wang et al. 2023, arXiv 2303.02861"
    summary = "A shared prompt times a rank-one matrix per source, distilled from their prompts."
    reads = "mixture"
    rates = "stage_one"
    trains_scales = False
    role = Role.MIXTURE

    name: Literal["mpt_sources"] = "mpt_sources"
    distil_weight: float = Field(
        0.9,
        ge=0,
        le=1e6,
        description="λ: weight of the teachers' logits and hidden states in the loss.",
    )
    iterations: int = Field(
        20, ge=1, le=1000, description="Rounds of the least squares that give the starting point."
    )

    def needs(self, sources: Subset, target: str, few_shot: bool = False) -> Needs:
        """The sources' own prompts, which are the teachers."""
        return Needs(stage_one=tuple(StageOne(source) for source in sources))

    def gate_count(self, length: int, width: int, sources: int) -> int:
        """A rank-one matrix per source."""
        return sources * (length + width)
