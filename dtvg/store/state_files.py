"""A cohort's state file, which is the commit: reading it, and giving its part files their names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from dtvg.errors import StoreError
from dtvg.store import digests
from dtvg.store.files import sync_folder


def load_state(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return tensors and numbers of a commit's file.

    Raises:
        StoreError: it is damaged.
    """
    tensors, content = read_state(path)
    return tensors, content["meta"]


def read_state(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return tensors, and `meta`, `pending` and `time`, of a commit's file.

    Raises:
        StoreError: it is damaged.
    """
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            content = json.loads(metadata["dtvg"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if not isinstance(content["meta"], dict) or not isinstance(content["pending"], list):
            raise ValueError("it holds something other than a commit")
        if digests.KEY in metadata:
            if digests.of_tensors(tensors, digests.of_metadata(metadata)) != metadata[digests.KEY]:
                raise ValueError("its values differ from its digest")
    except (
        SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError, MemoryError,
    ) as error:  # fmt: skip
        raise StoreError(
            f"'{path}' is damaged ({error}); its runs cannot be resumed. "
            "Delete their folders to train them again."
        ) from None
    return tensors, content


def reveal(pending: list[tuple[Path, Path]]) -> None:
    """Give committed part files their names."""
    for hidden, final in pending:
        hidden.replace(final)
    for folder in {final.parent for _, final in pending}:
        sync_folder(folder)
