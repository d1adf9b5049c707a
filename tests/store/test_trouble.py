"""Folders and disks as they are found in life: read-only, damaged, foreign, half-written, busy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save

from dtvg.analysis.run.groups import group_info
from dtvg.cli import main
from dtvg.errors import StoreError
from dtvg.records import RunState
from dtvg.store import trash
from dtvg.store.bank import PromptBank, TaskPrompt
from dtvg.store.files import replace_bytes
from dtvg.store.layout import ExperimentDir, create_experiment
from dtvg.store.reader import list_experiments, list_runs, open_run, read_prompts, read_table
from dtvg.store.verify import verify_run
from tests.analysis.factory import config, record
from tests.store import faults

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kept")
    experiment = record(root, config(targets=["lake"], seeds=[0]), steps=20)
    for run in experiment.runs:
        for which in ("initial", "best", "final"):
            tensors = save({"mixed_prompt": np.zeros((4, 8), dtype=np.float32)})
            replace_bytes(run.directory.prompts_dir / f"{which}.safetensors", tensors)
    return root


@pytest.fixture
def runs(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept, tmp_path / "runs"))


def _refuse(*args: object, **kwargs: object) -> None:
    raise OSError(30, "Read-only file system")


def test_a_read_only_folder_is_one_sentence(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Path, "mkdir", _refuse)
    with pytest.raises(StoreError, match="Read-only file system.*--runs-dir"):
        create_experiment(config(), tmp_path / "none" / "runs")


def test_a_commit_to_a_disk_gone_read_only_keeps_the_rows_for_the_next(
    tmp_path: Path, monkeypatch
) -> None:
    cohort, _ = faults.open_cohort(tmp_path)
    for name, writer in cohort.writers.items():
        faults.add_rows(writer, name, 5)
    refused = cohort.snapshot({}, {"step": 5})
    with monkeypatch.context() as patched:
        patched.setattr(Path, "mkdir", _refuse)
        with pytest.raises(StoreError, match="Read-only"):
            cohort.commit(refused)
    for name in faults.NAMES:
        assert faults.tables(tmp_path, name)["steps"].empty
    cohort.commit(refused)
    for name in faults.NAMES:
        assert faults.tables(tmp_path, name)["steps"]["step"].tolist() == [1, 2, 3, 4, 5]


def test_a_refused_write_leaves_the_old_file_whole_and_no_other(
    tmp_path: Path, monkeypatch
) -> None:
    path = tmp_path / "state"
    replace_bytes(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda handle: faults.full())
    with pytest.raises(StoreError, match="No space left"):
        replace_bytes(path, b"new and longer")
    with pytest.raises(StoreError, match="No space left"):
        replace_bytes(tmp_path / "folder" / "state", b"new")
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["state"]


DAMAGE = {
    "status.json": "no readable status",
    "config.yaml": "configuration",
    "steps": "not a readable Parquet",
}


@pytest.mark.parametrize("what", ["status.json", "config.yaml", "steps"])
@pytest.mark.parametrize(
    "content", [b"", b"{half a", b"\x00\xff" * 50], ids=["empty", "half", "noise"]
)
def test_a_damaged_file_is_named_and_the_other_runs_are_read(
    runs: Path, what: str, content: bytes
) -> None:
    run = runs / "trial" / "lake.dtvg.s0"
    path = run / what if what != "steps" else next((run / "steps").glob("part-*"))
    path.write_bytes(content)
    wrong = verify_run(run)
    assert len(wrong) == 1 and DAMAGE[what] in wrong[0]
    assert verify_run(runs / "trial" / "lake.none.s0") == []
    assert len(list_runs(runs)) == len(list_experiments(runs)[0].runs)


def test_a_damaged_result_does_not_pass_for_a_finished_run(runs: Path) -> None:
    run = runs / "trial" / "lake.dtvg.s0"
    (run / "result.json").write_text('{"best_step": 1}')
    assert open_run(run).problem == "result.json contains something other than a result"


def test_a_result_of_a_newer_version_is_read_without_what_it_adds(runs: Path) -> None:
    path = next(runs.glob("*/*/result.json"))
    path.write_text(path.read_text().replace("{", '{"added_later": 1,', 1))
    assert open_run(path.parent).state is RunState.FINISHED
    assert open_run(path.parent).problem is None


def test_files_of_strangers_in_a_runs_folder_are_passed_over(runs: Path) -> None:
    run = runs / "trial" / "lake.dtvg.s0"
    for table in ("steps", "sources", "evals"):
        for name in ("notes.txt", "part-1.parquet", ".part-000000001-000000099.parquet", "copy"):
            (run / table / name).write_text("mine")
        (run / table / "part-folder").mkdir()
    (runs / "trial" / "cohorts" / "notes.txt").write_text("mine")
    (runs / "file").write_text("mine")
    assert verify_run(run) == []
    assert read_table(open_run(run), "steps").num_rows == 20
    assert len(list_experiments(runs)) == 1


def test_a_folder_of_somebody_else_is_nobody_s_run(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (runs / "wandb" / "run-1" / "files").mkdir(parents=True)
    (runs / "wandb" / "run-1" / "config.yaml").write_text("a: 1")
    (runs / "empty").mkdir()
    shutil.copytree(runs / "trial", runs / "lost")
    (runs / "lost" / "experiment.yaml").unlink()  # still ours
    shutil.copytree(runs / "lost", runs / "bare")
    for name in ("plan.json", "versions.json"):
        (runs / "bare" / name).unlink(missing_ok=True)
    assert {r.experiment for r in list_runs(runs)} == {"trial", "lost", "bare"}
    assert {e.name for e in list_experiments(runs)} == {"trial", "lost", "bare"}
    assert main(["runs", "list", "--runs-dir", str(runs)]) == 0
    said = capsys.readouterr().out.strip().splitlines()
    assert said[-1] == "Left out, since they are no experiments: 'empty', 'wandb'."
    assert not any("wandb" in line for line in said[:-1])


def test_a_folder_without_a_status_is_shown_as_no_run(runs: Path) -> None:
    (runs / "trial" / "photos").mkdir()
    seen = {r.name: r for r in list_runs(runs)}["photos"]
    assert seen.state is RunState.FAILED and "not the folder of a run" in (seen.problem or "")
    assert verify_run(seen.path) and seen.config is None


def test_tensors_cut_short_are_one_sentence(runs: Path) -> None:
    run = open_run(runs / "trial" / "lake.dtvg.s0")
    folder = run.directory.prompts_dir
    folder.mkdir(exist_ok=True)
    (folder / "final.safetensors").write_bytes(b"\x00" * 11)
    with pytest.raises(StoreError, match="damaged"):
        read_prompts(run, "final")


def test_a_damaged_state_is_refused_with_what_to_do(tmp_path: Path) -> None:
    cohort, step = faults.open_cohort(tmp_path)
    faults.train(cohort, step, 5, cohort.commit)
    cohort.cohort.state_path.write_bytes(b"\x01" * 100)
    with pytest.raises(StoreError, match="damaged.*Delete their folders"):
        faults.open_cohort(tmp_path)
    assert len(faults.tables(tmp_path, "lake.dtvg.s0")["steps"]) == 5


def prompt(seed: int = 0) -> TaskPrompt:
    rng = np.random.default_rng(seed)
    init = rng.normal(size=(4, 8)).astype(np.float32)
    return TaskPrompt(
        "lake", ("a", "b"), "tiny", "0", seed, init, init + 1, 0.5, {"score": 0.5},
        f"{seed:016x}", "float32", {}, 0.0,
    )  # fmt: skip


@pytest.mark.parametrize("file", ["prompt.json", "prompt.safetensors"])
def test_a_damaged_entry_of_the_bank_is_never_used(tmp_path: Path, file: str) -> None:
    bank = PromptBank(tmp_path)
    bank.put(prompt())
    bank.put(prompt(1))
    path = tmp_path / f"lake-{0:016x}" / file
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(StoreError, match="damaged"):
        bank.find(f"{0:016x}")
    assert [p.seed for p in bank.list()] == [1]
    assert [name for name, wrong in bank.check().items() if wrong] == [f"lake-{0:016x}"]
    bank.put(prompt())
    assert bank.find(f"{0:016x}") is not None


def test_an_entry_cut_off_before_its_json_is_no_entry(tmp_path: Path) -> None:
    bank = PromptBank(tmp_path)
    bank.put(prompt())
    (tmp_path / f"lake-{0:016x}" / "prompt.json").unlink()
    assert bank.find(f"{0:016x}") is None and bank.list() == []


TUNE = """
import sys, time
from pathlib import Path
from dtvg.store.bank import PromptBank
from tests.store.test_trouble import prompt
bank = PromptBank(Path(sys.argv[1]))
keys = [f"{s:016x}" for s in (range(3) if sys.argv[2] == "a" else reversed(range(3)))]
print("ready", flush=True)
sys.stdin.readline()
with bank.lock_all(keys):
    for key in keys:
        if bank.find(key) is None:
            time.sleep(0.05)
            with open(Path(sys.argv[1]) / "tuned", "a") as file:
                file.write(key + chr(10))
            bank.put(prompt(int(key, 16)))
"""


def _tuner(bank: Path, which: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", TUNE, str(bank), which],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_two_processes_never_tune_one_prompt_twice_and_never_wait_for_each_other(
    tmp_path: Path,
) -> None:
    tuners = [_tuner(tmp_path, which) for which in "ab"]
    for process in tuners:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in tuners:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.wait(timeout=60) for process in tuners] == [0, 0]
    tuned = (tmp_path / "tuned").read_text().split()
    assert sorted(tuned) == [f"{s:016x}" for s in range(3)]


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    bank = PromptBank(tmp_path)
    child = os.fork()
    if child == 0:
        with bank.lock("key"):
            (tmp_path / "held").write_text("")
            time.sleep(60)
        os._exit(0)
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    with bank.lock("key"):
        pass


def test_a_folder_that_may_not_be_looked_into_stops_nobody_else(
    runs: Path, own_home: Path, monkeypatch, capsys
) -> None:
    """Root may look into every folder, so the system's refusal is made here."""
    closed, held = runs / "closed", own_home / "trash" / "20200101-000000-z"
    for folder in (closed, held):
        folder.mkdir(parents=True)
    look = os.stat

    def refuse(path, *more, **named):
        if isinstance(path, str | Path) and {closed, held} & {*Path(path).parents}:
            raise PermissionError(13, "Permission denied", str(path))
        return look(path, *more, **named)

    monkeypatch.setattr(os, "stat", refuse)
    assert trash.deleted() == [] and ExperimentDir(closed).cohorts() == []
    assert main(["runs", "list", "--runs-dir", str(runs)]) == 0
    assert main(["runs", "show", "nonesuch", "--runs-dir", str(runs)]) == 2
    assert "Unknown experiment 'nonesuch'" in capsys.readouterr().err


@pytest.mark.parametrize(("table", "column"), [("sources", "source"), ("steps", "step")])
def test_values_that_are_missing_where_each_row_has_one_are_named(
    runs: Path, table: str, column: str
) -> None:
    run = open_run(runs / "trial" / "lake.dtvg.s0")
    path = next(run.directory.table_dir(table).glob("part-*"))
    data = pq.read_table(path)
    place = data.column_names.index(column)
    field = data.schema.field(place)
    values = pa.array([None, *data.column(column).to_pylist()[1:]], field.type)
    pq.write_table(data.set_column(place, field.with_nullable(True), values), path)
    with pytest.raises(StoreError, match=f"1 values of its column '{column}' are missing"):
        group_info(run)
    assert verify_run(run.path)
    pq.write_table(data.drop_columns([column]), path)
    with pytest.raises(StoreError, match=f"{len(data)} values of its column '{column}' are"):
        group_info(run)
