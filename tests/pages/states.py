"""Homes whose runs truly are in a state: what was recorded is real, and so is the process.

A running experiment is held by a living child process, a stopping one was asked to stop and its
process still lives, a lost one's process was killed, a failed one's said so before it ended.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dtvg.config import build_config
from dtvg.jobs import launcher
from dtvg.records import RunState
from dtvg.store.bank import PromptBank
from dtvg.store.files import read_json, replace_json
from dtvg.store.layout import ExperimentDir, create_experiment
from dtvg.store.reader import Run, open_experiment
from dtvg.store.status import request
from dtvg.testing.tiny_run import tiny_config

ROOT = Path(__file__).resolve().parents[2]
NAME = "tiny"
STOPPED_AFTER = 7
STATES = tuple(state.value for state in RunState)
WENT_WRONG = "The loss is not finite."


@dataclass
class Holder:
    """The child process that holds an experiment."""

    process: subprocess.Popen[str]

    @classmethod
    def start(cls, experiment: ExperimentDir, state: RunState, message: str = "") -> Holder:
        """Start it, and wait until it holds the experiment."""
        script = ["-m", "tests.pages.holder", str(experiment.path)]
        process = subprocess.Popen(
            [sys.executable, *script, state.value, message],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        made = cls(process)
        assert made.heard() == "holding"
        return made

    def heard(self) -> str:
        """Return the next line it says; waits for it."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> str:
        """Let it end; return what else it said."""
        return self.process.communicate(timeout=60)[0]

    def freeze(self) -> None:
        """Let it live on and hold the experiment, but write nothing any more."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)

    def kill(self) -> None:
        """Kill it at once."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=60)


@dataclass
class Home:
    """A home with one experiment in a state, to be pointed to by `DTVG_HOME`."""

    path: Path
    holder: Holder | None = None

    @property
    def experiment(self) -> ExperimentDir:
        """The experiment's folder."""
        return ExperimentDir(self.path / "runs" / NAME)

    def transfers(self) -> list[Run]:
        """Return the transfer runs as the reader tells them."""
        return [r for r in open_experiment(self.experiment.path).runs if r.role == "transfer"]

    def states(self) -> set[str]:
        """Return the states the reader tells of the transfer runs."""
        return {run.state.value for run in self.transfers()}


@dataclass
class Recorded:
    """One experiment trained to the end, and one stopped half-way; copied for every state."""

    folder: Path
    homes: dict[str, Home] = field(default_factory=dict)
    holders: list[Holder] = field(default_factory=list)

    @classmethod
    def make(cls, folder: Path) -> Recorded:
        """Train both."""
        for name, halfway in (("finished", False), ("halfway", True)):
            config = build_config(tiny_config(folder / "parts", name=NAME, seeds=[0, 1]))
            create_experiment(config, folder / "untrained" / "runs")
            experiment = create_experiment(config, folder / name / "runs")
            _train(experiment, PromptBank(folder / "bank"), halfway)
        return cls(folder)

    def home(self, state: str) -> Home:
        """Return a home in a state that is only looked at; the same one each time."""
        if state not in self.homes:
            self.homes[state] = self.new(state, self.folder / f"is-{state}")
        return self.homes[state]

    def new(self, state: str, path: Path) -> Home:
        """Make a separate home in a state."""
        made = Home(path)
        origin = {"finished": "finished", "waiting": "untrained"}.get(state, "halfway")
        shutil.copytree(self.folder / origin / "runs", path / "runs")
        if state in ("running", "stopping", "lost"):
            made.holder = self._held(made, RunState.RUNNING)
        if state == "stopping":
            assert launcher.stop(made.experiment) == [run.name for run in _by_name(made)]
            assert made.holder is not None and made.holder.heard() == "asked to stop"
        elif state == "lost":
            assert made.holder is not None
            made.holder.kill()
        elif state == "unknown":
            for run in made.transfers():
                _on_another_host(run)
        elif state == "failed":
            self._held(made, RunState.FAILED, WENT_WRONG).end()
        return made

    def end(self) -> None:
        """End every process that still lives."""
        for holder in self.holders:
            if holder.process.poll() is None:
                holder.kill()

    def _held(self, home: Home, state: RunState, message: str = "") -> Holder:
        holder = Holder.start(home.experiment, state, message)
        self.holders.append(holder)
        return holder


def _on_another_host(run: Run) -> None:
    """Leave what a process on a host that does not answer leaves."""
    path = run.directory.status_path
    there = {"state": "running", "host": "elsewhere", "pid": 999_999}
    replace_json(path, {**(read_json(path) or {}), **there})
    touch_back(path, 40)


def touch_back(path: Path, seconds: float) -> None:
    """Let a file have been written so long ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def _by_name(home: Home) -> list[Run]:
    return sorted((r for r in home.transfers() if r.state.alive), key=lambda run: run.name)


def _train(experiment: ExperimentDir, bank: PromptBank, halfway: bool) -> None:
    """Train an experiment, or stop its transfer runs on request in the middle."""
    from dtvg.training import loop, procedures
    from tests.training.settings import moved_prompt

    before = loop.hold_sources

    def ask(cohort) -> None:
        for slot in cohort.slots:
            if slot.step == STOPPED_AFTER and slot.config.role == "transfer":
                request(cohort.run_dirs[slot.name], "stop")
        before(cohort)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(procedures, "to_task_prompt", moved_prompt)
        if halfway:
            patch.setattr(loop, "CONTROL_SECONDS", 0.0)
            patch.setattr(loop, "hold_sources", ask)
        procedures.run_experiment(experiment, bank=bank)
