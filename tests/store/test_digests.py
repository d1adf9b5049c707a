"""A changed bit, a missing part and edited settings are noticed; nothing is trained with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save, save_file

from dtvg.errors import StoreError
from dtvg.records import RunResult
from dtvg.store import digests
from dtvg.store.bank import PromptBank
from dtvg.store.layout import ExperimentDir, RunDir, check_unchanged, load_experiment
from dtvg.store.reader import open_run, read_prompts
from dtvg.store.recovery import FELL_BACK
from dtvg.store.tables import parts, read_checked, to_arrow, write_parquet
from dtvg.store.verify import verify_run, written_before_digests
from dtvg.store.writer import CohortWriter, compact
from tests.store import faults
from tests.store.test_trouble import prompt


class Trial:
    """A cohort of two runs with commits at steps 5 and 10."""

    def __init__(self, root: Path, owner: str | None = None) -> None:
        self.root = root
        writer, step = faults.open_cohort(root)
        for run in writer.writers.values():
            run.run_id = owner or run.run_id
        for end in (5, 10):
            for name, run in writer.writers.items():
                faults.add_rows(run, name, end)
            state = {f"{name}/w": np.full(3, end, dtype=np.float32) for name in faults.NAMES}
            runs = {name: {"step": end, "result": None} for name in faults.NAMES}
            writer.commit(writer.snapshot(state, {"step": end, "runs": runs}))
        self.cohort, self.writers = writer.cohort, writer.writers

    @property
    def runs(self) -> dict[str, RunDir]:
        return {name: writer.run for name, writer in self.writers.items()}

    def recover(self):
        return CohortWriter.recover(self.cohort, self.runs)

    def steps(self, name: str = "lake.dtvg.s0") -> list[int]:
        return faults.tables(self.root, name)["steps"]["step"].tolist()


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def _flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 64
    path.write_bytes(content)


def test_an_undamaged_commit_is_gone_on_from(trial: Trial) -> None:
    tensors, meta = trial.recover()
    assert meta["step"] == 10 and FELL_BACK not in meta
    assert tensors["lake.dtvg.s0/w"].tolist() == [10, 10, 10]
    assert meta["runs"]["lake.dtvg.s0"]["rows"]["steps"] == 10


def _bit_of_state(trial: Trial) -> None:
    _flip(trial.cohort.state_path, -2)


def _missing_tensor(trial: Trial) -> None:
    path = trial.cohort.state_path
    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    del tensors["lake.none.s0/w"]
    save_file(tensors, path, metadata=metadata)


def _no_state(trial: Trial) -> None:
    trial.cohort.state_path.unlink()


def _no_last_part(trial: Trial) -> None:
    parts(trial.runs["lake.dtvg.s0"].table_dir("steps"))[-1].path.unlink()


def _no_last_evals(trial: Trial) -> None:
    parts(trial.runs["lake.none.s0"].table_dir("evals"))[-1].path.unlink()


def _bit_of_last_part(trial: Trial) -> None:
    path = parts(trial.runs["lake.dtvg.s0"].table_dir("sources"))[-1].path
    _flip(path, path.stat().st_size // 3)


def _last_part_of_another(trial: Trial) -> None:
    mine, others = (trial.runs[name].table_dir("steps") for name in faults.NAMES)
    shutil.copy(parts(others)[-1].path, parts(mine)[-1].path)


def _state_of_another(trial: Trial) -> None:
    shutil.copy(Trial(trial.root / "other", "another").cohort.state_path, trial.cohort.state_path)


def _bit_of_state_in_a_merge(trial: Trial) -> None:
    """The merged files are there, and those that they replace still too."""
    for run in trial.runs.values():
        for table in ("steps", "sources", "evals", "events"):
            small = {part.path: part.path.read_bytes() for part in parts(run.table_dir(table))}
            compact(run, table, 1000, everything=True)
            for path, content in small.items():
                path.write_bytes(content)
    _bit_of_state(trial)


DAMAGES = [
    _bit_of_state, _bit_of_state_in_a_merge, _missing_tensor, _no_state, _no_last_part,
    _no_last_evals, _bit_of_last_part, _last_part_of_another, _state_of_another,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_commit_falls_back_to_the_one_before(trial: Trial, damage) -> None:
    damage(trial)
    tensors, meta = trial.recover()
    assert meta["step"] == 5 and "so the one before it counts" in meta[FELL_BACK]
    assert tensors["lake.dtvg.s0/w"].tolist() == [5, 5, 5]
    for name in faults.NAMES:
        assert trial.steps(name) == [1, 2, 3, 4, 5]
        rows = faults.tables(trial.root, name)
        assert set(rows["events"]["step"]) == {5} == set(rows["evals"]["step"])
    again, meta = trial.recover()
    assert meta["step"] == 5 and FELL_BACK not in meta and again.keys() == tensors.keys()


def test_a_whole_file_of_another_run_is_damage(trial: Trial) -> None:
    mine, other = (trial.runs[name] for name in faults.NAMES)
    for name in faults.NAMES:
        tensors = {"mixed_prompt": np.full((2, 2), len(name), dtype=np.float32)}
        trial.writers[name].write_prompts("initial", tensors, {"run": name})
    before = verify_run(mine.path)
    shutil.copy(other.prompts_dir / "initial.safetensors", mine.prompts_dir)
    with pytest.raises(StoreError, match="prompts of another run"):
        read_prompts(open_run(mine.path), "initial")
    shutil.copy(parts(other.table_dir("evals"))[0].path, parts(mine.table_dir("evals"))[0].path)
    told = sorted(set(verify_run(mine.path)) - set(before))
    assert ["evals" in t or "initial" in t for t in told] == [True, True], told
    made = json.loads(mine.provenance_path.read_text())
    mine.provenance_path.write_text(json.dumps({**made, "run_id": None}))  # as in older folders
    assert read_prompts(open_run(mine.path), "initial")["mixed_prompt"].shape == (2, 2)
    assert verify_run(mine.path) == before


def test_rows_merged_beyond_the_older_commit_are_cut(trial: Trial) -> None:
    for run in trial.runs.values():
        for table in ("steps", "sources", "evals", "events"):
            compact(run, table, 100, everything=True)
    _bit_of_state(trial)
    _, meta = trial.recover()
    assert meta["step"] == 5 and trial.steps() == [1, 2, 3, 4, 5]
    assert verify_run(trial.runs["lake.dtvg.s0"].path) == []


def _without_rows(path: Path) -> None:
    """Write a commit as it was before it said how many rows each table has."""
    with safe_open(path, framework="np") as file:
        text = json.loads(file.metadata()["dtvg"])
    for run in text["meta"]["runs"].values():
        del run["rows"]
    save_file(load_file(path), path, metadata={"dtvg": json.dumps(text)})


@pytest.mark.parametrize("which", ["both states", "an early part", "one of before digests"])
def test_where_no_whole_commit_is_left_nothing_is_erased(trial: Trial, which: str) -> None:
    if which == "both states":
        _bit_of_state(trial)
        _flip(trial.cohort.before_path, -2)
    elif which == "one of before digests":
        _bit_of_state(trial)
        _without_rows(trial.cohort.before_path)
    else:
        parts(trial.runs["lake.dtvg.s0"].table_dir("steps"))[0].path.unlink()
    before = sorted(trial.root.rglob("part-*"))
    with pytest.raises(StoreError, match="damaged|has 0 of 10 committed rows"):
        trial.recover()
    assert sorted(trial.root.rglob("part-*")) == before


def test_a_missing_commit_erases_no_rows(trial: Trial) -> None:
    shutil.rmtree(trial.cohort.path)
    trial.cohort.path.mkdir()
    with pytest.raises(StoreError, match="is missing, though .* has rows"):
        trial.recover()
    assert trial.steps() == list(range(1, 11))


def test_links_are_neither_followed_nor_emptied(trial: Trial, tmp_path: Path) -> None:
    away = tmp_path / "home"
    away.mkdir()
    for name in (".bashrc", ".profile", ".part-000000001-000000005.parquet"):
        (away / name).write_text("precious")
    folder = trial.runs["lake.none.s0"].table_dir("predictions")
    folder.symlink_to(away)
    mine = trial.runs["lake.dtvg.s0"].table_dir("steps")
    (mine / ".notes").write_text("precious")
    (mine / ".part-000000099-000000100.parquet").write_text("left by a kill")
    trial.recover()
    assert len(list(away.iterdir())) == 3 and (mine / ".notes").exists()
    assert not (mine / ".part-000000099-000000100.parquet").exists()


def test_a_commit_is_seen_whole_before_its_files_have_their_names(trial: Trial) -> None:
    for table in ("steps", "events"):
        part = parts(trial.runs["lake.dtvg.s0"].table_dir(table))[-1]
        part.path.rename(part.path.with_name(f".{part.path.name}"))
    assert trial.steps() == list(range(1, 11))
    assert verify_run(trial.runs["lake.dtvg.s0"].path) == []


def test_what_was_written_before_digests_opens_resumes_and_verifies(trial: Trial) -> None:
    for path in trial.root.rglob("part-*"):
        data = pq.read_table(path)
        old = {k: v for k, v in data.schema.metadata.items() if k != b"dtvg_digest"}
        pq.write_table(data.replace_schema_metadata({**old, b"dtvg_schema": b"2"}), path)

    _without_rows(trial.cohort.state_path)
    trial.cohort.before_path.unlink()
    assert trial.recover()[1]["step"] == 10
    path = trial.runs["lake.dtvg.s0"].path
    assert verify_run(path) == [] and written_before_digests(path)


def test_a_part_that_lost_its_digest_is_damaged(trial: Trial) -> None:
    part = parts(trial.runs["lake.dtvg.s0"].table_dir("steps"))[0]
    pq.write_table(
        pq.read_table(part.path).replace_schema_metadata({"dtvg_schema": "3"}), part.path
    )
    with pytest.raises(StoreError, match="rows differ from its digest"):
        read_checked(part.path)


def test_a_result_and_its_rows_are_compared_with_what_was_noted(trial: Trial) -> None:
    name = "lake.none.s0"
    run = trial.runs[name]
    for which in ("initial", "best", "final"):
        tensors = {"mixed_prompt": np.ones((2, 3), dtype=np.float32)}
        trial.writers[name].write_prompts(which, tensors, {"run": name})
    best = 0.5 + 10 / 1000
    result = RunResult(10, best, 0.4, {"accuracy": 0.4}, 10, 1.0, 3, {}, {"accuracy": [0.1, 0.9]})
    trial.writers[name].finish(result)
    assert verify_run(run.path) == [] and not written_before_digests(run.path)
    kept = run.result_path.read_text()
    run.result_path.write_text(kept.replace("0.4", "0.99", 1))
    assert any("differs from its digest" in p for p in verify_run(run.path))
    run.result_path.write_text(kept)
    _flip(run.prompts_dir / "best.safetensors", -3)
    assert any("best.safetensors" in p and "damaged" in p for p in verify_run(run.path))


def test_edited_settings_are_refused_with_the_way_out(trial: Trial) -> None:
    experiment = ExperimentDir(trial.root / "trial")
    check_unchanged(*load_experiment(experiment.path))
    kept = experiment.config_path.read_text()
    edited = kept.replace("lr_prompt: 0.001", "lr_prompt: 0.5")
    assert edited != kept
    experiment.config_path.write_text(edited)
    with pytest.raises(StoreError, match=r"optim\.lr_prompt.*runs fork .*new name"):
        check_unchanged(*load_experiment(experiment.path))
    run = experiment.run("lake.none.s0")
    assert any("experiment.yaml was changed" in p for p in verify_run(run.path))
    experiment.config_path.write_text(kept + "\n# a remark\n")
    check_unchanged(*load_experiment(experiment.path))
    run.config_path.write_text(run.config_path.read_text().replace("0.001", "0.5"))
    with pytest.raises(StoreError, match="config.yaml' was changed after the run was made"):
        check_unchanged(*load_experiment(experiment.path))
    assert any("config.yaml was changed" in p for p in verify_run(run.path))


def test_the_bank_knows_its_entries_by_their_content(tmp_path: Path) -> None:
    bank = PromptBank(tmp_path)
    bank.put(prompt())
    bank.put(prompt(1))
    one, other = (tmp_path / f"lake-{seed:016x}" for seed in (0, 1))
    for name in ("prompt.json", "prompt.safetensors"):
        shutil.copy(other / name, one / name)
    with pytest.raises(StoreError, match="contains the prompt"):
        bank.find(f"{0:016x}")
    facts = json.loads((other / "prompt.json").read_text())
    (other / "prompt.json").write_text(json.dumps({**facts, "score": 0.99}))
    with pytest.raises(StoreError, match="damaged"):
        bank.find(f"{1:016x}")
    (other / "prompt.json").write_text(json.dumps(digests.with_digest({**facts, "later": 1})))
    assert bank.find(f"{1:016x}") is not None  # of a newer version, which says more


def test_the_digest_of_a_table_survives_its_file_and_knows_every_value(tmp_path: Path) -> None:
    rows = {"step": [1, 2], "seconds": [0.1, 0.2], "kind": ["a", "é"], "detail": ["x", ""],
            "subject": [None, "s"]}  # fmt: skip
    data = to_arrow("events", rows)
    write_parquet(data, tmp_path / "a")
    assert digests.of_table(read_checked(tmp_path / "a")) == digests.of_table(data)
    joined = pa.concat_tables([data.slice(0, 1), data.slice(1, 1)])
    assert digests.of_table(joined) == digests.of_table(data)
    for column, value in (("kind", ["aé", ""]), ("subject", ["", "s"]), ("step", [1, 3])):
        assert digests.of_table(to_arrow("events", {**rows, column: value})) != digests.of_table(
            data
        )


def test_equal_tensors_and_metadata_are_equal_bytes(tmp_path: Path) -> None:
    arrays = {"prompt": np.ones((2, 3), np.float32), "a": np.arange(3)}
    words = {f"é{number}": str(number) for number in range(6)}
    written = {digests.ordered(save(arrays, metadata=words)) for _ in range(20)}
    assert len(written) == 1
    (tmp_path / "x.safetensors").write_bytes(written.pop())
    with safe_open(tmp_path / "x.safetensors", framework="np") as file:
        assert file.metadata() == words
        assert all((file.get_tensor(name) == value).all() for name, value in arrays.items())
