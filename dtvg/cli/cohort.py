"""`dtvg cohort EXPERIMENT COHORT`: train one cohort; what every executor starts as a process."""

from __future__ import annotations

import argparse
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtvg.errors import ConfigError, DataError, DtvgError, JobError

if TYPE_CHECKING:
    from dtvg.store.layout import ExperimentDir
    from dtvg.training.signals import StopWish

STATUS = {"done": 0, "stopped": 0, "failed": 2, "refused": 3, "held": 4, "preempted": 5}
"""Exit status by how it ended."""


def add(commands: Any) -> None:
    """Add the `cohort` command to the command line."""
    command = commands.add_parser("cohort", help="train one cohort (executors start this)")
    command.add_argument("experiment", type=Path, help="folder of the experiment")
    command.add_argument("cohort", help="id of the cohort, as in plan.json")
    command.add_argument("--token", default="", help="names the attempt; given by a driver")
    command.set_defaults(do=work)


def work(arguments: argparse.Namespace) -> int:
    """Train, and say in the cohort's folder how it ended."""
    from dtvg.scale.ground import note_ended
    from dtvg.store.layout import load_experiment
    from dtvg.training.signals import stop_on_signals

    began = time.time()
    experiment, _ = load_experiment(arguments.experiment)
    folder = experiment.cohort(arguments.cohort)
    first: list[float] = []
    with stop_on_signals() as stop:
        kind, why = _outcome(experiment, arguments, stop, first)
    if arguments.token and kind != "held":
        note_ended(
            folder, arguments.token, kind, why,
            began=began, first_step=first[0] if first else None,
        )  # fmt: skip
    if kind not in ("done", "stopped"):
        print(f"dtvg: {why}", flush=True)
    return STATUS[kind]


def _outcome(
    experiment: ExperimentDir, arguments: argparse.Namespace, stop: StopWish, first: list[float]
) -> tuple[Any, str]:
    """Train one cohort; return how that ended and why."""
    from dtvg.scale.code import difference
    from dtvg.scale.driver import worker_facts
    from dtvg.scale.ground import prove_shared
    from dtvg.store.liveness import look

    host, folder = socket.gethostname(), experiment.cohort(arguments.cohort)
    asked = folder.control_dir / "stop"
    facts: dict[str, Any] = {"only": None, "bank": None}
    try:
        prove_shared(experiment.path)
        if arguments.token:
            facts = worker_facts(experiment, arguments.cohort, arguments.token)
            differs = difference(facts.get("code", {}), host)
            if differs:
                return "refused", differs
        folder.ended_path.unlink(missing_ok=True)
    except DtvgError as error:
        return ("held" if isinstance(error, JobError) else "refused"), str(error)
    stop.watch = asked.exists
    loaded: list[float] = []

    def report(progress: Any) -> None:
        if not first:
            first.append(time.time())

    try:
        from dtvg.scale.ray_offers import meeting_of
        from dtvg.training.procedures import run_cohort

        given = (stop, report, facts["only"], facts["bank"], loaded.append)
        run_cohort(experiment, arguments.cohort, *given, meeting_of(experiment))
    except (ConfigError, DataError) as error:  # of this machine: a device, backbone or data
        return ("failed" if loaded else "refused"), f"On host {host}: {error}"
    except DtvgError as error:
        held = isinstance(error, JobError) and look(folder.path, fresh=True).held
        return ("held" if held else "failed"), str(error)
    except KeyboardInterrupt:
        return "preempted", f"Interrupted on host {host}."
    if not stop:
        return "done", ""
    if asked.exists():
        return "stopped", "Asked to stop."
    return "preempted", f"Sent away from host {host} by a signal, after a commit."
