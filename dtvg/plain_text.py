"""YAML and JSON that people write, read so that nothing is lost and no depth breaks the reader.

A YAML key that stands in a mapping twice is refused, where YAML's own reader lets the last one win;
a pair of surrogates is the one character it stands for, and half of a pair is refused.
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

MOST_CHARACTERS = 4 << 20
"""A text that people write is not longer."""

_HALVES = re.compile("[\ud800-\udfff]")


class _Loader(yaml.SafeLoader):
    """Reads as PyYAML's safe loader does, and refuses what it passes over."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key '{key.value[:80]}' occurs twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return node

    def compose_scalar_node(self, anchor: Any) -> Any:
        node = super().compose_scalar_node(anchor)
        if _HALVES.search(node.value):
            try:
                node.value = node.value.encode("utf-16", "surrogatepass").decode("utf-16")
            except UnicodeDecodeError:
                raise yaml.MarkedYAMLError(
                    problem="half of a character (a lone surrogate) is not text",
                    problem_mark=node.start_mark,
                ) from None
        return node


def why(error: Exception) -> str:
    """Return in a person's words why a text could not be read, without a full stop.

    Args:
        error: what reading YAML or JSON raised.
    """
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
    said = " ".join(filter(None, (error.context, error.problem)))
    said = said.replace("'<stream end>'", "the end of the text").rstrip(".")[:300]
    mark = error.problem_mark or error.context_mark
    return said if mark is None else f"{said} (line {mark.line + 1}, column {mark.column + 1})"


def load_yaml(text: str) -> Any:
    """Return what a YAML text holds.

    Raises:
        yaml.YAMLError: it is not valid YAML, is too long, or holds a key twice; the constructors
            of PyYAML raise other errors too (see `dtvg.config.reading.YAML_ERRORS`).
    """
    if len(text) > MOST_CHARACTERS:
        raise yaml.YAMLError(f"it has more than {MOST_CHARACTERS:,} characters")
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - it derives from the safe loader


def load_json(text: str | bytes) -> Any:
    """Return what a JSON text holds.

    Raises:
        ValueError: it is not valid JSON (then a JSONDecodeError), or no text.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", "", 0) from None
