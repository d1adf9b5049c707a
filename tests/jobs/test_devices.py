"""Devices as they are: GPUs told by the driver, precisions the hardware has, who is at it."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest

from dtvg import paths
from dtvg.config import build_config
from dtvg.config.presets import demo
from dtvg.jobs import devices
from dtvg.jobs.devices import Device
from dtvg.jobs.readiness import findings

GPUS = [("Old GPU", (7, 5), []), ("New GPU", (9, 0), [os.getpid(), 2**22 + 1])]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that tells of two GPUs."""

    class NVMLError(Exception):
        pass

    fake = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: len(GPUS),
        nvmlDeviceGetHandleByIndex=lambda i: i,
        nvmlDeviceGetMemoryInfo=lambda i: SimpleNamespace(total=80 * 2**30, free=70 * 2**30),
        nvmlDeviceGetComputeRunningProcesses=lambda i: [SimpleNamespace(pid=p) for p in GPUS[i][2]],
        nvmlDeviceGetCudaComputeCapability=lambda i: GPUS[i][1],
        nvmlDeviceGetName=lambda i: GPUS[i][0].encode() if i else GPUS[i][0],
    )
    monkeypatch.setitem(sys.modules, "pynvml", fake)


def test_gpus_come_first_with_what_is_free_and_who_is_at_them(driver: None) -> None:
    old, new, cpu = devices.list_devices()
    assert (old.name, old.title, new.title, cpu.name) == ("cuda:0", "Old GPU", "New GPU", "cpu")
    assert (new.memory_gib, new.free_gib) == (80, 70)
    assert devices.users(old) == []
    mine, gone = devices.users(new)
    assert f"process {os.getpid()}" in mine
    assert gone == f"process {2**22 + 1}"


def test_bfloat16_only_where_the_hardware_has_it(driver: None) -> None:
    old, new, _ = devices.list_devices()
    assert "bfloat16" not in old.precisions
    assert "bfloat16" in new.precisions
    config = build_config({**demo(), "device": {"name": "cuda:0", "precision": "bfloat16"}})
    found = findings(config, paths.runs(), [old, new])
    assert [(f.setting, f.blocks) for f in found] == [("device.precision", True)]
    assert "Old GPU cannot compute in bfloat16" in found[0].sentence
    moved = build_config({**demo(), "device": {"name": "cuda:1", "precision": "bfloat16"}})
    assert not findings(moved, paths.runs(), [old, new])


@pytest.mark.parametrize(
    ("name", "found"),
    [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu"), ("mps", None)],
)
def test_a_setting_stands_for_a_device(driver: None, name: str, found: str | None) -> None:
    picked = devices.pick(name, devices.list_devices())
    assert (picked.name if picked else None) == found


def test_without_a_gpu_automatic_is_the_cpu() -> None:
    cpu = Device("cpu", "CPU", 8, 4)
    assert devices.pick("auto", [cpu]) is cpu
    assert devices.pick("cuda", [cpu]) is None


def test_a_driver_that_fails_means_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("no driver")

    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(nvmlInit=fail))
    assert [d.name for d in devices.list_devices()] == ["cpu"]
