"""TAPS: per token the shared prompt or the target's own, by a learned gate.

Its settings; the code is `dtvg.methods.taps`. arXiv 2203.16708.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dtvg.methods.specs.base import Kind, MethodConfig
from dtvg.methods.specs.rates import GATED


class Taps(MethodConfig):
    """Per token, the shared prompt or the target's own, by a learned gate."""

    title = "TAPS"
    paper = "Task Adaptive Parameter Sharing, arXiv 2203.16708"
    summary = "Learned 0/1 gates per token: the shared prompt, or the target's own token."
    kind = Kind.MERGING
    version = 3
    earlier = (1, 2)
    weights = "learned"
    trains_scales = False
    own = GATED

    name: Literal["taps"] = "taps"
    base: Literal["mean_sources", "init"] = Field(
        "mean_sources", description="The shared prompt: mean of the sources', or the initial one."
    )
    threshold: float = Field(0.1, description="τ: a gate is open while its score reaches this.")
    score_start: float = Field(0.2, description="Scores at the start; above the threshold: open.")
    sparsity: float = Field(
        0.05,
        ge=0,
        le=1e6,
        description="λ: weight of the mean score, which pushes gates towards closed.",
    )

    def gate_count(self, length: int, width: int, sources: int) -> int:
        """One score per token."""
        return length

    @property
    def continues_target(self) -> bool:
        """It goes on from the shared prompt."""
        return False

    def as_of(self, version: int) -> MethodConfig:
        """Version 1 started at the target's Stage I prompt; neither it nor version 2 took Stage I's
        steps for `optim.equal_target_steps`."""
        if version == 1:
            return TapsFromTarget.model_construct(**dict(self))
        return TapsWithoutMore.model_construct(**dict(self)) if version == 2 else self


class TapsWithoutMore(Taps):
    """TAPS as of version 2."""

    def budget(self, stage_one: int, transfer: int, equal: bool = False) -> int:
        """Stage II's steps, whatever was asked for."""
        return transfer


class TapsFromTarget(Taps):
    """TAPS as of version 1."""

    code = "dtvg.methods.earlier.taps_1"

    @property
    def continues_target(self) -> bool:
        """It started at the target's own prompt."""
        return True
