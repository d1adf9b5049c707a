"""Starting `dtvg cohort` on the machine where a job was placed: what Ray and Slurm call there.

Only the standard library at import, so that a machine without the package fails with one sentence.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TAIL_BYTES = 2000
CLUSTER = "DTVG_RAY"
"""Variable that tells a worker on Ray the address of its cluster."""
PASSED = ("DTVG_", "HF_", "OMP_", "MKL_", "TRANSFORMERS_", "TOKENIZERS_")
"""Beginnings of the variables that a worker gets from its driver."""


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a worker gets from its driver, wherever it runs."""
    secret = ("TOKEN", "SECRET", "KEY", "PASSWORD")  # TOKENIZERS_ names no token
    return {
        name: value
        for name, value in at_work(environment).items()
        if name.startswith(PASSED)
        and not any(word in name.removeprefix("TOKENIZERS_") for word in secret)
    }


def at_work(environment: Mapping[str, str]) -> dict[str, str]:
    """Return variables with which a worker trains what was restored from a storage mirror: it does
    not look at the mirror, beside which nothing is trained."""
    looks = "://" in environment.get("DTVG_RUNS", "")
    return {**environment, "DTVG_RUNS": ""} if looks else dict(environment)


def _die_with_parent() -> None:
    """Let the system send SIGTERM, which commits, when whoever started this is gone."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


class CohortJob:
    """One cohort as a job; Ray makes an actor of it, submitit calls it."""

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: str, name: str
    ) -> None:
        self.arguments = list(arguments)
        self.environment = dict(environment)
        self.log = log
        self.name = name
        self.pid = 0
        self.outcome: tuple[int, str, str] | None = None

    def __call__(self) -> tuple[int, str, str]:
        """Train; return exit status, host and the last lines it wrote."""
        return self.run()

    def run(self) -> tuple[int, str, str]:
        """Train; return exit status, host and the last lines it wrote."""
        if self.outcome is None:
            self.outcome = self._run()
        return self.outcome

    def result(self) -> tuple[int, str, str] | None:
        """Return how it ended: asked of an actor, after `run` has ended."""
        return self.outcome

    def _run(self) -> tuple[int, str, str]:
        host = socket.gethostname()
        command = [sys.executable, "-P", "-m", "dtvg", *self.arguments]
        environment = {**os.environ, **self.environment, "DTVG_JOB": self.name}
        log = Path(self.log)
        if not log.parent.parent.is_dir():
            return (
                3,
                host,
                (
                    f"Host {host} does not see the folder '{log.parent.parent.parent}'; mount it "
                    "there, or give a --runs-dir that every machine sees."
                ),
            )
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self.pid = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                preexec_fn=_die_with_parent,
            ).pid
            code = _wait(self.pid)
        return code, host, tail(log)

    def checkpoint(self, *args: Any, **more: Any) -> Any:
        """Let the worker commit before its job is requeued; called by submitit on its signal."""
        from submitit.helpers import DelayedSubmission

        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            _wait(self.pid)
        self._show_as_waiting()
        again = CohortJob(self.arguments, self.environment, self.log, self.name)
        return DelayedSubmission(again)

    def _show_as_waiting(self) -> None:
        """Say on the runs, which have stopped, that Slurm starts them again; as far as possible."""
        with contextlib.suppress(Exception):
            from dtvg.plan.stored import stored_plan
            from dtvg.scale.ground import FolderGround
            from dtvg.store.bank import PromptBank
            from dtvg.store.layout import load_experiment

            _, path, cohort, *_ = self.arguments
            experiment, config = load_experiment(Path(path))
            made = stored_plan(experiment, config)
            asked = experiment.cohort(cohort).control_dir.joinpath("stop").exists()
            if made is not None and not asked:
                FolderGround(experiment, made, PromptBank()).in_queue(
                    cohort, "waits in Slurm's queue to go on from its newest commit"
                )


def _wait(pid: int) -> int:
    """Wait for a child; also from a signal handler that interrupted just that."""
    while True:
        try:
            found, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return -1
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.1)


def tail(log: Path) -> str:
    """Return the last line of a log that says something."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = file.read().decode("utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].removeprefix("dtvg: ").strip() if lines else ""
