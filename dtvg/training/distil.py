"""Distillation: examples whose loss also draws their outputs to those of a teacher's prompt.

Teacher and pupil are prompts over the same frozen backbone, so a teacher costs one more
forward pass of its examples. arXiv 2303.02861, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dtvg.backbones.base import Backbone, TokenBatch
from dtvg.methods.base import PromptStep
from dtvg.training.devices import send


@dataclass(frozen=True)
class Lessons:
    """Which of a step's examples follow a teacher."""

    prompts: Float[Tensor, "q r d"]
    row: np.ndarray
    """`[b]` row of `prompts` for each example; −1: no teacher."""
    weight: np.ndarray
    """`[b]` weight of the distillation; 0 without a teacher."""


def lessons_of(steps: Sequence[PromptStep], counts: Sequence[int]) -> Lessons | None:
    """Collect the teachers of all stacks; None where there are none.

    Args:
        steps: composed, one per stack.
        counts: examples of each stack.
    """
    if all(step.teachers is None for step in steps):
        return None
    prompts, rows, weights, start = [], [], [], 0
    for step, count in zip(steps, counts, strict=True):
        taught = step.teachers is not None
        if step.teachers is not None:
            prompts.append(step.teachers.detach())
        rows.append(start + np.arange(count) if taught else np.full(count, -1))
        weights.append(np.full(count, step.teaching if taught else 0.0))
        start += count if taught else 0
    return Lessons(torch.cat(prompts), np.concatenate(rows), np.concatenate(weights))


def distance(
    logits: Float[Tensor, "b u v"],
    hidden: Float[Tensor, "b u h"],
    taught_logits: Float[Tensor, "b u v"],
    taught_hidden: Float[Tensor, "b u h"],
    mask: Bool[Tensor, "b u"],
) -> Float[Tensor, " b"]:
    """Return `Σ_u KL(teacher ‖ pupil) + mean_h (hidden − teacher's)²` over an example's tokens."""
    wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
    own = torch.log_softmax(logits.to(wide), dim=-1)
    theirs = torch.log_softmax(taught_logits.to(wide), dim=-1)
    divergence = (theirs.exp() * (theirs - own)).sum(-1)
    apart = (hidden.to(wide) - taught_hidden.to(wide)).square().mean(-1)
    return ((divergence + apart) * mask).sum(-1)


def taught_loss(
    backbone: Backbone,
    prompts: Float[Tensor, "b r d"],
    batch: TokenBatch,
    lessons: Lessons | None,
    piece: np.ndarray,
) -> Float[Tensor, " b"]:
    """Return each example's summed loss: of its answer, and of what its teacher says.

    Args:
        backbone: the frozen model.
        prompts: one per example.
        batch: the examples, padded.
        lessons: of the whole step.
        piece: which of the step's examples these are.
    """
    if lessons is None or not (lessons.row[piece] >= 0).any():
        return backbone.loss(prompts, batch)[0]
    logits, hidden = backbone.outputs(prompts, batch)
    nll = backbone.nll(logits, batch)[0]
    taught = np.flatnonzero(lessons.row[piece] >= 0)
    at = send(taught, prompts.device)
    rows = send(lessons.row[piece][taught], prompts.device)
    part = TokenBatch(batch.ids[at], batch.mask[at], batch.labels[at], batch.label_mask[at])
    with torch.no_grad():
        theirs = backbone.outputs(lessons.prompts[rows], part)
    apart = distance(logits[at], hidden[at], *theirs, part.label_mask)
    weight = send(lessons.weight[piece][taught], prompts.device, nll.dtype)
    return nll.index_add(0, at, weight * apart.to(nll.dtype))
