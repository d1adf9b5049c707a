"""Going on as recorded: a run keeps the versions it was made with, or one sentence says why not.

docs/run_files.md "Versions".
"""

from __future__ import annotations

from dataclasses import replace

from dtvg.backbones.base import UNKNOWN_REVISION, Backbone
from dtvg.config import ExperimentConfig, RunConfig
from dtvg.config.budgets import kept
from dtvg.config.sections import BackboneConfig
from dtvg.errors import StoreError
from dtvg.plan.graph import Plan
from dtvg.store import versions
from dtvg.store.files import replace_json
from dtvg.store.layout import CohortDir, ExperimentDir, RunDir
from dtvg.store.reader import Run, open_run
from dtvg.store.recovery import has_rows
from dtvg.store.state_files import read_text
from dtvg.store.tables import parts
from dtvg.tasks.catalogue import all_tasks
from dtvg.tasks.splits import PLANNED
from dtvg.training import stages
from dtvg.versions import HUB_COMMIT, Version


def today(run: RunConfig) -> dict[str, Version]:
    """Return the versions a run would be made with now."""
    return {**versions.versions_of(run), "stage_one": stages.VERSION}


def pinned(experiment: ExperimentDir, config: ExperimentConfig | RunConfig) -> BackboneConfig:
    """Return the backbone to load: of a hub's model the commit that the experiment began with."""
    commit = experiment.versions.get(HUB_COMMIT)
    if commit is None:
        return config.backbone
    return config.backbone.model_copy(update={"revision": str(commit)})


def backbone_of(run: Run, config: RunConfig) -> BackboneConfig:
    """Return the backbone that a run was trained with: of a hub's model the commit of then."""
    return pinned(ExperimentDir(run.path.parent), config)


def keep_commit(experiment: ExperimentDir, backbone: Backbone, asked: str | None) -> None:
    """Record from which commit of the hub an experiment's backbone was loaded.

    One begun before that was recorded keeps the identities of its prompts.

    Args:
        experiment: that is to be trained.
        backbone: that was loaded for it.
        asked: the branch or tag that its configuration names.
    """
    known = experiment.versions
    if not backbone.commit or HUB_COMMIT in known:
        return
    if any(cohort.state_path.exists() for cohort in experiment.cohorts()):
        backbone.revision = asked or UNKNOWN_REVISION
        return
    replace_json(experiment.versions_path, {**known, HUB_COMMIT: backbone.commit})


def as_recorded(experiment: ExperimentDir, made: Plan) -> Plan:
    """Return a plan whose unfinished runs have what their folders say they were made with."""
    known = experiment.versions
    cohorts = [
        replace(c, runs=tuple(_recorded(experiment, run, known) for run in c.runs))
        for c in made.cohorts
    ]
    return replace(made, cohorts=tuple(cohorts))


def _recorded(experiment: ExperimentDir, run: RunConfig, known: dict[str, Version]) -> RunConfig:
    directory = experiment.run(run.name)
    if run.role == "transfer" and directory.result_path.exists():
        return run
    stored = open_run(directory.path).config if directory.config_path.exists() else None
    if stored is None:
        made = run.model_copy(update={"versions": versions.of_run(known, run)})
        return with_recorded_splits(made)
    changes: dict[str, object] = {"versions": stored.versions}
    if run.role == "transfer":
        changes |= {"optim": kept(run, stored), "rates_from": stored.rates_from}
    return with_recorded_splits(run.model_copy(update=changes))


def with_recorded_splits(run: RunConfig) -> RunConfig:
    """Return a run whose tasks are split by the rules it was recorded with.

    A rule that is not a task's own any more is still there: `data.split_rules` names it.
    """
    if run.versions is None:
        return run
    tasks, rules = all_tasks(), {**run.data.split_rules}
    for name in (*run.sources, run.target):
        spec = tasks.get(name)
        if spec is None or name in rules or spec.split.rule in versions.LONG_KNOWN:
            continue
        rule = run.versions.get(f"split.{name}", versions.LONG_KNOWN[0])
        planned = next((one for one in PLANNED if one == rule), None)
        if planned is not None and planned != spec.split.rule:
            rules[name] = planned
    if rules == run.data.split_rules:
        return run
    return run.model_copy(update={"data": run.data.model_copy(update={"split_rules": rules})})


def has_start(directory: RunDir) -> bool:
    """Whether a run has begun and keeps what it starts from, so that it needs no prompt bank.

    Before its first commit it has said nothing of its sources yet, and begins anew.
    """
    return (directory.prompts_dir / "initial.safetensors").exists() and has_rows(directory)


def began_with(cohort: CohortDir, run: RunConfig) -> dict[str, str]:
    """Return the identities of the prompts that a run began with, by task; none before a commit.

    Where nobody can read the commit, whoever goes on from it says so.
    """
    try:
        numbers = read_text(cohort.state_path)["meta"].get("runs", {}).get(run.name) or {}
    except StoreError:
        return {}
    start = numbers.get("start") or {} if numbers.get("step") else {}
    return {key.partition(".")[2]: own for key, own in start.items() if key.startswith("prompt.")}


def why_not(experiment: ExperimentDir, run: RunConfig, backbone: Backbone) -> str:
    """Return in one sentence why a run cannot go on as it was made; empty: it can.

    Args:
        experiment: its folder.
        run: as recorded.
        backbone: loaded; most read and answer as they always did.
    """
    directory = experiment.run(run.name)
    wanted = ["rule", f"method.{run.method.name}", "few_shot"]
    if backbone.versions:
        wanted.append("backbone")
    tasks = [run.target]
    if run.role != "transfer" or not has_start(directory) or run.needs.source_data:
        tasks += run.sources
    if run.role != "transfer" and not directory.result_path.exists():
        wanted.append("stage_one")
    wanted += [f"{kind}.{task}" for kind in ("text", "split", "scoring") for task in tasks]
    differing = versions.in_the_way(run, today(run), wanted)
    if not differing:
        return ""
    begun = run.role == "transfer" and bool(parts(directory.table_dir("events")))
    return versions.sentence(run, differing, begun)
