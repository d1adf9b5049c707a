"""The plan in `plan.json`: written when an experiment is created, met again at every resume.

So neither another machine nor a newer planner moves a run into another cohort, where its
commit would not be found. An experiment without the file keeps the cohorts that its folders
show. docs/run_files.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dtvg.config import ExperimentConfig, RunConfig
from dtvg.errors import ConfigError, StoreError
from dtvg.plan.graph import (
    STEMS,
    Plan,
    assemble,
    edges,
    numbered,
    plan,
    stage_one_runs,
    stem_of,
)
from dtvg.store.cohorts import shown_cohorts
from dtvg.store.files import read_json, replace_json
from dtvg.store.formats import PlanFile, checked
from dtvg.store.layout import ExperimentDir, create_experiment

VERSION = 1
"""Of the file; raised when an older program could not follow it."""


def lay_out(config: ExperimentConfig, runs_dir: Path, slots: int | None = None) -> ExperimentDir:
    """Make an experiment's folder, one per transfer run, and its plan.

    Args:
        config: what to run.
        runs_dir: folder of experiments; made if absent.
        slots: as of `plan`; None: `scale.slots`.

    Returns:
        The folder; the one that is there, with its own plan, if it holds an equal configuration.

    Raises:
        ConfigError, StoreError: as `create_experiment` and `keep_plan`.
    """
    experiment = create_experiment(config, runs_dir)
    slots = slots or config.scale.slots
    if slots is not None or config.scale.on == "inline":  # else as many as the driver finds
        keep_plan(experiment, config, slots)
    return experiment


def keep_plan(
    experiment: ExperimentDir, config: ExperimentConfig, slots: int | None = None
) -> Plan:
    """Return an experiment's stored plan; without one, make it and store it.

    Args:
        experiment: its folder.
        config: its configuration.
        slots: as of `plan`; a stored plan keeps its own.

    Raises:
        StoreError: `plan.json` is damaged or belongs to another experiment.
    """
    stored = stored_plan(experiment, config)
    if stored is not None:
        return stored
    made = as_shown(config, plan(config, slots), shown_cohorts(experiment))
    replace_json(experiment.plan_path, to_json(config, made))
    return made


def stored_plan(experiment: ExperimentDir, config: ExperimentConfig) -> Plan | None:
    """Read an experiment's plan; None where it has no `plan.json`.

    Raises:
        StoreError: as `keep_plan`.
    """
    path = experiment.plan_path
    content = read_json(path)
    if content is None and not path.exists():
        return None
    if content is None:
        raise _refused(path, "cannot be read (it contains no JSON object)")
    version = content.get("version")
    if isinstance(version, int) and version > VERSION:
        raise StoreError(
            f"'{path}' was written by a newer dtvg (version {version} of the file, this "
            f"program reads up to {VERSION}); update dtvg, then resume."
        )
    try:
        return _from_file(path, config, checked(path, content, PlanFile))
    except StoreError as error:
        if "so nothing was started" in str(error):
            raise
        why = str(error).removeprefix(f"'{path}': ").rstrip(".")
        raise _refused(path, f"contains something other than a plan: {why}") from None


def to_json(config: ExperimentConfig, made: Plan) -> dict[str, Any]:
    """Return what `plan.json` holds: cohorts in order, their runs, and what each starts from."""
    return {
        "version": VERSION,
        "experiment": config.name,
        "slots": made.slots,
        "cohorts": [
            {
                "id": cohort.id,
                "after": list(cohort.after),
                "runs": {run.name: list(made.starts.get(run.name, ())) for run in cohort.runs},
            }
            for cohort in made.cohorts
        ],
    }


def _from_file(path: Path, config: ExperimentConfig, content: PlanFile) -> Plan:
    """Rebuild a plan; the runs' settings are the configuration's own."""
    owner, slots = content.experiment, content.slots
    cohorts = {cohort.id: cohort.runs for cohort in content.cohorts}
    names = [name for runs in cohorts.values() for name in runs]
    starts = {name: tuple(begun) for runs in cohorts.values() for name, begun in runs.items()}
    if owner != config.name:
        raise _refused(path, f"is the plan of experiment '{owner}', not of '{config.name}'")
    transfers = config.runs()
    known = {run.name: run for run in (*stage_one_runs(config, transfers), *transfers)}
    wrong = _wrong(names, starts, known, [run.name for run in transfers])
    if wrong:
        raise _refused(path, wrong)
    cut = [(id_, tuple(known[name] for name in runs)) for id_, runs in cohorts.items()]
    try:
        return assemble(cut, starts, slots)
    except ConfigError as error:
        raise _refused(path, f"has a circle ({error})") from None


def _wrong(
    names: Sequence[str],
    starts: Mapping[str, Sequence[str]],
    known: Mapping[str, RunConfig],
    transfers: Sequence[str],
) -> str:
    """Return in what a plan does not fit its experiment; empty: in nothing.

    Args:
        names: runs of the plan, cohort by cohort.
        starts: run → the runs it starts from.
        known: the runs the experiment has.
        transfers: those that must be planned.
    """
    loose = [start for begun in starts.values() for start in begun if start not in starts]
    for found, what in (
        (
            [name for name in names if name not in known],
            "names a run that is not in the experiment",
        ),
        ([name for name in transfers if name not in starts], "lacks a run of the experiment"),
        (loose, "starts a run from one that is in no cohort"),
        ([n for i, n in enumerate(names) if n in names[:i]], "lists a run in two cohorts"),
    ):
        if found:
            return f"{what}: '{found[0]}'"
    return ""


def _refused(path: Path, why: str) -> StoreError:
    """Say that a plan cannot be followed, and what to do."""
    return StoreError(
        f"'{path}' {why}. Without a valid plan a run might be trained again in another cohort, so "
        "nothing was started. Restore the file from a copy, or delete it; the plan is then made "
        f"again from the folders in '{path.parent / 'cohorts'}'."
    )


def as_shown(config: ExperimentConfig, fresh: Plan, shown: Mapping[str, Sequence[str]]) -> Plan:
    """Return a plan that keeps the cohorts whose folders are there.

    Where every folder holds only runs that are planned in that cohort, this is the fresh plan.
    Otherwise (another planner, or another `device.max_cohort`, cut them) the cohorts of such a kind
    stay as their folders show them, and the runs in no folder form cohorts under unused ids.

    Args:
        config: the experiment.
        fresh: its plan by today's rules.
        shown: as of `shown_cohorts`; runs that the experiment does not have are passed over.
    """
    known = {run.name: run for run in fresh.runs}
    planned = {cohort.id: {run.name for run in cohort.runs} for cohort in fresh.cohorts}
    kept = {id_: [known[name] for name in names if name in known] for id_, names in shown.items()}
    kept = {id_: runs for id_, runs in kept.items() if runs}
    moved = {
        stem_of(run)
        for id_, runs in kept.items()
        for run in runs
        if run.name not in planned.get(id_, ())
    }
    if not moved:
        return fresh
    cut: list[tuple[str, Sequence[RunConfig]]] = []
    for stem in STEMS:
        if stem not in moved:
            mine = (c for c in fresh.cohorts if c.runs and stem_of(c.runs[0]) == stem)
            cut += [(cohort.id, cohort.runs) for cohort in mine]
            continue
        there = [(id_, runs) for id_, runs in kept.items() if stem_of(runs[0]) == stem]
        held = {run.name for _, runs in there for run in runs}
        rest = [run for run in fresh.runs if stem_of(run) == stem and run.name not in held]
        cut += [*there, *numbered(stem, rest, config.device.max_cohort, taken=kept)]
    return assemble(cut, edges(config, fresh.runs), fresh.slots)
