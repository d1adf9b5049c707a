"""Equal sections of configurations are parsed once, and the result is that of the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dtvg.store import repeated_yaml

LINES = st.lists(
    st.sampled_from(
        ["a: 1", "b:", "- x", "  c: 2", "  - y", "", "# note", "d: |", " text", "e: 'open",
         "f: close'", "g: {h: 1,", "i: 2}", "j: &k 3", "l: *k", "---", "...", "a: 2", "<<: {m: 1}",
         "n :  1", "  more: [1,", "on: yes", "o:p", "t: 'a # b'", "%YAML 1.1", "? q", ": r",
         "\tu: 1"]
    ),
    max_size=8,
)  # fmt: skip
VALUES = st.dictionaries(
    st.from_regex(r"[a-z_]{1,6}", fullmatch=True),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    ),
    max_size=5,
)


def outcome(load: Callable[[str], Any], text: str) -> tuple[str, Any]:
    try:
        return "is", load(text)
    except yaml.YAMLError:
        return "fails", None


def whole(text: str) -> Any:
    return yaml.load(text, Loader=yaml.CSafeLoader)


@given(LINES, st.booleans())
def test_it_reads_as_the_whole_is_read(lines: list[str], ended: bool) -> None:
    text = "\n".join(lines) + "\n" * ended
    assert outcome(repeated_yaml.load, text) == outcome(whole, text)


@given(VALUES, st.booleans())
def test_what_is_written_is_read_back(values: dict[str, Any], unicode: bool) -> None:
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=unicode)
    assert repeated_yaml.load(text) == whole(text)


def test_equal_sections_are_parsed_once_and_nobody_shares_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parsed: list[str] = []
    monkeypatch.setattr(repeated_yaml, "_whole", lambda text: parsed.append(text) or whole(text))
    repeated_yaml._parsed.cache_clear()
    first = repeated_yaml.load("optim:\n  steps: 3\nseed: 0\n")
    first["optim"]["steps"] = 4
    assert repeated_yaml.load("optim:\n  steps: 3\nseed: 1\n") == {"optim": {"steps": 3}, "seed": 1}
    assert parsed == ["optim:\n  steps: 3\n", "seed: 0\n", "seed: 1\n"]
    repeated_yaml._parsed.cache_clear()
