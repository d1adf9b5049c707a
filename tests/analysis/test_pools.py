"""Experiments that differ only in seeds, targets or methods are one; nothing counts twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file

from dtvg.analysis.claims.info import claims_info
from dtvg.analysis.compare.info import compare_info
from dtvg.analysis.pools import pool, settings_of
from dtvg.cli import main as command
from dtvg.config.experiment import ExperimentConfig
from dtvg.errors import DataError
from dtvg.store.reader import open_experiment
from dtvg.store.verify import verify_run
from tests.analysis.factory import config, record

SMALL: dict[str, Any] = {"targets": ["lake"], "methods": ["none", "dtvg"], "seeds": [0]}


def study(root: Path, name: str, **changes: Any) -> Path:
    record(root, config(name, **{**SMALL, **changes}), steps=12)
    return root / name


def cells(root: Path, *names: str, apart: bool = False) -> dict[tuple[str, str], int]:
    info = compare_info(pool([root / n for n in names], apart).runs)
    return {(r.method, r.target): r.n_seeds for r in info.table.itertuples() if r.n_seeds}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed in (0, 1, 2):
        study(tmp_path, f"arr{seed}", seeds=[seed], notes=f"task {seed}")
    return tmp_path


def test_array_tasks_of_one_seed_each_are_one_experiment_with_all_seeds(root: Path) -> None:
    together = pool([root / f"arr{i}" for i in (2, 0, 1)])
    assert len(together.pools) == 1 and together.pools[0].config.seeds == (0, 1, 2)
    assert cells(root, "arr0", "arr1", "arr2") == {("none", "lake"): 3, ("dtvg", "lake"): 3}
    assert "3 seeds, 1 target, 2 methods" in together.notes[0]
    apart = cells(root, "arr0", "arr1", apart=True)
    assert apart[("arr1: dtvg", "lake")] == 1 and len(apart) == 4
    verdicts = compare_info(together.runs).verdicts
    assert set(verdicts["n_seeds"]) == {3}


def test_targets_and_methods_in_other_experiments_fill_the_table(root: Path) -> None:
    study(root, "moor", targets=["moor"], seeds=[0, 1, 2])
    study(root, "all", methods=["all_sources"], seeds=[0, 1, 2])
    found = cells(root, "arr0", "arr1", "arr2", "moor", "all")
    assert found[("dtvg", "moor")] == found[("all_sources", "lake")] == 3
    assert found[("dtvg", "average")] == 3


@pytest.mark.parametrize(
    ("changes", "one"),
    [
        ({"optim": {"steps": 60, "stage1_steps": 5, "lr_prompt": 0.5}}, False),
        ({"sources": ["amber", "birch"]}, False),
        ({"data": {"seed": 1}}, False),
        ({"device": {"precision": "bfloat16"}}, False),
        ({"prompt": {"length": 4, "given": {"amber": "ab"}}}, False),
        ({"device": {"name": "cpu", "threads": 1}}, True),
        ({"device": {"compile": "off", "graphs": "off"}}, True),
        ({"scale": {"on": "local"}}, True),
        ({"data": {"folder": "/elsewhere"}, "logging": {"commit_seconds": 60}}, True),
    ],
)
def test_everything_else_tells_experiments_apart(
    root: Path, changes: dict[str, Any], one: bool
) -> None:
    study(root, "other", seeds=[7], **changes)
    assert (len(pool([root / "arr0", root / "other"]).pools) == 1) is one
    told = [open_experiment(root / n).config for n in ("arr0", "other")]
    first, second = (settings_of(c) for c in told if isinstance(c, ExperimentConfig))
    assert (first == second) is one


def test_other_versions_and_forks_stay_apart(root: Path) -> None:
    versions = root / "arr1" / "versions.json"
    versions.write_text(json.dumps({**json.loads(versions.read_text()), "rule": 1}))
    assert len(pool([root / "arr0", root / "arr1"]).pools) == 2
    study(root, "fork", methods=["dtvg"], seeds=[5])
    about = root / "fork" / "lake.dtvg.s5" / "provenance.json"
    about.write_text(
        json.dumps(
            {**json.loads(about.read_text()), "fork_of": {"experiment": "e", "run": "x", "step": 1}}
        )
    )
    assert len(pool([root / "arr0", root / "fork"]).pools) == 2


def test_experiments_of_one_name_in_two_folders_keep_their_own_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = study(tmp_path / "here", "same")
    there = study(tmp_path / "there", "same", optim={"steps": 61, "stage1_steps": 5})
    made = pool([here, there])
    assert [one.name for one in made.pools] == ["same (here)", "same (there)"]
    assert [one.experiment.name for one in made.pools] == ["same (here)", "same (there)"]
    rows = compare_info(made.runs).rows
    assert sorted(rows) == [
        *("same (here): dtvg", "same (here): none"),
        *("same (there): dtvg", "same (there): none"),
    ]
    assert claims_info(made.runs).targets == ("same (here): lake", "same (there): lake")
    assert command(["runs", "compare", str(here), str(there), "--format", "csv"]) == 0
    printed = capsys.readouterr().out
    assert "same (here): none" in printed and "same (there): none" in printed
    deep = study(tmp_path / "other" / "here", "same", optim={"steps": 62, "stage1_steps": 5})
    assert [one.name for one in pool([here, deep]).pools] == [
        f"same ({here.resolve().parent})", f"same ({deep.resolve().parent})",
    ]  # fmt: skip


def test_an_equal_run_counts_once_and_a_different_one_is_named_and_refused(root: Path) -> None:
    study(root, "again", seeds=[0, 1])
    assert cells(root, "arr0", "again") == {("none", "lake"): 2, ("dtvg", "lake"): 2}
    notes = pool([root / "arr0", root / "again"]).notes
    assert any("2 runs there twice, counted once (arr0/lake." in note for note in notes)
    result = root / "again" / "lake.dtvg.s0" / "result.json"
    told = json.loads(result.read_text())
    result.write_text(json.dumps({**told, "test_score": told["test_score"] + 0.01}))
    with pytest.raises(DataError, match=r"'arr0/lake.dtvg.s0' and 'again/lake.dtvg.s0' \(test"):
        pool([root / "arr0", root / "again"])
    assert len(pool([root / "arr0", root / "again"], apart=True).pools) == 2


def test_of_an_unfinished_and_a_finished_run_the_finished_one_counts(root: Path) -> None:
    record(root, config("half", **SMALL), steps=6, unfinished=("lake.dtvg.s0", "lake.none.s0"))
    assert cells(root, "half", "arr0") == {("none", "lake"): 1, ("dtvg", "lake"): 1}


def test_sources_of_other_banks_are_named_with_their_seed(root: Path) -> None:
    import numpy as np

    study(root, "again", methods=["all_sources"], seeds=[0])
    for name, run, value in (("arr0", "lake.dtvg.s0", 1.0), ("again", "lake.all_sources.s0", 2.0)):
        vectors = np.ones((4, 4, 8), dtype=np.float32)
        vectors[2] *= value
        folder = root / name / run / "prompts"
        folder.mkdir(exist_ok=True)
        save_file({"source_vectors": vectors}, folder / "initial.safetensors")
    notes = pool([root / "arr0", root / "again"]).notes
    (said,) = [note for note in notes if "prompt banks" in note]
    assert said.startswith("Seed 0: the prompts of cedar are not the same in again / arr0")
    about = root / "again" / "lake.all_sources.s0" / "provenance.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "prompt_bank": "/mnt/bank"}))
    notes = pool([root / "arr0", root / "again"]).notes
    assert any("taken from 2 prompt banks" in n and "again: '/mnt/bank'" in n for n in notes)


def test_a_declared_comparison_is_tested_on_the_whole_pool(tmp_path: Path) -> None:
    told = {"better": "dtvg", "than": "none", "on": "average"}
    for name, target in (("a", "lake"), ("b", "moor")):
        study(tmp_path, name, targets=[target], seeds=[0, 1, 2], hypothesis=told)
    info = compare_info(pool([tmp_path / "a", tmp_path / "b"]).runs)
    (one,) = info.primary
    assert one.declared.targets == ("lake", "moor") and one.declared.on == "average"
    assert one.row is not None and one.row["n_seeds"] == 3


def test_the_command_line_pools_merges_and_reports(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--runs-dir", str(root)]
    three = ["arr0", "arr1", "arr2"]
    assert command(["runs", "compare", *three, *where, "--format", "csv"]) == 0
    table = capsys.readouterr().out
    assert "dtvg,lake,score,test,3,0 1 2," in table and "arr0: " not in table
    assert command(["runs", "compare", *three, *where, "--apart", "--format", "csv"]) == 0
    assert "arr1: dtvg,lake,score,test,1,1," in capsys.readouterr().out
    assert command(["runs", "report", *three, *where, "--views", "scores", "--out",
                    str(root / "r.html")]) == 0  # fmt: skip
    assert "count as one experiment: 3 seeds" in (root / "r.html").read_text()
    capsys.readouterr()
    assert command(["runs", "merge", *three, *where, "--name", "whole"]) == 0
    assert "whole: 6 of 6 runs are finished" in capsys.readouterr().out
    made = open_experiment(root / "whole")
    assert made.config is not None and made.config.seeds == (0, 1, 2)
    for run in made.runs:  # as sound as it was; these lack prompts
        before = verify_run(root / f"arr{run.seed}" / run.name)
        assert [s.replace("/whole/", f"/arr{run.seed}/") for s in verify_run(run.path)] == before
    assert {run.experiment for run in made.runs} == {"whole"} and (root / "arr0").is_dir()
    assert cells(root, "whole") == cells(root, *three)
    study(root, "odd", seeds=[9], data={"seed": 1})
    assert command(["runs", "merge", "arr0", "odd", *where, "--name", "mixed"]) != 0
    assert "data.seed" in capsys.readouterr().err and not (root / "mixed").exists()


def test_what_is_missing_in_a_merged_experiment_waits(root: Path) -> None:
    study(root, "moor", targets=["moor"], seeds=[1])
    assert command(["runs", "merge", "arr0", "moor", "--runs-dir", str(root), "--name", "w"]) == 0
    states = {run.name: run.state.value for run in open_experiment(root / "w").runs}
    assert sorted(states.values()) == ["finished"] * 4 + ["waiting"] * 4
    assert states["moor.dtvg.s0"] == "waiting" and states["moor.dtvg.s1"] == "finished"
