"""Backbones in GGUF files, through the loader of transformers: dequantised when they are loaded.

Weights become the precision that was asked for, so training knows no difference. Configuration
and tokenizer are taken out of a file once (`gguf_header.beside`). docs/backbones.md "GGUF files".
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from dtvg.backbones.gguf_header import beside, check_usable, content_hash
from dtvg.errors import ConfigError

log = logging.getLogger(__name__)
CONFIG = "config.json"


class GgufFile:
    """Settings, tokenizer and weights of one GGUF file."""

    told_by = "its header"

    def __init__(self, name: str, path: Path) -> None:
        """Look at the file's header.

        Raises:
            ConfigError: it cannot be loaded here (see `check_usable`).
        """
        self.name = name
        self.path = path
        self.header = check_usable(name, path)
        self._identity = content_hash(path)[:16]
        self._kept = beside(path)

    def hub(self) -> AbstractContextManager[None]:
        """A file needs no hub."""
        return nullcontext()

    def settings(self) -> Any:
        """Return the configuration that transformers makes of the header."""
        return self._parts[0]

    def tokenizer(self) -> Any:
        """Return the tokenizer that transformers makes of the header."""
        return self._parts[1]

    def model(self, loader: Any, dtype: Any = None, **weights: Any) -> Any:
        """Load the weights, dequantised.

        Args:
            loader: a class of transformers that loads models.
            dtype: a torch dtype.
            weights: must be empty.

        Returns:
            The model and the loader's report.

        Raises:
            ConfigError: it should be quantised again.
        """
        import transformers

        if weights:
            raise ConfigError(
                f"Backbone '{self.name}' is a GGUF file, which is dequantised when it is loaded; "
                "set device.precision to bfloat16 or float32, or give a folder written by "
                "save_pretrained for int8 and int4."
            )
        unpack = getattr(transformers, "GgufConfig", None)
        more = {} if unpack is None else {"quantization_config": unpack(dequantize=True)}
        with _library_reads_once():
            return loader.from_pretrained(
                str(self.path.parent),
                gguf_file=self.path.name,
                config=self.settings(),
                dtype=dtype,
                output_loading_info=True,
                trust_remote_code=False,
                **more,
            )

    def revision(self, settings: Any) -> str:
        """Return what identifies the weights: a hash of the file's content."""
        return self._identity

    @functools.cached_property
    def _parts(self) -> tuple[Any, Any]:
        """Configuration and tokenizer: as they were kept, else out of the file."""
        import transformers

        found = _kept_parts(self._kept)
        if found is None:
            folder, file = str(self.path.parent), {"gguf_file": self.path.name}
            try:
                with _library_reads_once():
                    config = transformers.AutoConfig.from_pretrained(folder, **file)
                    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **file)
            except ValueError as error:
                raise self._not_read(error) from None
            found = _kept_parts(self._kept) if _keep(self._kept, tokenizer, config) else None
            return found or (config, tokenizer)
        return found

    def _not_read(self, error: ValueError) -> Exception:
        """Say that transformers has no reader for this architecture, where that is the fault."""
        if "architecture" not in str(error):
            return error
        return ConfigError(
            f"Backbone '{self.name}' is a GGUF file of architecture '{self.header.architecture}', "
            "which transformers cannot read; give the model as a folder written by "
            "save_pretrained, or a GGUF file of llama, mistral, qwen2, qwen3, gemma2, gemma3, "
            "phi3, falcon, gpt2, t5, ..."
        )


def _kept_parts(folder: Path) -> tuple[Any, Any] | None:
    """Return configuration and tokenizer as they were kept; None: they were not, or are damaged."""
    import transformers

    if not folder.is_dir():
        return None
    try:
        return (
            transformers.AutoConfig.from_pretrained(folder),
            transformers.AutoTokenizer.from_pretrained(folder),
        )
    except (OSError, ValueError, KeyError):
        log.warning("'%s' is damaged and is made again", folder)
        shutil.rmtree(folder, ignore_errors=True)
        return None


def _keep(folder: Path, *parts: Any) -> bool:
    """Save configuration and tokenizer, whole or not at all; False where the disk refuses."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True, exist_ok=True)
        for part in parts:
            part.save_pretrained(temporary)
        for path in temporary.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            temporary.rename(folder)
    except OSError as error:
        log.warning("configuration and tokenizer are not kept in '%s': %s", folder, error)
        return False
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return (folder / CONFIG).is_file()


@contextlib.contextmanager
def _library_reads_once() -> Iterator[None]:
    """Let transformers read a file's header and the names of its tensors once.

    It does so for every part of the model, and each time takes seconds.
    """
    import gguf

    library: Any = gguf
    reader, names = gguf.GGUFReader, gguf.get_tensor_name_map
    library.GGUFReader = functools.lru_cache(maxsize=1)(reader)
    library.get_tensor_name_map = functools.lru_cache(maxsize=8)(names)
    try:
        yield
    finally:
        library.GGUFReader, library.get_tensor_name_map = reader, names
