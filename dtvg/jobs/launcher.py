"""Starting experiments as processes that outlive the browser and the app, and stopping them.

A started process is `dtvg runs resume NAME`, in a session of its own, so that a
start, a resume and a restart after a crash are one command.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from dtvg import paths
from dtvg.config import ExperimentConfig
from dtvg.errors import JobError, StoreError
from dtvg.plan.stored import lay_out
from dtvg.records import RunState
from dtvg.store.files import is_locked, read_json
from dtvg.store.layout import CohortDir, ExperimentDir
from dtvg.store.reader import open_run
from dtvg.store.status import process_exists, request

log = logging.getLogger(__name__)


def start(config: ExperimentConfig, runs_dir: Path) -> ExperimentDir:
    """Create an experiment and train it in a detached process.

    Args:
        config: what to train.
        runs_dir: folder of experiments.

    Raises:
        ConfigError: the name is taken by another configuration.
        JobError: the process could not be started, or one is at it already.
    """
    experiment = lay_out(config, runs_dir)
    resume(experiment)
    return experiment


def resume(
    experiment: ExperimentDir,
    runs: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> int:
    """Train whatever is unfinished in a detached process; return its pid.

    Args:
        experiment: its folder.
        runs: names of the runs to go on with; empty: all.
        environment: variables of the process beside this one's.

    Raises:
        JobError: a process is already training it, or none could be started.
    """
    if is_working(experiment):
        raise JobError(
            f"Experiment '{experiment.name}' is being trained already. Stop it first, or wait "
            "for it."
        )
    targets = [f"{experiment.name}/{name}" for name in runs] or [experiment.name]
    folder = str(experiment.path.parent)
    arguments = ["runs", "resume", *targets, "--runs-dir", folder, "--quiet"]
    try:
        return detached(own_command(*arguments), experiment.log_path, environment)
    except OSError as error:
        raise JobError(
            f"The process for '{experiment.name}' could not be started "
            f"({error.strerror or error}); try `dtvg runs resume {experiment.name}`."
        ) from None


def own_command(*arguments: str) -> list[str]:
    """Return how this package's command is started, whatever lies in the current folder."""
    return [sys.executable, "-P", "-m", "dtvg", *arguments]


def own_environment() -> dict[str, str]:
    """Return this process's variables; in a checkout, a process started with them finds it."""
    root = paths.checkout()
    if root is None:
        return dict(os.environ)
    search = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": search}


def detached(
    command: Sequence[str], log_path: Path, environment: Mapping[str, str] | None = None
) -> int:
    """Start a process in a session of its own, which outlives this one; return its pid.

    Args:
        command: program and arguments.
        log_path: file its output is added to.
        environment: variables beside this process's.

    Raises:
        OSError: it could not be started.
    """
    given = {**own_environment(), "OMP_WAIT_POLICY": "PASSIVE"}
    with log_path.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**given, **(environment or {})},
            close_fds=True,
        )
    return process.pid


def is_working(experiment: ExperimentDir) -> bool:
    """Whether a process trains this experiment right now (holds its lock)."""
    return is_locked(experiment.path / ".lock")


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
            _ask_process(experiment, cohort)
    return [view.name for view in alive]


def _ask_process(experiment: ExperimentDir, cohort: CohortDir) -> None:
    """Send SIGTERM once, which the process meets by committing and stopping all its runs.

    A second signal would interrupt it before it commits; a process has several cohorts, and
    several people may press Stop.
    """
    content = read_json(cohort.process_path) or {}
    if not _is_here(content):
        return
    mark = f".stop-{content['pid']}-{content['process_started']}"
    try:
        (experiment.path / mark).touch(exist_ok=False)
    except FileExistsError:
        return
    except OSError:
        log.warning("no note of the stop could be left in %s", experiment.path)
    with contextlib.suppress(psutil.NoSuchProcess):  # it ended meanwhile
        psutil.Process(int(str(content["pid"]))).terminate()


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
            f"{content.get('host', 'no host')}), so nothing was killed."
        )
    psutil.Process(int(content["pid"])).kill()
    return [str(name) for name in content.get("runs", [])]


def working_cohorts(experiment: ExperimentDir) -> list[CohortDir]:
    """Return the cohorts whose process lives on this machine."""
    return [c for c in experiment.cohorts() if _is_here(read_json(c.process_path) or {})]


def ends_with_kill(experiment: ExperimentDir) -> list[str]:
    """Return the names of the runs that `kill_all` would end now."""
    found = [read_json(c.process_path) or {} for c in working_cohorts(experiment)]
    named = dict.fromkeys(str(name) for content in found for name in content.get("runs", []))
    at_it = {
        run.name
        for run in (open_run(r.path) for r in experiment.runs() if r.name in named)
        if run.state.alive
    }
    return [name for name in named if name in at_it]


def kill_all(experiment: ExperimentDir) -> list[str]:
    """Kill whatever process trains an experiment; return the runs that end with it.

    Raises:
        JobError: none is at it on this machine.
    """
    cohorts = working_cohorts(experiment)
    if not cohorts:
        raise JobError(
            f"No process on this machine trains '{experiment.name}', so nothing was killed. "
            "It may have ended in the meantime; check its state."
        )
    ended = ends_with_kill(experiment)
    for cohort in cohorts:
        try:
            kill(cohort)
        except (JobError, psutil.NoSuchProcess):
            continue  # several cohorts of one process: it is gone already
    return ended


def _is_here(content: dict[str, object]) -> bool:
    import socket

    started = content.get("process_started")
    return (
        content.get("host") == socket.gethostname()
        and isinstance(started, float)
        and process_exists(int(str(content.get("pid", 0))), started)
    )


_TAIL_BYTES = 1_000_000
"""Of a long log only so much is read from its end."""


def log_tail(experiment: ExperimentDir, lines: int = 200, search: str = "") -> str:
    """Return the last lines an experiment's process printed.

    Args:
        experiment: whose.
        lines: the most lines to return.
        search: only lines that hold this text, whatever its case.
    """
    try:
        with experiment.log_path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    found = [line for line in text.splitlines() if search.lower() in line.lower()]
    return "\n".join(found[-lines:])


TIMEOUT = 120.0


def run_import(path: Path, options: Sequence[str]) -> str:
    """Run `dtvg prompts import PATH OPTIONS` and return what it printed.

    Raises:
        StoreError: with the command's own sentence, where it refused.
        JobError: the process could not be run or took too long.
    """
    try:
        done = subprocess.run(
            own_command("prompts", "import", str(path), *options),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            stdin=subprocess.DEVNULL,
            env=own_environment(),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise JobError(
            f"The import could not be started ({error}); try `dtvg prompts import`."
        ) from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message was written"]
        raise StoreError(lines[-1].removeprefix("dtvg: "))
    return done.stdout.strip()
