"""Splits as token ids, made once and kept on disk, memory-mapped: a second start tokenises nothing.

Blocks of rows are tokenised when one of their rows is first read, so that a big split costs
what is used of it. An entry belongs to (data fingerprint, tokenizer, limits, code); a damaged
block is made again, and of two processes one waits for the other.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import weakref
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from filelock import lock_descriptor

from dtvg.backbones.base import Backbone, Encoded
from dtvg.tasks import prepared
from dtvg.tasks.spec import Example

log = logging.getLogger(__name__)
MAGIC = 0x44545647
HEADER = 3
"""Leading numbers of a block: MAGIC, CRC-32 of the rest, rows."""


class EncodedRows(Sequence[Encoded]):
    """A split as token ids, tokenised (or found on disk) in blocks when first read."""

    BLOCK = 4096

    def __init__(
        self,
        examples: Sequence[Example],
        backbone: Backbone,
        source_limit: int,
        target_limit: int,
        place: Path | None = None,
    ) -> None:
        """Remember what is needed; nothing is read yet.

        Args:
            examples: the split; touched only where no block is on disk.
            backbone: whose tokenizer it is.
            source_limit: tokens an input may have.
            target_limit: tokens an answer may have.
            place: prefix of the blocks' files; None: nothing is kept on disk.
        """
        self._examples = examples
        self._backbone = backbone
        self._limits = (source_limit, target_limit)
        self._place = place
        self._blocks: dict[int, _Block] = {}

    def __len__(self) -> int:
        return len(self._examples)

    @overload
    def __getitem__(self, row: int) -> Encoded: ...
    @overload
    def __getitem__(self, row: slice) -> list[Encoded]: ...
    def __getitem__(self, row: int | slice) -> Encoded | list[Encoded]:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        if not 0 <= row < len(self):
            raise IndexError(row)
        number, place = divmod(int(row), self.BLOCK)
        if number not in self._blocks:
            self._blocks[number] = self._block(number)
        return self._blocks[number][place]

    def _block(self, number: int) -> _Block:
        """Return a block: from disk, or tokenised now and put there."""
        first = number * self.BLOCK
        rows = min(self.BLOCK, len(self) - first)
        if self._place is None:
            return self._encoded(first, rows)
        path = self._place.with_name(f"{self._place.name}-{first:09d}.npy")
        found = _read(path, rows)
        if found is not None:
            prepared.touch(path.parent)
            return found
        with _turn(path.with_name(".lock")):
            found = _read(path, rows)  # another process may have made it while we waited
            if found is None:
                found = self._encoded(first, rows)
                _write(path, found)
        prepared.prune(path.parent)
        return found

    def _encoded(self, first: int, rows: int) -> _Block:
        part = self._examples[first : first + rows]
        encoded = self._backbone.encode(
            [e.source for e in part], [e.target for e in part], *self._limits
        )
        return _Block(_packed(encoded))


class _Block:
    """Rows packed into one array: header, ends of sources, ends of targets, all ids."""

    def __init__(self, packed: np.ndarray) -> None:
        self.packed = packed
        rows = int(packed[HEADER - 1])
        self._sources = packed[HEADER : HEADER + rows + 1]
        self._targets = packed[HEADER + rows + 1 : HEADER + 2 * rows + 2]
        ids = packed[HEADER + 2 * rows + 2 :]
        split = int(self._sources[-1])
        self._source_ids, self._target_ids = ids[:split], ids[split:]

    def __getitem__(self, row: int) -> Encoded:
        source = self._source_ids[self._sources[row] : self._sources[row + 1]]
        target = self._target_ids[self._targets[row] : self._targets[row + 1]]
        return Encoded(np.array(source, dtype=np.int64), np.array(target, dtype=np.int64))


def _packed(rows: Sequence[Encoded]) -> np.ndarray:
    """Pack rows into int32, with MAGIC, checksum and count in front."""
    parts = [np.array([MAGIC, 0, len(rows)], dtype=np.int64)]
    sides = ([r.source for r in rows], [r.target for r in rows])
    parts += [np.cumsum([0, *(len(ids) for ids in side)]) for side in sides]
    packed = np.concatenate([*parts, *sides[0], *sides[1]]).astype(np.int32)
    packed[1] = _checksum(packed)
    return packed


def _checksum(packed: np.ndarray) -> np.int32:
    value = zlib.crc32(np.ascontiguousarray(packed[2:]).data)
    return np.int32(value - (1 << 32) if value >= 1 << 31 else value)


def _read(path: Path, rows: int) -> _Block | None:
    """Map a block of `rows` rows; None where there is none or it is damaged."""
    try:
        packed = np.load(path, mmap_mode="r", allow_pickle=False)
        whole = (
            packed.ndim == 1
            and packed.dtype == np.int32
            and len(packed) >= HEADER
            and packed[0] == MAGIC
            and packed[2] == rows
            and packed[1] == _checksum(packed)
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError):
        whole = False
    if not whole:
        log.warning("the token cache '%s' is damaged and is made again", path)
        return None
    return _Block(packed)


def _write(path: Path, block: _Block) -> None:
    """Put a block on disk, whole or not at all; a disk that refuses costs only time."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            np.save(file, block.packed, allow_pickle=False)
        temporary.replace(path)
        path.with_name(prepared.VERSION_FILE).write_text(_code(), encoding="utf-8")
    except OSError as error:
        log.warning("tokens are not kept in '%s': %s", path.parent, error)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _turn(path: Path) -> Iterator[None]:
    """Wait until no other process tokenises here; go on at once where no lock can be made."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("a"))
            lock_descriptor(file.fileno())
        yield


def place_for(data: str, split: str, backbone: Backbone, limits: tuple[int, int]) -> Path:
    """Return where the blocks of a split are kept.

    Args:
        data: the data fingerprint.
        split: name of the split.
        backbone: whose tokenizer it is.
        limits: tokens an input and an answer may have.
    """
    text = json.dumps([data, tokenizer_identity(backbone), *limits, EncodedRows.BLOCK])
    key = hashlib.sha256(text.encode()).hexdigest()[:32]
    return prepared.root() / "tokens" / key / split


_IDENTITIES: weakref.WeakKeyDictionary[Backbone, str] = weakref.WeakKeyDictionary()


def tokenizer_identity(backbone: Backbone) -> str:
    """Return what identifies how a backbone turns text into ids: tokenizer, family, code."""
    if backbone not in _IDENTITIES:
        tokenizer = backbone.tokenizer
        parts = [_code(), type(backbone).__name__, type(tokenizer).__name__, backbone.eos_id]
        inner = getattr(tokenizer, "backend_tokenizer", None)
        if inner is not None:
            parts.append(_plain(inner))
        else:
            parts += [tokenizer.get_vocab(), backbone.name, backbone.revision]
        parts.append({k: str(v) for k, v in tokenizer.special_tokens_map.items()})
        text = json.dumps(parts, sort_keys=True, default=str)
        _IDENTITIES[backbone] = hashlib.sha256(text.encode()).hexdigest()[:32]
    return _IDENTITIES[backbone]


def _plain(inner: Any) -> str:
    """Return a tokenizer as text without the last call's cutting and padding."""
    cutting, padding = inner.truncation, inner.padding
    inner.no_truncation()
    inner.no_padding()
    text = str(inner.to_str())
    if cutting:
        inner.enable_truncation(**cutting)
    if padding:
        inner.enable_padding(**padding)
    return text


@functools.lru_cache(maxsize=1)
def _code() -> str:
    """Return what tokens depend on beside the tokenizer: our code and the libraries' versions."""
    import tokenizers
    import transformers

    from dtvg.backbones import base

    digest = hashlib.sha256(f"{transformers.__version__} {tokenizers.__version__}".encode())
    for path in sorted(Path(base.__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
