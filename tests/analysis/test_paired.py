"""Verdicts against numbers computed from the Parquet files by hand, and their limits."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from dtvg.analysis.compare.families import NO_ANSWERS, NOT_ENOUGH, in_words
from dtvg.analysis.compare.info import compare_info
from dtvg.analysis.compare.lines import verdicts_shown
from dtvg.analysis.statistics import holm, seeds_for_power, student_p
from dtvg.config import RunConfig
from dtvg.store.reader import Experiment
from tests.analysis.answered import config, mostly_right, record

RATES = {"none": 0.62, "all_sources": 0.7, "dtvg": 0.85}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return record(tmp_path_factory.mktemp("runs"), mostly_right(RATES))


@pytest.fixture(scope="module")
def table(experiment: Experiment) -> pd.DataFrame:
    return compare_info(experiment.runs).paired.table


def by_hand(experiment: Experiment, method: str, target: str) -> pd.DataFrame:
    """Seed × example: right or not, from the part files alone."""
    rows = {}
    for seed in (0, 1, 2):
        folder = experiment.path / f"{target}.{method}.s{seed}"
        best = json.loads((folder / "result.json").read_text())["best_step"]
        frame = pd.concat(pd.read_parquet(p) for p in (folder / "predictions").glob("part-*"))
        frame = frame[(frame["split"] == "test") & (frame["step"] == best)]
        rows[seed] = frame.set_index("row")["correct"].astype(float)
    return pd.DataFrame(rows).T


def row_of(table: pd.DataFrame, baseline: str, target: str) -> pd.Series:
    return table[(table["baseline"] == baseline) & (table["target"] == target)].iloc[0]


@pytest.mark.parametrize("baseline", ["none", "all_sources"])
@pytest.mark.parametrize("target", ["lake", "moor"])
def test_difference_interval_and_p_over_seeds_as_by_hand(
    experiment: Experiment, table: pd.DataFrame, baseline: str, target: str
) -> None:
    a, b = (by_hand(experiment, m, target).mean(axis=1) for m in ("dtvg", baseline))
    row, d = row_of(table, baseline, target), (a - b).to_numpy()
    interval = stats.ttest_rel(a, b).confidence_interval(0.95)
    flips = [abs(np.dot(s, d)) for s in itertools.product((1, -1), repeat=3)]
    assert row["difference"] == pytest.approx(d.mean())
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    assert row["p_seeds"] == np.mean([f >= abs(d.sum()) - 1e-12 for f in flips])
    assert row["cohen_d"] == pytest.approx(d.mean() / d.std(ddof=1))


@pytest.mark.parametrize("baseline", ["none", "all_sources"])
def test_intervals_over_seeds_and_examples_as_by_hand(
    experiment: Experiment, table: pd.DataFrame, baseline: str
) -> None:
    rng = np.random.default_rng(99)
    per_target = []
    for target in ("lake", "moor"):
        a, b = (by_hand(experiment, m, target).to_numpy() for m in ("dtvg", baseline))
        per_target.append(a - b)
    both = {"lake": [], "moor": [], "average": []}  # type: ignore[var-annotated]
    fixed = {"lake": [], "moor": [], "average": []}  # type: ignore[var-annotated]
    for _ in range(6_000):
        seeds = rng.integers(0, 3, 3)
        drawn = [d[:, rng.integers(0, d.shape[1], d.shape[1])] for d in per_target]
        for out, means in (
            (both, [d[seeds].mean() for d in drawn]),
            (fixed, [d.mean() for d in drawn]),
        ):
            out["lake"].append(means[0])
            out["moor"].append(means[1])
            out["average"].append(np.mean(means))
    for target in both:
        row = row_of(table, baseline, target)
        for name, values in (("both", both[target]), ("examples", fixed[target])):
            ends = [row[f"low_{name}"], row[f"high_{name}"]]
            assert ends == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.012)
        tail = min(np.mean(np.array(both[target]) <= 0), np.mean(np.array(both[target]) >= 0))
        assert row["p_both"] == pytest.approx(min(1, 2 * tail), abs=0.02)


def test_mcnemar_as_by_hand(experiment: Experiment, table: pd.DataFrame) -> None:
    for baseline, target in itertools.product(("none", "all_sources"), ("lake", "moor")):
        a, b = (by_hand(experiment, m, target).sum() for m in ("dtvg", baseline))
        first, second = int((a > b).sum()), int((a < b).sum())
        row, n = row_of(table, baseline, target), first + second
        assert (row["only_subject"], row["only_baseline"]) == (first, second)
        p = stats.binomtest(min(first, second), n).pvalue
        if n >= 25:
            assert row["examples_test"] == "McNemar, mid-p"
            p -= stats.binom.pmf(min(first, second), n, 0.5)
        assert row["p_examples"] == pytest.approx(min(1, p))


def test_examples_won_that_point_another_way_than_the_scores_decide_nothing(tmp_path: Path) -> None:
    """The baseline loses 20 examples with every seed, the subject 60 with one seed each."""

    def answer(run: RunConfig, right: Sequence[str], rng: np.random.Generator) -> list[str]:
        mine = run.method.name == "dtvg"
        wrong = {i for i in range(20, 80) if mine and i % 3 == run.seed} or set(range(20))
        return [str(1 - int(r)) if i in wrong else r for i, r in enumerate(right)]

    wanted = config(methods=["none", "dtvg"], targets=["lake"])
    row = compare_info(record(tmp_path, answer, wanted, n=200).runs).verdicts.iloc[0]
    assert (row["difference"], row["only_subject"], row["only_baseline"]) == (0, 20, 60)
    assert row["p_examples_holm"] < 0.001 and row["verdict_runs"] == "undecided"


def test_holm_corrects_the_average_and_the_targets_as_two_families(table: pd.DataFrame) -> None:
    for family in (["average"], ["lake", "moor"]):
        rows = table[table["target"].isin(family)]
        for p, corrected in (("p", "p_holm"), ("p_examples", "p_examples_holm")):
            ranked = sorted(rows[p])
            for value, got in zip(rows[p], rows[corrected], strict=True):
                largest = max(
                    min(1, (len(ranked) - i) * q) for i, q in enumerate(ranked) if q <= value
                )
                assert got == pytest.approx(largest)
    assert (table["p"] == np.maximum(table["p_student"], table["p_both"])).all()
    assert (table["p_corrected"] == table["p_holm"]).all() and set(table["correction"]) == {"Holm"}


def test_p_over_seeds_is_students_t_of_scipy(experiment: Experiment, table: pd.DataFrame) -> None:
    for baseline, target in itertools.product(("none", "all_sources"), ("lake", "moor")):
        a, b = (by_hand(experiment, m, target).mean(axis=1) for m in ("dtvg", baseline))
        p = row_of(table, baseline, target)["p_student"]
        assert p == pytest.approx(stats.ttest_rel(a, b).pvalue)


def test_three_seeds_can_speak_and_fewer_cannot(table: pd.DataFrame) -> None:
    assert row_of(table, "none", "lake")["verdict"] in ("better", "undecided")
    assert NOT_ENOUGH not in set(table["verdict"])
    assert row_of(table, "none", "average")["verdict_runs"] == "better"
    assert set(table["seeds_attainable"]) == {3}


def test_swapping_subject_and_baseline_turns_every_sign(experiment: Experiment) -> None:
    one = compare_info(experiment.runs, subject="dtvg", baselines=["none"]).paired.table
    two = compare_info(experiment.runs, subject="none", baselines=["dtvg"]).paired.table
    assert two["difference"].to_numpy() == pytest.approx(-one["difference"].to_numpy())
    for low, high in (
        ("low", "high"),
        ("low_both", "high_both"),
        ("low_examples", "high_examples"),
    ):
        assert two[low].to_numpy() == pytest.approx(-one[high].to_numpy(), abs=1e-12)
    assert two["p_holm"].tolist() == one["p_holm"].tolist()
    assert two["only_subject"].tolist()[1:] == one["only_baseline"].tolist()[1:]


def test_enough_seeds_give_verdicts_both_ways(tmp_path: Path) -> None:
    many = config(targets=["lake"], seeds=list(range(8)))
    answer = mostly_right({"none": 0.6, "dtvg": 0.8, "all_sources": 0.97})
    found = compare_info(record(tmp_path, answer, many).runs).paired.table
    assert dict(zip(found["baseline"], found["verdict"], strict=True)) == {
        "none": "better",
        "all_sources": "worse",
    }
    assert (found["p_corrected"] <= 0.05).all() and (found["seeds_needed"] >= 3).all()
    assert set(found["correction"]) == {"joint sign flips"}
    # the larger of joint sign flips for the seeds and Holm for the examples
    both = holm(found["p_both"].to_numpy())
    want = np.maximum(np.maximum(found["p_joint"], both), found["p"])
    assert found["p_corrected"].to_numpy() == pytest.approx(want)
    said = dict(zip(found["baseline"], found["statement"], strict=True))
    assert said["none"].startswith("at least +") and said["all_sources"].startswith("at least −")


def test_chance_alone_gives_no_verdict(tmp_path: Path) -> None:
    many = config(targets=["lake"], seeds=list(range(8)))
    answer = mostly_right(dict.fromkeys(("none", "dtvg", "all_sources"), 0.7))
    found = compare_info(record(tmp_path, answer, many).runs).paired.table
    assert set(found["verdict"]) == {"undecided"}
    for row in found.itertuples():
        most = 100 * max(-row.low_corrected, row.high_corrected)
        assert row.low_corrected <= 0 <= row.high_corrected
        said = float(row.statement.removeprefix("differs by less than "))
        assert most <= said <= most + 0.1


def test_what_is_undecided_is_never_put_as_a_result() -> None:
    assert in_words("undecided", "differs by less than 8.3") == "undecided (within ±8.3 points)"
    within = in_words("within the margin", "differs by less than 0.4")
    assert within == "within the margin (±0.4 points)"
    assert in_words("better", "at least +1.2") == "better, at least +1.2 points"
    assert in_words("worse", "below 0") == "worse, below 0"
    assert in_words("not enough seeds for a verdict", "") == "not enough seeds for a verdict"


def test_seeds_that_agree_on_few_examples_are_no_verdict(tmp_path: Path) -> None:
    """Every seed is ahead by the same single example: luck of that example, not of the seeds."""

    def answer(run: RunConfig, right: list[str], rng: np.random.Generator) -> list[str]:
        wrong = 1 if run.method.name == "dtvg" else 2
        return [str(1 - int(r)) if i < wrong else r for i, r in enumerate(right)]

    many = config(targets=["lake"], seeds=list(range(8)), methods=["none", "dtvg"])
    row = compare_info(record(tmp_path, answer, many).runs).paired.table.iloc[0]
    assert row["p_seeds"] < 0.05 < row["p_both"] == row["p"]
    assert row["verdict"] == "undecided" and row["statement"].startswith("differs by less than")
    assert np.isnan(row["cohen_d"])


def test_without_answers_runs_are_paired_by_seed_only(tmp_path: Path) -> None:
    made = record(tmp_path, mostly_right(RATES), keep=lambda run: run.method.name != "none")
    info = compare_info(made.runs).paired
    row = row_of(info.table, "none", "lake")
    assert np.isnan(row["p_both"]) and np.isnan(row["p_examples"]) and row["verdict_runs"] == ""
    assert row["p"] == row["p_student"] and row["n_examples"] == 0
    # luck of the examples is not tested, and Student's t alone errs in more than 5 %
    assert row["verdict"] == NO_ANSWERS and np.isnan(row["p_corrected"]) and not row["statement"]
    assert row_of(info.table, "all_sources", "lake")["n_examples"] == 60
    assert any("3 of 9 runs stored no test answers" in text for text in info.problems)


def test_answers_that_do_not_give_the_score_are_not_used(tmp_path: Path) -> None:
    made = record(tmp_path, mostly_right(RATES))
    path = made.path / "lake.none.s0" / "result.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"test_score": content["test_score"] - 0.1}))
    info = compare_info(_again(made)).paired
    assert any("cannot be recomputed from stored answers" in text for text in info.problems)
    assert np.isnan(row_of(info.table, "none", "lake")["p_both"])
    assert row_of(info.table, "none", "moor")["p_both"] >= 0


def _again(made: Experiment) -> tuple:  # type: ignore[type-arg]
    from dtvg.store.reader import open_experiment

    return open_experiment(made.path).runs


def test_the_score_of_a_task_with_f1_is_resampled_itself(tmp_path: Path) -> None:
    one = config(targets=["mrpc"], methods=["none", "dtvg"])
    made = record(tmp_path, mostly_right({"none": 0.55, "dtvg": 0.8}), one)
    row = compare_info(made.runs).paired.table.iloc[0]
    frames, said_and_right = {}, ("target", "prediction")
    for method, seed in itertools.product(("dtvg", "none"), (0, 1, 2)):
        path = made.path / f"mrpc.{method}.s{seed}" / "predictions"
        frame = pd.concat(pd.read_parquet(p) for p in path.glob("part-*"))
        frames[(method, seed)] = {c: frame[c].astype(int).to_numpy() for c in said_and_right}

    def score(frame: dict[str, np.ndarray], at: np.ndarray) -> float:
        gold, said = (frame[c][at] for c in ("target", "prediction"))
        both = ((gold == 1) & (said == 1)).sum()
        f1 = 2 * both / max(1, (gold == 1).sum() + (said == 1).sum())
        return float((f1 + (gold == said).mean()) / 2)

    rng, found = np.random.default_rng(5), []
    for _ in range(1500):
        at = rng.integers(0, 60, 60)
        found.append(
            np.mean([score(frames["dtvg", s], at) - score(frames["none", s], at) for s in range(3)])
        )
    assert row["examples_test"] == "bootstrap" and np.isnan(row["only_subject"])
    ends = [row["low_examples"], row["high_examples"]]
    assert ends == pytest.approx(np.quantile(found, [0.025, 0.975]), abs=0.02)


def test_examples_are_paired_by_content_wherever_they_stand(tmp_path: Path) -> None:
    made = record(tmp_path, mostly_right(RATES))
    before = compare_info(made.runs).paired.table
    for path in made.path.glob("*.none.*/predictions/part-*"):
        table = pq.read_table(path)
        row = table.column("row").to_numpy()
        turned = pa.array((29 - row // 2) * 2 + row % 2)  # pairs that read alike keep their order
        place = table.column_names.index("row")
        table = table.set_column(place, table.field(place), turned)
        pq.write_table(table.sort_by("row"), path)
    after = compare_info(_again(made)).paired.table
    pd.testing.assert_frame_equal(before, after)
    assert (
        by_hand(made, "none", "lake").loc[0].tolist()
        != by_hand(made, "dtvg", "lake").loc[0].tolist()
    )


def test_targets_draw_their_examples_independently(tmp_path: Path) -> None:
    """The same rows are wrong on both targets: drawn together, the average would not narrow."""

    def answer(run: RunConfig, right: list[str], rng: np.random.Generator) -> list[str]:
        wrong = 5 if run.method.name == "dtvg" else 25
        return [str(1 - int(r)) if i < wrong else r for i, r in enumerate(right)]

    made = record(tmp_path, answer, config(methods=["none", "dtvg"]))
    table = compare_info(made.runs).paired.table.set_index("target")
    width = table["high_examples"] - table["low_examples"]
    assert width["average"] == pytest.approx(width["lake"] / np.sqrt(2), rel=0.08)


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_one_or_two_seeds_say_how_many_at_least_are_needed(
    tmp_path: Path, seeds: list[int]
) -> None:
    info = compare_info(record(tmp_path, mostly_right(RATES), config(seeds=seeds)).runs)
    assert set(info.verdicts["verdict"]) == {NOT_ENOUGH}
    average = info.paired.of("average")
    assert set(average["seeds_attainable"]) == {3} and average["seeds_needed"].isna().all()
    shown = verdicts_shown(info)
    assert set(shown.loc[shown["target"] == "average", "seeds needed"]) == {"≥ 3"}
    assert average["p_examples"].notna().all() and (
        average["p_both"].isna().all() == (seeds == [0])
    )


def test_a_handful_of_seeds_shows_differences_about_as_often_as_planned() -> None:
    rng = np.random.default_rng(4)
    for effect in (0.9, 1.3):
        n = seeds_for_power(effect)
        assert n is not None
        assert 0.78 <= (student_p(rng.normal(effect, 1, (4000, n))) <= 0.05).mean() <= 0.92
