"""Profiles, costs and published numbers, each against the plainest way to compute it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dtvg import paths
from dtvg.analysis.compare.info import BEST_SINGLE, CompareInfo, compare_info
from dtvg.analysis.compare.published import GROUPS, load_published, published
from dtvg.errors import DataError
from dtvg.store.reader import Experiment, open_experiment
from tests.analysis.answered import config, mostly_right, record

RATES = {"none": 0.6, "single": 0.65, "all_sources": 0.72, "dtvg": 0.8}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    methods = ["none", "single", "all_sources", "dtvg"]
    return record(tmp_path_factory.mktemp("r"), mostly_right(RATES), config(methods=methods))


@pytest.fixture(scope="module")
def info(experiment: Experiment) -> CompareInfo:
    return compare_info(experiment.runs)


def test_the_profile_counts_cells_within_a_distance_of_the_best(info: CompareInfo) -> None:
    wide = info.points[info.points["method"].isin(info.profile.methods)]
    wide = wide[wide["target"] != "average"].pivot(
        index=["target", "seed"], columns="method", values="value"
    )
    gaps = wide.rsub(wide.max(axis=1), axis=0)
    assert len(wide) == len(info.profile.cells) == 6
    for method in info.profile.methods:
        curve = info.profile.table[info.profile.table["method"] == method]
        for tau in (0.0, 0.03, 0.1, 1.0):
            share = curve.loc[curve["tau"] <= tau + 1e-9, "share"].iloc[-1]
            assert share == pytest.approx((gaps[method] <= tau + 1e-9).mean())
        assert curve["share"].is_monotonic_increasing and curve["share"].iloc[-1] == 1
        assert curve["tau"].iloc[0] == 0 and curve["tau"].is_unique
    summary = info.profile.summary.set_index("method")
    assert summary["worst_gap"].max() == pytest.approx(info.profile.longest)
    assert summary.loc["dtvg", "mean_gap"] == pytest.approx(gaps["dtvg"].mean())


def test_a_profile_of_one_method_says_why_it_is_empty(tmp_path: Path) -> None:
    one = record(tmp_path, mostly_right(RATES), config(methods=["dtvg"]))
    info = compare_info(one.runs)
    assert "No profile yet" in info.profile.note and not len(info.profile.summary)
    assert "Nothing to rank yet" in info.ranks.note
    assert not len(info.verdicts)


def test_costs_are_what_the_files_say(experiment: Experiment, info: CompareInfo) -> None:
    costs = info.costs.table.set_index("method")
    seconds = []
    for target in ("lake", "moor"):
        for seed in range(3):
            folder = experiment.path / f"{target}.dtvg.s{seed}"
            seconds.append(json.loads((folder / "result.json").read_text())["seconds"])
            steps = pd.concat(pd.read_parquet(p) for p in (folder / "steps").glob("part-*"))
            assert steps["examples"].sum() == costs.loc["dtvg", "examples"] == 160
            assert steps["device_mem_gib"].max() == pytest.approx(costs.loc["dtvg", "peak_mem_gib"])
    assert costs.loc["dtvg", "seconds"] == pytest.approx(np.mean(seconds))
    assert costs.loc["dtvg", "trained_parameters"] == 40 and costs.loc["dtvg", "n_runs"] == 6
    assert costs.loc["dtvg", "score"] == pytest.approx(info.wide.loc["dtvg", "average"])


def test_choosing_the_best_single_source_bears_the_cost_of_all(info: CompareInfo) -> None:
    costs = info.costs.table.set_index("method")
    one = costs.loc["single-amber"]
    for column in ("examples", "tokens", "steps", "seconds"):
        assert costs.loc[BEST_SINGLE, column] == pytest.approx(3 * one[column])
    assert costs.loc[BEST_SINGLE, "trained_parameters"] == one["trained_parameters"]
    assert costs.loc[BEST_SINGLE, "n_runs"] == 3 * one["n_runs"]


def test_published_averages_are_those_of_their_own_rows() -> None:
    table = load_published()
    wide = table.pivot(index="method", columns="task", values="value")
    for group, members in GROUPS.items():
        whole = wide.dropna(subset=[*members])
        assert len(whole) == 5
        assert whole[list(members)].mean(axis=1).to_numpy() == pytest.approx(
            whole[group].to_numpy(), abs=0.0008
        )
    assert set(table["backbone"]) == {"t5-base"} and table["source"].str.contains("arXiv").all()
    assert wide.loc["DTVG"].dropna().round(3).to_dict() == {
        "cola": 0.691,
        "glue_average": 0.874,
        "cb": 0.976,
        "superglue_average": 0.789,
    }


def test_published_numbers_of_the_targets_asked_for() -> None:
    found = published(["rte", "lake"])
    assert list(found.wide.columns) == ["rte", "glue_average"]
    assert found.wide.loc["SPoT", "rte"] == pytest.approx(0.698)
    assert np.isnan(found.wide.loc["DTVG", "rte"])
    assert "enter no mean" in found.note
    assert (
        not len(published(["lake"]).table)
        and "There is no published number" in published(["lake"]).note
    )


def test_several_numbers_of_a_method_for_one_task_stand_in_rows_of_their_own(
    tmp_path: Path,
) -> None:
    head = "method,task,metric,value,backbone,source\n"
    first = "SPoT,rte,accuracy,70,t5-base,A\nSPoT,cb,accuracy,50,t5-base,A\nMPT,rte,f1,60,,A\n"
    (tmp_path / "a.csv").write_text(head + first)
    again = "MPT,rte,f1,60,,A\nMPT,rte,f1,62,,B\nMPT,rte,f1,64,,B\n"
    (tmp_path / "b.csv").write_text(head + "SPoT,rte,accuracy,80,t5-large,A\n" + again)
    found = published(["rte", "cb"], tmp_path)
    assert found.wide["rte"].to_dict() == {
        "SPoT (t5-base)": 0.7,
        "MPT (A)": 0.6,
        "SPoT (t5-large)": 0.8,
        "MPT (B)": 0.62,
        "MPT (B) (2)": 0.64,
    }
    assert found.wide["cb"].dropna().to_dict() == {"SPoT (t5-base)": 0.5}
    assert found.table.loc[found.rows == "MPT (B)", "source"].tolist() == ["B"]


def test_a_source_with_a_number_sign_is_read_whole_and_lines_that_begin_with_one_are_not(
    tmp_path: Path,
) -> None:
    head = "# percent\n\nmethod,task,metric,value,backbone,source\n"
    rows = '# later\nSPoT,rte,accuracy,70,t5-base,Notes #12\nMPT,rte,f1,60,,"A, table 2"\n'
    (tmp_path / "a.csv").write_text("\ufeff" + head + rows, encoding="utf-8")
    table = load_published(tmp_path)
    assert table["source"].tolist() == ["Notes #12", "A, table 2"]
    assert table["value"].tolist() == [0.7, 0.6] and table["backbone"].isna().tolist()[1]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("method,task\na,b\n", "no column 'metric'"),
        ("method,task,metric,value,backbone,source\na,b,c,many,d,e\n", "got 'many'"),
        ("method,task,metric,value,backbone,source\na,b,c,50,d,\n", "without a source"),
        ("method,task,metric,value,backbone,source\na,b,c,50,d,e, table 2\n", "7 entries for 6"),
        ("", "no column 'method'"),
    ],
)
def test_a_faulty_file_of_published_numbers_is_named(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "odd.csv").write_text(text)
    with pytest.raises(DataError, match=told):
        load_published(tmp_path)


def test_the_score_beside_the_cost_is_over_what_every_method_finished(tmp_path: Path) -> None:
    made = record(tmp_path, mostly_right(RATES), config(methods=["none", "dtvg"]))
    assert len(made.config.targets) == 2
    first, second = made.config.targets
    kept = [r for r in made.runs if r.target == first or r.method == "none"]
    info = compare_info(kept)
    costs = info.costs.table.set_index("method")
    for method in ("none", "dtvg"):
        assert costs.loc[method, "score"] == pytest.approx(info.wide.loc[method, first])
    assert f"Score over {first}:" in info.costs.note and second not in info.costs.note
    alone = compare_info([r for r in made.runs if r.target == first and r.method == "none"])
    assert alone.costs.table["score"].notna().all()


def test_seconds_alone_are_shared_by_the_whole_cohort_whatever_is_compared() -> None:
    recorded = open_experiment(paths.examples() / "demo-recorded")
    two = [r for r in recorded.runs if r.name in ("trip-mood.none.s0", "trip-mood.dtvg.s0")]
    together = sum(r.cohort == two[0].cohort for r in recorded.runs)
    table = compare_info(two).costs.table
    assert together > 2 and len(table)
    assert (table["seconds"] / table["seconds_alone"]).to_list() == pytest.approx([together] * 2)


def test_target_steps_are_those_of_each_runs_own_target(experiment: Experiment) -> None:
    from dtvg.analysis.compare.budgets import _of_runs

    mine = [r for r in experiment.runs if r.method == "dtvg" and r.seed == 0]
    found = []
    for run in mine:
        given = {mine[0].target: "0123456789abcdef"}
        assert run.config is not None
        prompt = run.config.prompt.model_copy(update={"given": given})
        made = run.config.model_copy(update={"prompt": prompt})
        (run.path / "config.yaml").write_text(made.to_yaml(), encoding="utf-8")
        found.append(made.target_steps)
    assert len(set(found)) == 2
    assert _of_runs(mine)["target_steps"] == pytest.approx(np.mean(found))
