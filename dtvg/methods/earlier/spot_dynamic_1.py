"""SPoT that chooses again, version 1: sources are ranked by the tuned prompt itself.

It starts at a source's prompt and is therefore nearest to that source for long: the choice is
biased to stay. Kept only for runs that began so.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from dtvg.methods.base import ADAM_SINCE, Inputs, MethodState, PromptStep, StepBatch
from dtvg.methods.dtvg import decide_on_device
from dtvg.methods.spot import Method as Spot
from dtvg.methods.spot import pooled_gram, ranked_step


class Method(Spot):
    """`spot_dynamic`, version 1: see the module's first lines."""

    def prepare(self, inputs: Inputs) -> MethodState:
        """Start as SPoT does; source prompts are kept to restart from."""
        state = super().prepare(inputs)
        state.frozen["source_vectors"] = inputs.source_vectors
        chosen = state.frozen.pop("chosen")
        zeros = torch.zeros(len(chosen), dtype=torch.int64, device=chosen.device)
        state.memory.update({"member": chosen, "decided": zeros, ADAM_SINCE: zeros.clone()})
        return state

    def forward(self, state: MethodState, batch: StepBatch | None = None) -> PromptStep:
        """Choose if it is time; a changed choice restarts the prompt (in training only)."""
        prompt, before = state.parameters["prompt"], state.memory["member"]
        done = state.memory["decided"]
        gram = pooled_gram(prompt, state.frozen["pooled_sources"])
        settings = self.settings
        grouping = decide_on_device(gram, settings, before, done + 1)
        if batch is None:
            return ranked_step(prompt.clone(), state, grouping, before)
        chosen = grouping.member
        restarted = (chosen != before).any(-1)
        with torch.no_grad():
            one = chosen.to(prompt.dtype)[..., None, None]
            picked = (one * state.frozen["source_vectors"]).sum(1)
            anew = torch.where(restarted[:, None, None], state.frozen["init"] + picked, prompt)
        step = ranked_step(anew + (prompt - prompt.detach()), state, grouping, chosen)
        since = torch.where(restarted, done, state.memory[ADAM_SINCE])
        memory = {"member": chosen, "decided": done + 1, ADAM_SINCE: since}
        return replace(step, memory=memory, restarted=restarted, restart={"prompt": anew})
