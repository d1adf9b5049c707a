"""The subset lattice: every subset once, scores where trained, the walk as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dtvg.analysis.run.groups import GroupInfo
from dtvg.analysis.subsets.lattice import MOST_NODES, lattice_info
from dtvg.figures.subsets import lattice_figure
from dtvg.store.reader import Experiment


def walk(groups: GroupInfo, member: list[list[int]]) -> GroupInfo:
    """The groups page's Info with another history."""
    table = np.array(member, dtype=bool)
    return replace(groups, member=table, steps=np.arange(1, len(table) + 1))


def test_every_subset_stands_in_the_layer_of_its_size(
    experiment: Experiment, groups: GroupInfo
) -> None:
    info = lattice_info(experiment.runs, "lake", groups)
    assert info.whole and len(info.nodes) == 16 == info.nodes["key"].nunique()
    assert info.nodes.groupby("size").size().tolist() == [1, 4, 6, 4, 1]
    assert info.nodes.groupby("size")["place"].mean().abs().max() < 1e-12
    assert info.nodes["steps"].sum() == len(groups.steps)
    assert info.nodes["share"].sum() == pytest.approx(1)


def test_nodes_have_the_scores_of_the_runs_on_that_subset(experiment: Experiment) -> None:
    info = lattice_info(experiment.runs, "lake")
    nodes = info.nodes.set_index("subset")
    assert nodes.loc["no source", "score"] == pytest.approx(0.6)  # 0.6 + mean seed − 0.01
    assert nodes.loc["cedar", "score"] == pytest.approx(0.66)
    assert nodes.loc["cedar", "basis"] == "single"
    assert nodes.loc["amber + birch + cedar + dune", "basis"] == "all_sources"
    assert int(nodes["score"].notna().sum()) == 6
    assert nodes.index[nodes["best"]].tolist() == ["dune"]
    assert not len(info.edges) and info.run == ""


def test_one_seed_and_one_step_are_one_in_words(experiment: Experiment, groups: GroupInfo) -> None:
    runs = [r for r in experiment.runs if r.seed == 0]
    drawn = lattice_figure(lattice_info(runs, "lake", walk(groups, [[1, 0, 0, 0]]))).to_json()
    assert "(none, 1 seed)" in drawn and "the group in 1 step (" in drawn


def test_the_walk_counts_steps_in_subsets_and_changes_between_them(
    experiment: Experiment, groups: GroupInfo
) -> None:
    history = [[1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0]]
    info = lattice_info(experiment.runs, "lake", walk(groups, history))
    nodes = info.nodes.set_index("key")
    assert nodes.loc["A", "steps"] == 3 and nodes.loc["AB", "steps"] == 2
    assert (nodes.loc["A", "first"], nodes.loc["A", "last"]) == (1, 4)
    assert nodes.loc["∅", "steps"] == 0
    assert info.edges.to_numpy().tolist() == [["A", "AB", 2, 3], ["AB", "A", 1, 4]]
    assert len(lattice_figure(info).data) >= 3


def test_with_many_sources_only_visited_and_trained_subsets_are_drawn(
    experiment: Experiment, groups: GroupInfo
) -> None:
    rng = np.random.default_rng(0)
    names = tuple(f"s{i}" for i in range(8))
    member = rng.random((400, 8)) < 0.5
    many = replace(groups, sources=names, member=member, steps=np.arange(1, 401))
    info = lattice_info([], "lake", many)
    assert not info.whole and len(info.nodes) == MOST_NODES
    assert set(info.edges["before"]) <= set(info.nodes["key"])
    assert any("left out" in note for note in info.notes)
    assert any("most frequent" in note for note in info.notes)
    assert lattice_figure(info, dark=True).data


def test_a_target_without_sources_has_a_figure_that_says_so() -> None:
    figure = lattice_figure(lattice_info([], "lake"))
    assert "no sources" in figure.layout.annotations[0].text


def test_with_many_sources_and_nothing_trained_yet_there_are_no_nodes(groups: GroupInfo) -> None:
    names = tuple(f"s{i}" for i in range(8))
    none = replace(groups, sources=names, member=np.zeros((0, 8), bool), steps=np.arange(0))
    info = lattice_info([], "lake", none)
    assert info.nodes.empty and list(info.nodes)[:4] == ["key", "subset", "size", "place"]
    assert lattice_figure(info) is not None
