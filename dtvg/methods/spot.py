"""SPoT: start from the source prompt most similar to the target's, then tune on the target.

Similarity is the cosine of mean-pooled prompts (not vectors), with the target's Stage I
prompt; ties go to the earlier source. While tuning, the ranking by the prompt as it is now is
logged, as the paper behind DTVG plots it. arXiv 2110.07904.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dtvg.methods.base import (
    Inputs,
    MethodState,
    PlainPrompt,
    PromptStep,
    StepBatch,
)
from dtvg.methods.dtvg import decide_on_device
from dtvg.rule.decide import gram_matrix


def prompt_cosine(inputs: Inputs) -> Float[Tensor, "R n"]:
    """Return the cosine of each source's mean-pooled prompt with the target's."""
    sources = (inputs.init[:, None] + inputs.source_vectors).mean(-2)
    target = inputs.target_prompt.mean(-2)[:, None]
    return torch.nn.functional.cosine_similarity(sources, target, dim=-1)


def pooled_gram(
    prompt: Float[Tensor, "R r d"], pooled_sources: Float[Tensor, "R n d"]
) -> Float[Tensor, "R m m"]:
    """Return the Gram matrix of mean-pooled prompts, target first, float32, off the graph."""
    own = prompt.detach().mean(-2, keepdim=True)
    ones = torch.ones_like(pooled_sources[..., :1])
    return gram_matrix(own, pooled_sources[:, :, None], ones.new_ones(own.shape[:-1]), ones)


class Method(PlainPrompt):
    """`spot`: see the module's first lines."""

    def start(self, inputs: Inputs) -> tuple[Tensor, list[dict[str, Any]]]:
        """Return the most similar source's prompt for each run."""
        cosine = prompt_cosine(inputs)
        best = cosine.argmax(-1)
        rows = torch.arange(len(best), device=best.device)
        prompt = inputs.init + inputs.source_vectors[rows, best]
        notes = [
            {"chosen_source": names[int(i)], "cosine": round(float(row[int(i)]), 6)}
            for names, i, row in zip(inputs.source_names, best, cosine, strict=True)
        ]
        return prompt, notes

    def opening(self, note: Mapping[str, Any]) -> str:
        """Name the source whose prompt it starts from."""
        return f"Starts from the prompt of {note['chosen_source']} (cosine {note['cosine']})."

    def prepare(self, inputs: Inputs) -> MethodState:
        """Start the prompt; pooled source prompts are kept for the ranking."""
        state = super().prepare(inputs)
        chosen = torch.nn.functional.one_hot(
            prompt_cosine(inputs).argmax(-1), inputs.source_vectors.shape[1]
        )
        state.frozen["chosen"] = chosen.bool()
        state.frozen["pooled_sources"] = (inputs.init[:, None] + inputs.source_vectors).mean(-2)
        state.frozen["source_norms"] = inputs.source_vectors.flatten(2).norm(dim=-1)
        return state

    def forward(self, state: MethodState, batch: StepBatch | None = None) -> PromptStep:
        """The prompt itself, and how the sources rank by it now."""
        prompt = state.parameters["prompt"]
        gram = pooled_gram(prompt, state.frozen["pooled_sources"])
        grouping = decide_on_device(gram, self.settings)
        return ranked_step(prompt.clone(), state, grouping, state.frozen["chosen"])


def ranked_step(
    prompt: Float[Tensor, "R *branches r d"], state: MethodState, grouping: Any, chosen: Tensor
) -> PromptStep:
    """Return the step of a prompt that started from `chosen` `[R n]`: its weight is 1."""
    weights = chosen.to(prompt.dtype)
    norms = weights * state.frozen["source_norms"]
    return PromptStep(prompt, weights, grouping, torch.ones_like(weights), norms)
