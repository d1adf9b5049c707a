"""Which runs a cohort's folder shows: what the planner of a resumed experiment has to keep.

Reads the head of the newest commit, no tensors.
"""

from __future__ import annotations

import json
import os

from safetensors import SafetensorError, safe_open

from dtvg.errors import StoreError
from dtvg.store.files import read_json
from dtvg.store.layout import CohortDir, ExperimentDir, RunDir
from dtvg.store.tables import Part, parts


def shown_cohorts(experiment: ExperimentDir) -> dict[str, tuple[str, ...]]:
    """Return the cohorts whose folders are there, by id, each with its runs in their order.

    A run's cohort is the one whose newest commit holds it, else the one whose process worked on
    it; where two claim it, the one that its status names.

    Raises:
        StoreError: a commit is damaged.
    """
    claims = {cohort.id: _runs_of(cohort) for cohort in experiment.cohorts() if _is_cohort(cohort)}
    claimed: dict[str, list[str]] = {}
    for id_, runs in claims.items():
        for run in runs:
            claimed.setdefault(run, []).append(id_)
    home = {run: ids[0] for run, ids in claimed.items()}
    for run, ids in claimed.items():
        if len(ids) > 1:
            named = (read_json(experiment.path / run / "status.json") or {}).get("cohort")
            home[run] = str(named) if named in ids else ids[0]
    kept = {id_: tuple(run for run in runs if home[run] == id_) for id_, runs in claims.items()}
    return {id_: runs for id_, runs in kept.items() if runs}


def pending_parts(run: RunDir, table: str) -> frozenset[str]:
    """Return the names of a table's parts that a run's newest commits hold.

    Between the commit and the moment in which its files get their names they lie hidden: with
    these names a reader sees all tables of a commit at once.
    """
    prefix = f"{run.name}/{table}/"
    found: set[str] = set()
    for cohort in ExperimentDir(run.path.parent).cohorts():
        try:
            with safe_open(cohort.state_path, framework="np") as file:
                named = json.loads(file.metadata()["dtvg"])["pending"]
        except (SafetensorError, OSError, ValueError, KeyError, TypeError):
            continue
        found |= {str(n).removeprefix(prefix) for n in named if str(n).startswith(prefix)}
    return frozenset(found)


def visible_parts(run: RunDir, table: str) -> list[Part]:
    """Return a table's committed part files, those included that are about to get their names."""
    folder = run.table_dir(table)
    try:
        hidden = any(name.startswith(".part-") for name in os.listdir(folder))
    except OSError:
        return []
    return parts(folder, pending_parts(run, table) if hidden else ())


def _is_cohort(cohort: CohortDir) -> bool:
    return cohort.state_path.exists() or cohort.process_path.exists()


def _runs_of(cohort: CohortDir) -> tuple[str, ...]:
    """Return the runs of a cohort's newest commit and of its last process."""
    committed: list[str] = []
    if cohort.state_path.exists():
        try:
            with safe_open(cohort.state_path, framework="np") as file:
                committed = list(json.loads(file.metadata()["dtvg"])["meta"]["runs"])
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"'{cohort.state_path}' is damaged ({error}), so the runs that trained together in "
                "it are not known. Restore it from a copy, or delete the folder "
                f"'{cohort.path}' and those of its runs to train them again."
            ) from None
    worked_on = (read_json(cohort.process_path) or {}).get("runs", ())
    return tuple(dict.fromkeys((*committed, *map(str, worked_on))))
