"""SPoT that chooses again: every k steps, start again from the source that is nearest now.

Beside the prompt a reference is trained on the same batches: the target's Stage I prompt, tuned
on as without transfer. At steps 1, 1 + k, 1 + 2k, … the sources are ranked by the cosine of
their mean-pooled prompts with the reference's, as SPoT ranks them by a prompt of the target
alone; if another than the one the prompt came from is nearest, the prompt restarts there and
its Adam starts again. Ours; SPoT itself chooses once (arXiv 2110.07904).
"""

from __future__ import annotations

from dataclasses import replace

import torch

from dtvg.methods.base import ADAM_SINCE, Inputs, MethodState, PromptStep, StepBatch, trainable
from dtvg.methods.dtvg import decide_on_device
from dtvg.methods.spot import Method as Spot
from dtvg.methods.spot import pooled_gram, ranked_step

TUNED, REFERENCE = 0, 1
"""Branches of the parameter `prompt` `[R 2 r d]`."""


class Method(Spot):
    """`spot_dynamic`: see the module's first lines."""

    def prepare(self, inputs: Inputs) -> MethodState:
        """Start as SPoT does, beside the target's own prompt; source prompts are kept."""
        state = super().prepare(inputs)
        started = state.parameters["prompt"].detach()
        both = torch.stack([started, inputs.target_prompt], dim=1)
        state.parameters["prompt"] = trainable(both)
        state.frozen["source_vectors"] = inputs.source_vectors
        chosen = state.frozen.pop("chosen")
        zeros = torch.zeros(len(chosen), dtype=torch.int64, device=chosen.device)
        since = zeros[:, None].repeat(1, 2)
        state.memory.update({"member": chosen, "decided": zeros, ADAM_SINCE: since})
        return state

    def forward(self, state: MethodState, batch: StepBatch | None = None) -> PromptStep:
        """Choose if it is time; a changed choice restarts the prompt (in training only)."""
        both, before = state.parameters["prompt"], state.memory["member"]
        done = state.memory["decided"]
        gram = pooled_gram(both[:, REFERENCE], state.frozen["pooled_sources"])
        settings = self.settings
        grouping = decide_on_device(gram, settings, before, done + 1)
        if batch is None:
            return ranked_step(both[:, TUNED].clone(), state, grouping, before)
        chosen = grouping.member
        changed = (chosen != before).any(-1)
        with torch.no_grad():
            one = chosen.to(both.dtype)[..., None, None]
            picked = state.frozen["init"] + (one * state.frozen["source_vectors"]).sum(1)
            tuned = torch.where(changed[:, None, None], picked, both[:, TUNED])
            anew = torch.stack([tuned, both[:, REFERENCE]], dim=1)
            restarted = torch.stack([changed, torch.zeros_like(changed)], dim=1)
        step = ranked_step(anew + (both - both.detach()), state, grouping, chosen)
        since = torch.where(restarted, done[:, None], state.memory[ADAM_SINCE])
        memory = {"member": chosen, "decided": done + 1, ADAM_SINCE: since}
        again = {"prompt": anew}
        return replace(step, memory=memory, restarted=restarted, restart=again, counted=1)
