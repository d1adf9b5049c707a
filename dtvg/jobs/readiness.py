"""What would fail, or surprise, after Start: looked up before it, setting by setting.

Reads names and folders only; nothing is loaded or downloaded. Must not import torch.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dtvg.backbones.specs import location, on_disk
from dtvg.config import ExperimentConfig
from dtvg.errors import ConfigError, DataError
from dtvg.jobs.devices import Device, pick
from dtvg.store.layout import free_name
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.sources import at_hand, find_folder

RUNS_LIMIT = 10_000
"""Of one experiment; more is a slip of the finger, and lists of it help nobody."""


@dataclass(frozen=True)
class Finding:
    """One thing to know about a configuration on this machine."""

    setting: str
    """Dotted name, e.g. `device.precision`."""
    sentence: str
    blocks: bool
    """Whether it would fail; otherwise it is worth knowing."""


def findings(config: ExperimentConfig, runs_dir: Path, devices: list[Device]) -> list[Finding]:
    """Return what stands against starting an experiment here, and what to know before.

    Args:
        config: valid settings.
        runs_dir: folder of experiments.
        devices: as `list_devices` returns them.
    """
    return [
        *_name(config.name, runs_dir),
        *_size(config),
        *_backbone(config.backbone.name),
        *_tasks("sources", config.sources, config.data.folder),
        *_tasks("targets", config.targets, config.data.folder),
        *_device(config, devices),
    ]


def count_runs(config: ExperimentConfig) -> int:
    """Return how many transfer runs an experiment has, at most, without making them."""
    singles = sum(m.name == "single" and getattr(m, "source", None) is None for m in config.methods)
    each = len(config.methods) - singles + singles * len(config.sources)
    return len(config.targets) * len(config.seeds) * each


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")


def _name(name: str, runs_dir: Path) -> list[Finding]:
    if not (runs_dir / name).exists():
        return []
    free = free_name(name, runs_dir)
    return [Finding("name", f"'{name}' exists already; take another name, e.g. '{free}'.", True)]


def _size(config: ExperimentConfig) -> list[Finding]:
    count = count_runs(config)
    if count <= RUNS_LIMIT:
        return []
    return [
        Finding(
            "seeds",
            f"Targets x methods x seeds make {count:,} runs; one experiment may have "
            f"{RUNS_LIMIT:,}. Choose fewer.",
            True,
        )
    ]


def _backbone(name: str) -> list[Finding]:
    try:
        location(name)
    except ConfigError as error:
        return [Finding("backbone.name", str(error), True)]
    if on_disk(name):
        return []
    if _offline():
        return [
            Finding(
                "backbone.name",
                f"Backbone '{name}' is not on this machine, and HF_HUB_OFFLINE forbids to fetch "
                "it; give a folder, or start the app without that variable.",
                True,
            )
        ]
    return [
        Finding(
            "backbone.name",
            f"'{name}' is not on this machine yet; it is downloaded from the hub at the start.",
            False,
        )
    ]


def _tasks(setting: str, names: Sequence[str], folder: str | None) -> list[Finding]:
    found, absent = [], []
    for name in names:
        try:
            spec = find_task(name)
            there = at_hand(spec, find_folder(spec, folder))
        except ConfigError as error:
            found.append(Finding(setting, str(error), True))
        except DataError as error:
            return [Finding("data.folder", str(error), True)]
        else:
            if there == "no, only on the hub":
                absent.append(name)
            elif there.startswith("no"):
                found.append(Finding(setting, f"Task '{name}': {there[4:]} in its folder.", True))
    if absent:
        listed = ", ".join(absent)
        where = "name its folder in Data, or put the files into <home>/datasets"
        text = (
            f"No data here for {listed}, and HF_HUB_OFFLINE forbids the hub; {where}."
            if _offline()
            else f"No data here for {listed}: fetched from the hub at the start; or {where}."
        )
        found.append(Finding(setting, text, _offline()))
    return found


def _device(config: ExperimentConfig, devices: list[Device]) -> list[Finding]:
    device = pick(config.device.name, devices)
    if device is None:
        present = ", ".join(["auto", *(d.name for d in devices)])
        return [
            Finding(
                "device.name",
                f"Device '{config.device.name}' is not on this machine. Allowed: {present}.",
                True,
            )
        ]
    precision = config.device.precision
    if precision in device.precisions:
        return []
    slow = device.kind == "cpu" and precision in ("bfloat16", "float16")
    text = (
        f"{device.title} has no {precision} of its own, which makes it slow; "
        if slow
        else f"{device.title} cannot compute in {precision}; "
    )
    return [
        Finding("device.precision", f"{text}choose {', '.join(device.precisions)}.", not slow),
    ]
