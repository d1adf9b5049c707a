"""A processor's speed for estimates is a function of its cores, not of how busy they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtvg.plan import processor


def test_more_and_wider_cores_are_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(processor.os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    processor._is_wide.cache_clear()
    narrow = processor.processor_flops()
    assert narrow == 4 * processor.NARROW == 2 * processor.processor_flops(2)
    assert processor.processor_flops(64) == narrow, "more threads than cores help nobody"
    (tmp_path / "cpuinfo").write_text("flags: fpu avx512f avx512dq", encoding="utf-8")
    processor._is_wide.cache_clear()
    assert processor.processor_flops() == 4 * processor.WIDE > narrow
    processor._is_wide.cache_clear()
