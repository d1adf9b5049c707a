"""Deleted runs lie in the trash and go back; what trains is not deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtvg.cli import main
from dtvg.config import build_config
from dtvg.errors import StoreError
from dtvg.records import RunState
from dtvg.store import trash
from dtvg.store.layout import ExperimentDir, create_experiment
from dtvg.store.reader import list_runs


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExperimentDir:
    monkeypatch.setenv("DTVG_HOME", str(tmp_path / "home"))
    values = {"name": "mine", "sources": ["mnli"], "targets": ["rte"], "methods": ["none", "dtvg"]}
    return create_experiment(build_config({**values, "seeds": [0]}), tmp_path / "home" / "runs")


def test_a_run_goes_to_the_trash_and_back(experiment: ExperimentDir) -> None:
    made = trash.delete(experiment, "rte.dtvg.s0")
    assert [r.name for r in list_runs(experiment.path.parent)] == ["rte.none.s0"]
    assert [one.name for one in trash.deleted()] == ["mine/rte.dtvg.s0"]
    assert trash.restore("mine/rte.dtvg.s0").id == made.id
    assert len(list_runs(experiment.path.parent)) == 2 and trash.deleted() == []


def test_a_whole_experiment_deleted_twice_keeps_both(experiment: ExperimentDir) -> None:
    first = trash.delete(experiment)
    assert not experiment.path.exists()
    experiment.path.mkdir()
    with pytest.raises(StoreError, match="is there again"):
        trash.restore(first.id)
    second = trash.delete(experiment)
    assert len({first.id, second.id}) == 2
    trash.restore(first.id)
    assert len(list_runs(experiment.path.parent)) == 2


def test_what_trains_and_what_is_not_there_is_refused(
    experiment: ExperimentDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match="There is no 'mine/nothing' to delete"):
        trash.delete(experiment, "nothing")
    with pytest.raises(StoreError, match="which holds nothing"):
        trash.restore("gone")
    monkeypatch.setattr(RunState, "alive", property(lambda self: True))
    with pytest.raises(StoreError, match="trains .*; stop it first"):
        trash.delete(experiment)
    assert experiment.path.is_dir()


def test_the_command_line_deletes_lists_and_restores(experiment: ExperimentDir, capsys) -> None:
    assert main(["runs", "delete", "mine/rte.none.s0"]) == 0
    assert "runs restore" in capsys.readouterr().out
    assert main(["runs", "trash"]) == 0
    assert "mine/rte.none.s0" in capsys.readouterr().out
    assert main(["runs", "restore", "mine/rte.none.s0"]) == 0
    assert (experiment.path / "rte.none.s0").is_dir()
