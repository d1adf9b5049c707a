"""Answers stored by the engine give the recorded scores back, metric by metric."""

from __future__ import annotations

import pytest

from dtvg.analysis.compare.info import CompareInfo, compare_info
from dtvg.config import build_config
from dtvg.store.layout import create_experiment
from dtvg.store.reader import open_experiment


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> CompareInfo:
    from dtvg.testing.tiny_run import tiny_config
    from dtvg.training.procedures import run_experiment

    folder = tmp_path_factory.mktemp("tiny")
    values = tiny_config(
        folder,
        targets=["mrpc", "cola", "rte"],
        sources=["sst2"],
        methods=["none", "dtvg"],
        seeds=[0, 1],
        evaluation={"every": 6, "max_examples": 12, "mode": "labels"},
    )
    made = create_experiment(build_config(values), folder / "runs")
    run_experiment(made, lambda progress: None)
    return compare_info(open_experiment(made.path).runs)


@pytest.mark.slow
def test_f1_matthews_and_accuracy_are_recomputed_from_real_answers(info: CompareInfo) -> None:
    assert info.paired.problems == ()
    assert info.paired.examples == {"mrpc": 12, "cola": 12, "rte": 12}
    tests = info.paired.table.set_index("target")["examples_test"]
    assert tests["rte"] == "McNemar, exact" and tests["mrpc"] == tests["cola"] == "bootstrap"
    assert (info.paired.table["n_examples"] > 0).all()


def test_costs_are_those_of_the_engine(info: CompareInfo) -> None:
    costs = info.costs.table.set_index("method")
    assert set(costs["examples"]) == {48.0} and set(costs["steps"]) == {12.0}
    # the prompt, the target's scale, and DTVG's scales of one source
    assert costs.loc["none", "trained_parameters"] == 4 * 16
    assert costs.loc["dtvg", "trained_parameters"] == 4 * 16 + 4 + 4
    assert not any("not scored" in note for note in info.notes)
