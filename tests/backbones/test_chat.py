"""Chat templates: the tokens are the template's own, and the answer follows the prompt for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dtvg.backbones.base import Backbone
from dtvg.backbones.chat import ChatTemplate
from dtvg.backbones.decoder_only import DecoderOnly
from dtvg.backbones.loading import load_backbone
from dtvg.backbones.specs import has_chat_template
from dtvg.config import BackboneConfig, DataConfig, ExperimentConfig
from dtvg.config.presets import demo
from dtvg.errors import ConfigError
from dtvg.jobs.devices import list_devices
from dtvg.jobs.readiness import findings
from dtvg.testing.tiny_backbones import CHAT, make_backbone, make_tokenizer_of, save_backbone
from dtvg.training.batches import tokenise

SPACED = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<s>premise: {{ m['content'] }} answer:"
    "{% else %} {{ m['content'] }}</s>{% endif %}{% endfor %}"
)
"""A template that puts a space before an answer, as Llama 2's does."""


def _backbone(template: str = CHAT, kind: str = "byte-level", name: str = "llama") -> Backbone:
    tokenizer = make_tokenizer_of(kind)
    tokenizer.chat_template = template
    made = make_backbone(name, tokenizer=tokenizer)
    return type(made)(made.model, tokenizer, made.name, "0", 0.0, "chat")


def _own(backbone: Backbone, text: str) -> list[int]:
    """What the library makes of one message."""
    message = [{"role": "user", "content": text}]
    found = backbone.tokenizer.apply_chat_template(message, add_generation_prompt=True)
    return list(found["input_ids"])


@pytest.mark.parametrize("kind", ["byte-level", "sentencepiece", "sentencepiece-bare"])
def test_an_input_is_the_template_s_own_tokens(kind: str) -> None:
    backbone = _backbone(kind=kind)
    for text in ("a great film", "sentence1: no 12", "  the park \n yes "):
        assert backbone.encode([text], ["no"], 200, 8)[0].source.tolist() == _own(backbone, text)


def test_the_answer_starts_after_the_generation_prompt() -> None:
    backbone = _backbone()
    found = backbone.encode(["a great film"], ["good"], 200, 8)[0]
    whole = backbone.tokenizer.decode([*found.source, *found.target])
    assert whole == "<s>user\na great film</s>\n<s>assistant\ngood</s>"


@pytest.mark.parametrize("kind", ["byte-level", "sentencepiece", "sentencepiece-bare"])
def test_an_answer_has_the_space_that_the_template_gives_it(kind: str) -> None:
    backbone = _backbone(SPACED, kind)
    found = backbone.encode(["a great film"], ["yes"], 200, 8)[0]
    text = "<s>premise: a great film answer: yes</s>"
    wanted = backbone.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert [*found.source, *found.target] == list(wanted)


@pytest.mark.parametrize("limit", [20, 25, 31])
def test_a_long_input_is_cut_inside_the_template(limit: int) -> None:
    backbone = _backbone()
    text = "a great film and the park once upon a time " * 20
    [found] = backbone.encode([text], ["no"], limit, 8)
    assert limit - 3 <= len(found.source) <= limit
    shown = backbone.tokenizer.decode(found.source)
    assert shown.startswith("<s>user\na ") and shown.endswith("</s>\n<s>assistant\n")
    inside = shown.removeprefix("<s>user\n").removesuffix("</s>\n<s>assistant\n")
    assert text.startswith(inside) and found.source.tolist() == _own(backbone, inside)


@pytest.mark.parametrize("room", range(4))
def test_a_long_input_is_cut_down_to_nothing_where_the_template_leaves_no_room(room: int) -> None:
    """A character that takes several tokens may not fit where one token would."""
    backbone = _backbone()
    alone = len(_own(backbone, ""))
    [found] = backbone.encode(["🎬🎬 a great film"], ["no"], alone + room, 8)
    assert alone <= len(found.source) <= alone + room


def test_a_limit_below_the_template_itself_is_refused() -> None:
    backbone = _backbone()
    alone = len(_own(backbone, ""))
    with pytest.raises(ConfigError, match=f"takes {alone} tokens .* is {alone - 1}; raise it"):
        backbone.encode(["a great film"], ["no"], alone - 1, 8)


def test_a_date_in_a_template_is_the_same_on_every_day() -> None:
    dated = (
        "{{ strftime_now('%d %b %Y') }}{% if date_string is defined %}{{ date_string }}{% endif %}"
    )
    backbone = _backbone(dated + CHAT)
    assert backbone.chat is not None
    assert backbone.chat.texts(["no"])[0].startswith("26 Jul 202426 Jul 2024<s>")
    other = _backbone("\n  {% if true %}x{% endif %}")  # what stands first is left as it is
    assert other.chat is not None and other.chat.texts(["no"]) == ["\nx"]


def test_a_tokenizer_without_a_template_is_refused_in_one_sentence() -> None:
    made = make_backbone("llama")
    with pytest.raises(ConfigError, match="has no chat template in its tokenizer, so") as raised:
        DecoderOnly(made.model, made.tokenizer, "llama", "0", 0.0, "chat")
    assert "\n" not in str(raised.value)


def test_a_template_that_cannot_be_applied_is_refused_in_one_sentence() -> None:
    with pytest.raises(ConfigError, match="cannot be applied to one message .*no users here"):
        _backbone("{{ raise_exception('no users here') }}")


def test_encoder_decoders_read_their_input_through_a_template_too() -> None:
    backbone = _backbone(name="t5")
    found = backbone.encode(["a film"], ["no"], 200, 8)[0]
    assert found.source.tolist() == _own(backbone, "a film")


def test_labels_and_generation_work_after_a_template() -> None:
    backbone = _backbone()
    sources = [e.source for e in backbone.encode(["a", "the park"], ["0", "1"], 99, 4)]
    prompt = backbone.init_prompt(3, 0)[None].expand(2, -1, -1)
    assert len(backbone.generate(prompt, sources, 4)) == 2
    assert torch.isfinite(prompt).all()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder whose tokenizer has a template."""
    tokenizer = make_tokenizer_of("byte-level")
    tokenizer.chat_template = CHAT
    return save_backbone("llama", tmp_path / "chatty", tokenizer=tokenizer)


def test_only_a_template_changes_the_fingerprint_of_data(saved: Path) -> None:
    config = BackboneConfig(name=str(saved))
    plain, chat = (load_backbone(config, template=name) for name in ("plain", "chat"))
    task = demo()["sources"][0]
    before = tokenise(task, plain, DataConfig())
    after = tokenise(task, chat, DataConfig(template="chat"))
    from dtvg.tasks.reading import load_task

    assert before.fingerprint == load_task(task, DataConfig()).fingerprint
    assert after.fingerprint != before.fingerprint
    assert before.train[0].source.tolist() != after.train[0].source.tolist()
    assert chat.tokenizer.decode(after.train[0].source).startswith("<s>user\n")
    chat.tokenizer.chat_template = CHAT.replace("assistant", "helper")
    chat.chat = ChatTemplate(chat.tokenizer, "chatty")
    assert tokenise(task, chat, DataConfig(template="chat")).fingerprint not in (
        before.fingerprint,
        after.fingerprint,
    )


def test_a_backbone_loaded_for_another_template_is_refused(saved: Path) -> None:
    backbone = load_backbone(BackboneConfig(name=str(saved)))
    with pytest.raises(ConfigError, match="data.template is chat, but backbone .* plain inputs"):
        tokenise(demo()["sources"][0], backbone, DataConfig(template="chat"))


def test_the_launch_page_knows_whether_there_is_a_template(saved: Path, tmp_path: Path) -> None:
    bare = save_backbone("llama", tmp_path / "bare")
    assert (has_chat_template(str(saved)), has_chat_template(str(bare))) == (True, False)
    assert has_chat_template("nobody/knows") is None
    for folder, expected in ((saved, []), (bare, [True])):
        values = {**demo(), "backbone": str(folder)}
        values["data"] = {**values["data"], "template": "chat"}
        told = findings(ExperimentConfig(**values), tmp_path, list_devices())
        assert [f.blocks for f in told if f.kind == "template"] == expected
