"""Going on as recorded: a run keeps the versions it was made with, or one sentence says why not.

docs/run_files.md "Versions".
"""

from __future__ import annotations

from dataclasses import replace

from dtvg.backbones.base import Backbone
from dtvg.config import RunConfig
from dtvg.config.budgets import kept
from dtvg.plan.graph import Plan
from dtvg.store import versions
from dtvg.store.layout import ExperimentDir, RunDir
from dtvg.store.reader import open_run
from dtvg.store.tables import parts
from dtvg.training import stages
from dtvg.versions import Version


def today(run: RunConfig) -> dict[str, Version]:
    """Return the versions a run would be made with now."""
    return {**versions.versions_of(run), "stage_one": stages.VERSION}


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
        return run.model_copy(update={"versions": versions.of_run(known, run)})
    changes: dict[str, object] = {"versions": stored.versions}
    if run.role == "transfer":
        changes |= {"optim": kept(run, stored), "rates_from": stored.rates_from}
    return run.model_copy(update=changes)


def has_start(directory: RunDir) -> bool:
    """Whether a run keeps a copy of what it starts from, so that it needs no prompt bank."""
    return (directory.prompts_dir / "initial.safetensors").exists()


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
