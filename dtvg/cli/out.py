"""Files that a person names with `--out`: refused before any work where they cannot be written."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from dtvg.errors import ConfigError, StoreError


def check_out(path: Path, option: str = "--out", endings: Sequence[str] = ()) -> None:
    """Refuse a file that cannot be written, before anything is computed for it.

    Args:
        path: the file.
        option: that named it.
        endings: of files that can be written, such as `.html`; empty: any.

    Raises:
        ConfigError: its folder is not there, it is a folder, or it ends otherwise.
    """
    if os.path.isdir(path):
        raise ConfigError(f"'{path}' is a folder; {option} takes the name of a file.")
    if endings and path.suffix.lower() not in endings:
        got = f"ends in '{path.suffix}'" if path.suffix else "has no ending"
        raise ConfigError(
            f"'{path}' {got}; {option} takes a file that ends in {' or '.join(endings)}."
        )
    check_parent(path, option)


def check_parent(path: Path, option: str = "--out") -> None:
    """Refuse what would lie in a folder that is not there: nothing is made by a slip of the hand.

    Raises:
        ConfigError: with the name of the folder.
    """
    if not os.path.isdir(path.parent):
        raise ConfigError(
            f"There is no folder '{path.parent}' for '{path.name}'; make it, or give another "
            f"{option}."
        )


def written(path: Path, content: bytes | Callable[[Path], object], option: str = "--out") -> None:
    """Write a file.

    Args:
        path: the file.
        content: the whole of it, or what writes it.
        option: that named it.

    Raises:
        StoreError: the disk refuses.
    """
    from dtvg.store.files import replace_bytes

    advice = f"free some space, or give another {option}"
    if isinstance(content, bytes):
        replace_bytes(path, content, advice=advice)
        return
    try:
        content(path)
    except OSError as error:
        raise StoreError(
            f"'{path}' cannot be written ({error.strerror or error}); {advice}."
        ) from None
