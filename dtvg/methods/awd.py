"""Adaptive weight disentanglement: subtract a learned redundant vector, then add the sources.

One vector δ is learned from the source vectors alone, before Stage II, so that `T_s − δ`
become near-orthogonal while δ stays small. arXiv 2411.18729.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dtvg.methods.base import Inputs
from dtvg.methods.merged import Merged


def mean_cosine(flat: Float[Tensor, "n entries"]) -> Float[Tensor, ""]:
    """Return the mean of |cos| over pairs i ≠ j of vectors that are not 0; 0 below two."""
    flat = flat[flat.any(-1)]
    n = flat.shape[0]
    if n < 2:
        return flat.sum() * 0
    norm = flat.norm(dim=-1).clamp(min=torch.finfo(flat.dtype).tiny)
    cosine = (flat @ flat.T) / norm[:, None] / norm[None, :]
    off = ~torch.eye(n, dtype=torch.bool)
    return cosine[off].abs().mean()


def objective(
    flat: Float[Tensor, "n entries"], redundant: Float[Tensor, " entries"], norm_weight: float
) -> Float[Tensor, ""]:
    """`mean_{i≠j} |cos(T_i − δ, T_j − δ)| + w · ‖δ‖ / mean_s ‖T_s‖`."""
    size = flat.norm(dim=-1).mean().clamp(min=torch.finfo(flat.dtype).tiny)
    # ‖δ‖ has no gradient at δ = 0, where the search starts
    length = (redundant.square().sum() + torch.finfo(flat.dtype).tiny).sqrt()
    return mean_cosine(flat - redundant) + norm_weight * length / size


def redundant_vector(
    vectors: Float[Tensor, "n r d"], norm_weight: float, iterations: int, learning_rate: float
) -> Float[Tensor, "r d"]:
    """Learn δ with Adam from 0; the best δ seen is returned, so the objective never rises.

    Vectors of zeros (tasks whose Stage I never left the initial prompt) take no part.

    Args:
        vectors: one run's source vectors. The search runs in float64 on the CPU, where it is
            the same in any cohort and after a resume.
        norm_weight: w.
        iterations: Adam steps.
        learning_rate: step size as a share of the root mean square entry of the vectors.
    """
    flat = vectors.detach().double().cpu().flatten(1)
    flat = flat[flat.any(-1)]
    redundant = torch.zeros(flat.shape[1:], dtype=flat.dtype, requires_grad=True)
    best, lowest = redundant.detach().clone(), float("inf")
    if flat.shape[0] < 2:
        return best.view(vectors.shape[1:]).to(vectors)
    size = flat.square().mean().sqrt()
    flat = flat / size
    adam = torch.optim.Adam([redundant], lr=learning_rate)
    with torch.enable_grad():
        for _ in range(iterations + 1):
            value = objective(flat, redundant, norm_weight)
            if value.item() < lowest:
                best, lowest = redundant.detach().clone(), value.item()
            adam.zero_grad()
            value.backward()
            adam.step()
    return (size * best).view(vectors.shape[1:]).to(vectors)


def disentangle(
    vectors: Float[Tensor, "*batch n r d"], redundant: Float[Tensor, "*batch r d"]
) -> Float[Tensor, "*batch n r d"]:
    """Return `T_s − δ`; a vector of zeros has nothing redundant and stays."""
    moved = vectors.flatten(-2).any(-1)[..., None, None]
    return vectors - moved * redundant[..., None, :, :]


class Method(Merged):
    """`awd`: see the module's first lines."""

    def parts(self, inputs: Inputs) -> Tensor:
        """Subtract each run's redundant vector from its sources."""
        config = self.config
        learned = [
            redundant_vector(vectors, config.norm_weight, config.iterations, config.learning_rate)
            for vectors in inputs.source_vectors
        ]
        return disentangle(inputs.source_vectors, torch.stack(learned))

    def notes(self, inputs: Inputs, parts: Tensor) -> list[dict[str, Any]]:
        """Say how orthogonal the vectors were and are, and how long δ is."""
        rows = []
        for vectors, kept in zip(inputs.source_vectors, parts, strict=True):
            before, after = (mean_cosine(x.double().cpu().flatten(1)) for x in (vectors, kept))
            rows.append(
                {
                    "mean_cosine_before": round(float(before), 6),
                    "mean_cosine_after": round(float(after), 6),
                    "redundant_norm": round(
                        float((vectors - kept).flatten(1).norm(dim=1).max()), 6
                    ),
                }
            )
        return rows
