"""A whole experiment through files: the log as specified; no crash loses or doubles a row."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml

from dtvg.config import RunConfig, build_config
from dtvg.errors import JobError
from dtvg.records import RunState
from dtvg.store.bank import PromptBank
from dtvg.store.layout import ExperimentDir, create_experiment
from dtvg.store.reader import list_runs, open_run, read_prompts, read_table
from dtvg.store.verify import verify_run
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import procedures
from dtvg.training.procedures import run_experiment
from dtvg.training.stages import transfer_inputs

TIMES = ("seconds", "step_ms", "device_mem_gib")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parts")


def _run(parts: Path, folder: Path, **changes) -> ExperimentDir:
    config = build_config(tiny_config(parts, **changes))
    experiment = create_experiment(config, folder / "runs")
    run_experiment(experiment, bank=PromptBank(folder / "bank"))
    return experiment


def test_every_run_of_an_experiment_is_recorded_as_specified(parts: Path, tmp_path: Path) -> None:
    methods = [
        "none",
        "target_only",
        "single",
        "spot",
        "all_sources",
        "all_for_one",
        "dtvg",
        *(
            {"name": "dtvg", "rule": rule}
            for rule in ("similarity_only", "consistency_only", "exact", "fixed", "empty")
        ),
    ]
    experiment = _run(parts, tmp_path, methods=methods, seeds=[0, 1])
    runs = list_runs(tmp_path / "runs")
    assert len([r for r in runs if r.role == "transfer"]) == 28
    assert {r.state for r in runs} == {RunState.FINISHED}
    for run in runs:
        assert verify_run(run.path) == [], run.name
        expected = {"all_for_one": 18}.get(run.method_name, 12 if run.role == "transfer" else 6)
        assert read_table(run, "steps").num_rows == expected == run.result.steps
        evals = read_table(run, "evals").to_pandas()
        scored = set(evals[evals.split == "validation"].step)
        assert scored == {*range(0, expected + 1, 5), expected}
    tuned = open_run(experiment.run("rte.spot.s0").path)
    assert tuned.result.extra["chosen_source"] in ("sst2", "cola", "mrpc")


def test_stage_one_is_never_trained_twice(parts: Path, tmp_path: Path) -> None:
    _run(parts, tmp_path, name="first")
    before = {p.fingerprint: p.created for p in PromptBank(tmp_path / "bank").list()}
    assert len(before) == 4
    _run(parts, tmp_path, name="second", methods=["dtvg", "target_only"])
    assert {p.fingerprint: p.created for p in PromptBank(tmp_path / "bank").list()} == before
    names = [r.name for r in list_runs(tmp_path / "runs", "second")]
    assert not any(name.startswith("stage1") for name in names)


def test_running_a_finished_experiment_again_changes_nothing(parts: Path, tmp_path: Path) -> None:
    experiment = _run(parts, tmp_path)
    files = {p: p.stat().st_mtime_ns for p in experiment.path.rglob("*.parquet")}
    run_experiment(experiment, bank=PromptBank(tmp_path / "bank"))
    assert {p: p.stat().st_mtime_ns for p in experiment.path.rglob("*.parquet")} == files

    first = next(run for run in experiment.runs() if run.name.startswith("stage1."))
    whole = open_run(first.path)
    first.status_path.write_bytes(b"")
    run_experiment(experiment, bank=PromptBank(tmp_path / "bank"))
    again = open_run(first.path)
    assert (again.state, again.step, again.result) == (whole.state, whole.step, whole.result)


def _spawn(folder: Path, file: Path, *more: str) -> subprocess.Popen:
    environment = {
        **os.environ,
        "DTVG_HOME": str(folder / "home"),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "dtvg", "run", str(file), "--runs-dir", str(folder / "runs")]
    return subprocess.Popen(
        [*command, *more],
        cwd=Path(__file__).parents[2],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _history(run_path: Path) -> dict:
    run = open_run(run_path)
    steps = read_table(run, "steps").to_pandas().drop(columns=list(TIMES))
    evals = read_table(run, "evals").to_pandas().drop(columns=["seconds"])
    sources = read_table(run, "sources").to_pandas()
    return {
        "steps": steps,
        "sources": sources,
        "evals": evals,
        "prompts": {w: read_prompts(run, w) for w in ("best", "final")},
    }


def _assert_equal(one: dict, other: dict) -> None:
    for table in ("steps", "sources", "evals"):
        left, right = one[table], other[table]
        assert len(left) == len(right), table
        for column in left:
            if column == "gram":
                pairs = zip(left[column], right[column], strict=True)
                assert all((a is None and b is None) or np.array_equal(a, b) for a, b in pairs)
            else:
                assert left[column].equals(right[column]), (table, column)
    for which, tensors in one["prompts"].items():
        for name, tensor in tensors.items():
            assert np.array_equal(tensor, other["prompts"][which][name]), (which, name)


@pytest.mark.slow
def test_after_kill_9_and_resume_the_history_is_that_of_an_unbroken_run(
    parts: Path, tmp_path: Path
) -> None:
    settings = tiny_config(parts, methods=["none", "dtvg", {"name": "dtvg", "rule": "fixed"}])
    settings["optim"]["steps"] = 1000
    settings["evaluation"]["every"] = 400
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(settings))
    whole = tmp_path / "whole"
    assert _spawn(whole, file).wait(timeout=300) == 0
    broken = tmp_path / "broken"
    kills = 0
    for _ in range(4):
        process = _spawn(broken, file)
        path = broken / "runs" / "tiny" / "rte.dtvg.s0"
        start = _committed(path)
        while process.poll() is None and _committed(path) < start + 60:
            time.sleep(0.02)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            time.sleep(1.1)  # the truth about a process is looked up twice a second
            seen = open_run(path)
            assert seen.state in (RunState.LOST, RunState.WAITING)
            steps = read_table(seen, "steps", ["step"]).column("step").to_pylist()
            assert steps == list(range(1, len(steps) + 1))
        else:
            assert process.returncode == 0, process.stderr.read()
    assert kills >= 1
    assert _spawn(broken, file).wait(timeout=300) == 0
    for name in ("rte.none.s0", "rte.dtvg.s0", "rte.dtvg-fixed.s0"):
        path = broken / "runs" / "tiny" / name
        assert verify_run(path) == []
        _assert_equal(_history(whole / "runs" / "tiny" / name), _history(path))
        kinds = read_table(open_run(path), "events").column("kind").to_pylist()
        assert kinds.count("started") == 1 and "resumed" in kinds


def _committed(path: Path) -> int:
    return read_table(open_run(path), "steps", ["step"]).num_rows if path.is_dir() else 0


@pytest.mark.slow
def test_a_stop_request_ends_one_run_and_resume_finishes_it(parts: Path, tmp_path: Path) -> None:
    settings = tiny_config(parts, methods=["none", "dtvg"])
    settings["optim"]["steps"] = 300
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(settings))
    process = _spawn(tmp_path, file)
    path = tmp_path / "runs" / "tiny" / "rte.dtvg.s0"
    while process.poll() is None and _committed(path) < 20:
        time.sleep(0.02)
    from dtvg.jobs import launcher

    assert launcher.stop(ExperimentDir(path.parent), ["rte.dtvg.s0"]) == ["rte.dtvg.s0"]
    with pytest.raises(JobError, match="being trained already"):
        launcher.resume(ExperimentDir(path.parent))
    process.wait(timeout=300)
    stopped = open_run(path)
    assert stopped.state is RunState.STOPPED and 0 < stopped.step < 300
    assert open_run(path.parent / "rte.none.s0").state is RunState.FINISHED
    assert _spawn(tmp_path, file).wait(timeout=300) == 0
    assert verify_run(path) == [] and open_run(path).result.steps == 300


def test_a_non_finite_loss_ends_that_run_only_and_says_where(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poison(run: RunConfig, *given: object) -> dict[str, np.ndarray]:
        made = transfer_inputs(run, *given)  # type: ignore[arg-type]
        if run.name == "rte.dtvg.s0":
            made["source_vectors"] = np.full_like(made["source_vectors"], np.inf)
        return made

    monkeypatch.setattr(procedures, "transfer_inputs", poison)
    config = build_config(tiny_config(parts, name="poisoned", methods=["none", "dtvg"]))
    poisoned = create_experiment(config, tmp_path / "runs")
    run_experiment(poisoned, bank=PromptBank(tmp_path / "bank"))
    run = poisoned.run("rte.dtvg.s0")
    failed = open_run(run.path)
    assert failed.state is RunState.FAILED
    assert "at step 1" in failed.message and "group" in failed.message
    event = read_table(failed, "events").to_pandas().query("kind == 'failed'")
    assert len(event) == 1
    assert open_run(poisoned.run("rte.none.s0").path).state is RunState.FINISHED


def test_two_processes_cannot_train_one_experiment(parts: Path, tmp_path: Path) -> None:
    config = build_config(tiny_config(parts))
    experiment = create_experiment(config, tmp_path / "runs")
    bank = PromptBank(tmp_path / "bank")
    with experiment.lock(), ThreadPoolExecutor(1) as other:
        with pytest.raises(JobError, match="is being trained by process"):
            other.submit(run_experiment, experiment, bank=bank).result()
        with experiment.lock():  # who holds it may go in again
            pass


def test_prompts_of_the_bank_stand_in_for_tuning_and_lend_their_start(
    parts: Path, tmp_path: Path
) -> None:
    first = _run(parts, tmp_path, methods=["all_sources"], optim={"stage1_steps": 4, "steps": 4})
    bank = PromptBank(tmp_path / "bank")
    given = {p.task: p.fingerprint[:12] for p in bank.list() if p.task in ("sst2", "cola")}
    prompt = {"length": 4, "given": given, "init_seed": 99}
    changes = {"name": "given", "methods": ["all_sources"], "prompt": prompt}
    second = _run(parts, tmp_path, **changes, optim={"stage1_steps": 4, "steps": 4})
    assert not second.run("stage1.sst2.s0").path.exists()
    assert second.run("stage1.mrpc.s0").path.exists()
    ours, theirs = (
        read_prompts(open_run(e.run("rte.all_sources.s0").path), "initial") for e in (first, second)
    )
    assert np.array_equal(ours["init"], theirs["init"]), "not the start of seed 99"
    assert np.array_equal(ours["source_vectors"], theirs["source_vectors"])


def test_a_source_that_did_not_learn_is_named_in_the_events(parts: Path, tmp_path: Path) -> None:
    optim = {"stage1_steps": 2, "steps": 2, "lr_stage1": 1e-12}
    experiment = _run(parts, tmp_path, methods=["all_sources", "none"], optim=optim)
    events = read_table(open_run(experiment.run("rte.all_sources.s0").path), "events").to_pandas()
    weak = events[events["kind"] == "weak_source"]
    assert len(weak) == 3 and weak["detail"].str.contains("did not move").all()
    other = read_table(open_run(experiment.run("rte.none.s0").path), "events").to_pandas()
    assert "weak_source" not in set(other["kind"])
