"""Sizes of backbones for planning: from files where there are any, else from the rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dtvg.backbones.specs import BACKBONES, facts


def test_every_row_has_the_sizes_that_planning_needs() -> None:
    rows = [spec for name, spec in BACKBONES.items() if name != "demo"]
    assert len(rows) >= 40
    assert all(r.width and r.layers and r.feed_forward and r.vocabulary for r in rows)
    assert {r.family for r in rows} == {"encoder_decoder", "decoder_only"}


def test_a_known_name_has_facts_without_any_file() -> None:
    found = facts("google-t5/t5-base")
    assert found is not None and found.encoder_decoder
    assert (found.width, found.layers, found.feed_forward, found.vocabulary) == (
        768,
        12,
        3072,
        32128,
    )
    assert facts("nobody/knows-this") is None


def test_the_width_is_that_of_the_embeddings_where_layers_are_wider() -> None:
    found = facts("facebook/opt-350m")
    assert found is not None and (found.width, found.hidden) == (512, 1024)


@pytest.mark.parametrize(
    "config",
    [
        {"n_embd": 64, "n_layer": 3, "n_inner": None, "vocab_size": 99},
        {"d_model": 64, "encoder_layers": 3, "encoder_ffn_dim": 8, "is_encoder_decoder": True},
        {"text_config": {"hidden_size": 64, "num_hidden_layers": 3}, "model_type": "gemma3"},
        {"word_embed_proj_dim": 64, "hidden_size": 96, "num_hidden_layers": 3, "ffn_dim": 8},
    ],
)
def test_a_config_file_is_read_under_every_family_s_names(tmp_path: Path, config: dict) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = facts(str(tmp_path))
    assert found is not None and (found.width, found.layers) == (64, 3)
    assert found.encoder_decoder is bool(config.get("is_encoder_decoder"))
    assert found.hidden == (96 if "ffn_dim" in config else 0)
