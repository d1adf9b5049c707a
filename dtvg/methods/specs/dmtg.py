"""DMTG: which sources share the target's group, learned by Gumbel-softmax.

Its settings; the code is `dtvg.methods.dmtg`. arXiv 2407.05082.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dtvg.methods.specs.base import Kind, MethodConfig
from dtvg.methods.specs.rates import GATED


class Dmtg(MethodConfig):
    """Which sources share the target's group, learned by Gumbel-softmax in one run."""

    title = "After DMTG (2407.05082)"
    paper = "One-Shot Differentiable Multi-Task Grouping, arXiv 2407.05082"
    summary = "Sources assigned to groups by a learned Gumbel-softmax; one group is the target's."
    kind = Kind.GROUPING
    after = "DMTG (2407.05082)"
    weights = "learned"
    own = GATED

    name: Literal["dmtg"] = "dmtg"
    groups: int = Field(
        2,
        ge=2,
        le=16,
        description="K: number of groups a source can be in; the first is the target's.",
    )
    sample: Literal["soft", "hard"] = Field(
        "soft", description="Relaxed assignments in training, or one-hot ones (straight through)."
    )
    temperature_start: float = Field(
        2.5, gt=0, le=1e6, description="Temperature of the relaxation at the first step."
    )
    temperature_end: float = Field(
        0.1,
        gt=0,
        le=1e6,
        description="Temperature when learning ends; falls exponentially until then.",
    )
    learn_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the steps in which the grouping is learned; after them it is fixed.",
    )

    def unread(self) -> dict[str, str]:
        """How the grouping is learned, where it is not."""
        names = ("groups", "sample", "temperature_start", "temperature_end")
        why = "with 'learn_share: 0' every source is in the target's group from the start"
        return {} if self.learn_share else dict.fromkeys(names, why)

    def gate_count(self, length: int, width: int, sources: int) -> int:
        """One logit per source and group."""
        return sources * self.groups
