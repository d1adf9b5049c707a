"""Relational context: per source a search chooses what the target takes from it.

`P = P_init + α_t ⊙ T_t + Σ_s α_s ⊙ (z_sl L_s + z_sg G_s)`: the local context `L_s` is the
source's vector token by token, the global one `G_s` what the target's tokens attend to in it,
and `z_s` a Gumbel-softmax over {local, global, none} whose temperature falls until the choices
are kept. arXiv 2104.13874.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from dtvg.methods.base import (
    Finding,
    Inputs,
    MethodState,
    PromptStep,
    Role,
    StepBatch,
    trainable,
    uniform_start,
)
from dtvg.methods.dmtg import (
    gumbel,
    most_likely,
    relaxed_assignment,
    straight_through,
    temperature,
)
from dtvg.methods.dtvg import Method as Dtvg
from dtvg.methods.dtvg import decide_on_device
from dtvg.rule.decide import gram_matrix

KINDS = ("local", "global", "none")
"""What a source can give, in the order of the logits; the first wins a tie."""


def contexts(
    target: Float[Tensor, "R r d"],
    sources: Float[Tensor, "R n r d"],
    query: Float[Tensor, "R d h"],
    key: Float[Tensor, "R d h"],
    window: int,
) -> tuple[Float[Tensor, "R n r d"], Float[Tensor, "R n r d"]]:
    """Return the local and the global context of every source.

    `softmax(q(T_t) k(T_s)ᵀ / √h) T_s` over all of a source's tokens (global) or those at most
    `window` places away (local); q and k read tokens brought to mean 0 and variance 1.
    """
    shape = target.shape[-1:]
    asked = torch.einsum("rld,rdh->rlh", torch.nn.functional.layer_norm(target, shape), query)
    offered = torch.einsum("rnld,rdh->rnlh", torch.nn.functional.layer_norm(sources, shape), key)
    logits = torch.einsum("rih,rnjh->rnij", asked, offered) / query.shape[-1] ** 0.5
    place = torch.arange(target.shape[-2], device=target.device)
    far = (place[:, None] - place[None, :]).abs() > window
    near = torch.softmax(logits.masked_fill(far, float("-inf")), dim=-1)
    return near @ sources, torch.softmax(logits, dim=-1) @ sources


class Method(Dtvg):
    """`relational`: see the module's first lines."""

    config: Any
    roles: ClassVar[dict[str, Role]] = {
        **Dtvg.roles,
        "logits": "gate",
        "query": "gate",
        "key": "gate",
    }

    def prepare(self, inputs: Inputs) -> MethodState:
        """Start as DTVG does, every kind equally likely, attention drawn from the run seed."""
        state = super().prepare(inputs)
        runs, n, _, width = inputs.source_vectors.shape
        logits = inputs.init.new_zeros((runs, n, len(KINDS)))
        state.parameters["logits"] = trainable(logits)
        for name in ("query", "key"):
            shape, bound = (width, self.config.projection), width**-0.5
            drawn = uniform_start(inputs.seeds, shape, bound, f"relational/{name}", logits)
            state.parameters[name] = trainable(drawn)
        state.memory["choice"] = most_likely(logits)
        state.memory["fixed"] = torch.zeros(runs, dtype=torch.bool, device=logits.device)
        return state

    def forward(self, state: MethodState, batch: StepBatch | None = None) -> PromptStep:
        """Attend, choose, scale, add; a source's weight is what is left of it beside `none`."""
        init, sources = state.frozen["init"], state.frozen["source_vectors"]
        own, scales = state.parameters["scale_target"], state.parameters["scale_sources"]
        vector = state.parameters["prompt"] - init
        names = (state.parameters["query"], state.parameters["key"])
        local, wide = contexts(vector, sources, *names, self.config.window)
        chosen, memory = self._choose(state, batch)
        part = chosen[..., 0, None, None] * local + chosen[..., 1, None, None] * wide
        parts = scales[..., None] * part
        prompt = init + own[..., None] * vector + parts.sum(1)
        with torch.no_grad():
            gram = gram_matrix(vector, sources, own, scales)
            # what was added up, so that a chosen `none` is exactly 0
            weights = chosen[..., 0] + chosen[..., 1]
            norms = parts.flatten(2).norm(dim=-1)
            negative = (scales < 0).to(scales.dtype).mean(-1)
        grouping = decide_on_device(gram, self.settings)
        return PromptStep(
            prompt,
            weights.detach(),
            grouping,
            scales.mean(-1),
            norms,
            memory,
            scale_negative=negative,
        )

    def _choose(
        self, state: MethodState, batch: StepBatch | None
    ) -> tuple[Float[Tensor, "R n 3"], dict[str, Tensor]]:
        """Return how much of each kind is taken: a relaxed sample while searching, then (and in
        evaluation) the likeliest kind only."""
        logits, fixed = state.parameters["logits"], state.memory["fixed"]
        kept = torch.where(fixed[:, None, None], state.memory["choice"], most_likely(logits))
        if batch is None:
            return kept, {}
        config, done = self.config, batch.progress(logits)
        searching = ~fixed & (done < config.search_share)
        heat = temperature(
            done / max(config.search_share, 1e-9), config.temperature_start, config.temperature_end
        )
        noise = gumbel(batch.uniform(logits.shape[1:], "relational", logits))
        sample = relaxed_assignment(logits, noise, heat)
        if config.sample == "hard":
            sample = straight_through(sample)
        used = torch.where(searching[:, None, None], sample, kept)
        return used, {"choice": kept.detach(), "fixed": fixed | ~searching}

    def findings(self, state: MethodState, names: tuple[tuple[str, ...], ...]) -> list[Finding]:
        """Tell each run's kind of context per source, and how likely each kind is."""
        kept = self._choose(state, None)[0].argmax(-1).tolist()
        likely = torch.softmax(state.parameters["logits"].detach(), dim=-1).tolist()
        fixed = state.memory["fixed"].tolist()
        found = []
        for sources, row, shares, over in zip(names, kept, likely, fixed, strict=True):
            choices = {s: KINDS[i] for s, i in zip(sources, row, strict=True)}
            probabilities = {
                s: {kind: round(p, 4) for kind, p in zip(KINDS, each, strict=True)}
                for s, each in zip(sources, shares, strict=True)
            }
            note = {"contexts": choices, "context_probabilities": probabilities}
            state_of = "kept" if over else "likeliest so far"
            detail = f"Contexts ({state_of}): {json.dumps(choices, ensure_ascii=False)}."
            found.append(Finding("contexts", detail, note))
        return found
