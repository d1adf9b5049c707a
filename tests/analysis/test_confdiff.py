"""Settings side by side: only what differs, as a person would write it."""

from __future__ import annotations

import shutil
from pathlib import Path

from dtvg.analysis.compare.confdiff import as_text, experiment_diff, flatten, run_diff
from dtvg.store.reader import Experiment, open_experiment, open_run
from tests.analysis.factory import config, find, record


def test_nested_settings_become_dotted_keys_with_readable_values() -> None:
    flat = flatten({"a": {"b": 1, "c": {"d": None}}, "e": ["x", "y"], "f": True, "g": 1e-05})
    assert flat == {"a.b": "1", "a.c.d": "none", "e": "x, y", "f": "yes", "g": "1e-05"}
    assert as_text([]) == "none" and as_text({}) == "none"


def test_only_settings_that_differ_are_shown(experiment: Experiment) -> None:
    info = run_diff([find(experiment, "dtvg"), find(experiment, "none", seed=1)], made_by=False)
    assert info.names == ("lake.dtvg.s0", "lake.none.s1")
    rows = info.table.set_index("setting")
    assert rows.loc["seed"].tolist() == ["0", "1"]
    assert rows.loc["method.name"].tolist() == ["dtvg", "none"]
    assert "optim.steps" not in rows.index
    same = info.same.set_index("setting")["value"]
    assert same["optim.steps"] == "60" and same["target"] == "lake"
    assert not {"name", "experiment"} & {*rows.index, *same.index}


def test_runs_of_several_experiments_carry_their_experiment(
    experiment: Experiment, tmp_path: Path
) -> None:
    other = record(tmp_path, config("other", optim={"steps": 30, "stage1_steps": 5}), steps=30)
    info = run_diff([find(experiment, "dtvg"), find(other, "dtvg")], made_by=False)
    assert info.names == ("trial/lake.dtvg.s0", "other/lake.dtvg.s0")
    assert info.table["setting"].tolist() == ["optim.steps"]
    both = experiment_diff([experiment, other])
    assert both.table.set_index("setting").loc["optim.steps"].tolist() == ["60", "30"]
    equal = experiment_diff([experiment, experiment])
    assert not len(equal.table)


def test_a_run_whose_configuration_is_gone_is_named(experiment: Experiment, tmp_path: Path) -> None:
    run = find(experiment, "dtvg")
    shutil.copytree(run.path, tmp_path / "x" / run.name)
    (tmp_path / "x" / run.name / "config.yaml").write_text("[broken")
    info = run_diff([run, open_run(tmp_path / "x" / run.name)])
    assert info.names == ("trial/lake.dtvg.s0",)
    assert "x/lake.dtvg.s0 cannot be read" in info.notes[0]
    assert open_experiment(tmp_path / "absent").config is None
    assert (
        "absent cannot be read" in experiment_diff([open_experiment(tmp_path / "absent")]).notes[0]
    )
