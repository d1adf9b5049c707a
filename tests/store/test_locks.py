"""Lock files: seen by and from processes of earlier versions, free after a kill, and exact."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dtvg.store.files import is_locked, locked
from dtvg.store.layout import ExperimentDir

fcntl = pytest.importorskip("fcntl", reason="earlier versions ran where there is flock")
ROOT = Path(__file__).resolve().parents[2]

EARLIER = """
import fcntl, os, sys
file = open(sys.argv[1], "a+")
fcntl.flock(file, getattr(fcntl, sys.argv[2]))
file.seek(0); file.truncate(); file.write(str(os.getpid())); file.flush()
print("held", flush=True)
sys.stdin.readline()
"""
NOW = """
import sys
from pathlib import Path
from dtvg.store.files import locked
with locked(Path(sys.argv[1])) as mine:
    print("held" if mine else "refused", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def holder(program: str, path: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock while inside."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path), *more],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait(20)
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()


def test_the_lock_of_a_process_of_an_earlier_version_is_seen_and_respected(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with holder(EARLIER, path, "LOCK_EX") as process:
        assert is_locked(path)
        with locked(path, wait=False) as mine:
            assert not mine
        assert path.read_text() == str(process.pid)
    assert not is_locked(path)


def test_a_process_of_an_earlier_version_sees_and_respects_our_lock(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with holder(NOW, path) as process, path.open("rb") as file:
        for kind in (fcntl.LOCK_SH, fcntl.LOCK_EX):
            with pytest.raises(BlockingIOError):
                fcntl.flock(file, kind | fcntl.LOCK_NB)
        assert path.read_text() == str(process.pid)


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with holder(NOW, path) as process:
        assert is_locked(path)
        process.kill()
        process.wait(20)
        assert not is_locked(path)
        with locked(path, wait=False) as mine:
            assert mine


def test_an_experiment_trained_by_an_earlier_version_is_not_trained_twice(tmp_path: Path) -> None:
    from dtvg.errors import JobError
    from dtvg.jobs.launcher import is_working

    experiment = ExperimentDir(tmp_path)
    with holder(EARLIER, tmp_path / ".lock", "LOCK_EX") as process:
        assert is_working(experiment)
        with pytest.raises(JobError, match=f"process {process.pid};"), experiment.lock():
            pass


def test_who_waits_gets_the_lock_when_the_holder_ends(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with holder(EARLIER, path, "LOCK_EX") as process:
        threading.Timer(0.3, process.kill).start()
        with locked(path) as mine:
            assert mine and process.wait(60) == -signal.SIGKILL


def test_threads_exclude_each_other_and_different_locks_do_not(tmp_path: Path) -> None:
    inside, most, seen = [0], [0], threading.Lock()

    def work() -> None:
        for _ in range(20):
            with locked(tmp_path / "one") as mine:
                assert mine
                with seen:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                time.sleep(0.0005)
                with seen:
                    inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    with locked(tmp_path / "two") as other:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert other and is_locked(tmp_path / "two")
    assert most == [1] and not is_locked(tmp_path / "one")


def test_many_who_only_look_never_take_each_other_for_a_holder(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    path.write_text("17")
    looking = "\n".join([
        "import sys; from pathlib import Path; from dtvg.store.files import is_locked",
        "print(sum(is_locked(Path(sys.argv[1])) for _ in range(2000)))",
    ])  # fmt: skip
    others = [
        subprocess.Popen([sys.executable, "-c", looking, str(path)], cwd=ROOT,
                         stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]  # fmt: skip
    wrong: list[bool] = []
    threads = [
        threading.Thread(target=lambda: wrong.extend(is_locked(path) for _ in range(1000)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.communicate(timeout=60)[0] for process in others] == ["0\n", "0\n"]
    assert len(wrong) == 4000 and not any(wrong)
    assert path.read_text() == "17"


def test_looking_makes_no_lock_file_and_changes_none(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "absent")
    assert not is_locked(tmp_path / "no" / "folder")
    assert not (tmp_path / "absent").exists()
    kept = tmp_path / "kept"
    kept.write_text("4711")
    before = kept.stat()
    assert not is_locked(kept)
    assert kept.read_text() == "4711" and kept.stat().st_mtime_ns == before.st_mtime_ns


def test_who_only_looks_never_keeps_a_starting_process_from_its_lock(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            is_locked(path)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for thread in lookers:
        thread.start()
    try:
        for _ in range(50):
            with locked(path, wait=False) as mine:
                assert mine
    finally:
        stop.set()
        for thread in lookers:
            thread.join()
