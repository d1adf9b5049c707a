"""Rows of claims: which runs are one row, and what counts while runs are still training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dtvg.analysis.claims import beating, best_group, harming
from dtvg.analysis.claims.blocks import Block, blocks_of
from dtvg.analysis.claims.claim import CONTRADICTED
from dtvg.analysis.claims.info import claims_info
from dtvg.analysis.claims.searched import search
from dtvg.analysis.compare.scores import BEST_SINGLE
from dtvg.config import ExperimentConfig
from tests.analysis.answered import config, mostly_right, record


def run(label: str, plain: str, seed: int) -> Any:
    bare = SimpleNamespace(without_rates=lambda: SimpleNamespace(label=plain))
    path = Path("lake") / f"{label}.s{seed}"
    return SimpleNamespace(method=label, path=path, config=SimpleNamespace(method=bare))


def test_rows_that_differ_in_rates_alone_are_named_apart() -> None:
    slow, fast = run("dtvg (lr 0.1)", "dtvg", 0), run("dtvg (lr 0.3)", "dtvg", 0)
    other = run("none (lr 0.3)", "none", 0)
    block = Block("lake", "lake", (slow, fast, other), 0)
    assert [block.label_of(r) for r in block.runs] == ["dtvg", "dtvg (lr 0.3)", "none"]


def test_rows_that_no_claim_reads_are_named(tmp_path: Path) -> None:
    dtvg = [{"name": "dtvg", "lr": rate} for rate in (0.1, 0.2, 0.3)]
    wanted = config(methods=["none", "all_sources", *dtvg])
    notes = claims_info(record(tmp_path, mostly_right({"dtvg": 0.7}), wanted).runs).notes
    said = [note for note in notes if "in rates or steps alone" in note]
    assert said == [
        "The claims read `dtvg-lr0.1`; `dtvg-lr0.2` and `dtvg-lr0.3`, which differ from it in "
        "rates or steps alone, are not read in its place."
    ]


def waiting(experiment: ExperimentConfig, *parts: str) -> list[str]:
    return [r.name for r in experiment.runs() if any(part in r.name for part in parts)]


def test_one_finished_source_of_several_does_not_stand_for_the_best_of_them(
    tmp_path: Path,
) -> None:
    wanted = config(methods=["none", "single", "all_sources", "dtvg"], targets=["lake"])
    answer = mostly_right({"none": 0.6, "all_sources": 0.5, "dtvg": 0.7, "single": 0.1})
    some = waiting(wanted, "birch", "cedar")
    runs = record(tmp_path / "some", answer, wanted, unfinished=some).runs
    made = beating.claim_d(blocks_of(runs), 0.01)
    assert "runs of every `single` source" in made.missing
    assert "dtvg − single" not in set(made.parts["part"]) and np.isnan(made.summary.low)
    assert "points lost by single" not in set(harming.claim(blocks_of(runs), 0.01).parts["part"])
    runs = record(tmp_path / "all", answer, wanted).runs
    assert "dtvg − single" in set(beating.claim_d(blocks_of(runs), 0.01).parts["part"])
    assert "points lost by single" in set(harming.claim(blocks_of(runs), 0.01).parts["part"])
    one = config(methods=["none", "single", "dtvg"], targets=["lake"], sources=["amber"])
    runs = record(tmp_path / "one", answer, one).runs
    assert "dtvg − single" in set(beating.claim_d(blocks_of(runs), 0.01).parts["part"])


@pytest.mark.parametrize("sources", [["amber", "birch", "cedar"], ["amber"]])
def test_of_single_sources_at_two_rates_of_their_own_the_first_are_read(
    tmp_path: Path, sources: list[str]
) -> None:
    singles = [{"name": "single", "lr": rate} for rate in (0.1, 0.2)]
    wanted = config(methods=["none", *singles, "dtvg"], targets=["lake"], sources=sources)
    (block,) = blocks_of(record(tmp_path, mostly_right({"dtvg": 0.7}), wanted).runs)
    assert block.row_of("single").startswith("single") and "lr0.1" in block.row_of("single")
    assert "dtvg − single" in set(beating.claim_d([block], 0.01).parts["part"])


def test_every_claim_reads_the_same_single_sources_and_names_the_others(tmp_path: Path) -> None:
    """Correlations and losses took whichever run of a source and seed came first."""
    singles = [{"name": "single", "lr": 0.1}, "single"]
    wanted = config(methods=["none", *singles, "dtvg"], targets=["lake"])
    some = waiting(wanted, "single-cedar.s1")
    runs = record(tmp_path, mostly_right({"dtvg": 0.7}), wanted, unfinished=some).runs
    (block,) = blocks_of(runs)
    read = {r.method for rows in block.singles.values() for r in rows.values()}
    assert read == {"single-amber", "single-birch", "single-cedar"}
    assert 1 not in block.singles["cedar"] and block.row_of("single") == BEST_SINGLE
    said = [note for note in claims_info(runs).notes if "in rates or steps alone" in note]
    assert said == [
        "The claims read `single`; `single-lr0.1`, which differs from it in rates or steps alone, "
        "is not read in its place."
    ]


def test_a_method_with_fewer_seeds_that_keeps_the_others_from_counting_is_named(
    tmp_path: Path,
) -> None:
    wanted = config(methods=["none", "all_sources", "tpv_sum", "dtvg"], targets=["lake"])
    some = waiting(wanted, "tpv_sum.s1", "tpv_sum.s2")
    runs = record(tmp_path, mostly_right({"dtvg": 0.7}), wanted, unfinished=some).runs
    made = harming.claim(blocks_of(runs), 0.01)
    assert made.summary.n_seeds == 1
    assert made.takes.endswith(
        "lake: only seeds that every method has count; fewer have `tpv_sum` (1 of 3)."
    )


def test_a_target_that_does_not_count_yet_leaves_the_verdict_of_the_others(tmp_path: Path) -> None:
    wanted = config(methods=["none", "single", "all_sources", "oracle"], seeds=[0, 1, 2, 3, 4])

    def best_all(run: Any, right: Any, rng: np.random.Generator) -> Any:
        merged = getattr(run.method, "subset", None) or run.method.always_merges(run.sources)
        keep = rng.random(len(right)) < (0.9 if len(merged or ()) == 3 else 0.5)
        return [r if k else str(1 - int(r)) for r, k in zip(right, keep, strict=True)]

    some = waiting(wanted, "moor.single", "moor.oracle-of-amber.s", "moor.oracle-of-birch.s")
    runs = record(tmp_path, best_all, wanted, n=200, unfinished=some).runs
    made = best_group.claim(blocks_of(runs), 0.01)
    assert made.summary.n_targets == 1
    assert made.verdict == CONTRADICTED and "Not every subset" not in made.found


def test_a_method_at_several_rates_counts_once_among_the_others(tmp_path: Path) -> None:
    """Each of its rows counted as a method, the one too that was said not to be read."""
    slow = [{"name": name, "lr": 0.01} for name in ("all_sources", "tpv_sum")]
    wanted = config(methods=["none", "all_sources", "tpv_sum", *slow, "dtvg"], targets=["lake"])
    runs = record(tmp_path, mostly_right({"dtvg": 0.7}), wanted).runs
    parts = set(harming.claim(blocks_of(runs), 0.01).parts["part"])
    lost = {part.removeprefix("points lost by ") for part in parts if "lost by" in part}
    assert lost == {"the others", "dtvg", "all_sources", "tpv_sum"}
    said = [note for note in claims_info(runs).notes if "in rates or steps alone" in note]
    assert [note.split("`")[1::2] for note in said] == [
        ["all_sources", "all_sources-lr0.01"],
        ["tpv_sum", "tpv_sum-lr0.01"],
    ]


def test_a_row_at_its_defaults_is_read_wherever_it_stands_and_fills_in_for_no_other(
    tmp_path: Path,
) -> None:
    """Behind one at other rates its seeds stood for those that the other lacked, unsaid."""
    slow = [{"name": name, "lr": 0.01} for name in ("none", "dtvg")]
    wanted = config(methods=[*slow, "none", "all_sources", "dtvg"], targets=["lake"])
    some = waiting(wanted, ".none-lr0.01.s1", ".none.s2")
    runs = record(tmp_path, mostly_right({"dtvg": 0.7}), wanted, unfinished=some).runs
    (block,) = blocks_of(runs)
    assert {s: r.name for s, r in block.of("none").items()} == {
        0: "lake.none.s0",
        1: "lake.none.s1",
    }
    said = [note for note in claims_info(runs).notes if "in rates or steps alone" in note]
    assert [note.split("`")[1::2] for note in said] == [
        ["none", "none-lr0.01"],
        ["dtvg", "dtvg-lr0.01"],
    ]


def test_a_search_at_other_rates_does_not_fill_in_for_the_one_that_is_read(tmp_path: Path) -> None:
    """Seeds of both stood in one table, and nothing said so."""
    searches = [{"name": "oracle", "lr": 0.01}, "oracle"]
    wanted = config(methods=["none", "single", "all_sources", *searches, "dtvg"], targets=["lake"])
    some = waiting(wanted, ".oracle-of-amber.birch.s2")
    runs = record(tmp_path, mostly_right({"oracle": 0.7}), wanted, unfinished=some).runs
    (block,) = blocks_of(runs)
    found, _ = search(block)
    assert found is not None and found.seeds == (0, 1) and found.whole
    said = [note for note in claims_info(runs).notes if "in rates or steps alone" in note]
    assert said == [
        "The claims read `oracle`; `oracle-lr0.01`, which differs from it in rates or steps alone, "
        "is not read in its place."
    ]


def test_a_target_of_several_experiments_is_one_target(tmp_path: Path) -> None:
    """Each experiment counted as a target of its own, so that their number made a claim sure."""
    answer, runs, alone = mostly_right({"dtvg": 0.75, "none": 0.6}), [], []
    for rate in (0.1, 0.2, 0.3, 0.4):
        wanted = config(
            f"at-{rate}", methods=["none", "dtvg"], targets=["lake"], optim={"lr_prompt": rate}
        )
        found = record(tmp_path, answer, wanted).runs
        runs += found
        alone.append(beating.claim_d(blocks_of(found), 0.01).parts.iloc[0])
    info = claims_info(runs)
    summary, parts = info["d"].summary, info["d"].parts
    assert (summary.n_targets, summary.n_seeds, summary.n_examples) == (1, 3, 60)
    assert len(parts) == 5 and "1 target, 3 seeds, 60 test examples" in info["d"].found
    for mine in ("estimate", "low", "high"):  # resamples of each experiment are others
        hand = np.mean([part[mine] for part in alone])
        assert parts.iloc[0][mine] == pytest.approx(hand, abs=0.01)
    assert any("one target, with the mean" in n and "lake (4 experiments)" in n for n in info.notes)


def test_a_seed_without_stored_answers_is_left_out_and_not_its_method(tmp_path: Path) -> None:
    methods = ["none", "single", "all_sources", "tpv_sum", "oracle", "dtvg"]
    wanted = config(methods=methods, targets=["lake"], seeds=[0, 1, 2, 3])
    silent = ("tpv_sum.s3", "oracle-of-amber.s2")

    def keep(run: Any) -> bool:
        return not run.name.endswith(silent)

    runs = record(tmp_path, mostly_right({"dtvg": 0.7}), wanted, keep=keep).runs
    (block,) = blocks_of(runs)
    made = harming.claim([block], 0.01)
    assert "points lost by tpv_sum" in set(made.parts["part"]) and made.summary.n_seeds == 3
    found, _ = search(block)
    assert found is not None and found.seeds == (0, 1, 3) and found.whole


def test_claims_can_be_told_as_the_first_runs_of_a_search_end(tmp_path: Path) -> None:
    """Two seeds with a subset each, of which they share none, ended in a traceback."""
    wanted = config(methods=["none", "oracle", "dtvg"], targets=["lake"])
    done = ("lake.oracle-of-amber.s0", "lake.oracle-of-birch.s1")
    some = [r.name for r in wanted.runs() if r.name not in done]
    info = claims_info(record(tmp_path, mostly_right({}), wanted, unfinished=some).runs)
    assert info["a"].missing and info["a"].evidence["subset"].tolist() == ["amber"]
