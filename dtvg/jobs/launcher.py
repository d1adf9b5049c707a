"""Starting experiments as processes that outlive the browser and the app, and stopping them.

A started process is `dtvg runs resume NAME`, in a session of its own, so that a
start, a resume and a restart after a crash are one command.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from dtvg import paths
from dtvg.config import ExperimentConfig
from dtvg.errors import ConfigError, JobError, StoreError
from dtvg.plan.stored import lay_out
from dtvg.store.cohorts import worked_on
from dtvg.store.files import read_json
from dtvg.store.layout import CohortDir, ExperimentDir, changing
from dtvg.store.lease import note_start, release, wait_until_free
from dtvg.store.liveness import Sign, look, look_at_all
from dtvg.store.processes import ProcessId
from dtvg.store.reader import open_run
from dtvg.store.status import clear, request

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
    folder: str = "",
) -> int:
    """Train whatever is unfinished in a detached process; return its pid.

    Args:
        experiment: its folder.
        runs: names of the runs to go on with; empty: all.
        environment: variables of the process beside this one's.
        folder: where it works, so where relative names in the settings begin; empty, or where there
            is none any more: here.

    Raises:
        JobError: a process is already training it, or may be, or none could be started.
        StoreError: its folder cannot be written.
    """
    targets = [f"{experiment.name}/{name}" for name in runs] or [experiment.name]
    around = str(experiment.path.parent)
    arguments = ["runs", "resume", "--runs-dir", around, "--quiet", "--", *targets]
    with changing(experiment.path):
        sign = look_at_all(experiment.path, workers=False)  # those are taken over
        if sign.held:
            raise JobError(
                f"Experiment '{experiment.name}' is being trained already. Stop it first, or wait "
                "for it."
            )
        if sign.held is None:
            raise sign.refusal(experiment.name, "nothing was started")
        try:
            command = own_command(*arguments)
            pid = detached(command, experiment.log_path, environment, folder)
        except OSError as error:
            raise JobError(
                f"The process for '{experiment.name}' could not be started "
                f"({error.strerror or error}); try `dtvg runs resume {experiment.name}`."
            ) from None
        note_start(experiment.path, pid)
    return pid


def here() -> str:
    """Return the folder this process works in; empty where it is gone."""
    try:
        return os.getcwd()
    except OSError:
        return ""


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
    command: Sequence[str],
    log_path: Path,
    environment: Mapping[str, str] | None = None,
    folder: str = "",
) -> int:
    """Start a process in a session of its own, which outlives this one; return its pid.

    Args:
        command: program and arguments.
        log_path: file its output is added to.
        environment: variables beside this process's.
        folder: where it works; empty, or where there is none any more: here.

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
            cwd=folder if os.path.isdir(folder) else None,
            close_fds=True,
        )
    return process.pid


def is_working(experiment: ExperimentDir) -> bool:
    """Whether a process trains this experiment right now, here or elsewhere, or is starting."""
    return look_at_all(experiment.path).held is True


def is_held(folder: Path) -> bool:
    """Whether a process holds an experiment's folder, or is starting, as far as a quick look tells.

    A list of thousands asks this; `is_working` also asks every run.
    """
    return look(folder).held is True


def may_be_working(experiment: ExperimentDir, ended: Collection[str] = ()) -> bool:
    """Whether a process trains this experiment, or that cannot be told.

    Args:
        experiment: its folder.
        ended: names of its runs that are known to have a result.
    """
    return look_at_all(experiment.path, ended=ended).held is not False


def stop(experiment: ExperimentDir, runs: Sequence[str] = ()) -> list[str]:
    """Ask runs to commit and stop at their next step.

    Args:
        experiment: its folder.
        runs: names; empty: every run that trains or waits.

    Returns:
        Names of the runs that were asked; those not running have nothing to stop.

    Raises:
        StoreError: its folder cannot be written.
    """
    views = [open_run(run.path) for run in experiment.runs() if not runs or run.name in runs]
    alive = [view for view in views if view.problem is None and view.state.may_live]
    for view in alive:
        request(view.directory, "stop")
    if not runs:
        _ask_process(experiment)
    return [view.name for view in alive]


def _ask_process(experiment: ExperimentDir) -> None:
    """Send SIGTERM once, which the process meets by committing and stopping all its runs.

    Several people may press Stop, and a process has several cohorts. One that cannot be signalled
    from here, as in another container or on another host, finds a file instead.
    """
    sign = look(experiment.path, fresh=True)
    here = _processes_here(experiment)
    for process in here:
        mark = f".stop-{process.pid}-{process.ticks or process.process_started}"
        try:
            (experiment.path / mark).touch(exist_ok=False)
        except FileExistsError:
            continue
        except OSError:
            log.warning("no note of the stop could be left in %s", experiment.path)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it ended meanwhile
            os.kill(process.pid, signal.SIGTERM)
        for old in experiment.path.glob(".stop-*"):
            if old.name != mark:
                with contextlib.suppress(OSError):
                    old.unlink()
    if not here and sign.held is not False and sign.holder is not None:
        request(experiment, "stop", **sign.holder.to_json())


def _processes_here(experiment: ExperimentDir) -> list[ProcessId]:
    """Return the processes that train an experiment and live where this one can signal them."""
    sign = look(experiment.path, fresh=True)
    found = [] if sign.holder is None or not sign.held else [sign.holder]
    for cohort in experiment.cohorts():  # an earlier version notes itself only there
        process = ProcessId.read(read_json(cohort.process_path) or {})
        if sign.held and not any(process.pid == other.pid and other.boot for other in found):
            found.append(process)
    alive = {p.pid: p for p in found if p.exists()}
    return list(alive.values())


def kill(cohort: CohortDir) -> list[str]:
    """Kill a cohort's process at once; return the runs that end with it.

    What was committed stays; `resume` goes on from there.

    Raises:
        JobError: no such process on this machine.
    """
    content = read_json(cohort.process_path) or {}
    process = ProcessId.read(content)
    if not process.exists():
        raise JobError(
            f"Cohort '{cohort.id}' has no process on this machine (last seen on "
            f"{process.place}), so nothing was killed."
        )
    _kill([process], cohort.path.parent.parent)
    return list(worked_on(cohort))


def _kill(processes: Sequence[ProcessId], experiment: Path) -> None:
    """Kill processes, and wait a moment until the system has let go of what they held."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    wait_until_free(experiment)


def working_cohorts(experiment: ExperimentDir) -> list[CohortDir]:
    """Return the cohorts whose process lives on this machine."""
    return [
        cohort
        for cohort in experiment.cohorts()
        if ProcessId.read(read_json(cohort.process_path) or {}).exists()
    ]


def can_kill(experiment: ExperimentDir) -> bool:
    """Whether a process trains an experiment, or is starting, that can be killed from here."""
    return bool(_processes_here(experiment))


def ends_with_kill(experiment: ExperimentDir) -> list[str]:
    """Return the names of the runs that `kill_all` would end now."""
    named = dict.fromkeys(n for c in working_cohorts(experiment) for n in worked_on(c))
    at_it = {
        run.name
        for run in (open_run(r.path) for r in experiment.runs() if r.name in named)
        if run.state.alive
    }
    return [name for name in named if name in at_it]


def kill_all(experiment: ExperimentDir) -> list[str]:
    """Kill whatever process trains an experiment, or is starting; return the runs that end with it.

    Raises:
        JobError: none is at it on this machine.
    """
    processes = _processes_here(experiment)
    if not processes:
        sign = look_at_all(experiment.path)
        far = f" It is being trained on {sign.holder.place}." if sign.held and sign.holder else ""
        raise JobError(
            f"No process that can be reached from here trains '{experiment.name}', so nothing was "
            f"killed.{far or ' It may have ended in the meantime; check its state.'}"
        )
    ended = ends_with_kill(experiment)
    _kill(processes, experiment.path)
    for name in ended:  # who resumes them does not want them stopped
        clear(experiment.run(name), "stop")
    return ended


def give_free(experiment: ExperimentDir) -> Sign:
    """Declare on a person's word that nobody trains an experiment; see `lease.release`."""
    for cohort in experiment.cohorts():
        if look(cohort.path, fresh=True).held is None:
            release(cohort.path)
    return release(experiment.path)


_TAIL_BYTES = 1_000_000
"""Of a long log only so much is read from its end."""


def log_tail(experiment: ExperimentDir, lines: int = 200, search: str = "") -> str:
    """Return the last lines an experiment's process printed.

    Args:
        experiment: whose.
        lines: the most lines to return.
        search: only lines that hold this text, whatever its case.
    """
    return tail_of(experiment.log_path, lines, search)


def tail_of(path: Path, lines: int = 200, search: str = "") -> str:
    """Return the last lines of a log; see `log_tail`."""
    try:
        with path.open("rb") as file:
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
            own_command("prompts", "import", *options, "--", str(path)),
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


def places_text(on: str) -> list[str]:
    """Return a line per machine of an engine, asked in a process of its own.

    Args:
        on: as of `--on`.

    Raises:
        ConfigError: with the command's own sentence, where it cannot be reached.
        JobError: it does not answer.
    """
    try:
        done = subprocess.run(
            own_command("fleet", "--free", on),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            stdin=subprocess.DEVNULL,
            env=own_environment(),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise JobError(f"'{on}' does not answer ({error}).") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message was written"]
        raise ConfigError(lines[-1].removeprefix("dtvg: "))
    return done.stdout.strip().splitlines()
