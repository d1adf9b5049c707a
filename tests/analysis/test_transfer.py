"""What a source adds, against computation by hand; verdicts only where seeds allow them."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from dtvg.analysis.subsets.runs import effect, name_of, subset_of, subset_table
from dtvg.analysis.subsets.transfer import transfer_info
from dtvg.store.reader import Experiment, Run
from tests.analysis.factory import SOURCES, find


def with_scores(experiment: Experiment, gain: dict[str, list[float]]) -> list[Run]:
    """The experiment's runs on lake, with test scores 0.5 and 0.5 + gain[source][seed]."""
    made = []
    for run in experiment.runs:
        if run.target != "lake" or run.result is None:
            continue
        add = gain.get(run.sources[0], [0.0] * 3)[run.seed] if run.method_name == "single" else 0.0
        made.append(replace(run, result=replace(run.result, test_score=0.5 + add)))
    return made


def test_a_single_source_adds_its_score_minus_that_of_no_source(experiment: Experiment) -> None:
    info = transfer_info(experiment.runs, "test", {"lake": {"amber": "harmful"}})
    assert info.bases == ("single",)
    assert info.targets == ("lake", "moor") and info.sources == SOURCES
    for row in info.table.itertuples():
        # single scores 0.62 + 0.02 · place, none 0.6, seeds shift both
        assert row.difference == pytest.approx(0.02 + 0.02 * SOURCES.index(row.source))
        assert row.n_seeds == row.pairs == 3
    known = info.table.set_index(["target", "source"])["known"]
    assert known["lake", "amber"] == "harmful" and known["moor", "amber"] == ""


def test_equal_differences_on_every_seed_are_no_verdict(experiment: Experiment) -> None:
    info = transfer_info(experiment.runs)
    assert set(info.table["verdict"]) == {"undecided"}


def test_clear_differences_are_named_and_small_ones_are_not(experiment: Experiment) -> None:
    gain = {
        "amber": [0.200, 0.201, 0.202],
        "birch": [-0.100, -0.102, -0.101],
        "cedar": [0.1, -0.1, 0.02],
        "dune": [0.01, 0.0, 0.02],
    }
    table = transfer_info(with_scores(experiment, gain)).table.set_index("source")
    assert table["verdict"].to_dict() == {
        "amber": "helpful",
        "birch": "harmful",
        "cedar": "undecided",
        "dune": "undecided",
    }
    d = np.array(gain["dune"])
    t = d.mean() / (d.std(ddof=1) / np.sqrt(3))
    assert table.loc["dune", "p"] == pytest.approx(1 - t / np.sqrt(t**2 + 2))  # closed form, 2 d.f.
    ordered = table["p"].sort_values()
    assert table.loc[ordered.index[0], "p_holm"] == pytest.approx(4 * ordered.iloc[0])


def test_two_seeds_never_give_a_verdict(experiment: Experiment) -> None:
    runs = [r for r in with_scores(experiment, {"amber": [0.3, 0.301, 0.3]}) if r.seed < 2]
    info = transfer_info(runs)
    assert set(info.table["verdict"]) == {"undecided"}
    assert any("fewer than 3 seeds" in note for note in info.notes)


def test_without_none_or_single_there_is_nothing_to_measure(experiment: Experiment) -> None:
    runs = [r for r in experiment.runs if r.method_name != "none"]
    assert not len(transfer_info(runs).table)
    assert transfer_info([]).bases == ()


def test_the_effect_over_all_subsets_is_the_mean_over_pairs_that_differ_in_the_source() -> None:
    sources = ("a", "b", "c")
    subsets = [frozenset(s) for k in range(4) for s in combinations(sources, k)]
    rng = np.random.default_rng(0)
    scores = {s: float(rng.random()) for s in subsets}
    by_hand = np.mean([scores[s] - scores[s - {"b"}] for s in subsets if "b" in s])
    value, pairs = effect(scores, sources)["b"]
    assert value == pytest.approx(by_hand) and pairs == 4


def test_a_sample_of_subsets_is_fitted_and_recovers_additive_effects() -> None:
    sources = ("a", "b", "c", "d")
    adds = {"a": 0.1, "b": -0.05, "c": 0.0, "d": 0.02}
    sample = [(), ("a", "b"), ("b", "c"), ("c", "d"), ("a", "d"), ("a", "b", "c", "d"), ("b",)]
    scores = {frozenset(s): 0.5 + sum(adds[x] for x in s) for s in sample}
    found = effect(scores, sources)
    assert {s: round(v, 9) for s, (v, _) in found.items()} == pytest.approx(adds)


def test_too_few_subsets_for_a_fit_fall_back_on_pairs() -> None:
    scores = {frozenset("a"): 0.7, frozenset(): 0.5, frozenset("bc"): 0.9}
    found = effect(scores, ("a", "b", "c"))
    assert found["a"] == (pytest.approx(0.2), 1)
    assert np.isnan(found["b"][0]) and found["b"][1] == 0


def test_runs_on_one_subset_are_told_from_those_that_decide(experiment: Experiment) -> None:
    assert subset_of(find(experiment, "none")) == frozenset()
    assert subset_of(find(experiment, "single-birch")) == {"birch"}
    assert subset_of(find(experiment, "all_sources")) == set(SOURCES)
    assert subset_of(find(experiment, "dtvg")) is None
    table = subset_table(experiment.runs)
    assert len(table) == 2 * 3 * (1 + 4 + 1)
    variant = replace(find(experiment, "single-birch"), method="single-birch-lr1")
    assert not len(subset_table([variant]))
    assert name_of({"dune", "amber"}, SOURCES) == "amber + dune"
    assert name_of((), SOURCES) == "no source"
    assert isinstance(table, pd.DataFrame)
