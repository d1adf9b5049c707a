"""Run control against real processes: kill -9, stops by two people, resume to the same end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from dtvg.cli import parser
from dtvg.config import build_config
from dtvg.errors import JobError
from dtvg.jobs import launcher
from dtvg.records import RunState
from dtvg.store.files import read_json
from dtvg.store.layout import ExperimentDir
from dtvg.store.reader import Run, open_experiment
from dtvg.testing.tiny_run import tiny_config

pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(autouse=True)
def _no_trainer_is_left(own_home: Path) -> Iterator[None]:
    """End training processes of this home only; they outlive a failed test by design."""
    yield
    for process in psutil.process_iter(["cmdline"]):
        if str(own_home / "runs") in (process.info["cmdline"] or []):
            process.kill()


def _until(true: Callable[[], object], seconds: float) -> float:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, f"did not come about within {seconds} s"
        time.sleep(0.1)
    return time.monotonic() - began


def _transfer(folder: ExperimentDir) -> Run | None:
    runs = [r for r in open_experiment(folder.path).runs if r.role == "transfer"]
    return runs[0] if runs else None


def _started(own_home: Path, steps: int) -> ExperimentDir:
    values = tiny_config(own_home / "parts", methods=["dtvg"], name="walk")
    values["optim"] = {**values["optim"], "steps": steps}
    values["evaluation"] = {"every": 500, "max_examples": 4}
    folder = launcher.start(build_config(values), own_home / "runs")
    _until(lambda: (run := _transfer(folder)) and run.step > 20, 300)
    return folder


def test_a_killed_process_reads_as_lost_within_ten_seconds_and_resumes_to_the_end(
    own_home: Path,
) -> None:
    folder = _started(own_home, 2000)  # as many as cannot be over before it is killed
    cohort = next(c for c in launcher.working_cohorts(folder))
    os.kill(int((read_json(cohort.process_path) or {})["pid"]), signal.SIGKILL)
    _until(lambda: (run := _transfer(folder)) and run.state is RunState.LOST, 10)
    launcher.resume(folder)
    _until(lambda: (run := _transfer(folder)) and run.state is RunState.FINISHED, 500)


@pytest.mark.slow  # a stop and a resume through the app: test_end_to_end.py
def test_two_people_may_stop_the_same_run_and_kill_names_what_ends(own_home: Path) -> None:
    folder = _started(own_home, 50_000)
    assert launcher.ends_with_kill(folder) == ["rte.dtvg.s0"]
    assert launcher.stop(folder) == ["rte.dtvg.s0"]
    launcher.stop(folder)
    _until(lambda: (run := _transfer(folder)) and run.state is RunState.STOPPED, 120)
    assert launcher.stop(folder) == []
    _until(lambda: not launcher.is_working(folder), 120)
    launcher.resume(folder)
    _until(lambda: (run := _transfer(folder)) and run.state is RunState.RUNNING, 300)
    assert launcher.kill_all(folder) == ["rte.dtvg.s0"]
    _until(lambda: not launcher.working_cohorts(folder), 30)
    with pytest.raises(JobError, match="nothing was killed"):
        launcher.kill_all(folder)


def test_a_name_that_looks_like_an_option_is_the_experiment_s(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(launcher, "detached", lambda command, *_: started.append(command) or 1)
    monkeypatch.setattr(launcher, "note_start", lambda *_: None)
    values = tiny_config(own_home / "parts", methods=["dtvg"], name="-rf")
    launcher.start(build_config(values), own_home / "runs")
    read = parser().parse_args(started[0][4:])
    assert (read.command, read.action, read.places) == ("runs", "resume", ["-rf"])
    assert read.quiet
