"""Declared studies: the gate's sentence, the power calculation, and a page that says the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from statsmodels.stats.power import TTestPower

from dtvg.config import build_config
from tests.analysis.answered import mostly_right, record
from tools import study

DECLARED = Path(__file__).resolve().parents[1] / "docs" / "studies" / "few-shot-relatives.yaml"
RELATED = {"yelp": "sst2", "paws": "qqp", "rte": "mnli"}


def scores(**gains: float) -> dict[tuple[str, str, int], float]:
    """Two seeds of `none` and of the related source, that many points apart."""
    found = {}
    for target, gain in gains.items():
        for seed in (0, 1):
            found[target, "none", seed] = 60.0 + seed
            found[target, f"single-{RELATED[target]}", seed] = 60.0 + seed + gain
    return found


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ({"yelp": 5.0, "paws": 9.0}, "2 of 3 targets passed the gate (yelp, paws); not run: rte."),
        ({"yelp": 4.9, "paws": 9.0}, "the gate is open until more targets are run."),
        ({"yelp": 4.9, "paws": 9.0, "rte": 0.0}, "This backbone cannot test the claim."),
        ({"yelp": 4.9, "paws": 0.0}, "This backbone cannot test the claim."),
        ({}, "the gate is open until more targets are run."),
    ],
)
def test_the_gate_says_whether_the_claim_can_be_tested(gains: dict[str, float], said: str) -> None:
    told = study.gate(study.gains(RELATED, scores(**gains)), points=5, targets=2)
    assert said in told
    assert (study.CANNOT in told) == said.startswith(study.CANNOT)


def test_gains_pair_seeds_that_have_both_runs() -> None:
    found = scores(yelp=6.0) | {("yelp", "none", 2): 0.0, ("yelp", "single-sst2", 3): 100.0}
    first = study.gains(RELATED, found)[0]
    assert first.gains == (6.0, 6.0) and first.mean == 6.0
    assert study.gains(RELATED, found)[1].gains == ()


def test_the_power_calculation_is_that_of_a_kept_library() -> None:
    effect = study.detectable(sd=5.3, seeds=6, level=0.05, power=0.8)
    assert TTestPower().power(effect / 5.3, nobs=6, alpha=0.05) == pytest.approx(0.8, abs=1e-3)
    needed = study.seeds_for(effect, 5.3, 0.05, 0.8)
    assert needed == 6


def test_power_is_told_at_a_strict_level_and_of_an_effect_beyond_any_number_of_seeds(
    tmp_path: Path,
) -> None:
    """The first had no root where it was looked for; of the other 1,000 seeds were said to do."""
    for level in (0.01, 0.05 / 8):
        needed = study.seeds_for(5.0, 3.0, level, 0.8)
        assert needed is not None
        most, least = (TTestPower().power(5 / 3, n, level) for n in (needed, needed - 1))
        assert most >= 0.8 > least
    power = {"level": 0.05, "power": 0.8, "effects": [0.1]}
    declared = study.Study((), {}, 5.0, 1, True, {"sd": 5.3}, power)
    assert "| 0.1 | > 1,000 |" in study.power_table(declared, tmp_path)


def test_the_page_says_what_the_declaration_computes(tmp_path: Path) -> None:
    declared = study.read(DECLARED)
    page = DECLARED.with_suffix(".md").read_text(encoding="utf-8")
    assert study.power_table(declared, tmp_path) in page
    for line in study.plan_table(declared, tmp_path).splitlines()[2:]:
        assert line.rpartition(" | ")[0] in page, "run `python -m tools.study … --write`"
    primary = declared.blocks[2]
    assert primary.config.hypothesis.declared and len(primary.config.seeds) == 6


def test_a_block_that_was_not_run_is_reported_as_not_run(tmp_path: Path) -> None:
    declared = study.read(DECLARED)
    for number in range(len(declared.blocks)):
        assert study.scores_table(declared, tmp_path, number) == f"Block {number} was not run."
    assert study.primary_text(declared, tmp_path).count("not run.") == 2


def test_a_gate_of_each_block_counts_a_target_once_in_every_block(tmp_path: Path) -> None:
    declared = study.read(DECLARED.with_name("learned-sources.yaml"))
    told = study.gate_table(declared, tmp_path)
    assert "sst2 (block 1)" in told and "sst2 (block 2)" in told and "of 2 targets" in told
    longer = study.read(DECLARED.with_name("longer-training.yaml"))
    assert "(block" not in study.gate_table(longer, tmp_path)


def test_a_gate_waits_for_every_seed_of_a_block_that_was_begun(tmp_path: Path) -> None:
    values = {
        "name": "first", "sources": ["sst2", "qqp"], "targets": ["yelp"], "seeds": [0, 1, 2],
        "methods": ["none", "single"], "prompt": {"length": 4},
        "optim": {"steps": 20, "stage1_steps": 5},
    }  # fmt: skip
    config = build_config(values)
    block = study.Block(0, "", "cpu", "first.yaml", config)
    declared = study.Study((block,), {"yelp": "sst2"}, 5.0, 1, True, {}, {})
    answer = mostly_right({"single": 0.9, "none": 0.3})
    some = [run.name for run in config.runs() if run.seed]
    record(tmp_path / "some", answer, config, unfinished=some)
    told = study.gate_table(declared, tmp_path / "some")
    assert "| 1 of 3 |  |" in told and "0 of 1 targets passed the gate" in told
    assert "not finished: yelp (block 0)" in told and "the gate is open" in told
    record(tmp_path / "all", answer, config)
    told = study.gate_table(declared, tmp_path / "all")
    assert "| 3 | yes |" in told and "1 of 1 targets passed the gate" in told


def test_a_gate_reads_methods_that_stand_at_rates_of_their_own(tmp_path: Path) -> None:
    """As after `dtvg tune`; beside the defaults, those count."""
    rated = [{"name": name, "lr": 0.1} for name in ("none", "single")]
    values = {
        "name": "first", "sources": ["sst2", "qqp"], "targets": ["yelp"], "seeds": [0],
        "methods": rated, "prompt": {"length": 4}, "optim": {"steps": 20, "stage1_steps": 5},
    }  # fmt: skip
    for methods in (rated, [*rated, "none", "single"]):
        config = build_config({**values, "methods": methods})
        block = study.Block(0, "", "cpu", "first.yaml", config)
        declared = study.Study((block,), {"yelp": "sst2"}, 5.0, 1, True, {}, {})
        root = tmp_path / str(len(methods))
        record(root, mostly_right({"single": 0.9, "none": 0.3}), config)
        found = study.scores_of([block], root)
        assert "| 1 | yes |" in study.gate_table(declared, root)
        assert ("yelp", "none", 0) in found
        assert (("yelp", config.methods[0].label, 0) in found) == (len(methods) == 4)


def test_one_seed_is_said_to_show_no_difference(tmp_path: Path) -> None:
    power = {"level": 0.05, "power": 0.8, "effects": [5.0]}
    declared = study.Study((), {}, 5.0, 1, True, {"sd": 5.3}, power)
    told = study.power_table(declared, tmp_path)
    assert told.endswith("On one target, one seed cannot show a difference.")
