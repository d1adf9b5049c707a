"""The header of a GGUF file: what it is and how large, read without torch and without its tensors.

The `gguf` package makes an array of every token and needs seconds for that; a page and a plan ask
for three numbers. What loads the model is `gguf_loading`. docs/backbones.md "GGUF files".
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtvg import paths
from dtvg.errors import ConfigError
from dtvg.extras import require

SUFFIX = ".gguf"
MAGIC = b"GGUF"
VERSIONS = (2, 3)
EMBEDDINGS = "token_embd.weight"
TOKENS = "tokenizer.ggml.tokens"
TEMPLATE = "tokenizer.chat_template"
_NUMBERS = dict(zip((*range(8), 10, 11, 12), "BbHhIif?Qqd", strict=True))
"""Number of a type in the file → how `struct` calls it."""
_TEXT, _ARRAY = 8, 9
_LONG = 4096
"""Arrays up to this length are kept (one number per layer); of longer ones only the length."""
_ALIGNMENT = 32
_NEXT = "Give a whole GGUF file of a language model, or a folder written by save_pretrained."


@dataclass(frozen=True)
class Tensor:
    """One tensor's place in the file."""

    name: str
    shape: tuple[int, ...]
    """Fastest dimension first, as the file has it."""
    kind: int
    """Number of the type its values are stored in."""
    offset: int
    """Bytes from the start of the tensors."""


@dataclass(frozen=True)
class Header:
    """What a GGUF file says about itself."""

    path: Path
    values: dict[str, Any]
    """Entries by key; of an array longer than 4096, and of every array of texts, its length."""
    tensors: tuple[Tensor, ...]
    start: int
    """Where the tensors begin."""

    @property
    def architecture(self) -> str:
        """The model's architecture in GGUF's words (`llama`, `qwen2`, `t5`)."""
        return str(self.values["general.architecture"])

    @property
    def has_template(self) -> bool:
        """Whether the file carries a chat template."""
        return bool(self.values.get(TEMPLATE))

    def size(self, key: str) -> int:
        """Return a number of the architecture's; of one number per layer the largest; 0: none."""
        found = self.values.get(f"{self.architecture}.{key}", 0)
        return max(map(int, found), default=0) if isinstance(found, list) else int(found)

    @property
    def embeddings(self) -> tuple[int, int]:
        """Width of the input embeddings, and how many there are; 0 where unknown."""
        shape = next((t.shape for t in self.tensors if t.name == EMBEDDINGS), ())
        if len(shape) == 2:
            return shape[0], shape[1]
        return self.size("embedding_length"), int(self.values.get(TOKENS, 0))


def read_header(path: Path) -> Header:
    """Read a GGUF file's header; the same file is read once.

    Raises:
        ConfigError: there is no such file, it is no GGUF file of versions 2 and 3, it is damaged
            or one part of several.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigError(f"'{path}' cannot be read ({error.strerror}); check the path.") from None
    return _header(str(path), found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=32)
def _header(path: str, size: int, changed: int) -> Header:
    what = f"'{path}' is not a GGUF file"
    try:
        with open(path, "rb") as file:
            if file.read(4) != MAGIC:
                raise ConfigError(f"{what}: its first four bytes are not 'GGUF'. {_NEXT}")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _parse(Path(path), _Cursor(data, 4))
    except OSError as error:
        raise ConfigError(f"'{path}' cannot be read ({error.strerror}); check the path.") from None
    except (struct.error, UnicodeDecodeError, KeyError, TypeError, OverflowError):
        raise ConfigError(
            f"'{path}' is a damaged or incomplete GGUF file ({size:,} bytes): its header cannot be "
            "read to the end. Fetch or copy it again."
        ) from None


def _parse(path: Path, at: _Cursor) -> Header:
    version = at.number("I")
    if version not in VERSIONS:
        raise ConfigError(
            f"'{path}' is a GGUF file of version {version} or of another byte order; versions 2 "
            "and 3 of little-endian machines can be read. Convert it again with llama.cpp."
        )
    tensor_count, entries = at.number("Q"), at.number("Q")
    values: dict[str, Any] = {}
    for _ in range(entries):
        key = at.text()
        values[key] = at.value(at.number("I"))
    tensors = []
    for _ in range(tensor_count):
        name = at.text()
        shape = at.numbers("Q", at.number("I"))
        tensors.append(Tensor(name, shape, at.number("I"), at.number("Q")))
    if values.get("split.count", 0) > 1:
        raise ConfigError(
            f"'{path}' is one of {values['split.count']} parts of a GGUF file; join them with "
            "`llama-gguf-split --merge` of llama.cpp and give the result."
        )
    if "general.architecture" not in values or not tensors:
        raise ConfigError(f"'{path}' is a GGUF file without a model in it. {_NEXT}")
    alignment = int(values.get("general.alignment", _ALIGNMENT)) or _ALIGNMENT
    return Header(path, values, tuple(tensors), math.ceil(at.place / alignment) * alignment)


class _Cursor:
    """Reads one value after the other; `struct.error` where the file ends before one."""

    def __init__(self, data: mmap.mmap, place: int) -> None:
        self.data = data
        self.place = place

    def numbers(self, form: str, count: int) -> tuple[Any, ...]:
        if count * struct.calcsize(form) > len(self.data) - self.place:
            raise struct.error("the file ends")
        found = struct.unpack_from(f"<{count}{form}", self.data, self.place)
        self.place += struct.calcsize(f"<{count}{form}")
        return found

    def number(self, form: str) -> Any:
        return self.numbers(form, 1)[0]

    def text(self) -> str:
        return bytes(self.numbers("B", self.number("Q"))).decode("utf-8")

    def value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self.text()
        if kind != _ARRAY:
            return self.number(_NUMBERS[kind])
        inner, count = self.number("I"), self.number("Q")
        if inner in _NUMBERS:
            numbers = self.numbers(_NUMBERS[inner], count)
            return list(numbers) if count <= _LONG else count
        if inner == _TEXT:
            self._skip_texts(count)
        else:
            for _ in range(count):
                self.value(inner)
        return count

    def _skip_texts(self, count: int) -> None:
        """Go past the texts of an array: a vocabulary has a hundred thousand."""
        length, place, data = struct.Struct("<Q").unpack_from, self.place, self.data
        for _ in range(count):
            place += 8 + length(data, place)[0]
        if place > len(data):
            raise struct.error("the file ends")
        self.place = place


def check_usable(name: str, path: Path) -> Header:
    """Refuse a GGUF file that cannot be loaded here.

    Args:
        name: the backbone's, for messages.
        path: the file.

    Returns:
        Its header.

    Raises:
        ConfigError: as `read_header`; a package is missing; the file ends before its last tensor,
            or stores one in a way that the installed `gguf` does not know.
    """
    header = read_header(path)
    require("gguf", f"Backbone '{name}', a GGUF file,")
    from gguf.constants import GGML_QUANT_SIZES

    sizes = {int(kind): size for kind, size in GGML_QUANT_SIZES.items()}
    end = header.start
    for tensor in header.tensors:
        if tensor.kind not in sizes:
            raise ConfigError(
                f"'{path}' stores tensor '{tensor.name}' as type {tensor.kind}, which the "
                "installed package gguf does not know; `pip install --upgrade gguf`, or quantise "
                "the model otherwise."
            )
        block, width = sizes[tensor.kind]
        end = max(end, header.start + tensor.offset + math.prod(tensor.shape) // block * width)
    size = path.stat().st_size
    if end > size:
        raise ConfigError(
            f"'{path}' is incomplete: its tensors need {end:,} bytes, it has {size:,}. Fetch or "
            "copy it again."
        )
    return header


def content_hash(path: Path) -> str:
    """Return what identifies a GGUF backbone: a hash of the whole file, whatever its name."""
    found = path.stat()
    return _hash(str(path), found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _hash(path: str, size: int, changed: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def beside(path: Path) -> Path:
    """Return the folder for a file's configuration and tokenizer as `save_pretrained` writes them.

    Taking them out of a GGUF file takes seconds, so they are kept under `<home>/cache/gguf`; they
    belong to this file and to the libraries that read it.
    """
    found = path.stat()
    libraries = [importlib.metadata.version(name) for name in ("transformers", "tokenizers")]
    parts = [str(path.resolve()), found.st_size, found.st_mtime_ns, *libraries]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
    return paths.home() / "cache" / "gguf" / key
