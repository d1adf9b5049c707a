"""Common settings of the merging methods: one merged vector is added to the target's.

The code they share is `dtvg.methods.merged`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dtvg.methods.specs.base import MethodConfig
from dtvg.methods.specs.rates import ADAPTED


class MergingConfig(MethodConfig):
    """What the methods have in common whose merged vector is added to the target's."""

    own = ADAPTED

    coefficient: float = Field(
        1.0,
        gt=0,
        le=1e6,
        description="λ: factor of the merged vector (its learned scale starts at 1).",
    )
    scale: Literal["merged", "source"] = Field(
        "merged",
        description="Learned scale per token: one for the merged vector, or one for each source.",
    )

    def scale_count(self, sources: int) -> int:
        """One scale for the merged vector, or one per source."""
        return min(1, sources) if self.scale == "merged" else sources
