"""Each claim is supported where it is true, contradicted where it is false, else left open."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from dtvg.analysis.claims.claim import CANNOT_TELL, CONTRADICTED, SUPPORTED, judged
from dtvg.analysis.claims.effects import (
    Effect,
    Part,
    Summary,
    of_evidence,
    of_seeds,
    smallest,
    summed,
)
from dtvg.analysis.claims.halves import evidences
from dtvg.analysis.claims.info import ClaimsInfo, claims_info
from dtvg.analysis.compare.evidence import Evidence
from dtvg.analysis.compare.families import NO_ANSWERS, UNDECIDED, WITHIN, judge
from dtvg.analysis.compare.over_targets import over_targets
from dtvg.analysis.pools import pool
from dtvg.analysis.statistics import Interval
from dtvg.cli import main
from dtvg.export import claims_text
from dtvg.store.reader import Run
from dtvg.testing.made_claims import World, write_world
from tests.analysis.claims.conftest import ClaimsOf, Stores


def verdicts(info: ClaimsInfo, keys: str = "abdefg") -> dict[str, str]:
    return {key: info[key].verdict for key in keys}


def test_claims_that_are_true_are_supported(claims_of: ClaimsOf) -> None:
    info = claims_of("true")
    assert verdicts(info) == dict.fromkeys("abdefg", SUPPORTED)
    assert not any(info[key].takes for key in "abdefg")
    for key, true in {"a": 0.12, "d": 0.12, "f": 0.12, "g": 0.12}.items():
        assert info[key].summary.low < true < info[key].summary.high
    assert claims_of("vectors")["c"].verdict == SUPPORTED


def test_claims_that_are_false_are_contradicted(claims_of: ClaimsOf) -> None:
    info = claims_of("false")
    assert verdicts(info) == dict.fromkeys("abdefg", CONTRADICTED)
    for key, true in {"a": -0.15, "d": -0.25, "f": -0.15}.items():
        assert info[key].summary.low < true < info[key].summary.high
    assert claims_of("prompts")["c"].verdict == CONTRADICTED


def test_claims_that_nobody_could_decide_say_what_it_would_take(claims_of: ClaimsOf) -> None:
    info = claims_of("open")
    assert verdicts(info) == dict.fromkeys("abdefg", CANNOT_TELL)
    assert all(info[key].takes for key in "abcdefg")
    assert all("One target says nothing about others" in info[key].takes for key in "af")


def test_what_is_missing_is_named(stores: Stores, claims_of: ClaimsOf) -> None:
    info = claims_of("vectors")
    assert verdicts(info) == dict.fromkeys("abdefg", CANNOT_TELL)
    assert info["a"].missing == ("oracle runs (a run on every subset of the sources)",)
    assert "logged steps" in info["b"].missing[0]
    runs = [r for r in stores("true").runs if r.method not in ("dtvg-fixed", "all_sources")]
    some = claims_info(runs)
    assert some["d"].verdict == CANNOT_TELL and np.isnan(some["d"].summary.low)
    assert [m.partition(" (")[0] for m in some["d"].missing] == [
        "runs of `dtvg-fixed`", "runs of `all_sources`",
    ]  # fmt: skip
    assert "It needs runs of `dtvg-fixed`" in some["d"].takes
    assert "(the smallest of 2 differences)" in some["d"].found
    two = claims_info([r for r in stores("true").runs if r.method in ("dtvg", "none")])
    assert two["d"].found.startswith("dtvg − none: ") and "smallest" not in two["d"].found
    nothing = claims_info([])
    assert verdicts(nothing, "abcdefg") == dict.fromkeys("abcdefg", CANNOT_TELL)
    assert all(claim.takes == "It needs finished runs." for claim in nothing.claims)


def test_an_oracle_of_another_experiment_counts_if_only_methods_differ(
    stores: Stores, tmp_path: Path
) -> None:
    true = stores("true")
    rest = replace(true, runs=tuple(r for r in true.runs if r.subset is None))
    assert claims_info(rest.runs)["a"].missing
    world = World(seeds=3, examples=300, sources=3, steps=60, methods=["oracle"])
    apart = write_world(tmp_path, world, "apart")
    info = claims_info(pool([rest, apart]).runs)
    assert info.targets == ("lake",) and not info["a"].missing
    longer = World(seeds=1, examples=300, sources=3, steps=61, methods=["none"])
    other = write_world(tmp_path, longer, "longer")
    assert claims_info(pool([rest, other]).runs).targets == ("true: lake", "longer: lake")


def test_several_targets_are_random_effects(claims_of: ClaimsOf) -> None:
    info = claims_of("several")
    assert info["f"].summary.n_targets == 4 and info["f"].summary.between > 0
    alone = info["f"].parts[info["f"].parts["n_targets"] == 1]
    ends = info["f"].summary
    assert ends.high - ends.low > (alone["high"] - alone["low"]).min() / 2
    assert "targets would show" in info["f"].takes


def test_the_smallest_of_several_is_below_where_any_is_and_above_only_where_all_are() -> None:
    def part(name: str, centre: float) -> Part:
        def interval(level: float) -> Interval:
            half = 1.0 if level < 0.96 else 2.0
            return Interval(centre - half, centre + half)

        return Part(name, [Effect("lake", {0: centre}, centre, 1.0, interval)])

    found, least = smallest([part("far", 9.0), part("near", 3.0)])
    assert least is not None and least.name == "near"
    assert (found.estimate, found.low, found.high) == (3.0, 2.0, 5.0)
    assert smallest([Part("none")]) == (Summary(), None)


def test_a_verdict_needs_an_end_of_the_interval_beyond_its_bound() -> None:
    assert judged(Summary(0.02, 0.001, 0.05), 0.01) == SUPPORTED
    assert judged(Summary(0.002, 0.001, 0.005), 0.01) == SUPPORTED
    assert judged(Summary(0.0, -0.02, 0.009), 0.01) == CONTRADICTED
    assert judged(Summary(0.0, -0.02, 0.011), 0.01) == CANNOT_TELL
    assert judged(Summary(0.0, float("nan"), float("nan")), 0.01) == CANNOT_TELL


def test_two_seeds_of_one_target_give_no_interval_and_targets_without_spread_still_weigh() -> None:
    two = summed([of_seeds("lake", {0: 0.1, 1: 0.2})])
    assert np.isnan(two.low) and "seeds" in two.problem
    still = of_seeds("moor", {0: 0.0, 1: 0.0, 2: 0.0})
    both = summed([of_seeds("lake", {0: 0.1, 1: 0.2, 2: 0.3}), still])
    assert both.n_targets == 2 and 0 < both.estimate < 0.2


def test_a_target_with_one_seed_so_far_does_not_take_the_interval_of_the_others() -> None:
    three = [of_seeds(t, {0: x, 1: x + 0.1, 2: x}) for t, x in (("a", 0.1), ("b", 0.2), ("c", 0))]
    lone = of_seeds("oak", {0: 0.9})
    assert summed([*three, lone]) == summed(three) and summed(three).n_targets == 3
    assert summed([lone, of_seeds("elm", {0: 0.1})]).problem


def test_an_experiment_in_which_nothing_varies_makes_its_target_no_surer() -> None:
    """Its variance of 0 halved the standard error of the target that both have."""
    moor = of_seeds("a: moor", {0: 0.02, 1: 0.04, 2: 0.06})
    lake = of_seeds("a: lake", {0: 0.01, 1: 0.05, 2: 0.03})
    still = of_seeds("b: lake", {0: 0.03, 1: 0.03, 2: 0.03})
    alone, both = summed([lake, moor]), summed([lake, still, moor])
    assert (both.low, both.high) == pytest.approx((alone.low, alone.high))
    assert both.n_targets == 2


def test_differences_that_are_equal_but_for_rounding_do_not_outweigh_all_targets() -> None:
    """Right answers of 50 by seed, of one method and of the other; the first are 4 apart."""
    right = {"lake": ([36, 19, 32], [32, 15, 28]), "moor": ([27, 20, 31], [24, 16, 26]),
             "nook": ([18, 28, 40], [20, 29, 35])}  # fmt: skip
    known = {
        name: Evidence({s: a / 50 - b / 50 for s, (a, b) in enumerate(zip(*both, strict=True))},
                       0, None, None, None)
        for name, both in right.items()
    }  # fmt: skip
    assert 0 < known["lake"].d.var() < 1e-30
    found = summed([of_evidence(name, one) for name, one in known.items()])
    page = over_targets(list(known.values()))
    assert (page.mean, page.low, page.high) == (found.estimate, found.low, found.high)
    assert page.n_targets == found.n_targets == 3
    exact = {**known, "lake": Evidence(dict.fromkeys(range(3), 0.08), 0, None, None, None)}
    wanted = summed([of_evidence(name, one) for name, one in exact.items()])
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-6)
    assert found.high - found.low > 0.05
    still = Evidence(dict.fromkeys(range(3), 0.0), 0, None, None, None)
    assert over_targets([known["moor"], known["nook"], still]).n_targets == 3


def test_seeds_that_all_differ_by_the_same_support_no_more_than_the_compare_page_says() -> None:
    rng = np.random.default_rng(0)
    by_example = np.sort(rng.choice([0.0, 0.0, 0.0, 1.0], 200))

    def known(seeds: int) -> Evidence:
        table = np.array([np.roll(by_example, s) for s in range(seeds)])
        return evidences({"": table}, range(seeds), 0)[""]

    for seeds, verdict in ((3, UNDECIDED), (6, "better")):
        (page,) = judge([known(seeds)])
        claim = summed([of_evidence("lake", known(seeds))])
        assert page.verdict == verdict
        assert (claim.low, claim.high) == (page.interval.low, page.interval.high)
    three = summed([of_evidence("lake", known(3))])
    assert judged(three, 0.01) == CANNOT_TELL and three.needs == "at least 6 seeds"


def test_equal_answers_to_few_examples_do_not_exclude_an_effect_that_matters() -> None:
    """Of n examples that do not differ, 97.5 % hold where a share 1 − 0.025^(1/n) would."""

    def known(value: float, count: int) -> Evidence:
        return evidences({"": np.full((3, count), value)}, range(3), 0)[""]

    for count, verdict, page in ((20, CANNOT_TELL, UNDECIDED), (500, CONTRADICTED, WITHIN)):
        found = summed([of_evidence("lake", known(0.0, count))])
        share = 1 - 0.025 ** (1 / count)
        assert stats.binom.pmf(0, count, share) == pytest.approx(0.025)
        assert (found.low, found.high) == pytest.approx((-share, share))
        assert judged(found, 0.01) == verdict
        assert judge([known(0.0, count)], [0.01])[0].verdict == page
    both = [of_evidence(name, known(0.0, 20)) for name in ("lake", "moor")]
    assert summed(both).high == pytest.approx(1 - 0.025 ** (1 / 40))
    silent = Evidence(dict.fromkeys(range(3), 0.0), 0, None, None, None)
    assert summed([of_evidence(name, silent) for name in ("lake", "moor")]).problem == NO_ANSWERS
    two = Evidence(dict.fromkeys(range(2), 0.0), 0, None, None, None)
    assert np.isnan(summed([of_evidence(name, two) for name in ("lake", "moor")]).high)
    ends = known(1.0, 20).interval()
    assert (ends.low, ends.high) == pytest.approx((1 - 2 * (1 - 0.025 ** (1 / 20)), 1))


def test_every_door_says_the_same(
    stores: Stores,
    claims_of: ClaimsOf,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    import dtvg
    from dtvg.analysis.claims import info as module
    from dtvg.report import build_report

    experiment, info = stores("true"), claims_of("true")
    asked: list[tuple[int, float | None]] = []

    def once(runs: Sequence[Run], margin: float | None = None) -> ClaimsInfo:
        asked.append((len(runs), margin))
        return info

    monkeypatch.setattr(module, "claims_info", once)
    place, out = str(experiment.path), tmp_path / "claims.parquet"
    assert main(["claims", place, "--format", "json", "--margin", "2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [c["verdict"] for c in told["claims"]] == list(info.table["verdict"])
    assert told["claims"][5]["estimate"] == pytest.approx(info["f"].summary.estimate)
    assert main(["claims", place, "--parts"]) == 0
    assert "supported" in capsys.readouterr().out
    assert main(["claims", place, "--format", "parquet", "--out", str(out)]) == 0
    assert main(["claims", place, "--format", "parquet"]) == 2
    assert main(["claims", place, "--margin", "101"]) == 2
    numbers = info["f"].numbers
    assert numbers in claims_text(info, "md") and "booktabs" in claims_text(info, "latex")
    assert len(claims_text(info, "csv").splitlines()) == 8
    assert dtvg.claims(experiment.path, margin=0.5).claims is info.claims
    assert len(dtvg.open_experiment(experiment.path).figure("claims").data) >= 12
    page = build_report(experiment, None, ["claims"])
    assert numbers in page and page.count("Plotly.newPlot") == 7
    assert {count for count, _ in asked} == {len(experiment.runs)}
    assert [margin for _, margin in asked if margin is not None] == [0.02, 0.5]


def test_parts_are_in_every_format_that_holds_them_and_refused_in_the_one_that_does_not(
    stores: Stores,
    claims_of: ClaimsOf,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dtvg.analysis.claims import info as module
    from dtvg.analysis.claims.lines import parts_shown

    info, place = claims_of("true"), str(stores("true").path)
    monkeypatch.setattr(module, "claims_info", lambda *_: info)
    shown = [str(row["estimate"]) for c in info.claims for _, row in parts_shown(c).iterrows()]
    out, told = tmp_path / "claims.txt", {}
    for form in ("table", "md", "csv", "json"):
        assert main(["claims", place, "--parts", "--format", form, "--out", str(out)]) == 0
        told[form] = out.read_text(encoding="utf-8")
    assert told["table"] == told["md"] == claims_text(info, "md", True, "true")
    lines = told["md"].partition("### (a)")[2].splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| ")]
    assert [cells[2] for cells in rows if cells[0] not in ("| comparison", "| ---")] == shown
    assert len(told["csv"].splitlines()) == 1 + len(info.parts)
    assert sum(len(c["parts"]) for c in json.loads(told["json"])["claims"]) == len(info.parts)
    assert "### (a)" not in claims_text(info, "md")
    monkeypatch.setattr(module, "claims_info", lambda *_: pytest.fail("computed before"))
    out.unlink()
    capsys.readouterr()
    assert main(["claims", place, "--parts", "--format", "latex", "--out", str(out)]) == 2
    assert "leave --parts out, or choose md, csv, parquet or json" in capsys.readouterr().err
    assert not out.exists()


def test_seeds_that_lack_a_single_source_are_named(stores: Stores) -> None:
    runs = [
        replace(run, result=None)
        if (run.seed, run.method) in ((1, "single-birch"), (2, "single-birch"), (2, "single-elm"))
        else run
        for run in stores("vectors").runs
    ]
    claim = claims_info(runs)["c"]
    target = claims_info(runs).targets[0]
    assert claim.found.endswith(
        f"{target}: seeds 1 and 2 do not count, since finished single runs of birch and elm are "
        "missing there."
    )
    assert "do not count" not in claims_info(stores("vectors").runs)["c"].found
