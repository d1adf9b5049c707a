"""What a driver last saw, in `fleet.json`: machines, what trains where, what waits for what.

Written every two seconds by the driver; read by `dtvg.analysis.overview.fleet`.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from typing import Any

from dtvg.config import ScaleConfig
from dtvg.errors import StoreError
from dtvg.scale.scheduler import Scheduler
from dtvg.store.files import replace_json
from dtvg.store.layout import ExperimentDir

SHOWN = 200
"""Waiting cohorts are listed up to so many; their number is told in any case."""


def write_fleet(
    experiment: ExperimentDir, scale: ScaleConfig, scheduler: Scheduler, ended: bool = False
) -> None:
    """Store what there is to see; a disk that refuses is tried again at the next turn."""
    with contextlib.suppress(StoreError):
        replace_json(experiment.fleet_path, fleet_of(scale, scheduler, ended), durable=False)


def fleet_of(scale: ScaleConfig, scheduler: Scheduler, ended: bool = False) -> dict[str, Any]:
    """Return what `fleet.json` holds."""
    waiting = scheduler.waiting
    kinds: dict[str, int] = {}
    for over in scheduler.over.values():
        kinds[over.kind] = kinds.get(over.kind, 0) + 1
    return {
        "at": time.time(),
        "host": socket.gethostname(),
        "on": scale.on,
        "ended": ended,
        "slots": scheduler.executor.capacity(),
        "places": [place.__dict__ for place in scheduler.executor.places()],
        "running": [
            {
                "cohort": job.cohort,
                "executor": job.executor,
                "job": job.id,
                "slot": job.slot,
                "started": job.started,
                "attempt": scheduler.attempts[job.cohort].jobs,
            }
            for job in scheduler.running.values()
        ],
        "waiting": [{"cohort": id_, "for": scheduler.waits_for(id_)} for id_ in waiting[:SHOWN]],
        "waiting_count": len(waiting),
        "over": kinds,
        "failed": {id_: over.why for id_, over in scheduler.over.items() if over.kind != "done"},
        "busy_seconds": scheduler.usage.busy,
        "offered_seconds": scheduler.usage.offered,
        "driver_cpu_seconds": time.process_time(),
        "driver_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
