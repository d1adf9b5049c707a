"""The queue: order, slots, two people at once, and kill -9 of its process and of its jobs."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from dtvg.config import build_config
from dtvg.errors import ConfigError, JobError, StoreError
from dtvg.jobs import launcher, queue, slots
from dtvg.jobs import queue as queue_worker
from dtvg.jobs.queue_files import Job, JobState, changing, folder, jobs, stored, write
from dtvg.records import RunResult, RunState
from dtvg.store.files import is_locked, locked, read_json, replace_json
from dtvg.store.layout import ExperimentDir, create_experiment
from dtvg.store.reader import open_experiment
from dtvg.testing.tiny_run import tiny_config
from dtvg.training.devices import pick_device, set_threads
from tests.analysis import factory

pytestmark = pytest.mark.timeout(1500)
real_resume = launcher.resume


@pytest.fixture(autouse=True)
def _no_process_is_left(own_home: Path) -> Iterator[None]:
    """End processes of this home only; they outlive a failed test by design."""
    yield
    for process in psutil.process_iter(["cmdline", "environ"]):
        words = process.info["cmdline"] or []
        mine = (process.info["environ"] or {}).get("DTVG_HOME") == str(own_home)
        if str(own_home / "runs") in words or (mine and "queue" in words):
            process.kill()


@pytest.fixture
def slow(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Jobs are processes that sleep, and nobody serves the queue but the test."""
    begun: list[tuple[str, str]] = []

    def resume(
        experiment: ExperimentDir, runs: Sequence[str], environment: Mapping[str, str], folder: str
    ) -> int:
        begun.append((experiment.name, environment["DTVG_SLOTS"]))
        return subprocess.Popen(["sleep", "120"]).pid

    monkeypatch.setattr(launcher, "resume", resume)
    monkeypatch.setattr(queue, "ensure", lambda: None)
    yield begun
    for job in stored():
        if job.pid:
            _kill(job)


def _kill(job: Job) -> None:
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(job.pid, signal.SIGKILL)
        os.waitpid(job.pid, 0)


def _experiment(home: Path, name: str, **changes: Any) -> ExperimentDir:
    values = {"name": name, "targets": ["rte"], "methods": ["none"], "seeds": [0], **changes}
    return create_experiment(build_config(values), home / "runs")


def _turn() -> None:
    with changing():
        queue_worker.turn()


def _names(state: JobState) -> list[str]:
    return [job.experiment.name for job in jobs() if job.state is state]


def _until(true: Callable[[], object], seconds: float) -> None:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, f"did not come about within {seconds} s"
        time.sleep(0.1)


def test_jobs_start_in_order_as_slots_become_free(own_home: Path, slow: list) -> None:
    slots.set_slots("cpu", 2)
    for name in "abcd":
        queue.add(_experiment(own_home, name))
    assert _names(JobState.RUNNING) == ["a", "b"]
    assert [(j.experiment.name, j.place) for j in jobs() if j.place] == [("c", 1), ("d", 2)]
    _turn()
    assert _names(JobState.RUNNING) == ["a", "b"]
    _kill(jobs()[1])
    time.sleep(0.6)  # that a process exists is asked for twice a second
    assert _names(JobState.FAILED) == ["b"]
    _turn()
    assert _names(JobState.RUNNING) == ["a", "c"]
    assert _names(JobState.WAITING) == ["d"]
    assert slow == [("a", "2"), ("b", "2"), ("c", "2")]


def test_a_job_works_in_the_folder_it_was_added_from_whoever_starts_it(
    own_home: Path, slow: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a backbone or data folder named by a relative path is the one that was meant."""
    begun: list[tuple[str, str]] = []

    def popen(command: Sequence[str], cwd: str | None = None, **_: Any) -> Any:
        begun.append((command[-1], cwd or os.getcwd()))
        return subprocess.Popen(["sleep", "120"])

    fake = SimpleNamespace(Popen=popen, DEVNULL=subprocess.DEVNULL, STDOUT=subprocess.STDOUT)
    monkeypatch.setattr(launcher, "resume", real_resume)
    monkeypatch.setattr(launcher, "subprocess", fake)
    for name in ("one", "two", "gone"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        queue.add(_experiment(own_home, name))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gone").rmdir()
    for _ in range(2):
        _kill(next(job for job in jobs() if job.state is JobState.RUNNING))
        time.sleep(0.6)  # that a process exists is asked for twice a second
        _turn()
    folders = {"one": tmp_path / "one", "two": tmp_path / "two", "gone": tmp_path}
    assert begun == [(name, str(folder)) for name, folder in folders.items()]


def test_a_waiting_job_is_moved_and_removed_and_a_running_one_is_neither(
    own_home: Path, slow: list
) -> None:
    slots.set_slots("cpu", 1)
    for name in "abcd":
        queue.add(_experiment(own_home, name))
    first, *waiting = jobs()
    assert queue.move(waiting[2].id, -1).place == 2
    assert _names(JobState.WAITING) == ["b", "d", "c"]
    assert queue.move(waiting[1].id, -99).place == 1
    assert _names(JobState.WAITING) == ["c", "b", "d"]
    assert queue.move(waiting[1].id, 1).place == 2
    assert _names(JobState.WAITING) == ["b", "c", "d"]
    queue.remove(waiting[0].id)
    assert _names(JobState.WAITING) == ["c", "d"]
    assert (own_home / "runs" / "b" / "experiment.yaml").exists()
    with pytest.raises(JobError, match="is running; stop it"):
        queue.remove(first.id)
    with pytest.raises(JobError, match="only waiting jobs"):
        queue.move(first.id, 1)
    with pytest.raises(JobError, match=r"no job 'x'.*Allowed: 000001"):
        queue.remove("x")


def test_what_waits_is_said_with_its_runs_and_taken_back(own_home: Path, slow: list) -> None:
    slots.set_slots("cpu", 1)
    for name in "abc":
        queue.add(_experiment(own_home, name))
    with changing():
        active = queue_worker.turn()
    queue_worker._say_places(active, {})
    run = open_experiment(own_home / "runs" / "c").runs[0]
    assert (run.state, run.message) == (RunState.WAITING, "Waiting in the queue, place 2.")
    queue.remove(jobs()[-1].id)
    assert open_experiment(own_home / "runs" / "c").runs[0].message == ""


def test_the_id_of_a_removed_job_names_no_other_one(own_home: Path, slow: list) -> None:
    slots.set_slots("cpu", 1)
    queue.add(_experiment(own_home, "a"))
    gone = queue.add(_experiment(own_home, "b"))
    (folder() / ".last.json").unlink(missing_ok=True)  # a queue of before that file
    queue.remove(gone.id)
    made = queue.add(_experiment(own_home, "d"))
    assert (gone.id, made.id, made.place) == ("000002", "000003", 1)
    for change in (queue.remove, lambda id: queue.move(id, -1)):
        with pytest.raises(JobError, match="There is no job '000002' in the queue"):
            change(gone.id)
    assert _names(JobState.WAITING) == ["d"]
    for at, odd in enumerate(("", "[]", '{"id": "x"}', '{"id": -7}', '{"id": 1}'), start=4):
        (folder() / ".last.json").write_text(odd)
        queue.remove(made.id)
        made = queue.add(made.experiment)
        assert made.id == f"{at:06d}", "the jobs that are there count all the same"


def test_a_place_is_said_although_another_experiment_had_that_id(
    own_home: Path, slow: list
) -> None:
    slots.set_slots("cpu", 1)
    queue.add(_experiment(own_home, "a"))
    said: dict[tuple[str, str], int] = {}
    for name in "bc":
        job = queue.add(_experiment(own_home, name))
        queue_worker._say_places(jobs(), said)
        run = open_experiment(own_home / "runs" / name).runs[0]
        assert run.message == "Waiting in the queue, place 1."
        queue.remove(job.id)
        (folder() / ".last.json").unlink(missing_ok=True)  # lost, so the id is given again


@pytest.mark.parametrize("before", [JobState.FAILED, JobState.DONE])
def test_a_job_that_ended_early_is_done_once_a_resume_has_finished_its_runs(
    own_home: Path, before: JobState
) -> None:
    made = factory.record(own_home / "runs", factory.config("walk"))
    last = made.runs[-1].path / "result.json"
    content = last.read_bytes()
    last.unlink()
    said = "3 of 4 runs finished; " + ("stopped" if before is JobState.DONE else "killed")
    write(Job("000001", str(made.path), state=before, message=said, ended_at=5.0))
    assert (jobs()[0].state, jobs()[0].message) == (before, said)
    last.write_bytes(content)
    (job,) = jobs()
    count = len(made.runs)
    assert (job.state, job.message) == (JobState.DONE, f"{count} of {count} runs finished")
    assert job.ended_at == 5.0


def test_the_same_experiment_is_queued_once(own_home: Path, slow: list) -> None:
    slots.set_slots("cpu", 1)
    a, b = _experiment(own_home, "a"), _experiment(own_home, "b")
    queue.add(a)
    queue.add(b)
    with pytest.raises(JobError, match="trained already"):
        queue.add(a)
    with pytest.raises(JobError, match="is already in the queue"):
        queue.add(b)


def test_now_starts_beyond_the_slots_and_ahead_of_the_others(own_home: Path, slow: list) -> None:
    slots.set_slots("cpu", 1)
    for name in "ab":
        queue.add(_experiment(own_home, name))
    assert queue.add(_experiment(own_home, "c"), now=True).state is JobState.RUNNING
    assert _names(JobState.WAITING) == ["b"]
    assert "taken by a, c; 1 waiting" in queue.would_wait("cpu")


def test_an_experiment_started_otherwise_takes_a_slot_too(own_home: Path, slow: list) -> None:
    slots.set_slots("cpu", 1)
    other = _experiment(own_home, "other")
    with other.lock():
        assert slots.taken() == {"cpu": ["other"]}
        assert queue.add(_experiment(own_home, "a")).state is JobState.WAITING
        _turn()
        assert slow == []
    _turn()
    assert slow == [("a", "1")]


def test_a_job_resumed_by_hand_runs_and_does_not_start_again_when_stopped(
    own_home: Path, slow: list
) -> None:
    slots.set_slots("cpu", 1)
    a, b = _experiment(own_home, "a"), _experiment(own_home, "b")
    queue.add(a)
    queue.add(b)
    with b.lock():
        assert _names(JobState.RUNNING) == ["a", "b"]
        _turn()
    _turn()
    assert "b" not in _names(JobState.WAITING)
    assert [name for name, _ in slow] == ["a"]


def test_a_job_waits_on_while_another_run_of_its_experiment_is_trained_by_hand(
    own_home: Path, slow: list
) -> None:
    """It failed, its "process was killed or ran out of memory", and was never trained."""
    slots.set_slots("cpu", 1)
    queue.add(_experiment(own_home, "a"))
    b = _experiment(own_home, "b", methods=["none", "dtvg"], sources=["sst2"])
    queue.add(b, ["rte.none.s0"])
    with b.lock():
        _turn()
        done = b.run("rte.dtvg.s0")
        replace_json(done.result_path, RunResult(1, 0.5, 0.5, {}, 1, 1.0, 1, {}).__dict__)
        status = {**(read_json(done.status_path) or {}), "state": "finished"}
        replace_json(done.status_path, {**status, "updated_at": time.time() + 1})
        assert _names(JobState.RUNNING) == ["a", "b"]
    _turn()
    assert _names(JobState.WAITING) == ["b"]


def test_gpus_and_cores_have_slots_of_their_own(
    own_home: Path, slow: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dtvg.jobs.devices import Device

    here = [Device(f"cuda:{i}", "GPU", 80, 80) for i in (0, 1)] + [Device("cpu", "CPU", 8, 8)]
    monkeypatch.setattr(slots, "machine", lambda: here)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    where = {}
    for name, device in [("a", "auto"), ("b", "auto"), ("c", "auto"), ("d", "cpu"), ("e", "cuda")]:
        job = queue.add(_experiment(own_home, name, device={"name": device}))
        where[name] = (job.state.value, job.on)
    assert where == {
        "a": ("running", "cuda:0"),
        "b": ("running", "cuda:1"),
        "c": ("waiting", None),
        "d": ("running", "cpu"),
        "e": ("waiting", None),
    }


@pytest.mark.parametrize(("device", "count"), [("cuda:9", 1), ("cpu", 0), ("cpu", 1000)])
def test_slots_that_make_no_sense_are_refused(own_home: Path, device: str, count: int) -> None:
    with pytest.raises(ConfigError, match="is not on this machine|are not possible"):
        slots.set_slots(device, count)


def test_threads_are_the_cores_shared_among_the_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from dtvg.config.sections import DeviceConfig

    before = torch.get_num_threads()
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda self: list(range(8)))
    try:
        monkeypatch.setenv("DTVG_SLOTS", "4")
        assert set_threads(DeviceConfig()) == 2
        assert set_threads(DeviceConfig(threads=3)) == 3
        monkeypatch.setenv("DTVG_SLOTS", "nonsense")
        assert set_threads(DeviceConfig()) == 8
    finally:
        torch.set_num_threads(before)
    assert "shared among the slots" in (DeviceConfig.model_fields["threads"].description or "")


def test_where_cores_are_not_told_all_of_them_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, where psutil has no such method."""
    import torch

    from dtvg.config.sections import DeviceConfig

    before = torch.get_num_threads()
    monkeypatch.delattr(psutil.Process, "cpu_affinity")
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    try:
        assert set_threads(DeviceConfig(), slots=2) == 3
    finally:
        torch.set_num_threads(before)


def test_a_device_that_a_worker_was_given_is_the_one_that_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dtvg.config.sections import DeviceConfig

    monkeypatch.setenv("DTVG_DEVICE", "cuda:77")
    with pytest.raises(ConfigError, match="'cuda:77' is not on this machine.* set DTVG_DEVICE to"):
        pick_device(DeviceConfig())


def test_looking_whether_a_lock_is_held_never_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    with locked(path) as mine:
        assert mine and is_locked(path)
        with locked(path, wait=False) as other:
            assert not other
    assert not is_locked(path)
    assert path.read_text() == str(os.getpid())


def test_files_that_are_no_jobs_are_left_alone(own_home: Path, slow: list) -> None:
    queue.add(_experiment(own_home, "a"))
    (folder() / "jobs" / "000009.json").write_text("{half a")
    (folder() / "jobs" / "000010.json").write_text('{"state": "dancing"}')
    (folder() / "jobs" / "notes.txt").write_text("mine")
    assert [j.experiment.name for j in jobs()] == ["a"]


def _add_many(home: str, prefix: str) -> None:
    os.environ["DTVG_HOME"] = home
    queue.ensure = lambda: None
    for number in range(6):
        queue.add(_experiment(Path(home), f"{prefix}{number}"))


def test_two_people_adding_at_once_lose_nothing(own_home: Path) -> None:
    slots.set_slots("cpu", 1)
    blocker = _experiment(own_home, "blocker")
    with blocker.lock():
        context = multiprocessing.get_context("fork")
        both = [context.Process(target=_add_many, args=(str(own_home), p)) for p in "xy"]
        for process in both:
            process.start()
        for process in both:
            process.join(60)
        waiting = [j for j in jobs() if j.state is JobState.WAITING]
    assert len({j.id for j in waiting}) == 12
    for prefix in "xy":
        own = [n for n in (j.experiment.name for j in waiting) if n.startswith(prefix)]
        assert own == [f"{prefix}{number}" for number in range(6)]


def _command(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dtvg", "queue", *words], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def _worker() -> psutil.Process | None:
    path = folder() / ".worker"
    return psutil.Process(int(path.read_text())) if is_locked(path) else None


def _queued(home: Path, **steps: int) -> None:
    """Queue tiny experiments by name, of so many steps each."""
    slots.set_slots("cpu", 1)
    made = []
    for name, count in steps.items():
        values = tiny_config(home / "parts", methods=["none"], name=name)
        values["optim"] = {**values["optim"], "steps": count}
        made.append(build_config(values))
    for config in made:
        queue.enter(config, home / "runs")


@pytest.mark.slow  # a killed process: test_launcher.py; one queue's order: above
def test_killing_the_queue_and_a_job_that_begins_loses_nothing(own_home: Path) -> None:
    _queued(own_home, one=50_000, two=2)
    _until(lambda: _worker() is not None, 400)
    worker = _worker()
    one = next(j for j in jobs() if j.experiment.name == "one")
    # in sessions of their own: nothing that ends a terminal, a browser or the app ends them
    assert os.getsid(worker.pid) == worker.pid and os.getsid(one.pid) == one.pid
    worker.kill()
    worker.wait(10)
    os.kill(one.pid, signal.SIGKILL)
    assert (_names(JobState.RUNNING) or _names(JobState.FAILED)) == ["one"]
    assert _names(JobState.WAITING) == ["two"]
    queue.move(next(j.id for j in jobs() if j.place), -1)  # this call brings it back
    _until(lambda: _names(JobState.DONE) == ["two"], 240)
    ended = {j.experiment.name: j for j in jobs()}
    assert [ended[n].state.value for n in ("one", "two")] == ["failed", "done"]
    assert "ended before this run began" in ended["one"].message
    assert "1 of 1 runs finished" in ended["two"].message
    _until(lambda: _worker() is None, 400)  # nothing is left to do, so nobody stays


@pytest.mark.slow
def test_killing_the_queue_or_a_job_loses_nothing_and_the_rest_goes_on(own_home: Path) -> None:
    _queued(own_home, one=50_000, two=4, three=4)
    assert _names(JobState.WAITING) == ["two", "three"]
    _until(lambda: _worker() is not None, 400)
    _until(lambda: launcher.is_working(ExperimentDir(own_home / "runs" / "one")), 240)
    worker = _worker()
    one = next(j for j in jobs() if j.experiment.name == "one")
    # in sessions of their own: nothing that ends a terminal, a browser or the app ends them
    assert os.getsid(worker.pid) == worker.pid and os.getsid(one.pid) == one.pid
    worker.kill()
    worker.wait(10)
    assert _names(JobState.RUNNING) == ["one"]
    assert _names(JobState.WAITING) == ["two", "three"]
    out = _command("move", jobs()[-1].id, "up")  # this call brings it back
    assert "'three' waits at place 1" in out
    _until(lambda: _worker() is not None and _worker().pid != worker.pid, 400)
    os.kill(one.pid, signal.SIGKILL)
    _until(lambda: not any(j.state is not JobState.DONE for j in jobs()[1:]), 400)
    ended = {j.experiment.name: j for j in jobs()}
    assert [ended[n].state.value for n in ("one", "two", "three")] == ["failed", "done", "done"]
    said = ended["one"].message  # of a run that had begun, or of one that had not
    assert "killed" in said or "ended before this run began" in said
    assert ended["three"].started_at < ended["two"].started_at
    assert "1 of 1 runs finished" in ended["two"].message
    _until(lambda: _worker() is None, 400)  # nothing is left to do, so nobody stays
    assert all(read_json(p)["state"] != "running" for p in (folder() / "jobs").glob("*.json"))


def test_a_full_disk_does_not_end_the_queues_process(
    own_home: Path, slow: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder() / "jobs").mkdir(parents=True)
    tries = []

    def turn() -> list[Job]:
        tries.append(1)
        if len(tries) == 1:
            raise StoreError("No space left on device.")
        return []

    monkeypatch.setattr(queue_worker, "turn", turn)
    monkeypatch.setattr(queue_worker, "PAUSE", 0.01)
    queue_worker.work()
    assert len(tries) == 2
    assert not is_locked(folder() / ".worker")


def test_one_process_serves_the_queue_however_often_it_is_asked_for(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def detached(command: Sequence[str], *_: object) -> int:
        begun.append(subprocess.Popen(["sleep", "60"]))
        return begun[-1].pid

    monkeypatch.setattr(launcher, "detached", detached)
    blocker = _experiment(own_home, "blocker")
    slots.set_slots("cpu", 1)
    with blocker.lock():
        queue.add(_experiment(own_home, "a"))
        queue.add(_experiment(own_home, "b"))
        queue.ensure()
        assert len(begun) == 1
        begun[0].kill()
        begun[0].wait()
        time.sleep(0.6)
        queue.ensure()
        assert len(begun) == 2
        begun[1].kill()
        begun[1].wait()
