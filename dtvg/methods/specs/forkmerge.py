"""ForkMerge: branches with one source's data each, merged by searched weights.

Its settings; the code is `dtvg.methods.forkmerge`. arXiv 2301.12618.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from dtvg.methods.specs.base import Kind, MethodConfig, Needs, Subset
from dtvg.methods.specs.rates import ADAPTED


class ForkMerge(MethodConfig):
    """Fork every K steps into branches with one source's data each; merge by validation."""

    title = "ForkMerge"
    paper = "ForkMerge, arXiv 2301.12618"
    summary = "Branches without and with one source's data each, merged by searched weights."
    kind = Kind.MERGING
    version = 2
    earlier = (1,)
    weights = "learned"
    own = ADAPTED
    trains_scales = False

    name: Literal["forkmerge"] = "forkmerge"
    merge_every: int = Field(
        50,
        ge=1,
        le=10**8,
        description="K: branches are merged after steps K, 2K, ... and at the end.",
    )
    grid: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (0.25, 0.5, 0.75),
        min_length=1,
        description="Weights tried for a branch when it is mixed into the best mixture so far, as "
        "shares of the mean weight of the branches before it.",
    )
    search_examples: int = Field(
        100,
        ge=1,
        le=10**9,
        description="Validation rows used to choose the weights; at most evaluation.max_examples.",
    )

    def needs(self, sources: Subset, target: str, few_shot: bool = False) -> Needs:
        """Every task's prompt; a branch without source, and one with the data of each."""
        plain = super().needs(sources, target, few_shot)
        branches = ((), *((source,) for source in sources))
        return replace(plain, branches=branches, source_data=True)

    def as_of(self, version: int) -> MethodConfig:
        """Version 1 branched by adding source vectors to the prompt."""
        return VectorForkMerge.model_construct(**dict(self)) if version == 1 else self


class VectorForkMerge(ForkMerge):
    """ForkMerge as of version 1: a source takes part through its vector."""

    code = "dtvg.methods.earlier.forkmerge_1"
    trains_scales = True

    def needs(self, sources: Subset, target: str, few_shot: bool = False) -> Needs:
        """The branches trained on the target's data only."""
        return replace(super().needs(sources, target, few_shot), source_data=False)
