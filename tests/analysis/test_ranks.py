"""Ranks against SciPy and Demšar's tables, with what few targets can and cannot show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dtvg.analysis.compare.info import compare_info
from dtvg.analysis.compare.ranks import critical_difference, rank_scores
from dtvg.analysis.compare.scores import complete_block
from tests.analysis.answered import config, mostly_right, record


def names(k: int, letter: str = "m") -> list[str]:
    return [f"{letter}{i}" for i in range(k)]


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 6), st.integers(2, 12), st.integers(0, 999))
def test_friedman_equals_scipy_also_with_ties(k: int, n: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(0, 6, (k, n)) / 10
    info = rank_scores(scores, names(k), names(n, "t"))
    if np.isnan(info.statistic):
        assert all(len(set(column)) == 1 for column in scores.T) and info.p == 1
        return
    want = stats.friedmanchisquare(*scores)
    assert info.statistic == pytest.approx(want.statistic)
    assert info.p_chi2 == pytest.approx(want.pvalue)


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (7, 2.949), (10, 3.164)])
def test_critical_differences_are_demsars(k: int, q: float) -> None:
    """Table 5 of Demšar 2006 gives q at 5 %."""
    assert critical_difference(k, 14) == pytest.approx(q * np.sqrt(k * (k + 1) / 84), abs=1e-3)


def test_demsars_worked_example() -> None:
    """Section 3.2.2: four classifiers on 14 data sets, average ranks 3.143, 2, 2.893, 1.964."""
    # in "voting" the third is ahead of the fourth by less than the printed digits
    text = """.763 .599 .954 .628 .882 .936 .661 .583 .775 1 .940 .619 .972 .957
    .768 .591 .971 .661 .888 .931 .668 .583 .838 1 .962 .666 .981 .978
    .771 .590 .968 .654 .886 .916 .609 .563 .866 1 .965 .614 .9751 .946
    .798 .569 .967 .657 .898 .931 .685 .625 .875 1 .962 .669 .975 .970"""
    scores = np.array([[float(x) for x in line.split()] for line in text.splitlines()])
    info = rank_scores(scores, ["c45", "m", "cf", "mcf"], names(14, "t"))
    ranks = dict(zip(info.table["method"], info.table["rank"], strict=True))
    assert ranks["c45"] == pytest.approx(3.143, abs=1e-3)
    assert ranks["m"] == pytest.approx(2.0, abs=1e-3)
    assert ranks["cf"] == pytest.approx(2.893, abs=1e-3)
    assert ranks["mcf"] == pytest.approx(1.964, abs=1e-3)
    assert info.critical_difference == pytest.approx(1.25, abs=0.01)
    assert info.p < 0.05 and info.p == pytest.approx(info.p_f, abs=0.02)
    assert info.cliques == (("mcf", "m", "cf", "c45"),)  # even best and worst, 1.18 apart


def test_ranks_do_not_change_with_any_rising_function_of_the_scores() -> None:
    scores = np.random.default_rng(1).random((4, 9))
    one, two = (rank_scores(x, names(4), names(9, "t")) for x in (scores, np.exp(3 * scores)))
    assert one.table[["method", "rank", "wins"]].equals(two.table[["method", "rank", "wins"]])
    assert one.p == two.p


def test_few_targets_are_said_to_show_nothing() -> None:
    scores = np.array([[0.9, 0.9], [0.8, 0.8], [0.7, 0.7], [0.6, 0.6]])
    info = rank_scores(scores, names(4), names(2, "t"))
    assert info.critical_difference >= 3 and "no two methods can be told apart" in info.note
    assert info.cliques == (("m0", "m1", "m2", "m3"),)
    needed = info.targets_needed
    assert needed is not None and critical_difference(4, needed) <= 3 < critical_difference(
        4, needed - 1
    )
    alone = rank_scores(scores[:, :1], names(4), ["t"])
    assert np.isnan(alone.p) and "at least two" in alone.note
    assert "Nothing to rank yet" in rank_scores(np.zeros((0, 0)), [], []).note


def test_no_p_of_ranks_is_written_as_zero() -> None:
    """Where every target ranks alike, the F statistic has no end and its p is 0."""
    info = rank_scores(np.array([[0.9, 0.8], [0.7, 0.6], [0.5, 0.4]]), names(3), ["s", "t"])
    assert info.p_f == 0 and "by χ², below 1e-16 by F" in info.note


def test_methods_that_score_alike_everywhere_are_said_to_and_no_number_is_nan() -> None:
    info = rank_scores(np.full((3, 2), 0.5), names(3), ["s", "t"])
    assert "all score alike on every target" in info.note and "nan" not in info.note


def test_methods_without_every_target_are_left_out_and_named(tmp_path: Path) -> None:
    made = record(
        tmp_path,
        mostly_right({"none": 0.6, "all_sources": 0.7, "dtvg": 0.8}),
        config(targets=["lake", "moor", "fen"]),
        unfinished=[f"fen.none.s{s}" for s in range(3)] + [f"moor.none.s{s}" for s in range(3)],
    )
    info = compare_info(made.runs)
    assert info.ranks.left_out == ("none",) and info.ranks.targets == ("lake", "moor", "fen")
    assert set(info.ranks.table["method"]) == {"all_sources", "dtvg"}
    assert info.profile.left_out == ("none",) and len(info.profile.cells) == 9
    assert "none" in info.ranks.note and "none" in info.profile.note


def test_the_largest_full_block_is_kept() -> None:
    cells = {"a": {1, 2, 3, 4}, "b": {1, 2, 3, 4}, "c": {1, 2, 3}, "d": {4}}
    assert complete_block(cells) == (["a", "b", "c"], {1, 2, 3})
    assert complete_block({"a": {1}, "b": {2}}) == ([], set())
    assert complete_block({}) == ([], set())
