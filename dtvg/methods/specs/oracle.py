"""Oracle: a run on every subset of the sources, the reference for every grouping.

Its settings; the code is `dtvg.methods.oracle`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from dtvg.methods.specs.base import Kind, MethodConfig, Role, Subset
from dtvg.methods.specs.trials import (
    SubsetConfig,
    all_subsets,
    drawn_count,
    drawn_subsets,
    list_of_names,
)

WHOLE = 6
"""Sources up to which every subset is trained."""


class Oracle(SubsetConfig):
    """Train on every subset of the sources: the best one is what a grouping could have found."""

    title = "Oracle (every subset)"
    paper = "ours: exhaustive search, the reference for every grouping"
    summary = "One run per subset of sources (sampled beyond 6); the best subset is the reference."
    kind = Kind.ORACLE
    role = Role.SUBSET

    name: Literal["oracle"] = "oracle"
    samples: int = Field(
        64, ge=2, le=4096, description="Subsets to train where there are more than 6 sources."
    )
    draw_seed: int = Field(0, ge=0, le=2**63 - 1, description="Seed of that sample.")
    among: Annotated[Subset, BeforeValidator(list_of_names)] = Field(
        (), description="Search the subsets of these sources only; empty: of all of them."
    )

    @classmethod
    def role_of(cls, on_subset: bool) -> Role:
        """Every run is one of the searched subsets."""
        return cls.role

    def expand(self, sources: Subset) -> tuple[MethodConfig, ...]:
        """Every subset, the empty one included, for up to 6 sources; a sample beyond."""
        if self.subset is not None:
            return (self,) if set(self.subset) <= set(sources) else ()
        sources = tuple(s for s in sources if not self.among or s in self.among)
        plain = self.model_copy(update={"among": ()})
        if len(sources) <= WHOLE:
            return tuple(plain.of(subset) for subset in all_subsets(sources))
        drawn = drawn_subsets(sources, self.samples, 0.5, self.draw_seed)
        return tuple(plain.of(subset) for subset in drawn)

    def run_count(self, sources: int) -> int:
        """One run per subset."""
        if self.subset is not None:
            return 1
        sources = min(sources, len(self.among) or sources)
        return 2**sources if sources <= WHOLE else drawn_count(sources, self.samples)

    def named_sources(self) -> Subset:
        """The sources of the subset, or those among which is searched."""
        return self.subset or self.among
