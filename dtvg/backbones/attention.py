"""Attention in float32 for layers in half precision, where PyTorch's own backward pass is slow.

PyTorch's attention on a processor multiplies half-precision blocks with MKL, which is slow at it on
processors that are not Intel's: forward and backward through rows of less than 256 tokens take
twice as long in bfloat16 as in float32 (docs/log.md). So queries, keys and values are widened.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

SDPA = "sdpa"
"""transformers' name of PyTorch's attention."""
LONG = 256
"""Tokens of a row from which on half precision is as fast."""
_FLAG = "dtvg_widens"


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
    given = (query, key, value, attention_mask, position_bias)
    widens = getattr(module, _FLAG, False) and _is_slow(query, key)
    query, key, value, mask, bias = map(_widened, given) if widens else given
    more = {} if bias is None else {"position_bias": bias}
    made, _ = usual(module, query, key, value, mask, **more, **options)
    return made.to(given[0].dtype), None


def _is_slow(query: Tensor, key: Tensor) -> bool:
    """Whether a row is short, in half precision, on a processor.

    Scoring too, which costs the same either way: a prompt is scored as it was trained.
    """
    half = query.dtype in (torch.bfloat16, torch.float16) and query.device.type == "cpu"
    return half and key.shape[2] < LONG


def _widened(given: Tensor | None) -> Any:
    return given.float() if given is not None and given.is_floating_point() else given


__all__ = ["LONG", "attend", "register", "use"]
