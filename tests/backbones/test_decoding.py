"""Free answers, constrained answers and label scoring: what each promises, and where they meet."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from dtvg.backbones.base import Backbone, Encoded
from dtvg.backbones.decoding import greedy
from dtvg.backbones.loading import load_backbone
from dtvg.config import BackboneConfig
from dtvg.errors import ConfigError
from dtvg.testing.tiny_backbones import make_backbone
from dtvg.training.evaluate import best_labels

SHARED = Path(os.environ.get("DTVG_SHARED", Path(__file__).parents[3] / "shared"))
TEXTS = [
    "sentence: a great film",
    "premise: no",
    "once upon a time there was a little girl she went to the park",
    "sentence1: yes sentence2: no very bad story",
] * 6


def _made(name: str) -> Backbone:
    if name in ("mini-t5", "stories260K"):
        place = SHARED / "models" / name
        if not place.exists():
            pytest.skip(f"needs {place}")
        return load_backbone(BackboneConfig(name=str(place)))
    return make_backbone(name)


def _asked(backbone: Backbone) -> tuple[torch.Tensor, list]:
    prompts = torch.stack([backbone.init_prompt(4, seed) for seed in range(len(TEXTS))])
    spread = 1 + torch.arange(len(TEXTS))[:, None, None] / 8
    sources = [e.source for e in backbone.encode(TEXTS, ["1"] * len(TEXTS), 48, 8)]
    return prompts * spread, sources


@pytest.mark.parametrize("name", ["t5", "bart", "llama", "opt", "gemma2", "bloom", "mini-t5"])
def test_single_token_labels_are_chosen_alike_by_scoring_and_constrained_decoding(
    name: str,
) -> None:
    backbone = _made(name)
    words = ("yes", "no", "good", "bad") if name != "mini-t5" else ("0", "1", "2", "3")
    labels = backbone.label_set(words, 8)
    if name != "mini-t5":
        assert all(len(ids) == 2 for ids in labels.ids)
    prompts, sources = _asked(backbone)
    scored, margins = best_labels(
        backbone.label_scores(prompts, sources, labels, constrained=True), labels
    )
    assert scored == backbone.generate(prompts, sources, 8, labels)
    assert all(margin >= 0 for margin in margins)
    if name in ("t5", "llama", "opt"):
        assert len(set(scored)) > 1  # the choice differs between examples


@pytest.mark.parametrize("name", ["t5", "qwen3", "stories260K"])
def test_constrained_answers_are_always_labels_of_any_length(name: str) -> None:
    backbone = _made(name)
    words = ("1", "15", "once upon", "once upon a time", "zebra")
    answers = backbone.generate(*_asked(backbone), 24, backbone.label_set(words, 24))
    assert set(answers) <= set(words)


@pytest.mark.parametrize("name", ["t5", "llama"])
def test_shares_among_labels_sum_to_one(name: str) -> None:
    backbone = _made(name)
    words = ("1", "15", "156", "once upon", "once upon a time", "good")
    scores = backbone.label_scores(*_asked(backbone), backbone.label_set(words, 24), True)
    assert torch.allclose(scores.exp().sum(-1), torch.ones(len(TEXTS)), atol=1e-4)


def test_labels_that_are_the_same_tokens_are_refused() -> None:
    backbone = make_backbone("t5")
    with pytest.raises(ConfigError, match=r"'\?' and '!' have the same tokens"):
        backbone.label_set(("good", "?", "!"), 8)


def test_rows_that_ended_leave_the_batch_and_change_nothing(monkeypatch) -> None:
    backbone = make_backbone("llama")
    prompts, sources = _asked(backbone)
    plain = greedy(backbone, prompts, sources, 8)
    # first tokens of at least half of the rows become end marks
    ends = [backbone.eos_id]
    for token in plain[:, 0].unique().tolist():
        if int(torch.isin(plain[:, 0], torch.tensor(ends)).sum()) < len(TEXTS) / 2:
            ends.append(token)
    backbone.end_ids = tuple(ends)
    assert not torch.isin(plain[:, 0], torch.tensor(ends)).all()
    monkeypatch.setattr("dtvg.backbones.decoding.SMALLEST_CUT", 1000)
    whole = greedy(backbone, prompts, sources, 8)
    monkeypatch.setattr("dtvg.backbones.decoding.SMALLEST_CUT", 1)
    rows = []
    advance = backbone.advance
    backbone.advance = lambda prefix, tokens: (rows.append(len(tokens)), advance(prefix, tokens))[1]
    assert torch.equal(greedy(backbone, prompts, sources, 8), whole)
    assert min(rows) < len(TEXTS)


def test_generation_stops_when_every_row_has_its_end_mark() -> None:
    backbone = make_backbone("t5")
    prompts, sources = _asked(backbone)
    first = greedy(backbone, prompts, sources, 1)[:, 0]
    backbone.end_ids = tuple(first.tolist())
    steps = []
    backbone.advance = lambda prefix, tokens: steps.append(1)
    assert greedy(backbone, prompts, sources, 50).shape == (len(TEXTS), 1)
    assert steps == []


def test_an_input_is_read_once_for_all_labels() -> None:
    backbone = make_backbone("t5")
    encoder = backbone.model.get_encoder()
    seen = []
    encoder.register_forward_hook(lambda *args: seen.append(1))
    backbone.label_scores(*_asked(backbone), backbone.label_set(("once upon", "good", "bad"), 8))
    assert seen == [1]


def test_logits_are_the_model_s_own_with_soft_caps_and_scalings() -> None:
    for name in ("gemma2", "cohere", "granite", "opt", "bart"):
        backbone = make_backbone(name)
        example = Encoded(torch.arange(5, 9).numpy(), torch.tensor([8, 9, 1]).numpy())
        prompt = backbone.init_prompt(3, 0)[None]
        logits, hidden = backbone.outputs(prompt, backbone.collate([example]))
        if name == "gemma2":
            assert logits.abs().max() <= 2.0
        assert logits.shape[:2] == hidden.shape[:2] == (1, 3)


def test_equal_scores_go_to_the_lower_token_ids_as_in_decoding() -> None:
    backbone = make_backbone("t5")
    words = ("yes", "no", "good", "bad")
    labels = backbone.label_set(words, 8)
    lowest = min(range(4), key=lambda i: labels.ids[i])
    assert lowest != 0
    texts, margins = best_labels(torch.zeros(2, 4), labels)
    assert texts == [words[lowest]] * 2 and margins == [0.0, 0.0]
