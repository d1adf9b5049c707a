"""ForkMerge: branches with one source each, merged by searched weights.

Its settings; the code is `dtvg.methods.forkmerge`. arXiv 2301.12618.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from dtvg.methods.specs.base import MethodConfig, Needs, Subset
from dtvg.methods.specs.rates import ADAPTED


class ForkMerge(MethodConfig):
    """Fork every K steps into branches with one source each; merge by what validation says."""

    title = "ForkMerge"
    paper = "ForkMerge, arXiv 2301.12618"
    summary = "Branches with no source and with one source each, merged by searched weights."
    weights = "learned"
    own = ADAPTED

    name: Literal["forkmerge"] = "forkmerge"
    merge_every: int = Field(
        50, ge=1, description="K: branches are merged after steps K, 2K, ... and at the end."
    )
    grid: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (0.25, 0.5, 0.75),
        min_length=1,
        description="Weights tried for a branch when it is mixed into the best mixture so far.",
    )
    search_examples: int = Field(
        100,
        ge=1,
        description="Validation rows used to choose the weights; at most evaluation.max_examples.",
    )

    def needs(self, sources: Subset, target: str, few_shot: bool = False) -> Needs:
        """Every task's prompt; a branch without source, and one with each."""
        plain = super().needs(sources, target, few_shot)
        return replace(plain, branches=((), *((source,) for source in sources)))
