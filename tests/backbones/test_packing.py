"""Several examples in a row: where they stand, who sees whom, and which models it is done for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from dtvg.backbones.base import Encoded
from dtvg.backbones.decoder_only import DecoderOnly
from dtvg.backbones.encoder_decoder import EncoderDecoder
from dtvg.backbones.packing import Packing, Rows, laid_out, layout, pieces
from dtvg.training.engine import Engine

from ..training import factory

WIDTHS = st.lists(st.integers(1, 60), min_size=1, max_size=40)


@given(WIDTHS, st.floats(5, 5000))
def test_every_example_stands_in_one_row_and_rows_cost_no_more_than_one_each(widths, reach) -> None:
    rows = layout(widths, reach)
    assert sorted(i for row in rows for i in row) == list(range(len(widths)))
    if len(widths) <= 16:
        longest = max(sum(widths[i] for i in row) for row in rows)
        alone = len(widths) * max(widths) * (1 + max(widths) / reach)
        assert len(rows) * longest * (1 + longest / reach) <= alone * (1 + 1e-12)


@given(WIDTHS, st.integers(0, 5), st.floats(5, 5000))
def test_tokens_are_read_once_in_their_order_and_see_their_own_example_only(
    widths, more, reach
) -> None:
    stride = max(widths) + more
    read, starts = laid_out(layout(widths, reach), widths, stride)
    rows = Rows(*(torch.from_numpy(part) for part in read))
    there = rows.example >= 0
    for example, width in enumerate(widths):
        mine = rows.example == example
        assert rows.read[mine].tolist() == [example * stride + k for k in range(width)]
        assert rows.position[mine].tolist() == list(range(width))
        assert int(mine.flatten().nonzero()[0]) == starts[example]
    assert int(there.sum()) == sum(widths)
    back, whole = rows.looks_back()[:, 0], rows.sees(rows)[:, 0]
    counts = rows.position + 1
    assert torch.equal(back.sum(-1)[there], counts[there])
    assert torch.equal(whole.sum(-1)[there], torch.tensor(widths)[rows.example[there]])
    assert bool(back.any(-1).all() and whole.any(-1).all()), "a softmax over nothing"


@given(WIDTHS, st.integers(1, 300))
def test_pieces_hold_the_budget_and_the_longest_come_first(widths, budget) -> None:
    found = pieces(widths, budget)
    assert sorted(np.concatenate(found).tolist()) == list(range(len(widths)))
    assert all(len(p) == 1 or sum(widths[i] for i in p) <= budget for p in found)
    order = [widths[i] for piece in found for i in piece]
    assert order == sorted(order, reverse=True)


class Numbers:
    all_special_ids = (0, 1)
    pad_token_id, eos_token_id = 0, 1


def learned_positions() -> Any:
    """A BART, whose encoder counts the positions of a row."""
    config = transformers.BartConfig(
        vocab_size=60, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
        max_position_embeddings=128, dropout=0.0, attention_dropout=0.0, init_std=1.0,
    )  # fmt: skip
    model = transformers.BartForConditionalGeneration(config).double()
    return EncoderDecoder(model, Numbers(), "bart", "0")


def window() -> Any:
    """A Mistral, which looks back only so far."""
    config = transformers.MistralConfig(
        vocab_size=60, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, sliding_window=4,
    )  # fmt: skip
    return DecoderOnly(transformers.MistralForCausalLM(config).double(), Numbers(), "m", "0")


def given_positions() -> Any:
    """A GPT-2, whose learned positions can be given."""
    config = transformers.GPT2Config(
        vocab_size=60, n_embd=16, n_layer=2, n_head=2, n_positions=64,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, initializer_range=0.5,
    )  # fmt: skip
    return DecoderOnly(transformers.GPT2LMHeadModel(config).double(), Numbers(), "gpt2", "0")


@pytest.mark.parametrize(
    ("make", "packs"), [(learned_positions, False), (window, False), (given_positions, True)]
)
def test_only_models_that_tell_examples_of_a_row_apart_are_packed(make: Any, packs: bool) -> None:
    torch.manual_seed(0)
    backbone = make()
    assert backbone.packs is packs
    assert (Engine().reach(backbone) is not None) is packs
    assert Engine(version=3).reach(backbone) is None  # an experiment that was begun before


def test_a_row_that_is_longer_than_learned_positions_is_fine_where_each_example_fits() -> None:
    backbone = given_positions()
    drawn = np.random.default_rng(0)
    examples = [Encoded(drawn.integers(2, 60, 40), np.array([5, 1])) for _ in range(3)]
    prompt = torch.randn(3, 4, 16, dtype=torch.float64)
    packed = backbone.loss(prompt, backbone.pack(examples, Packing(4, 1e9)))[0]
    assert torch.allclose(packed, backbone.loss(prompt, backbone.collate(examples))[0], atol=1e-9)


def test_an_answer_that_begins_with_a_forced_token_is_predicted_after_it() -> None:
    backbone = factory.tiny_backbone()
    backbone.start = [0, 7]
    examples, prompt = factory.rows(6, 2), torch.randn(6, 4, factory.WIDTH, dtype=torch.float64)
    packed = backbone.loss(prompt, backbone.pack(examples, Packing(4, 50.0)))[0]
    assert torch.allclose(packed, backbone.loss(prompt, backbone.collate(examples))[0], atol=1e-9)
