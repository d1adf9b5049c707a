"""Killed after any write of its life, Stage I and bank included, an experiment can go on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dtvg.config import build_config
from dtvg.plan.stored import lay_out
from dtvg.records import RunState
from dtvg.store.bank import PromptBank
from dtvg.store.layout import ExperimentDir
from dtvg.store.reader import list_runs, open_run, read_prompts, read_table
from dtvg.store.verify import verify_run
from dtvg.store.writer import CohortWriter, RunWriter, Snapshot
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import one_cohort, procedures
from tests.store import faults

pytestmark = pytest.mark.timeout(900)
MEASURED = ["seconds", "step_ms", "device_mem_gib"]
SMALL = {
    "sources": ["sst2"],
    "methods": ["dtvg"],
    "optim": {"stage1_steps": 4, "steps": 4, "batch_size": 2, "warmup_steps": 1},
    "evaluation": {"every": 2, "max_examples": 4},
    "logging": {"commit_seconds": 0.01, "commit_share": 1.0},
}


def _forked(action: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException:  # noqa: BLE001 - the child must never come back into pytest
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _life(home: Path, parts: Path) -> None:
    """Create and train the experiment, or go on with it."""
    experiment = lay_out(build_config(tiny_config(parts, **SMALL)), home / "runs")
    procedures.run_experiment(experiment, bank=PromptBank(home / "bank"))


def _killed(home: Path, parts: Path, at: int, note: Path | None = None) -> None:
    seen = faults.at_call(at, lambda: os._exit(9))
    _life(home, parts)
    if note is not None:
        note.write_text(str(seen["calls"]))


def _dump(home: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for run in list_runs(home / "runs"):
        assert run.state is RunState.FINISHED and verify_run(run.path) == [], run
        for table in ("steps", "sources", "evals"):
            rows = read_table(run, table).to_pandas().drop(columns=MEASURED, errors="ignore")
            found[f"{run.name}/{table}"] = rows.to_json(double_precision=15)
        for which in ("initial", "best", "final"):
            for key, value in read_prompts(open_run(run.path), which).items():
                found[f"{run.name}/{which}/{key}"] = value.tobytes()
    found["bank"] = sorted((p.task, p.prompt.tobytes()) for p in PromptBank(home / "bank").list())
    return found


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    tiny_config(folder)
    return folder


@pytest.fixture(scope="module")
def whole(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, object]]:
    """How many writes a whole life has, and what it leaves."""
    home = tmp_path_factory.mktemp("whole")
    assert _forked(lambda: _killed(home, parts, 10**9, home / "note")) == 0
    return int((home / "note").read_text()), _dump(home)


def _check(stage: int, parts: Path, home: Path, wanted: dict[str, object]) -> None:
    shutil.rmtree(home, ignore_errors=True)
    assert _forked(lambda: _killed(home, parts, stage)) in (0, 9), stage
    assert _forked(lambda: _life(home, parts)) == 0, stage
    assert _dump(home) == wanted, stage


def test_killed_at_some_writes_of_its_life_it_ends_as_if_unbroken(
    parts: Path, whole: tuple[int, dict[str, object]], tmp_path: Path
) -> None:
    stages, wanted = whole
    assert stages > 60
    for stage in range(3, stages, stages // 6):
        _check(stage, parts, tmp_path / "home", wanted)


@pytest.mark.slow
def test_killed_at_any_write_of_its_life_it_ends_as_if_unbroken(
    parts: Path, whole: tuple[int, dict[str, object]], tmp_path: Path
) -> None:
    stages, wanted = whole
    for stage in range(1, stages + 1):
        _check(stage, parts, tmp_path / "home", wanted)


def test_killed_before_its_prompt_is_in_the_bank_it_is_put_there_later(
    parts: Path, whole: tuple[int, dict[str, object]], tmp_path: Path
) -> None:
    def die() -> None:
        PromptBank.put = lambda self, prompt: os._exit(9)  # type: ignore[assignment, method-assign]
        _life(tmp_path, parts)

    assert _forked(die) == 9
    assert _forked(lambda: _life(tmp_path, parts)) == 0
    assert _dump(tmp_path) == whole[1]


LOST = {
    "the entry was deleted": [],
    "so was the prompt beside the run": ["runs/tiny/stage1.sst2.s0/prompts/best.safetensors"],
    "so was the commit": ["runs/tiny/cohorts"],
}


@pytest.mark.parametrize("what", LOST)
def test_a_prompt_missing_in_the_bank_is_made_again(
    what: str, parts: Path, whole: tuple[int, dict[str, object]], tmp_path: Path
) -> None:
    assert _forked(lambda: _life(tmp_path, parts)) == 0
    entry = next((tmp_path / "bank").glob("sst2-*"))
    before = PromptBank(tmp_path / "bank").get(entry.name.rpartition("-")[2])
    experiment = ExperimentDir(tmp_path / "runs" / "tiny")
    gone = [experiment.run("rte.dtvg.s0").path, experiment.path / "cohorts" / "transfer-000"]
    for path in [entry, *gone, *(tmp_path / name for name in LOST[what])]:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    assert _forked(lambda: _life(tmp_path, parts)) == 0
    after = PromptBank(tmp_path / "bank").get(before.fingerprint)
    assert (after.prompt == before.prompt).all() and after.score == before.score
    assert open_run(experiment.run("rte.dtvg.s0").path).state is RunState.FINISHED


def test_a_prompt_that_is_nowhere_any_more_is_trained_again(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _forked(lambda: _life(tmp_path, parts)) == 0
    experiment = ExperimentDir(tmp_path / "runs" / "tiny")
    for name in ("rte.dtvg.s0", "cohorts/transfer-000"):
        shutil.rmtree(experiment.path / name)
    shutil.rmtree(next((tmp_path / "bank").glob("sst2-*")))
    (experiment.run("stage1.sst2.s0").prompts_dir / "best.safetensors").write_bytes(b"x")
    monkeypatch.setattr(one_cohort, "best_of", lambda name, saved: {})
    assert _forked(lambda: _life(tmp_path, parts)) == 0
    assert len(PromptBank(tmp_path / "bank").list()) == 2
    assert open_run(experiment.run("rte.dtvg.s0").path).state is RunState.FINISHED


@pytest.mark.parametrize(
    "where", ["stage1.sst2.s0/initial", "stage1.sst2.s0/best", "rte.dtvg.s0/final"]
)
def test_a_prompt_file_damaged_between_a_kill_and_the_resume_is_written_again(
    where: str, parts: Path, whole: tuple[int, dict[str, object]], tmp_path: Path
) -> None:
    run, which = where.split("/")

    def die() -> None:
        finish = RunWriter.finish

        def finished(self: RunWriter, result: object) -> None:
            if self.run.name == run:
                os._exit(9)  # the commit has its result, its folder not yet
            finish(self, result)  # type: ignore[arg-type]

        RunWriter.finish = finished  # type: ignore[assignment, method-assign]
        _life(tmp_path, parts)

    assert _forked(die) == 9
    path = tmp_path / "runs" / "tiny" / run / "prompts" / f"{which}.safetensors"
    path.write_bytes(path.read_bytes()[:40])
    assert _forked(lambda: _life(tmp_path, parts)) == 0
    assert _dump(tmp_path) == whole[1]


def test_a_run_whose_start_is_damaged_says_which_file_and_what_to_do(
    parts: Path, tmp_path: Path
) -> None:
    def die() -> None:
        finish = RunWriter.finish

        def finished(self: RunWriter, result: object) -> None:
            if self.run.name == "rte.dtvg.s0":
                os._exit(9)
            finish(self, result)  # type: ignore[arg-type]

        RunWriter.finish = finished  # type: ignore[assignment, method-assign]
        _life(tmp_path, parts)

    assert _forked(die) == 9
    run = ExperimentDir(tmp_path / "runs" / "tiny").run("rte.dtvg.s0")
    path = run.prompts_dir / "initial.safetensors"
    path.write_bytes(path.read_bytes()[:40])
    assert _forked(lambda: _life(tmp_path, parts)) == 0
    seen = open_run(run.path)
    assert seen.state is RunState.FAILED and str(path) in seen.message
    assert "restore the file from a copy, or delete the run" in seen.message


def test_what_a_run_says_of_its_sources_is_said_though_it_died_and_the_bank_is_damaged(
    parts: Path, whole: tuple[int, dict[str, object]], tmp_path: Path
) -> None:
    def die() -> None:
        commit = CohortWriter.commit

        def committed(self: CohortWriter, snapshot: Snapshot) -> None:
            if "rte.dtvg.s0" in self.writers:
                os._exit(9)  # its initial prompts are written, its first event is not
            commit(self, snapshot)

        CohortWriter.commit = committed  # type: ignore[method-assign]
        _life(tmp_path, parts)

    assert _forked(die) == 9
    (entry,) = (tmp_path / "bank").glob("sst2-*")
    (entry / "prompt.safetensors").write_bytes(b"")
    assert _forked(lambda: _life(tmp_path, parts)) == 0
    events = read_table(open_run(tmp_path / "runs" / "tiny" / "rte.dtvg.s0"), "events").to_pandas()
    assert "weak_source" in set(events["kind"]) and _dump(tmp_path) == whole[1]
