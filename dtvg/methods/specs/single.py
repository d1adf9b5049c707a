"""Single source: one given source, or one run for each.

Its settings; the code is `dtvg.methods.single`. arXiv 2503.18063, ablations.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dtvg.methods.specs.base import Kind, MethodConfig, Role, Subset


class Single(MethodConfig):
    """One source's vector is merged at every step; without `source`, one run per source."""

    title = "Single source"
    paper = "DTVG ablation, arXiv 2503.18063"
    summary = "One given source merged at every step; one run per source."
    kind = Kind.BASELINE
    role = Role.SINGLE

    name: Literal["single"] = "single"
    source: str | None = Field(
        None, description="Name of the source task; empty: one run for each source."
    )

    def named_sources(self) -> Subset:
        """The one source, if given."""
        return () if self.source is None else (self.source,)

    def expand(self, sources: Subset) -> tuple[MethodConfig, ...]:
        """One run per source, or the given one where the target has it."""
        if self.source is None:
            return tuple(self.model_copy(update={"source": name}) for name in sources)
        return (self,) if self.source in sources else ()

    def takes(self, sources: Subset) -> Subset:
        """The one source."""
        return sources if self.source is None else (self.source,)

    def run_count(self, sources: int) -> int:
        """One run per source, or one."""
        return sources if self.source is None else 1

    @classmethod
    def always_merges(cls, sources: Subset) -> Subset | None:
        """The one source."""
        return sources

    def stackable(self) -> Single:
        """Which source it is differs run by run."""
        return self.model_copy(update={"source": None})
