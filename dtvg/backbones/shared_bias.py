"""Position bias and mask of an encoder put together once a pass, instead of once a layer.

T5's layers add one bias to their scores and mask them alike, and PyTorch's attention takes both as
one tensor `[b heads t t]`, the largest of a pass. transformers makes it anew in every layer, and
each layer keeps its own for the backward pass.
"""

from __future__ import annotations

import inspect
from typing import Any
from weakref import ReferenceType, ref

import torch
from torch import Tensor, nn

from dtvg.backbones.attention import SDPA

TAKES = ["hidden_states", "attention_mask", "position_bias"]
"""What a layer of the T5 family takes first; each returns the bias for the next."""


def share(encoder: nn.Module) -> int:
    """Let an encoder's layers share what is added to their scores.

    Returns:
        How many layers do; 0 where the encoder is built in another way.
    """
    layers = getattr(encoder, "block", None)
    config = getattr(encoder, "config", None)
    if not isinstance(layers, nn.ModuleList) or getattr(config, "is_decoder", False):
        return 0
    if getattr(config, "_attn_implementation", None) != SDPA:
        return 0
    if any(list(inspect.signature(layer.forward).parameters)[:3] != TAKES for layer in layers):
        return 0
    shared = SharedBias()
    for layer in layers:
        layer.register_forward_pre_hook(shared)
    return len(layers)


class SharedBias:
    """Hook before each layer of an encoder: mask and bias become one bias, made once a pass."""

    def __init__(self) -> None:
        """Start without any; what was made lives as long as the pass that it was made for."""
        self._made: ReferenceType[Tensor] | None = None

    def __call__(self, layer: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Return what the layer is given instead; None: the same.

        Args:
            layer: which is to be called.
            given: hidden state, mask and bias, by position; the first layer has no bias yet.
        """
        if len(given) < len(TAKES):
            return None
        hidden, mask, bias, *rest = given
        if bias is None or mask is None or mask.dtype is not torch.bool:
            return None
        # a layer returns the bias that it was given: what the one before had is masked already
        if self._made is None or self._made() is not bias:
            bias = torch.where(mask, bias, torch.finfo(bias.dtype).min).contiguous()
            self._made = ref(bias)
        return (hidden, None, bias, *rest)


__all__ = ["SharedBias", "share"]
