"""PEFT's prompt-tuning adapters: reading and writing the folder `PeftModel.from_pretrained` loads.

An adapter is `adapter_config.json` beside `adapter_model.safetensors` with one tensor
`prompt_embeddings [r, d]`. Prompts stand before the encoder's input only, PEFT's
`num_transformer_submodules: 1`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from dtvg.errors import StoreError
from dtvg.store.files import read_json, replace_bytes, replace_json

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
TENSOR = "prompt_embeddings"


def read_adapter(folder: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Read a prompt-tuning adapter.

    Args:
        folder: holds adapter_config.json and adapter_model.safetensors.

    Returns:
        The prompt `[r d]` float32, and the adapter's configuration.

    Raises:
        StoreError: a file is missing or unreadable, another kind of adapter, a prompt for
            encoder and decoder, or shapes that contradict the configuration.
    """
    facts = read_json(folder / CONFIG)
    if facts is None:
        raise StoreError(
            f"'{folder}' has no readable {CONFIG}; give the folder that PEFT's "
            "save_pretrained wrote."
        )
    kind = str(facts.get("peft_type", "")).rsplit(".", 1)[-1]
    if kind != "PROMPT_TUNING":
        raise StoreError(
            f"'{folder}' is an adapter of kind {kind or 'unknown'}; only PROMPT_TUNING holds a "
            "soft prompt that stands before the input. Export that one instead."
        )
    prompt = single_matrix(read_safetensors(folder / WEIGHTS), folder / WEIGHTS, TENSOR)
    copies = facts.get("num_transformer_submodules")
    length, width = facts.get("num_virtual_tokens"), facts.get("token_dim")
    if copies not in (None, 1) or (length and prompt.shape[0] == 2 * int(length)):
        raise StoreError(
            f"'{folder}' has prompts for encoder and decoder (num_transformer_submodules "
            f"{copies}, {prompt.shape[0]} rows); the workbench's prompts stand before the encoder "
            "only. Train the adapter with num_transformer_submodules=1."
        )
    if (length and prompt.shape[0] != length) or (width and prompt.shape[1] != width):
        raise StoreError(
            f"'{folder}' says {length} virtual tokens of width {width}, its tensor is "
            f"{list(prompt.shape)}, so the adapter is damaged; save it again."
        )
    return prompt, facts


def write_adapter(
    folder: Path, prompt: np.ndarray, backbone: str, encoder_decoder: bool, **more: Any
) -> None:
    """Write a prompt as a PEFT adapter folder.

    Args:
        folder: made if absent; files of the same names are replaced.
        prompt: `[r d]`.
        backbone: PEFT's base_model_name_or_path.
        encoder_decoder: decides PEFT's task type.
        more: further entries of the configuration, e.g. num_layers.

    Raises:
        StoreError: the folder cannot be written.
    """
    length, width = prompt.shape
    tensors = {TENSOR: np.ascontiguousarray(prompt, dtype=np.float32)}
    replace_bytes(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    replace_json(
        folder / CONFIG,
        {
            "peft_type": "PROMPT_TUNING",
            "task_type": "SEQ_2_SEQ_LM" if encoder_decoder else "CAUSAL_LM",
            "base_model_name_or_path": backbone,
            "inference_mode": True,
            "num_virtual_tokens": length,
            "token_dim": width,
            "num_transformer_submodules": 1,
            "prompt_tuning_init": "RANDOM",
            "prompt_tuning_init_text": None,
            "tokenizer_name_or_path": None,
            "revision": None,
            **more,
        },
    )


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Read every tensor of a file, half precision widened to float32.

    Raises:
        StoreError: it is absent or no safetensors file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(
            f"'{path}' cannot be read ({error.strerror or error}); check the path."
        ) from None
    try:
        return {k: _wide(v) for k, v in load(_without_bfloat16(content)).items()}
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"'{path}' is not a safetensors file ({error}); nothing was imported."
        ) from None


def single_matrix(
    tensors: Mapping[str, np.ndarray], where: Path, prefer: str, part: str | None = None
) -> np.ndarray:
    """Return the one prompt `[r d]` among tensors.

    Args:
        tensors: by name.
        where: named in messages.
        prefer: part of the name that wins where several are matrices.
        part: name of a tensor, or the place of a prompt in one `[n r d]`.

    Raises:
        StoreError: none or several fit, or it is not finite; all names and shapes are listed.
    """
    shown = ", ".join(f"{k} {list(v.shape)}" for k, v in tensors.items()) or "nothing"
    chosen = dict(tensors)
    if part is not None and part in chosen:
        chosen = {part: chosen[part]}
    if part is not None and part.isdigit():
        chosen = {k: v[int(part)] for k, v in chosen.items() if v.ndim == 3 and int(part) < len(v)}
    matrices = {k: v for k, v in chosen.items() if v.ndim == 2 and v.dtype.kind == "f"}
    named = {k: v for k, v in matrices.items() if prefer in k}
    found = named if len(matrices) > 1 and len(named) == 1 else matrices
    if len(found) != 1:
        raise StoreError(
            f"'{where}' should hold one soft prompt of shape [length, width]; it holds {shown}. "
            "Name one with --part NAME (or --part INDEX for a tensor [n, length, width])."
        )
    prompt = next(iter(found.values())).astype(np.float32)
    if not np.isfinite(prompt).all():
        raise StoreError(f"'{where}' holds numbers that are not finite; nothing was imported.")
    return prompt


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _without_bfloat16(content: bytes) -> bytes:
    """Rewrite bfloat16 tensors as float32: NumPy has no bfloat16."""
    import json

    size = int.from_bytes(content[:8], "little")
    if size > len(content) or b'"BF16"' not in content[8 : 8 + size]:
        return content
    header, body = json.loads(content[8 : 8 + size]), content[8 + size :]
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        if entry["dtype"] == "BF16":
            half = np.frombuffer(body[start:end], dtype="<u2").astype(np.uint32)
            tensors[name] = (half << 16).view(np.float32).reshape(entry["shape"])
        else:
            only = {name: {**entry, "data_offsets": [0, end - start]}}
            text = json.dumps(only).encode()
            tensors.update(load(len(text).to_bytes(8, "little") + text + body[start:end]))
    return save(tensors)
