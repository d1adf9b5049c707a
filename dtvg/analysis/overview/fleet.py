"""The fleet: machines and devices, what trains where, what waits for what, how full the slots are.

Read from files only, so that it is the same wherever it is looked at: what each driver last saw
(`fleet.json`), and what each worker says of itself (`process.json`, `status.json`).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from dtvg.errors import StoreError
from dtvg.records import RunState
from dtvg.store.formats import FleetFile, FleetPlace, ProcessFile, read_model
from dtvg.store.layout import CohortDir, ExperimentDir, RunDir
from dtvg.store.liveness import FRESH_SECONDS, age_of, look
from dtvg.store.processes import ProcessId
from dtvg.store.status import as_written

COLUMNS = {
    "drivers": (
        "experiment",
        "on",
        "state",
        "slots",
        "training",
        "waiting",
        "ended",
        "used",
        "host",
    ),
    "working": (
        *("experiment", "cohort", "runs", "done", "host", "device", "job", "slot", "attempt"),
        *("state", "sign"),
    ),
    "waiting": ("experiment", "cohort", "waits for"),
    "machines": ("experiment", "machine", "what", "slots", "busy", "state"),
    "ended": ("experiment", "cohort", "why"),
}


@dataclass(frozen=True)
class FleetInfo:
    """What trains anywhere; every table has the columns of `COLUMNS`."""

    drivers: pd.DataFrame
    working: pd.DataFrame
    waiting: pd.DataFrame
    machines: pd.DataFrame
    ended: pd.DataFrame
    """Cohorts that did not end well, and why."""
    problems: tuple[str, ...] = ()
    """One sentence for each file that holds something else than it should."""

    @property
    def sentence(self) -> str:
        """Say it all in one sentence."""
        if self.drivers.empty:
            return "Nothing trains, and nothing waits."
        cohorts, hosts = len(self.working), self.working["host"].nunique()
        wait = int(self.drivers["waiting"].sum())
        waiting = f", {wait:,} wait{'s' * (wait == 1)}" if wait else ""
        if not cohorts:
            return f"No cohort trains yet{waiting}: the process of an experiment loads first."
        return (
            f"{cohorts:,} cohort{'s train' if cohorts != 1 else ' trains'} on {hosts:,} "
            f"machine{'s' * (hosts != 1)}{waiting}."
        )


@dataclass
class _Rows:
    """Rows of the tables, as they are found."""

    drivers: list[tuple[Any, ...]] = field(default_factory=list)
    working: list[tuple[Any, ...]] = field(default_factory=list)
    waiting: list[tuple[Any, ...]] = field(default_factory=list)
    machines: list[tuple[Any, ...]] = field(default_factory=list)
    ended: list[tuple[Any, ...]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def fleet_info(runs_dir: Path, experiments: Sequence[str] | None = None) -> FleetInfo:
    """Return the fleet of all experiments in a folder.

    Args:
        runs_dir: folder of experiments; an absent one is empty.
        experiments: names of those to look at; None: all.
    """
    rows = _Rows()
    try:
        names = sorted(e.name for e in os.scandir(runs_dir) if e.is_dir() and e.name[0] != ".")
    except OSError:
        names = []
    for name in names:
        if experiments is None or name in experiments:
            _look_at(ExperimentDir(runs_dir / name), rows)
    made = {k: pd.DataFrame(getattr(rows, k), columns=list(c)) for k, c in COLUMNS.items()}
    return FleetInfo(**made, problems=tuple(rows.problems))


def _look_at(experiment: ExperimentDir, rows: _Rows) -> None:
    """Add the rows of one experiment; one that nobody drives and that is at rest has none."""
    try:
        told = read_model(experiment.fleet_path, FleetFile)
    except StoreError as error:
        told = None
        rows.problems.append(f"{error} It is passed over; its driver writes it anew.")
    sign = look(experiment.path)
    there = _working(experiment, told or FleetFile())
    if sign.held is False and not there and (told is None or told.ended):
        if told is not None:
            rows.ended += [(experiment.name, k, v) for k, v in told.failed.items()]
        return
    rows.working += there
    told = told or FleetFile()
    driver = sign.holder.host if sign.held and sign.holder else ""
    state = "driven" if sign.held else ("unknown" if sign.held is None else "no driver")
    rows.drivers.append(
        (
            experiment.name,
            told.on,
            state,
            told.slots or 1,
            len(there),
            told.waiting_count,
            sum(told.over.values()),
            told.busy_seconds / told.offered_seconds if told.offered_seconds else None,
            driver or told.host,
        )
    )
    for one in told.waiting:
        rows.waiting.append((experiment.name, one.cohort, ", ".join(one.wanted) or "a free slot"))
    busy = Counter(row[4] for row in there)
    rows.machines += [(experiment.name, *machine) for machine in _machines(told.places, busy)]
    rows.ended += [(experiment.name, k, v) for k, v in told.failed.items()]


def _machines(
    places: Sequence[FleetPlace], busy: Mapping[str, int]
) -> list[tuple[str, str, int, int, str]]:
    """Return a row per machine: host, what it has, slots, cohorts that train on it, state.

    Devices of one machine are one row, since of a cohort only its machine is known for sure.
    """
    found: dict[tuple[str, str], list[FleetPlace]] = {}
    for place in places:
        found.setdefault((place.host, place.state), []).append(place)
    made = []
    for (host, state), mine in found.items():
        count = Counter(place.title for place in mine)
        what = ", ".join(f"{n} × {title}" if n > 1 else title for title, n in count.items())
        made.append((host, what, sum(place.slots for place in mine), busy.get(host, 0), state))
    return made


def _working(experiment: ExperimentDir, told: FleetFile) -> list[tuple[Any, ...]]:
    """Return a row per cohort that trains, or of which that cannot be told."""
    jobs = {job.cohort: job for job in told.running}
    found = []
    for folder in experiment.cohorts():
        process = _process_of(folder)
        if process is None:
            continue
        of_cohort = process.lease_of == "cohort"
        held = look(folder.path if of_cohort else experiment.path).held
        age = age_of(folder.process_path)
        if held is False or (not of_cohort and (age is None or age > FRESH_SECONDS)):
            continue
        states = [as_written(RunDir(experiment.path / Path(name).name)) for name in process.runs]
        said = [state for state in states if state is not None]
        ended = RunState.FINISHED  # maybe before its last step
        total = sum(s.step if s.state is ended else s.total_steps for s in said)
        job, who = jobs.get(folder.id), ProcessId.read(process.model_dump())
        found.append(
            (
                experiment.name,
                folder.id,
                len(process.runs),
                sum(state.step for state in said) / total if total else 0.0,
                who.host,
                next((state.device for state in said if state.device), ""),
                who.job or f"process {who.pid}",
                job.slot if job else "",
                job.attempt if job else 1,
                "training" if held else "unknown",
                age,
            )
        )
    return found


def _process_of(folder: CohortDir) -> ProcessFile | None:
    try:
        return read_model(folder.process_path, ProcessFile)
    except StoreError:
        return None  # no process that can be looked for
