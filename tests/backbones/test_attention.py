"""Attention in float32: what it gives, where it is used, and as an experiment was begun."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from dtvg.backbones import attention, products
from dtvg.backbones.base import Backbone
from dtvg.training.engine import Engine, with_faster_parts
from tests.training import factory

HALF = Engine(precision="bfloat16")
KINDS = [factory.tiny_backbone, factory.tiny_decoder]
Made = Callable[[torch.dtype], Backbone]


def gradient(backbone: Backbone) -> torch.Tensor:
    """The gradient of a loss to prompts in front of three rows."""
    torch.manual_seed(1)
    prompts = torch.randn(3, factory.LENGTH, factory.WIDTH, requires_grad=True)
    nll, _ = backbone.loss(prompts, backbone.collate(factory.rows(3, 1)))
    nll.sum().backward()
    assert prompts.grad is not None
    return prompts.grad


@pytest.fixture
def attended(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """In which type attention was computed, call by call."""
    found: list[torch.dtype] = []
    real = nn.functional.scaled_dot_product_attention

    def noted(query: torch.Tensor, *rest: object, **options: object) -> torch.Tensor:
        found.append(query.dtype)
        return real(query, *rest, **options)

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", noted)
    return found


@pytest.mark.parametrize("made", KINDS)
def test_the_gradient_is_the_same_up_to_rounding(made: Made, attended: list[torch.dtype]) -> None:
    truth = gradient(made(torch.float64))
    usual = gradient(made(torch.bfloat16))
    assert torch.bfloat16 in attended and torch.float32 not in attended
    backbone = made(torch.bfloat16)
    assert attention.use(backbone.model) == sum(
        type(m).__name__ in ("T5Attention", "LlamaAttention") for m in backbone.model.modules()
    )
    attended.clear()
    found = gradient(backbone)
    assert set(attended) == {torch.float32}
    for one in (usual, found):
        assert torch.cosine_similarity(one.flatten(), truth.flatten(), dim=0) > 0.99


@pytest.mark.parametrize("made", KINDS)
def test_a_prompt_is_scored_as_it_was_trained(made: Made, attended: list[torch.dtype]) -> None:
    backbone = made(torch.bfloat16)
    attention.use(backbone.model)
    torch.manual_seed(1)
    prompts = torch.randn(3, factory.LENGTH, factory.WIDTH)
    batch = backbone.collate(factory.rows(3, 1))
    with torch.no_grad():
        scored, _ = backbone.loss(prompts, batch)
    trained, _ = backbone.loss(prompts.clone().requires_grad_(), batch)
    assert set(attended) == {torch.float32} and torch.equal(scored, trained.detach())


@pytest.mark.parametrize("made", KINDS)
def test_long_rows_and_other_models_attend_as_before(
    made: Made, attended: list[torch.dtype], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, other = made(torch.bfloat16), made(torch.bfloat16)
    attention.use(backbone.model)
    gradient(other)
    monkeypatch.setattr(attention, "LONG", 1)
    gradient(backbone)
    assert set(attended) == {torch.bfloat16}


def test_a_model_with_another_attention_is_left_alone() -> None:
    backbone = factory.tiny_backbone(torch.bfloat16)
    backbone.model.set_attn_implementation("eager")
    assert attention.use(backbone.model) == 0
    assert not with_faster_parts(replace(HALF, widened=True), backbone, begun=True).widened


def test_an_experiment_goes_on_as_it_was_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    for faster in (True, False):
        monkeypatch.setattr(products, "pays", lambda device, faster=faster: faster)
        narrow = factory.tiny_backbone(torch.bfloat16)
        made = with_faster_parts(HALF, narrow, begun=False)
        assert made.widened == faster == ("attention in float32" in made.sentence())
        for begun in (True, False):
            narrow = factory.tiny_backbone(torch.bfloat16)
            assert with_faster_parts(replace(HALF, widened=begun), narrow, True).widened == begun
    monkeypatch.setattr(products, "pays", lambda device: True)
    narrow = factory.tiny_backbone(torch.bfloat16)
    assert not with_faster_parts(replace(HALF, compiled=True), narrow, False).widened
    assert not with_faster_parts(Engine(), factory.tiny_backbone(), False).widened
