"""The table of scores: what counts, what is averaged over what, and what stays empty."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from dtvg import paths
from dtvg.analysis.compare.info import (
    AVERAGE,
    BEST_SINGLE,
    MEAN_SINGLE,
    CompareInfo,
    compare_info,
)
from dtvg.analysis.compare.lines import (
    Cell,
    in_percent,
    legend,
    lines_of,
    verdicts_brief,
    verdicts_shown,
)
from dtvg.cli.terminal import score_table
from dtvg.errors import DataError
from dtvg.export import export, shown_frame
from dtvg.report import build_report
from dtvg.store.reader import Experiment, open_experiment
from tests.analysis.factory import SOURCES, config, record
from tools import experiment_tables


@pytest.fixture(scope="module")
def info(experiment: Experiment) -> CompareInfo:
    return compare_info(experiment.runs)


def by_hand(
    experiment: Experiment, method: str, target: str, key: str = "test_score"
) -> list[float]:
    paths = sorted(experiment.path.glob(f"{target}.{method}.s*/result.json"))
    return [json.loads(p.read_text())[key] for p in paths]


def test_mean_std_and_seeds_are_those_of_the_result_files(
    experiment: Experiment, info: CompareInfo
) -> None:
    for method in ("none", "all_sources", "dtvg", "single-amber"):
        for target in ("lake", "moor"):
            values = by_hand(experiment, method, target)
            row = info.table.set_index(["method", "target"]).loc[(method, target)]
            assert row["mean"] == pytest.approx(np.mean(values))
            assert row["std"] == pytest.approx(np.std(values, ddof=1))
            assert (row["n_seeds"], row["seeds"]) == (3, "0 1 2")
            assert row["low"] <= row["mean"] <= row["high"]
            assert info.wide.loc[method, target] == row["mean"]


def test_the_interval_is_the_percentile_bootstrap_over_seeds(info: CompareInfo) -> None:
    row = info.table.set_index(["method", "target"]).loc[("dtvg", "lake")]
    values = info.points.query("method == 'dtvg' and target == 'lake'")["value"].to_numpy()
    drawn = np.random.default_rng(8).choice(values, (20_000, 3)).mean(axis=1)
    assert [row["low"], row["high"]] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=1e-3)


def test_the_average_is_taken_within_a_seed_first(info: CompareInfo) -> None:
    points = info.points.pivot(index=["method", "seed"], columns="target", values="value")
    assert points[AVERAGE].to_numpy() == pytest.approx(points[["lake", "moor"]].mean(axis=1))


def test_validation_is_the_best_validation_score(experiment: Experiment) -> None:
    found = compare_info(experiment.runs, split="validation")
    values = by_hand(experiment, "dtvg", "lake", "validation_score")
    assert found.wide.loc["dtvg", "lake"] == pytest.approx(np.mean(values))
    of_metric = compare_info(experiment.runs, split="validation", metric="accuracy")
    assert of_metric.wide.loc["dtvg", "lake"] == pytest.approx(np.mean(values))


def test_singles_are_summed_up_by_validation_and_as_a_mean(
    experiment: Experiment, info: CompareInfo
) -> None:
    means = {s: np.mean(by_hand(experiment, f"single-{s}", "lake")) for s in SOURCES}
    assert info.wide.loc[BEST_SINGLE, "lake"] == pytest.approx(means["dune"])
    assert info.wide.loc[MEAN_SINGLE, "lake"] == pytest.approx(np.mean(list(means.values())))


def test_one_run_without_a_test_score_is_one_in_words(experiment: Experiment) -> None:
    first, *others = (r for r in experiment.runs if r.role == "transfer" and r.result is not None)
    first = replace(first, result=replace(first.result, test_score=None))
    said = " ".join(compare_info([first, *others]).notes)
    assert "1 finished run was not scored on the test split" in said


def test_variants_of_single_sources_are_summed_up_apart(tmp_path: Path) -> None:
    """Only the plain ones lose nothing here, so a mean over both would lie between."""
    both = config(targets=["lake"], methods=["none", "single", {"name": "single", "lr": 0.1}])
    runs = [
        replace(run, result=replace(run.result, test_score=0.8 - 0.3 * ("lr" in run.method)))
        for run in record(tmp_path, both).runs
        if run.result is not None
    ]
    info = compare_info(runs)
    assert info.wide.loc[[BEST_SINGLE, MEAN_SINGLE], "lake"].tolist() == pytest.approx([0.8, 0.8])
    variant = ["single-lr0.1 (best by validation)", "single-lr0.1 (mean)"]
    assert info.wide.loc[variant, "lake"].tolist() == pytest.approx([0.5, 0.5])
    assert info.costs.table.set_index("method").loc[BEST_SINGLE, "n_runs"] == 3 * len(SOURCES)
    assert variant[0] in info.sheet.headline and variant[1] not in info.sheet.headline
    alone = compare_info([r for r in runs if r.method == "none" or "lr" in r.method])
    assert alone.wide.loc[BEST_SINGLE, "lake"] == pytest.approx(0.5)


def test_the_subject_stands_last_before_single_sources(info: CompareInfo) -> None:
    assert info.rows == (
        *("none", "all_sources", BEST_SINGLE, MEAN_SINGLE, "dtvg"),
        *(f"single-{s}" for s in SOURCES),
    )
    assert info.sheet.headline == ("none", "all_sources", BEST_SINGLE, "dtvg")


def test_what_has_not_finished_stays_empty_and_is_told(tmp_path: Path) -> None:
    missing = ["moor.dtvg.s0", "lake.none.s0", "lake.none.s1", "lake.none.s2"]
    missing += ["lake.single-birch.s1"]
    found = compare_info(record(tmp_path, unfinished=missing).runs)
    table = found.table.set_index(["method", "target"])
    assert (
        np.isnan(table.loc[("none", "lake"), "mean"])
        and table.loc[("none", "lake"), "n_seeds"] == 0
    )
    assert table.loc[("dtvg", AVERAGE), "seeds"] == "1 2"
    assert table.loc[(BEST_SINGLE, "lake"), "seeds"] == "0 2"
    assert np.isnan(found.wide.loc["none", AVERAGE])
    assert any(text.startswith("5 of 42 runs have not finished") for text in found.notes)
    verdicts = found.verdicts.set_index(["baseline", "target"])
    assert verdicts.loc[("none", "lake"), "verdict"] == "no seed in common yet"
    assert verdicts.loc[("all_sources", AVERAGE), "n_seeds"] == 2


def test_nothing_finished_gives_an_empty_comparison(tmp_path: Path) -> None:
    made = record(tmp_path, unfinished=[r.name for r in config().runs()])
    found = compare_info(made.runs)
    assert not len(found.points) and found.rows == () and not len(found.verdicts)
    assert found.targets == ("lake", "moor")
    assert isinstance(found.wide, pd.DataFrame) and found.wide.empty


def test_several_experiments_keep_their_rows_apart(tmp_path: Path) -> None:
    small = {"methods": ["none", "dtvg"], "seeds": [0, 1]}
    one, two = (record(tmp_path, config(name, **small)) for name in ("one", "two"))
    found = compare_info([*one.runs, *two.runs])
    assert set(found.rows) == {"one: none", "one: dtvg", "two: none", "two: dtvg"}
    pairs = set(zip(found.verdicts["subject"], found.verdicts["baseline"], strict=True))
    assert pairs == {("one: dtvg", "one: none"), ("two: dtvg", "two: none")}
    across = compare_info([*one.runs, *two.runs], subject="one: dtvg", baselines=["two: dtvg"])
    assert set(across.verdicts["baseline"]) == {"two: dtvg"}
    assert (across.verdicts["difference"] == 0).all()


def test_adaptations_stand_in_tables_after_what_they_adapt(tmp_path: Path) -> None:
    made = record(tmp_path, config(methods=["none", "dmtg", "dtvg"], seeds=[0, 1]))
    found = compare_info(made.runs)
    lines = lines_of(found)
    shown = [line.shown for line in lines.lines]
    assert "dmtg (after DMTG (2407.05082))" in shown and "dtvg" in shown and "none" in shown
    assert any("adaptation" in sentence for sentence in legend(lines, found))
    for form in ("md", "latex"):
        assert "(after DMTG (2407.05082))" in export(found, form)
    console = Console(width=200)
    with console.capture() as captured:
        console.print(score_table(made.runs))
    printed = captured.get()
    assert "dmtg (after DMTG (2407.05082))" in printed and "dtvg" in printed
    assert "After DMTG (2407.05082)" in build_report(made, views=["scores"])
    plain = compare_info([r for r in made.runs if r.method != "dmtg"])
    assert not any("adaptation" in sentence for sentence in legend(lines_of(plain), plain))


def test_subject_and_baselines_can_be_chosen(experiment: Experiment) -> None:
    found = compare_info(experiment.runs, subject="none", baselines=["dtvg", "single-amber"])
    assert set(found.verdicts["baseline"]) == {"dtvg", "single-amber"}
    assert set(found.verdicts["subject"]) == {"none"}


def test_verdicts_name_the_subject_where_several_are_set_against_one_baseline(
    experiment: Experiment, tmp_path: Path
) -> None:
    variants = ["none", {"name": "dtvg", "rule": "exact"}, {"name": "dtvg", "rule": "fixed"}]
    made = compare_info(record(tmp_path, config(targets=["lake"], methods=variants)).runs)
    shown = verdicts_shown(made)
    against_none = shown[shown["baseline"] == "none"]
    assert against_none["subject"].tolist() == ["dtvg-exact", "dtvg-fixed"]
    assert "subject" in verdicts_brief(made).columns
    assert "subject" not in verdicts_shown(compare_info(experiment.runs)).columns


def test_an_unknown_split_or_metric_is_refused_with_the_nearest(experiment: Experiment) -> None:
    with pytest.raises(DataError, match="Did you mean 'test'"):
        compare_info(experiment.runs, split="tests")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="Did you mean 'accuracy'"):
        compare_info(experiment.runs, metric="accurcy")


def test_the_recorded_example_prints_the_documented_numbers() -> None:
    root = Path(__file__).resolve().parents[2]
    recorded = open_experiment(root / "data" / "examples" / "demo-recorded")
    assert experiment_tables.scores(recorded) in (root / "docs" / "demo.md").read_text()


def test_half_a_digit_is_rounded_the_same_way_in_every_table(experiment: Experiment) -> None:
    half = 0.9155
    added = sum([half / 10] * 10)  # the same number, up to the order of adding
    assert in_percent(half) == in_percent(added) == Cell(half).percent == "91.5"
    info = compare_info(experiment.runs)
    costs, ranks = info.costs.table.assign(score=half), info.ranks.table.assign(mean=half)
    info.__dict__["costs"] = replace(info.costs, table=costs)
    info.__dict__["ranks"] = replace(info.ranks, table=ranks)
    assert set(shown_frame(info, "costs")["score %"]) == {91.5}
    assert set(shown_frame(info, "ranks")["mean %"]) <= {91.5}


def test_a_search_counts_where_each_of_its_subsets_is_there_once() -> None:
    recorded = open_experiment(paths.examples() / "demo-recorded")
    runs = [r for r in recorded.runs if r.target == "trip-mood"]
    searched = [r for r in runs if r.method_name == "oracle"]
    again = [replace(r, seed=1, name=r.name.replace(".s0", ".s1")) for r in searched]

    def scores(extra: list[Run]) -> dict[str, list[int]]:
        found = compare_info([*runs, *extra]).sheet.scores
        return {row: sorted(by) for (row, _), by in found.items() if row.startswith("oracle")}

    best = "oracle (best subset by validation)"
    assert scores(again) == {best: [0, 1]}
    assert scores(again[1:]) == {best: [0]}  # one was moved to the trash
    slow = [replace(r, method=r.method.replace("oracle", "oracle-lr0.05")) for r in searched]
    assert scores(slow) == {best: [0], "oracle-lr0.05 (best subset by validation)": [0]}
