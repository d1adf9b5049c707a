"""Task prompt vectors: start from the initial prompt plus a sum of vectors, then tune.

`P = P_init + Σ_s c_s T_s`: the pair whose sum is most similar to the target's vector, all
sources, or any given coefficients (prompt arithmetic). arXiv 2408.01119.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
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
from dtvg.methods.specs.tpv_sum import OWN
from dtvg.rule.decide import gram_matrix


def pair_cosines(gram: np.ndarray) -> np.ndarray:
    """Return the cosine of `v_i + v_j` with `v_t` for every pair, `[n n]`; −∞ for i ≥ j.

    Args:
        gram: `[m m]` inner products, target first.
    """
    wide = gram.astype(np.float64)
    inner, own = wide[0, 1:], np.diagonal(wide)[1:]
    squares = own[:, None] + own[None, :] + 2 * wide[1:, 1:]
    norms = np.sqrt(np.maximum(squares, 0.0) * max(wide[0, 0], 0.0))
    total = inner[:, None] + inner[None, :]
    cosines = np.where(norms > 0, total / np.where(norms > 0, norms, 1.0), 0.0)
    return np.where(np.triu(np.ones_like(cosines, dtype=bool), k=1), cosines, -np.inf)


def best_pair(gram: np.ndarray) -> tuple[int, ...]:
    """Return the sources whose vectors' sum is most similar to the target's, by cosine.

    Ties go to the earlier pair; a lone source is its own best sum.
    """
    n = gram.shape[-1] - 1
    if n < 2:
        return tuple(range(n))
    first, second = np.unravel_index(int(np.argmax(pair_cosines(gram))), (n, n))
    return int(first), int(second)


def arithmetic(
    init: Float[Tensor, "*batch r d"],
    vectors: Float[Tensor, "*batch n r d"],
    coefficients: Float[Tensor, "*batch n"],
) -> Float[Tensor, "*batch r d"]:
    """Return `P_init + Σ_s c_s T_s`."""
    return init + (coefficients[..., None, None] * vectors).sum(-3)


class Method(PlainPrompt):
    """`tpv_sum`: see the module's first lines."""

    config: Any

    def prepare(self, inputs: Inputs) -> MethodState:
        """Start from the sum; vectors and coefficients are kept for the log."""
        vectors = inputs.source_vectors
        rows = self._coefficients(inputs)
        places = range(vectors.shape[1])
        given = vectors.new_tensor([[row.get(i, 0.0) for i in places] for row in rows])
        own = vectors.new_tensor([row.get(-1, 0.0) for row in rows])
        start = arithmetic(inputs.init, vectors, given)
        start = start + own[:, None, None] * (inputs.target_prompt - inputs.init)
        state = super().prepare(dataclasses.replace(inputs, target_prompt=start))
        state.frozen.update(coefficients=given, source_vectors=vectors)
        state.notes = [
            {"coefficients": {names[i] if i >= 0 else OWN: c for i, c in row.items()}}
            for names, row in zip(inputs.source_names, rows, strict=True)
        ]
        return state

    def opening(self, note: Mapping[str, Any]) -> str:
        """Write the sum it starts from."""
        terms = " + ".join(f"{c:g} · {name}" for name, c in note["coefficients"].items())
        return f"Starts from the initial prompt plus {terms or 'nothing'}."

    def forward(self, state: MethodState, batch: StepBatch | None = None) -> PromptStep:
        """The prompt itself; the log shows what it started from and the similarity now."""
        prompt, vectors = state.parameters["prompt"], state.frozen["source_vectors"]
        coefficients = state.frozen["coefficients"]
        ones = vectors.new_ones(vectors.shape[:-1])
        with torch.no_grad():
            vector = prompt - state.frozen["init"]
            gram = gram_matrix(vector, vectors, vector.new_ones(vector.shape[:-1]), ones)
            norms = coefficients.abs() * vectors.flatten(2).norm(dim=-1)
        grouping = decide_on_device(gram, self.settings)
        return PromptStep(prompt.clone(), coefficients, grouping, ones.mean(-1), norms)

    def _coefficients(self, inputs: Inputs) -> list[dict[int, float]]:
        """Return each run's coefficients by place of the source; −1 is the target's own vector."""
        n = inputs.source_vectors.shape[1]
        if self.config.combine == "sum":
            return [dict.fromkeys(range(n), 1.0) for _ in inputs.source_names]
        if self.config.combine == "best_pair":
            vectors = inputs.source_vectors
            ones = vectors.new_ones(vectors.shape[:-1])
            target = inputs.target_prompt - inputs.init
            grams = gram_matrix(target, vectors, target.new_ones(target.shape[:-1]), ones)
            return [dict.fromkeys(best_pair(gram), 1.0) for gram in grams.cpu().numpy()]
        given = self.config.parsed
        rows = []
        for names in inputs.source_names:
            row = {i: given[name] for i, name in enumerate(names) if name in given}
            rows.append({**row, -1: given[OWN]} if OWN in given else row)
        return rows
