"""Adapters as people have them: other kinds, old files, folders around them, both halves of T5."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dtvg.backbones.loading import load_backbone
from dtvg.backbones.pickled import read_pickled
from dtvg.cli import main
from dtvg.config.sections import BackboneConfig
from dtvg.errors import StoreError
from dtvg.exchange.incoming import Import, import_prompt
from dtvg.exchange.peft_adapter import write_adapter
from dtvg.store.bank import PromptBank
from dtvg.testing.tiny_run import make_backbone

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"


@pytest.fixture
def bank(tmp_path: Path) -> PromptBank:
    return PromptBank(tmp_path / "bank")


@pytest.fixture
def backbones(tmp_path: Path) -> dict[str, Path]:
    """A tiny T5 and a tiny Llama with its tokenizer."""
    import transformers

    t5 = make_backbone(tmp_path / "t5")
    tokenizer = transformers.AutoTokenizer.from_pretrained(t5)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, eos_token_id=1, pad_token_id=0,
        bos_token_id=None,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    tokenizer.save_pretrained(tmp_path / "llama")
    return {"t5": t5, "llama": tmp_path / "llama"}


def adapter(folder: Path, prompt: np.ndarray, **changes: object) -> Path:
    write_adapter(folder, prompt, "tiny", True)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


def _saved_by_peft(kind: str, family: str, place: Path, folder: Path):
    """Save an adapter that PEFT made, with weights drawn at random."""
    peft = pytest.importorskip("peft")
    backbone = load_backbone(BackboneConfig(name=str(place)))
    task = "SEQ_2_SEQ_LM" if family == "t5" else "CAUSAL_LM"
    made = {
        "prompt": lambda: peft.PromptTuningConfig(task_type=task, num_virtual_tokens=4),
        "mlp": lambda: peft.PromptEncoderConfig(
            task_type=task, num_virtual_tokens=4, encoder_hidden_size=8),
        "lstm": lambda: peft.PromptEncoderConfig(
            task_type=task, num_virtual_tokens=4, encoder_hidden_size=8,
            encoder_reparameterization_type="LSTM"),
        "cpt": lambda: peft.CPTConfig(
            task_type=task, num_virtual_tokens=4, cpt_token_ids=[3, 4, 5, 6],
            cpt_mask=[1, 1, 1, 1], cpt_tokens_type_mask=[1, 2, 3, 4]),
        "mpt": lambda: peft.MultitaskPromptTuningConfig(
            task_type=task, num_virtual_tokens=4, num_tasks=3, num_ranks=2),
    }[kind]()  # fmt: skip
    torch.manual_seed(1)
    model = peft.get_peft_model(backbone.model, made)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "prompt_encoder" in name:
                weight.normal_()
    model.eval()
    model.save_pretrained(folder)
    return backbone, model


def _both(backbone, model, prompt: np.ndarray, family: str, **options: object) -> list:
    """Return our logits with the prompt and PEFT's with its adapter."""
    example = backbone.encode(["the film was good"], ["0"], 32, 4)[0]
    batch = backbone.collate([example])
    ours, _ = backbone.outputs(torch.from_numpy(prompt)[None], batch)
    with torch.no_grad():
        if family == "t5":
            start = torch.tensor([[0, *example.target[:-1]]])
            return [ours, model(input_ids=batch.ids, decoder_input_ids=start, **options).logits]
        ids, mask = batch.ids, batch.mask.long()
        whole = model(input_ids=ids, attention_mask=mask, labels=ids, **options).logits
    first = 4 + len(example.source) - 1
    return [ours, whole[:, first : first + len(example.target)]]


@pytest.mark.parametrize(
    ("kind", "family", "part"),
    [
        ("mlp", "llama", None), ("lstm", "llama", None), ("mpt", "llama", "2"),
        ("mpt", "llama", "0"), ("prompt", "llama", None), ("prompt", "t5", "encoder"),
        ("mlp", "t5", "encoder"),
    ],
)  # fmt: skip
def test_what_peft_saved_gives_the_same_logits_here(
    kind: str, family: str, part: str | None, backbones, bank, tmp_path: Path
) -> None:
    backbone, model = _saved_by_peft(kind, family, backbones[family], tmp_path / "a")
    made = import_prompt(Import(tmp_path / "a", "x", backbone="tiny", part=part), bank)
    options = {"task_ids": torch.tensor([int(part or 0)])} if kind == "mpt" else {}
    ours, theirs = _both(backbone, model, made.prompt, family, **options)
    assert torch.allclose(ours, theirs, atol=1e-5)
    wrong, _ = _both(backbone, model, made.prompt + 1, family, **options)
    assert not torch.allclose(wrong, theirs, atol=1e-3)


def test_a_prompt_of_cpt_is_its_saved_tensor(backbones, bank, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    backbone, _ = _saved_by_peft("cpt", "llama", backbones["llama"], tmp_path / "a")
    made = import_prompt(Import(tmp_path / "a", "x", backbone="tiny"), bank)
    fresh = load_backbone(BackboneConfig(name=str(backbones["llama"])))
    model = peft.PeftModel.from_pretrained(fresh.model, tmp_path / "a").eval()
    weight = model.prompt_encoder["default"].embedding.weight.detach().numpy()
    assert np.array_equal(made.prompt, weight)


def test_both_halves_are_refused_with_the_way_to_the_encoders(bank, tmp_path: Path) -> None:
    rows = np.arange(8 * 16, dtype=np.float32).reshape(8, 16)
    folder = adapter(tmp_path / "a", rows, num_transformer_submodules=2, num_virtual_tokens=4)
    with pytest.raises(StoreError, match=r"--part encoder imports the first 4 rows"):
        import_prompt(Import(folder, "x"), bank)
    assert not bank.root.exists()
    made = import_prompt(Import(folder, "x", part="encoder"), bank)
    assert np.array_equal(made.prompt, rows[:4])
    assert "the encoder's half" in made.origin and "nothing that it computes is lost" in made.origin


def test_one_task_of_a_multi_task_adapter_is_named_by_its_place(
    backbones, bank, tmp_path: Path
) -> None:
    _saved_by_peft("mpt", "t5", backbones["t5"], tmp_path / "a")
    for part in (None, "3", "mnli"):
        with pytest.raises(StoreError, match=r"prompts of 3 tasks .* --part 0 to --part 2"):
            import_prompt(Import(tmp_path / "a", "x", part=part), bank)
    with pytest.raises(StoreError, match="answers will differ from PEFT's"):
        import_prompt(Import(tmp_path / "a", "x", part="1"), bank)
    made = import_prompt(Import(tmp_path / "a", "x", part="1,encoder"), bank)
    assert made.prompt.shape == (4, 16) and "task 1 of 3" in made.origin


def test_an_adapter_in_torchs_own_file_is_read(bank, tmp_path: Path) -> None:
    folder = adapter(tmp_path / "a", np.ones((4, 16)))
    (folder / "adapter_model.safetensors").unlink()
    torch.save({"prompt_embeddings": torch.full((4, 16), 2.0)}, folder / "adapter_model.bin")
    made = import_prompt(Import(folder, "x"), bank, read_pickled)
    assert (made.prompt == 2).all()
    with pytest.raises(StoreError, match=r"adapter_model\.bin and no"):
        import_prompt(Import(folder, "x"), bank)


def test_an_adapter_below_the_folder_is_found_or_named(bank, tmp_path: Path) -> None:
    adapter(tmp_path / "run" / "checkpoint-500", np.ones((4, 16)))
    made = import_prompt(Import(tmp_path / "run", "x"), bank)
    assert made.origin == "imported from checkpoint-500"
    deep = tmp_path / "out"
    adapter(deep / "checkpoint-9" / "mood", np.ones((4, 16)))
    assert import_prompt(Import(deep, "x"), bank).origin == "imported from mood"
    adapter(tmp_path / "run" / "checkpoint-1000", np.ones((4, 16)))
    with pytest.raises(StoreError, match="holds 2 adapters: 'checkpoint-1000', 'checkpoint-500'"):
        import_prompt(Import(tmp_path / "run", "x"), bank)
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "model.safetensors").write_bytes(b"")
    with pytest.raises(StoreError, match="a whole model, not an adapter"):
        import_prompt(Import(whole, "x"), bank)


def test_a_mark_before_the_configuration_does_not_matter(bank, tmp_path: Path) -> None:
    folder = adapter(tmp_path / "a", np.ones((4, 16)))
    path = folder / "adapter_config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert import_prompt(Import(folder, "x"), bank).backbone == "tiny"


@pytest.mark.parametrize("name", ["a.ckpt", "a.CKPT"])
def test_checkpoints_are_torchs_own_files(name: str, bank, tmp_path: Path) -> None:
    torch.save({"soft_embeds": torch.ones(4, 16)}, tmp_path / name)
    assert import_prompt(Import(tmp_path / name, "x", backbone="tiny"), bank, read_pickled)
    torch.save({"state_dict": {"soft_embeds": torch.ones(4, 16)}, "epoch": 3}, tmp_path / name)
    assert import_prompt(Import(tmp_path / name, "x", backbone="tiny"), bank, read_pickled)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json",
                                  "adapter_model.bin"])  # fmt: skip
def test_a_git_lfs_pointer_is_named_in_an_adapter(name: str, bank, tmp_path: Path) -> None:
    folder = adapter(tmp_path / "a", np.ones((4, 16)))
    if name.endswith("bin"):
        (folder / "adapter_model.safetensors").unlink()
    (folder / name).write_bytes(POINTER)
    with pytest.raises(StoreError, match=f"{name}' is a Git LFS pointer.*git lfs pull"):
        import_prompt(Import(folder, "x"), bank, read_pickled)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt", "a.ckpt"])
def test_a_git_lfs_pointer_is_named(name: str, bank, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(StoreError, match=f"{name}' is a Git LFS pointer.*git lfs pull"):
        import_prompt(Import(tmp_path / name, "x", backbone="tiny"), bank, read_pickled)


def test_the_command_says_what_was_taken(tmp_path: Path, capsys) -> None:
    rows = np.ones((8, 16))
    folder = adapter(tmp_path / "a", rows, num_transformer_submodules=2, num_virtual_tokens=4)
    assert main(["prompts", "import", str(folder), "--task", "x", "--part", "encoder"]) == 0
    assert (
        "Imported from a (the encoder's half; PEFT since version 0.4 does not read"
        in capsys.readouterr().out
    )
