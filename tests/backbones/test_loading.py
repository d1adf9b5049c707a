"""What cannot be loaded is answered with one sentence that says what to do."""

from __future__ import annotations

import json
import shutil
import socket
import urllib.request
from pathlib import Path

import pytest
import torch
import transformers

from dtvg.backbones.loading import load_backbone
from dtvg.backbones.specs import whole_in_cache
from dtvg.config import BackboneConfig
from dtvg.errors import ConfigError
from dtvg.testing.tiny_backbones import TINY, make_backbone, make_tokenizer, save_backbone


def _load(folder: Path, precision: str = "float32"):
    return load_backbone(BackboneConfig(name=str(folder)), precision=precision)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_backbone("llama", tmp_path_factory.mktemp("saved"))


def test_a_saved_folder_gives_the_same_numbers(saved: Path) -> None:
    made, loaded = make_backbone("llama"), _load(saved)
    examples = made.encode(["a great film"], ["good"], 32, 8)
    prompt = made.init_prompt(4, 0)[None]
    assert torch.equal(loaded.init_prompt(4, 0), prompt[0])
    wanted = made.loss(prompt, made.collate(examples))[0]
    assert torch.allclose(loaded.loss(prompt, loaded.collate(examples))[0], wanted)


def test_an_encoder_only_model_is_refused(tmp_path: Path) -> None:
    config = transformers.BertConfig(
        vocab_size=90, hidden_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    config.save_pretrained(tmp_path)
    make_tokenizer(adds_end=True).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"'bert'\) is an encoder-only model; choose"):
        _load(tmp_path)


def test_a_model_that_writes_no_text_is_refused(tmp_path: Path) -> None:
    transformers.ViTConfig(num_hidden_layers=1).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="not a language model that generates text"):
        _load(tmp_path)


def test_an_unknown_architecture_is_refused_and_no_code_is_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass C: pass\n")
    config = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.C"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        ConfigError, match="needs its own code to run, and code from the hub is never run"
    ):
        _load(tmp_path)
    assert not marker.exists()


def test_a_folder_without_tokenizer_is_refused(saved: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(saved / name, tmp_path / name)
    with pytest.raises(ConfigError, match="tokenizer"):
        _load(tmp_path)


def test_a_folder_without_weights_is_refused(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match="its weights cannot be read"):
        _load(tmp_path)


def test_weights_with_gaps_or_damage_are_refused(saved: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    tensors = load_file(tmp_path / "model.safetensors")
    gone = next(name for name in tensors if "q_proj" in name)
    rest = {k: v for k, v in tensors.items() if k != gone}
    save_file(rest, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"lacks 1 weight tensors .*q_proj"):
        _load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(ConfigError, match="its weights cannot be read"):
        _load(tmp_path)


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_quantised_loading_without_its_package_names_the_extra(
    saved: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dtvg.backbones.loading.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install -e '.\[quantized\]'"):
        _load(saved, precision)
    monkeypatch.setattr("dtvg.backbones.loading.find_spec", lambda name: object())
    with pytest.raises(ConfigError, match="needs a CUDA device, got 'cpu'"):
        _load(saved, precision)


def test_a_byte_tokenizer_has_too_few_tokens_for_a_long_prompt() -> None:
    backbone = make_backbone("t5", vocab_size=384)
    backbone.tokenizer = transformers.ByT5Tokenizer()
    prompt = backbone.init_prompt(256, 0)
    assert len({tuple(row.tolist()) for row in prompt}) == 256
    with pytest.raises(ConfigError, match="Prompt length 300 is more than the 256 tokens"):
        backbone.init_prompt(300, 0)


def test_a_tokenizer_of_another_model_is_noticed() -> None:
    backbone = make_backbone("llama", vocab_size=20)
    with pytest.raises(ConfigError, match="they do not belong together"):
        backbone.encode(["a great film"], ["good"], 32, 8)


def test_missing_marks_are_replaced_or_refused() -> None:
    backbone = make_backbone("gpt2")
    backbone.tokenizer = make_tokenizer(adds_end=False, pad=False)
    assert backbone.pad_id == backbone.eos_id == 1
    backbone = make_backbone("gpt2")
    backbone.tokenizer.eos_token = None
    assert backbone.eos_id == 1  # the model's own
    backbone = make_backbone("gpt2", eos_token_id=None)
    backbone.tokenizer.eos_token = None
    with pytest.raises(ConfigError, match="has no end-of-sequence token"):
        backbone.encode(["a"], ["b"], 8, 8)


def test_a_bos_stands_in_front_only_where_the_tokenizer_puts_one() -> None:
    backbone = make_backbone("llama")
    assert backbone.encode(["a great film"], ["good"], 32, 8)[0].source[0] == 2
    plain = make_backbone("llama")
    from tokenizers import processors

    core = plain.tokenizer.backend_tokenizer
    core.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    assert plain.front == []


def test_sequences_beyond_learned_positions_are_refused_in_a_sentence() -> None:
    backbone = make_backbone("opt", max_position_embeddings=16)
    examples = backbone.encode(["a great film " * 9], ["good"], 64, 8)
    with pytest.raises(ConfigError, match="exceed the 16 positions"):
        backbone.loss(backbone.init_prompt(4, 0)[None], backbone.collate(examples))


_GPT = {"n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2}


@pytest.mark.parametrize(
    ("architecture", "sizes"),
    [("gptj", {"n_positions": 16}), ("mpt", {"max_seq_len": 16}), ("openai-gpt", _GPT)],
)
def test_sequences_beyond_any_table_of_positions_are_refused_in_a_sentence(
    architecture: str, sizes: dict
) -> None:
    backbone = make_backbone(architecture, **sizes)
    examples = backbone.encode(["a great film " * 9], ["good"], 64, 8)
    with pytest.raises(ConfigError, match="exceed the 16 positions"):
        backbone.loss(backbone.init_prompt(4, 0)[None], backbone.collate(examples))


def test_of_an_encoder_decoder_the_encoder_s_positions_count() -> None:
    changes = {"max_encoder_position_embeddings": 64, "max_decoder_position_embeddings": 16}
    sizes = {k: v for k, v in TINY["bart"][1].items() if k != "max_position_embeddings"}
    tokenizer = make_tokenizer(adds_end=True)
    backbone = make_backbone("led", tokenizer=tokenizer, **sizes, **changes, attention_window=8)
    assert backbone.family == "encoder_decoder" and backbone.position_limit == 64
    examples = backbone.encode(["a great film " * 9], ["good"], 64, 8)
    assert backbone.loss(backbone.init_prompt(4, 0)[None], backbone.collate(examples))[0] > 0


@pytest.mark.parametrize("architecture", ["bart", "llama", "t5", "opt"])
def test_dropout_is_the_one_set_wherever_a_model_keeps_it(architecture: str) -> None:
    made = make_backbone(architecture)
    backbone = type(made)(made.model, made.tokenizer, "again", "0", dropout=0.3)
    prompt = backbone.init_prompt(4, 0)[None]
    batch = backbone.collate(backbone.encode(["a great film"], ["good"], 32, 8))
    backbone.training(True)
    if architecture != "llama":  # whose attention alone drops, and not when it is fused
        losses = {float(backbone.loss(prompt, batch)[0]) for _ in range(3)}
        assert len(losses) == 3
    backbone.training(False)
    assert len({float(backbone.loss(prompt, batch)[0]) for _ in range(3)}) == 1
    still = type(made)(made.model, made.tokenizer, "again", "0")
    still.model.train()
    assert len({float(still.loss(prompt, batch)[0]) for _ in range(3)}) == 1


def test_an_unreachable_hub_is_named_with_the_offline_way() -> None:
    with pytest.raises(ConfigError, match="hub cannot be reached .*`hf download google-t5/t5-3b`"):
        load_backbone(BackboneConfig(name="google-t5/t5-3b"))


def test_gated_and_absent_models_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def gated(*arguments, **options):
        raise OSError("You are trying to access a gated repo. Make sure to have access to it")

    def absent(*arguments, **options):
        raise OSError("nobody/nothing is not a local folder and is not a valid model identifier")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", gated)
    with pytest.raises(ConfigError, match="is gated. Accept its licence .* `hf auth login`"):
        load_backbone(BackboneConfig(name="meta-llama/Llama-3.2-1B"))
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", absent)
    with pytest.raises(ConfigError, match="the hub has no such model.*If .* is a folder, name its"):
        load_backbone(BackboneConfig(name="nobody/nothing"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """No network: whatever asks for an address or a connection is refused and noted here."""
    seen: list[object] = []

    def refuse(*arguments: object, **options: object) -> None:
        seen.append(arguments[-1])
        raise OSError("there is no network")

    monkeypatch.setattr(urllib.request, "getproxies", dict)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return seen


@pytest.fixture
def cached(tmp_path: Path, asked: list[object], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny model in the hub's cache as `acme/tiny`, and no network; the folder it lies in."""
    from huggingface_hub import constants

    from dtvg.testing.tiny_run import make_backbone as write

    commit = "a" * 40
    folder = tmp_path / "models--acme--tiny" / "snapshots" / commit
    folder.parent.mkdir(parents=True)
    write(folder)
    (folder.parent.parent / "refs").mkdir()
    (folder.parent.parent / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return folder


def test_a_model_in_the_hubs_cache_is_loaded_without_a_request(
    cached: Path, asked: list[object]
) -> None:
    backbone = load_backbone(BackboneConfig(name="acme/tiny"))
    assert len(asked) <= 1  # the hub's client repeats each of its requests five times
    assert (backbone.name, backbone.revision) == ("acme/tiny", cached.name)
    assert backbone.commit == cached.name
    pinned = load_backbone(BackboneConfig(name="acme/tiny", revision=cached.name))
    assert pinned.revision == cached.name and pinned.commit == ""


def test_a_branch_of_the_hub_is_known_by_the_commit_that_it_names_now(
    cached: Path, asked: list[object]
) -> None:
    (cached.parent.parent / "refs" / "next").write_text(cached.name)
    backbone = load_backbone(BackboneConfig(name="acme/tiny", revision="next"))
    assert backbone.revision == backbone.commit == cached.name


@pytest.mark.parametrize(
    ("gone", "part"),
    [
        ("model.safetensors", "its weights cannot be read"),
        ("config.json", "the hub cannot be reached and its config.json is not in the cache"),
    ],
)
def test_what_the_cache_lacks_is_named_at_once_where_the_network_refuses(
    cached: Path, asked: list[object], gone: str, part: str
) -> None:
    (cached / gone).unlink()
    assert whole_in_cache("acme/tiny") is None
    with pytest.raises(ConfigError, match=part):
        load_backbone(BackboneConfig(name="acme/tiny"))
    assert len(asked) <= 1


def test_a_cache_without_a_tokenizer_is_not_whole(cached: Path) -> None:
    for path in list(cached.glob("tokenizer*")):
        path.unlink()
    assert whole_in_cache("acme/tiny") is None


def test_weights_in_parts_are_whole_when_every_part_is_there(cached: Path) -> None:
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (cached / "model.safetensors").rename(cached / "model-1.safetensors")
    (cached / "model.safetensors.index.json").write_text(json.dumps(index))
    assert whole_in_cache("acme/tiny") is None
    (cached / "model-2.safetensors").write_bytes(b"")
    assert whole_in_cache("acme/tiny") == cached
    assert whole_in_cache("acme/other") is None and whole_in_cache("no name") is None
