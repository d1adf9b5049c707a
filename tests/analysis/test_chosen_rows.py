"""Rows that are chosen among several runs: the oracle's best subset, and what rows rest on."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtvg.analysis.compare.info import compare_info
from dtvg.analysis.compare.scores import ORACLE
from dtvg.records import RunResult, RunState
from dtvg.store.reader import Run


def _run(method: str, seed: int, validation: float | None, test: float, **more) -> Run:
    name = more.pop("run", f"rte.{method}.s{seed}")
    result = None
    if validation is not None:
        extra = more.pop("extra", {})
        result = RunResult(1, validation, test, {"score": test}, 10, 1.0, 5, extra)
    kind = method.split("-")[0]
    facts = {"target": "rte", "method": method, "method_name": kind, "seed": seed, **more}
    return Run("exp", name, Path("/nowhere") / name, RunState.FINISHED, result=result, **facts)


def _oracle(subset: tuple[str, ...], seed: int, validation: float | None, test: float) -> Run:
    label = f"oracle-of-{'.'.join(subset) or 'none'}"
    return _run(label, seed, validation, test, subset=subset)


RUNS = [
    _run("none", 0, 0.5, 0.5),
    _oracle((), 0, 0.50, 0.51), _oracle(("a",), 0, 0.70, 0.61), _oracle(("b",), 0, 0.90, 0.30),
    _oracle((), 1, 0.50, 0.52), _oracle(("a",), 1, 0.80, 0.62), _oracle(("b",), 1, 0.50, 0.31),
]  # fmt: skip


def test_the_oracle_is_the_subset_with_the_best_mean_validation_over_seeds() -> None:
    info = compare_info(RUNS)
    assert set(info.rows) == {"none", ORACLE}
    assert info.sheet.scores[(ORACLE, "rte")] == {0: 0.61, 1: 0.62}
    assert {len(runs) for runs in info.sheet.trained[(ORACLE, "rte")].values()} == {3}


def test_a_seed_with_an_unfinished_subset_does_not_count() -> None:
    info = compare_info([*RUNS[:-1], _oracle(("b",), 1, None, 0.0)])
    assert info.sheet.scores[(ORACLE, "rte")] == {0: 0.30}


def test_trials_are_no_rows_but_count_as_what_the_surrogate_trained() -> None:
    names = ["t0", "t1"]
    trials = [
        _run("surrogate-of-none", 0, 0.4, 0.4, subset=(), run="t0"),
        _run("surrogate-of-a", 0, 0.6, 0.6, subset=("a",), run="t1"),
    ]
    final = _run("surrogate", 0, 0.6, 0.65, extra={"trials": names})
    info = compare_info([*trials, final])
    assert info.rows == ("surrogate",)
    assert info.table["mean"].tolist() == [pytest.approx(0.65)]
    assert [r.name for r in info.sheet.trained[("surrogate", "rte")][0]] == [*names, final.name]
