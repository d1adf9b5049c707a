"""The benchmarks run scaled down on the CPU, so that a GPU's time is not spent on typing errors."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from benchmarks import gpu_suite, machine, make_store, verdicts
from dtvg.methods.specs import METHODS
from dtvg.store.reader import list_experiments, read_table
from dtvg.store.verify import verify_run

SMALL = argparse.Namespace(small=True, device="cpu", model=None)


def test_a_made_store_holds_runs_as_training_leaves_them(tmp_path: Path) -> None:
    make_store.make(tmp_path, "made", runs=3, steps=120, sources=4, distinct=1)
    runs = list_experiments(tmp_path)[0].runs
    assert len(runs) == 3
    for run in runs:
        assert read_table(run, "steps").num_rows == 120 == run.step
        assert read_table(run, "sources").num_rows == 480
        wrong = [s for s in verify_run(run.path) if "/prompts: no" not in s]
        assert wrong == []


@pytest.mark.parametrize("part", ["speed", "methods", "deciding"])
def test_a_part_of_the_gpu_suite_runs_small_on_the_cpu(part: str, tmp_path: Path) -> None:
    rows = gpu_suite.PARTS[part](SMALL)
    assert rows and all(set(row) == set(rows[0]) for row in rows)
    if part == "speed":
        assert rows[0]["engine"] == "PEFT + Trainer" and rows[0]["ratio"] == 1.0
        assert {row["runs"] for row in rows[1:]} == {1, 4}
    if part == "methods":
        assert {row["method"] for row in rows} == set(METHODS) - {"oracle", "surrogate"}
    facts = {**machine.facts(), "gpu": None, "device": "cpu"}
    path = gpu_suite.write(tmp_path, facts, {part: rows})
    text = path.read_text(encoding="utf-8")
    assert f"## {part}" in text and str(machine.commit()) in text
    assert path.with_suffix(".json").exists()


@pytest.mark.slow
def test_the_rest_of_the_gpu_suite_runs_small_on_the_cpu() -> None:
    assert gpu_suite.logging(SMALL)[0]["commits"] >= 1
    assert gpu_suite.tests(SMALL)[0]["exit"] in (0, 5)
    assert all(row["state"] == "finished" for row in gpu_suite.real(SMALL))


def test_equal_methods_seldom_get_a_verdict() -> None:
    by_seed, both, verdict, mcnemar, t_holds, both_hold = verdicts.errors(8, 80, 0.3, 120, 300)
    assert verdict <= 0.06 and verdict <= min(by_seed, both)
    assert t_holds > 0.85 and both_hold > 0.9 and mcnemar >= verdict
