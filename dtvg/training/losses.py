"""The loss of prompts on rows that are scored, all runs of a cohort together.

It decides between steps with equal scores. docs/method.md "Which step is the best".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from dtvg.backbones.base import Backbone, Encoded
from dtvg.training.batches import cut

PromptsOf = Callable[[np.ndarray, Sequence[np.ndarray]], Tensor]
"""Prompts `[b r d]` of inputs, given the question each belongs to."""


@torch.no_grad()
def mean_losses(
    backbone: Backbone,
    asked: Mapping[int, Sequence[Encoded]],
    prompts_of: PromptsOf,
    length: int,
    budget: int,
) -> dict[int, float]:
    """Return each question's Σ nll / Σ target tokens over its rows.

    Args:
        backbone: the frozen model, not in training mode.
        asked: question → its examples.
        prompts_of: their prompts; questions are counted in the order of `asked`.
        length: prompt length r.
        budget: padded tokens per batch.

    Raises:
        torch.OutOfMemoryError: a single example does not fit.
    """
    numbers = list(asked)
    owners = np.repeat(np.arange(len(numbers)), [len(asked[i]) for i in numbers])
    examples = [example for i in numbers for example in asked[i]]
    total = np.zeros((2, len(numbers)))
    pieces = cut([e.tokens for e in examples], length, budget)
    while pieces:
        piece = pieces.pop(0)
        part = [examples[p] for p in piece]
        try:
            prompts = prompts_of(owners[piece], [e.source for e in part])
            nll, tokens = backbone.loss(prompts, backbone.collate(part))
        except torch.OutOfMemoryError:
            if len(piece) == 1:
                raise
            pieces[:0] = np.array_split(piece, 2)
            continue
        for row, values in enumerate((nll, tokens)):
            np.add.at(total[row], owners[piece], values.double().cpu().numpy())
    return {i: float(total[0, k] / max(1.0, total[1, k])) for k, i in enumerate(numbers)}
