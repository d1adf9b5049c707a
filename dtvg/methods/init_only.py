"""DTVG's switch `init_only`: the start of DTVG, then plain prompt tuning.

The prompt starts where DTVG's first step composes it, `P_init + α_t ⊙ T_t + Σ_group α_s ⊙ T_s`, and
is tuned alone from there: no source is merged and no scale is trained. It tells what grouping
again at every step adds to a good start. Ours; docs/method.md, "Controls".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from dtvg.methods.base import (
    Inputs,
    MethodState,
    PromptStep,
    Role,
    StepBatch,
    trainable,
)
from dtvg.methods.dtvg import Method as Dtvg
from dtvg.rule.decide import gram_matrix


class Method(Dtvg):
    """`dtvg` with `init_only`: see the module's first lines."""

    roles: ClassVar[dict[str, Role]] = {"prompt": "prompt"}

    def prepare(self, inputs: Inputs) -> MethodState:
        """Compose DTVG's first prompt and start there; the decision's Gram matrix is kept."""
        state = super().prepare(inputs)
        with torch.no_grad():
            first = self.compose(state)
        grouping = first.grouping
        if grouping is None or first.scale_mean is None:
            raise TypeError("DTVG always decides a group")
        scale = first.scale_mean[..., None]
        norms = (scale.square() * state.frozen["token_norms"]).sum(-1).sqrt()
        frozen = {name: value for name, value in state.frozen.items() if name != "token_norms"} | {
            "start_gram": grouping.gram,
            "norms": norms,
            "scale_mean": first.scale_mean,
        }
        memory = {name: state.memory[name] for name in ("member", "decided")}
        notes = [
            {"started_with": [name for name, taken in zip(names, row, strict=True) if taken]}
            for names, row in zip(inputs.source_names, grouping.member.tolist(), strict=False)
        ]
        return MethodState({"prompt": trainable(first.prompt)}, frozen, memory, notes)

    def forward(self, state: MethodState, batch: StepBatch | None = None) -> PromptStep:
        """The prompt itself; step 1 logs the decision that made the start, later steps how the
        sources rank by the prompt as it is now."""
        prompt, sources = state.parameters["prompt"], state.frozen["source_vectors"]
        ones = torch.ones_like(sources[..., 0])
        with torch.no_grad():
            vector = prompt - state.frozen["init"]
            gram = gram_matrix(vector, sources, torch.ones_like(vector[..., 0]), ones)
            first = (state.memory["decided"] == 0)[:, None, None]
            gram = torch.where(first, state.frozen["start_gram"], gram)
            grouping, memory = self._decide(state, gram)
            weights = grouping.member.to(prompt.dtype)
            norms = weights * state.frozen["norms"]
        return PromptStep(
            prompt.clone(), weights, grouping, state.frozen["scale_mean"], norms, memory
        )

    def opening(self, note: Mapping[str, Any]) -> str:
        """Name the sources whose vectors the start holds."""
        group = ", ".join(note.get("started_with", ())) or "no source"
        return f"Starts with the group of the first step ({group}) and is tuned alone from there."
