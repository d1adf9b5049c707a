"""Consensus merging: drop the entries that fewer than k sources use, then add the vectors.

Which entries a source uses is its TALL mask: those where its own vector is not small against
what all the others add. arXiv 2405.07813.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dtvg.methods.base import Inputs
from dtvg.methods.merged import Merged

GRID = (0.2, 0.3, 0.4, 0.5, 0.6)
"""λ to choose from, the paper's."""


def tall_masks(
    vectors: Float[Tensor, "*batch n r d"], threshold: Float[Tensor, "*batch n"]
) -> Bool[Tensor, "*batch n r d"]:
    """Return which entries each source uses: `|T_s| ≥ λ_s · |Σ_i T_i − T_s|`."""
    rest = vectors.sum(-3, keepdim=True) - vectors
    return vectors.abs() >= threshold[..., None, None] * rest.abs()


def choose_thresholds(vectors: Float[Tensor, "*batch n r d"]) -> Float[Tensor, "*batch n"]:
    """Choose λ_s of `GRID` so that the masked sum points most nearly the way of `T_s`.

    The cosine of `mask_s ⊙ Σ T` with `T_s` decides, the smaller λ on ties; no data is needed.
    """
    total = vectors.sum(-3, keepdim=True)
    grid = vectors.new_tensor(GRID)
    cosines = []
    for value in grid:
        masked = total * tall_masks(vectors, value.expand(vectors.shape[:-2]))
        inner = (masked * vectors).sum((-1, -2))
        norms = masked.square().sum((-1, -2)).sqrt() * vectors.square().sum((-1, -2)).sqrt()
        cosines.append(inner / norms.clamp(min=torch.finfo(vectors.dtype).tiny))
    return grid[torch.stack(cosines).argmax(0)]


def consensus_mask(
    masks: Bool[Tensor, "*batch n r d"], at_least: int
) -> Bool[Tensor, "*batch r d"]:
    """Return the entries that at least that many sources use (all of them, where fewer exist)."""
    return masks.sum(-3) >= min(at_least, masks.shape[-3])


class Method(Merged):
    """`consensus`: see the module's first lines."""

    def parts(self, inputs: Inputs) -> Tensor:
        """Mask every source's vector with the consensus."""
        vectors = inputs.source_vectors
        masks = tall_masks(vectors, self._thresholds(vectors))
        mask = consensus_mask(masks, self.config.min_sources)
        return vectors * mask[..., None, :, :]

    def notes(self, inputs: Inputs, parts: Tensor) -> list[dict[str, Any]]:
        """Say which λ each source got and what share of its entries it uses."""
        vectors = inputs.source_vectors
        thresholds = self._thresholds(vectors)
        used = tall_masks(vectors, thresholds).float().mean((-1, -2))
        return [
            {
                "mask_threshold": {n: round(float(x), 4) for n, x in zip(names, row, strict=True)},
                "mask_density": {n: round(float(x), 4) for n, x in zip(names, share, strict=True)},
            }
            for names, row, share in zip(inputs.source_names, thresholds, used, strict=True)
        ]

    def _thresholds(self, vectors: Tensor) -> Tensor:
        given = self.config.mask_threshold
        if given is None:
            return choose_thresholds(vectors)
        return vectors.new_full(vectors.shape[:-2], given)
