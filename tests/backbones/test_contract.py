"""The backbone contract on tiny random models of two dozen architectures and on real ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from dtvg.backbones.base import Backbone
from dtvg.backbones.loading import load_backbone
from dtvg.config import BackboneConfig
from dtvg.testing.backbones import BackboneContract, Result, run_contract
from dtvg.testing.tiny_backbones import TINY, make_backbone

SHARED = Path(os.environ.get("DTVG_SHARED", Path(__file__).parents[3] / "shared"))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def _failed(results: list[Result]) -> list[str]:
    return [f"{r.name}: {r.measured} {r.detail}" for r in results if not r.passed]


@pytest.mark.parametrize("architecture", TINY)
def test_every_architecture_keeps_the_contract(architecture: str) -> None:
    assert _failed(run_contract(make_backbone(architecture))) == []


@pytest.mark.parametrize("architecture", ["t5", "opt", "gemma2", "bloom"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_contract_holds_in_every_precision(architecture: str, dtype: torch.dtype) -> None:
    assert _failed(run_contract(make_backbone(architecture, dtype))) == []


@pytest.mark.parametrize("kind", ["mamba", "rwkv"])
def test_models_without_keys_are_read_again_and_keep_the_contract(kind: str) -> None:
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "state_size": 8,
        "attention_hidden_size": 16,
    }
    backbone = make_backbone(kind, **sizes)
    assert not backbone._keeps
    assert _failed(run_contract(backbone)) == []


@pytest.mark.parametrize("folder", ["mini-t5", "stories260K"])
def test_really_pretrained_models_keep_the_contract(folder: str) -> None:
    place = SHARED / "models" / folder
    if not place.exists():
        pytest.skip(f"needs {place}")
    assert _failed(run_contract(load_backbone(BackboneConfig(name=str(place))))) == []


class TestBackboneContractUnderPytest(BackboneContract):
    def make(self) -> Backbone:
        return make_backbone("qwen2")


def _names(results: list[Result]) -> set[str]:
    return {r.name for r in results if not r.passed}


def test_a_wrong_embedding_scale_is_found() -> None:
    backbone = make_backbone("gemma")
    plain = backbone.model.get_input_embeddings()
    backbone.embed = lambda ids: torch.nn.functional.embedding(ids, plain.weight)
    assert "embedding_lookup" in _names(run_contract(backbone))


def test_a_prompt_behind_the_text_is_found() -> None:
    backbone = make_backbone("llama")
    right = backbone.outputs

    def behind(prompt, batch):
        return right(prompt.flip(1), batch)

    backbone.outputs = behind
    assert "prompt_position" in _names(run_contract(backbone))


def test_positions_that_ignore_left_padding_are_found(monkeypatch) -> None:
    backbone = make_backbone("gpt2")
    assert backbone._keeps
    run = backbone._run

    def misplaced(places, mask, positions, **inputs):
        return run(places, mask, positions * 0 if mask is not None else positions, **inputs)

    monkeypatch.setattr(backbone, "_run", misplaced)
    found = _names(run_contract(backbone))
    assert {"generation_is_teacher_forcing", "label_scores_are_losses"} <= found


def test_a_loss_that_counts_padding_is_found() -> None:
    backbone = make_backbone("t5")
    right = backbone.collate

    def careless(examples):
        batch = right(examples)
        batch.label_mask[:] = True
        return batch

    backbone.collate = careless
    assert {"padding_invariance", "loss_counts_answers_only"} <= _names(run_contract(backbone))


def test_weights_that_train_are_found() -> None:
    backbone = make_backbone("t5")
    next(backbone.model.parameters()).requires_grad_(True)
    assert "gradient_to_the_prompt_only" in _names(run_contract(backbone))
