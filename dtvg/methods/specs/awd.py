"""Adaptive weight disentanglement: a redundant vector is subtracted.

Its settings; the code is `dtvg.methods.awd`. arXiv 2411.18729.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dtvg.methods.specs.base import Kind
from dtvg.methods.specs.merged import MergingConfig


class Awd(MergingConfig):
    """Source vectors minus a learned redundant vector, near-orthogonal, added up."""

    title = "Adaptive weight disentanglement"
    paper = "Adaptive Weight Disentanglement, arXiv 2411.18729"
    summary = "A learned redundant vector is subtracted from every source; the rest is added up."
    kind = Kind.MERGING

    name: Literal["awd"] = "awd"
    norm_weight: float = Field(
        0.1,
        ge=0,
        le=1e6,
        description="Weight of the redundant vector's length relative to orthogonality.",
    )
    iterations: int = Field(
        300, ge=0, le=10_000, description="Adam steps that learn the redundant vector."
    )
    learning_rate: float = Field(
        0.01,
        gt=0,
        le=1e3,
        description="Step size, as a share of the vectors' root mean square entry.",
    )

    def unread(self) -> dict[str, str]:
        """How the vector is learned, where it is not."""
        names, why = ("norm_weight", "learning_rate"), "with 'iterations: 0' nothing is learned"
        return {} if self.iterations else dict.fromkeys(names, why)
