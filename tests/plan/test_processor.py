"""A processor's speed for estimates is a function of its cores, not of how busy they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dtvg.config import ExperimentConfig, build_config
from dtvg.jobs.devices import list_devices
from dtvg.plan import processor
from dtvg.plan.lengths import TOKENS, USUAL, answer_tokens, input_tokens
from dtvg.store.processes import cores
from dtvg.tasks.catalogue import shipped_tasks


def asked(backbone: str = "smollm2-135m", **device: object) -> ExperimentConfig:
    values = {"name": "x", "backbone": backbone, "sources": ["mnli"], "targets": ["rte"]}
    return build_config({**values, "methods": ["none"], "device": device})


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Four cores that can do what one writes into the file."""
    monkeypatch.setattr(processor, "_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda self: list(range(4)), raising=False)
    processor._flags.cache_clear()
    yield tmp_path / "cpuinfo"
    processor._flags.cache_clear()


def test_more_cores_are_faster(machine: Path) -> None:
    narrow = processor.processor_flops(asked())
    assert narrow == 4 * processor.NARROW == 2 * processor.processor_flops(asked(threads=2))
    many = processor.processor_flops(asked(threads=64))
    assert many == narrow, "more threads than cores help nobody"


def test_queue_training_and_estimates_count_the_same_cores(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(psutil.Process, "cpu_affinity")  # as on macOS
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert cores() == 6 and processor.processor_flops(asked()) == 6 * processor.NARROW
    assert list_devices()[-1].title == "CPU, 6 cores"


@pytest.mark.parametrize(
    ("flags", "precision", "backbone", "speed"),
    [
        ("fpu avx2", "auto", "smollm2-135m", processor.NARROW),
        ("fpu avx512f avx512dq", "auto", "smollm2-135m", processor.WIDE),
        ("avx512f avx512_bf16", "auto", "smollm2-135m", processor.HALF),
        ("avx512f avx512_bf16", "auto", "demo", processor.WIDE),
        ("avx512f avx512_bf16", "float32", "smollm2-135m", processor.WIDE),
        ("avx512f amx_bf16", "bfloat16", "demo", processor.HALF),
    ],
)
def test_wider_units_and_native_halves_are_faster(
    machine: Path, flags: str, precision: str, backbone: str, speed: float
) -> None:
    machine.write_text(f"model name\t: x\nflags\t\t: {flags}\n", encoding="utf-8")
    assert processor.processor_flops(asked(backbone, precision=precision)) == 4 * speed


def test_rows_are_as_long_as_their_task_s_and_never_longer_than_the_limit() -> None:
    assert TOKENS.keys() <= shipped_tasks().keys()
    for task, lengths in TOKENS.items():
        assert list(lengths) == sorted(lengths)
        assert input_tokens(task, 10) == 10 and input_tokens(task, 10**6) == sum(lengths) / 5
    assert input_tokens("sst2", 48) < input_tokens("yelp", 48) <= 48
    assert input_tokens("my-own", 256) == USUAL and input_tokens("my-own", 20) == 20
    assert answer_tokens("e2e") > answer_tokens("my-own") == answer_tokens("rte")
