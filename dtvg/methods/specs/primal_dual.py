"""Primal-dual relations: sources weighed by a task-relation matrix.

Its settings; the code is `dtvg.methods.primal_dual`. arXiv 2004.01305.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dtvg.methods.specs.base import Kind, MethodConfig
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
        description="Probability that a task skips a round; its exchange is postponed.",
    )
