"""Which runs a cohort's folder shows: what the planner of a resumed experiment has to keep.

Reads the head of the newest commit, no tensors.
"""

from __future__ import annotations

import os
from pathlib import Path

from dtvg.errors import StoreError
from dtvg.store.formats import ProcessFile, StatusFile, read_model
from dtvg.store.layout import CohortDir, ExperimentDir, RunDir
from dtvg.store.state_files import read_head
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
            named = _said_cohort(experiment.path / run / "status.json")
            home[run] = named if named in ids else ids[0]
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
            named = read_head(cohort.state_path)[1]
        except StoreError:
            continue
        found |= {name.removeprefix(prefix) for name in named if name.startswith(prefix)}
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
    committed: tuple[str, ...] = ()
    if cohort.state_path.exists():
        try:
            committed = read_head(cohort.state_path)[0]
        except StoreError as error:
            raise StoreError(
                f"{str(error).rstrip('.')}, so the runs that trained together in it are not known. "
                "Restore it from a copy, or delete the folder "
                f"'{cohort.path}' and those of its runs to train them again."
            ) from None
    return tuple(dict.fromkeys((*committed, *worked_on(cohort))))


def worked_on(cohort: CohortDir) -> tuple[str, ...]:
    """Return the runs that a cohort's last process noted; none where that cannot be read."""
    try:
        noted = read_model(cohort.process_path, ProcessFile)
    except StoreError:
        return ()
    return () if noted is None else noted.runs


def _said_cohort(status: Path) -> str | None:
    """Return the cohort that a run's status names."""
    try:
        found = read_model(status, StatusFile)
    except StoreError:
        return None
    return None if found is None else found.cohort
