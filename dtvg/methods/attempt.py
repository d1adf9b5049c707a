"""ATTEMPT: for every example, attention over the source prompts and the target's own.

`P(x) = P_t + Σ_j a_j(x) P_j` over the frozen source prompts and `P_t`; `a(x)` is a softmax of
how a small network's answer to the max-pooled input fits the max-pooled prompts. Trained are
`P_t` and that network. arXiv 2205.11961.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
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
from dtvg.methods.spot import pooled_gram

EPS = 1e-5
"""Of the layer norm, as PyTorch's default."""


def answer_to(
    pooled: Float[Tensor, "R c d"],
    down: Float[Tensor, "R g d k"],
    up: Float[Tensor, "R g k d"],
    gain: Float[Tensor, "R g d"],
    shift: Float[Tensor, "R g d"],
) -> Float[Tensor, "R c g d"]:
    """Return `LayerNorm(W_up SiLU(W_down x))` of each network g: one shared, or one per prompt."""
    hidden = torch.nn.functional.silu(torch.einsum("rcd,rgdk->rcgk", pooled, down))
    wide = torch.einsum("rcgk,rgkd->rcgd", hidden, up)
    normed = torch.nn.functional.layer_norm(wide, wide.shape[-1:], eps=EPS)
    return normed * gain[:, None] + shift[:, None]


def attention(
    keys: Float[Tensor, "R m d"], answers: Float[Tensor, "R c g d"], temperature: float
) -> Float[Tensor, "R c m"]:
    """Return `softmax_j(P̂_j · h / T)` over the prompts.

    Args:
        keys: max-pooled prompts.
        answers: of the networks; one serves all prompts.
        temperature: T.
    """
    if answers.shape[2] == 1:
        logits = torch.einsum("rcd,rmd->rcm", answers[:, :, 0], keys)
    else:
        logits = torch.einsum("rcmd,rmd->rcm", answers, keys)
    return torch.softmax(logits / temperature, dim=-1)


class Method(InstanceWise):
    """`attempt`: see the module's first lines."""

    config: Any
    roles: ClassVar[dict[str, Role]] = {
        "prompt": "prompt",
        "down": "gate",
        "up": "gate",
        "gain": "gate",
        "shift": "gate",
    }

    def prepare(self, inputs: Inputs) -> MethodState:
        """Start from the target's Stage I prompt and a network drawn from the run seed."""
        prompts = inputs.init[:, None] + inputs.source_vectors
        runs, n, _, width = prompts.shape
        networks = 1 if self.config.attention == "shared" else n + 1
        inner = self.config.projection

        def drawn(rows: int, columns: int, purpose: str) -> Tensor:
            shape = (networks, rows, columns)
            return trainable(uniform_start(inputs.seeds, shape, rows**-0.5, purpose, prompts))

        ones = prompts.new_ones((runs, networks, width))
        return MethodState(
            {
                "prompt": trainable(inputs.target_prompt),
                "down": drawn(width, inner, "attempt/down"),
                "up": drawn(inner, width, "attempt/up"),
                "gain": trainable(ones),
                "shift": trainable(torch.zeros_like(ones)),
            },
            {
                "init": inputs.init,
                "source_prompts": prompts,
                "keys": prompts.amax(-2),
                "pooled_sources": prompts.mean(-2),
                "prompt_norms": prompts.flatten(2).norm(dim=-1),
            },
        )

    def mix(
        self, state: MethodState, examples: Examples, batch: StepBatch | None = None
    ) -> PromptStep:
        """Attend and add; a source's weight is its attention."""
        own, sources = state.parameters["prompt"], state.frozen["source_prompts"]
        pooled = examples.by_run(examples.pooled("max"))
        names = ("down", "up", "gain", "shift")
        answers = answer_to(pooled, *(state.parameters[name] for name in names))
        keys = torch.cat([state.frozen["keys"], own.amax(-2)[:, None]], dim=1)
        weights = attention(keys, answers, self.config.temperature * own.shape[-1])
        everything = torch.cat([sources, own[:, None]], dim=1)
        mixed = own[:, None] + torch.einsum("rcm,rmld->rcld", weights, everything)
        grouping = decide_on_device(pooled_gram(own, state.frozen["pooled_sources"]), self.settings)
        taken = examples.flat(weights[..., :-1].detach())
        norms = taken * state.frozen["prompt_norms"][examples.owner]
        return PromptStep(examples.flat(mixed), taken, grouping, torch.ones_like(taken), norms)
