"""Prompts in torch's own files, as ATTEMPT and the published DTVG save them, read safely.

Only tensors are unpickled (`weights_only=True`); a file that contains code is refused.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dtvg.errors import StoreError


def read_pickled(path: Path) -> dict[str, np.ndarray]:
    """Read the tensors of a `.pt` file by name; a bare tensor is called `tensor`.

    Args:
        path: a tensor, a parameter, or a mapping of names to them.

    Returns:
        float32 arrays (integers stay as they are).

    Raises:
        StoreError: the file is absent, no torch file, carries code, or holds something else.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise StoreError(f"There is no file '{path}'; check the path.") from None
    except IsADirectoryError:
        raise StoreError(f"'{path}' is a folder; give the .pt file in it.") from None
    except pickle.UnpicklingError:
        raise StoreError(
            f"'{path}' holds objects other than tensors, which could run code when they are read, "
            "so it was refused. Save the prompt alone: torch.save(prompt.detach(), 'prompt.pt')."
        ) from None
    except Exception as error:  # noqa: BLE001 - a stranger's bytes can break the reader anywhere
        reason = " ".join(str(error).split())[:160]
        raise StoreError(f"'{path}' is not a file written by torch.save ({reason}).") from None
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]  # a checkpoint of a trainer
    tensors = found if isinstance(found, Mapping) else {"tensor": found}
    wrong = [f"{k} ({type(v).__name__})" for k, v in tensors.items() if not _is_tensor(v)]
    if wrong or not tensors:
        raise StoreError(
            f"'{path}' should hold a tensor or a mapping of names to tensors; it holds "
            f"{', '.join(wrong[:5]) or 'nothing'}."
        )
    try:
        return {str(name): _array(tensor) for name, tensor in tensors.items()}
    except (TypeError, RuntimeError, MemoryError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise StoreError(
            f"'{path}' holds a tensor that is not plain numbers ({reason}); save the prompt alone: "
            "torch.save(prompt.detach().float(), 'prompt.pt')."
        ) from None


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and not value.is_sparse


def _array(tensor: torch.Tensor) -> np.ndarray:
    plain = tensor.detach()
    if plain.numel() * plain.element_size() > plain.untyped_storage().nbytes():
        raise ValueError(f"{list(plain.shape)} of few numbers repeated")
    array: np.ndarray = (plain.float() if plain.is_floating_point() else plain).numpy()
    return array
