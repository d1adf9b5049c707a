"""What the machine was used for is noted at commits, and read back whatever became of the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dtvg.analysis.run.about import usage_of
from dtvg.store import usage
from dtvg.store.layout import CohortDir
from dtvg.store.reader import open_experiment
from tests.store.faults import NAMES, open_cohort, train


def test_every_commit_notes_what_was_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "LEAST_SECONDS", 0.0)
    cohort, step = open_cohort(tmp_path)
    names = dict.fromkeys(NAMES, {})

    def commit(snapshot) -> None:
        newest = snapshot.meta["step"]
        runs = {name: {"step": newest} for name in names}
        cohort.commit(type(snapshot)(snapshot.rows, snapshot.tensors, {"runs": runs}))

    train(cohort, step, 15, commit)
    lines = usage.read_usage(cohort.cohort)
    assert [line.steps for line in lines] == [dict.fromkeys(NAMES, n) for n in (5, 10, 15)]
    assert all(line.memory_gib > 0 and 0 <= line.machine <= 1 for line in lines)


def test_commits_in_quick_succession_share_a_line(tmp_path: Path) -> None:
    meter = usage.Meter(CohortDir(tmp_path))
    for _ in range(20):
        meter.note({"a": 1})
    assert not (tmp_path / usage.FILE).exists()


def test_lines_cut_short_or_foreign_are_passed_over(tmp_path: Path) -> None:
    line = {"time": 2.0, "pid": 1, "steps": {"a": 1}, "cores": 1.0, "machine": 0.5}
    whole = json.dumps({**line, "memory_gib": 1.0, "machine_gib": 2.0})
    bad = json.dumps({**line, "memory_gib": 1.0, "machine_gib": 2.0, "cores": "many"})
    (tmp_path / usage.FILE).write_text(f"{whole}\n{bad}\n[1]\n\n{whole[:40]}")
    (found,) = usage.read_usage(CohortDir(tmp_path))
    assert found.cores == 1.0 and found.gpu is None
    assert usage.read_usage(CohortDir(tmp_path / "absent")) == []


def test_a_run_has_the_lines_up_to_its_last_step(tmp_path: Path) -> None:
    cohort, _ = open_cohort(tmp_path)
    run = next(r for r in open_experiment(cohort.cohort.path.parent.parent).runs)
    run = type(run)(**{**run.__dict__, "cohort": cohort.cohort.id})
    base = {"pid": 1, "cores": 1.0, "machine": 0.5, "memory_gib": 1.0, "machine_gib": 2.0}
    steps = [{run.name: 5}, {run.name: 9, "b": 9}, {run.name: 9, "b": 20}]
    lines = [json.dumps({**base, "time": 60.0 * at, "steps": s}) for at, s in enumerate(steps)]
    cohort.cohort.path.mkdir(parents=True, exist_ok=True)
    (cohort.cohort.path / usage.FILE).write_text("\n".join(lines))
    info = usage_of(run)
    assert info.table["step"].tolist() == [5, 9] and info.table["minutes"].tolist() == [0.0, 1.0]
    assert info.together == 2
