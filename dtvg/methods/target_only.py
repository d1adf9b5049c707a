"""Target only: the target's vector with its learned per-token scale, no sources.

`P = P_init + α_t ⊙ (P_t − P_init)`. The paper's ablation without transfer. arXiv 2503.18063,
section 4.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from dtvg.methods.base import (
    Inputs,
    MethodState,
    PromptStep,
    Role,
    StepBatch,
    TransferMethod,
    trainable,
)


class Method(TransferMethod):
    """`target_only`: see the module's first lines."""

    roles: ClassVar[dict[str, Role]] = {"prompt": "prompt", "scale_target": "scale_target"}

    def prepare(self, inputs: Inputs) -> MethodState:
        """Start from the Stage I prompt and scales of 1."""
        ones = torch.ones(
            inputs.init.shape[:-1], dtype=inputs.init.dtype, device=inputs.init.device
        )
        return MethodState(
            {"prompt": trainable(inputs.target_prompt), "scale_target": trainable(ones)},
            {"init": inputs.init},
        )

    def forward(self, state: MethodState, batch: StepBatch | None = None) -> PromptStep:
        """Scale the target's vector."""
        init = state.frozen["init"]
        vector = state.parameters["prompt"] - init
        return PromptStep(init + state.parameters["scale_target"][..., None] * vector)
