"""Groups against the best subset and the truth, computed by hand on small cases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dtvg.analysis.run.groups import GroupInfo, group_info
from dtvg.analysis.subsets.lattice import lattice_info
from dtvg.analysis.subsets.quality import ORACLE, TRUTH, best_subset, overlap, quality_info
from dtvg.analysis.subsets.runs import subset_of
from dtvg.figures.subsets import lattice_figure, overlap_figure
from dtvg.store.reader import Experiment, Run
from tests.analysis.factory import SOURCES, config, find, record


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """Two seeds with every subset of the sources trained."""
    small = config("search", targets=["lake"], seeds=[0, 1], methods=["none", "dtvg", "oracle"])
    return record(tmp_path_factory.mktemp("search"), small, steps=30)


def rated(experiment: Experiment, best: set[str]) -> list[Run]:
    """The runs, with oracle scores that make one subset the best on validation."""
    made = []
    for run in experiment.runs:
        subset = subset_of(run)
        if run.method_name == "oracle" and run.result is not None and subset is not None:
            score = 0.9 if subset == best else 0.5 + 0.01 * len(subset)
            result = replace(run.result, validation_score=score, test_score=score - 0.05)
            run = replace(run, result=result)
        made.append(run)
    return made


def test_overlap_of_small_groups_is_what_one_counts_by_hand() -> None:
    member = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]], dtype=bool)
    found = overlap(member, np.array([True, True, False, False]))
    np.testing.assert_allclose(found["precision"], [1, 0.5, np.nan, 0.5])
    np.testing.assert_allclose(found["recall"], [1, 0.5, 0, 1])
    np.testing.assert_allclose(found["jaccard"], [1, 1 / 3, 0, 0.5])
    np.testing.assert_allclose(found["exact"], [1, 0, 0, 0])


def test_where_nothing_is_right_an_empty_group_is_exactly_right() -> None:
    found = overlap(np.zeros((1, 3), dtype=bool), np.zeros(3, dtype=bool))
    assert found["jaccard"] == [1] and found["exact"] == [1]
    assert np.isnan(found["recall"]).all() and np.isnan(found["precision"]).all()


def test_the_best_subset_is_chosen_on_validation_and_scored_on_test(searched: Experiment) -> None:
    best = best_subset(rated(searched, {"birch", "dune"}), "lake")
    assert best is not None
    assert best.subset == {"birch", "dune"} and best.basis == "oracle"
    assert (best.trained, best.possible) == (16, 16)
    assert best.test == pytest.approx({0: 0.85, 1: 0.85})


def test_ties_go_to_the_smaller_subset(searched: Experiment) -> None:
    runs = [
        replace(r, result=replace(r.result, validation_score=0.7))
        if r.method_name == "oracle" and r.result
        else r
        for r in searched.runs
    ]
    best = best_subset(runs, "lake")
    assert best is not None and best.subset == frozenset()
    assert best_subset([r for r in runs if r.method_name != "oracle"], "lake") is None


def test_among_ties_a_run_is_set_against_the_nearest_one(searched: Experiment) -> None:
    right = ({"birch", "dune"}, {"birch", "dune", "cedar"})
    runs = []
    for run in searched.runs:
        if run.method_name == "oracle" and run.result is not None:
            best = subset_of(run) in right
            test = 0.8 if subset_of(run) == right[1] else 0.7
            result = replace(run.result, validation_score=1.0 if best else 0.5, test_score=test)
            run = replace(run, result=result)
        if not (run.method_name == "oracle" and run.seed == 1):
            runs.append(run)
    mine = [find(searched, "dtvg", seed=s) for s in (0, 1)]
    member = np.array([[s in right[1] for s in SOURCES]] * 30)
    groups = [replace(group_info(run), member=member) for run in mine]
    info = quality_info(groups, mine, runs)
    assert info.best is not None and info.best.tied == 2 and info.best.subset == right[0]
    assert set(info.table["against"]) == {"birch + cedar + dune"}
    assert info.summary["exact"].tolist() == [1] and info.summary["jaccard"].tolist() == [1]
    assert info.table["regret"].notna().tolist() == [True, False]
    assert info.table.loc[0, "regret"] == pytest.approx(0.8 - (mine[0].test_score or 0))
    assert any("overlap with most" in note for note in info.notes)
    assert "all 16 subsets of the 4 sources that `oracle` was given" in info.notes[0]
    lattice = lattice_info(runs, "lake")
    named = lattice.nodes.loc[lattice.nodes["right"], "subset"].tolist()
    assert named == ["birch + dune", "birch + cedar + dune"]
    said = [note.text for note in lattice_figure(lattice).layout.annotations]
    assert sum(text.startswith("tied best") for text in said) == 2
    assert sum("highest" in text for text in said) == 1
    assert "16 from `oracle`" in lattice.notes[0] and "16 subsets of 4 sources" in lattice.notes[0]


def test_subsets_that_some_seeds_lack_are_not_the_best(searched: Experiment) -> None:
    runs = [
        r
        for r in rated(searched, {"birch", "dune"})
        if not (r.seed == 1 and subset_of(r) == {"birch", "dune"})
    ]
    best = best_subset(runs, "lake")
    assert best is not None and best.subset == set(SOURCES)


def test_the_first_subset_that_ends_for_a_further_seed_is_not_the_best(
    searched: Experiment,
) -> None:
    """It alone had the most seeds, and was called the best of one."""
    runs = rated(searched, {"birch", "dune"})
    first = next(r for r in runs if subset_of(r) == {"cedar"} and r.method_name == "oracle")
    best = best_subset([*runs, replace(first, seed=7)], "lake")
    assert best is not None and best.subset == {"birch", "dune"}
    assert best.trained == 16 and set(best.test) == {0, 1}
    assert best_subset([first], "lake") is not None


def test_quality_is_averaged_over_steps_and_regret_is_paired_by_seed(searched: Experiment) -> None:
    runs = rated(searched, {"amber"})
    mine = [find(searched, "dtvg", seed=s) for s in (0, 1)]
    groups = [group_info(r) for r in mine]
    truth = {"lake": dict(zip(SOURCES, ("helpful", "helpful", "neutral", "harmful"), strict=True))}
    info = quality_info(groups, mine, runs, truth)
    assert info.references == {ORACLE: {"amber"}, TRUTH: {"amber", "birch"}}
    for row, group, run in zip(info.table.itertuples(), groups, mine, strict=False):
        member = group.member
        by_hand = [m[0] / max(1, m.sum()) if m.any() else 0.0 for m in member]
        assert row.jaccard == pytest.approx(np.mean(by_hand))
        assert row.regret == pytest.approx(0.85 - (run.test_score or 0))
    assert info.summary["reference"].tolist() == [ORACLE, TRUTH]
    assert info.table.loc[2:, "regret"].isna().all()
    assert len(info.curves) == 2 * 2 * 30
    assert overlap_figure(info).data


def test_without_an_oracle_the_notes_say_what_to_add(
    groups: GroupInfo, dtvg_run: Run, experiment: Experiment
) -> None:
    info = quality_info([groups], [dtvg_run], experiment.runs, {"lake": {"amber": "helpful"}})
    assert info.references == {} and info.best is None
    assert "oracle" in info.notes[0]
    assert not overlap_figure(info).data


def test_a_run_without_steps_is_left_out(searched: Experiment, tmp_path: Path) -> None:
    runs = rated(searched, {"amber"})
    mine = find(searched, "dtvg")
    group = group_info(mine)
    empty = replace(group, steps=group.steps[:0], member=group.member[:0])
    assert not len(quality_info([empty], [mine], runs).table)


def test_one_source_is_one_in_words(tmp_path: Path) -> None:
    methods = ["none", "dtvg", "oracle"]
    made = record(tmp_path, config(methods=methods, sources=["amber"], targets=["lake"], seeds=[0]))
    run = find(made, "dtvg")
    info = quality_info([group_info(run)], [run], made.runs)
    assert "all 2 subsets of the 1 source that `oracle` was given" in info.notes[0]
    assert lattice_info(made.runs, "lake").notes[0].startswith("2 of the 2 subsets of 1 source ")
