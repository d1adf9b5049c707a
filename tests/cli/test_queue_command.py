"""`dtvg queue …` prints what became of every job, and refuses in sentences."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dtvg.cli import main
from dtvg.jobs import launcher, queue, slots
from dtvg.jobs.queue_files import jobs
from dtvg.store.layout import ExperimentDir


@pytest.fixture(autouse=True)
def busy(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one slot is taken, and nobody serves the queue."""
    monkeypatch.setattr(queue, "ensure", lambda: None)
    monkeypatch.setattr(queue, "free_device", lambda device, known: None)
    monkeypatch.setattr(launcher, "resume", lambda *_: pytest.fail("nothing may start here"))
    slots.set_slots("cpu", 1)


def _file(folder: Path, name: str) -> str:
    values = {"name": name, "sources": ["film-mood"], "targets": ["trip-mood"]}
    values |= {"methods": ["none"], "seeds": [0]}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return str(path)


def test_files_and_experiments_are_added_listed_moved_and_removed(
    own_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["queue", "add", _file(tmp_path, "a"), "--set", "optim.steps=7"]) == 0
    assert main(["queue", "add", _file(tmp_path, "b"), _file(tmp_path, "c")]) == 0
    assert "Job 000003: 'c' waits at place 3." in capsys.readouterr().out
    assert "steps: 7" in (own_home / "runs" / "a" / "experiment.yaml").read_text()
    assert main(["queue", "move", "3", "first"]) == 0
    assert [j.experiment.name for j in jobs()] == ["c", "a", "b"]
    assert main(["queue", "remove", "1"]) == 0
    assert "experiment 'a' stays as it is" in capsys.readouterr().out
    assert main(["queue", "add", "a/trip-mood.none.s0"]) == 0
    assert jobs()[-1].runs == ("trip-mood.none.s0",)
    assert main(["queue", "list"]) == 0
    assert "waiting" in capsys.readouterr().out


def test_a_job_is_moved_by_its_short_number_too(own_home: Path, tmp_path: Path) -> None:
    assert main(["queue", "add", *(_file(tmp_path, name) for name in "abc")]) == 0
    for number in ("1", "000001"):
        assert main(["queue", "move", number, "down"]) == 0
    assert [job.experiment.name for job in jobs()] == ["b", "c", "a"]


def test_what_cannot_start_here_is_refused_before_a_folder_is_made(
    own_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    idle = tmp_path / "idle.yaml"
    values = {"name": "idle", "sources": ["trip-mood"], "targets": ["trip-mood"]}
    values |= {"methods": ["single"], "seeds": [0]}
    idle.write_text(yaml.safe_dump(values))
    assert main(["queue", "add", _file(tmp_path, "a"), str(idle)]) == 2
    assert "This experiment has no runs" in capsys.readouterr().err
    assert not jobs() and not (own_home / "runs").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["remove", "9"], "There is no job '9' in the queue. Allowed: none."),
        (["add", "nothing"], "Unknown experiment 'nothing'"),
        (["add", "nothing.yaml"], "There is no configuration file 'nothing.yaml'"),
        (["slots", "cuda:9", "1"], "Device 'cuda:9' is not on this machine. Allowed:"),
        (["slots", "cpu", "0"], "0 slots are not possible"),
        (["slots", "cpu"], "Give the number too"),
    ],
)
def test_mistakes_are_sentences(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["queue", *words]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("place", ["a", "a/trip-mood.none.s0"])
@pytest.mark.parametrize("file", [False, True])
def test_settings_for_what_has_its_settings_already_are_refused_and_nothing_is_queued(
    own_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str, file: bool
) -> None:
    assert main(["queue", "add", _file(tmp_path, "a")]) == 0
    assert main(["queue", "remove", "1"]) == 0
    places = [_file(tmp_path, "b"), place] if file else [place]
    assert main(["queue", "add", *places, "--set", "optim.steps=7"]) == 2
    said = capsys.readouterr().err
    assert f"--set changes YAML files only (.yaml or .yml), and '{place}' is none" in said
    assert not jobs() and not (own_home / "runs" / "b").exists()


def test_slots_are_shown_and_set(own_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["queue", "slots", "cpu", "3"]) == 0
    assert "cpu: 3 slots, taken by nothing" in capsys.readouterr().out
    (own_home / "runs").mkdir(exist_ok=True)
    assert main(["queue", "add", _file(own_home, "x")]) == 0
    with ExperimentDir(own_home / "runs" / "x").lock():
        capsys.readouterr()
        assert main(["queue", "slots"]) == 0
        assert "taken by x" in capsys.readouterr().out
