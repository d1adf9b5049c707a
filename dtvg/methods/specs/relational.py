"""Relational context: per source a searched kind of context.

Its settings; the code is `dtvg.methods.relational`. arXiv 2104.13874.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dtvg.methods.specs.base import Kind, MethodConfig
from dtvg.methods.specs.rates import GATED


class Relational(MethodConfig):
    """Per source one kind of context, chosen by differentiable search."""

    title = "After ATRC (2104.13874)"
    paper = "Exploring Relational Context (ATRC), arXiv 2104.13874"
    summary = "For each source, a searched kind of context: token by token, attended, or none."
    kind = Kind.ATTENTION
    after = "ATRC (2104.13874)"
    weights = "learned"
    own = GATED

    name: Literal["relational"] = "relational"
    projection: int = Field(
        16, ge=1, le=1024, description="h: width of the attention's queries and keys."
    )
    window: int = Field(
        0, ge=0, le=10**9, description="Local context: source tokens at most N places away."
    )
    sample: Literal["soft", "hard"] = Field(
        "soft", description="Relaxed choices in the search, or one-hot ones (straight through)."
    )
    temperature_start: float = Field(
        2.5, gt=0, le=1e6, description="Temperature of the relaxation at the first step."
    )
    temperature_end: float = Field(
        0.1,
        gt=0,
        le=1e6,
        description="Temperature when the search ends; falls exponentially until then.",
    )
    search_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the steps spent on the search; after them the choices are kept.",
    )

    def unread(self) -> dict[str, str]:
        """How is searched, where nothing is."""
        names = ("sample", "temperature_start", "temperature_end")
        why = "with 'search_share: 0' every source gives its local context from the start"
        return {} if self.search_share else dict.fromkeys(names, why)

    def gate_count(self, length: int, width: int, sources: int) -> int:
        """Three logits per source, queries and keys."""
        return 3 * sources + 2 * width * self.projection
