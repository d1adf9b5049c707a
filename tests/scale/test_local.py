"""Real workers here, killed, sent away, taken over: the numbers are those of one process."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dtvg.config import ScaleConfig
from dtvg.errors import ConfigError, JobError
from dtvg.plan.stored import keep_plan, lay_out
from dtvg.scale import driver
from dtvg.scale.executor import Ended, Job
from dtvg.scale.ground import FolderGround, ended_words, read_job
from dtvg.store.bank import PromptBank
from dtvg.store.files import read_json
from dtvg.store.layout import create_experiment
from dtvg.store.lease import hold
from dtvg.store.liveness import read_lease
from dtvg.store.reader import open_run, read_prompts, read_table
from dtvg.store.status import read_status
from dtvg.training.procedures import run_experiment
from tests.scale.factory import (
    SLOW,
    config,
    histories,
    kill,
    once_committed,
    slow_folder,
    start_workers_by_fork,
)  # fmt: skip

LOCAL = ScaleConfig(on="local", slots=2)
DOUBLE = {"name": "cpu", "threads": 1, "precision": "float64"}


@pytest.mark.parametrize("start", ["by fork", pytest.param("anew", marks=pytest.mark.slow)])
def test_two_local_workers_and_a_killed_one_make_the_numbers_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    """Forks save loading torch five times; the slow form starts each worker as users do."""
    if start == "by fork":
        start_workers_by_fork(monkeypatch)
    made = config(tmp_path)
    alone = lay_out(made, tmp_path / "alone")
    run_experiment(alone, bank=PromptBank(tmp_path / "bank-alone"))
    experiment = lay_out(made, tmp_path / "runs")
    killing = once_committed(experiment, "transfer-000", kill)
    scheduler = driver.drive(experiment, LOCAL, bank=PromptBank(tmp_path / "bank"))
    killing.join(1)
    assert {ended.kind for ended in scheduler.over.values()} == {"done"}
    assert scheduler.attempts["transfer-000"].jobs == 2
    assert scheduler.attempts["transfer-001"].jobs == 1
    assert histories(experiment.path) == histories(alone.path)
    fleet = read_json(experiment.fleet_path) or {}
    assert fleet["ended"] and fleet["over"] == {"done": 4} and fleet["busy_seconds"] > 0


@pytest.mark.slow
def test_a_worker_that_is_sent_away_commits_and_goes_on(tmp_path: Path) -> None:
    experiment = lay_out(config(tmp_path), tmp_path / "runs")
    sent = once_committed(experiment, "transfer-001", lambda pid: os.kill(pid, signal.SIGUSR1))
    scheduler = driver.drive(experiment, LOCAL, bank=PromptBank(tmp_path / "bank"))
    sent.join(1)
    assert scheduler.attempts["transfer-001"].jobs == 2
    assert {ended.kind for ended in scheduler.over.values()} == {"done"}


DRIVER = """
import sys
from pathlib import Path
from dtvg.config import ScaleConfig
from dtvg.scale import driver
from dtvg.store.bank import PromptBank
from dtvg.store.layout import ExperimentDir
path = Path(sys.argv[1])
bank = PromptBank(path.parent.parent / "bank")
driver.drive(ExperimentDir(path), ScaleConfig(on="local", slots=2), bank=bank)
"""


@pytest.mark.slow
def test_what_a_killed_driver_left_is_taken_over_and_not_started_twice(tmp_path: Path) -> None:
    made = config(tmp_path, steps=400)
    alone = lay_out(made, tmp_path / "alone")
    run_experiment(alone, bank=PromptBank(tmp_path / "bank-alone"))
    experiment = lay_out(made, tmp_path / "runs")
    first = subprocess.Popen([sys.executable, "-c", DRIVER, str(experiment.path)])
    once_committed(experiment, "transfer-000", lambda pid: None).join(900)
    first.kill()
    first.wait()
    before = read_job(experiment.cohort("transfer-000"))
    assert before is not None and before.executor == "local"
    status = read_status(experiment.run("rte.target_only.s0"))
    assert status is not None and status.state.value == "running"  # nobody drives, yet it trains
    scheduler = driver.drive(experiment, LOCAL, bank=PromptBank(tmp_path / "bank"))
    assert scheduler.attempts["transfer-000"].jobs == 0
    after = read_job(experiment.cohort("transfer-000"))
    assert after is not None and after.token == before.token
    assert histories(experiment.path) == histories(alone.path)


@pytest.mark.slow
def test_ten_kills_at_random_moments_change_no_number(tmp_path: Path) -> None:
    made = config(tmp_path, steps=400)
    alone = lay_out(made, tmp_path / "alone")
    run_experiment(alone, bank=PromptBank(tmp_path / "bank-alone"))
    experiment = lay_out(made, tmp_path / "runs")
    rng, killed, over = random.Random(7), [], threading.Event()

    def hunt() -> None:  # only what has a new commit since, so that no cohort is given up
        seen: dict[str, int] = {}
        while len(killed) < 10 and not over.wait(rng.uniform(0.05, 1.0)):
            found = [c for c in experiment.cohorts() if c.before_path.exists()]
            rng.shuffle(found)
            for cohort in found:
                stamp = cohort.state_path.stat().st_mtime_ns
                process = read_json(cohort.process_path) or {}
                pid = int(process.get("pid") or 0)
                if pid and pid not in killed and seen.get(cohort.id) != stamp:
                    seen[cohort.id] = stamp
                    with contextlib.suppress(ProcessLookupError):
                        kill(pid)
                        killed.append(pid)
                    break

    hunting = threading.Thread(target=hunt, daemon=True)
    hunting.start()
    scheduler = driver.drive(experiment, LOCAL, bank=PromptBank(tmp_path / "bank"))
    over.set()
    hunting.join(5)
    assert len(killed) == 10
    assert {ended.kind for ended in scheduler.over.values()} == {"done"}
    assert sum(known.jobs for known in scheduler.attempts.values()) >= 10
    assert histories(experiment.path) == histories(alone.path)


def test_a_worker_refuses_other_code_another_folder_and_a_held_cohort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dtvg.cli import main
    from dtvg.scale import code
    from dtvg.store.files import replace_json

    experiment = lay_out(config(tmp_path), tmp_path / "runs")
    place = [str(experiment.path), "stage1-000", "--token", "t1"]
    assert main(["cohort", *place]) == 3  # no driver has written here
    assert "not the folder that the driver sees" in capsys.readouterr().out
    ground = FolderGround(experiment, driver.planned(experiment, config(tmp_path)), PromptBank())
    ground.intend("stage1-000", "t1")
    note = {"scale": {}, "only": None, "bank": str(tmp_path / "bank")}
    theirs = {**code.own_code(), "torch": "1.0"}
    replace_json(experiment.scale_path, {**note, "code": theirs})
    assert main(["cohort", *place]) == 3
    said = ended_words(experiment.cohort("stage1-000"), "t1")
    assert said is not None and said.kind == "refused"
    assert "torch 1.0" in said.why and code.own_code()["torch"] in said.why
    replace_json(experiment.scale_path, {**note, "code": code.own_code()})
    ground.intend("stage1-000", "t2")
    assert main(["cohort", *place]) == 4  # another attempt has begun since
    place[-1] = "t2"
    worker = [sys.executable, "-m", "dtvg", "cohort", *place]
    with hold(experiment.cohort("stage1-000").path):
        done = subprocess.run(worker, capture_output=True, text=True)
    assert done.returncode == 4, done


def test_a_full_folder_is_named_where_a_worker_could_not_say_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = config(tmp_path)
    experiment = lay_out(made, tmp_path / "runs")
    ground = FolderGround(experiment, driver.planned(experiment, made), PromptBank())
    job = Job("stage1-000", "t", "local", "7")
    told = Ended("failed", "Process 7 ended with status 1: no message")
    assert ground.ended(job, told) == told

    def full(self: Path, *_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    ended = ground.ended(job, told)
    assert ended.kind == "failed" and ended.why.startswith(told.why)
    assert "No space left on device" in ended.why and "free some space" in ended.why


def test_what_can_never_start_is_said_at_once(tmp_path: Path) -> None:
    experiment = lay_out(config(tmp_path), tmp_path / "runs")
    for more, sentence in (
        ({"cpus": 4000}, "A cohort asks for 4000 cores, and no machine of this computer has"),
        ({"gpus": 1.0}, "device.name is cpu"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            driver.drive(experiment, ScaleConfig(on="local", **more))
    with pytest.raises(ConfigError, match="Unknown executor 'slrum'. Did you mean 'slurm'"):
        driver.placed(ScaleConfig(), "slrum")
    with pytest.raises(ConfigError, match="Unknown executor 'ray:/x'"):
        driver.placed(ScaleConfig(), "ray:/x")


def test_a_driven_experiment_is_held_and_a_cohort_alone_keeps_it_from_being_moved(
    tmp_path: Path,
) -> None:
    from dtvg.store.lease import keep_out
    from dtvg.store.status import StatusBoard

    experiment = lay_out(config(tmp_path), tmp_path / "runs")
    cohort = experiment.cohort("transfer-000")
    cohort.path.mkdir(parents=True)
    run = experiment.run("rte.target_only.s0")
    with hold(cohort.path):
        board = StatusBoard(cohort, {run.name: run})
        board.update(run.name, state="running", step=1)
        with pytest.raises(JobError), keep_out(experiment.path, "nothing was moved"):
            pass
        with experiment.lock():  # a driver may come: it takes the cohort over
            status = read_status(run)
            assert status is not None and status.state.value == "running"
        board.close()
    time.sleep(0.3)
    status = read_status(run)
    assert status is not None and status.state.value == "lost"


def test_a_prompt_of_the_bank_has_one_tuner_also_where_there_are_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dtvg.store import files, lease, liveness

    monkeypatch.setattr(files, "_lock", lambda handle, wait: False)
    monkeypatch.setattr(lease, "_take_lock", lambda folder, stack: None)
    monkeypatch.setattr(liveness, "lock_state", lambda path: None)
    bank = PromptBank(tmp_path / "bank")
    with bank.lock("abc"):
        folder = tmp_path / "bank" / ".locks" / "abc.lease"
        assert liveness.look(folder, fresh=True).held
    assert liveness.look(folder, fresh=True).held is False


@pytest.mark.slow
def test_a_slow_folder_without_locks_makes_nobody_lost_and_starts_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each write takes a second and more, in the driver and in its workers."""
    made = config(tmp_path, steps=8, logging={"commit_seconds": 5.0})
    alone = lay_out(made, tmp_path / "alone")
    run_experiment(alone, bank=PromptBank(tmp_path / "bank-alone"))
    start_workers_by_fork(monkeypatch)
    experiment = lay_out(made, tmp_path / "runs")
    monkeypatch.setenv(SLOW, "1.2")
    seen, over = set[str](), threading.Event()

    def look() -> None:  # as a second driver or the fleet page would
        while not over.wait(1.0):
            for run in experiment.runs():
                status = read_status(run)
                seen.add(status.state.value if status else "waiting")

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    with monkeypatch.context() as patch:
        slow_folder(patch, 1.2)
        scheduler = driver.drive(experiment, LOCAL, bank=PromptBank(tmp_path / "bank"))
        over.set()
        looking.join(60)
    assert {ended.kind for ended in scheduler.over.values()} == {"done"}
    assert {known.jobs for known in scheduler.attempts.values()} == {1}
    for cohort in experiment.cohorts():
        lease = read_lease(cohort.path)
        assert lease is not None and lease.generation == 1
    assert "running" in seen and seen <= {"waiting", "running", "stopping", "finished"}
    assert histories(experiment.path) == histories(alone.path)


@pytest.mark.slow
def test_local_workers_that_exchange_make_the_numbers_of_one_process(tmp_path: Path) -> None:
    shared = {"name": "primal_dual", "share": ["rte", "cola"]}
    changes = {"targets": ["rte", "cola"], "methods": [shared], "device": DOUBLE}
    made = config(tmp_path, steps=12, **changes, scale={"slots": 2, "wait_seconds": 120})
    together = create_experiment(made, tmp_path / "together")
    keep_plan(together, made, None)  # one cohort
    run_experiment(together, bank=PromptBank(tmp_path / "bank"))
    experiment = lay_out(made, tmp_path / "runs")
    driver.drive(experiment, LOCAL, bank=PromptBank(tmp_path / "bank"))
    for run in made.runs():
        here, there = (open_run(e.run(run.name).path) for e in (experiment, together))
        assert set(read_table(here, "exchanges").to_pandas()["how"]) == {"met"}
        for which in ("best", "final"):
            one, other = (read_prompts(r, which)["mixed_prompt"] for r in (here, there))
            assert abs(one - other).max() < 1e-8
