"""What would fail, or surprise, after Start: looked up before it, setting by setting.

Reads names, folders, the tokenizer's file and small data files; nothing is downloaded.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dtvg import paths
from dtvg.backbones.specs import check, facts, has_chat_template, on_disk
from dtvg.config import ExperimentConfig, Problem
from dtvg.config.reading import idle_methods
from dtvg.config.sections import DataConfig
from dtvg.errors import ConfigError, DataError
from dtvg.jobs.answers import quick_rows, task_notes
from dtvg.jobs.devices import Device, list_devices, pick
from dtvg.mirrors.adapter import check_installed
from dtvg.storage import place
from dtvg.store.given import misfits
from dtvg.store.layout import free_name
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.metrics import check_packages
from dtvg.tasks.reading import TaskData
from dtvg.tasks.sources import find_folder, look_for
from dtvg.tasks.splits import with_rule

RUNS_LIMIT = 10_000
"""Of one experiment; more is most likely a mistake."""


@dataclass(frozen=True)
class Finding(Problem):
    """One thing to know about a configuration on this machine.

    Its kind is `taken`, `no_runs`, `too_many`, `backbone`, `task`, `data`, `template`, `folder`,
    `few_shot`, `initial`, `given`, `answers`, `mirror`, `storage`, `device` or `precision`.
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
        *_none(config),
        *_size(config),
        *_backbone(config.backbone.name),
        *_template(config),
        *_tasks("sources", config.sources, config.data.folder),
        *_tasks("targets", config.targets, config.data.folder),
        *_few_shot(config),
        *_initial(config),
        *_given(config),
        *_notes(config),
        *_mirrors(config),
        *(_device(config, devices) if config.scale.on in ("inline", "local") else ()),
    ]


OF_PROGRAMS = ("taken", "too_many", "answers")
"""What only the launch page refuses, or is said elsewhere of a start from the command line."""
OF_HARDWARE = ("device", "precision")
"""What another machine may have: an experiment can be planned for it here."""


def start_findings(config: ExperimentConfig, runs_dir: Path) -> list[Finding]:
    """Return what `findings` says of a start from the command line or Python, on this machine.

    There an experiment of the same name and settings goes on, and as many runs as wanted may start.
    """
    found = findings(config, runs_dir, list_devices())
    return [one for one in found if one.kind not in OF_PROGRAMS]


def require_ready(config: ExperimentConfig, runs_dir: Path, but: Sequence[str] = ()) -> None:
    """Refuse what cannot start on this machine, before anything is written.

    An experiment that is there is passed over: it goes on, and may need nothing any more.

    Args:
        config: what is about to start, with the place where it will.
        runs_dir: folder of experiments.
        but: kinds of findings that somebody else looks at.

    Raises:
        ConfigError: with every reason.
    """
    if (runs_dir / config.name / "experiment.yaml").exists():
        return
    found = start_findings(config, runs_dir)
    refuse([one for one in found if one.blocks and one.kind not in but])


def refuse(reasons: Sequence[Finding]) -> None:
    """Raise what prevents a start; nothing where nothing does.

    Raises:
        ConfigError: with every reason.
    """
    if reasons:
        said = " ".join(dict.fromkeys(one.sentence for one in reasons))
        raise ConfigError(
            f"This experiment cannot start on this machine, so nothing was written. {said}"
        )


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


def _none(config: ExperimentConfig) -> list[Finding]:
    """An experiment without a single run."""
    methods = {method.label for method in config.methods}
    if any(set(idle_methods(config, target)) != methods for target in config.targets):
        return []
    sentence = (
        "This experiment has no runs: none of its methods has a source that it can use on any of "
        "its targets. A target is not its own source unless allow_self is on; list other sources "
        "or targets."
    )
    return [Finding(("targets",), "no_runs", sentence, True)]


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
                "it; give a folder, or unset that variable.",
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


def _few_shot(config: ExperimentConfig) -> list[Finding]:
    """Targets with fewer training rows than are to be drawn, where reading them is quick."""
    data, found = config.data, []
    for name in config.targets if data.few_shot else ():
        try:
            spec = with_rule(find_task(name), data.split_rules)
            loaded = quick_rows(spec, data, find_folder(spec, data.folder))
        except (ConfigError, DataError):
            continue  # said by `_tasks`
        few = "" if loaded is None else _too_few(loaded, data)
        if few:
            sentence = f"Target '{name}' has {few}."
            found.append(Finding(("data", "few_shot"), "few_shot", sentence, True))
    return found


def _too_few(loaded: TaskData, data: DataConfig) -> str:
    """Say of what a task has fewer training rows than `few_shot`; empty where it has enough."""
    count, rows = data.few_shot or 0, loaded.split("train")
    if not data.few_shot_per_class:
        few = f"{len(rows):,} training rows, fewer than data.few_shot asks for ({count:,})"
        return few if len(rows) < count else ""
    if not loaded.spec.labels:
        return "no classes, so data.few_shot_per_class does not apply to it; set it to false"
    held = Counter(example.label for example in rows)
    for label in range(len(loaded.spec.labels)):
        if held[label] < count:
            return (
                f"{held[label]:,} training rows of class '{loaded.spec.title_of(label)}', fewer "
                f"than data.few_shot asks for of each class ({count:,})"
            )
    return ""


def _initial(config: ExperimentConfig) -> list[Finding]:
    """An initial prompt of more tokens than there are to draw from, as far as that is known."""
    prompt, known = config.prompt, facts(config.backbone.name)
    there = known.vocabulary if known is not None else 0
    most = min(prompt.vocabulary, there or prompt.vocabulary)
    if prompt.given or prompt.length <= most:
        return []
    raised = ", or raise prompt.vocabulary" if most == prompt.vocabulary else ""
    sentence = (
        f"An initial prompt of {prompt.length:,} tokens cannot be drawn from {most:,} "
        f"({'prompt.vocabulary' if raised else 'all that the backbone has'}); lower "
        f"prompt.length{raised}."
    )
    return [Finding(("prompt", "length"), "initial", sentence, True)]


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
