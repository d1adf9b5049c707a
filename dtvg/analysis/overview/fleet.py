"""The fleet: machines and devices, what trains where, what waits for what, how full the slots are.

Read from files only, so that it is the same wherever it is looked at: what each driver last saw
(`fleet.json`), and what each worker says of itself (`process.json`, `status.json`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from dtvg.store.files import read_json
from dtvg.store.layout import ExperimentDir
from dtvg.store.liveness import FRESH_SECONDS, age_of, look
from dtvg.store.processes import ProcessId

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

    @property
    def sentence(self) -> str:
        """Say it all in one sentence."""
        if self.drivers.empty:
            return "Nothing trains, and nothing waits."
        hosts = self.working["host"].nunique()
        return (
            f"{len(self.working)} cohorts train on {hosts} machine{'s' * (hosts != 1)}, "
            f"{int(self.drivers['waiting'].sum())} wait."
        )


@dataclass
class _Rows:
    """Rows of the tables, as they are found."""

    drivers: list[tuple[Any, ...]] = field(default_factory=list)
    working: list[tuple[Any, ...]] = field(default_factory=list)
    waiting: list[tuple[Any, ...]] = field(default_factory=list)
    machines: list[tuple[Any, ...]] = field(default_factory=list)
    ended: list[tuple[Any, ...]] = field(default_factory=list)


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
    return FleetInfo(**made)


def _look_at(experiment: ExperimentDir, rows: _Rows) -> None:
    """Add the rows of one experiment; one that nobody drives and that is at rest has none."""
    told = read_json(experiment.fleet_path) or {}
    sign = look(experiment.path)
    there = _working(experiment, told)
    if sign.held is False and not there and (not told or told.get("ended")):
        if told.get("failed"):
            rows.ended += [(experiment.name, k, v) for k, v in dict(told["failed"]).items()]
        return
    rows.working += there
    driver = sign.holder.host if sign.held and sign.holder else ""
    state = "driven" if sign.held else ("unknown" if sign.held is None else "no driver")
    over = dict(told.get("over") or {})
    offered = float(told.get("offered_seconds") or 0)
    rows.drivers.append(
        (
            experiment.name,
            str(told.get("on") or "inline"),
            state,
            int(told.get("slots") or 1),
            len(there),
            int(told.get("waiting_count") or 0),
            int(sum(over.values())),
            float(told.get("busy_seconds") or 0) / offered if offered else None,
            driver or str(told.get("host") or ""),
        )
    )
    for one in told.get("waiting") or []:
        what = ", ".join(one.get("for") or []) or "a free slot"
        rows.waiting.append((experiment.name, str(one.get("cohort")), what))
    busy: dict[str, int] = {}
    for row in there:
        busy[row[4]] = busy.get(row[4], 0) + 1
    for place in told.get("places") or []:
        host = str(place.get("host"))
        free = (experiment.name, host, str(place.get("title")), int(place.get("slots") or 0))
        rows.machines.append((*free, busy.get(host, 0), str(place.get("state"))))
    rows.ended += [(experiment.name, k, v) for k, v in dict(told.get("failed") or {}).items()]


def _working(experiment: ExperimentDir, told: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return a row per cohort that trains, or of which that cannot be told."""
    jobs = {str(job.get("cohort")): job for job in told.get("running") or []}
    found = []
    for folder in experiment.cohorts():
        process = read_json(folder.process_path)
        if process is None:
            continue
        of_cohort = process.get("lease_of") == "cohort"
        held = look(folder.path if of_cohort else experiment.path).held
        age = age_of(folder.process_path)
        if held is False or (not of_cohort and (age is None or age > FRESH_SECONDS)):
            continue
        names = [str(name) for name in process.get("runs") or []]
        said = [read_json(experiment.run(name).status_path) or {} for name in names]
        total = sum(int(s.get("total_steps") or 0) for s in said)
        done = sum(int(s.get("step") or 0) for s in said)
        job, who = jobs.get(folder.id, {}), ProcessId.read(process)
        device = next((str(s["device"]) for s in said if s.get("device")), "")
        found.append(
            (
                experiment.name,
                folder.id,
                len(names),
                done / total if total else 0.0,
                who.host,
                device,
                who.job or f"process {who.pid}",
                str(job.get("slot") or ""),
                int(job.get("attempt") or 1),
                "training" if held else "unknown",
                age,
            )
        )
    return found
