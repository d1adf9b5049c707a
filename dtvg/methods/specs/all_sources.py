"""All sources: every vector merged at every step, without grouping.

Its settings; the code is `dtvg.methods.all_sources`. arXiv 2503.18063, ablations.
"""

from __future__ import annotations

from typing import Literal

from dtvg.methods.specs.base import Kind, MethodConfig, Subset


class AllSources(MethodConfig):
    """Merge every source at every step: DTVG without grouping."""

    title = "All sources"
    paper = "DTVG ablation, arXiv 2503.18063"
    summary = "Every source's vector merged at every step, no grouping."
    kind = Kind.BASELINE
    weights = "grouped"

    name: Literal["all_sources"] = "all_sources"

    @classmethod
    def always_merges(cls, sources: Subset) -> Subset | None:
        """Every source."""
        return sources
