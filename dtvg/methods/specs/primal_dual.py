"""Primal-dual relations: sources weighed by a task-relation matrix.

Its settings; the code is `dtvg.methods.primal_dual`. arXiv 2004.01305.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from dtvg.methods.specs.base import Kind, MethodConfig, Subset
from dtvg.methods.specs.rates import ADAPTED


class PrimalDual(MethodConfig):
    """An online task-relation matrix, learned in the dual, weighs the sources."""

    title = "After primal-dual online MTL (2004.01305)"
    paper = "Distributed Primal-Dual Online Multi-Task Learning, arXiv 2004.01305"
    summary = "A task-relation matrix learned online from per-task duals weighs the sources."
    kind = Kind.MERGING
    after = "primal-dual online MTL (2004.01305)"
    weights = "learned"
    trains_scales = False
    own = ADAPTED

    name: Literal["primal_dual"] = "primal_dual"
    rate: float = Field(
        5.0, gt=0, le=1e3, description="η: how sharply the relation matrix follows the duals."
    )
    skip: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Probability that a task skips a round; its exchange is postponed. With "
        "`share`: that a run skips an exchange.",
    )
    share: tuple[str, ...] = Field(
        (),
        exclude_if=lambda targets: not targets,
        description="All targets, whose runs of a seed then share one relation matrix across "
        "cohorts and machines; empty: every run has its own.",
    )
    every: int = Field(
        1,
        ge=1,
        le=10**6,
        exclude_if=lambda steps: steps == 1,
        description="k, with `share`: steps from one exchange to the next.",
    )

    @model_validator(mode="after")
    def _shares_with_others(self) -> Self:
        repeated = [name for i, name in enumerate(self.share) if name in self.share[:i]]
        if repeated:
            raise ValueError(f"'share' names '{repeated[0]}' twice; name each target once")
        if len(self.share) == 1:
            raise ValueError(
                f"'share' names '{self.share[0]}' alone, with which nothing can be shared; name at "
                "least two targets, or leave it out"
            )
        if self.every != 1 and not self.share:
            raise ValueError(
                f"'every' is {self.every}, but nothing is exchanged without 'share'; name the "
                "targets there, or leave 'every' out"
            )
        return self

    def exchanges_with(self, target: str) -> Subset:
        """Return the other targets, in the order of `share`."""
        return tuple(name for name in self.share if name != target)
