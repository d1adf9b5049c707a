"""Whatever stage of a commit is cut short: no committed row is lost, none stands twice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from dtvg.errors import StoreError
from dtvg.store import writer as writer_module
from dtvg.store.writer import Committer
from tests.store import faults

LAST = 50


def _fork(action) -> int:
    """Run something in a child that may die at any moment; return its exit status."""
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException:  # noqa: BLE001 - the child must never come back into pytest
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _train(root: Path, last: int, stage: int = 0, note: Path | None = None) -> None:
    cohort, step = faults.open_cohort(root)
    count = faults.at_call(stage, lambda: os._exit(9))
    faults.train(cohort, step, last, cohort.commit)
    if note is not None:
        note.write_text(str(count["calls"]))


def _same(one: dict, other: dict) -> None:
    for table, rows in one.items():
        columns = [c for c in rows.columns if c != "gram"]
        pd.testing.assert_frame_equal(rows[columns], other[table][columns])
        assert (
            rows.get("gram", pd.Series())
            .map(str)
            .equals(other[table].get("gram", pd.Series()).map(str))
        )


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict:
    root = tmp_path_factory.mktemp("whole")
    cohort, step = faults.open_cohort(root)
    faults.train(cohort, step, LAST, cohort.commit)
    return {name: faults.tables(root, name) for name in faults.NAMES}


SLOW = pytest.mark.slow
"""Every stage, where the default takes each third."""


@pytest.mark.parametrize(
    ("before", "every"), [(35, 3), pytest.param(0, 1, marks=SLOW), pytest.param(35, 1, marks=SLOW)]
)
def test_a_process_killed_at_any_stage_of_a_commit_loses_and_doubles_nothing(
    tmp_path: Path, unbroken: dict, before: int, every: int
) -> None:
    start = tmp_path / "start"  # 35: the eighth commit compacts
    _train_plain(start, before)
    note = tmp_path / "calls"
    trial = tmp_path / "trial"
    shutil.copytree(start, trial)
    assert _fork(lambda: _train(trial, before + faults.EACH, 10**9, note)) == 0
    stages = int(note.read_text())
    assert stages > 15
    for stage in range(1, stages + 1, every):
        shutil.rmtree(trial)
        shutil.copytree(start, trial)
        assert _fork(lambda s=stage: _train(trial, before + faults.EACH, s)) == 9, stage
        seen = {name: faults.tables(trial, name) for name in faults.NAMES}
        for name in faults.NAMES:
            steps = seen[name]["steps"]["step"].tolist()
            assert steps == list(range(1, len(steps) + 1)), (stage, name)
            assert len(steps) >= before, (stage, name)
        assert _fork(lambda: _train_plain(trial, LAST)) == 0, stage
        for name in faults.NAMES:
            _same(unbroken[name], faults.tables(trial, name))


def _train_plain(root: Path, last: int) -> None:
    cohort, step = faults.open_cohort(root)
    faults.train(cohort, step, last, cohort.commit)


@pytest.mark.parametrize(
    ("before", "every"), [(0, 3), pytest.param(0, 1, marks=SLOW), pytest.param(35, 1, marks=SLOW)]
)
def test_a_disk_full_at_any_stage_is_one_sentence_and_the_next_commit_catches_up(
    tmp_path: Path, unbroken: dict, before: int, every: int
) -> None:
    start, trial, note = tmp_path / "start", tmp_path / "trial", tmp_path / "calls"
    _train_plain(start, before)
    shutil.copytree(start, trial)
    assert _fork(lambda: _train(trial, before + faults.EACH, 10**9, note)) == 0

    def suffer(stage: int) -> None:
        cohort, step = faults.open_cohort(trial)
        committer = Committer(cohort, seconds=0.0)
        faults.at_call(stage, faults.full)
        sentences = []

        def commit(snapshot) -> None:
            committer.submit(snapshot)
            try:
                committer.wait()
            except StoreError as error:
                sentences.append(str(error))

        faults.train(cohort, step, LAST, commit)
        assert len(sentences) <= 1
        assert all("No space left" in s and "\n" not in s for s in sentences)
        assert committer.seconds_spent >= 0 and not committer._unwritten

    for stage in range(1, int(note.read_text()) + 1, every):
        shutil.rmtree(trial)
        shutil.copytree(start, trial)
        assert _fork(lambda s=stage: suffer(s)) == 0, stage
        for name in faults.NAMES:
            _same(unbroken[name], faults.tables(trial, name))
        hidden = [p for p in trial.rglob("*/.*") if p.suffix in (".parquet", ".tmp")]
        assert not hidden, (stage, hidden)


def _raising(error: BaseException, function: Callable[..., object], calls: range):
    """The function, with an error at the given calls."""
    count = iter(range(10**6))

    def call(*given: object, **more: object) -> object:
        if next(count) in calls:
            raise error
        return function(*given, **more)

    return call


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), r"\(MemoryError\); free some memory"),
        (pa.ArrowInvalid("odd\nrows."), r"\(ArrowInvalid: odd rows\);"),
        (RuntimeError("no"), r"\(RuntimeError: no\); .* what was committed is safe"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_whatever_ends_a_commit_is_raised_and_the_next_commit_catches_up(
    tmp_path: Path, unbroken: dict, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    cohort, step = faults.open_cohort(tmp_path)
    committer = Committer(cohort, seconds=0.0)
    failing = _raising(error, writer_module.write_parquet, range(2, 3))
    monkeypatch.setattr(writer_module, "write_parquet", failing)
    faults.train(cohort, step, faults.EACH, committer.submit)
    with pytest.raises(StoreError, match=said) as told:
        committer.wait()
    assert "\n" not in str(told.value) and str(cohort.cohort.path) in str(told.value)
    assert not cohort.cohort.state_path.exists()
    faults.train(cohort, faults.EACH, LAST, committer.submit)
    committer.close()
    for name in faults.NAMES:
        _same(unbroken[name], faults.tables(tmp_path, name))
    assert not [p for p in tmp_path.rglob("*/.*") if p.suffix == ".parquet"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_commit_whose_thread_is_gone_is_not_taken_for_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort, step = faults.open_cohort(tmp_path)
    committer = Committer(cohort, seconds=0.0)
    with monkeypatch.context() as ending:
        ending.setattr(cohort, "commit", _raising(SystemExit(), cohort.commit, range(1)))
        faults.train(cohort, step, faults.EACH, committer.submit)
        with pytest.raises(StoreError, match="its thread ended"):
            committer.wait()
    faults.train(cohort, faults.EACH, 2 * faults.EACH, committer.submit)
    committer.wait()
    steps = faults.tables(tmp_path, faults.NAMES[0])["steps"]["step"].tolist()
    assert steps == list(range(1, 2 * faults.EACH + 1))


def test_what_is_committed_is_not_written_again_where_tidying_fails(
    tmp_path: Path, unbroken: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort, step = faults.open_cohort(tmp_path)
    committer = Committer(cohort, seconds=0.0)
    compacting = _raising(MemoryError(), writer_module.compact, range(2, 10**6, 3))
    monkeypatch.setattr(writer_module, "compact", compacting)

    def commit(snapshot: writer_module.Snapshot) -> None:
        committer.submit(snapshot)
        committer.wait()
        assert not committer._unwritten

    faults.train(cohort, step, LAST, commit)
    for name in faults.NAMES:
        _same(unbroken[name], faults.tables(tmp_path, name))


def test_a_commit_that_cannot_be_kept_as_the_one_before_leaves_no_second_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stayed for ever where the run finished after it, and held its disk space."""
    cohort, step = faults.open_cohort(tmp_path)
    whole = os.replace

    def replace(source: Path, target: Path) -> None:
        if Path(target) == cohort.cohort.before_path:
            faults.full()
        whole(source, target)

    monkeypatch.setattr(os, "replace", replace)
    faults.train(cohort, step, 3 * faults.EACH, cohort.commit)
    assert not list(cohort.cohort.path.glob(".*.tmp"))
