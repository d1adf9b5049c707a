"""DARE: drop entries of every source vector at random, enlarge the rest, then merge.

`m ⊙ T / (1 − p)` with `m` drawn once per run by its seed, so that each entry keeps its value
on average. arXiv 2311.03099.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dtvg.methods.base import Inputs
from dtvg.methods.merged import Merged
from dtvg.methods.ties import elect_and_share, trim


def drop_and_rescale(
    vectors: Float[Tensor, "*batch n r d"], draw: Float[Tensor, "*batch n r d"], drop: float
) -> Float[Tensor, "*batch n r d"]:
    """Zero the entries whose draw in [0, 1) lies below `drop`; divide the others by 1 − drop."""
    return vectors.where(draw >= drop, vectors.new_zeros(())) / (1.0 - drop)


def uniform_draw(seed: int, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Return numbers in [0, 1) that depend on the seed and shape only, not on the device."""
    drawn = np.random.default_rng([seed, 0xDA7E]).random(shape)
    return torch.as_tensor(drawn, dtype=like.dtype, device=like.device)


class Method(Merged):
    """`dare`: see the module's first lines."""

    def parts(self, inputs: Inputs) -> Tensor:
        """Drop and rescale, then sum, mean, or TIES."""
        vectors = inputs.source_vectors
        shape = tuple(vectors.shape[1:])
        draw = torch.stack([uniform_draw(seed, shape, vectors) for seed in inputs.seeds])
        kept = drop_and_rescale(vectors, draw, self.config.drop)
        if self.config.merge == "ties":
            return elect_and_share(trim(kept, self.config.density))
        return kept / (max(1, shape[0]) if self.config.merge == "mean" else 1)
