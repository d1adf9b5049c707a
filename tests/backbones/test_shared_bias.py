"""Bias and mask of an encoder: put together once a pass, and nothing computed differently."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch.overrides import TorchFunctionMode

from dtvg.backbones.shared_bias import share

HEADS, WIDTH, LAYERS = 2, 7, 4


def encoder(kind: str = "T5", **changes: Any) -> Any:
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=40, d_model=16, d_kv=8, d_ff=32, num_layers=LAYERS, num_heads=HEADS, **changes
    )
    model = getattr(transformers, f"{kind}ForConditionalGeneration")(config).eval()
    return model.requires_grad_(False).get_encoder()


def masks() -> dict[str, torch.Tensor | None]:
    example = torch.tensor([[0, 0, 0, 0, 1, 1, -1], [2, 2, 2, 3, 3, 3, 3]])
    there = example[:, None, None] >= 0
    return {
        "rows": (example[:, :, None] == example[:, None, :])[:, None],
        "padded": there,
        "added": torch.zeros(2, 1, 1, WIDTH).masked_fill(~there, -1e9),
        "none": None,
    }


class Counted(TorchFunctionMode):
    """Counts how often something of a bias's shape is chosen by a mask."""

    made = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.where and result.shape == (2, HEADS, WIDTH, WIDTH):
            self.made += 1
        return result


def passed(stack: Any, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor, int]:
    torch.manual_seed(1)
    embeds = torch.randn(2, WIDTH, 16, requires_grad=True)
    with Counted() as counted:
        hidden = stack(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
    (gradient,) = torch.autograd.grad(hidden.square().sum(), embeds)
    return hidden.detach(), gradient, counted.made


@pytest.mark.parametrize("kind", ["T5", "MT5"])
@pytest.mark.parametrize("name", list(masks()))
def test_layers_that_share_compute_what_each_computes_alone(kind: str, name: str) -> None:
    mask = masks()[name]
    alone = passed(encoder(kind), mask)
    stack = encoder(kind)
    assert share(stack) == LAYERS
    for _ in range(2):  # a second pass has a mask and a bias of its own
        shared = passed(stack, None if mask is None else mask.clone())
        assert torch.equal(shared[0], alone[0])
        assert torch.equal(shared[1], alone[1])
    by_mask = mask is not None and mask.dtype is torch.bool
    assert alone[2] == (LAYERS if by_mask else 0)
    # the first layer, which makes the bias, and once for all others
    assert shared[2] == (2 if by_mask else 0)


def test_another_mask_or_bias_is_put_together_anew() -> None:
    stack = encoder()
    share(stack)
    rows, padded = masks()["rows"], masks()["padded"]
    for mask in (rows, padded, rows):
        assert torch.equal(passed(stack, mask)[0], passed(encoder(), mask)[0])


def test_nothing_is_kept_beyond_a_pass() -> None:
    import gc
    import weakref

    stack = encoder()
    share(stack)
    seen: list[Any] = []
    stack.block[2].register_forward_pre_hook(lambda _, given: seen.append(weakref.ref(given[2])))
    passed(stack, masks()["rows"])
    gc.collect()
    assert seen[0]() is None


@pytest.mark.parametrize("kind", ["UMT5"])
def test_layers_with_a_bias_of_their_own_are_left_alone(kind: str) -> None:
    assert share(encoder(kind)) == 0


def test_an_encoder_that_attends_otherwise_is_left_alone() -> None:
    assert share(encoder(attn_implementation="eager")) == 0
