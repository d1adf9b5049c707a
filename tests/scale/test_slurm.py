"""A real Slurm on this machine: submit, scancel, the time limit with its signal and requeue.

`slurm-one-node.sh start` of the development tools brings one up; without Slurm all is skipped.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from dtvg.config import ScaleConfig
from dtvg.errors import ConfigError
from dtvg.plan.stored import lay_out
from dtvg.scale import driver
from dtvg.scale.ground import read_job
from dtvg.store.bank import PromptBank
from dtvg.store.layout import ExperimentDir
from dtvg.store.reader import open_run
from dtvg.training.procedures import run_experiment
from tests.scale.factory import config, histories, once_committed

pytest.importorskip("submitit", reason="needs the extra dtvg[slurm]")


def answers() -> bool:
    """Whether a Slurm with an idle node answers here."""
    if shutil.which("sinfo") is None:
        return False
    try:
        done = subprocess.run(
            ["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, timeout=20, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    states = done.stdout.split()  # one with a star, as idle*, does not answer
    return done.returncode == 0 and any(state in ("idle", "mixed") for state in states)


SLURM = ScaleConfig(on="slurm")
pytestmark = pytest.mark.skipif(not answers(), reason="needs a running Slurm")


def test_a_cohort_trains_as_a_job_and_what_no_node_has_is_refused(tmp_path: Path) -> None:
    experiment = lay_out(config(tmp_path, steps=6, sources=[], methods=["none"]), tmp_path / "runs")
    with pytest.raises(ConfigError, match="no machine of the Slurm partition has that much"):
        driver.drive(experiment, ScaleConfig(on="slurm", cpus=512))
    scheduler = driver.drive(
        experiment, ScaleConfig(on="slurm"), bank=PromptBank(tmp_path / "bank")
    )
    assert {ended.kind for ended in scheduler.over.values()} == {"done"}
    (run,) = [r for r in histories(experiment.path) if r.startswith("rte.")]
    assert open_run(experiment.run(run).path).job.startswith("Slurm ")


def _cancel(experiment: ExperimentDir, cohort: str, *options: str) -> None:
    job = read_job(experiment.cohort(cohort))
    assert job is not None and job.id
    subprocess.run(["scancel", *options, job.id], check=True)


@pytest.mark.slow
def test_a_cancelled_job_goes_on_in_the_next_one_with_the_same_numbers(tmp_path: Path) -> None:
    made = config(tmp_path, steps=300)
    alone = lay_out(made, tmp_path / "alone")
    run_experiment(alone, bank=PromptBank(tmp_path / "bank-alone"))
    experiment = lay_out(made, tmp_path / "runs")
    once_committed(experiment, "transfer-000", lambda pid: _cancel(experiment, "transfer-000"))
    scheduler = driver.drive(
        experiment, ScaleConfig(on="slurm"), bank=PromptBank(tmp_path / "bank")
    )
    assert scheduler.attempts["transfer-000"].jobs == 2
    assert histories(experiment.path) == histories(alone.path)


@pytest.mark.slow
def test_a_job_near_its_limit_commits_and_is_requeued_under_its_number(tmp_path: Path) -> None:
    experiment = lay_out(config(tmp_path, steps=300), tmp_path / "runs")
    seen: list[str] = []

    def warn(pid: int) -> None:  # what Slurm sends --signal before the limit
        job = read_job(experiment.cohort("transfer-000"))
        assert job is not None
        seen.append(job.id)
        _cancel(experiment, "transfer-000", "--signal=USR2")

    warning = once_committed(experiment, "transfer-000", warn)
    scheduler = driver.drive(
        experiment, ScaleConfig(on="slurm"), bank=PromptBank(tmp_path / "bank")
    )
    warning.join(1)
    job = read_job(experiment.cohort("transfer-000"))
    assert job is not None and seen == [job.id]
    assert scheduler.attempts["transfer-000"].jobs == 1  # Slurm itself started it again
    events = open_run(experiment.run("rte.target_only.s0").path)
    from dtvg.store.reader import read_table

    kinds = read_table(events, "events", ["kind"]).column("kind").to_pylist()
    assert "stopped" in kinds and "resumed" in kinds and kinds[-1] == "finished"


@pytest.mark.slow
def test_stopping_the_driver_takes_pending_jobs_back(tmp_path: Path) -> None:
    from dtvg.jobs import launcher

    experiment = lay_out(config(tmp_path, steps=4000), tmp_path / "runs")
    stopped = threading.Thread(
        target=lambda: (
            once_committed(experiment, "transfer-000", lambda pid: None).join(900),
            launcher.stop(experiment),
        )
    )
    stopped.start()
    driver.drive(experiment, SLURM, bank=PromptBank(tmp_path / "bank"))
    stopped.join(10)
    time.sleep(1)
    names = subprocess.run(["squeue", "-h", "-o", "%j"], capture_output=True, text=True, check=True)
    assert "dtvg-scaled" not in names.stdout
