"""PEFT's prompt adapters: reading and writing the folder `PeftModel.from_pretrained` loads.

An adapter is `adapter_config.json` beside `adapter_model.safetensors` (or `.bin`) with a tensor
`prompt_embeddings [r, d]`. PROMPT_TUNING, P_TUNING and CPT hold one prompt; MULTITASK_PROMPT_TUNING
gives one for each of its tasks. Prompts here stand before the encoder's input only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from dtvg.errors import StoreError
from dtvg.store.files import replace_bytes, replace_json
from dtvg.store.formats import AdapterFile, checked

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLED = "adapter_model.bin"
TENSOR = "prompt_embeddings"
PLAIN = ("PROMPT_TUNING", "P_TUNING", "CPT")
"""Kinds whose file holds the prompt as it stands before the input."""
MULTITASK = "MULTITASK_PROMPT_TUNING"
ENCODER = "encoder"
"""Part to take of a prompt for encoder and decoder."""
ELSEWHERE = "free some space, or give another folder"
"""What to do where an exported prompt cannot be written."""
POINTER = b"version https://git-lfs"
Tensors = Mapping[str, np.ndarray]
Reader = Callable[[Path], Tensors]
"""Reads torch's own files; handed in, because this room has no torch."""


class Adapter(NamedTuple):
    """An adapter that was read."""

    prompt: np.ndarray
    """`[r d]` float32."""
    facts: dict[str, Any]
    """Its configuration."""
    said: str
    """What was taken of it, where it holds more; empty otherwise."""


def find_adapter(folder: Path) -> Path:
    """Return the folder that holds the adapter: this one, or the only one below that does.

    Raises:
        StoreError: if there is none, or several; they are named.
    """
    if (folder / CONFIG).exists():
        return folder
    inside = sorted(path.parent for path in folder.glob(f"*/{CONFIG}"))
    inside = inside or sorted(path.parent for path in folder.glob(f"*/*/{CONFIG}"))
    if len(inside) == 1:
        return inside[0]
    if inside:
        names = ", ".join(f"'{path.relative_to(folder)}'" for path in inside[:10])
        raise StoreError(f"'{folder}' holds {len(inside)} adapters: {names}; give one of them.")
    held = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
    whole = [*folder.glob("model*.safetensors"), *folder.glob("pytorch_model*.bin")]
    what = "a whole model, not an adapter" if whole else f"no {CONFIG}, but {held}"
    raise StoreError(
        f"'{folder}' holds {what}; give the folder that PEFT's save_pretrained wrote "
        f"({CONFIG} and {WEIGHTS})."
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Read an adapter's configuration.

    Raises:
        StoreError: it is absent, a Git LFS pointer or no JSON object.
    """
    path = folder / CONFIG
    try:
        content = path.read_bytes()
        refuse_pointer(content, path)
        values = json.loads(content.decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise StoreError(
            f"'{folder}' has no readable {CONFIG}; give the folder that PEFT's "
            "save_pretrained wrote."
        )
    checked(path, values, AdapterFile)
    return values


def read_adapter(
    folder: Path, read_pickled: Reader | None = None, part: str | None = None
) -> Adapter:
    """Read an adapter that holds, or gives, one soft prompt.

    Args:
        folder: holds adapter_config.json and adapter_model.safetensors or .bin.
        read_pickled: reads `.bin`; None: it is refused.
        part: task of a MULTITASK_PROMPT_TUNING adapter by its place, `encoder` for the encoder's
            half of a prompt for encoder and decoder, or both: `0,encoder`.

    Returns:
        The prompt `[r d]` float32, the adapter's configuration, and what was left out.

    Raises:
        StoreError: a file is missing or unreadable, another kind of adapter, a prompt for
            encoder and decoder without `part`, or shapes that contradict the configuration.
    """
    facts = read_config(folder)
    kind = str(facts.get("peft_type", "")).rsplit(".", 1)[-1].upper()
    if kind not in (*PLAIN, MULTITASK):
        raise StoreError(
            f"'{folder}' is an adapter of kind {kind or 'unknown'}; only {', '.join(PLAIN)} and "
            f"{MULTITASK} give a soft prompt that stands before the input. Export one of those "
            "instead."
        )
    tensors, where = _tensors(folder, read_pickled)
    _refuse_trained(tensors, facts, kind, where)
    asked = [one.strip() for one in part.split(",")] if part else []
    half = ENCODER in asked
    task = next((one for one in asked if one != ENCODER), None)
    if kind == MULTITASK:
        prompt, said = _of_task(tensors, where, task)
    else:
        if task is not None and task not in tensors:
            raise StoreError(
                f"'{folder}' has no part '{task}'; it holds one prompt, so leave --part out."
            )
        prompt, said = single_matrix(tensors, where, TENSOR, task), ""
    prompt, more = _encoder_half(prompt, facts, folder, kind, half)
    width = facts.get("token_dim")
    length = facts.get("num_virtual_tokens")
    if (length and prompt.shape[0] != length) or (width and prompt.shape[1] != width):
        raise StoreError(
            f"'{folder}' says {length} virtual tokens of width {width}, its tensor is "
            f"{list(prompt.shape)}, so the adapter is damaged; save it again."
        )
    return Adapter(prompt, facts, ", ".join(one for one in (said, more) if one))


def _tensors(folder: Path, read_pickled: Reader | None) -> tuple[Tensors, Path]:
    """Return an adapter's tensors, and the file that they are in."""
    if not (folder / WEIGHTS).exists() and (folder / PICKLED).exists():
        if read_pickled is None:
            raise StoreError(
                f"'{folder}' has {PICKLED} and no {WEIGHTS}; save the adapter again as safetensors."
            )
        refuse_pointer((folder / PICKLED).read_bytes()[:64], folder / PICKLED)
        return read_pickled(folder / PICKLED), folder / PICKLED
    return read_safetensors(folder / WEIGHTS), folder / WEIGHTS


HELD = {MULTITASK: (TENSOR, "prefix_task_cols", "prefix_task_rows")}
"""Names of all tensors that a kind of adapter holds beside the prompt itself."""


def _refuse_trained(tensors: Tensors, facts: Mapping[str, Any], kind: str, where: Path) -> None:
    """Refuse an adapter that trained more than its prompt: without the rest it answers otherwise.

    Raises:
        StoreError: naming the tensors, and what `modules_to_save` lists.
    """
    allowed = HELD.get(kind, (TENSOR,))
    others = [name for name in tensors if name not in allowed]
    if kind in PLAIN and len(tensors) == 1:
        others = []  # the one matrix is the prompt, whatever it is called
    saved = facts.get("modules_to_save") or []
    if others or saved:
        held = ", ".join(f"{name} {list(tensors[name].shape)}" for name in others[:5])
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        listed = ", ".join(map(str, saved if isinstance(saved, list) else [saved]))
        why = " and ".join(
            part
            for part in (
                f"holds {held}{more}" if others else "",
                f"lists modules_to_save: {listed}" if saved else "",
            )
            if part
        )
        raise StoreError(
            f"'{where.parent}' {why}: layers that were trained with the prompt, without which it "
            "gives other answers. Only the prompt can be imported; train an adapter without "
            "modules_to_save."
        )


def _of_task(tensors: Tensors, where: Path, task: str | None) -> tuple[np.ndarray, str]:
    """Return one task's prompt: the shared one times the task's own matrix of low rank.

    Wang et al. 2023 (arXiv 2303.02861), section 3: P_k = P* ∘ (u_k ⊗ v_k).
    """
    shared = single_matrix(tensors, where, TENSOR)
    columns, rows = tensors.get("prefix_task_cols"), tensors.get("prefix_task_rows")
    if columns is None or rows is None or columns.ndim != 3 or rows.ndim != 3:
        raise StoreError(
            f"'{where}' lacks prefix_task_cols and prefix_task_rows of its tasks, so the adapter "
            "is damaged; save it again."
        )
    count = len(columns)
    if task is None and count == 1:
        task = "0"
    if task is None or not task.isdigit() or int(task) >= count:
        got = "no task is named" if task is None else f"there is no task '{task}'"
        raise StoreError(
            f"'{where}' holds prompts of {count} tasks and {got}; name one by its place with "
            f"--part 0 to --part {count - 1}."
        )
    own = columns[int(task)].astype(np.float32) @ rows[int(task)].astype(np.float32)
    if own.shape != shared.shape:
        raise StoreError(
            f"'{where}' has a shared prompt {list(shared.shape)} and a task's matrix "
            f"{list(own.shape)}, so the adapter is damaged; save it again."
        )
    prompt = (shared * own).astype(np.float32)
    if not np.isfinite(prompt).all():
        raise StoreError(f"'{where}' holds numbers that are not finite; nothing was imported.")
    return prompt, f"task {task} of {count}"


def _encoder_half(
    prompt: np.ndarray, facts: Mapping[str, Any], folder: Path, kind: str, asked: bool
) -> tuple[np.ndarray, str]:
    """Return the rows before the encoder's input, where there are others for the decoder."""
    copies, length = facts.get("num_transformer_submodules"), facts.get("num_virtual_tokens")
    both = bool(length) and prompt.shape[0] == 2 * int(length or 0)
    if not both:
        if copies not in (None, 1):
            raise StoreError(
                f"'{folder}' says that its prompt is for encoder and decoder "
                f"(num_transformer_submodules {copies}), but it has {prompt.shape[0]} rows for "
                f"{length} virtual tokens, so the adapter is damaged; save it again."
            )
        return prompt, ""
    lost = (
        "PEFT computes with both halves, so answers will differ from PEFT's"
        if kind == MULTITASK
        else "PEFT since version 0.4 does not read the decoder's half of this kind, so nothing "
        "that it computes is lost"
    )
    if not asked:
        raise StoreError(
            f"'{folder}' has prompts for encoder and decoder (num_transformer_submodules "
            f"{copies}, {prompt.shape[0]} rows); prompts here stand before the encoder only. "
            f"--part {ENCODER} imports the first {length} rows and leaves the decoder's out: "
            f"{lost}."
        )
    return prompt[: int(length or 0)].copy(), f"the encoder's half; {lost}"


def refuse_pointer(content: bytes, path: Path) -> None:
    """Refuse what Git LFS leaves in place of a file that was not fetched.

    Raises:
        StoreError: naming the file and what fetches it.
    """
    if content.startswith(POINTER):
        raise StoreError(
            f"'{path}' is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`."
        )


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
    content = save(tensors, metadata={"format": "pt"})
    replace_bytes(folder / WEIGHTS, content, advice=ELSEWHERE)
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
        advice=ELSEWHERE,
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
    refuse_pointer(content, path)
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
    model = [name for name in tensors if name.startswith("base_model.")]
    if model:
        raise StoreError(
            f"'{where}' holds tensors of the model beside a prompt ({', '.join(model[:5])}), "
            "without which the prompt gives other answers; nothing was imported."
        )
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
    if not prompt.size:
        raise StoreError(
            f"'{where}' holds a prompt without tokens ({list(prompt.shape)}); nothing was imported."
        )
    if not np.isfinite(prompt).all():
        raise StoreError(f"'{where}' holds numbers that are not finite; nothing was imported.")
    return prompt


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _without_bfloat16(content: bytes) -> bytes:
    """Rewrite bfloat16 tensors as float32: NumPy has no bfloat16."""
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
