"""GGUF files as backbones: the numbers of the model they were written from, or one sentence."""

from __future__ import annotations

import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dtvg import paths
from dtvg.backbones.gguf_header import beside, read_header
from dtvg.backbones.loading import load_backbone
from dtvg.backbones.specs import (
    check,
    facts,
    has_chat_template,
    kept_here,
    location,
    on_disk,
    token_counts,
)
from dtvg.config import BackboneConfig
from dtvg.errors import ConfigError
from dtvg.testing.backbones import run_contract
from dtvg.testing.tiny_backbones import make_tokenizer_of, save_backbone, save_gguf


def _load(place: Path | str, precision: str = "float32"):
    return load_backbone(BackboneConfig(name=str(place)), precision=precision)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, object]:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    return path, save_gguf(path)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DTVG_HOME", str(tmp_path / "home"))
    paths.models().mkdir(parents=True)
    return tmp_path / "home"


def test_it_keeps_the_contract_of_backbones(made) -> None:
    failed = [f"{r.name}: {r.measured} {r.detail}" for r in run_contract(_load(made[0]))
              if not r.passed]  # fmt: skip
    assert failed == []


def test_its_numbers_are_those_of_the_model_it_was_written_from(made) -> None:
    path, original = made
    loaded = _load(path)
    texts = ["a great film: no. 12", "sentence1 the park"]
    examples = original.encode(texts, ["good", "no"], 32, 8)
    found = loaded.encode(texts, ["good", "no"], 32, 8)
    assert [list(e.source) for e in found] == [list(e.source) for e in examples]
    assert [list(e.target) for e in found] == [list(e.target) for e in examples]
    prompt = original.init_prompt(4, 0)[None].expand(2, -1, -1)
    assert torch.equal(loaded.init_prompt(4, 0), prompt[0])
    wanted = original.outputs(prompt, original.collate(examples))[0]
    assert torch.allclose(loaded.outputs(prompt, loaded.collate(found))[0], wanted, atol=1e-5)


def test_quantised_weights_are_unpacked_into_the_precision_that_was_chosen(tmp_path: Path) -> None:
    original = save_gguf(tmp_path / "packed.gguf", quantised=True)
    loaded = _load(tmp_path / "packed.gguf", "bfloat16")
    assert {p.dtype for p in loaded.model.parameters()} == {torch.bfloat16}
    name = "model.layers.0.mlp.up_proj.weight"
    wanted, found = (b.model.get_parameter(name).float() for b in (original, loaded))
    assert 0 < (found - wanted).abs().max() < 0.02 * wanted.abs().max()


def test_plans_know_its_sizes_from_the_header(made) -> None:
    path, original = made
    found = facts(str(path))
    assert found is not None and not found.encoder_decoder and on_disk(str(path))
    sizes = (found.width, found.layers, found.vocabulary, found.feed_forward)
    assert sizes == (original.width, 2, original.vocabulary, 64)
    assert has_chat_template(str(path))


def test_its_identity_is_its_content(made, tmp_path: Path) -> None:
    path, _ = made
    copy = tmp_path / "renamed.gguf"
    shutil.copy(path, copy)
    wanted = _load(path).revision
    assert _load(copy).revision == wanted
    changed = bytearray(copy.read_bytes())
    changed[-5] ^= 1
    copy.write_bytes(changed)
    assert _load(copy).revision != wanted


def test_the_second_start_takes_configuration_and_tokenizer_from_what_was_kept(
    made, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    path, _ = made
    with pytest.raises(ConfigError, match=r"not taken out of its GGUF file yet; `dtvg backbones"):
        token_counts(["a great film"], str(path))
    first = _load(path)
    assert (beside(path) / "tokenizer.json").is_file()
    tried = []
    original = transformers.AutoTokenizer.from_pretrained

    def watched(place, **options):
        tried.append(options)
        return original(place, **options)

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", watched)
    second = _load(path)
    assert tried == [{}]
    assert second.encode(["a b"], ["1"], 9, 9)[0].source.tolist() == (
        first.encode(["a b"], ["1"], 9, 9)[0].source.tolist()
    )
    assert token_counts(["a great film"], str(path), special=False) == [
        len(make_tokenizer_of("byte-level")("a great film")["input_ids"])
    ]


def test_it_loads_where_nothing_can_be_kept(made, home: Path, monkeypatch) -> None:
    (home / "cache").write_text("not a folder")
    assert _load(made[0]).width == 32
    with pytest.raises(ConfigError, match="not taken out"):
        token_counts(["a"], str(made[0]))


def test_a_folder_with_one_file_and_names_in_the_models_folder_stand_for_it(
    made, home: Path
) -> None:
    path, _ = made
    assert location(str(path.parent)) == str(path)
    shutil.copy(path, paths.models() / "mine.gguf")
    (paths.models() / "other").mkdir()
    shutil.copy(path, paths.models() / "other" / "x.GGUF")
    save_backbone("llama", paths.models() / "saved")
    (paths.models() / "empty").mkdir()
    (paths.models() / ".smollm2-135m.part").mkdir()
    assert kept_here() == ["mine", "other", "saved"]
    assert location("mine") == str(paths.models() / "mine.gguf")
    assert [facts(name).width for name in kept_here()] == [32, 32, 16]
    assert _load("other").name == "other"


def test_a_folder_with_several_files_asks_for_one(made, tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        shutil.copy(made[0], tmp_path / name)
    with pytest.raises(ConfigError, match=r"holds 2 GGUF files \(a.gguf, b.gguf\); name one"):
        location(str(tmp_path))


def _cut(to: float) -> Callable[[bytes], bytes]:
    return lambda whole: whole[: int(len(whole) * to)]


def _version(whole: bytes) -> bytes:
    return whole[:4] + struct.pack("<I", 1) + whole[8:]


FAULTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "foreign": (lambda _: b"PK\x03\x04" + b"0" * 400, "is not a GGUF file: its first four bytes"),
    "empty": (lambda _: b"", "is not a GGUF file"),
    "no-header": (_cut(0.0005), "damaged or incomplete GGUF file .* header cannot be read"),
    "half-header": (_cut(0.05), "damaged or incomplete GGUF file .* header cannot be read"),
    "half": (_cut(0.7), "is incomplete: its tensors need"),
    "last-byte": (lambda whole: whole[:-1], "is incomplete: its tensors need"),
    "noise": (lambda whole: whole[:24] + b"\xff" * 4000, "damaged or incomplete GGUF file"),
    "version": (_version, "version 1 or of another byte order"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_is_no_whole_gguf_file_is_refused_before_anything_is_loaded(
    made, tmp_path: Path, fault: str
) -> None:
    change, sentence = FAULTS[fault]
    path = tmp_path / "broken.gguf"
    path.write_bytes(change(made[0].read_bytes()))
    for use in (check, _load):
        with pytest.raises(ConfigError, match=sentence) as raised:
            use(str(path))
        assert "\n" not in str(raised.value)
    if fault not in ("half", "last-byte"):
        assert facts(str(path)) is None


def test_an_architecture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    save_gguf(tmp_path / "new.gguf", architecture="mystery")
    with pytest.raises(ConfigError, match="of architecture 'mystery', which transformers cannot"):
        _load(tmp_path / "new.gguf")


def test_a_model_without_text_output_is_refused(tmp_path: Path) -> None:
    save_gguf(tmp_path / "encoder.gguf", architecture="t5encoder")
    with pytest.raises(ConfigError, match=r"cannot be loaded|an encoder"):
        _load(tmp_path / "encoder.gguf")


def test_a_part_of_a_model_is_refused(tmp_path: Path) -> None:
    import gguf

    path = tmp_path / "part-00001-of-00002.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint16("split.count", 2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ConfigError, match="one of 2 parts of a GGUF file; join them"):
        check(str(path))


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no GGUF file 'nowhere.gguf'"):
        location("nowhere.gguf")
    with pytest.raises(ConfigError, match="no backbone folder '/nowhere/t5' on this machine"):
        location("/nowhere/t5")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_header(tmp_path / "nowhere.gguf")


@pytest.mark.parametrize("use", [check, _load])
def test_a_missing_package_is_named_before_training(made, monkeypatch, use) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(
        ConfigError, match=r"needs gguf, which is not .*`pip install -e '.\[gguf\]'"
    ):
        use(str(made[0]))
    assert facts(str(made[0])) is not None


def test_the_launch_page_is_told_of_a_broken_file(made, tmp_path: Path) -> None:
    from dtvg.config import ExperimentConfig
    from dtvg.config.presets import demo
    from dtvg.jobs.devices import list_devices
    from dtvg.jobs.readiness import findings

    path = tmp_path / "broken.gguf"
    path.write_bytes(made[0].read_bytes()[:-1])
    config = ExperimentConfig(**{**demo(), "backbone": str(path)})
    told = [f for f in findings(config, tmp_path, list_devices()) if f.kind == "backbone"]
    assert [f.blocks for f in told] == [True] and "incomplete" in told[0].sentence


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_what_was_kept_and_is_damaged_is_made_again(made, home: Path, file: str) -> None:
    """It was said that the GGUF file's header cannot be read, for ever."""
    path, _ = made
    _load(path)
    whole = (beside(path) / file).read_bytes()
    (beside(path) / file).write_bytes(whole[: len(whole) // 2])
    _load(path)
    assert (beside(path) / file).read_bytes() == whole
