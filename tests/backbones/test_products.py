"""Products by oneDNN: what the layer gives, where it pays, and as an experiment was begun."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from dtvg.backbones import products
from dtvg.plan import plan
from dtvg.training import engine
from dtvg.training.engine import Engine, with_faster_parts
from tests.training import factory

needs = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="oneDNN is not there")


@needs
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(3, 40, 128), (2, 128), (0, 128), (600, 128)])
def test_it_gives_what_the_layer_gives_and_its_gradient(bias: bool, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(128, 256, bias=bias).requires_grad_(False)
    given = torch.randn(shape, requires_grad=True)
    wanted = layer(given)
    seed = torch.randn_like(wanted)
    (gradient,) = torch.autograd.grad(wanted, given, seed)
    assert products.use(nn.Sequential(layer)) == 1
    found = layer(given)
    (mine,) = torch.autograd.grad(found, given, seed)
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert torch.allclose(mine, gradient, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        assert torch.allclose(layer(given), wanted, rtol=1e-4, atol=1e-4)


@needs
def test_trained_wide_and_small_layers_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = products.product
    monkeypatch.setattr(products, "product", lambda *a: asked.append(1) or real(*a))
    layers = [nn.Linear(128, 256), nn.Linear(128, 256).double(), nn.Linear(8, 8)]
    for layer in layers[1:]:
        layer.requires_grad_(False)
    assert products.use(nn.ModuleList(layers)) == 0
    frozen = nn.Linear(128, 256).requires_grad_(False)
    products.use(nn.ModuleList([frozen]))
    frozen(torch.randn(2, 128))
    assert not asked, "a small product costs more"
    frozen(torch.randn(600, 128))
    assert asked


def test_it_pays_on_a_function_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    known = {"AMD EPYC": True, "Intel(R) Xeon(R)": False}
    for name, pays in known.items():
        found = {"cpu_name": name, "avx512_f": True}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found)
        assert products.pays(torch.device("cpu")) == pays
        assert not products.pays(torch.device("cuda"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "AMD EPYC"})
    assert not products.pays(torch.device("cpu"))


@needs
def test_an_experiment_goes_on_as_it_was_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "LEAST", 1)
    monkeypatch.setattr(products, "pays", lambda device: True)
    wide, plain = factory.tiny_backbone(), Engine(precision="float32")
    assert wide.dtype == torch.float64 and not with_faster_parts(plain, wide, begun=False).onednn
    for begun, before in ((False, False), (True, True)):
        narrow = _narrow()
        assert with_faster_parts(replace(plain, onednn=before), narrow, begun).onednn
        assert (
            "by oneDNN"
            in with_faster_parts(replace(plain, onednn=before), narrow, begun).sentence()
        )
    assert not with_faster_parts(plain, _narrow(), begun=True).onednn
    assert not with_faster_parts(replace(plain, compiled=True), _narrow(), begun=False).onednn
    assert not with_faster_parts(
        replace(plain, precision="bfloat16"), _narrow(), begun=False
    ).onednn


def test_nothing_is_compiled_where_products_gain_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "pays", lambda *_: True)
    monkeypatch.setattr(engine, "can_compile", lambda *_: True)
    config = factory.experiment(device={"compile": "auto"})
    for faster in (True, False):
        monkeypatch.setattr(products, "pays", lambda device, faster=faster: faster)
        backbone, compiled = _narrow(), []
        monkeypatch.setattr(
            backbone, "compile_layers", lambda compiled=compiled, **_: compiled.append(1)
        )
        made = engine.with_layers(Engine(), config, plan(config), backbone, begun=False)
        assert made.compiled == bool(compiled) == (not faster)
        begun = engine.with_layers(Engine(compiled=True), config, plan(config), backbone, True)
        assert begun.compiled, "what was begun compiled goes on so"


def _narrow():
    backbone = factory.tiny_backbone()
    backbone.model.float()
    return backbone
