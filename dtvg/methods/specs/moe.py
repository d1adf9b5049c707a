"""Mixture of experts: for every example, a sparse gate over the source vectors.

Its settings; the code is `dtvg.methods.moe`. arXiv 2204.07689.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from dtvg.methods.specs.base import Kind, MethodConfig
from dtvg.methods.specs.rates import GATED


class Moe(MethodConfig):
    """For every example, a sparse gate over the source vectors as experts."""

    title = "After sparse mixture of experts (2204.07689)"
    paper = "Sparsely Activated Mixture-of-Experts, arXiv 2204.07689"
    summary = "A task-aware gate picks k source vectors for every example, with load balance."
    kind = Kind.ATTENTION
    after = "sparse mixture of experts (2204.07689)"
    weights = "learned"
    trains_scales = False
    instance_wise = True
    own = GATED

    name: Literal["moe"] = "moe"
    k: int = Field(
        2,
        ge=1,
        le=10**9,
        description="Sources chosen for an example; all of them where there are fewer.",
    )
    noise: float = Field(
        0.1,
        ge=0,
        le=1e6,
        description="Standard deviation of the noise on the gate's logits in training.",
    )
    balance: float = Field(
        0.01,
        ge=0,
        le=1e6,
        description="λ: weight of the load balance penalty; 0 lets the gate specialise.",
    )
    softmax_over: Literal["chosen", "all"] = Field(
        "chosen",
        description="Softmax over the chosen sources, or over all sources, with the others set "
        "to 0.",
    )
    task_width: int = Field(16, ge=1, le=1024, description="Width of the learned task embedding.")

    @model_validator(mode="after")
    def _gate_learns(self) -> Self:
        if self.k == 1 and self.softmax_over == "chosen":
            raise ValueError(
                "with k = 1 the chosen source's weight is always 1 and the gate learns nothing "
                "from the loss; set 'softmax_over' to 'all', or k to 2 or more"
            )
        return self

    def gate_count(self, length: int, width: int, sources: int) -> int:
        """The gate over input and task embedding, and the task embedding."""
        return (width + self.task_width) * sources + self.task_width
