"""Read the YAML of many runs: their configurations repeat, so equal sections are parsed once.

Parsing takes most of the time in which 1,000 configurations are read, and most of their sections
are alike from run to run.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Collection
from typing import Any

import yaml

_SECTION = re.compile(r"^(?=[A-Za-z_])", re.MULTILINE)
"""Where a section of a mapping in block style begins."""
_PLAIN = re.compile(r"(?:[A-Za-z_]\w*:[ \n]|- |[ \n])")
"""How lines begin in a document that may be cut into its sections."""
_NOT_PLAIN = re.compile(rf"^(?!{_PLAIN.pattern})", re.MULTILINE)


def load(text: str) -> Any:
    """Return what `yaml.load` returns of a document.

    Raises:
        yaml.YAMLError: it is no YAML.
    """
    if not text.endswith("\n") or "&" in text or _NOT_PLAIN.search(text, 0, len(text) - 1):
        return _whole(text)
    before, *sections = _SECTION.split(text)
    if before:
        return _whole(text)
    values: dict[Any, Any] = {}
    try:
        for section in sections:
            values |= _parsed(section)
    except (yaml.YAMLError, TypeError, ValueError):  # cut where a text goes on over several lines
        return _whole(text)
    return copy.deepcopy(values)


def but(text: str, keys: Collection[str]) -> str:
    """Return a document without some of its sections, to tell whether others are alike."""
    return "".join(s for s in _SECTION.split(text) if s.partition(":")[0] not in keys)


def _whole(text: str) -> Any:
    return yaml.load(text, Loader=yaml.CSafeLoader)


@functools.lru_cache(maxsize=1024)
def _parsed(section: str) -> dict[Any, Any]:
    """Return what a section says; everybody who asks gets this object."""
    return _whole(section)  # type: ignore[no-any-return]


__all__ = ["but", "load"]
