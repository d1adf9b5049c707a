"""Prompts that come and go: PEFT round trips, published formats, refusals that write nothing."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file as save_numpy

from dtvg.backbones.loading import load_backbone
from dtvg.backbones.pickled import read_pickled
from dtvg.cli import main
from dtvg.config.sections import BackboneConfig
from dtvg.errors import ConfigError, DtvgError, StoreError
from dtvg.exchange import outgoing
from dtvg.exchange.incoming import Import, import_prompt
from dtvg.exchange.outgoing import (
    Outgoing,
    _input_of,
    as_zip,
    export,
    from_bank,
    from_run,
    model_card,
)
from dtvg.exchange.peft_adapter import read_adapter, read_safetensors, write_adapter
from dtvg.store.bank import PromptBank, TaskPrompt, check_compatible
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.own import read_description
from dtvg.testing.tiny_backbones import save_backbone
from dtvg.testing.tiny_run import make_backbone
from tests.analysis.factory import config, record

RNG = np.random.default_rng(0)


def _prompt(**changes) -> TaskPrompt:
    init = RNG.normal(size=(4, 128)).astype(np.float32)
    values = {
        "task": "mnli", "labels": ("0", "1", "2"), "backbone": "demo", "backbone_revision": "abc",
        "seed": 0, "init": init, "prompt": init + 1, "score": 0.8, "metric_values": {},
        "fingerprint": "f" * 16, "precision": "float32", "settings": {"steps": 5}, "created": 1.0,
        "majority": 0.5, "n_examples": 100,
    }  # fmt: skip
    return TaskPrompt(**{**values, **changes})


@pytest.fixture
def bank(tmp_path) -> PromptBank:
    return PromptBank(tmp_path / "bank")


def test_an_export_comes_back_with_its_vector(bank, tmp_path) -> None:
    prompt = _prompt()
    folder = export(from_bank(prompt), tmp_path / "out")
    back = import_prompt(Import(folder, "mnli"), bank)
    assert np.array_equal(back.prompt, prompt.prompt)
    assert np.array_equal(back.vector, prompt.vector)
    assert (back.score, back.majority, back.backbone_revision) == (0.8, 0.5, "abc")
    assert [p.fingerprint for p in bank.list()] == [back.fingerprint]


def test_the_tensors_of_an_adapter_stand_for_the_whole_adapter(bank, tmp_path) -> None:
    folder = export(from_bank(_prompt()), tmp_path / "adapter")
    whole = import_prompt(Import(folder, ""), bank)
    by_file = import_prompt(Import(folder / "adapter_model.safetensors", ""), bank)
    assert by_file.init is not None and by_file.fingerprint == whole.fingerprint
    assert (by_file.score, by_file.labels) == (whole.score, whole.labels)


def test_the_card_names_task_data_method_score_and_licence(tmp_path) -> None:
    text = (export(from_bank(_prompt()), tmp_path / "out") / "README.md").read_text()
    for word in ("mnli", "nyu-mll/glue", "0.8000", "licence", "entailment", "PeftModel", "group"):
        assert word in text
    assert "{" not in text.split("```")[0]


def test_the_card_is_plain_markdown_with_one_row_per_fact() -> None:
    out = Outgoing(
        "own <task>", np.zeros((4, 16)), None, "a&b", "r1", "dtvg", None, "not known",
        facts={"kept": "x|y\nz", "none": None, "empty": []}, group=("qqp", "mnli"),
    )  # fmt: skip
    text = model_card(out, encoder_decoder=True)
    assert "# Soft prompt for own <task>\n" in text
    assert "width 16 for the frozen backbone `a&b` (revision r1), made by\nDTVG (`dtvg`; " in text
    assert "| group | qqp, mnli |\n| kept | x\\|y z |\n\nThe licence" in text
    assert "else, in the encoder only. Files" in text and text.endswith("PEFT ignores them.\n")
    bare = model_card(replace(out, facts={}, group=None, backbone_revision=""), False)
    assert "| group | – |\n\nThe licence" in bare
    assert "`a&b`, made by" in bare and "else, BOS included. Files" in bare


@pytest.mark.parametrize("family", ["t5", "llama", "mpt"])
def test_peft_loads_an_export_and_gives_the_same_logits(family, tmp_path) -> None:
    peft = pytest.importorskip("peft")
    made = {"t5": _t5, "llama": _llama, "mpt": lambda path: save_backbone("mpt", path / "mpt")}
    folder = made[family](tmp_path)
    backbone = load_backbone(BackboneConfig(name=str(folder)))
    init = backbone.init_prompt(4, 0, 30).numpy()
    prompt = _prompt(backbone=str(folder), init=init, prompt=init * 1.5)
    adapter = export(from_bank(prompt), tmp_path / "adapter")
    examples = [
        backbone.encode(["the film was good"], ["0"], 32, 4)[0],
        backbone.encode(["a dull plot"], ["1"], 32, 4)[0],
    ]
    model = peft.PeftModel.from_pretrained(backbone.model, adapter).eval()
    for example in examples:  # one by one: padding is another test's business
        batch = backbone.collate([example])
        ours, _ = backbone.outputs(torch.from_numpy(prompt.prompt)[None], batch)
        with torch.no_grad():
            if family == "t5":
                start = torch.tensor([[0, *example.target[:-1]]])
                theirs = model(input_ids=batch.ids, decoder_input_ids=start).logits
            else:
                whole = model(input_ids=batch.ids, attention_mask=batch.mask.long()).logits
                first = 4 + len(example.source) - 1
                theirs = whole[:, first : first + len(example.target)]
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_an_adapter_that_peft_saved_is_imported(bank, tmp_path) -> None:
    peft = pytest.importorskip("peft")
    backbone = load_backbone(BackboneConfig(name=str(_t5(tmp_path))))
    config = peft.PromptTuningConfig(
        task_type="SEQ_2_SEQ_LM", num_virtual_tokens=4, num_transformer_submodules=1
    )
    model = peft.get_peft_model(backbone.model, config)
    model.save_pretrained(tmp_path / "theirs")
    made = import_prompt(Import(tmp_path / "theirs", "sst2", backbone="tiny"), bank)
    weight = model.prompt_encoder["default"].embedding.weight.detach().numpy()
    assert np.array_equal(made.prompt, weight) and made.init is None
    with pytest.raises(StoreError, match="spot"):
        _ = made.vector


@pytest.mark.parametrize(
    "saved",
    [
        torch.ones(4, 16),
        torch.nn.Parameter(torch.ones(4, 16)),
        {"prefix_shared": torch.ones(4, 16)},
        {"prompt": torch.ones(4, 16).half(), "attention": torch.zeros(3, 3)},
    ],
    ids=["tensor", "parameter", "mapping", "several"],
)
def test_published_tensor_files_are_read_with_their_initial_prompt(saved, bank, tmp_path) -> None:
    torch.save(saved, tmp_path / "prefix_embeddings.pt")
    torch.save(torch.zeros(4, 16), tmp_path / "init.pt")
    asked = Import(tmp_path / "prefix_embeddings.pt", "mnli", tmp_path / "init.pt", "tiny")
    made = import_prompt(asked, bank, read_pickled)
    assert np.array_equal(made.vector, np.ones((4, 16), dtype=np.float32))


def test_one_prompt_of_a_stack_is_named_by_its_place(bank, tmp_path) -> None:
    torch.save(torch.arange(3.0)[:, None, None].expand(3, 4, 16).clone(), tmp_path / "all.pt")
    asked = Import(tmp_path / "all.pt", "mnli", backbone="tiny", part="2")
    assert (import_prompt(asked, bank, read_pickled).prompt == 2).all()


class _Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def _evil(path) -> None:
    path.write_bytes(pickle.dumps(_Evil()))


def _evil_zip(path) -> None:
    torch.save({"prompt": _Evil()}, path)


@pytest.mark.parametrize("write", [_evil, _evil_zip], ids=["pickle", "zip"])
def test_a_file_that_carries_code_is_refused_unread(write, bank, tmp_path, capsys) -> None:
    write(tmp_path / "bad.pt")
    with pytest.raises(StoreError, match="refused|not a file written by torch"):
        import_prompt(Import(tmp_path / "bad.pt", "mnli", backbone="tiny"), bank, read_pickled)
    assert "code ran" not in capsys.readouterr().out and bank.list() == []


def _quantized() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.zeros(4, 8), 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    "make", [_quantized, lambda: torch.zeros(1).expand(10**6, 10**6)], ids=["quantized", "repeated"]
)
def test_a_tensor_that_is_not_plain_numbers_is_one_sentence(make, bank, tmp_path) -> None:
    torch.save(make(), tmp_path / "bad.pt")
    with pytest.raises(StoreError, match="not plain numbers"):
        import_prompt(Import(tmp_path / "bad.pt", "mnli", backbone="tiny"), bank, read_pickled)


@pytest.mark.parametrize("shape", [(0, 8), (4, 0)])
def test_a_prompt_of_nothing_is_refused(shape, bank, tmp_path) -> None:
    torch.save(torch.zeros(shape), tmp_path / "empty.pt")
    with pytest.raises(StoreError, match="nothing was imported"):
        import_prompt(Import(tmp_path / "empty.pt", "mnli", backbone="tiny"), bank, read_pickled)


def _config(tmp_path, **changes):
    write_adapter(tmp_path / "a", np.ones((4, 16)), "tiny", True)
    path = tmp_path / "a" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return tmp_path / "a"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"peft_type": "LORA"}, "kind LORA"),
        ({"num_transformer_submodules": 2}, "encoder and decoder"),
        ({"num_virtual_tokens": 5}, "5 virtual tokens"),
        ({"token_dim": 8}, "width 8"),
    ],
)
def test_an_adapter_of_another_kind_is_refused(changes, words, bank, tmp_path) -> None:
    with pytest.raises(StoreError, match=words):
        import_prompt(Import(_config(tmp_path, **changes), "mnli"), bank)
    assert not bank.root.exists()


def test_what_is_wrong_with_a_file_is_one_sentence_and_nothing_is_imported(bank, tmp_path) -> None:
    torch.save({"a": 1}, tmp_path / "number.pt")
    torch.save(torch.ones(4), tmp_path / "row.pt")
    torch.save(torch.full((4, 16), float("nan")), tmp_path / "nan.pt")
    torch.save(torch.ones(4, 16), tmp_path / "fine.pt")
    torch.save(torch.ones(5, 16), tmp_path / "long.pt")
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "x.safetensors").write_bytes(b"\x00" * 40)
    for name in ("number.pt", "row.pt", "nan.pt", "text.pt", "x.safetensors", "absent.pt", "a.zip"):
        with pytest.raises(StoreError) as caught:
            import_prompt(Import(tmp_path / name, "mnli", backbone="tiny"), bank, read_pickled)
        assert name in str(caught.value) and "\n" not in str(caught.value)
    fine = tmp_path / "fine.pt"
    for asked in (
        Import(fine, "mnli", tmp_path / "long.pt", "tiny"),
        Import(fine, "mnli"),
        Import(fine, "../mnli", backbone="tiny"),
    ):
        with pytest.raises(DtvgError):
            import_prompt(asked, bank, read_pickled)
    assert not bank.root.exists()


def test_bfloat16_adapters_are_read(tmp_path) -> None:
    from safetensors.torch import save_file

    values = torch.tensor([[1.5, -2.25], [0.125, 3.0]])
    save_file({"prompt_embeddings": values.bfloat16(), "other": values}, tmp_path / "x.safetensors")
    found = read_safetensors(tmp_path / "x.safetensors")
    assert np.array_equal(found["prompt_embeddings"], values.numpy())
    assert np.array_equal(found["other"], values.numpy())


@pytest.mark.parametrize("part", [None, "prompt_embeddings"])
def test_an_adapter_that_trained_more_than_its_prompt_is_refused_by_name(part, bank, tmp_path):
    """With `modules_to_save` PEFT keeps a trained head beside the prompt."""
    import transformers

    peft = pytest.importorskip("peft")
    config = transformers.GPT2Config(
        n_embd=16, n_layer=1, n_head=2, vocab_size=50, bos_token_id=1, eos_token_id=1
    )
    head = peft.PromptTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=4, modules_to_save=["ln_f"]
    )
    model = peft.get_peft_model(transformers.GPT2LMHeadModel(config), head)
    model.save_pretrained(tmp_path / "head")
    for path in (tmp_path / "head", tmp_path / "head" / "adapter_model.safetensors"):
        with pytest.raises(StoreError) as caught:
            import_prompt(Import(path, "mnli", backbone="b", part=part), bank)
        told = str(caught.value)
        assert "ln_f.weight [16]" in told and "modules_to_save: ln_f" in told
    alone = tmp_path / "alone.safetensors"
    (tmp_path / "head" / "adapter_model.safetensors").rename(alone)
    with pytest.raises(StoreError, match=r"tensors of the model beside a prompt \(base_model"):
        import_prompt(Import(alone, "mnli", backbone="b", part=part), bank)
    assert not bank.root.exists()


def test_other_tensors_and_a_listed_head_are_refused_each_for_itself(bank, tmp_path) -> None:
    folder = _config(tmp_path, modules_to_save=["classifier"])
    with pytest.raises(StoreError, match="lists modules_to_save: classifier: layers that were"):
        import_prompt(Import(folder, "mnli", backbone="b"), bank)
    folder = _config(tmp_path, modules_to_save=None)
    tensors = {"prompt_embeddings": np.ones((4, 16), np.float32), "bias": np.ones(3, np.float32)}
    save_numpy(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(StoreError, match=r"holds bias \[3\]: layers"):
        import_prompt(Import(folder, "mnli", backbone="b"), bank)


def test_the_width_is_checked_against_the_backbone(bank, tmp_path) -> None:
    folder = _config(tmp_path, base_model_name_or_path="demo")
    with pytest.raises(
        StoreError, match=r"width 16, the embeddings of backbone 'demo' have .* 128"
    ):
        import_prompt(Import(folder, "mnli"), bank)
    for name in ("google-t5/t5-base", str(_t5(tmp_path))):
        fits = name != "google-t5/t5-base"
        asked = Import(folder, "mnli", backbone=name)
        if fits:
            assert import_prompt(asked, bank).backbone == name
        else:
            with pytest.raises(StoreError, match="have width 768"):
                import_prompt(asked, bank)


def test_only_a_decoders_card_warns_of_cached_generation_and_left_padding() -> None:
    out = Outgoing("t", np.zeros((4, 16)), None, "b", "r1", "dtvg", None, "not known", facts={})
    card = model_card(out, encoder_decoder=False)
    assert "use_cache=False" in card and "**Padding at the left**" in card
    assert "` answer:`" in card
    assert "use_cache" not in model_card(out, encoder_decoder=True)


def test_what_the_card_warns_of_gives_other_logits_and_what_it_advises_the_same(tmp_path) -> None:
    peft = pytest.importorskip("peft")
    from dtvg.backbones.decoding import greedy
    from dtvg.testing.tiny_backbones import save_backbone

    folder = save_backbone("llama", tmp_path / "llama")
    backbone = load_backbone(BackboneConfig(name=str(folder)))
    prompt = backbone.init_prompt(4, 0, 30)
    write_adapter(tmp_path / "a", prompt.numpy(), str(folder), False, num_layers=2)
    rows = backbone.encode(["a great film", "once upon a time there was"], ["1", "0"], 48, 8)
    wanted = greedy(backbone, prompt[None], [rows[0].source], 6)[0].tolist()
    model = peft.PeftModel.from_pretrained(backbone.model, tmp_path / "a").eval()
    ids = torch.tensor(rows[0].source)[None]
    common = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": 1}
    found = {
        cached: model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=cached, **common
        )[0, ids.shape[1] :].tolist()
        for cached in (True, False)
    }
    assert found[False] == wanted != found[True]
    gap = len(rows[1].source) - len(rows[0].source)
    alone = model(input_ids=ids).logits[0, -1]
    for left in (True, False):
        padding = torch.zeros((1, gap), dtype=torch.long)
        parts = [padding, ids] if left else [ids, padding]
        mask = torch.cat([torch.ones_like(p) if p is ids else p for p in parts], 1)
        logits = model(input_ids=torch.cat(parts, 1), attention_mask=mask).logits[0]
        last = logits[-1] if left else logits[-1 - gap]
        assert torch.allclose(last, alone, atol=1e-4) is not left


def test_a_prompt_without_start_serves_prompts_but_not_vectors() -> None:
    target = _prompt()
    source = _prompt(task="qnli", init=None, backbone_revision="")
    check_compatible(target, source, vectors=False)
    with pytest.raises(StoreError, match="initial prompt unknown"):
        check_compatible(target, source)
    with pytest.raises(StoreError, match="backbone t5-base"):
        other = _prompt(backbone="t5-base", backbone_revision="")
        check_compatible(target, other, vectors=False)


def test_the_command_line_exports_verifies_and_imports(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("DTVG_HOME", str(tmp_path))
    PromptBank().put(_prompt())
    assert main(["prompts", "export", "ffff", "--out", str(tmp_path / "out")]) == 0
    assert main(["prompts", "import", str(tmp_path / "out"), "--task", "mnli", "--seed", "3"]) == 0
    capsys.readouterr()
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["prompts", "list"]) == 0
    assert all(one.fingerprint in capsys.readouterr().out for one in PromptBank().list()[:1])
    assert main(["prompts", "show", "ffff"]) == 0
    assert main(["prompts", "verify"]) == 0
    damaged = next((tmp_path / "prompts").glob("*-ffff*")) / "prompt.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-4])
    assert main(["prompts", "verify"]) == 1
    assert "damaged" in capsys.readouterr().out
    assert main(["prompts", "import", str(tmp_path / "no.pt"), "--task", "mnli"]) == 2
    capsys.readouterr()
    assert main(["prompts", "import", str(tmp_path / "no.pt")]) == 2
    assert "There is no file '" in capsys.readouterr().err
    assert main(["prompts", "export", "nothing", "--out", str(tmp_path / "o")]) == 2


def test_an_import_takes_the_task_from_our_own_export_and_notes_an_unknown_one(
    tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("DTVG_HOME", str(tmp_path))
    folder = tmp_path / "out"
    export(from_bank(_prompt()), folder)
    words = ["prompts", "import", str(folder)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert said.startswith("mnli: ") and "Note:" not in said
    assert main([*words, "--task", "mnlli"]) == 0
    said = capsys.readouterr().out
    assert "Note: no task 'mnlli' is known here. Did you mean 'mnli'? The prompt" in said
    (folder / "dtvg_prompt.json").unlink()
    assert main(words) == 2
    said = capsys.readouterr().err
    assert f"'{folder}' does not say which task" in said and "--task NAME" in said
    assert len(PromptBank().list()) == 2


def test_the_card_gives_the_input_as_the_rows_are_read(tmp_path) -> None:
    (tmp_path / "own.yaml").write_text(
        "name: own\ntitle: Own\nfiles: {train: own.csv}\nlabel: verdict\nlabels: [a, b]\n"
        "text: 'review: {text} | by {who}'\n"
    )
    card = _input_of(read_description(tmp_path / "own.yaml"))
    assert card == "`review: … \\| by …`"
    assert _input_of(find_task("rte")) == "`rte sentence1: … sentence2: …`"
    assert _input_of(find_task("film-mood")) == (
        "the text of a row as it stands, with nothing before it"
    )


def test_an_export_for_an_unknown_backbone_says_what_is_missing(tmp_path) -> None:
    with pytest.raises(ConfigError, match="task type"):
        export(from_bank(_prompt(backbone="who/knows")), tmp_path / "out")


def _t5(tmp_path):
    return make_backbone(tmp_path / "t5")


def _llama(tmp_path):
    import transformers

    make_backbone(tmp_path / "t5")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "t5")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, eos_token_id=1, pad_token_id=0,
        bos_token_id=None,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    tokenizer.save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


def test_read_adapter_needs_its_configuration(tmp_path) -> None:
    with pytest.raises(StoreError, match=r"adapter_config\.json"):
        read_adapter(tmp_path)


def test_a_zip_of_an_export_comes_back_with_task_and_vector(bank, tmp_path) -> None:
    prompt = _prompt()
    packed = tmp_path / "mnli-f.zip"
    packed.write_bytes(as_zip(export(from_bank(prompt), tmp_path / "mnli-f")))
    back = import_prompt(Import(packed, ""), bank)
    assert (back.task, back.score) == ("mnli", 0.8)
    assert np.array_equal(back.vector, prompt.vector)
    with pytest.raises(StoreError, match="width 128, the embeddings of .* have width 768"):
        import_prompt(Import(packed, "", backbone="google-t5/t5-base"), bank)
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("../up.txt", "x")
    with pytest.raises(StoreError, match="leaves its folder"):
        import_prompt(Import(packed, ""), bank)
    assert not (tmp_path / "up.txt").exists() and len(bank.list()) == 1


@pytest.mark.parametrize("template", ["plain", "chat"])
def test_the_card_of_a_run_names_the_words_and_the_template_it_was_tuned_for(
    tmp_path: Path, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = record(tmp_path, config(targets=["rte"], methods=["dtvg"], seeds=[0], data={
        "label_words": {"rte": ["so", "otherwise"]}, "template": template,
    }))  # fmt: skip
    tensors = {name: np.zeros((4, 16), np.float32) for name in ("init", "mixed_prompt")}
    monkeypatch.setattr(outgoing, "read_prompts", lambda *_: tensors)
    run = next(run for run in made.runs if run.role == "transfer")
    out = from_run(run)
    card = model_card(out, encoder_decoder=False)
    assert "| answers | `so` entailment, `otherwise` not entailment |" in card
    assert ("chat template" in card) == (template == "chat") == ("` answer:`" not in card)
    kept = json.loads((export(out, tmp_path / "out") / "dtvg_prompt.json").read_text())
    assert kept["labels"] == ["so", "otherwise"]
