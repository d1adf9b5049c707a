"""Mixture of experts: for every example a sparse gate picks k source vectors and weighs them.

`P(x) = P_t + Σ_s g_s(x) T_s`; the gate reads the mean-pooled input and a learned task
embedding, keeps its k largest logits and is pushed towards using all sources by a load balance
penalty. arXiv 2204.07689.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
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
    uniform_start,
)
from dtvg.methods.dtvg import decide_on_device
from dtvg.rule.decide import gram_matrix


def gate_logits(
    pooled: Float[Tensor, "R c d"], task: Float[Tensor, "R h"], gate: Float[Tensor, "R w n"]
) -> Float[Tensor, "R c n"]:
    """Return `[LayerNorm(x̄); e_t] W`: input and task decide together (w = d + h)."""
    normed = torch.nn.functional.layer_norm(pooled, pooled.shape[-1:])
    width = pooled.shape[-1]
    own = torch.einsum("rh,rhn->rn", task, gate[:, width:])
    return torch.einsum("rcd,rdn->rcn", normed, gate[:, :width]) + own[:, None]


def largest(logits: Float[Tensor, "*batch n"], k: int) -> Bool[Tensor, "*batch n"]:
    """Mark the k largest entries; of equal ones the earlier."""
    order = torch.argsort(logits.detach(), dim=-1, descending=True, stable=True)
    kept = torch.zeros_like(logits, dtype=torch.bool)
    return kept.scatter(-1, order[..., :k], True)


def sparse_weights(
    logits: Float[Tensor, "*batch n"], chosen: Bool[Tensor, "*batch n"], over: str
) -> Float[Tensor, "*batch n"]:
    """Return the gate: a softmax over the chosen (`chosen`), or over all with the rest cut."""
    if over == "all":
        return torch.softmax(logits, dim=-1) * chosen
    return torch.softmax(logits.masked_fill(~chosen, float("-inf")), dim=-1)


def balance(
    chosen: Float[Tensor, "R n"], probabilities: Float[Tensor, "R n"], k: int
) -> Float[Tensor, " R"]:
    """Return `n Σ_s f_s p_s`: 1 where every source is used alike, n where one takes all.

    Args:
        chosen: share of a run's examples that chose a source; `f` is its share of the choices.
        probabilities: mean of the gate's softmax before anything is cut.
        k: choices of an example.
    """
    return chosen.shape[-1] * (chosen.detach() / k * probabilities).sum(-1)


def gaussian(uniform: Tensor) -> Tensor:
    """Turn uniform numbers in [0, 1) into standard normal ones, finite at both ends."""
    edge = torch.finfo(uniform.dtype).eps
    return 2**0.5 * torch.erfinv(2 * uniform.clamp(edge, 1 - edge) - 1)


class Method(InstanceWise):
    """`moe`: see the module's first lines."""

    config: Any
    roles: ClassVar[dict[str, Role]] = {"prompt": "prompt", "task": "gate", "gate": "gate"}

    def prepare(self, inputs: Inputs) -> MethodState:
        """Start from the target's Stage I prompt and a gate drawn from the run seed."""
        vectors = inputs.source_vectors
        n, width, inner = vectors.shape[1], vectors.shape[-1], self.config.task_width
        seeds = inputs.seeds
        gate = uniform_start(seeds, (width + inner, n), width**-0.5, "moe/gate", vectors)
        task = uniform_start(seeds, (inner,), 1.0, "moe/task", vectors)
        return MethodState(
            {
                "prompt": trainable(inputs.target_prompt),
                "task": trainable(task),
                "gate": trainable(gate),
            },
            {
                "init": inputs.init,
                "source_vectors": vectors,
                "source_norms": vectors.flatten(2).norm(dim=-1),
            },
        )

    def mix(
        self, state: MethodState, examples: Examples, batch: StepBatch | None = None
    ) -> PromptStep:
        """Gate and add; noise on the logits decides who is chosen in training only."""
        own, sources = state.parameters["prompt"], state.frozen["source_vectors"]
        n = sources.shape[1]
        k = min(self.config.k, n)
        pooled = examples.by_run(examples.pooled("mean"))
        logits = gate_logits(pooled, state.parameters["task"], state.parameters["gate"])
        noisy = logits
        if batch is not None and self.config.noise > 0:
            drawn = gaussian(batch.uniform(logits.shape[1:], "moe", logits))
            noisy = logits + self.config.noise * drawn
        chosen = largest(noisy, k)
        weights = sparse_weights(noisy, chosen, self.config.softmax_over)
        mixed = own[:, None] + torch.einsum("rcn,rnld->rcld", weights, sources)
        taken = examples.flat(weights.detach())
        use = examples.mean(examples.flat(chosen.to(logits.dtype)))
        likely = examples.mean(examples.flat(torch.softmax(logits, dim=-1)))
        with torch.no_grad():
            one = own.new_ones(own.shape[:-1])
            vector = own - state.frozen["init"]
            gram = gram_matrix(vector, sources, one, one[:, None].expand(-1, n, -1))
        return PromptStep(
            examples.flat(mixed),
            taken,
            decide_on_device(gram, self.settings),
            torch.ones_like(taken),
            taken * state.frozen["source_norms"][examples.owner],
            terms={"balance": balance(use, likely, k)},
        )

    def penalty(self, state: MethodState, step: PromptStep) -> Float[Tensor, " R"]:
        """Return `λ n Σ_s f_s p_s`: what it costs to use few sources."""
        return self.config.balance * step.terms["balance"]
