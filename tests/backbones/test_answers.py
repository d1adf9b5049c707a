"""Answers as text has them: with the space before them, through every family of tokenizers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dtvg.backbones.loading import load_backbone
from dtvg.backbones.specs import speech_of
from dtvg.backbones.speech import answer_texts, needs_space, round_trip
from dtvg.config import BackboneConfig, DataConfig
from dtvg.errors import ConfigError
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.labels import label_words, with_words
from dtvg.tasks.spec import Example
from dtvg.testing.backbones import run_contract
from dtvg.testing.tiny_backbones import TOKENIZERS, make_backbone, make_tokenizer_of, save_backbone

SPACED = {"byte-level": True, "sentencepiece-bare": True, "sentencepiece": False,
          "wordpiece": False}  # fmt: skip


def decoder(kind: str):
    return make_backbone("llama", tokenizer=make_tokenizer_of(kind))


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("architecture", ["llama", "t5"])
def test_every_family_of_tokenizers_keeps_the_contract(kind: str, architecture: str) -> None:
    backbone = make_backbone(architecture, tokenizer=make_tokenizer_of(kind))
    names = ("answers_as_in_text", "loss_counts_answers_only", "label_scores_are_losses",
             "generation_stops")  # fmt: skip
    failed = [r for r in run_contract(backbone, names) if not r.passed]
    assert not failed, failed


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_an_answer_has_the_tokens_it_has_after_the_instruction(kind: str) -> None:
    backbone = decoder(kind)
    assert backbone.speech.spaced is SPACED[kind]
    (ids,) = backbone.target_ids(["yes"], 8)
    pieces = backbone.tokenizer.convert_ids_to_tokens(ids[:-1])
    if kind in ("byte-level", "sentencepiece-bare", "sentencepiece"):
        assert "".join(pieces).replace("▁", "Ġ") == "Ġyes"
    example = backbone.encode(["premise: no"], ["yes"], 32, 8)[0]
    read = backbone.tokenizer.decode(np.concatenate([example.source, example.target[:-1]]))
    assert read.replace(" :", ":").endswith("premise: no answer: yes")
    assert backbone.speech.decode([ids[:-1]]) == ["yes"]


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_an_encoder_decoders_answer_begins_its_own_text(kind: str) -> None:
    backbone = make_backbone("bart", tokenizer=make_tokenizer_of(kind))
    assert backbone.target_ids(["yes"], 8)[0][:-1] == backbone.speech.encode(["yes"])[0]
    assert backbone.versions == {}


def test_only_backbones_whose_answers_changed_say_so() -> None:
    assert {k: decoder(k).versions for k in TOKENIZERS} == {
        kind: {"answers": 2} if spaced else {} for kind, spaced in SPACED.items()
    }


def test_an_own_label_word_keeps_its_leading_space_and_gets_no_second_one() -> None:
    spec = find_task("rte")
    assert label_words(
        spec,
        own={
            "rte": (
                " yes ",
                "  no",
            )
        },
    ) == (" yes", " no")
    with pytest.raises(ConfigError, match="no word may be empty or occur twice"):
        label_words(spec, own={"rte": (" yes", "yes")})
    for kind in TOKENIZERS:
        backbone = decoder(kind)
        assert backbone.target_ids([" yes"], 8) == backbone.target_ids(["yes"], 8), kind
    assert answer_texts([" yes", "no"], joined=False, spaced=False) == [" yes", "no"]
    answered = with_words(spec, (" yes", " no"))
    assert round_trip(answered, decoder("byte-level").speech).sentences() == []
    labels = decoder("byte-level").label_set((" yes", " no"), 8)
    assert labels.words == (" yes", " no")


def test_a_space_is_needed_only_where_the_tokenizer_does_not_add_it() -> None:
    def words(text: str) -> list[str]:
        return text.split()

    def bytes_of(text: str) -> list[str]:
        return list(text)

    assert not needs_space(words) and needs_space(bytes_of)


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_input_is_cut_at_its_end_whatever_side_was_saved(side: str, tmp_path: Path) -> None:
    folder = save_backbone("t5", tmp_path / side)
    facts = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**facts, "truncation_side": side}))
    backbone = load_backbone(BackboneConfig(name=str(folder)))
    row = backbone.encode(["sentence: a great film " + "the story " * 40], ["good"], 8, 8)[0]
    assert backbone.tokenizer.decode(row.source).startswith("sentence : a great")
    assert backbone.versions == ({"inputs": 2} if side == "left" else {})


def test_label_words_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    backbone = make_backbone("t5")
    spec = with_words(find_task("rte"), ("\u263a", "\u2639"))
    found = round_trip(spec, backbone.speech)
    (sentence,) = found.sentences()
    assert "cannot write the label words of task rte ('\u263a' becomes '', '\u2639'" in sentence
    with pytest.raises(ConfigError, match="which cannot write them; choose other label words.$"):
        backbone.label_set(spec.labels, 8)
    rows = [Example("rte a", w, (w,), i) for i, w in enumerate(spec.labels)]
    assert round_trip(spec, backbone.speech, rows).reachable == 0.0


def test_words_that_come_back_as_one_are_named() -> None:
    backbone = make_backbone("t5")
    found = round_trip(with_words(find_task("rte"), ("good yes", "good  yes")), backbone.speech)
    assert "come back as one" in found.sentences()[0]


def test_answers_and_inputs_of_a_sample_are_written_and_read_again() -> None:
    backbone = make_backbone("t5")
    spec = replace(find_task("squad"), max_target_tokens=4)
    good = [Example("squad a great film", "a great film", ("a great film",))] * 3
    assert round_trip(spec, backbone.speech, good).sentences() == []
    strange = Example("squad \u4e00 \u4e01", "girl \u4e00", ("girl \u4e00",))
    cut = Example("squad a", "once upon a time there was", ("once upon a time there was",))
    found = round_trip(spec, backbone.speech, [*good, strange, cut])
    assert (found.changed, found.rows, found.unknown_rows) == (2, 5, 1)
    assert found.reachable is not None and 0.6 < found.reachable < 1
    said = " ".join(found.sentences())
    assert "2 of 5 answers of task squad come back" in said
    assert "input tokens of task squad become the unknown token" in said and "1 of 5 rows" in said
    assert round_trip(spec, backbone.speech, [good[0], strange]).sentences(least=0.99)


@pytest.mark.parametrize(("architecture", "kind"), [("t5", "sentencepiece"), ("gpt2", "byte-level"),
                                                    ("llama", "sentencepiece-bare")])  # fmt: skip
def test_the_desk_reads_the_same_from_the_tokenizers_file(architecture, kind, tmp_path) -> None:
    made = make_backbone(architecture, tokenizer=make_tokenizer_of(kind))
    made.model.save_pretrained(tmp_path)
    made.tokenizer.save_pretrained(tmp_path)
    from_file, from_run = speech_of(str(tmp_path)), made.speech
    assert (from_file.joined, from_file.spaced) == (from_run.joined, from_run.spaced)
    texts = ["yes", "a great film", "\u4e00 no", " yes"]
    assert from_file.answers(texts) == from_run.answers(texts)
    assert [t.strip() for t in from_file.decode(from_file.answers(texts))] == from_run.decode(
        from_run.answers(texts)
    )
    if kind != "byte-level":
        assert from_file.unknown == from_run.unknown


def test_the_demo_can_write_all_that_it_is_asked() -> None:
    from dtvg.tasks.families.demo import TASKS
    from dtvg.tasks.reading import load_task

    speech = speech_of("demo")
    for spec in TASKS:
        found = round_trip(spec, speech, load_task(spec.name, DataConfig()).test)
        assert found.sentences() == [] and found.reachable == 1.0
