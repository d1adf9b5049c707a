"""A cohort's state file, which is the commit: reading it, and giving its part files their names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from dtvg.config.sections import Detail
from dtvg.errors import StoreError
from dtvg.store import digests
from dtvg.store.files import sync_folder
from dtvg.store.formats import CommitFile, checked

PROMPTS_OF = "run_id"
"""In the metadata of a file of prompts: whose they are (`run_id` of `provenance.json`)."""


def kept_prompts(detail: Detail) -> tuple[str, ...]:
    """Return which prompts of a run are kept: all, the best, or none."""
    return {"full": ("initial", "best", "final"), "thinned": ("best",), "scores": ()}[detail]


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
            content = _content(path, metadata)
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if digests.KEY in metadata:
            if digests.of_tensors(tensors, digests.of_metadata(metadata)) != metadata[digests.KEY]:
                raise ValueError("its values differ from its digest")
    except (
        SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError, MemoryError,
        StoreError,
    ) as error:  # fmt: skip
        raise StoreError(
            f"'{path}' is damaged ({str(error).rstrip('.')}); its runs cannot be resumed. "
            "Delete their folders to train them again."
        ) from None
    return tensors, content


def read_head(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of a commit's runs and of its part files; reads no tensors.

    Raises:
        StoreError: it is damaged.
    """
    content = read_text(path)
    return tuple(content["meta"].get("runs", {})), tuple(content["pending"])


def read_text(path: Path) -> dict[str, Any]:
    """Return `meta`, `pending` and `time` of a commit's file; reads no tensors.

    Raises:
        StoreError: it is damaged or missing.
    """
    try:
        with safe_open(path, framework="np") as file:
            return _content(path, file.metadata() or {})
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(f"'{path}' is damaged ({error}).") from None


def _content(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the text in a commit's file as what it stands for.

    Raises:
        StoreError: a field holds something else than it should.
    """
    content = json.loads(metadata["dtvg"])
    if not isinstance(content, dict):
        raise ValueError("it holds something other than a commit")
    checked(path, content, CommitFile)
    return content


def reveal(pending: list[tuple[Path, Path]]) -> None:
    """Give committed part files their names."""
    for hidden, final in pending:
        hidden.replace(final)
    for folder in {final.parent for _, final in pending}:
        sync_folder(folder)
