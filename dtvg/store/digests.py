"""Digests of what is stored, so that a changed bit is noticed and not trained with.

Tables and tensors are digested by their values, so that a file carries its own digest and merging
part files needs no list of them. Files of before digests carry none. docs/run_files.md "Digests".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from safetensors import SafetensorError, safe_open

from dtvg.errors import StoreError

KEY = "digest"
"""Under this name JSON objects, tensor files and tables carry theirs."""


def of_table(data: pa.Table) -> str:
    """Return the SHA-256 of a table's column names, types, nulls and values."""
    digest = hashlib.sha256()
    for name in data.column_names:
        column = data.column(name).combine_chunks()
        array = column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks)
        kind = array.type.value_type if pa.types.is_list(array.type) else array.type
        digest.update(f"{name}:{kind}:{len(array)};".encode())
        _add(digest, array)
    return digest.hexdigest()


def _add(digest: Any, array: pa.Array) -> None:
    """Add an array's nulls and values; what stands under a null counts as zero."""
    digest.update(np.packbits(_numbers(array.is_valid())).tobytes())
    if pa.types.is_list(array.type):
        digest.update(_numbers(pc.fill_null(array.value_lengths(), 0)).tobytes())
        _add(digest, array.flatten())
    elif pa.types.is_string(array.type):
        whole = pc.fill_null(array, "")
        digest.update(_numbers(pc.binary_length(whole)).tobytes())
        offsets = np.frombuffer(whole.buffers()[1], dtype=np.int32) if len(whole) else np.zeros(1)
        first, last = int(offsets[whole.offset]), int(offsets[whole.offset + len(whole)])
        text = whole.buffers()[2]
        digest.update(memoryview(text)[first:last] if text is not None else b"")
    else:
        digest.update(_numbers(pc.fill_null(array, False if _is_bool(array) else 0)).tobytes())


def _is_bool(array: pa.Array) -> bool:
    return bool(pa.types.is_boolean(array.type))


def _numbers(array: pa.Array) -> np.ndarray:
    return np.ascontiguousarray(array.to_numpy(zero_copy_only=False))


def of_tensors(tensors: Mapping[str, np.ndarray], text: str = "") -> str:
    """Return the SHA-256 of tensors by name, type, shape and values, and of a text with them."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = np.asarray(tensors[name], order="C")
        digest.update(f"{name}:{value.dtype.str}:{value.shape};".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def of_metadata(metadata: Mapping[str, str]) -> str:
    """Return a tensor file's metadata as the text that its digest covers."""
    return json.dumps({k: v for k, v in metadata.items() if k != KEY}, sort_keys=True)


def ordered(content: bytes) -> bytes:
    """Return a file of tensors with its metadata in order, so that equal files have equal bytes."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def check_tensors(
    path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Compare tensors with the digest their file carries.

    Raises:
        StoreError: they differ.
    """
    if KEY in metadata and of_tensors(tensors, of_metadata(metadata)) != metadata[KEY]:
        raise StoreError(f"'{path}' is damaged (its values differ from its digest).")


def noted_in(path: Path) -> str:
    """Return the digest that a file of tensors carries; empty where it has none."""
    try:
        with safe_open(path, framework="np") as file:
            return str((file.metadata() or {}).get(KEY, ""))
    except (SafetensorError, OSError):
        return ""


def of_json(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a JSON object without its own digest."""
    text = json.dumps({k: v for k, v in content.items() if k != KEY}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def with_digest(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object that carries its digest."""
    return {**content, KEY: of_json(content)}


def is_whole(content: Mapping[str, Any]) -> bool:
    """Whether a JSON object is as its digest says; True where it carries none."""
    return KEY not in content or content[KEY] == of_json(content)


def of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes; empty where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
