"""ForkMerge, version 1: branches are copies of one prompt with a source's vector added.

Branch 0 trains `P_init + T_0`, branch s trains `P_init + T_s' + α_s ⊙ T_s`. A merge mixes the
prompts without the sources' parts, so that no branch goes on from the merged prompt: that was
wrong, and is kept only for runs that began so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dtvg.methods.base import (
    Inputs,
    MethodState,
    PromptStep,
    Role,
    Search,
    StepBatch,
    TransferMethod,
    trainable,
)
from dtvg.methods.dtvg import decide_on_device
from dtvg.methods.forkmerge import MERGED_AT, MIXTURE, Merge, WeightSearch, due, mix
from dtvg.rule.decide import gram_matrix


class Method(TransferMethod):
    """`forkmerge`, version 1: see the module's first lines."""

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
            grouping = decide_on_device(gram, self.settings)
        return PromptStep(prompt, weights, grouping, scale[:, 1:].detach().mean(-1), norms)

    def search(self, state: MethodState, row: int, step: int, total: int) -> Search | None:
        """Merge the branches of a run that has just ended a round and has not merged yet."""
        if not due(self.config.merge_every, state, row, step, total):
            return None
        with torch.no_grad():
            branches = self.branches(state)[row]
        return MergeVectors(branches, row, step, self.config.grid, self.config.search_examples)


class MergeVectors(Merge):
    """The merge of version 1: shares of the whole mixture are tried, moments are mixed alike."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.weights = WeightSearch(self.weights.branches, self.weights.grid, bounded=False)

    def apply(self, state: MethodState, moments: Sequence[dict[str, Tensor]]) -> None:
        """Mix the branches' prompts, each without its source's part."""
        apply_weights(state, moments, self.row, self.weights.weights, self.step)


def apply_weights(
    state: MethodState,
    moments: Sequence[dict[str, Tensor]],
    row: int,
    weights: np.ndarray,
    step: int,
) -> None:
    """Let every branch of a run go on from the mixture, Adam's moments mixed alike.

    The run's mixed prompt is the same before and after: prompts are mixed without their
    source's part, which the weights keep.

    Args:
        state: of the stack.
        moments: both of Adam.
        row: the run's in the stack.
        weights: `[B]`.
        step: updates made.
    """
    share = torch.as_tensor(weights).to(state.memory[MIXTURE])
    with torch.no_grad():
        for tensors in (state.parameters, *moments):
            own = tensors["prompt"][row]
            own.copy_((share[:, None, None] * own).sum(0).expand_as(own))
        state.memory[MIXTURE][row] = share
        state.memory[MERGED_AT][row] = step
