"""TIES: trim every source vector, elect a sign per entry, average the entries that agree.

The result is one merged vector; each source's part of it is what the log calls its
contribution. arXiv 2306.01708.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from dtvg.methods.base import Inputs
from dtvg.methods.merged import Merged


def trim(vectors: Float[Tensor, "*batch n r d"], density: float) -> Float[Tensor, "*batch n r d"]:
    """Keep each source's largest entries by size and set the rest to zero.

    Args:
        vectors: task prompt vectors.
        density: share of the r · d entries to keep, at least one; equal sizes at the edge stay.
    """
    flat = vectors.abs().flatten(-2)
    entries = flat.shape[-1]
    keep = min(entries, max(1, round(density * entries)))
    edge = flat.kthvalue(entries - keep + 1, dim=-1).values[..., None, None]
    return vectors.where(vectors.abs() >= edge, vectors.new_zeros(()))


def elect_and_share(
    trimmed: Float[Tensor, "*batch n r d"],
) -> Float[Tensor, "*batch n r d"]:
    """Return each source's part of the disjoint mean, so that the parts add up to it.

    Per entry the sign of the sum over sources wins; entries of that sign count, each divided by
    how many they are. Where the sum is exactly zero no sign wins and the entry stays zero.
    """
    elected = trimmed.sum(-3, keepdim=True).sign()
    agree = (trimmed.sign() == elected) & (elected != 0)
    count = agree.sum(-3, keepdim=True).clamp(min=1)
    return trimmed.where(agree, trimmed.new_zeros(())) / count


class Method(Merged):
    """`ties`: see the module's first lines."""

    def parts(self, inputs: Inputs) -> Tensor:
        """Trim, elect, share."""
        return elect_and_share(trim(inputs.source_vectors, self.config.density))
