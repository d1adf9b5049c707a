"""Loading a backbone: which family it is, how precisely, and one sentence where it cannot be.

Code that comes with a model is never run (`trust_remote_code` stays off).
"""

from __future__ import annotations

import hashlib
import logging
import re
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from dtvg import extras
from dtvg.backbones.base import UNKNOWN_REVISION, Backbone
from dtvg.backbones.decoder_only import DecoderOnly
from dtvg.backbones.encoder_decoder import EncoderDecoder
from dtvg.backbones.faults import sentence
from dtvg.backbones.gguf_loading import GgufFile
from dtvg.backbones.specs import is_gguf, location, whole_in_cache
from dtvg.config import BackboneConfig
from dtvg.errors import ConfigError
from dtvg.network import hub_left_alone, refuse_unreachable_hub

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}
COMMIT = re.compile("[0-9a-f]{40}")
"""How the hub writes a commit in full."""
QUANTISED = ("int8", "int4")
FAULTS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    ImportError,
    RuntimeError,
    SafetensorError,
)
"""What the libraries raise for folders and names that cannot be used."""


def load_backbone(
    config: BackboneConfig,
    device: str = "cpu",
    precision: str = "float32",
    template: str = "plain",
) -> Backbone:
    """Load a backbone from a folder, a GGUF file or the hub, frozen, onto a device.

    Args:
        config: name ('demo', hub id, folder or GGUF file), revision and dropout.
        device: a torch device name.
        precision: `float32`, `bfloat16`, `float16`, `float64`, `int8` or `int4`.
        template: how inputs are put to it (`data.template`): `plain` or `chat`.

    Raises:
        ConfigError: if the name means nothing, it is not a model that writes answers, or loading
            fails (with the library's reason).
    """
    weights = _weight_options(precision, device)
    place = location(config.name)
    source: _Files | GgufFile = (
        GgufFile(config.name, Path(place)) if is_gguf(place) else _Files(config)
    )
    with source.hub():
        settings, tokenizer, model = _load(config.name, source, weights)
    if precision not in QUANTISED:
        model = model.to(device)
    family = EncoderDecoder if settings.is_encoder_decoder else DecoderOnly
    revision = source.revision(settings)
    backbone = family(model, tokenizer, config.name, revision, config.dropout, template)
    if isinstance(source, _Files):
        backbone.commit = source.commit(settings)
    backbone.precision = precision
    if "inputs_embeds" not in backbone.accepts:
        raise ConfigError(
            f"Backbone '{config.name}' ({settings.model_type}) does not accept input embeddings, "
            "so it cannot take a soft prompt; choose another backbone."
        )
    return backbone


def _load(name: str, source: _Files | GgufFile, weights: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Return a model's configuration, tokenizer and the model, as the library loads them."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    settings = _attempt(name, source.told_by, source.settings)
    check_architecture(name, settings)
    tokenizer = _attempt(name, "its tokenizer", source.tokenizer)
    _check_tokenizer(name, tokenizer)
    loader: Any = (
        transformers.AutoModelForSeq2SeqLM
        if settings.is_encoder_decoder
        else transformers.AutoModelForCausalLM
    )
    model, report = _attempt(name, "its weights", source.model, loader, **weights)
    _check_complete(name, report)
    return settings, tokenizer, model


def _place(config: BackboneConfig) -> tuple[str, str | None, bool]:
    """Return the folder or hub id to load from, the revision, and whether to ask nobody.

    A model that lies whole in the hub's cache is loaded from there, without a request. Where the
    hub cannot be reached nothing is asked of it either: its client would repeat every request.
    """
    place = location(config.name)
    if Path(place).is_dir():
        return place, config.revision, False
    folder = whole_in_cache(place, config.revision)
    if folder is not None:
        return str(folder), None, True
    try:
        refuse_unreachable_hub()
    except ConnectionError:
        return place, config.revision, True
    return place, config.revision, False


class _Files:
    """A folder written by save_pretrained, or a model of the hub."""

    told_by = "its config.json"

    def __init__(self, config: BackboneConfig) -> None:
        self.config = config
        self.place, revision, self.silent = _place(config)
        self.options: dict[str, Any] = {"trust_remote_code": False}
        if revision:
            self.options["revision"] = revision

    def hub(self) -> AbstractContextManager[None]:
        """Ask the hub nothing while loading, where that would be in vain."""
        return hub_left_alone() if self.silent else nullcontext()

    def settings(self) -> Any:
        import transformers

        return transformers.AutoConfig.from_pretrained(self.place, **self.options)

    def tokenizer(self) -> Any:
        import transformers

        return transformers.AutoTokenizer.from_pretrained(self.place, **self.options)

    def model(self, loader: Any, **weights: Any) -> Any:
        return loader.from_pretrained(
            self.place, output_loading_info=True, **weights, **self.options
        )

    def revision(self, settings: Any) -> str:
        """Return what identifies the weights: the hub's commit, what was asked for, or a hash."""
        return self.commit(settings) or self.config.revision or _revision(self.place)

    def commit(self, settings: Any) -> str:
        """Return the hub's commit that a model came from; empty where none is or it was asked for.

        A branch or tag names another commit tomorrow.
        """
        folder = Path(self.place)
        asked = COMMIT.fullmatch(self.config.revision or "")
        if asked or (folder.is_dir() and folder.parent.name != "snapshots"):
            return ""
        if folder.is_dir():
            return folder.name
        return str(getattr(settings, "_commit_hash", None) or "")


def check_architecture(name: str, settings: Any) -> None:
    """Refuse models that do not write answers.

    Args:
        name: the backbone's.
        settings: its `transformers` configuration.

    Raises:
        ConfigError: an encoder-only model, or one without a language-model head.
    """
    from transformers.models.auto import modeling_auto as auto

    kind = settings.model_type
    if settings.is_encoder_decoder:
        if kind in auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
            return
        reason = "an encoder-decoder without a text output"
    elif kind not in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        masked = kind in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
        reason = "an encoder-only model" if masked else "not a language model that generates text"
    elif kind in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(
        settings, "is_decoder", False
    ):
        reason = "an encoder-only model"
    else:
        return
    raise ConfigError(
        f"Backbone '{name}' (architecture '{kind}') is {reason}; choose an encoder-decoder (T5, "
        "BART, ...) or a decoder-only one (Llama, Qwen, OPT, ...)."
    )


def _attempt(name: str, what: str, do: Any, *arguments: Any, **options: Any) -> Any:
    """Call a loader; its faults become one sentence."""
    try:
        return do(*arguments, **options)
    except torch.OutOfMemoryError:
        raise ConfigError(
            f"Backbone '{name}' does not fit into the memory of the device; set device.precision "
            "to bfloat16, int8 or int4, or choose a smaller backbone."
        ) from None
    except FAULTS as error:
        raise ConfigError(sentence(name, what, error)) from None


def _check_tokenizer(name: str, tokenizer: Any) -> None:
    """Refuse a place without tokenizer files, for which the library makes an empty one."""
    ordinary = tokenizer("a b c 1 2 3", add_special_tokens=False)["input_ids"]
    if not ordinary or set(ordinary) <= set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}:
        raise ConfigError(
            f"Backbone '{name}' has no tokenizer files (tokenizer.json, or a sentencepiece model); "
            "save them into the same folder with tokenizer.save_pretrained."
        )


def _check_complete(name: str, report: Any) -> None:
    """Refuse weights with gaps: what is missing would be random."""
    missing = sorted(report.get("missing_keys") or ())
    if missing:
        shown = ", ".join(missing[:3])
        raise ConfigError(
            f"Backbone '{name}' lacks {len(missing)} weight tensors ({shown}, ...); these weights "
            "would be random. Give a folder with the whole language model."
        )


def _weight_options(precision: str, device: str) -> dict[str, Any]:
    """Return how weights are loaded.

    Raises:
        ConfigError: quantised loading without its package or without CUDA.
    """
    if precision not in QUANTISED:
        return {"dtype": DTYPES[precision]}
    if find_spec("bitsandbytes") is None:
        raise ConfigError(
            f"Precision '{precision}' needs the package bitsandbytes; "
            f"`{extras.command('quantized')}`, or set device.precision to bfloat16."
        )
    if not device.startswith("cuda"):
        raise ConfigError(
            f"Precision '{precision}' needs a CUDA device, got '{device}'; set device.precision "
            "to float32 or bfloat16."
        )
    import transformers

    # it repeats at every call that int8 products pass through float16
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    half = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    quantised = transformers.BitsAndBytesConfig(
        load_in_8bit=precision == "int8",
        load_in_4bit=precision == "int4",
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=half,
        bnb_4bit_use_double_quant=True,
    )
    return {"dtype": half, "quantization_config": quantised, "device_map": {"": device}}


def _revision(place: str) -> str:
    """Return what identifies the weights: a hash of a folder's files.

    Of a hub id whose commit the library does not tell nothing is known.
    """
    folder = Path(place)
    if not folder.is_dir():
        return UNKNOWN_REVISION
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".safetensors", ".bin", ".json", ".model"):
            continue
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            digest.update(file.read(1 << 26))
            if size > 1 << 26:
                file.seek(-(1 << 20), 2)
                digest.update(file.read())
    return digest.hexdigest()[:16]
