"""Starting experiments as processes that outlive the browser and the app, and stopping them.

A started process is `python -m dtvg runs resume NAME`, in a session of its own, so that a
start, a resume and a restart after a crash are one command. Must not import torch.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from dtvg.config import ExperimentConfig
from dtvg.errors import JobError
from dtvg.records import RunState
from dtvg.store.files import locked, read_json
from dtvg.store.layout import CohortDir, ExperimentDir, create_experiment
from dtvg.store.reader import Run, open_run
from dtvg.store.status import process_exists, request


def start(config: ExperimentConfig, runs_dir: Path) -> ExperimentDir:
    """Create an experiment and train it in a detached process.

    Args:
        config: what to train.
        runs_dir: folder of experiments.

    Raises:
        ConfigError: the name is taken by another configuration.
        JobError: the process could not be started, or one is at it already.
    """
    experiment = create_experiment(config, runs_dir)
    resume(experiment)
    return experiment


def resume(experiment: ExperimentDir, runs: Sequence[str] = ()) -> int:
    """Train whatever is unfinished in a detached process; return its pid.

    Args:
        experiment: its folder.
        runs: names of the runs to go on with; empty: all.

    Raises:
        JobError: a process is at it already, or none could be started.
    """
    if is_working(experiment):
        raise JobError(
            f"Experiment '{experiment.name}' is being trained already; stop it first, or wait."
        )
    targets = [f"{experiment.name}/{name}" for name in runs] or [experiment.name]
    command = [
        sys.executable,
        "-m",
        "dtvg",
        "runs",
        "resume",
        *targets,
        "--runs-dir",
        str(experiment.path.parent),
        "--quiet",
    ]
    package = Path(__file__).resolve().parents[2]
    search = os.pathsep.join(filter(None, (str(package), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": search, "OMP_WAIT_POLICY": "PASSIVE"}
    try:
        with experiment.log_path.open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment,
                close_fds=True,
            )
    except OSError as error:
        raise JobError(
            f"The process for '{experiment.name}' could not be started "
            f"({error.strerror or error}); try `python -m dtvg runs resume {experiment.name}`."
        ) from None
    return process.pid


def is_working(experiment: ExperimentDir) -> bool:
    """Whether a process trains this experiment right now (holds its lock)."""
    path = experiment.path / ".lock"
    if not path.exists():
        return False
    with locked(path, wait=False) as mine:
        return not mine


def stop(experiment: ExperimentDir, runs: Sequence[str] = ()) -> list[str]:
    """Ask runs to commit and stop at their next step.

    Args:
        experiment: its folder.
        runs: names; empty: every run that trains or waits.

    Returns:
        Names of the runs that were asked; those not running have nothing to stop.
    """
    views = [open_run(run.path) for run in experiment.runs() if not runs or run.name in runs]
    alive = [view for view in views if view.state in (RunState.RUNNING, RunState.STOPPING)]
    for view in alive:
        request(view.directory, "stop")
    if not runs:
        for cohort in experiment.cohorts():
            _ask_process(cohort)
    return [view.name for view in alive]


def _ask_process(cohort: CohortDir) -> None:
    """Send SIGTERM, which the process meets by committing and stopping all its runs."""
    content = read_json(cohort.process_path) or {}
    if _is_here(content):
        psutil.Process(int(content["pid"])).terminate()


def kill(cohort: CohortDir) -> list[str]:
    """Kill a cohort's process at once; return the runs that end with it.

    What was committed stays; `resume` goes on from there.

    Raises:
        JobError: no such process on this machine.
    """
    content = read_json(cohort.process_path) or {}
    if not _is_here(content):
        raise JobError(
            f"Cohort '{cohort.id}' has no process on this machine (last seen on "
            f"{content.get('host', 'no host')}); nothing was killed."
        )
    psutil.Process(int(content["pid"])).kill()
    return [str(name) for name in content.get("runs", [])]


def _is_here(content: dict[str, object]) -> bool:
    import socket

    started = content.get("process_started")
    return (
        content.get("host") == socket.gethostname()
        and isinstance(started, float)
        and process_exists(int(str(content.get("pid", 0))), started)
    )


def can_stop(run: Run) -> bool:
    """Whether asking a run to stop makes sense."""
    return run.state in (RunState.RUNNING, RunState.STOPPING)


def log_tail(experiment: ExperimentDir, lines: int = 200) -> str:
    """Return the last lines an experiment's process printed."""
    try:
        text = experiment.log_path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
