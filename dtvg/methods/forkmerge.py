"""ForkMerge: branches with no source and with one source each, merged by searched weights.

Branch 0 trains `P_init + T_0`, branch s trains `P_init + T_s' + α_s ⊙ T_s` (its own copy of the
target's vector with source s merged in), all on the same batches. Every K steps weights Λ on
the branches are searched on validation (`training/forking.py`); every branch goes on from
`Σ_b Λ_b P_b`, and between merges the run's prompt is the mixture of its branches.
Must not import backbones or training. arXiv 2301.12618, algorithm 1.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from dtvg.methods.base import (
    Inputs,
    MethodState,
    PromptStep,
    Role,
    StepBatch,
    TransferMethod,
    trainable,
)
from dtvg.methods.dtvg import decide_on_device
from dtvg.rule.decide import gram_matrix

MIXTURE, MERGED_AT = "mixture", "merged_at"
"""Names in `MethodState.memory`: Λ `[R B]`, and the step `[R]` of the last merge."""


class Method(TransferMethod):
    """`forkmerge`: see the module's first lines."""

    config: Any
    roles: ClassVar[dict[str, Role]] = {"prompt": "prompt", "scale_sources": "scale"}

    def prepare(self, inputs: Inputs) -> MethodState:
        """Fork the target's Stage I prompt; until a merge only the branch without source counts."""
        runs, n, length, _ = inputs.source_vectors.shape
        vectors = inputs.source_vectors
        none = torch.zeros_like(vectors[:, :1])
        mixture = vectors.new_zeros((runs, n + 1))
        mixture[:, 0] = 1.0
        forked = inputs.target_prompt[:, None].expand(-1, n + 1, -1, -1)
        return MethodState(
            {
                "prompt": trainable(forked),
                "scale_sources": trainable(vectors.new_ones((runs, n + 1, length))),
            },
            {"init": inputs.init, "branch_vectors": torch.cat([none, vectors], dim=1)},
            {
                MIXTURE: mixture,
                MERGED_AT: torch.zeros(runs, dtype=torch.int64, device=mixture.device),
            },
        )

    def branches(self, state: MethodState) -> Float[Tensor, "R B r d"]:
        """Return every branch's prompt."""
        scale = state.parameters["scale_sources"][..., None]
        return state.parameters["prompt"] + scale * state.frozen["branch_vectors"]

    def forward(self, state: MethodState, batch: StepBatch | None = None) -> PromptStep:
        """All branches' prompts to train; their mixture to evaluate."""
        branches, mixture = self.branches(state), state.memory[MIXTURE]
        prompt = branches if batch is not None else mix(branches, mixture)
        sources, scale = state.frozen["branch_vectors"][:, 1:], state.parameters["scale_sources"]
        with torch.no_grad():
            own = mix(state.parameters["prompt"], mixture) - state.frozen["init"]
            ones, weights = torch.ones_like(own[..., 0]), mixture[:, 1:]
            gram = gram_matrix(own, sources, ones, scale[:, 1:])
            norms = (scale[:, 1:, :, None] * sources).flatten(2).norm(dim=-1) * weights
            grouping = decide_on_device(gram, self.config.grouping_settings())
        return PromptStep(prompt, weights, grouping, scale[:, 1:].detach().mean(-1), norms)


def mix(prompts: Float[Tensor, "R B r d"], weights: Float[Tensor, "R B"]) -> Tensor:
    """Return `Σ_b Λ_b P_b`, `[R r d]`."""
    return (weights[..., None, None] * prompts).sum(1)
