"""SPoT: start from the source prompt most similar to the target's, then tune on the target.

Similarity is the cosine of mean-pooled prompts (not vectors), with the target's Stage I
prompt; ties go to the earlier source. Must not import backbones or training. arXiv 2110.07904.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dtvg.methods.base import Inputs, PlainPrompt


def prompt_cosine(inputs: Inputs) -> Float[Tensor, "R n"]:
    """Return the cosine of each source's mean-pooled prompt with the target's."""
    sources = (inputs.init[:, None] + inputs.source_vectors).mean(-2)
    target = inputs.target_prompt.mean(-2)[:, None]
    return torch.nn.functional.cosine_similarity(sources, target, dim=-1)


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
