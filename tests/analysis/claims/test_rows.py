"""Rows of claims: runs that differ in rates alone are not taken for one row."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dtvg.analysis.claims.blocks import Block


def run(label: str, plain: str, seed: int) -> Any:
    bare = SimpleNamespace(without_rates=lambda: SimpleNamespace(label=plain))
    path = Path("lake") / f"{label}.s{seed}"
    return SimpleNamespace(method=label, path=path, config=SimpleNamespace(method=bare))


def test_rows_that_differ_in_rates_alone_are_named_apart() -> None:
    slow, fast = run("dtvg (lr 0.1)", "dtvg", 0), run("dtvg (lr 0.3)", "dtvg", 0)
    other = run("none (lr 0.3)", "none", 0)
    block = Block("lake", "lake", (slow, fast, other), 0)
    assert [block.label_of(r) for r in block.runs] == ["dtvg", "dtvg (lr 0.3)", "none"]
