"""Who trains an experiment: the same answer for all, and no answer where none can be had."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from dtvg.errors import JobError, StoreError
from dtvg.records import RunState
from dtvg.store import lease, liveness, processes, trash
from dtvg.store import status as status_module
from dtvg.store.files import read_json, replace_json
from dtvg.store.layout import ExperimentDir, RunDir, create_experiment
from dtvg.store.processes import ProcessId, of_pid, this_process
from dtvg.store.status import NEVER_BEGAN, Status, StatusBoard, noted_with_runs, read_status
from tests.analysis.factory import config

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys
from pathlib import Path
from dtvg.store.layout import ExperimentDir
from dtvg.store.status import StatusBoard
experiment = ExperimentDir(Path(sys.argv[1]))
with experiment.lock() as lease:
    runs = {run.name: run for run in experiment.runs()}
    board = StatusBoard(experiment.cohort("transfer-000"), runs)
    for name in runs:
        board.update(name, state="running", step=1)
    print("held", flush=True)
    sys.stdin.readline()
    try:
        lease.check()
        print("still mine", flush=True)
    except Exception as error:
        print(type(error).__name__, flush=True)
"""


@pytest.fixture
def experiment(own_home: Path) -> ExperimentDir:
    return create_experiment(config(targets=["lake"], seeds=[0]), own_home / "runs")


@pytest.fixture
def holder(experiment: ExperimentDir):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(experiment.path)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate(timeout=20)


def states(experiment: ExperimentDir) -> set[RunState]:
    time.sleep(liveness.LOOK_SECONDS)
    found = [read_status(run) for run in experiment.runs()]
    return {status.state for status in found if status is not None}


def _elsewhere(path: Path, seconds: float, **more: Any) -> None:
    """Let a file be of another host, which gave its last sign so long ago."""
    content = read_json(path) or {}
    there = {"host": "node042", "boot": "another", "machine": "another", **more}
    if "process" in content:
        replace_json(path, {**content, "process": {**content["process"], **there}})
    else:
        replace_json(path, {**content, **there})
    os.utime(path, (time.time() - seconds, time.time() - seconds))


def test_what_trains_is_running_for_everybody_and_lost_once_its_process_is_dead(
    experiment: ExperimentDir, holder: subprocess.Popen[str]
) -> None:
    assert states(experiment) == {RunState.RUNNING}
    sign = liveness.look(experiment.path)
    assert sign.holder is not None and sign.holder.pid == holder.pid
    with pytest.raises(JobError, match=f"is being trained by process {holder.pid};"):
        experiment.lock().__enter__()
    holder.kill()
    holder.wait(20)
    assert states(experiment) == {RunState.LOST}
    with experiment.lock():  # waits where the system frees the lock late
        pass


def test_neither_the_clock_nor_other_process_numbers_make_a_live_run_lost(
    experiment: ExperimentDir, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "namespace", lambda: "pid:[4711]")
    monkeypatch.setattr(processes.psutil.Process, "create_time", lambda self: 0.0)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert states(experiment) == {RunState.RUNNING}
    with pytest.raises(StoreError, match="is training .*; stop it first"):
        trash.delete(experiment)
    assert experiment.path.is_dir()


def test_a_host_that_cannot_be_asked_is_judged_by_its_last_sign(experiment: ExperimentDir) -> None:
    with experiment.lock() as taken:
        board = StatusBoard(experiment.cohort("c"), {r.name: r for r in experiment.runs()})
        for run in experiment.runs():
            board.update(run.name, state="running")
        board.close()
        kept = (experiment.path / liveness.LEASE).read_bytes()
        token = taken.token
    (experiment.path / liveness.LEASE).write_bytes(kept)
    for seconds, state in ((0, "running"), (40, "unknown"), (400, "lost")):
        _elsewhere(experiment.path / liveness.LEASE, seconds)
        for run in experiment.runs():
            _elsewhere(run.status_path, seconds)
        assert states(experiment) == {RunState(state)}, seconds
        sign = liveness.look(experiment.path)
        if state == "lost":
            continue
        with pytest.raises((JobError, StoreError), match="node042"):
            experiment.lock().__enter__()
        with pytest.raises(StoreError, match="training|cannot be told"):
            trash.delete(experiment)
        if state == "unknown":
            assert sign.last_sign.endswith("s ago on host node042")
            status = read_status(experiment.runs()[0])
            assert status is not None and "ago on host node042" in status.message
            assert "runs release" in status.message
    assert lease.read_lease(experiment.path).token == token
    with experiment.lock():
        pass


def test_an_earlier_version_on_another_host_whose_clock_is_wrong_is_alive(
    experiment: ExperimentDir,
) -> None:
    for run in experiment.runs():
        content = read_json(run.status_path) or {}
        facts = {"state": "running", "host": "node042", "pid": 7, "process_started": 1.0}
        replace_json(run.status_path, {**content, **facts, "updated_at": time.time() - 45})
    assert states(experiment) == {RunState.RUNNING}
    with pytest.raises(JobError, match="node042"):
        experiment.lock().__enter__()
    for run in experiment.runs():
        os.utime(run.status_path, (time.time() - 400, time.time() - 400))
    assert states(experiment) == {RunState.UNKNOWN}
    lease.release(experiment.path)
    assert states(experiment) == {RunState.LOST}


def test_who_was_declared_dead_writes_nothing_more(
    experiment: ExperimentDir, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(JobError, match="is being trained"):
        lease.release(experiment.path)
    there = lease.read_lease(experiment.path)
    replace_json(
        experiment.path / liveness.LEASE,
        {**there.model_dump(), "generation": there.generation + 1, "token": "another"},
    )
    time.sleep(1.5)
    before = {run.name: run.status_path.stat().st_mtime_ns for run in experiment.runs()}
    time.sleep(1.5)
    assert {r.name: r.status_path.stat().st_mtime_ns for r in experiment.runs()} == before
    said, _ = holder.communicate("\n", timeout=20)
    assert said == "LeaseLost\n"


def test_where_there_are_no_locks_one_of_two_gets_the_lease(
    experiment: ExperimentDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **more: Any) -> bool:
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr(lease, "lock_descriptor", refuse)
    monkeypatch.setattr(liveness, "lock_state", lambda path: None)
    with experiment.lock() as mine:
        assert not mine.file.locks
        lease._held.clear()  # as another process
        with pytest.raises(JobError, match=f"process {os.getpid()}"):
            experiment.lock().__enter__()
        lease._held[experiment.path] = mine
    assert liveness.look(experiment.path, fresh=True).held is False
    other = {**of_pid(1).to_json(), "host": "node7", "boot": "b", "machine": "m"}
    number = lease.read_lease(experiment.path).generation + 1
    claim = experiment.path / liveness.CLAIM.format(number)
    claim.write_text(json.dumps(other))  # another host takes it in this moment
    with pytest.raises(JobError, match="on host node7"):
        experiment.lock().__enter__()
    os.utime(claim, (time.time() - 400, time.time() - 400))  # and died in it
    with experiment.lock() as mine:
        assert mine.file.generation == number + 1
    assert not list(experiment.path.glob(".lease-*"))


def test_a_starting_process_is_seen_stopped_and_not_moved(
    experiment: ExperimentDir,
) -> None:
    from dtvg.jobs import launcher

    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        lease.note_start(experiment.path, sleeper.pid)
        assert launcher.is_working(experiment) and launcher.can_kill(experiment)
        with pytest.raises(StoreError, match="is being started or trained by process"):
            trash.delete(experiment)
        with pytest.raises(StoreError, match="stop it first"):
            trash.delete(experiment, experiment.runs()[0].name)
        with pytest.raises(JobError, match="being trained already"):
            launcher.resume(experiment)
        assert launcher.kill_all(experiment) == []
        assert sleeper.wait(20) != 0
    finally:
        sleeper.kill()
    assert not launcher.is_working(experiment)
    trash.delete(experiment)


def test_the_commit_is_no_run_to_delete(experiment: ExperimentDir) -> None:
    (experiment.path / "cohorts" / "transfer-000").mkdir(parents=True)
    with pytest.raises(StoreError, match="is no run: it contains the newest state"):
        trash.delete(experiment, "cohorts")
    assert (experiment.path / "cohorts").is_dir()


def test_a_folder_moved_away_ends_its_process(experiment: ExperimentDir) -> None:
    with experiment.lock() as mine:
        experiment.path.rename(experiment.path.with_name("elsewhere"))
        with pytest.raises(lease.LeaseLost, match="was moved"):
            mine.check()
        assert not experiment.path.exists()


@pytest.mark.parametrize("content", ["", "[]", '{"generation": "x"}', "{" * 3000])
def test_a_damaged_lease_stops_nobody(experiment: ExperimentDir, content: str) -> None:
    (experiment.path / liveness.LEASE).write_text(content)
    (experiment.path / liveness.STARTING).write_text(content)
    assert liveness.look(experiment.path, fresh=True).held is False
    with experiment.lock():
        assert liveness.look(experiment.path, fresh=True).held


def test_a_process_is_known_by_more_than_its_number() -> None:
    me = this_process()
    assert me.exists() and me.same(ProcessId.read(me.to_json()))
    assert ProcessId.read({**me.to_json(), "ticks": me.ticks + 1}).exists() is False
    assert ProcessId.read({**me.to_json(), "boot": "another"}).exists() is None
    assert ProcessId.read({**me.to_json(), "namespace": "another"}).exists() is None
    assert ProcessId.read({"pid": "x", "host": None}) == ProcessId()


def test_a_run_of_a_dead_process_is_lost_while_another_trains_the_rest(
    experiment: ExperimentDir,
) -> None:
    first = experiment.runs()[0]
    with experiment.lock():
        board = StatusBoard(experiment.cohort("c"), {first.name: RunDir(first.path)})
        board.update(first.name, state="running")
        board.close()
    with experiment.lock():
        status = read_status(first)
        assert status is not None and status.state is RunState.LOST


def test_runs_that_a_dead_process_never_began_say_so(experiment: ExperimentDir) -> None:
    run = experiment.runs()[0]

    def status() -> Status:
        found = read_status(run)
        assert found is not None
        return found

    assert status().state is RunState.WAITING
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    mark = of_pid(gone.pid)
    gone.wait()
    replace_json(experiment.path / liveness.STARTING, mark.to_json())
    liveness.forget(experiment.path)
    assert (status().state, status().message) == (RunState.LOST, NEVER_BEGAN)
    with experiment.lock():  # a new process is at it: it will begin them
        liveness.forget(experiment.path)
        assert status().state is RunState.WAITING
        with pytest.raises(StoreError), noted_with_runs(experiment):
            raise StoreError("No weights.")
        assert (status().state, status().message) == (RunState.FAILED, "No weights.")
        with noted_with_runs(experiment):
            assert (status().state, status().message) == (RunState.WAITING, "")
    liveness.forget(experiment.path)
    assert status().state is RunState.WAITING  # it stopped as it was asked to
    held = read_json(experiment.path / liveness.LEASE)
    replace_json(experiment.path / liveness.LEASE, {**held, "released": False})
    liveness.forget(experiment.path)
    assert status().state is RunState.LOST  # it was killed: nobody has the lock


def test_runs_that_have_a_result_are_not_asked_whether_they_train(
    experiment: ExperimentDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [run.name for run in experiment.runs()]
    with experiment.lock():
        board = StatusBoard(experiment.cohort("c"), {n: experiment.run(n) for n in names})
        for name in names:
            board.update(name, state="running")
        board.close()
    asked: list[str] = []

    def nobody(path: Path, content: object) -> liveness.Sign:
        asked.append(path.parent.name)
        return liveness.FREE

    monkeypatch.setattr(liveness, "look_at_run", nobody)
    assert liveness.look_at_all(experiment.path).held is False and asked == sorted(names)
    asked.clear()
    liveness.look_at_all(experiment.path, ended=names[1:])
    assert asked == names[:1]


def _said(run: RunDir) -> tuple[str, str]:
    content = read_json(run.status_path) or {}
    return content["state"], content["message"]


def _silent_board(experiment: ExperimentDir, monkeypatch: pytest.MonkeyPatch) -> StatusBoard:
    """Of the first two runs; its own thread writes nothing meanwhile."""
    monkeypatch.setattr(status_module, "WRITE_SECONDS", 3600.0)
    return StatusBoard(experiment.cohort("c"), {r.name: r for r in experiment.runs()[:2]})


def test_an_end_stands_though_the_writer_has_looked_before_it_and_waits_for_no_other_run(
    experiment: ExperimentDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = experiment.runs()[:2]
    board = _silent_board(experiment, monkeypatch)
    for run in (first, other):
        board.update(run.name, state=RunState.RUNNING, message="")
    looked, go_on = threading.Event(), threading.Event()

    def slow(path: Path, content: Any, durable: bool = True) -> None:
        if threading.current_thread().name == "tick" and path == first.status_path:
            looked.set()
            assert go_on.wait(20)
        replace_json(path, content, durable)

    monkeypatch.setattr(status_module, "replace_json", slow)
    tick = threading.Thread(target=board._write, name="tick")
    ending = {"state": RunState.FAILED, "message": "The loss is not finite."}
    end = threading.Thread(target=board.update, args=(first.name,), kwargs=ending)
    tick.start()
    assert looked.wait(20)
    end.start()
    board.update(other.name, state=RunState.STOPPED, message="stopped")
    assert _said(other) == ("stopped", "stopped") and tick.is_alive()
    end.join(0.2)
    go_on.set()
    tick.join(20)
    end.join(20)
    assert _said(first) == ("failed", "The loss is not finite.")
    board.close()
    assert _said(first) == ("failed", "The loss is not finite.")


def test_an_end_that_the_disk_refused_is_written_later_and_one_that_stands_is_left_alone(
    experiment: ExperimentDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = experiment.runs()[:2]
    board = _silent_board(experiment, monkeypatch)
    board.update(first.name, state=RunState.RUNNING, message="")
    board.update(other.name, state=RunState.STOPPED, message="stopped")

    def refuse(*given: Any, **more: Any) -> None:
        raise StoreError("full")

    with monkeypatch.context() as full:
        full.setattr(status_module, "replace_json", refuse)
        board.update(first.name, state=RunState.STOPPED, message="interrupted")
    assert _said(first) == ("running", "")
    replace_json(other.status_path, {"state": "stopped", "message": "noted by somebody"})
    board.close()
    assert _said(first) == ("stopped", "interrupted")
    assert _said(other) == ("stopped", "noted by somebody")
