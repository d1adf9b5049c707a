"""Configurations: what is refused and how it is said; round trips; expansion to runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dtvg.config import ExperimentConfig, build_config, load_config, run_name, settings_path
from dtvg.errors import ConfigError
from dtvg.methods.specs import METHODS
from dtvg.names import is_name
from dtvg.plan import plan, stage_one_runs
from dtvg.store.layout import load_experiment

BASE = {"sources": ["sst2", "mnli"], "targets": ["rte"], "methods": ["none", "single", "dtvg"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ["dtgv"]}, "Unknown method 'dtgv'. Did you mean 'dtvg'"),
        ({"optm": {}}, "Unknown key 'optm'. Did you mean 'optim'"),
        ({"optim": {"lr_promt": 1}}, "Did you mean 'lr_prompt'"),
        ({"optim": {"steps": 1e99}}, "'optim.steps'.*not as large.*got 1e"),
        ({"optim": {"lr_prompt": float("inf")}}, "'optim.lr_prompt'.*less than or equal.*got inf"),
        ({"optim": {"steps": 0}}, "'optim.steps'.*greater than or equal to 1.*got 0"),
        ({"targets": ["RTE!"]}, "'targets.0'.*a-z"),
        ({"sources": ["sst2", "sst2"]}, "'sst2' is listed twice"),
        ({"sources": []}, "needs sources"),
        *(
            ({"methods": [{"name": name, "threshold": number}]}, "'methods.0.threshold'.*a finite")
            for name in ("dtvg", "taps", "surrogate")
            for number in (float("-inf"), float("nan"))
        ),
        ({"methods": [{"name": "single", "source": "qqp"}]}, "Unknown source .*'qqp'"),
    ],
)
def test_what_is_not_allowed_is_named_with_the_nearest_match(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_config({**BASE, **change})


def test_yaml_round_trip_gives_an_equal_configuration() -> None:
    config = build_config({**BASE, "methods": ["spot", {"name": "dtvg", "rule": "exact"}]})
    again = build_config(yaml.safe_load(config.to_yaml()))
    assert again == config and again.fingerprint() == config.fingerprint()


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump({**BASE, "backbone": "some/model"}))
    config = load_config(file, ["optim.steps=7", "seeds=[4]", "backbone.revision=main"])
    assert config.optim.steps == 7 and config.seeds == (4,)
    assert config.backbone.name == "some/model" and config.backbone.revision == "main"
    with pytest.raises(ConfigError, match="has no '='"):
        load_config(file, ["optim.steps"])


def test_an_experiment_expands_to_targets_by_seeds_by_methods_without_the_target_as_source() -> (
    None
):
    config = build_config({**BASE, "targets": ["rte", "sst2"], "seeds": [0, 1]})
    names = [run.name for run in config.runs()]
    assert names[:4] == ["rte.none.s0", "rte.single-sst2.s0", "rte.single-mnli.s0", "rte.dtvg.s0"]
    of_sst2 = [run for run in config.runs() if run.target == "sst2" and run.seed == 0]
    assert [run.method.label for run in of_sst2] == ["none", "single-mnli", "dtvg"]
    assert all("sst2" not in run.sources for run in of_sst2)


def test_long_names_stay_within_eighty_characters_and_apart() -> None:
    one, other = run_name("t" * 60, "m" * 60 + "a", 0), run_name("t" * 60, "m" * 60 + "b", 0)
    assert len(one) <= 80 and one != other


@pytest.mark.parametrize("value", [1e19, 1e30, 5e-324, 0.1234567, 1e-5])
def test_a_method_s_numbers_enter_names_or_are_refused_in_a_sentence(value: float) -> None:
    def made(entry: dict) -> list[str]:
        try:
            return [run.name for run in build_config({**BASE, "methods": [entry]}).runs()]
        except ConfigError as error:
            assert len(str(error)) < 300 and "\n" not in str(error)
            return []

    for name, method in METHODS.items():
        for field in set(method.model_fields) - {"name"}:
            assert all(is_name(one) for one in made({"name": name, field: value}))
    assert all(is_name(one) for one in made({"name": "tpv_sum", "coefficients": f"rte={value}"}))
    assert "rte.dtvg-lr1e19.s0" in made({"name": "dtvg", "lr": 1e19})


def test_two_entries_whose_runs_would_share_a_name_are_refused() -> None:
    near = [{"name": "dtvg", "lr": 0.12345671}, {"name": "dtvg", "lr": 0.12345672}]
    with pytest.raises(ConfigError, match="both named 'dtvg-lr0.123457'.*differ by more"):
        build_config({**BASE, "methods": near})


@pytest.mark.parametrize(
    ("sources", "methods", "told"),
    [
        (["a", "b", "a.b"], ["oracle"], "oracle-of-a.b"),
        (["none", "b"], ["surrogate"], "surrogate-of-none"),
        (["cb-k16", "b"], ["dtvg"], "cb-k16"),
    ],
)
def test_tasks_whose_runs_would_share_a_name_are_refused_when_made_and_open_if_made_before(
    sources: list[str], methods: list[str], told: str, tmp_path: Path
) -> None:
    values = {"targets": ["cb"], "seeds": [0], "data": {"few_shot": 16}, "sources": sources}
    with pytest.raises(ConfigError, match=f"{told}'.*rename"):
        build_config({**values, "methods": methods})
    alone = build_config({**values, "sources": ["a.b", "cb-k4"], "methods": ["oracle"]})
    assert "cb.oracle-of-a.b.s0" in {run.name for run in alone.runs()}
    made = {**alone.to_values(), "sources": sources, "methods": methods}
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(made))
    assert load_experiment(tmp_path)[1].sources == tuple(sources)


def test_entries_that_differ_in_how_they_were_tuned_alone_are_one_run() -> None:
    tuned = {"targets": ["x"], "trials": 3, "date": "2026-01-01", "experiment": "e"}
    one = {"name": "single", "source": "a", "tuned": {**tuned, "fingerprint": "f"}}
    values = {"sources": ["a", "b"], "targets": ["t"], "seeds": [0]}
    made = build_config({**values, "methods": ["single", one]})
    assert [run.name for run in made.runs()] == ["t.single-a.s0", "t.single-b.s0"]


def test_the_plan_tunes_each_task_once_per_seed_and_every_mixture() -> None:
    config = build_config({**BASE, "methods": ["dtvg", "all_for_one"], "seeds": [0, 1]})
    first = stage_one_runs(config, config.runs())
    assert [r.target for r in first if r.role == "stage1"] == ["sst2", "mnli", "rte"] * 2
    assert len([r for r in first if r.role == "mixture"]) == 2
    made = plan(config)
    assert {r.name for r in made.runs} == {r.name for r in (*first, *config.runs())}


def test_every_number_that_is_bounded_below_is_bounded_above() -> None:
    rows = [leaf for name in METHODS for leaf in settings_path.method_leaves(name, name)]
    for leaf in (*settings_path.leaves(ExperimentConfig), *rows):
        marks = leaf.info.metadata
        low = any(hasattr(mark, "ge") or hasattr(mark, "gt") for mark in marks)
        high = any(hasattr(mark, "le") or hasattr(mark, "lt") for mark in marks)
        assert high or not low or leaf.path == "optim.clip_norm", leaf.path  # inf: no clipping
