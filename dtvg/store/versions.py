"""Which versions an experiment's runs are made with, and which of them this program goes on with.

They stand in the experiment's `versions.json` and, run by run, in each `config.yaml`; folders of
before that are of version 1 of everything. docs/run_files.md "Versions".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dtvg.config import ExperimentConfig, RunConfig
from dtvg.methods.specs import METHODS, PREPARING, MethodConfig
from dtvg.rule.types import RULE_VERSION, VERSIONS
from dtvg.tasks import metrics
from dtvg.tasks.catalogue import all_tasks
from dtvg.tasks.spec import TaskSpec
from dtvg.tasks.splits import with_rule
from dtvg.versions import BACKBONE, FEW_SHOT, FIRST, SELECTION, STAGE_ONE, Version, Versions, words

LONG_KNOWN = ("size", "given", "own")
"""Split rules that a folder need not name: they are what they always were."""


def versions_of(run: RunConfig, tasks: Mapping[str, TaskSpec] | None = None) -> dict[str, Version]:
    """Return the versions a run is made with today.

    Args:
        run: a transfer run, or one of Stage I.
        tasks: the catalogue; None: as it is. Names that are not in it have no version.
    """
    known = all_tasks() if tasks is None else tasks
    found: dict[str, Version] = {"stage_one": STAGE_ONE, "backbone": BACKBONE}
    if run.role == "transfer":
        found["selection"] = SELECTION
    if run.method.logs_sources:
        found["rule"] = RULE_VERSION
    if run.data.few_shot is not None:
        found["few_shot"] = FEW_SHOT
    methods = [run.method]
    mixture = run.needs.mixture
    if mixture is not None:
        methods.append(mixture.method)
    found |= {f"method.{method.name}": method.version for method in methods}
    for name in (*run.sources, run.target):
        if name in known:
            spec = with_rule(known[name], run.data.split_rules)
            found[f"text.{name}"] = spec.text_version
            found[f"split.{name}"] = spec.split.rule
            scoring = metrics.versions(spec)
            if scoring:
                found[f"scoring.{name}"] = max(scoring.values())
    return found


def versions_of_all(config: ExperimentConfig) -> dict[str, Version]:
    """Return the versions that an experiment is made with today, those of its runs together."""
    tasks = all_tasks()
    found: dict[str, Version] = {}
    for run in config.runs():
        found |= versions_of(run, tasks)
    return found


def of_run(recorded: Versions, run: RunConfig) -> dict[str, Version]:
    """Return those of an experiment's versions that concern one of its runs."""
    return {part: recorded[part] for part in versions_of(run) if part in recorded}


def changed(recorded: Versions, now: Versions) -> dict[str, tuple[Version, Version]]:
    """Return the parts of `now` that were recorded otherwise: (recorded, now)."""
    found = {}
    for part, version in now.items():
        first: Version = FIRST
        if isinstance(version, str):
            first = version if version in LONG_KNOWN else LONG_KNOWN[0]
        before = recorded.get(part, first)
        if before != version:
            found[part] = (before, version)
    return found


def can_go_on(part: str, recorded: Version) -> bool:
    """Whether this program still trains what another version of a part was.

    Args:
        part: e.g. `method.dtvg`.
        recorded: its version, which is not today's.
    """
    kind, _, name = part.partition(".")
    if kind == "rule":
        return recorded in VERSIONS
    if kind == "selection":
        return True
    if kind == "few_shot":
        return recorded == FIRST
    if kind == "method":
        spec: type[MethodConfig] | None = METHODS.get(name) or PREPARING.get(name)
        return spec is not None and recorded in spec.earlier
    return False


def in_the_way(run: RunConfig, now: Versions, parts: Iterable[str]) -> dict[str, tuple]:
    """Return which parts keep a run from going on as it was recorded: (recorded, now).

    Args:
        run: with what was recorded.
        now: today's versions.
        parts: those that its remaining steps depend on.
    """
    differing = changed(run.versions or {}, now)
    return {
        part: differing[part]
        for part in parts
        if part in differing and not can_go_on(part, differing[part][0])
    }


def sentence(run: RunConfig, differing: Mapping[str, tuple[Version, Version]], begun: bool) -> str:
    """Say in one sentence what changed under a run, and how to go on.

    Args:
        run: the run.
        differing: as of `in_the_way`.
        begun: whether it has a commit that a fork can go on from.
    """
    told = ", ".join(
        f"{words(part)} ({_said(before)}, now {now})" for part, (before, now) in differing.items()
    )
    place = f"{run.experiment}/{run.name}"
    if begun:
        step = f"`dtvg runs fork {place}` goes on from its newest commit as an experiment of today"
    else:
        step = (
            f"`dtvg run {run.experiment}/experiment.yaml --set name={run.experiment[:76]}-new` in "
            "the folder of runs trains the experiment anew"
        )
    return f"Run '{run.name}' cannot go on as it was made, because of {told}; {step}."


def _said(version: Version) -> str:
    return f"version {version}" if isinstance(version, int) else f"rule {version}"
