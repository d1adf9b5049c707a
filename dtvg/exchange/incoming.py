"""Importing prompts into the bank: PEFT adapters, plain safetensors, tensors of published code.

What an import lacks is said, not guessed: without its initial prompt it has no vector and
serves only methods that use prompts themselves. Nothing is written before all was checked.
`.pt` files are read by a function handed in, since this room has no torch.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dtvg.backbones.specs import facts as sizes_of
from dtvg.errors import ConfigError, StoreError
from dtvg.exchange import archives
from dtvg.exchange.peft_adapter import (
    CONFIG,
    WEIGHTS,
    find_adapter,
    read_adapter,
    read_config,
    read_safetensors,
    refuse_pointer,
    single_matrix,
)
from dtvg.exchange.peft_adapter import PICKLED as OLD_WEIGHTS
from dtvg.names import check_name
from dtvg.store.bank import PromptBank, TaskPrompt, array_digest, identity
from dtvg.store.files import read_json
from dtvg.store.formats import AdapterFile, checked

SIDECAR = "dtvg_prompt.json"
"""What an export of this workbench adds to a PEFT folder; PEFT ignores it."""
TENSORS = "dtvg_prompt.safetensors"
PICKLED = (".pt", ".pth", ".bin", ".ckpt")
"""Endings of torch's own files."""
Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Import:
    """What a person says about a prompt to be imported."""

    path: Path
    task: str
    init: Path | None = None
    """File with its initial prompt, in any format that `path` may have."""
    backbone: str | None = None
    """Name of its backbone; None: as the adapter says."""
    revision: str = ""
    seed: int = 0
    score: float | None = None
    part: str | None = None
    """Which tensor, which place in a stack of prompts, which task, or `encoder`."""


def _check(asked: Import) -> None:
    if asked.task:
        check_name(asked.task, "task")
    if asked.seed < 0:
        raise ConfigError(f"A seed is a whole number from 0 on, got {asked.seed}.")
    if asked.score is not None and not 0 <= asked.score <= 1:
        raise ConfigError(
            f"A score is a share from 0 to 1 (50 % is 0.5), got {asked.score:g}; give another "
            "--score, or none."
        )


def import_prompt(
    asked: Import, bank: PromptBank, read_pickled: Callable[[Path], Tensors] | None = None
) -> TaskPrompt:
    """Read a prompt, check it, and put it into the bank.

    Args:
        asked: file or folder, and what is known about it.
        bank: where it goes.
        read_pickled: reads `.pt` files; None: they are refused.

    Returns:
        The bank's new entry.

    Raises:
        ConfigError: the task's name cannot be a folder's, or a seed or score that none can be.
        StoreError: anything about the files; nothing is written then.
    """
    if asked.path.suffix.lower() == ".zip" and asked.path.is_file():
        return _from_zip(asked, bank, read_pickled)
    _check(asked)
    path = find_adapter(asked.path) if asked.path.is_dir() else _of_adapter(asked.path)
    facts = _facts(path)
    own = _sidecar(path)
    prompt, said = _matrix(path, read_pickled, asked.part)
    asked = _with_task(asked, facts)
    init = own.get("init") if asked.init is None else _matrix(asked.init, read_pickled, None)[0]
    backbone = asked.backbone or str(facts.get("base_model_name_or_path") or "")
    if not backbone:
        raise StoreError(
            f"'{asked.path}' does not say which backbone its prompt is for; give --backbone NAME."
        )
    _check_width(asked.path, prompt, backbone)
    if init is not None and init.shape != prompt.shape:
        raise StoreError(
            f"The prompt is {list(prompt.shape)}, its initial prompt {list(init.shape)}; both "
            "must have the same shape. Give the initial prompt that this prompt was tuned from."
        )
    made = TaskPrompt(
        task=asked.task,
        labels=tuple(facts.get("labels", ())),
        backbone=backbone,
        backbone_revision=asked.revision or str(facts.get("backbone_revision") or ""),
        seed=asked.seed,
        init=init,
        prompt=prompt,
        score=facts.get("score") if asked.score is None else asked.score,
        metric_values={},
        fingerprint=identity(
            imported=array_digest(prompt),
            init="" if init is None else array_digest(init),
            task=asked.task,
            backbone=backbone,
            seed=asked.seed,
        ),
        precision="float32",
        settings={},
        created=time.time(),
        majority=facts.get("majority"),
        n_examples=facts.get("n_examples"),
        origin=f"imported from {path.name or path.resolve().name}" + (f" ({said})" if said else ""),
    )
    bank.put(made)
    return made


def _from_zip(
    asked: Import, bank: PromptBank, read_pickled: Callable[[Path], Tensors] | None
) -> TaskPrompt:
    """Import the adapter in a zip file, such as an export of this workbench."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / (asked.path.stem or "adapter")
        folder.mkdir()
        archives.unpack(asked.path, folder)
        try:
            return import_prompt(replace(asked, path=folder), bank, read_pickled)
        except StoreError as error:
            said = str(error).replace(f"{folder}", asked.path.name)
            raise StoreError(said) from None


def _with_task(asked: Import, facts: Mapping[str, Any]) -> Import:
    """Take the task that an export of this workbench names, where a person names none."""
    task = asked.task or str(facts.get("task") or "")
    if not task:
        raise StoreError(
            f"'{asked.path}' does not say which task its prompt was tuned on; name it "
            "(--task NAME)."
        )
    check_name(task, "task")
    return replace(asked, task=task)


def _check_width(path: Path, prompt: np.ndarray, backbone: str) -> None:
    """Refuse a prompt that is not as wide as its backbone's embeddings, where they are known."""
    sizes = sizes_of(backbone)
    if sizes is not None and sizes.width != prompt.shape[1]:
        raise StoreError(
            f"The prompt in '{path}' has width {prompt.shape[1]}, the embeddings of backbone "
            f"'{backbone}' have width {sizes.width}, so it cannot stand before its input; give the "
            "backbone that it was tuned for with --backbone NAME."
        )


def _matrix(
    path: Path, read_pickled: Callable[[Path], Tensors] | None, part: str | None
) -> tuple[np.ndarray, str]:
    """Return the prompt `[r d]` in a folder or file of any known format, and what was taken."""
    if path.is_dir():
        found = read_adapter(find_adapter(path), read_pickled, part)
        return found.prompt, found.said
    if _of_adapter(path) != path:
        return _matrix(path.parent, read_pickled, part)
    ending = path.suffix.lower()
    if ending == ".safetensors":
        return single_matrix(read_safetensors(path), path, "prompt", part), ""
    if ending in PICKLED and read_pickled is not None:
        if path.is_file():
            with path.open("rb") as file:
                refuse_pointer(file.read(64), path)
        return single_matrix(read_pickled(path), path, "pr", part), ""
    if not path.exists():
        raise StoreError(f"There is no '{path}'; give a PEFT folder, a .safetensors or a .pt file.")
    raise StoreError(
        f"'{path}' has no format that can be read; give a PEFT folder, a .safetensors or a .pt "
        "file."
    )


def _of_adapter(path: Path) -> Path:
    """Return the folder of an adapter whose file of tensors is named; any other path as it is."""
    is_one = path.name in (WEIGHTS, OLD_WEIGHTS) and (path.parent / CONFIG).exists()
    return path.parent if is_one else path


def _facts(path: Path) -> dict[str, Any]:
    """Return what an adapter's files say about themselves."""
    if not path.is_dir():
        return {}
    own = read_json(path / SIDECAR)
    if own is not None:
        checked(path / SIDECAR, own, AdapterFile)
    return {**read_config(path), **(own or {})}


def _sidecar(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors this workbench's own export adds, e.g. the initial prompt."""
    if path.is_dir() and (path / TENSORS).exists():
        return read_safetensors(path / TENSORS)
    return {}
