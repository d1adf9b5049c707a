"""Agreement of seeds is the mean Jaccard of their groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dtvg.analysis.run.groups import group_info, memberships
from dtvg.analysis.run.stability import stability_of
from dtvg.analysis.statistics import jaccard
from dtvg.errors import DataError
from dtvg.store.reader import Experiment
from tests.analysis.factory import find


def test_jaccard_counts_the_common_part_and_two_empty_groups_agree() -> None:
    a = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0]], dtype=bool)
    b = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], dtype=bool)
    assert jaccard(a, b).tolist() == pytest.approx([1 / 3, 1, 0])


def test_seeds_are_compared_step_by_step(experiment: Experiment) -> None:
    runs = [find(experiment, "dtvg", seed=s) for s in (0, 1, 2)]
    info = stability_of([group_info(run) for run in runs])
    a, b = group_info(runs[0]).member, group_info(runs[1]).member
    assert info.jaccard[0, 1] == pytest.approx(jaccard(a, b).mean())
    assert np.array_equal(np.diag(info.jaccard), np.ones(3))
    assert info.table["mean"].tolist() == pytest.approx(info.share.mean(axis=0).tolist())
    assert set(info.consensus) == set(info.table[info.table["mean"] >= 0.5]["source"])
    assert 0 <= info.mean_jaccard <= 1


def test_seeds_of_any_steps_are_compared_over_those_they_share(experiment: Experiment) -> None:
    """Many at once where their steps are the same, else pair by pair: the same numbers."""
    whole = memberships([find(experiment, "dtvg", seed=s) for s in (0, 1, 2)])
    kept = (slice(None), slice(0, 40), slice(5, None, 3), slice(0, 40), slice(None))
    runs = [
        replace(one, steps=one.steps[rows], member=one.member[rows])
        for one, rows in zip([*whole, *whole[:2]], kept, strict=True)
    ]
    info = stability_of(runs)
    for i, one in enumerate(runs):
        for j, other in enumerate(runs):
            _, a, b = np.intersect1d(one.steps, other.steps, return_indices=True)
            assert info.jaccard[i, j] == jaccard(one.member[a], other.member[b]).mean()
            assert info.jaccard_last[i, j] == jaccard(one.member[-1], other.member[-1])


def test_membership_alone_is_that_of_the_groups(experiment: Experiment) -> None:
    runs = [find(experiment, m, seed=1) for m in ("dtvg", "all_sources", "none", "single-birch")]
    for run, made in zip(runs, memberships(runs), strict=True):
        info = group_info(run)
        assert (made.run, made.seed, made.sources) == (info.run, info.seed, info.sources)
        assert np.array_equal(made.steps, info.steps)
        assert np.array_equal(made.member, info.member)


def test_a_run_agrees_with_itself(experiment: Experiment) -> None:
    run = find(experiment, "dtvg")
    assert stability_of([group_info(run)] * 2).mean_jaccard == 1


def test_runs_over_other_sources_are_refused_by_name(experiment: Experiment) -> None:
    with pytest.raises(DataError, match="single-birch"):
        stability_of([group_info(find(experiment, m)) for m in ("dtvg", "single-birch")])


def test_no_run_with_groups_is_refused(experiment: Experiment) -> None:
    with pytest.raises(DataError, match="none of these"):
        stability_of([group_info(find(experiment, "none"))])
