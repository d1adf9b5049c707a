"""Source training of multitask prompt tuning: what the sources share, learned after teachers.

`P_k = P* ∘ (u_k ⊗ v_kᵀ)` trains on the mixture of the sources' data; every example gets its
own task's prompt and is drawn to the logits and hidden states under that task's Stage I
prompt. The run's mixed prompt is `P*`. arXiv 2303.02861.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from dtvg.methods.base import (
    Examples,
    Inputs,
    InstanceWise,
    MethodState,
    PromptStep,
    Role,
    StepBatch,
    trainable,
)
from dtvg.methods.mpt import factorise, product


class Method(InstanceWise):
    """`mpt_sources`: see the module's first lines."""

    config: Any
    roles: ClassVar[dict[str, Role]] = {"shared": "prompt", "rows": "prompt", "columns": "prompt"}

    def prepare(self, inputs: Inputs) -> MethodState:
        """Start from the factors nearest to the teachers' prompts."""
        prompts = inputs.init[:, None] + inputs.source_vectors
        fits = [factorise(run, self.config.iterations) for run in prompts]

        def stacked(name: str) -> Tensor:
            return trainable(torch.stack([getattr(fit, name) for fit in fits]).to(prompts))

        names = ("shared", "rows", "columns")
        return MethodState(
            {name: stacked(name) for name in names}, {"init": inputs.init, "teachers": prompts}
        )

    def forward(self, state: MethodState, batch: StepBatch | None = None) -> PromptStep:
        """In training one prompt per example; else the shared prompt."""
        if batch is None:
            return PromptStep(state.parameters["shared"].clone())
        return super().forward(state, batch)

    def mix(
        self, state: MethodState, examples: Examples, batch: StepBatch | None = None
    ) -> PromptStep:
        """Give each example its task's prompt and teacher."""
        owner = examples.owner
        task = torch.zeros_like(owner) if examples.tasks is None else examples.tasks
        shared = state.parameters["shared"][owner]
        rows, columns = (state.parameters[name][owner, task] for name in ("rows", "columns"))
        teachers = state.frozen["teachers"][owner, task]
        return PromptStep(
            product(shared, rows, columns), teachers=teachers, teaching=self.config.distil_weight
        )
