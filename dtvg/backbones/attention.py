"""Attention in float32 for layers in half precision, where PyTorch's own backward pass is slow.

PyTorch's attention on a processor multiplies half-precision blocks with MKL, which is slow at it on
processors that are not Intel's: forward and backward through rows of less than 256 tokens take
twice as long in bfloat16 as in float32 (docs/log.md). So queries, keys and values are widened.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

SDPA = "sdpa"
"""transformers' name of PyTorch's attention."""
LONG = 256
"""Tokens of a row from which on half precision is as fast."""
_FLAG = "dtvg_widens"


BOUNDS, LONGEST = "cu_seq_lens_q", "max_length_q"
"""What transformers calls bounds of examples in a single row, and the longest of them."""


def use(model: nn.Module) -> int:
    """Let a model in half precision attend in float32.

    Returns:
        How many attention modules do; 0 where the model has another attention than PyTorch's.
    """
    found = [m for m in model.modules() if _attends(m)]
    for module in found:
        setattr(module, _FLAG, True)
    if found:
        register(SDPA)
    return len(found)


def _attends(module: nn.Module) -> bool:
    """Whether a module calls PyTorch's attention by transformers' interface."""
    config = getattr(module, "config", None)
    named = type(module).__name__.endswith("Attention") and hasattr(module, "is_causal")
    return named and getattr(config, "_attn_implementation", None) == SDPA


def register(name: str) -> None:
    """Let transformers call `attend` for attention of this name."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.modeling_utils import AttentionInterface

    AttentionInterface.register(name, partial(attend, sdpa_attention_forward))


def attend(
    usual: Callable[..., tuple[Tensor, None]],
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    position_bias: Tensor | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Do what the usual attention does; through short rows in float32.

    Args:
        usual: transformers' attention by PyTorch.
        module: whose attention; `use` says whether it widens.
        query: `[b heads q d]`.
        key: `[b kv_heads k d]`.
        value: as `key`.
        attention_mask: what may be seen, or what is added to scores.
        position_bias: added to scores.
        options: passed on.

    Returns:
        `[b q heads d]` in the query's type, and None.
    """
    bounds, longest = options.pop(BOUNDS, None), options.pop(LONGEST, None)
    if bounds is not None:
        return between(query, key, value, bounds, longest, options.get("scaling")), None
    given = (query, key, value, attention_mask, position_bias)
    widens = getattr(module, _FLAG, False) and _is_slow(query, key)
    query, key, value, mask, bias = map(_widened, given) if widens else given
    more = {} if bias is None else {"position_bias": bias}
    made, _ = usual(module, query, key, value, mask, **more, **options)
    return made.to(given[0].dtype), None


def between(
    query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, longest: int, scale: float | None
) -> Tensor:
    """Attend backwards within each example of a single row.

    Args:
        query: `[1 heads n d]`.
        key: `[1 kv_heads n d]`.
        value: as `key`.
        bounds: int32 starts and ends, from 0 to n.
        longest: tokens between two bounds at most.
        scale: of scores; None: 1 / √d.

    Returns:
        `[1 n heads d]`.
    """
    times = query.shape[1] // key.shape[1]
    if times > 1:
        key, value = key.repeat_interleave(times, 1), value.repeat_interleave(times, 1)
    if query.device.type == "cuda":
        from torch.nn.attention.varlen import varlen_attn

        flat = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
        both = {"cu_seq_q": bounds, "cu_seq_k": bounds, "max_q": longest, "max_k": longest}
        attend_backwards: Any = partial(varlen_attn, scale=scale, window_size=(-1, 0))
        made: Tensor = attend_backwards(*flat, **both)
        return made[None]
    ends = bounds.tolist()
    parts = [slice(start, end) for start, end in pairwise(ends) if end > start]
    each = [
        torch.nn.functional.scaled_dot_product_attention(
            query[:, :, part], key[:, :, part], value[:, :, part], is_causal=True, scale=scale
        )
        for part in parts
    ]
    return torch.cat(each, dim=2).transpose(1, 2)


def without_plans() -> None:
    """Let PyTorch attend on a GPU by kernels that take any shape.

    cuDNN's, which it prefers on the newest GPUs, are planned anew for each number of rows and each
    length: a step of T5-base took 365 ms instead of 81 (benchmarks/results/gpu-2026-11-28.md).
    """
    torch.backends.cuda.enable_cudnn_sdp(False)


def _is_slow(query: Tensor, key: Tensor) -> bool:
    """Whether a row is short, in half precision, on a processor.

    Scoring too, which costs the same either way: a prompt is scored as it was trained.
    """
    half = query.dtype in (torch.bfloat16, torch.float16) and query.device.type == "cpu"
    return half and key.shape[2] < LONG


def _widened(given: Tensor | None) -> Any:
    return given.float() if given is not None and given.is_floating_point() else given


__all__ = ["BOUNDS", "LONG", "LONGEST", "attend", "between", "register", "use", "without_plans"]
