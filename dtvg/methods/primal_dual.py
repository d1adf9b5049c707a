"""Primal-dual relations: an online task-relation matrix, learned in the dual, weighs the sources.

Every task has a row of duals, sums of how far its loss falls along each task's vector; the
relation matrix is their projection-free image, `Ω_i = softmax(η Y_i / √t)`. `P = P_t + Σ_s
Ω_ts T_s`. Tasks may skip rounds; what they would have exchanged waits. arXiv 2004.01305.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dtvg.methods.base import (
    Finding,
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

TARGET = "target"
"""Name of the target's row and column."""


def relation(
    duals: Float[Tensor, "*batch m m"], rounds: Float[Tensor, "*batch"], rate: float
) -> Float[Tensor, "*batch m m"]:
    """Return `softmax(η Y / √t)` row by row: dual averaging with the entropy, no projection."""
    spread = rounds.clamp(min=1).sqrt()[..., None, None]
    return torch.softmax(rate * duals / spread, dim=-1)


def gains(
    gradient: Float[Tensor, "*batch r d"],
    target: Float[Tensor, "*batch r d"],
    sources: Float[Tensor, "*batch n r d"],
) -> Float[Tensor, "*batch m m"]:
    """Return `c_ij = cos(−g_i, T_j)`: how far task i's loss falls along task j's vector.

    The target's `g` is this round's gradient by the prompt. A source's data is not read any more:
    what its Stage I went along, `T_s`, stands for `−g_s`.
    """
    vectors = torch.cat([target[..., None, :, :], sources], dim=-3).flatten(-2)
    falls = torch.cat([-gradient[..., None, :, :], sources], dim=-3).flatten(-2)
    tiny = torch.finfo(vectors.dtype).tiny
    vectors = vectors / vectors.norm(dim=-1, keepdim=True).clamp(min=tiny)
    falls = falls / falls.norm(dim=-1, keepdim=True).clamp(min=tiny)
    return falls @ vectors.mT


def exchange(
    duals: Float[Tensor, "*batch m m"],
    waiting: Float[Tensor, "*batch m m"],
    gained: Float[Tensor, "*batch m m"],
    active: Bool[Tensor, "*batch m"],
) -> tuple[Float[Tensor, "*batch m m"], Float[Tensor, "*batch m m"]]:
    """Return duals and what still waits: a pair settles in a round in which both take part."""
    both = active[..., :, None] & active[..., None, :]
    due = waiting + gained
    return duals + torch.where(both, due, 0.0), torch.where(both, 0.0, due)


class Method(TransferMethod):
    """`primal_dual`: see the module's first lines."""

    config: Any
    roles: ClassVar[dict[str, Role]] = {"prompt": "prompt"}

    def prepare(self, inputs: Inputs) -> MethodState:
        """Start from the target's Stage I prompt, all tasks related alike."""
        vectors = inputs.source_vectors
        runs, n = vectors.shape[:2]
        zeros = vectors.new_zeros((runs, n + 1, n + 1))
        return MethodState(
            {"prompt": trainable(inputs.target_prompt)},
            {
                "init": inputs.init,
                "source_vectors": vectors,
                "source_norms": vectors.flatten(2).norm(dim=-1),
            },
            {"duals": zeros, "waiting": zeros.clone(), "rounds": vectors.new_zeros(runs)},
        )

    def forward(self, state: MethodState, batch: StepBatch | None = None) -> PromptStep:
        """Add each source's vector as often as the target's row of the relation matrix says."""
        own, sources = state.parameters["prompt"], state.frozen["source_vectors"]
        weights = self._relation(state)[:, 0, 1:]
        prompt = own + torch.einsum("rn,rnld->rld", weights, sources)
        ones = torch.ones_like(weights)
        with torch.no_grad():
            vector = own - state.frozen["init"]
            one = vector.new_ones(vector.shape[:-1])
            scales = one[:, None].expand(*sources.shape[:-1])
            gram = gram_matrix(vector, sources, one, scales)
        grouping = decide_on_device(gram, self.settings)
        norms = weights * state.frozen["source_norms"]
        return PromptStep(prompt, weights, grouping, ones, norms)

    def observe(
        self, state: MethodState, gradient: Float[Tensor, "R r d"], batch: StepBatch
    ) -> dict[str, Tensor]:
        """Take this round into the duals of the tasks that take part."""
        own, sources = state.parameters["prompt"].detach(), state.frozen["source_vectors"]
        gained = gains(gradient, own - state.frozen["init"], sources)
        drawn = batch.uniform(gained.shape[-1:], "primal_dual", gained)
        duals, waiting = exchange(
            state.memory["duals"], state.memory["waiting"], gained, drawn >= self.config.skip
        )
        return {"duals": duals, "waiting": waiting, "rounds": state.memory["rounds"] + 1}

    def findings(self, state: MethodState, names: tuple[tuple[str, ...], ...]) -> list[Finding]:
        """Tell each run's relation matrix, row by row."""
        found = []
        for sources, rows in zip(names, self._relation(state).tolist(), strict=True):
            tasks = (TARGET, *sources)
            matrix = {
                task: {other: round(x, 4) for other, x in zip(tasks, row, strict=True)}
                for task, row in zip(tasks, rows, strict=True)
            }
            detail = f"Relation matrix, by row: {json.dumps(matrix, ensure_ascii=False)}."
            found.append(Finding("relations", detail, {"relations": matrix}))
        return found

    def _relation(self, state: MethodState) -> Float[Tensor, "R m m"]:
        return relation(state.memory["duals"], state.memory["rounds"], self.config.rate)
