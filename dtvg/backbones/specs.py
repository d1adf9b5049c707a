"""Backbones by name: rows of data and how a name becomes a folder or a hub id.

Must not import torch or transformers: the launch form and the planner on a page read it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtvg import paths
from dtvg.errors import ConfigError, unknown


@dataclass(frozen=True)
class BackboneSpec:
    """One backbone people choose by name."""

    name: str
    title: str
    family: str
    """`encoder_decoder` or `decoder_only`."""
    parameters: str
    licence: str


BACKBONES: dict[str, BackboneSpec] = {
    spec.name: spec
    for spec in (
        BackboneSpec("demo", "Embedded tiny T5 (demo)", "encoder_decoder", "<4 M", "Apache-2.0"),
        BackboneSpec("google-t5/t5-small", "T5 small", "encoder_decoder", "60 M", "Apache-2.0"),
        BackboneSpec("google-t5/t5-base", "T5 base", "encoder_decoder", "220 M", "Apache-2.0"),
        BackboneSpec("google-t5/t5-large", "T5 large", "encoder_decoder", "770 M", "Apache-2.0"),
        BackboneSpec(
            "google/t5-base-lm-adapt",
            "T5 1.1 base, LM-adapted",
            "encoder_decoder",
            "250 M",
            "Apache-2.0",
        ),
        BackboneSpec(
            "google/flan-t5-base", "Flan-T5 base", "encoder_decoder", "250 M", "Apache-2.0"
        ),
        BackboneSpec(
            "meta-llama/Llama-3.2-1B", "Llama 3.2 1B", "decoder_only", "1.2 B", "Llama 3.2"
        ),
        BackboneSpec(
            "meta-llama/Llama-3.2-3B", "Llama 3.2 3B", "decoder_only", "3.2 B", "Llama 3.2"
        ),
    )
}


@dataclass(frozen=True)
class BackboneFacts:
    """What a backbone's configuration file says, for planning without loading it."""

    width: int
    vocabulary: int
    layers: int
    encoder_decoder: bool
    feed_forward: int = 0

    @property
    def matmul_parameters(self) -> int:
        """Rough count of weights an input token passes (encoder side of an encoder-decoder)."""
        return self.layers * (
            4 * self.width**2 + 3 * self.width * (self.feed_forward or self.width * 4)
        )


def location(name: str) -> str:
    """Return the folder or hub id that `name` stands for.

    Raises:
        ConfigError: if it is neither a known name, a folder with a config.json, nor a hub id.
    """
    if name == "demo":
        folder = paths.demo() / "backbone"
        if not (folder / "config.json").exists():
            raise ConfigError(
                f"The demo backbone is not at '{folder}'; `python -m dtvg demo build` makes it."
            )
        return str(folder)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").exists():
            raise ConfigError(
                f"Backbone folder '{name}' holds no config.json; give a folder written by "
                "save_pretrained, or a hub id."
            )
        return str(folder)
    if name in BACKBONES or (name.count("/") == 1 and not name.startswith((".", "/", "~"))):
        return name
    raise ConfigError(
        unknown("backbone", name, BACKBONES, "A folder that exists or a hub id OWNER/NAME also do.")
    )


def facts(name: str) -> BackboneFacts | None:
    """Read a local backbone's sizes from its config.json; None for one that is not on disk."""
    try:
        text = (Path(location(name)) / "config.json").read_text(encoding="utf-8")
        values: dict[str, Any] = json.loads(text)
    except (ConfigError, OSError, ValueError):
        return None
    width = values.get("d_model") or values.get("hidden_size") or values.get("n_embd")
    layers = values.get("num_layers") or values.get("num_hidden_layers") or values.get("n_layer")
    if not width or not layers:
        return None
    return BackboneFacts(
        width=int(width),
        vocabulary=int(values.get("vocab_size", 0)),
        layers=int(layers),
        encoder_decoder=bool(values.get("is_encoder_decoder", False)),
        feed_forward=int(values.get("d_ff") or values.get("intermediate_size") or 0),
    )
