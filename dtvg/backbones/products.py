"""Products with frozen float32 weights by oneDNN, where PyTorch's own library is slower.

PyTorch multiplies float32 matrices with MKL, which leaves AVX-512 unused on processors that are
not Intel's; oneDNN, which comes with PyTorch too, uses it: twice as fast on an AMD EPYC
(docs/log.md). Weights are frozen, so only the gradient to the input is needed.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAST, LEAST_WORK = 1 << 14, 1 << 21
"""Weights of a layer, and rows times weights of a product, from which on it pays: oneDNN takes
longer to begin."""


def pays(device: torch.device) -> bool:
    """Whether oneDNN is the faster of both here; a function of the machine, never of a clock."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    found = torch.cpu.get_capabilities()
    intel = "intel" in str(found.get("cpu_name", "intel")).lower()
    return torch.backends.mkl.is_available() and bool(found.get("avx512_f")) and not intel


def use(model: nn.Module) -> int:
    """Let the frozen float32 layers of a model multiply with oneDNN.

    Returns:
        How many layers do.
    """
    count = 0
    for layer in model.modules():
        if type(layer) is not nn.Linear or layer.weight.requires_grad:
            continue
        if layer.weight.dtype != torch.float32 or layer.weight.numel() < LEAST:
            continue
        layer.forward = partial(_forward, layer)  # type: ignore[method-assign]
        count += 1
    return count


def _forward(layer: nn.Linear, given: Tensor) -> Tensor:
    """Do what the layer does."""
    weight, bias = layer.weight, layer.bias
    work = given.numel() * len(weight)
    plain = given.dtype is torch.float32 and given.device.type == "cpu" and work >= LEAST_WORK
    if not plain or weight.requires_grad:
        return F.linear(given, weight, bias)
    if torch.is_grad_enabled() and given.requires_grad:
        return _Product.apply(given, weight, bias)  # type: ignore[no-any-return,no-untyped-call]
    return product(given, weight, bias)


def product(given: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `given · weightᵀ + bias`, `[... n]` of `[... k]` and `[n k]`."""
    return torch.ops.mkldnn._linear_pointwise(  # type: ignore[no-any-return]
        given, weight, bias, "none", [], ""
    )


class _Product(torch.autograd.Function):
    """The product, with its gradient to the input only."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Multiply."""
        ctx.save_for_backward(weight)
        return product(given, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Multiply the gradient with the weights the other way round."""
        (weight,) = ctx.saved_tensors
        return product(gradients[0].contiguous(), weight.t()), None, None


__all__ = ["pays", "product", "use"]
