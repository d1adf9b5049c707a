"""TAPS: per token, either the shared prompt or the target's own, by a learned gate.

`P = B + g ⊙ (P_t − B)` with `g = 1[s ≥ τ]` per token; scores `s` train straight through the
step and are pushed towards the shared prompt by a sparsity penalty. `B` is the mean of the
source prompts, or the initial prompt, and `P_t` starts there: no change. arXiv 2203.16708.
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


def gates(scores: Float[Tensor, "*batch r"], threshold: float) -> Float[Tensor, "*batch r"]:
    """Return 1 where a score reaches the threshold, else 0; the gradient passes as if `g = s`."""
    hard = (scores >= threshold).to(scores.dtype)
    return hard + (scores - scores.detach())


def mix(
    base: Float[Tensor, "*batch r d"],
    prompt: Float[Tensor, "*batch r d"],
    gate: Float[Tensor, "*batch r"],
) -> Float[Tensor, "*batch r d"]:
    """Return `B + g ⊙ (P_t − B)`: the target's own tokens where the gate is open."""
    return base + gate[..., None] * (prompt - base)


class Method(TransferMethod):
    """`taps`: see the module's first lines."""

    config: Any
    roles: ClassVar[dict[str, Role]] = {"prompt": "prompt", "scores": "gate"}

    def prepare(self, inputs: Inputs) -> MethodState:
        """Start without a change, all gates open: tokens train until their gate closes."""
        vectors = inputs.source_vectors
        n = max(1, vectors.shape[1])
        shared = self.config.base == "mean_sources"
        base = inputs.init + (vectors.sum(1) / n if shared else 0)
        scores = inputs.init.new_full(inputs.init.shape[:-1], self.config.score_start)
        return MethodState(
            {"prompt": trainable(self.start(inputs, base)), "scores": trainable(scores)},
            {"init": inputs.init, "base": base, "source_vectors": vectors},
        )

    def start(self, inputs: Inputs, base: Float[Tensor, "R r d"]) -> Float[Tensor, "R r d"]:
        """Return what the target's own tokens start from: the shared prompt."""
        return base

    def forward(self, state: MethodState, batch: StepBatch | None = None) -> PromptStep:
        """Mix; a source's weight is its share of the shared prompt, its scale 1 − g."""
        prompt, sources = state.parameters["prompt"], state.frozen["source_vectors"]
        gate = gates(state.parameters["scores"], self.config.threshold)
        mixed = mix(state.frozen["base"], prompt, gate)
        with torch.no_grad():
            runs, n = sources.shape[:2]
            shared = (1 - gate)[:, None].expand(runs, n, -1)
            ones = torch.ones_like(gate)
            vector = prompt - state.frozen["init"]
            gram = gram_matrix(vector, sources, ones, torch.ones_like(shared))
            part = 1.0 / max(1, n) if self.config.base == "mean_sources" else 0.0
            weights = part * shared.mean(-1)
            norms = part * (shared[..., None] * sources).flatten(2).norm(dim=-1)
        grouping = decide_on_device(gram, self.settings)
        return PromptStep(mixed, weights, grouping, shared.mean(-1), norms)

    def penalty(self, state: MethodState, step: PromptStep) -> Float[Tensor, " R"]:
        """Return `λ · mean over tokens |s|`: what it costs to keep gates open."""
        return self.config.sparsity * state.parameters["scores"].abs().mean(-1)
