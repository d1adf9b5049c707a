"""How many tokens a text has for a backbone, without loading the backbone or torch.

Reads the fast tokenizer's own file, so that pages and `tasks check` are quick. Must not import
torch or transformers.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dtvg.backbones.specs import location
from dtvg.errors import ConfigError

FILE = "tokenizer.json"


def token_counts(texts: Sequence[str], backbone: str = "demo", special: bool = True) -> list[int]:
    """Count the tokens of each text.

    Args:
        texts: what is counted.
        backbone: 'demo', a folder, or a hub id whose tokenizer is in the hub's cache.
        special: count the special tokens that the tokenizer adds (T5's end mark).

    Raises:
        ConfigError: if the backbone has no fast tokenizer at hand.
    """
    path = _tokenizer_file(backbone)
    found = _open(str(path), path.stat().st_mtime_ns)
    encoded = found.encode_batch(list(texts), add_special_tokens=special)
    return [len(one.ids) for one in encoded]


def token_pieces(text: str, backbone: str = "demo") -> list[str]:
    """Return a text's tokens as the tokenizer writes them, without special ones."""
    path = _tokenizer_file(backbone)
    found = _open(str(path), path.stat().st_mtime_ns)
    return [str(piece) for piece in found.encode(text, add_special_tokens=False).tokens]


@functools.lru_cache(maxsize=4)
def _open(path: str, changed: int) -> Any:
    import tokenizers

    try:
        found = tokenizers.Tokenizer.from_file(path)
    except Exception as error:  # noqa: BLE001 - the library raises plain Exception
        reason = " ".join(str(error).split())[:120]
        raise ConfigError(f"'{path}' is no tokenizer ({reason}); save the backbone anew.") from None
    found.no_truncation()
    found.no_padding()
    return found


def _tokenizer_file(backbone: str) -> Path:
    """Return the fast tokenizer's file of a folder or of the hub's cache."""
    place = location(backbone)
    if Path(place).is_dir():
        path = Path(place) / FILE
        if path.is_file():
            return path
        raise ConfigError(
            f"Backbone '{backbone}' has no {FILE} in '{place}'; save its fast tokenizer there."
        )
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(place, FILE)
    if isinstance(cached, str):
        return Path(cached)
    raise ConfigError(
        f"The tokenizer of '{backbone}' is not in the hub's cache on this machine; load the "
        "backbone once while online, or give a folder that holds it."
    )
