"""A disk that is full for a few steps costs no run: what was asked and kept waits for it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dtvg.config import build_config
from dtvg.errors import DtvgError, StoreError
from dtvg.records import RunState
from dtvg.store import audit, fork, writer
from dtvg.store.bank import PromptBank
from dtvg.store.layout import ExperimentDir, create_experiment
from dtvg.store.lease import LeaseLost, held_here
from dtvg.store.reader import Run, open_run, read_table
from dtvg.store.status import request, requested
from dtvg.store.verify import verify_run
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import loop
from dtvg.training.cohort import Cohort
from dtvg.training.procedures import run_experiment
from dtvg.training.recording import Failure

NAMES = ("rte.all_sources.s0", "rte.none.s0")
FULL = range(4, 7)
"""Steps at which the disk takes nothing."""


def _train(
    folder: Path,
    patch: pytest.MonkeyPatch,
    at: Callable[[Cohort], None] = lambda cohort: None,
    error: StoreError | None = None,
    **logging: Any,
) -> tuple[Run, ...]:
    """Train two runs of a cohort on a disk that is full for a while.

    Args:
        folder: where.
        patch: for what is asked and refused.
        at: called before each step.
        error: what a commit raises then.
        logging: settings.
    """
    values = tiny_config(folder / "parts", methods=["all_sources", "none"])
    values["logging"] |= {"commit_seconds": 0.001, "commit_share": 1.0, **logging}
    experiment = create_experiment(build_config(values), folder / "runs")
    real, noted = writer.CohortWriter.commit, loop.note_people

    def commit(self: writer.CohortWriter, snapshot: writer.Snapshot) -> None:
        runs = snapshot.meta["runs"]
        if set(NAMES) & set(runs) and max(of["step"] for of in runs.values()) in FULL:
            raise error or StoreError("No space left on device.")
        real(self, snapshot)

    def note(cohort: Cohort) -> None:
        if any(slot.name in NAMES for slot in cohort.slots):
            at(cohort)
        noted(cohort)

    patch.setattr(loop, "CONTROL_SECONDS", 0.0)
    patch.setattr(loop, "note_people", note)
    patch.setattr(writer.CohortWriter, "commit", commit)
    run_experiment(experiment, bank=PromptBank(folder / "bank"))
    return tuple(open_run(experiment.run(name).path) for name in NAMES)


def _kept(run: Run) -> list[str]:
    folder = run.path.parent / "cohorts" / str(run.cohort) / "kept"
    return sorted(path.name for path in folder.iterdir())


def test_a_state_that_the_disk_refuses_is_kept_at_a_later_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = _train(tmp_path, monkeypatch, keep_every=5)
    for run in runs:
        assert run.state is RunState.FINISHED and verify_run(run.path) == []
        last, late = fork.kept_steps(run)
        assert last == 10 and late in (7, 8, 9)


def test_a_copy_that_the_disk_refuses_leaves_nothing_and_is_made_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, refused = shutil.copyfile, []

    def copyfile(source: Path, target: Path) -> None:
        whole(source, target)
        if "kept" in Path(target).parts and len(refused) < 1:
            refused.append(target)
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", copyfile)
    monkeypatch.setattr(f"{__name__}.FULL", range(0))
    runs = _train(tmp_path, monkeypatch, keep_every=10)
    assert {run.state for run in runs} == {RunState.FINISHED} and len(refused) == 1
    assert _kept(runs[0]) == ["state-000000011.safetensors"]


def test_a_copy_that_is_refused_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.FULL", range(0))
    run, _ = _train(tmp_path, monkeypatch)
    cohort = ExperimentDir(run.path.parent).cohort(str(run.cohort))

    def sync_file(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fork, "sync_file", sync_file)
    with pytest.raises(StoreError, match=r"step 5 cannot be kept .* \(No space left on device\)"):
        fork.keep_state(cohort, 5)
    assert _kept(run) == []


def test_requests_on_a_full_disk_are_met_once_and_taken_back_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: dict[int, set[str]] = {}

    def ask(cohort: Cohort) -> None:
        slot = next(slot for slot in cohort.slots if slot.name == NAMES[0])
        run = cohort.run_dirs[slot.name]
        if slot.step == 4 and 4 not in left:
            request(run, "ban.cola")
            audit.tell(run, "anna@example.org (operator): ban.")
        left[slot.step] = requested(run)

    run, _ = _train(tmp_path, monkeypatch, ask)
    assert run.state is RunState.FINISHED and verify_run(run.path) == []
    assert len(left[5]) == len(left[6]) == 2 and requested(run.directory) == set()
    events = read_table(run, "events", ["step", "kind", "subject"]).to_pylist()
    found = [(e["step"], e["kind"], e["subject"]) for e in events if e["kind"] in ("ban", "person")]
    assert sorted(found) == [(4, "ban", "cola"), (4, "person", None)]


def test_a_run_that_fails_on_a_full_disk_ends_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(cohort: Cohort) -> None:
        for slot in cohort.slots:
            if slot.name == NAMES[0] and slot.step == 5:
                cohort.fail([Failure(slot, 6, "Its loss is not finite.")])

    failed, whole = _train(tmp_path, monkeypatch, fail)
    assert failed.state is RunState.FAILED and failed.message == "Its loss is not finite."
    assert whole.state is RunState.FINISHED and verify_run(whole.path) == []
    events = read_table(failed, "events", ["step", "kind"]).to_pylist()
    assert events[-1] == {"step": 5, "kind": "failed"}


def test_a_lease_that_is_lost_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DtvgError, match="took over"):
        _train(tmp_path, monkeypatch, error=LeaseLost("Another process took over."), keep_every=5)


@pytest.mark.parametrize("stopped", [False, True])
def test_runs_whose_last_commit_is_refused_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    """They were shown as lost while writing their result, or their state."""

    def stop(cohort: Cohort) -> None:
        for slot in cohort.slots if stopped else []:
            if slot.step == 5:
                request(cohort.run_dirs[slot.name], "stop")

    monkeypatch.setattr(f"{__name__}.FULL", range(5, 6) if stopped else range(12, 13))
    with pytest.raises(DtvgError, match="No space left"):
        _train(tmp_path, monkeypatch, stop)
    for name in NAMES:
        run = open_run(tmp_path / "runs" / "tiny" / name)
        assert (run.state, run.message) == (RunState.FAILED, "No space left on device.")


def test_a_cohort_that_ends_by_an_error_holds_its_folder_until_its_commit_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process could go on from the commit before, and its own be replaced by this one."""
    real, held = writer.CohortWriter.commit, []

    def slow(self: writer.CohortWriter, snapshot: writer.Snapshot) -> None:
        if snapshot.meta["runs"].get(NAMES[0], {}).get("step") == 5:
            time.sleep(0.5)
            held.append(held_here(self.cohort.path) is not None)
        real(self, snapshot)

    def fails(cohort: Cohort) -> None:
        if cohort.slots[0].step == 5:
            cohort.commit()
            raise RuntimeError("of a library")

    monkeypatch.setattr(f"{__name__}.FULL", range(0))
    monkeypatch.setattr(writer.CohortWriter, "commit", slow)
    with pytest.raises(DtvgError, match="of a library"):
        _train(tmp_path, monkeypatch, fails)
    assert held == [True]
