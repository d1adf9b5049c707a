"""Deleted runs lie in the trash, go back or are erased; what trains is not deleted."""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path

import pytest

from dtvg.cli import main
from dtvg.config import build_config
from dtvg.errors import StoreError
from dtvg.records import RunState
from dtvg.store import trash
from dtvg.store.files import read_json, replace_json
from dtvg.store.layout import ExperimentDir, create_experiment
from dtvg.store.reader import list_runs
from dtvg.tasks.catalogue import all_tasks


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
    with pytest.raises(StoreError, match="exists again"):
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
    with pytest.raises(StoreError, match="which contains nothing"):
        trash.restore("gone")
    monkeypatch.setattr(RunState, "alive", property(lambda self: True))
    with pytest.raises(StoreError, match="is training .*; stop it first"):
        trash.delete(experiment)
    assert experiment.path.is_dir()


def test_the_command_line_deletes_lists_and_restores(experiment: ExperimentDir, capsys) -> None:
    assert main(["runs", "delete", "mine/rte.none.s0"]) == 0
    assert "runs restore" in capsys.readouterr().out
    assert main(["runs", "trash"]) == 0
    told = capsys.readouterr().out
    assert "mine/rte.none.s0" in told and " KiB" in told, "it is small, not 0.0 MiB"
    assert main(["runs", "restore", "mine/rte.none.s0"]) == 0
    assert (experiment.path / "rte.none.s0").is_dir()


DAY = 86_400


def _age(entry: trash.Deleted, days: float) -> None:
    """Make an entry as old as if it had been deleted then."""
    path = trash.root() / entry.id / trash.ORIGIN
    replace_json(path, {**(read_json(path) or {}), "time": time.time() - days * DAY})


def _deleted(experiment: ExperimentDir, *ages: float) -> list[trash.Deleted]:
    """Delete runs of these names that the experiment does not know; so old, in days."""
    made = []
    for i, days in enumerate(ages):
        folder = experiment.path / f"run{i}"
        folder.mkdir()
        (folder / "part.parquet").write_bytes(b"x" * 1000)
        made.append(trash.delete(experiment, folder.name))
        _age(made[-1], days)
    return made


def test_the_trash_is_emptied_of_all_or_of_what_is_named(experiment: ExperimentDir, capsys) -> None:
    first, second, third = _deleted(experiment, 0, 0, 0)
    assert first.size >= 1000
    with pytest.raises(StoreError, match="There is no 'mine/other' in the trash"):
        trash.empty(["mine/run0", "mine/other"])
    assert len(trash.deleted()) == 3
    assert main(["runs", "trash", "--empty", "mine/run0", second.id]) == 0
    assert [one.name for one in trash.deleted()] == ["mine/run2"]
    assert not (trash.root() / first.id).exists()
    assert "mine/run0: erased." in capsys.readouterr().out
    assert main(["runs", "trash", "--empty"]) == 0
    assert list(trash.root().iterdir()) == []
    assert main(["runs", "trash", "--empty"]) == 0
    assert "is empty" in capsys.readouterr().out
    assert experiment.path.is_dir() and third.name == "mine/run2"


def test_a_deletion_erases_what_is_older_than_thirty_days_and_says_so_once(
    experiment: ExperimentDir, capsys
) -> None:
    _deleted(experiment, 31, 29, 0)
    assert main(["runs", "delete", "mine/rte.none.s0"]) == 0
    said = capsys.readouterr().out
    assert said.count("Erased from the trash") == 1 and "'mine/run0'." in said
    assert {one.name for one in trash.deleted()} == {"mine/run1", "mine/run2", "mine/rte.none.s0"}
    assert main(["runs", "delete", "mine/rte.dtvg.s0"]) == 0
    assert "Erased" not in capsys.readouterr().out


def test_beyond_the_bound_the_oldest_go_first_and_nothing_of_the_last_day(
    experiment: ExperimentDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _deleted(experiment, 3, 5, 4, 0.5)
    for entry in made:
        path = trash.root() / entry.id / trash.ORIGIN
        replace_json(path, {**(read_json(path) or {}), "size": 4 << 30})
    assert [one.name for one in trash.prune()] == ["mine/run1", "mine/run2"]
    monkeypatch.setattr(trash, "KEPT_GIB", 0)
    assert [one.name for one in trash.prune()] == ["mine/run0"]
    assert [one.name for one in trash.deleted()] == ["mine/run3"]


def test_only_what_the_trash_made_is_erased_and_links_are_never_followed(
    experiment: ExperimentDir, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("kept")
    (experiment.path / "run9").mkdir()
    (experiment.path / "run9" / "link").symlink_to(outside)
    _age(trash.delete(experiment, "run9"), 40)
    (experiment.path / "linked").symlink_to(outside)
    _age(trash.delete(experiment, "linked"), 40)
    facts = {"name": "mine/theirs", "origin": str(outside), "time": 0.0}
    for name in ("theirs", "20200101-000000-others", "20200101-000000"):
        (trash.root() / name / trash.HELD).mkdir(parents=True)
        replace_json(trash.root() / name / trash.ORIGIN, facts)
    os.symlink(trash.root() / "theirs", trash.root() / "20200101-000000-mine-theirs")
    (trash.root() / ".erased-notes").mkdir()
    (trash.root() / ".erased-20200101-000000-mine-run8").mkdir()
    assert {one.name for one in trash.prune()} == {"mine/run9", "mine/linked"}
    assert trash.empty() == []
    assert (outside / "precious").read_text() == "kept"
    assert {path.name for path in trash.root().iterdir()} == {
        "theirs",
        "20200101-000000-others",
        "20200101-000000",
        "20200101-000000-mine-theirs",
        ".erased-notes",
    }


def _full(*given: object, **more: object) -> None:
    raise StoreError("'origin.json' cannot be written (No space left on device).")


def test_a_deletion_on_a_full_disk_leaves_nothing_in_the_trash(
    experiment: ExperimentDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(trash, "replace_json", _full)
        with pytest.raises(StoreError, match="No space left"):
            trash.delete(experiment)
    assert experiment.path.is_dir() and not trash.unreadable() and not os.listdir(trash.root())


def test_on_another_disk_all_of_it_is_moved_or_nothing(
    experiment: ExperimentDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> list[str]:
        found = (str(p.relative_to(experiment.path)) for p in experiment.path.rglob("*"))
        return sorted(name for name in found if name[0] != ".")

    before = told()
    rename, copy, left = os.rename, shutil.copyfile, [3]

    def across(origin: Path, to: Path) -> None:
        if Path(origin).parent != Path(to).parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(origin, to)

    def until_full(origin: str, to: str, **how: bool) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return copy(origin, to, **how)

    monkeypatch.setattr(os, "rename", across)
    monkeypatch.setattr(shutil, "copyfile", until_full)
    with pytest.raises(StoreError, match="No space left on device"):
        trash.delete(experiment)
    assert told() == before and not trash.deleted() and not os.listdir(trash.root())
    left[0] = 1000
    trash.delete(experiment)
    assert not experiment.path.exists()
    left[0] = 3
    with pytest.raises(StoreError, match="No space left on device"):
        trash.restore("mine")
    assert not experiment.path.exists() and len(trash.deleted()) == 1
    left[0] = 1000
    trash.restore("mine")
    assert told() == before and not trash.deleted()


def test_what_was_copied_from_another_disk_and_cannot_be_removed_there_is_named(
    experiment: ExperimentDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, remove = os.rename, shutil.rmtree

    def across(origin: Path, to: Path) -> None:
        if Path(origin).parent != Path(to).parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(origin, to)

    def refused(path: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", across)
        patch.setattr(shutil, "rmtree", refused)
        with pytest.raises(StoreError, match="is whole in the trash .* cannot be removed"):
            trash.delete(experiment)
    (held,) = trash.deleted()
    assert held.name == "mine" and experiment.path.is_dir()
    remove(experiment.path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", across)
        patch.setattr(shutil, "rmtree", refused)
        with pytest.raises(StoreError, match="'mine' is back in .* in the trash cannot be removed"):
            trash.restore("mine")
    assert experiment.path.is_dir()


def test_two_deletions_at_one_moment_never_share_a_place(
    experiment: ExperimentDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, made = Path.mkdir, []

    def quicker(path: Path, *given: object, **more: object) -> None:
        if path.parent == trash.root() and not made:  # another process makes it just before
            made.append(path)
            real(path, parents=True)
            (path / "origin.json").write_text("{}")
        real(path, *given, **more)

    monkeypatch.setattr(Path, "mkdir", quicker)
    mine = trash.delete(experiment)
    assert mine.id == f"{made[0].name}-2" and (made[0] / "origin.json").exists()
    assert [one.id for one in trash.deleted()] == [mine.id]


def test_what_was_deleted_goes_back_into_a_home_that_has_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It went only to where the home had been, which was made anew for it."""
    old, new = tmp_path / "old", tmp_path / "new"
    monkeypatch.setenv("DTVG_HOME", str(old))
    config = build_config({"name": "a", "targets": ["rte"], "methods": ["none"], "seeds": [0]})
    trash.delete(create_experiment(config, old / "runs"))
    old.rename(new)
    monkeypatch.setenv("DTVG_HOME", str(new))
    assert trash.restore("a").origin == new / "runs" / "a"
    assert (new / "runs" / "a" / "experiment.yaml").is_file() and not old.exists()


@pytest.mark.parametrize(
    ("file", "head", "task"),
    [
        ("films.yaml", "", "films"),
        ("films.yml", "", "films"),
        ("mine.yaml", "name: films\n", "films"),
        ("films/films.yaml", "", "films"),
        ("set/set.yaml", "name: films\n", "films"),
    ],
)
def test_a_task_of_one_s_own_goes_and_comes_back_however_its_description_is_called(
    own_home: Path, file: str, head: str, task: str
) -> None:
    path = own_home / "tasks" / file
    path.parent.mkdir(parents=True)
    path.write_text(f'{head}files: a.csv\ntext: "{{a}}"\nlabel: b\nlabels: [x, y]\n')
    assert Path(all_tasks()[task].described_in) == path
    gone = trash.delete_task(task)
    assert task not in all_tasks() and not path.exists()
    assert gone.name == f"tasks/{Path(file).parts[0]}"
    trash.restore(gone.name)
    assert Path(all_tasks()[task].described_in) == path
