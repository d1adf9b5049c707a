"""Reading a model's output layer at chosen places, whatever the model does around it.

The whole model is called, so that projections before the output layer and soft caps, scalings
or biases after it are the model's own; a hook hands the layer only the places that count.
Must not import methods or training.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass
class Seen:
    """What the output layer was given."""

    hidden: Tensor | None = None
    """`[b u h]` at the chosen places; None where the layer was not called on sequences."""


def take(values: Float[Tensor, "b t x"], places: Int[Tensor, "b u"]) -> Float[Tensor, "b u x"]:
    """Pick places of each row."""
    return torch.gather(values, 1, places[..., None].expand(-1, -1, values.shape[-1]))


@contextmanager
def reading(model: Any, places: Int[Tensor, "b u"] | None, length: int) -> Iterator[Seen]:
    """Let the output layer compute `places` only, and keep what it reads.

    Args:
        model: a language model.
        places: positions wanted of each row; None: all.
        length: positions of the whole sequence, to recognise the layer's call.
    """
    seen = Seen()
    layer = model.get_output_embeddings()

    def before(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        hidden = inputs[0]
        if hidden.dim() != 3 or hidden.shape[1] != length:
            return None
        seen.hidden = hidden if places is None else take(hidden, places)
        return (seen.hidden, *inputs[1:])

    handle = None if layer is None else layer.register_forward_pre_hook(before)
    try:
        yield seen
    finally:
        if handle is not None:
            handle.remove()
