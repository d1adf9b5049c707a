"""ATTEMPT: for every example, attention over the source prompts.

Its settings; the code is `dtvg.methods.attempt`. arXiv 2205.11961.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from dtvg.methods.specs.base import Kind, MethodConfig
from dtvg.methods.specs.rates import OwnRates


class Attempt(MethodConfig):
    """For every example, attention over source prompts and the target's own prompt."""

    title = "ATTEMPT"
    paper = "Asai et al. 2022, arXiv 2205.11961"
    summary = "Instance-wise attention over the source prompts and the target's own."
    kind = Kind.ATTENTION
    reads = "prompts"
    weights = "learned"
    trains_scales = False
    instance_wise = True
    own = OwnRates(0.3, gate=0.3, decay=1e-5, source="Asai et al. 2022, 0.3 for both")

    name: Literal["attempt"] = "attempt"
    temperature: float = Field(
        math.e,
        gt=0,
        le=1e6,
        description="T / d: attention logits are divided by this value times the width d.",
    )
    projection: int = Field(
        100, ge=1, le=4096, description="k: width of the attention network's projection."
    )
    attention: Literal["shared", "own"] = Field(
        "shared", description="One attention network for all prompts, or one for each prompt."
    )

    def gate_count(self, length: int, width: int, sources: int) -> int:
        """Both projections and the layer norm."""
        networks = 1 if self.attention == "shared" else sources + 1
        return networks * 2 * width * (self.projection + 1)
