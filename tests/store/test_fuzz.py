"""Damaged files of every kind, in every command: no traceback, and none passes for whole.

The long version (`pytest -m slow`) tries 1,000 inputs; `python -m tests.store.damage SEED COUNT`
counts what came of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.store import damage

pytestmark = pytest.mark.timeout(3600)


def _check(root: Path, seed: int, count: int) -> None:
    found = damage.run(root, seed, count)
    assert found.inputs == count and found.seen
    assert found.tracebacks == [] and found.accepted == []


def test_some_damaged_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTVG_HOME", str(tmp_path))
    _check(tmp_path, 5, 15)


@pytest.mark.slow
def test_a_thousand_damaged_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTVG_HOME", str(tmp_path))
    _check(tmp_path, 6, 1000)
