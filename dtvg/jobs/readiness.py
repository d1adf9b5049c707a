"""What would fail, or surprise, after Start: looked up before it, setting by setting.

Reads names, folders, the tokenizer's file and small data files; nothing is downloaded.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dtvg import paths
from dtvg.backbones.specs import check, facts, has_chat_template, on_disk
from dtvg.config import ExperimentConfig, Problem
from dtvg.errors import ConfigError, DataError
from dtvg.jobs.answers import task_notes
from dtvg.jobs.devices import Device, pick
from dtvg.mirrors.adapter import check_installed
from dtvg.storage import place
from dtvg.store.given import misfits
from dtvg.store.layout import free_name
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.metrics import check_packages
from dtvg.tasks.sources import find_folder, look_for

RUNS_LIMIT = 10_000
"""Of one experiment; more is most likely a mistake."""


@dataclass(frozen=True)
class Finding(Problem):
    """One thing to know about a configuration on this machine.

    Its kind is `taken`, `too_many`, `backbone`, `task`, `data`, `template`, `folder`, `given`,
    `answers`, `mirror`, `device` or `precision`.
    """

    blocks: bool
    """Whether it would fail; otherwise it is worth knowing."""


def findings(config: ExperimentConfig, runs_dir: Path, devices: list[Device]) -> list[Finding]:
    """Return what prevents starting an experiment here, and what to know before.

    Args:
        config: valid settings.
        runs_dir: folder of experiments.
        devices: as `list_devices` returns them.
    """
    return [
        *_name(config.name, runs_dir),
        *_size(config),
        *_backbone(config.backbone.name),
        *_template(config),
        *_tasks("sources", config.sources, config.data.folder),
        *_tasks("targets", config.targets, config.data.folder),
        *_given(config),
        *_notes(config),
        *_mirrors(config),
        *(_device(config, devices) if config.scale.on in ("inline", "local") else ()),
    ]


def require_tasks(config: ExperimentConfig) -> None:
    """Refuse a configuration that names an unknown task, or one that cannot be scored here.

    Raises:
        ConfigError: with the nearest name, or the extra whose packages are missing.
    """
    for task in dict.fromkeys((*config.sources, *config.targets)):
        check_packages(find_task(task))


def count_runs(config: ExperimentConfig) -> int:
    """Return how many transfer runs an experiment has, at most, without making them."""
    sources = len(config.sources)
    each = sum(m.run_count(sources) * len(config.seeds_for(m)) for m in config.methods)
    return len(config.targets) * each


def _mirrors(config: ExperimentConfig) -> list[Finding]:
    try:
        check_installed(config.logging)
    except ConfigError as error:
        return [Finding(("logging", "mirror"), "mirror", str(error), True)]
    try:
        if config.scale.mirror:
            place.check_packages(config.scale.mirror)
    except ConfigError as error:
        return [Finding(("scale", "mirror"), "storage", str(error), True)]
    return []


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")


def require_name(name: str, runs_dir: Path) -> None:
    """Refuse a new experiment that would hide a recorded example in the app.

    Args:
        name: of the experiment; one that is there already may be trained on.
        runs_dir: folder of experiments; the app shows those of `paths.runs()`.

    Raises:
        ConfigError: a recorded example has this name.
    """
    new = runs_dir.resolve() == paths.runs().resolve() and not (runs_dir / name).exists()
    if new and (paths.examples() / name).exists():
        raise ConfigError(_of_example(name, runs_dir))


def _of_example(name: str, runs_dir: Path) -> str:
    return (
        f"'{name}' is the name of a recorded example, which this experiment would hide; choose "
        f"another name, e.g. '{free_name(name, runs_dir)}'."
    )


def _name(name: str, runs_dir: Path) -> list[Finding]:
    if (runs_dir / name).exists():
        free = free_name(name, runs_dir)
        sentence = f"'{name}' exists already; choose another name, e.g. '{free}'."
    elif (paths.examples() / name).exists():
        sentence = _of_example(name, runs_dir)
    else:
        return []
    return [Finding(("name",), "taken", sentence, True)]


def _size(config: ExperimentConfig) -> list[Finding]:
    count = count_runs(config)
    if count <= RUNS_LIMIT:
        return []
    return [
        Finding(
            ("seeds",),
            "too_many",
            f"Targets x methods x seeds make {count:,} runs; one experiment may have "
            f"{RUNS_LIMIT:,}. Choose fewer.",
            True,
        )
    ]


def _backbone(name: str) -> list[Finding]:
    try:
        check(name)
    except ConfigError as error:
        return [Finding(("backbone", "name"), "backbone", str(error), True)]
    if on_disk(name):
        return []
    if _offline():
        return [
            Finding(
                ("backbone", "name"),
                "backbone",
                f"Backbone '{name}' is not on this machine, and HF_HUB_OFFLINE forbids downloading "
                "it; give a folder, or start the app without that variable.",
                True,
            )
        ]
    return [
        Finding(
            ("backbone", "name"),
            "backbone",
            f"'{name}' is not on this machine yet; it will be downloaded from the hub when "
            "training starts.",
            False,
        )
    ]


def _template(config: ExperimentConfig) -> list[Finding]:
    name = config.backbone.name
    if config.data.template == "plain" or has_chat_template(name) is not False:
        return []
    sentence = f"Backbone '{name}' has no chat template; choose plain, or an instruct model."
    return [Finding(("data", "template"), "template", sentence, True)]


def _tasks(setting: str, names: Sequence[str], folder: str | None) -> list[Finding]:
    found, absent = [], []
    for row, name in enumerate(names):
        try:
            spec = find_task(name)
            check_packages(spec)
            there = look_for(spec, find_folder(spec, folder))
        except ConfigError as error:
            found.append(Finding((setting, row), "task", str(error), True))
        except DataError as error:
            return [Finding(("data", "folder"), "folder", str(error), True)]
        else:
            if there.place == "hub":
                absent.append(name)
            elif there.missing:
                sentence = f"Task '{name}': {' and '.join(there.missing)} missing in its folder."
                found.append(Finding((setting, row), "data", sentence, True))
    if absent:
        listed = ", ".join(absent)
        where = "name its folder in Data, or put the files into <home>/datasets"
        text = (
            f"No data here for {listed}, and HF_HUB_OFFLINE forbids downloading them; {where}."
            if _offline()
            else f"No data here for {listed}: they will be downloaded from the hub when training "
            f"starts; or {where}."
        )
        found.append(Finding((setting,), "data", text, _offline()))
    return found


def _given(config: ExperimentConfig) -> list[Finding]:
    """Prompts of the bank that do not fit, which training would find after Stage I."""
    known = facts(config.backbone.name) if config.prompt.given else None
    width = None if known is None else known.width
    return [
        Finding(("prompt", "given"), "given", sentence, True)
        for sentence in misfits(config, width=width)
    ]


def require_given(config: ExperimentConfig) -> None:
    """Refuse a configuration whose given prompts do not fit, before anything is trained.

    Raises:
        ConfigError: with every reason.
    """
    found = _given(config)
    if found:
        raise ConfigError(" ".join(one.sentence for one in found))


def _notes(config: ExperimentConfig) -> list[Finding]:
    """What tasks and backbone do to each other, and splits that differ from the literature's."""
    return [
        Finding((note.setting, note.place), "answers", note.sentence, False)
        for note in task_notes(config)
    ]


def _device(config: ExperimentConfig, devices: list[Device]) -> list[Finding]:
    device = pick(config.device.name, devices)
    if device is None:
        present = ", ".join(["auto", *(d.name for d in devices)])
        return [
            Finding(
                ("device", "name"),
                "device",
                f"Device '{config.device.name}' is not on this machine. Allowed: {present}.",
                True,
            )
        ]
    precision = config.device.precision
    if precision == "auto" or precision in device.precisions:
        return []
    slow = device.kind == "cpu" and precision in ("bfloat16", "float16")
    text = (
        f"{device.title} does not support {precision} in hardware, which makes it slow; "
        if slow
        else f"{device.title} cannot compute in {precision}; "
    )
    return [
        Finding(
            ("device", "precision"),
            "precision",
            f"{text}choose {', '.join(device.precisions)}.",
            not slow,
        ),
    ]
