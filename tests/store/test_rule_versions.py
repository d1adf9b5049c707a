"""The rule's version stands in each run: verify, replay and Explain decide as the run did."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from dtvg.analysis.run.explain import explain_step
from dtvg.analysis.run.replay import replay
from dtvg.config import experiment
from dtvg.methods.base import find_method
from dtvg.methods.specs import AllSources, Dtvg
from dtvg.rule.types import RULE_VERSION
from dtvg.store import renewal, versions
from dtvg.store.layout import create_experiment
from dtvg.store.merge import merge
from dtvg.store.reader import Run, open_run
from dtvg.store.verify import _check_steps
from dtvg.testing.methods import random_inputs
from dtvg.versions import HUB_COMMIT
from tests.analysis import factory

STEPS = 12


def without_target(*given: Any) -> np.ndarray:
    """Gram matrices of a target that never moved: what both versions decide differently."""
    made = factory_grams(*given)
    made[:, 0, :] = made[:, :, 0] = 0.0
    return made


factory_grams = factory.drifting_grams


def recorded(folder: Path, patch: pytest.MonkeyPatch, version: int) -> Run:
    patch.setattr(experiment, "RULE_VERSION", version)
    patch.setattr(versions, "RULE_VERSION", version)
    patch.setattr(factory, "drifting_grams", without_target)
    config = factory.config(methods=["dtvg"], targets=["lake"], seeds=[3])
    made = factory.record(folder, config, steps=STEPS)
    return next(run for run in made.runs if run.config.method.name == "dtvg")


def change_versions(run: Run, found: dict[str, int] | None) -> Run:
    """Write other versions into a run's configuration; None: as folders of before have it."""
    path = run.path / "config.yaml"
    values = yaml.safe_load(path.read_text())
    values.pop("versions")
    if found is not None:
        values["versions"] = found
    path.write_text(yaml.safe_dump(values) + "\n" * (1 if found is None else 2))
    return open_run(run.path)


def decided_otherwise(run: Run) -> list[str]:
    """What of a run's log the rule, in the run's version, does not give."""
    return [problem for problem in _check_steps(run, run.config) if "the rule gives" in problem]


def test_a_new_run_records_the_newest_version(tmp_path: Path, monkeypatch) -> None:
    run = recorded(tmp_path, monkeypatch, RULE_VERSION)
    stored = yaml.safe_load((run.path / "config.yaml").read_text())
    assert stored["versions"]["rule"] == RULE_VERSION == 2
    assert run.config.rule_settings.version == 2


@pytest.mark.parametrize("version", [1, 2])
def test_a_run_is_verified_replayed_and_explained_in_its_own_version(
    tmp_path: Path, monkeypatch, version: int
) -> None:
    with monkeypatch.context() as patch:
        run = recorded(tmp_path, patch, version)
    assert run.config.rule_settings.version == version
    assert decided_otherwise(run) == [] and replay(run).agreement == 1.0
    info = explain_step(run, 5)
    assert info.group_size == (0 if version == 2 else replay(run).replayed[4].sum())
    other = replay(run, version=3 - version)
    assert other.agreement == 0.0
    wrong = change_versions(run, {"rule": 3 - version})
    assert decided_otherwise(wrong) != []


def test_a_run_that_records_no_version_is_of_the_first(tmp_path: Path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        run = recorded(tmp_path, patch, 1)
    older = change_versions(run, None)
    assert older.config.rule_settings.version == 1
    assert decided_otherwise(older) == [] and replay(older).agreement == 1.0
    note = explain_step(older, 5).notes[0]
    assert note.startswith("The target's vector is zero") and "version 1 of the rule" in note


def test_both_versions_can_go_on_and_a_newer_one_cannot() -> None:
    assert versions.can_go_on("rule", 1) and not versions.can_go_on("rule", 3)


@pytest.mark.parametrize(
    ("made_with", "version"), [(None, 2), ({}, 1), ({"rule": 1}, 1), ({"rule": 2}, 2)]
)
def test_training_decides_in_the_version_that_a_run_was_made_with(made_with, version: int) -> None:
    inputs = random_inputs(2, 4)
    still = type(inputs)(
        inputs.init, inputs.init.clone(), inputs.source_vectors, seeds=inputs.seeds
    )
    method = find_method(Dtvg(), made_with)
    step = method.forward(method.prepare(still))
    assert method.settings.version == version
    assert bool(step.weights.any()) == (version == 1)
    if version == 2:
        assert torch.equal(step.prompt, still.init)
    everything = find_method(AllSources(), made_with)
    assert bool(everything.forward(everything.prepare(still)).weights.all())


def test_runs_are_made_anew_after_a_kill_amid_their_renewal(tmp_path: Path, monkeypatch) -> None:
    """The experiment said that it was of today, and its runs stayed of before."""
    config = factory.config(methods=["none", "dtvg"], targets=["lake"], seeds=[3])
    now = versions.versions_of_all(config)
    made = create_experiment(config, tmp_path, {**now, "rule": 1, "selection": 1})
    with monkeypatch.context() as patch:
        patch.setattr(renewal, "add_run", lambda *given: sys.exit("killed"))
        with pytest.raises(SystemExit):
            renewal.renew(made, config)
    create_experiment(config, tmp_path)
    renewal.renew(made, config)
    assert made.versions == now
    for run in made.runs():
        found = open_run(run.path).config.versions
        assert found == {part: now[part] for part in found}, run.name


def test_a_merged_experiment_keeps_what_its_runs_were_made_with(tmp_path: Path) -> None:
    """It has no commits, so its finished runs were said to be made as of today, and just now."""
    config = factory.config(methods=["none", "dtvg"], targets=["lake"], seeds=[3])
    done = factory.record(tmp_path, config, steps=STEPS).runs
    now = versions.versions_of_all(config)
    other = config.model_copy(update={"name": "merged"})
    made = merge(other, done, tmp_path, {**now, "rule": 1, HUB_COMMIT: "c0ffee"})
    files = {path: path.read_bytes() for path in made.path.rglob("*") if path.is_file()}
    renewal.renew(made, other)
    assert {path: path.read_bytes() for path in files} == files
