"""What a driver tells of cohorts that fail, with an engine that trains nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from dtvg.config import DeviceConfig, ScaleConfig
from dtvg.errors import JobError
from dtvg.plan.stored import lay_out
from dtvg.scale import driver
from dtvg.scale.executor import Ended, Job, Place
from dtvg.scale.launch import CohortJob
from dtvg.store.bank import PromptBank
from dtvg.store.files import read_json, replace_json
from dtvg.store.layout import ExperimentDir, add_run, load_experiment
from dtvg.store.reader import open_run
from dtvg.store.status import request
from dtvg.training.progress import Progress, ended_progress
from tests.scale.factory import config


class Broken:
    """Starts everything, and nothing of it makes a step."""

    name = "broken"
    pause = 0.0

    def check(self) -> None: ...

    def capacity(self) -> int:
        return 2

    def start(self, cohort: str, token: str) -> Job:
        return Job(cohort, token, self.name, token)

    def watch(self, jobs: Sequence[Job]) -> Mapping[str, Ended]:
        return {job.cohort: Ended("failed", "No disk.") for job in jobs}

    def stop(self, job: Job) -> None: ...

    def adopt(self, job: Job) -> bool | None:
        return None

    def places(self) -> list[Place]:
        return []

    def close(self) -> None: ...


def test_a_cohort_that_was_given_up_is_told_as_failed_and_not_as_done(tmp_path: Path) -> None:
    experiment = lay_out(config(tmp_path, steps=20), tmp_path / "runs")
    told: list[Progress] = []
    scheduler = driver.drive(
        experiment,
        ScaleConfig(on="local", tries=1),
        report=told.append,
        bank=PromptBank(tmp_path / "bank"),
        executor=Broken(),
    )
    assert {ended.kind for ended in scheduler.over.values()} == {"failed"}
    said = {progress.cohort: progress.message for progress in told}
    assert said["transfer-000"] == "failed" and "done" not in said.values()
    assert sum(p.message != "starts" for p in told) == len(scheduler.over)  # each end once
    assert "Given up after one attempt" in scheduler.over["transfer-000"].why


def test_what_a_cohort_came_to_is_counted_by_the_words_of_its_runs(tmp_path: Path) -> None:
    experiment = lay_out(config(tmp_path), tmp_path / "runs")
    runs = [experiment.run(name) for name in ("one", "two", "three", "four")]
    for run in runs[:3]:
        run.path.mkdir(parents=True)
    runs[0].result_path.write_text("{}")
    for run, state in zip(runs[1:3], ("stopped", "running"), strict=True):
        run.status_path.write_text(json.dumps({"state": state, "step": 5}))
    found = ended_progress("c", [(run, 20) for run in runs])
    assert (found.steps_done, found.steps_total) == (30, 80)
    assert found.message == "1 stopped, 2 not trained of 4 runs"
    assert ended_progress("c", [(runs[0], 20)]).message == "done"


def test_a_slurm_job_that_fails_before_its_worker_begins_is_told_with_its_last_line(
    tmp_path: Path,
) -> None:
    from dtvg.scale.on_slurm import SlurmExecutor
    from dtvg.store.layout import ExperimentDir

    engine = SlurmExecutor.__new__(SlurmExecutor)
    engine.experiment = ExperimentDir(tmp_path)
    engine._states = {"5": ("FAILED", "one")}
    job = Job("transfer-000", "token", "slurm", "5")
    assert "either scale.setup ended it, or its node does not see" in engine._ended(job).why
    (tmp_path / ".slurm").mkdir()
    (tmp_path / ".slurm" / "5_0_log.out").write_text("module: command not found\n")
    why = "Slurm job 5 on one ended (failed). Its last line: module: command not found"
    assert engine._ended(job).why == why


def test_a_slurm_that_does_not_answer_for_a_while_ends_no_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dtvg.scale import on_slurm

    answers = ["one|4|(null)|8000|idle|0/4/0/4\n", "main*|infinite\n"]

    def run(command: list[str]) -> str:
        if not answers:
            raise JobError("`sinfo` failed: Unable to contact slurm controller")
        return answers.pop()

    monkeypatch.setattr(on_slurm, "reach", lambda: None)
    monkeypatch.setattr(on_slurm, "_run", run)
    experiment, scale = ExperimentDir(tmp_path), ScaleConfig(on="slurm", slots=2)
    engine = on_slurm.SlurmExecutor(experiment, DeviceConfig(), scale, lambda cohort, token: [])
    engine._nodes_asked = -1e9
    assert engine.capacity() == 2 and [place.host for place in engine.places()] == ["one"]
    with pytest.raises(JobError, match="Unable to contact"):  # nothing is known yet
        on_slurm.SlurmExecutor(experiment, DeviceConfig(), scale, lambda cohort, token: [])


def test_a_job_that_slurm_starts_again_is_shown_as_waiting_unless_it_was_asked_to_stop(
    tmp_path: Path,
) -> None:
    pytest.importorskip("submitit", reason="needs the extra dtvg[slurm]")
    experiment = lay_out(config(tmp_path, steps=20), tmp_path / "runs")
    made = driver.planned(*load_experiment(experiment.path))
    cohort = made.transfer[0]
    folders = [add_run(experiment, run) for run in cohort.runs]
    arguments = driver.worker_arguments(experiment, cohort.id, "one")

    def after_checkpoint() -> set[tuple[str, str]]:
        for folder in folders:
            said = read_json(folder.status_path) or {}
            replace_json(folder.status_path, {**said, "state": "stopped", "message": ""})
        CohortJob(arguments, {}, "", "job").checkpoint()
        found = [open_run(folder.path) for folder in folders]
        return {(str(run.state), run.message) for run in found}

    waits = "waits in Slurm's queue to go on from its newest commit"
    assert after_checkpoint() == {("waiting", waits)}
    request(experiment.cohort(cohort.id), "stop")
    assert {state for state, _ in after_checkpoint()} == {"stopped"}
