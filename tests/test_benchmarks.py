"""The benchmarks run scaled down on the CPU, so that a GPU's time is not spent on typing errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import gpu_suite, machine, make_store, verdicts
from dtvg.analysis.compare import limits
from dtvg.analysis.statistics import bootstrap_p, mcnemar_p, sign_flip_p
from dtvg.methods.specs import METHODS
from dtvg.store.reader import list_experiments, read_table
from dtvg.store.verify import verify_run


def test_a_made_store_holds_runs_as_training_leaves_them(tmp_path: Path) -> None:
    make_store.make(tmp_path, "made", runs=3, steps=120, sources=4, distinct=1)
    runs = list_experiments(tmp_path)[0].runs
    assert len(runs) == 3
    for run in runs:
        assert read_table(run, "steps").num_rows == 120 == run.step
        assert read_table(run, "sources").num_rows == 480
        wrong = [s for s in verify_run(run.path) if "/prompts: no" not in s]
        assert wrong == []


def unit(name: str, folder: Path) -> list[dict[str, Any]]:
    """Measure a unit of the suite tiny, in this process; return the lines it wrote."""
    gpu_suite.main(["--tiny", "--device", "cpu", "--unit", name, "--out", str(folder)])
    lines = (folder / "gpu-suite-tiny-cpu.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_the_gpu_suite_runs_tiny_on_the_cpu_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    speeds = "a:smollm2-135m-eager-1-16-of-8"
    lines = [unit(name, tmp_path) for name in (speeds, "d:overhead-1")][-1]
    speed, share = lines[0]["row"], lines[2]["row"]
    assert speed["times_peft_same"] > 0 and 0 < speed["share_of_matmul_peak"] < 1
    assert share["together_%"] >= share["commits_%"] and lines[2]["facts"]["commit"]
    monkeypatch.setattr(gpu_suite.training, "_turns", lambda *more: pytest.fail("repeated"))
    assert len(unit(speeds, tmp_path)) == len(lines) + 1
    page = (tmp_path / "gpu-suite-tiny-cpu.md").read_text(encoding="utf-8")
    assert "## a" in page and "## d" in page and str(machine.commit()) in page
    gpu_suite.main(
        ["--tiny", "--device", "cpu", "--parts", "a,d", "--list", "--out", str(tmp_path)]
    )
    told = dict(line.split(" (") for line in capsys.readouterr().out.splitlines() if " (" in line)
    assert told[speeds].endswith(": written")
    assert told["d:overhead-16"].endswith(": to do") and "c:tests" not in told


@pytest.mark.slow
@pytest.mark.parametrize("name", [u.id for u in gpu_suite.units()])
def test_every_unit_of_the_gpu_suite_runs_tiny_on_the_cpu(name: str, tmp_path: Path) -> None:
    rows = [line["row"] for line in unit(name, tmp_path)]
    assert rows[-1]["state"] == "done" and (len(rows) > 1 or name == "b:study")
    if name == "e:methods":
        assert {row["method"] for row in rows[:-1]} == set(METHODS) - {"oracle", "surrogate"}
    if name == "c:tests":
        assert rows[0]["exit"] in (0, 5), rows[0]


def test_equal_methods_seldom_get_a_verdict() -> None:
    found = verdicts.rates((8, 80, 0.3), 300, 300)
    assert found["verdict"] <= 0.05 and found["verdict"] <= min(found["student"], found["both"])
    assert found["strict"] <= found["verdict"] <= found["on_runs"]


def test_simulated_tests_are_those_of_the_analysis() -> None:
    rng = np.random.default_rng(0)
    d = verdicts.simulate(5, 60, 0.3, 20, rng, 0.5)
    found = verdicts.tested(d, 20_000, rng)
    for trial in range(20):
        one = d[trial, 0].astype(float)
        weights = rng.multinomial(60, np.full(60, 1 / 60), 20_000) / 60
        seeds = rng.integers(0, 5, (20_000, 5))
        both = np.take_along_axis(weights @ one.T, seeds, axis=1).mean(axis=1)
        p, _ = mcnemar_p(int((one.sum(0) > 0).sum()), int((one.sum(0) < 0).sum()))
        assert found["on_runs"][trial] == pytest.approx(p)
        assert found["flips"][trial] == sign_flip_p(one.mean(axis=1))
        assert found["both"][trial] == pytest.approx(bootstrap_p(both), abs=0.04)


def test_more_accuracy_is_simulated_as_asked() -> None:
    d = verdicts.simulate(5, 400, 0.1, 400, np.random.default_rng(1), verdicts.shift_for(0.06, 0.1))
    assert d.mean() == pytest.approx(0.06, abs=0.004)


def test_the_page_prints_the_table_that_verdicts_read() -> None:
    text = verdicts.PAGE.read_text(encoding="utf-8")
    assert verdicts.written(text) == text
    rates = limits.table()
    assert set(rates["seeds"]) >= {3, 5, 8, 20} and (rates["trials"] >= 2000).all()
    for row in rates.itertuples():
        assert row.test == limits.named(row.verdict_high, row.strict_high)
        assert row.verdict_high == pytest.approx(verdicts.upper(row.verdict, row.trials), abs=2e-5)


def test_the_table_tells_the_figures_it_was_made_for() -> None:
    """6 points, 5 seeds, 500 rows, spread 0.1: about 83 % power at 1.3 % error."""
    rates = limits.table().set_index(["seeds", "examples", "spread"])
    row = rates.loc[(5, 500, 0.1)]
    assert row["power_verdict"] == pytest.approx(0.83, abs=0.03)
    assert row["verdict"] == pytest.approx(0.013, abs=0.006)
    assert row["power_crossed"] == pytest.approx(0.85, abs=0.03)
    assert row["crossed"] == pytest.approx(0.04, abs=0.01)
    assert row["power_former"] == 0


def test_rows_of_graphs_are_measured_on_a_gpu_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--backbone", "tiny", "--device", "cpu", "--layers", "eager", "compiled graphs"]
    with pytest.raises(SystemExit):
        gpu_suite.training.main([*asked, "--out", str(tmp_path)])
    assert "'compiled graphs' needs a GPU" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_unit_of_the_gpu_suite_that_is_not_there_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        unit("a:smollm2-135m-eager-1-16", tmp_path)
    assert "no unit 'a:smollm2-135m-eager-1-16'; --list names them" in capsys.readouterr().err
