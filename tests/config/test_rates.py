"""A run's rates: the method's entry, then what the file names in optim, then the method's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dtvg.config import build_config, grid, load_config, with_overrides
from dtvg.config.budgets import rate_row
from dtvg.config.presets import PRESETS, clone
from dtvg.config.sections import OPEN, OptimConfig
from dtvg.config.settings_path import method_leaves
from dtvg.errors import ConfigError
from dtvg.methods.specs import METHODS
from dtvg.plan import plan
from dtvg.plan.words import budget_note, rate_rows
from dtvg.store.layout import create_experiment, load_experiment
from dtvg.training.state import RunData, RunSlot, stack_key

ROOT = Path(__file__).resolve().parents[2]
FROZEN = ROOT / "tests" / "golden" / "frozen" / "yaml"


def made(*methods: Any, **optim: Any):
    values = {"sources": ["sst2", "mnli"], "targets": ["rte"], "methods": list(methods)}
    return build_config({**values, "seeds": [0], "optim": optim})


def row(method: Any, **optim: Any):
    return rate_row(made(method, **optim).runs()[0])


def rates(run) -> tuple[float, ...]:
    slot = RunSlot(run, RunData("", (), ()), None, {})  # type: ignore[arg-type]
    found = slot.rates
    return found.prompt, found.gate, found.weight_decay


def test_the_order_is_entry_then_optim_then_the_method_s_own() -> None:
    own = made("attempt", "mpt", "dtvg", "spot", "all_for_one")
    assert [rates(run)[0] for run in own.runs()] == [0.3, 0.3, 1e-3, 0.3, 0.3]
    assert [rates(run)[1] for run in own.runs()[:2]] == [0.3, 0.4]
    assert rates(made("attempt", lr_prompt=0.05).runs()[0]) == (0.05, 0.01, 0.0)
    entry = {"name": "attempt", "lr": 0.2, "lr_gate": 0.1, "weight_decay": 0.5}
    assert rates(made(entry, lr_prompt=0.05).runs()[0]) == (0.2, 0.1, 0.5)
    spot = made({"name": "spot", "lr": 0.1}, "spot", lr_stage1=0.4)
    assert [rates(run)[0] for run in spot.runs()] == [0.1, 0.4]


def test_a_rate_that_a_method_does_not_use_leaves_it_its_own() -> None:
    assert rates(made("attempt", lr_scale=1e-2).runs()[0]) == (0.3, 0.3, 1e-5)
    assert rates(made("attempt", lr_stage1=0.5).runs()[0]) == (0.3, 0.3, 1e-5)


def test_a_null_rate_beside_a_named_one_is_the_default_as_its_field_says() -> None:
    assert rates(made("mpt", lr_prompt=None, lr_gate=0.1).runs()[0])[:2] == (1e-3, 0.1)
    assert rates(made("mpt", lr_prompt=None).runs()[0])[:2] == (0.3, 0.4)
    said = OptimConfig.model_fields["lr_prompt"].description or ""
    assert "Where a file names none of a method's rates, its own count; null names none." in said


def test_a_row_says_where_its_rates_came_from() -> None:
    assert row("mpt").rates == "prompt 0.3, gates 0.4; weight decay 1e-05"
    assert row("mpt").origin == "method's default (Wang et al. 2023, 0.4 for u and v)"
    assert row("mpt", lr_prompt=0.2).origin == "prompt: optim; gates: optim's default"
    assert row({"name": "mpt", "lr": 0.1, "lr_gate": 0.2}).origin == "method entry"
    assert row("dtvg").tuned == "rates not tuned" and row("dtvg").trials == 0
    assert all(spec.own.source for spec in METHODS.values())


def test_old_files_that_name_rates_keep_their_numbers() -> None:
    for path in sorted(FROZEN.glob("*.yaml")):
        named = (yaml.safe_load(path.read_text()).get("optim") or {}).keys() & set(OPEN)
        if "lr_prompt" not in named:
            continue
        config = load_config(path)
        for run in config.runs():
            optim, plain = config.optim, run.method.rates == "transfer"
            expected = optim.lr_prompt if plain else optim.lr_stage1
            decay = optim.weight_decay if plain else optim.weight_decay_stage1
            gate = optim.lr_gate if plain else 0.0
            assert rates(run) == (expected, gate, decay), (path.name, run.name)
            assert run.optim.model_dump() == optim.model_dump(), (path.name, run.name)


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_state_their_rates(name: str) -> None:
    config = build_config(PRESETS[name].values())
    assert set(OPEN) <= config.optim.model_fields_set
    assert all("own" not in run.rates_from.values() for run in config.runs())


def test_what_is_not_named_stays_so_in_files_copies_and_clones(tmp_path: Path) -> None:
    config = made("attempt", "dtvg", lr_scale=0.5)
    experiment = create_experiment(config, tmp_path)
    _, stored = load_experiment(experiment.path)
    assert stored.runs() == config.runs() and stored.fingerprint() == config.fingerprint()
    assert build_config(clone(config)).runs() == config.runs()
    named = made("attempt", "dtvg", lr_scale=0.5, lr_prompt=1e-3)
    assert named == config and named.fingerprint() != config.fingerprint()
    with pytest.raises(ConfigError, match="optim.lr_prompt named or left to the methods"):
        create_experiment(named, tmp_path)
    assert create_experiment(config, tmp_path).path == experiment.path
    run = yaml.safe_load((experiment.path / "rte.attempt.s0" / "config.yaml").read_text())
    assert run["optim"]["lr_prompt"] == 0.3 and run["rates_from"]["prompt"] == "own"
    one = build_config(clone(config.runs()[0])).runs()[0]
    assert rates(one) == rates(config.runs()[0])


def test_a_clone_of_a_run_with_rates_of_its_own_keeps_the_others_and_stage_one_s() -> None:
    beside = made({"name": "attempt", "lr": 0.2}, lr_prompt=0.05)
    (run,) = beside.runs()
    for of in (None, beside):
        assert rates(build_config(clone(run, of)).runs()[0]) == rates(run) == (0.2, 0.01, 0.0)
    slow = made({"name": "spot", "lr": 0.1}, lr_stage1=0.001, weight_decay_stage1=0.2)
    again = build_config(clone(slow.runs()[0], slow))
    assert again.runs() == slow.runs()
    assert again.stage_one("rte", 0) == slow.stage_one("rte", 0)


def test_null_takes_a_rate_s_name_away() -> None:
    values = with_overrides(clone(made("attempt", lr_prompt=0.05)), ["optim.lr_prompt=null"])
    assert rates(build_config(values).runs()[0])[0] == 0.3


def test_rates_of_one_method_are_set_by_dotted_path_and_vary_in_a_grid() -> None:
    base = clone(made("attempt", "dtvg"))
    changed = build_config(with_overrides(base, ["methods.attempt.lr=0.1"]))
    assert [rates(run)[0] for run in changed.runs()] == [0.1, 1e-3]
    axis = grid.parse("methods.attempt.lr", "0.1, 0.2", base)
    assert [v["methods"][0]["lr"] for v in grid.expand(base, [axis])] == [0.1, 0.2]
    assert "methods.attempt.lr_gate" in grid.settings(["attempt"])
    assert "lr_gate" not in [leaf.name for leaf in method_leaves("spot")]


def test_a_rate_without_an_effect_is_refused() -> None:
    with pytest.raises(ConfigError, match="trains nothing at 'lr_gate'"):
        made({"name": "spot", "lr_gate": 0.1})
    with pytest.raises(ConfigError, match=r"methods\.0\.lr"):
        made({"name": "spot", "lr": 0})


def test_variants_by_rate_are_runs_of_their_own_and_share_a_stack() -> None:
    config = made("attempt", {"name": "attempt", "lr": 0.1}, {"name": "attempt", "steps": 50})
    names = [run.name for run in config.runs()]
    assert names == ["rte.attempt.s0", "rte.attempt-lr0.1.s0", "rte.attempt-steps50.s0"]
    slots = [RunSlot(run, RunData("", (), ()), None, {}) for run in config.runs()]  # type: ignore[arg-type]
    assert len({stack_key(slot) for slot in slots}) == 1
    assert [slot.rates.prompt for slot in slots] == [0.3, 0.1, 0.3]
    assert [run.total_steps for run in config.runs()] == [30_000, 30_000, 50]
    labels = [m.label for m in made({"name": "tpv_sum", "lr": 0.1}, "tpv_sum").methods]
    assert labels == ["tpv_sum-lr0.1", "tpv_sum"]


def test_the_budget_is_stated_and_can_be_made_equal() -> None:
    methods = ("none", "spot", "tpv_sum", "all_for_one", "mpt", {"name": "mpt", "start": "mean"})
    budget = {"stage1_steps": 30, "steps": 20}
    apart, equal = made(*methods, **budget), made(*methods, equal_target_steps=True, **budget)
    assert [run.target_steps for run in apart.runs()] == [50, 20, 20, 50, 50, 20]
    assert {run.target_steps for run in equal.runs()} == {50}
    assert [run.total_steps for run in equal.runs()] == [20, 50, 50, 50, 20, 50]
    assert "spot, tpv_sum, mpt-mean" in budget_note(rate_rows(plan(apart)))
    assert budget_note(rate_rows(plan(equal))) == ""
    own = made({"name": "spot", "steps": 7}, equal_target_steps=True, **budget).runs()[0]
    assert own.total_steps == 7
    added = {"name": "tpv_sum", "combine": "given", "coefficients": "target=1, sst2=1"}
    assert made(added, **budget).runs()[0].target_steps == 50


def test_taps_starts_without_the_target_s_stage_one_and_runs_of_before_keep_their_steps() -> None:
    budget = {"stage1_steps": 30, "steps": 20}
    (apart,), (equal,) = (
        made("taps", equal_target_steps=more, **budget).runs() for more in (False, True)
    )
    assert (apart.total_steps, apart.target_steps) == (20, 20)
    assert (equal.total_steps, equal.target_steps) == (50, 50)
    before = [equal.model_copy(update={"versions": {"method.taps": v}}) for v in (1, 2)]
    assert [run.total_steps for run in before] == [20, 20]
    assert [run.target_steps for run in before] == [50, 20]


def test_single_sources_and_subsets_are_one_row() -> None:
    made_plan = plan(made("single", {"name": "surrogate", "samples": 4}, "oracle"))
    assert [r.method for r in rate_rows(made_plan)] == ["single", "surrogate-samples4", "oracle"]
