"""Both backbone families on real pre-trained models, and on tiny random ones made here."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from dtvg.backbones.base import Backbone
from dtvg.backbones.loading import load_backbone
from dtvg.backbones.specs import location
from dtvg.config import BackboneConfig
from dtvg.errors import ConfigError

SHARED = Path(os.environ.get("DTVG_SHARED", Path(__file__).parents[3] / "shared"))
SOURCES = ["sst2 sentence: a great film", "sst2 sentence: once upon a time there was a bad movie"]
TARGETS = ["1", "0"]


@pytest.fixture(params=["mini-t5", "stories260K"], scope="module")
def backbone(request: pytest.FixtureRequest) -> Backbone:
    folder = SHARED / "models" / request.param
    if not folder.exists():
        pytest.skip(f"needs {folder}")
    return load_backbone(BackboneConfig(name=str(folder)), precision="float64")


def _prompts(backbone: Backbone, rows: int = 2, length: int = 5) -> torch.Tensor:
    prompt = backbone.init_prompt(length, seed=0).double()
    return prompt.expand(rows, -1, -1).clone()


def test_only_the_prompt_receives_a_gradient(backbone: Backbone) -> None:
    prompt = _prompts(backbone).requires_grad_()
    examples = backbone.encode(SOURCES, TARGETS, 64, 8)
    nll, tokens = backbone.loss(prompt, backbone.collate(examples))
    (nll / tokens).sum().backward()
    assert prompt.grad is not None and prompt.grad.abs().sum() > 0
    assert all(not p.requires_grad and p.grad is None for p in backbone.model.parameters())
    assert not backbone.model.training


def test_a_padded_batch_equals_single_rows(backbone: Backbone) -> None:
    prompt = _prompts(backbone)
    examples = backbone.encode(SOURCES, ["1", "once upon a time"], 64, 12)
    together, tokens = backbone.loss(prompt, backbone.collate(examples))
    for i, example in enumerate(examples):
        alone, count = backbone.loss(prompt[i : i + 1], backbone.collate([example]))
        assert torch.allclose(alone[0], together[i], atol=1e-9)
        assert int(count[0]) == int(tokens[i]) == len(example.target)


def test_generation_does_not_depend_on_its_neighbours(backbone: Backbone) -> None:
    prompt = _prompts(backbone)
    examples = backbone.encode(SOURCES, TARGETS, 64, 8)
    sources = [e.source for e in examples]
    together = backbone.generate(prompt, sources, 6)
    alone = [backbone.generate(prompt[:1], [source], 6)[0] for source in sources]
    assert together == alone


def test_what_is_generated_is_what_the_loss_prefers(backbone: Backbone) -> None:
    prompt = _prompts(backbone, rows=1)
    source = backbone.encode(SOURCES[:1], TARGETS[:1], 64, 8)[0]
    logits, hidden = backbone.outputs(prompt, backbone.collate([source]))
    first = int(logits[0, 0].argmax())
    answer = backbone.generate(prompt, [source.source], 1)[0]
    assert answer == backbone.tokenizer.decode([first], skip_special_tokens=True).strip()
    assert hidden.shape[-1] == backbone.width


def test_the_initial_prompt_is_a_seeded_draw_of_distinct_ordinary_embeddings(
    backbone: Backbone,
) -> None:
    first, again = backbone.init_prompt(20, seed=3), backbone.init_prompt(20, seed=3)
    assert torch.equal(first, again) and first.dtype == torch.float32
    assert not torch.equal(first, backbone.init_prompt(20, seed=4))
    weight = backbone.model.get_input_embeddings().weight.float()
    rows = [int((weight == row).all(-1).nonzero()[0]) for row in first]
    assert len(set(rows)) == 20
    assert not set(rows) & set(backbone.tokenizer.all_special_ids)


def test_a_prompt_longer_than_the_draw_is_refused_with_both_numbers(backbone: Backbone) -> None:
    with pytest.raises(ConfigError, match=r"Prompt length 30 .* first 20 ids"):
        backbone.init_prompt(30, seed=0, vocabulary=20)


def test_long_inputs_are_cut_and_answers_keep_their_end(backbone: Backbone) -> None:
    example = backbone.encode(["word " * 300], ["yes " * 50], 32, 8)[0]
    assert len(example.source) <= 32
    assert len(example.target) == 8 and example.target[-1] == backbone.eos_id


def test_bad_names_are_answered_with_a_sentence(tmp_path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'google-t5/t5-base'"):
        location("t5-base")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"no config\.json"):
        location(str(tmp_path / "empty"))


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_right_padding_is_right_for_learned_and_rotary_positions(positions: str) -> None:
    import transformers

    from dtvg.backbones.decoder_only import DecoderOnly

    torch.manual_seed(0)
    if positions == "learned":
        config = transformers.GPT2Config(
            vocab_size=50, n_positions=64, n_embd=16, n_layer=2, n_head=2
        )
        model = transformers.GPT2LMHeadModel(config).double()
    else:
        config = transformers.GPTNeoXConfig(
            vocab_size=50,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
        )
        model = transformers.GPTNeoXForCausalLM(config).double()

    class Numbers:
        all_special_ids = (0, 1)
        pad_token_id, eos_token_id, bos_token_id = 0, 1, None

    backbone = DecoderOnly(model, Numbers(), "random", "0")
    from dtvg.backbones.base import Encoded

    rows = [
        Encoded(np.arange(2, 5), np.array([7, 1])),
        Encoded(np.arange(2, 12), np.array([9, 8, 1])),
    ]
    prompt = torch.randn(2, 4, 16, dtype=torch.float64)
    together, _ = backbone.loss(prompt, backbone.collate(rows))
    for i, row in enumerate(rows):
        alone, _ = backbone.loss(prompt[i : i + 1], backbone.collate([row]))
        assert torch.allclose(alone[0], together[i], atol=1e-10)
        whole = np.concatenate([row.source, row.target])
        embeds = torch.cat([prompt[i], backbone.embed(torch.from_numpy(whole)[None])[0]])
        logits = model(inputs_embeds=embeds[None]).logits[0]
        places = range(4 + len(row.source) - 1, 4 + len(whole) - 1)
        direct = sum(
            torch.nn.functional.cross_entropy(logits[p], torch.tensor(int(t)))
            for p, t in zip(places, row.target, strict=True)
        )
        assert torch.allclose(direct, together[i], atol=1e-10)
