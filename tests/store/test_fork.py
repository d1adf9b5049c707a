"""Forks as files: what they start from, and that they can be resumed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dtvg.store.writer as writer_module
from dtvg.config import RunConfig, build_config
from dtvg.errors import StoreError
from dtvg.records import TABLES, RunState
from dtvg.store import fork as fork_module
from dtvg.store import trash
from dtvg.store.files import read_json, replace_json
from dtvg.store.fork import fork, keep_state, kept_steps
from dtvg.store.layout import ExperimentDir, RunDir, add_run, create_experiment
from dtvg.store.reader import open_run, read_table
from dtvg.store.recovery import has_rows
from dtvg.store.tables import parts
from dtvg.store.writer import CohortWriter, RunWriter, Snapshot
from tests.store.faults import full

NAMES = ("rte.dtvg.s0", "rte.dtvg.s1")


class Runs:
    """Two runs of one cohort whose rows and commits are written by hand."""

    def __init__(self, root: Path, logging: dict[str, Any], experiment: Path | None = None) -> None:
        self.config = build_config(
            {
                "name": "parent",
                "backbone": {"name": "demo"},
                "sources": ["mnli", "qqp"],
                "targets": ["rte"],
                "methods": ["dtvg"],
                "seeds": [0, 1],
                "optim": {"steps": 100},
                "logging": logging,
            },
            "test",
        )
        self.experiment = (
            ExperimentDir(experiment) if experiment else create_experiment(self.config, root)
        )
        self.cohort = self.experiment.cohort("transfer-000")
        self.cohort.path.mkdir(parents=True, exist_ok=True)
        self.begin(*(NAMES if experiment is None else NAMES[:1]))

    def begin(self, *names: str) -> None:
        """Open the writers of runs, as a process that begins or resumes does."""
        runs = {run.name: run for run in self.config.runs()}
        self.writers = {name: self._open(runs[name]) for name in names}
        self.writer = CohortWriter(self.cohort, self.writers)

    def _open(self, run: RunConfig) -> RunWriter:
        directory = add_run(self.experiment, run)
        status = read_json(directory.status_path) or {}
        stopped = {"cohort": self.cohort.id, "state": "stopped"}
        replace_json(directory.status_path, {**status, **stopped})
        writer = RunWriter(directory, run)
        if not has_rows(directory):
            event = {"step": [0], "seconds": [0.0], "kind": ["x"], "detail": ["x"]}
            writer.extend("events", event)
        return writer

    def run(self, name: str = NAMES[0]) -> RunDir:
        return self.experiment.run(name)

    def train(self, name: str, first: int, last: int) -> None:
        self.writers[name].extend("steps", _steps(first, last))

    def commit(self, value: float, **meta: Any) -> None:
        """Commit, by run (`s0`, `s1`), a step or a finished run's `(step,)`."""
        names = {f"rte.dtvg.{seed}": of for seed, of in meta.items()}
        runs = {name: _numbers(of) for name, of in names.items()}
        prompt = np.full((2, 2), value, np.float32)
        tensors = {f"{name}/parameter/prompt": prompt for name in runs}
        self.writer.commit(self.writer.snapshot(tensors, {"runs": runs}))

    def child(self, made: ExperimentDir) -> tuple[int, float, int]:
        """Return a fork's step, the value of its prompt, and the step of its last row."""
        tensors, meta, _ = CohortWriter.load(made.cohort("transfer-000")) or ({}, {}, [])
        ((name, numbers),) = meta["runs"].items()
        steps = read_table(open_run(made.run(name).path), "steps", ["step"]).column("step")
        return numbers["step"], float(tensors[f"{name}/parameter/prompt"][0, 0]), steps[-1].as_py()


def _numbers(of: int | tuple[int] | dict[str, Any]) -> dict[str, Any]:
    if isinstance(of, dict):
        return {**_numbers(of["step"]), **of}
    step, result = (of, None) if isinstance(of, int) else (of[0], {"steps": of[0]})
    known = {"seconds": 1.0, "evaluated": step, "failure": None, "note": {}}
    return {"step": step, "result": result, **known}


def _steps(first: int, last: int) -> dict[str, Any]:
    count = last - first + 1
    zeros = {c.name: [0 if c.type.startswith("int") else 0.0] * count for c in TABLES["steps"]
             if not c.nullable}  # fmt: skip
    return {**zeros, "step": np.arange(first, last + 1)}


def _thinned_fork(folder: Path) -> Runs:
    """A fork of a thinned run, made between two steps that are kept."""
    parent = Runs(folder / "runs", {"detail": "thinned", "thin_every": 10})
    parent.train(NAMES[0], 1, 45)
    parent.commit(1.0, s0=45)
    made = fork(open_run(parent.run().path), "child")
    return Runs(folder, {"detail": "thinned", "thin_every": 10}, made.path)


def _train_on(child: Runs) -> None:
    for first, last in ((46, 60), (61, 80)):
        child.train(NAMES[0], first, last)
        child.commit(2.0, s0=last)


def _recovered(child: Runs) -> int:
    _, meta = CohortWriter.recover(child.cohort, {NAMES[0]: child.run()}) or ({}, {})
    return int(meta["runs"][NAMES[0]]["step"])


def test_a_fork_of_a_thinned_run_goes_on_from_its_newest_commit(tmp_path: Path) -> None:
    child = _thinned_fork(tmp_path)
    _train_on(child)
    found = [(part.first, part.last) for part in parts(child.run().table_dir("steps"))]
    assert found == [(1, 45), (46, 60), (61, 80)]
    assert _recovered(child) == 80


def test_a_fork_whose_first_part_ends_with_its_last_row_goes_on(tmp_path: Path) -> None:
    """As forks of thinned runs were made once; a part that is missing is still found."""
    child = _thinned_fork(tmp_path)
    (first,) = parts(child.run().table_dir("steps"))
    first.path.rename(first.path.with_name("part-000000001-000000040.parquet"))
    _train_on(child)
    assert _recovered(child) == 80
    middle = parts(child.run().table_dir("steps"))[1]
    child.train(NAMES[0], 81, 100)
    child.commit(3.0, s0=100)
    middle.path.unlink()
    with pytest.raises(StoreError, match="has 5 of 11 committed rows"):
        _recovered(child)


def _kept_and_deleted(folder: Path, patch: pytest.MonkeyPatch) -> Runs:
    """Two runs with a kept commit at step 50, of which the first was then deleted."""
    patch.setenv("DTVG_HOME", str(folder / "home"))
    runs = Runs(folder / "home" / "runs", {"keep_every": 50})
    for name in NAMES:
        runs.train(name, 1, 50)
    runs.commit(1.0, s0=50, s1=50)
    keep_state(runs.cohort, 50)
    assert [kept_steps(open_run(runs.run(name).path)) for name in NAMES] == [[50], [50]]
    time.sleep(1.1)  # the time of a run's folder is in whole seconds
    trash.delete(runs.experiment, NAMES[0])
    return runs


def test_a_run_trained_again_is_not_forked_at_commits_of_the_deleted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = _kept_and_deleted(tmp_path, monkeypatch)
    runs.begin(*NAMES)
    with pytest.raises(StoreError, match="has no commit yet"):
        fork(open_run(runs.run().path), "early")
    runs.train(NAMES[0], 1, 20)
    runs.commit(2.0, s0=20, s1=50)
    again, other = (open_run(runs.run(name).path) for name in NAMES)
    with pytest.raises(StoreError, match=r"at or before step 50 \(kept: none\)"):
        fork(again, "wrong", at=50)
    assert runs.child(fork(again, "newest")) == (20, 2.0, 20)
    assert kept_steps(other) == [50] and runs.child(fork(other, "other", at=60)) == (50, 1.0, 50)
    runs.train(NAMES[0], 21, 70)
    runs.commit(3.0, s0=70, s1=50)
    assert kept_steps(again) == []


def test_a_commit_of_another_run_of_the_same_name_is_not_forked(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "runs", {"keep_every": 50})
    runs.train(NAMES[0], 1, 50)
    runs.commit(1.0, s0=50)
    keep_state(runs.cohort, 50)
    path = runs.run().provenance_path
    known = read_json(path) or {}
    replace_json(path, {**known, "run_id": "0123456789abcdef"})
    with pytest.raises(StoreError, match="has no commit yet"):
        fork(open_run(runs.run().path), "newest")
    with pytest.raises(StoreError, match="kept: none"):
        fork(open_run(runs.run().path), "kept", at=50)
    replace_json(path, {k: v for k, v in known.items() if k != "run_id"})  # of before
    assert kept_steps(open_run(runs.run().path)) == [50]


def test_what_was_kept_of_a_run_stays_when_another_comes_to_that_step_later(
    tmp_path: Path,
) -> None:
    runs = Runs(tmp_path / "runs", {"keep_every": 50})
    runs.train(NAMES[0], 1, 20)
    runs.train(NAMES[1], 1, 50)
    for value in (1.0, 2.0):  # the same states kept again take no more room
        runs.commit(value, s0=20, s1=50)
        keep_state(runs.cohort, 50)
    runs.train(NAMES[1], 51, 100)
    runs.commit(3.0, s0=20, s1=(100,))
    runs.train(NAMES[0], 21, 50)
    for value in (4.0, 5.0):  # the first, stopped before, has come to that step
        runs.commit(value, s0=50, s1=(100,))
        keep_state(runs.cohort, 50)
    kept = sorted(path.name for path in (runs.cohort.path / "kept").iterdir())
    assert kept == ["state-000000050-2.safetensors", "state-000000050.safetensors"]
    first, other = (open_run(runs.run(name).path) for name in NAMES)
    assert kept_steps(first) == [50, 20] and kept_steps(other) == [50]
    assert runs.child(fork(other, "other", at=50)) == (50, 2.0, 50)
    assert runs.child(fork(first, "first", at=50)) == (50, 5.0, 50)
    assert runs.child(fork(first, "before", at=49)) == (20, 2.0, 20)


def test_a_damaged_kept_commit_is_replaced_and_named(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "runs", {"keep_every": 50})
    runs.train(NAMES[0], 1, 50)
    runs.commit(1.0, s0=50)
    keep_state(runs.cohort, 50)
    (path,) = (runs.cohort.path / "kept").iterdir()
    path.write_bytes(b"damaged")
    run = open_run(runs.run().path)
    with pytest.raises(StoreError, match="state-000000050.safetensors' is damaged"):
        fork(run, "child", at=60)
    keep_state(runs.cohort, 50)
    assert runs.child(fork(run, "child", at=60)) == (50, 1.0, 50)


def test_a_fork_at_a_kept_commit_has_no_rows_of_what_came_after_it(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "runs", {"keep_every": 50})
    relations = {"task": ["rte"], "other": ["rte"], "relation": [1.0], "dual": [0.0]}
    rounds = {"task": ["qqp"], "how": ["met"], "waited_s": [0.0]}

    def train(first: int, last: int, met: tuple[int, ...], scored: tuple[int, ...]) -> None:
        runs.train(NAMES[0], first, last)
        for step in scored:
            runs.writers[NAMES[0]].extend("relations", {"step": [step], **relations})
        for step in met:
            runs.writers[NAMES[0]].extend("exchanges", {"step": [step], **rounds})

    train(1, 50, met=(25,), scored=(0, 40))
    runs.commit(1.0, s0={"step": 50, "evaluated": 40})
    keep_state(runs.cohort, 50)
    train(51, 60, met=(50,), scored=(50,))  # a round and a scoring of step 50 come after it
    runs.commit(2.0, s0=60)
    made = fork(open_run(runs.run().path), "child", at=50)
    child = open_run(made.run(NAMES[0]).path)
    for table, steps in (("relations", [0, 40]), ("exchanges", [25])):
        assert read_table(child, table, ["step"]).column("step").to_pylist() == steps


def test_a_fork_says_at_once_where_it_stands_and_can_be_forked(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "runs", {})
    runs.train(NAMES[0], 1, 50)
    runs.commit(1.0, s0=50)
    child = open_run(fork(open_run(runs.run().path), "child").run(NAMES[0]).path)
    assert (child.state, child.step) == (RunState.WAITING, 50)
    again = open_run(fork(child, "again").run(NAMES[0]).path)
    assert again.step == 50 and read_table(again, "steps").num_rows == 50


def test_a_fork_that_cannot_be_written_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it left was trained from its first step, under a note that says where it goes on."""
    parent = Runs(tmp_path, {})
    parent.train(NAMES[0], 1, 45)
    parent.commit(1.0, s0=45)
    with monkeypatch.context() as patch:
        patch.setattr(writer_module, "sync_file", lambda path: full())
        with pytest.raises(StoreError, match=r"'.*/child' .*No space left.*nothing was forked"):
            fork(open_run(parent.run().path), "child")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".locks", "parent"]
    with monkeypatch.context() as patch:
        patch.setattr(fork_module, "sync_folder", lambda folder: full())
        with pytest.raises(StoreError, match=r"'.*/child' .*No space left.*nothing was forked"):
            fork(open_run(parent.run().path), "child")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".locks", "parent"]
    with monkeypatch.context() as patch:
        patch.setattr(fork_module, "CohortWriter", _Refusing)
        with pytest.raises(StoreError, match=r"^Another process took over\.$"):
            fork(open_run(parent.run().path), "child")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".locks", "parent"]
    made = fork(open_run(parent.run().path), "child")
    assert parent.child(made) == (45, 1.0, 45)


class _Refusing(CohortWriter):
    def commit(self, snapshot: Snapshot) -> None:
        raise StoreError("Another process took over.")
