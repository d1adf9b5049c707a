"""What a plan says before anything is loaded: sizes offline, time and memory of the right order."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dtvg.backbones.specs import BACKBONES
from dtvg.config import build_config
from dtvg.config.budgets import tuned_words
from dtvg.plan import plan
from dtvg.plan.estimate import estimate
from dtvg.plan.words import contents, on

ROOT = Path(__file__).resolve().parents[2]


def _real(**changes):
    values = yaml.safe_load((ROOT / "examples" / "rte-from-four.yaml").read_text("utf-8"))
    return build_config({**values, **changes})


def _cost(config):
    return estimate(config, plan(config))


@pytest.mark.parametrize("name", [n for n in BACKBONES if n != "demo"])
def test_every_known_hub_id_is_planned_offline(name: str) -> None:
    made = _cost(_real(backbone=name))
    width = BACKBONES[name].width
    assert made.seconds and made.memory_gib
    counts = made.trained_parameters
    assert counts["rte.none.s0"] == 20 * width
    assert counts["rte.dtvg.s0"] == 20 * width + 20 + 4 * 20


def test_a_plan_knows_nothing_of_a_backbone_nobody_described() -> None:
    made = _cost(_real(backbone="someone/something"))
    assert made.seconds is None and made.memory_gib is None


def test_the_small_t5_on_two_cores_is_planned_within_a_factor_of_two(shared_dir: Path) -> None:
    made = _cost(_real(backbone=str(shared_dir / "models" / "mini-t5"), device={"name": "cpu"}))
    assert made.seconds is not None  # half an hour when it was run
    assert 0.5 < made.seconds / 1800 < 2


def test_the_demo_on_two_cores_is_planned_within_a_factor_of_two() -> None:
    values = yaml.safe_load((ROOT / "data" / "demo" / "experiment.yaml").read_text("utf-8"))
    made = _cost(build_config(values))
    assert made.seconds is not None  # two and a half minutes when it was run
    assert 0.5 < made.seconds / 150 < 2


def test_a_larger_backbone_more_steps_and_wider_numbers_cost_more() -> None:
    small, large = (_cost(_real(backbone=f"google-t5/t5-{s}")) for s in ("small", "base"))
    assert large.seconds > 2 * small.seconds
    assert large.memory_gib > small.memory_gib
    wide = _cost(_real(backbone="google-t5/t5-base", device={"precision": "float64"}))
    assert wide.memory_gib > large.memory_gib
    long = _cost(_real(backbone="google-t5/t5-small", optim={"steps": 3000, "stage1_steps": 300}))
    assert long.seconds > 3 * small.seconds


def test_the_printed_plan_says_on_what_and_counts_trials() -> None:
    methods = ["none", "dtvg", {"name": "surrogate", "samples": 6}]
    made = plan(_real(methods=methods, seeds=[0, 1], targets=["rte"]))
    transfers = [run for cohort in made.transfer for run in cohort.runs]
    runs = [run for run in transfers if not run.needs.trials and not run.method.trial]
    assert contents(runs) == "none, dtvg" and on(runs) == "rte; seeds 0, 1"
    trials = [run for cohort in made.transfer for run in cohort.runs if run.method.trial]
    assert contents(trials) == "12 trials of surrogate"
    assert contents(trials[:1]) == "1 trial of surrogate" and tuned_words(1) == "1 trial"
    first = [run for cohort in made.stage_one for run in cohort.runs if run.seed == 1]
    assert "rte" in contents(first) and on(first) == "seed 1"
