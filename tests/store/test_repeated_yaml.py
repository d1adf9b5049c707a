"""Equal sections of configurations are parsed once, and the result is that of the whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dtvg.store import reader, repeated_yaml
from dtvg.store.reader import open_experiment
from tests.analysis.factory import config, record

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


def test_configurations_that_differ_in_a_seed_are_parsed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(targets=["lake", "moor"], seeds=[0, 1], methods=["none", "dtvg"])
    made = record(tmp_path, settings, steps=5)
    odd = made.runs[-1].path / "config.yaml"
    odd.write_text(odd.read_text().replace("steps: 60", "steps: 61"))
    (made.runs[0].path / "config.yaml").unlink()
    runs = open_experiment(made.path).runs
    parsed = []
    real = reader._config
    monkeypatch.setattr(
        reader, "_config", lambda path, stamp: parsed.append(1) or real(path, stamp)
    )
    found = reader.configs_but(runs, ("name", "experiment", "seed", "target"))
    assert len(parsed) == 3  # none, dtvg, and the one with another number of steps
    for run, one in zip(runs, found, strict=True):
        if run.config is None:
            assert one is None
            continue
        assert (one.method, one.optim, one.sources) == (
            run.config.method,
            run.config.optim,
            run.config.sources,
        )
