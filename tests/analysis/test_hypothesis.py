"""The declared comparison is tested alone, shown everywhere, and part of no run."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dtvg import api
from dtvg.analysis.compare.hypothesis import Declared, _beyond
from dtvg.analysis.compare.info import BEST_SINGLE, MEAN_SINGLE, compare_info
from dtvg.analysis.compare.lines import verdict_notes, verdicts_shown
from dtvg.analysis.pools import pool
from dtvg.cli import main
from dtvg.config import RunConfig
from dtvg.export import export, frame_of, to_parquet
from dtvg.store.reader import Experiment
from tests.analysis.answered import Answer, config, mostly_right, record

METHODS = ["none", "target_only", "single", "all_sources", "dtvg"]
TOLD = {"better": "dtvg", "than": "none", "on": "average", "margin": 1}


def skilled(gain: float, spread: float = 0.1) -> Answer:
    """Answers of a known truth: dtvg is right more often by `gain`, all others are equal.

    Examples differ in difficulty, seeds in skill (`spread`, log-odds), as in the simulations.
    """
    rng = np.random.default_rng(11)
    hard = {t: rng.normal(1.2, 1.0, 1000) for t in ("lake", "moor", "fen", "tarn")}

    def answer(run: RunConfig, right: Sequence[str], draw: np.random.Generator) -> list[str]:
        odds = hard[run.target][: len(right)] + draw.normal(0, spread)
        chance = 1 / (1 + np.exp(-odds)) + (gain if run.method.name == "dtvg" else 0)
        keep = draw.random(len(right)) < chance
        return [r if k else str(1 - int(r)) for r, k in zip(right, keep, strict=True)]

    return answer


def made(root: Path, gain: float, n: int = 250, **changes: Any) -> Experiment:
    values = {"methods": METHODS, "seeds": list(range(5)), "hypothesis": TOLD, **changes}
    return record(root, skilled(gain), config("told", **values), n)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return made(tmp_path_factory.mktemp("runs"), 0.09)


def test_the_declared_comparison_is_tested_alone_and_the_rest_together(store: Experiment) -> None:
    info = compare_info(store.runs)
    average = info.paired.of("average").set_index("baseline")
    primary = average.loc["none"]
    assert primary["family"] == "primary" and primary["correction"] == "alone"
    assert primary["p_corrected"] == primary["p"] and primary["verdict"] == "better"
    ends = sorted([primary["low"], primary["low_both"]])
    assert primary["low_corrected"] == pytest.approx(ends[0], abs=1e-9)
    assert average.loc["all_sources", "family"] == "exploratory"
    assert info.paired.family_sizes == {"average": 1, "targets": 4}
    targets = info.verdicts[info.verdicts["target"] != "average"]
    tested = targets[targets["family"] == "exploratory"]
    assert set(tested["baseline"]) == {"none", "all_sources"}
    assert (tested["p_corrected"] >= tested["p"]).all()
    inside = (tested["low_corrected"] <= tested["low_both"]) | (tested["low_corrected"] == 0)
    assert inside.all()


def test_rows_nobody_would_choose_are_in_no_family(store: Experiment) -> None:
    table = compare_info(store.runs).verdicts
    reference = table[table["family"] == "reference"]
    assert set(reference["baseline"]) == {"target_only", BEST_SINGLE, MEAN_SINGLE}
    assert set(reference["verdict"]) == {"for reference, not tested"}
    assert reference["p_corrected"].isna().all() and reference["difference"].notna().all()
    named = compare_info(store.runs, baselines=["target_only"]).verdicts
    assert set(named["family"]) == {"exploratory"} and named["p_corrected"].notna().all()


def test_the_declared_comparison_is_shown_whatever_is_in_question(store: Experiment) -> None:
    info = compare_info(store.runs, subject="all_sources")
    (one,) = info.primary
    assert one.row is not None and one.row["subject"] == "dtvg" and one.row["n_seeds"] == 5
    assert one.sentence.startswith("Primary comparison, declared in the experiment: dtvg is better")
    assert (
        "Tested alone at 5 %: better, at least +" in one.sentence and "500 examples" in one.sentence
    )
    assert "exceeds the margin" in one.sentence
    turned = compare_info(store.runs, subject="none").paired.of("average").set_index("baseline")
    assert turned.loc["dtvg", "family"] == "primary" and turned.loc["dtvg", "verdict"] == "worse"
    validation = compare_info(store.runs, split="validation")
    assert not validation.primary and "primary" not in set(validation.verdicts["family"])
    assert "everything is exploratory" in validation.declared_note


def test_every_place_shows_it(
    store: Experiment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info = compare_info(store.runs)
    (one,) = info.primary
    said = one.row["statement"]
    assert main(["runs", "compare", str(store.path)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Primary comparison" in printed and said in printed
    for form in ("md", "latex"):
        text = export(info, form)
        assert "Primary comparison" in text and said.replace("+", "+") in text
    csv = pd.read_csv(io.StringIO(export(info, "csv", ["primary"])))
    assert csv.loc[0, "statement"] == said and csv.loc[0, "margin"] == 0.01
    out = tmp_path / "v.parquet"
    words = ["runs", "compare", str(store.path), "--format", "parquet", "--out", str(out)]
    assert main([*words, "--tables", "verdicts"]) == 0
    pd.testing.assert_frame_equal(
        pd.read_parquet(out), pd.read_parquet(io.BytesIO(to_parquet(info, "verdicts")))
    )
    assert pd.read_parquet(out)["p_corrected"].tolist() == pytest.approx(
        frame_of(info, "verdicts")["p_corrected"].tolist(), nan_ok=True
    )
    table = api.open_experiment(store.path).primary()
    assert table.loc[0, "sentence"] == one.sentence
    assert main([*words[:-2], "--tables", "verdicts"]) == 2


def test_the_report_shows_it(store: Experiment) -> None:
    from dtvg.report import build_report

    text = build_report(store, None, ["scores"])
    (one,) = compare_info(store.runs).primary
    said = (
        one.sentence.split(" (")[0].replace("dtvg", "DTVG").replace("than none", "than No transfer")
    )
    assert said in text and one.row["statement"].replace("+", "+") in text


def test_no_difference_is_put_as_a_bound(tmp_path: Path) -> None:
    info = compare_info(made(tmp_path, 0.0, n=600).runs)
    shown = verdicts_shown(info)
    tested = shown[shown["tested"] != "reference"]
    assert not tested["verdict"].str.contains("no difference").any()
    words = r"(undecided \(within ±|within the margin \(±)\d+\.\d points\)"
    assert tested["verdict"].str.fullmatch(words).all()
    assert "no difference" not in " ".join(verdict_notes(info))
    wide = compare_info(made(tmp_path / "wide", 0.0, n=600, hypothesis={**TOLD, "margin": 25}).runs)
    row = wide.primary[0].row
    assert row["verdict"] == "within the margin" and "smaller than the margin" in wide.declared_note


def drawn_anew(gain: float, trial: int) -> Answer:
    """`skilled` with other random numbers in each trial."""
    answer, rng = skilled(gain), np.random.default_rng([trial, round(100 * gain)])

    def again(run: RunConfig, right: Sequence[str], draw: np.random.Generator) -> Sequence[str]:
        return answer(run, right, np.random.default_rng(rng.integers(1 << 40)))

    return again


@pytest.mark.parametrize("trials", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_a_known_truth_is_found_and_no_other(tmp_path: Path, trials: int) -> None:
    """Five seeds, two targets with 250 examples: 9 points better, and equally good."""
    wanted = config("t", methods=["none", "dtvg"], seeds=list(range(5)), hypothesis=TOLD)
    found = {0.0: 0, 0.09: 0}
    for gain in found:
        for trial in range(trials):
            store = record(tmp_path / f"{gain}-{trial}", drawn_anew(gain, trial), wanted, 250)
            found[gain] += compare_info(store.runs).primary[0].row["verdict"] == "better"
    assert found[0.0] == 0 and found[0.09] >= trials - 1


def test_a_hypothesis_on_one_target_or_of_several_experiments(tmp_path: Path) -> None:
    one = made(tmp_path, 0.1, hypothesis={**TOLD, "on": "lake"}, methods=["none", "dtvg"])
    other = record(
        tmp_path,
        skilled(0.1),
        config("other", methods=["none", "dtvg"], targets=["lake"], hypothesis=TOLD),
        250,
    )
    info = compare_info([*one.runs, *other.runs])
    assert [p.declared.on for p in info.primary] == ["lake", "lake"]
    assert [p.row["n_seeds"] for p in info.primary] == [5, 3]
    assert all(p.sentence.count(f"{p.declared.experiment}: dtvg") == 1 for p in info.primary)
    primary = info.verdicts[info.verdicts["family"] == "primary"]
    assert set(zip(primary["subject"], primary["target"], strict=True)) == {
        ("told: dtvg", "lake"),
        ("other: dtvg", "lake"),
    }


def test_of_several_margins_of_one_comparison_the_least_is_set_against_the_table(
    tmp_path: Path,
) -> None:
    parts = []
    for name, seeds, margin in (("a", [0, 1, 2], 1), ("b", [3, 4, 5], 30)):
        told = {"better": "dtvg", "than": "none", "on": "lake", "margin": margin}
        some = config(
            name, targets=["lake"], methods=["none", "dtvg"], seeds=seeds, hypothesis=told
        )
        parts.append(record(tmp_path, mostly_right({"dtvg": 0.6, "none": 0.6}), some, n=400))
    info = compare_info(pool(parts).runs)
    first, second = (one.sentence for one in info.primary)
    assert "undecided (within ±" in first and "within the margin (±" in second
    assert info.verdicts["verdict"].tolist() == ["undecided"]


def test_unfinished_runs_are_said(tmp_path: Path) -> None:
    wanted = config("early", methods=["none", "dtvg"], hypothesis=TOLD)
    names = [r.name for r in wanted.runs() if r.method.name == "dtvg"]
    info = compare_info(record(tmp_path, skilled(0.0), wanted, unfinished=names).runs)
    assert info.primary[0].row is None and "No seed has finished" in info.declared_note
    assert "No seed has finished" in export(info, "md")


def test_targets_as_random_effects_stand_beside_the_average(tmp_path: Path) -> None:
    four = ["lake", "moor", "fen", "tarn"]
    info = compare_info(made(tmp_path, 0.1, targets=four, methods=["none", "dtvg"]).runs)
    row = info.paired.of("average").iloc[0]
    each = info.verdicts[info.verdicts["target"] != "average"]
    assert row["n_targets"] == 4
    assert each["difference"].min() <= row["random_effect"] <= each["difference"].max()
    assert row["low_random"] < row["random_effect"] < row["high_random"]
    assert info.verdicts["random_effect"].notna().sum() == 1
    column = "over targets (random effects)"
    assert ", τ " in verdicts_shown(info)[column][0]
    two = made(tmp_path / "two", 0.1, targets=["lake", "moor"], methods=["none", "dtvg"])
    said = verdicts_shown(compare_info(two.runs))[column][0]
    assert said.endswith(", no interval (2 targets)") and "…" not in said


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.02, 0.08, "The difference exceeds the margin."),
        (-0.005, 0.008, "The difference is smaller than the margin."),
        (-0.10, -0.06, "It is worse by more than the margin."),
        (-0.10, 0.005, "The difference does not exceed the margin."),
        (-0.10, 0.05, "Whether the difference exceeds the margin is open."),
    ],
)
def test_what_was_found_is_set_against_the_margin(low: float, high: float, said: str) -> None:
    one = Declared(frozenset(), "lab", "dtvg", "none", "rte", ("rte",), 0.01)
    row = pd.Series({"statement": "x", "low_corrected": low, "high_corrected": high})
    assert _beyond(one, row).strip() == said
