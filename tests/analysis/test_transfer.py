"""What a source adds, against computation by hand; verdicts only where seeds allow them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dtvg.analysis.compare.info import compare_info
from dtvg.analysis.statistics import holm
from dtvg.analysis.subsets.lattice import lattice_info
from dtvg.analysis.subsets.runs import effect, name_of, subset_of, subset_table
from dtvg.analysis.subsets.transfer import over_targets_shown, transfer_info
from dtvg.config import RunConfig
from dtvg.figures.subsets import FEWEST_POINTS, colour_reach, transfer_figure
from dtvg.store.reader import Experiment
from tests.analysis import answered
from tests.analysis.factory import SOURCES, find


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


def answers(rates: dict[str, float]) -> answered.Answer:
    """Right with a rate by label, so that sources can help or harm."""

    def answer(run: RunConfig, right: Sequence[str], rng: np.random.Generator) -> list[str]:
        keep = rng.random(len(right)) < rates[run.method.label]
        return [r if k else str(1 - int(r)) for r, k in zip(right, keep, strict=True)]

    return answer


RATES = {"none": 0.7, "single-amber": 0.9, "single-birch": 0.5, "single-cedar": 0.71}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    wanted = answered.config(methods=["none", "single"], seeds=list(range(5)))
    return answered.record(tmp_path_factory.mktemp("t"), answers(RATES), wanted, n=200)


def test_clear_differences_are_named_and_small_ones_are_not(store: Experiment) -> None:
    table = transfer_info(store.runs).table
    for target in ("lake", "moor"):
        rows = table[table["target"] == target].set_index("source")
        assert rows["verdict"].to_dict() == {
            "amber": "helpful",
            "birch": "harmful",
            "cedar": "undecided",
        }
        assert rows.loc["amber", "statement"].startswith("at least +")
        assert rows.loc["cedar", "statement"].startswith("differs by less than")
        assert set(rows["n_examples"]) == {200}


def test_the_map_and_the_compare_page_follow_one_rule(store: Experiment) -> None:
    """The same runs, as sources of the map and as methods of the page."""
    table = transfer_info(store.runs).table
    for source in answered.SOURCES:
        label = f"single-{source}"
        page = compare_info(store.runs, subject=label, baselines=["none"]).paired.of("lake").iloc[0]
        row = table[(table["source"] == source) & (table["target"] == "lake")].iloc[0]
        assert row["difference"] == pytest.approx(page["difference"])
        for name in ("p_student", "p_both", "p"):
            assert row[name] == pytest.approx(page[name]), name
        assert row["test"] == page["test"]
    lake = table[table["target"] == "lake"]
    assert lake["p_corrected"].to_numpy() == pytest.approx(holm(lake["p"].to_numpy()))


def test_without_answers_no_source_is_said_to_help(experiment: Experiment) -> None:
    """Luck of the examples is not tested then: Student's t alone errs in more than 5 %."""
    runs = [
        replace(
            r, result=replace(r.result, test_score=0.5 + (0.2 + r.seed / 1000) * ("am" in r.name))
        )
        for r in experiment.runs
        if r.result is not None and r.target == "lake"
    ]
    info = transfer_info(runs)
    amber = info.table.set_index("source").loc["amber"]
    assert amber["p_student"] < 0.001 and amber["verdict"] == "undecided"
    assert any("no stored answers" in note for note in info.notes)


@pytest.mark.slow
def test_families_of_equal_sources_seldom_err(tmp_path: Path) -> None:
    wanted = answered.config(methods=["none", "single"], seeds=list(range(8)), targets=["lake"])
    wrong = 0
    for trial in range(8):
        made = answered.record(
            tmp_path / str(trial), answers(dict.fromkeys(RATES, 0.7 + trial / 100)), wanted
        )
        wrong += set(transfer_info(made.runs).table["verdict"]) != {"undecided"}
    assert wrong <= 2


def test_several_targets_are_summed_up_as_random_effects(store: Experiment) -> None:
    info = transfer_info(store.runs)
    rows = info.over_targets.set_index("source")
    assert list(rows.index) == list(answered.SOURCES) and set(rows["n_targets"]) == {2}
    each = info.table[info.table["source"] == "amber"]["difference"]
    assert rows.loc["amber", "mean"] == pytest.approx(each.mean())
    assert each.min() <= rows.loc["amber", "random_effect"] <= each.max()
    assert rows.loc["amber", "low"] < rows.loc["amber", "random_effect"] < rows.loc["amber", "high"]


def test_targets_are_summed_up_within_an_experiment_and_one_seed_is_no_target(
    store: Experiment, tmp_path: Path
) -> None:
    """The same targets trained with other settings are no further targets."""
    other = answered.config("other", methods=["none", "single"], seeds=[0, 1], targets=["lake"])
    more = answered.record(tmp_path, answers(RATES), other, n=60)
    both = transfer_info([*store.runs, *more.runs]).over_targets
    assert set(both["experiment"]) == {store.name} and set(both["n_targets"]) == {2}
    three = answered.config(
        "three", methods=["none", "single"], seeds=[0, 1], targets=["lake", "moor", "nook"]
    )
    runs = answered.record(tmp_path, answers(RATES), three).runs
    info = transfer_info([r for r in runs if r.target != "nook" or r.seed == 0])
    assert set(info.over_targets["n_targets"]) == {3} and set(info.over_targets["n_summed"]) == {2}
    assert info.over_targets["low"].notna().all()
    assert over_targets_shown(info)[["low", "high", "between"]].isna().all(axis=None)
    assert set(over_targets_shown(transfer_info(runs))["n_summed"]) == {3}
    assert over_targets_shown(transfer_info(runs), "single")["low"].notna().all()


def test_effects_of_subsets_are_resampled_as_the_same_sums_of_runs(tmp_path: Path) -> None:
    def answer(run: RunConfig, right: Sequence[str], rng: np.random.Generator) -> list[str]:
        rate = 0.6 + 0.25 * ("amber" in (run.method.subset or ()))
        keep = rng.random(len(right)) < rate
        return [r if k else str(1 - int(r)) for r, k in zip(right, keep, strict=True)]

    wanted = answered.config(methods=["oracle"], seeds=list(range(4)), targets=["lake"])
    table = transfer_info(answered.record(tmp_path, answer, wanted, n=150).runs).table
    rows = table.set_index("source")
    assert rows["verdict"].to_dict() == {
        "amber": "helpful",
        "birch": "undecided",
        "cedar": "undecided",
    }
    assert rows["pairs"].tolist() == [16, 16, 16] and set(rows["n_examples"]) == {150}


def test_a_search_that_trains_shows_every_seed_on_the_same_pairs(tmp_path: Path) -> None:
    """Beside birch amber harms, alone it helps, which a seed that has begun cannot show."""

    def answer(run: RunConfig, right: Sequence[str], rng: np.random.Generator) -> list[str]:
        subset = set(run.method.subset or ())
        rate = 0.6 + 0.3 * (subset == {"amber"}) - 0.2 * (subset >= {"amber", "birch"})
        keep = rng.random(len(right)) < rate
        return [r if k else str(1 - int(r)) for r, k in zip(right, keep, strict=True)]

    wanted = answered.config(methods=["oracle"], seeds=[0, 1, 2], targets=["lake"])
    runs = answered.record(tmp_path, answer, wanted).runs
    whole = transfer_info([r for r in runs if r.seed < 2])
    begun = [r for r in runs if r.seed < 2 or set(r.subset or ()) <= {"amber"}]
    assert len(begun) == 16 + 2
    pd.testing.assert_frame_equal(transfer_info(begun).table, whole.table)
    held = [r for r in runs if r.seed != 1 or "cedar" not in (r.subset or ())]
    points = transfer_info(held).points.pivot(index="source", columns="seed", values="difference")
    both = transfer_info(runs).points.pivot(index="source", columns="seed", values="difference")
    assert list(points.columns) == [0, 2] and points.equals(both[[0, 2]].loc[points.index])


def test_two_seeds_never_give_a_verdict(tmp_path: Path) -> None:
    wanted = answered.config(methods=["none", "single"], seeds=[0, 1])
    info = transfer_info(answered.record(tmp_path, answers(RATES), wanted).runs)
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
    plain = find(experiment, "single-birch")
    variant = replace(plain, method="single-birch-lr1")
    assert subset_table([variant, plain])["run"].tolist() == [plain.name]
    assert name_of({"dune", "amber"}, SOURCES) == "amber + dune"
    assert name_of((), SOURCES) == "no source"
    assert isinstance(table, pd.DataFrame)


def test_notes_count_the_cells_of_one_basis_alone(experiment: Experiment) -> None:
    info = transfer_info(experiment.runs)
    few = info.table.assign(basis="oracle", n_seeds=1).head(3)
    both = replace(
        info, bases=("single", "oracle"), table=pd.concat([info.table, few], ignore_index=True)
    )
    assert not any("fewer than" in note for note in both.notes_of("single"))
    assert any(note.startswith("3 of 3 cells are based on") for note in both.notes_of("oracle"))


def test_one_cell_far_from_all_others_does_not_make_them_alike(experiment: Experiment) -> None:
    info = transfer_info(experiment.runs)
    table = info.table.copy()
    table.loc[0, "difference"] = -0.7
    far = replace(info, table=table)
    usual = sorted(table["difference"].abs())[-2]
    assert colour_reach(far, "single") <= usual < 0.15
    drawn = transfer_figure(far, "single").data[0]
    assert (drawn.zmin, drawn.zmax) == (-colour_reach(far, "single"), colour_reach(far, "single"))
    assert drawn.z.min() == -0.7 and any("−70.0" in text for text in drawn.text.ravel())
    assert "%" not in drawn.hovertemplate.replace("%{", "").replace("(95 %", "")
    level = replace(info, table=table.assign(difference=0.001))
    assert colour_reach(level, "single") == FEWEST_POINTS


def test_rates_of_their_own_keep_no_run_on_one_source_or_none_from_counting(tmp_path: Path) -> None:
    """As all have after `dtvg tune`: nothing was measured, and `none` was said to be missing."""
    tuned = [{"name": "none", "lr": 0.1}, *({"name": "single", "lr": r} for r in (0.2, 0.3))]
    wanted = answered.config(methods=tuned, targets=["lake"])
    made = answered.record(tmp_path, answered.mostly_right({"none": 0.6}), wanted)
    info = transfer_info(made.runs)
    assert info.bases == ("single",) and set(info.table["source"]) == {"amber", "birch", "cedar"}
    for row in info.points.to_dict("records"):
        labels = (f"single-{row['source']}-lr0.2", "none-lr0.1")
        alone, none = (find(made, label, seed=row["seed"]).test_score or 0 for label in labels)
        assert row["difference"] == pytest.approx(alone - none)
    nodes = lattice_info(made.runs, "lake").nodes
    assert nodes.loc[nodes["score"].notna(), "basis"].tolist() == ["none"] + 3 * ["single"]
