"""What a person types for an experiment or a run: where it is looked for, and what comes next."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import dtvg
from dtvg.cli import main, run
from dtvg.cli.places import command_name, locate
from dtvg.jobs import queue
from dtvg.jobs.queue_files import jobs
from dtvg.store.layout import ExperimentDir
from dtvg.store.reader import open_experiment
from tests.analysis.factory import config, record


def test_messages_know_the_recorded_examples(
    own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(own_home / "runs", config("mine", methods=["none"], targets=["lake"], seeds=[0]))
    assert main(["runs", "show", "demo-recorde"]) == 2
    said = capsys.readouterr().err
    assert "Did you mean 'demo-recorded'? Allowed: demo-recorded, mine," in said
    assert main(["runs", "show", "demo-recorded/trip-mood.dtvg.s77"]) == 2
    said = capsys.readouterr().err
    assert "Unknown run 'trip-mood.dtvg.s77'. Did you mean 'trip-mood.dtvg.s7'?" in said


def test_what_cannot_be_done_with_a_finished_run_names_what_can(
    own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = config("mine", methods=["none", "dtvg"], targets=["lake"], seeds=[0])
    record(own_home / "runs", made)
    assert main(["runs", "pin", "mine/lake.dtvg.s0", "amber"]) == 2
    said = capsys.readouterr().err
    assert "is finished; only a run that is training" in said and "Resume it" not in said
    assert "Clone its experiment, or fork the run at a commit that it kept" in said
    for place in ("mine/lake.dtvg.s0", "demo-recorded/trip-mood.dtvg.s0"):
        assert main(["runs", "fork", place]) == 2
        said = capsys.readouterr().err
        assert "is finished, so there is nothing to continue; clone its experiment" in said
    assert main(["runs", "release", "mine"]) == 0
    said = capsys.readouterr().out
    assert "all its runs have finished, so there is nothing to resume." in said


def test_an_unfinished_run_is_to_be_resumed(
    own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = config("mine", methods=["none", "dtvg"], targets=["lake"], seeds=[0])
    record(own_home / "runs", made, unfinished=["lake.dtvg.s0"])
    assert main(["runs", "release", "mine"]) == 0
    assert "counts as lost now" in capsys.readouterr().out
    assert main(["runs", "pin", "mine/lake.dtvg.s0", "amber"]) == 2
    assert "Resume it first." in capsys.readouterr().err
    assert main(["runs", "fork", "mine/lake.dtvg.s0"]) == 2
    assert "has no commit yet; resume it, or clone its experiment." in capsys.readouterr().err


def test_messages_name_files_that_are_there(
    own_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(tmp_path / "absent.yaml")]) == 2
    said = capsys.readouterr().err
    (named,) = re.findall(r"a copy of '([^']+)'", said)
    assert Path(named).is_file()
    assert main(["alerts", "show"]) == 0
    said = capsys.readouterr().out
    (written,) = re.findall("`([^`]+)`", said)
    (own_home / "alerts.yaml").write_text(written)
    assert main(["alerts", "show"]) == 0
    assert "are told to: " in capsys.readouterr().out


RUN = "mine/lake.none.s0"
MEANT = {
    "the experiment, then a run": (["mine", RUN], None),
    "a run, then the experiment": ([RUN, "mine"], None),
    "between runs": ([RUN, "mine", "mine/lake.dtvg.s0"], None),
    "a run twice": ([RUN, RUN], ["lake.none.s0"]),
    "two runs": ([RUN, "mine/lake.dtvg.s0"], ["lake.none.s0", "lake.dtvg.s0"]),
}


@pytest.mark.parametrize(("places", "runs"), MEANT.values(), ids=list(MEANT))
def test_an_experiment_named_beside_its_runs_is_trained_and_queued_whole(
    own_home: Path, monkeypatch: pytest.MonkeyPatch, places: list[str], runs: list[str] | None
) -> None:
    made = config("mine", methods=["none", "dtvg"], targets=["lake"], seeds=[0, 1])
    record(own_home / "runs", made, unfinished=[r.name for r in made.runs()])
    trained: list[list[str] | None] = []
    monkeypatch.setattr(run, "train", lambda _1, _2, only, _3: trained.append(only))
    main(["runs", "resume", *places])
    assert trained == [runs]
    monkeypatch.setattr(queue, "ensure", lambda: None)
    monkeypatch.setattr(queue, "free_device", lambda device, known: None)
    assert main(["queue", "add", *places]) == 0
    assert [job.runs for job in jobs()] == [tuple(runs or ())]


def test_who_asks_to_stop_ends_the_resume_of_several_experiments(
    own_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "abc":
        made = config(name, methods=["none"], targets=["lake"], seeds=[0])
        record(own_home / "runs", made, unfinished=["lake.none.s0"])
    trained: list[str] = []

    def train(experiment: ExperimentDir, *_: object) -> bool:
        trained.append(experiment.name)
        return experiment.name == "b"

    monkeypatch.setattr(run, "train", train)
    assert main(["runs", "resume", "a", "b", "c"]) == 1
    assert trained == ["a", "b"]
    assert "Asked to stop, so nothing else was begun: c." in capsys.readouterr().out


@pytest.mark.parametrize("place", ["mine/cohorts", "mine/mirrors", "mine/.control", "mine/.."])
def test_a_folder_of_an_experiment_that_holds_no_run_is_none(
    own_home: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    record(own_home / "runs", config("mine", methods=["none"], targets=["lake"], seeds=[0]))
    (own_home / "runs" / place).mkdir(exist_ok=True)
    for words in (["runs", "show"], ["runs", "list"], ["queue", "add"], ["runs", "delete"]):
        assert main([*words, place]) == 2
        said = capsys.readouterr().err
        assert f"Unknown run '{Path(place).name}'. Allowed: lake.none.s0" in said


def test_what_lies_inside_a_run_is_said_to_be_no_run(
    own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(own_home / "runs", config("mine", methods=["none"], targets=["lake"], seeds=[0]))
    for place in ("mine/lake.none.s0/steps", "demo-recorded/trip-mood.dtvg.s0/steps"):
        assert main(["runs", "show", place]) == 2
        said = capsys.readouterr().err
        assert f"'{place}' is no run; name an experiment, or one run:" in said


@pytest.mark.parametrize(
    "words",
    [
        ["runs", "release"],
        ["runs", "mirror", "--to=tensorboard"],
        ["runs", "push", "--to=file:///tmp/x"],
        ["fleet"],
    ],
)
def test_what_is_done_to_whole_experiments_refuses_a_run(
    own_home: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    record(own_home / "runs", config("mine", methods=["none"], targets=["lake"], seeds=[0]))
    assert main([*words, RUN]) == 2
    said = capsys.readouterr().err
    assert f"'{RUN}' is a run, and this is done to whole experiments; name 'mine'." in said


def test_a_run_named_beside_its_experiment_is_exported_and_checked_once(
    own_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(own_home / "runs", config("mine", methods=["none"], targets=["lake"], seeds=[0]))
    table = tmp_path / "evals.csv"
    counts = []
    for places in (["mine"], ["mine", RUN], [RUN, "mine", "mine"]):
        assert main(["runs", "export", *places, "--table", "evals", "--out", str(table)]) == 0
        counts.append(len(table.read_text().splitlines()))
        main(["runs", "verify", *places])
        assert "1 checked" in capsys.readouterr().out
    assert len(set(counts)) == 1


def test_the_command_that_goes_on_names_a_folder_elsewhere(
    own_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = config("mine", methods=["none"], targets=["lake"], seeds=[0])
    far = tmp_path / f"my lab {'of many words ' * 12}"
    for root, named in ((far, f"'{far}/mine'"), (own_home / "runs", "mine")):
        record(root, made, unfinished=["lake.none.s0"])
        assert run.print_outcome(open_experiment(root / "mine")) == 1
        said = capsys.readouterr().out
        assert f"`dtvg runs resume {named}` continues them.\n" in said
        assert f"Recorded in {root}/mine\n" in said
        assert main(["runs", "release", str(root / "mine")]) == 0
        assert f"`dtvg runs resume {named}` continues it.\n" in capsys.readouterr().out
    dashed = command_name(own_home / "runs" / "-x")
    record(own_home / "runs", config("-x", methods=["none"], targets=["lake"], seeds=[0]))
    assert main(["runs", "show", dashed]) == 0


def test_the_command_that_restores_names_a_folder_elsewhere(
    own_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = config("mine", methods=["none", "dtvg"], targets=["lake"], seeds=[0])
    for root in (tmp_path / "my lab", own_home / "runs"):
        record(root, made)
        for place in (root / RUN, root / "mine"):
            assert main(["runs", "delete", str(place)]) == 0
            (command,) = re.findall("`dtvg (.+)`", capsys.readouterr().out)
            assert main(shlex.split(command)) == 0
            assert place.is_dir()


def test_a_name_with_a_folder_of_experiments_means_what_lies_there(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = config("mine", methods=["none"], targets=["lake"], seeds=[0])
    for folder in ("here", "there"):
        record(tmp_path / folder, made)
    monkeypatch.chdir(tmp_path / "here")
    there = tmp_path / "there"
    assert locate("mine", there)[0].path == there / "mine"
    assert locate("mine/lake.none.s0", there) == (ExperimentDir(there / "mine"), "lake.none.s0")
    assert locate("./mine", there)[0].path == tmp_path / "here" / "mine"
    assert locate("mine", None)[0].path == tmp_path / "here" / "mine"
    assert main(["runs", "delete", "mine", "--runs-dir", str(there)]) == 0
    assert (tmp_path / "here" / "mine").is_dir() and not (there / "mine").exists()


def test_an_empty_name_means_nothing(
    own_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = config("mine", methods=["none"], targets=["lake"], seeds=[0])
    here = record(own_home / "runs", made).path
    for folder in (here, here / "lake.none.s0"):
        monkeypatch.chdir(folder)
        assert main(["runs", "delete", ""]) == 2  # as "$NAME" is where nothing is set
        assert "Unknown experiment ''. Allowed: demo-recorded, mine" in capsys.readouterr().err
    assert here.is_dir()


def test_a_run_may_be_named_by_a_dot_in_its_folder(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = config("mine", methods=["none"], targets=["lake"], seeds=[0])
    here = record(own_home / "runs", made).path
    monkeypatch.chdir(here / "lake.none.s0")
    assert locate(".", None) == (ExperimentDir(here), "lake.none.s0")
    assert locate("..", None) == (ExperimentDir(here), None)


def test_a_tilde_is_a_home_folder_in_every_option_and_in_python(
    own_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record(own_home / "lab", config("mine", methods=["none"], targets=["lake"], seeds=[0]))
    monkeypatch.setenv("HOME", str(own_home))
    assert main(["runs", "list", "--runs-dir=~/lab"]) == 0
    assert "mine/lake.none.s0" in capsys.readouterr().out
    assert main(["runs", "compare", "~/lab/mine", "--format=csv", "--out=~/a.csv"]) == 0
    assert (own_home / "a.csv").is_file()
    assert dtvg.open_experiment("mine", runs_dir="~/lab").runs
    for words in (["runs", "show", "~nobody-has-it"], ["runs", "export", "mine", "--to=~no-one/a"]):
        assert main(words) == 2
    monkeypatch.setenv("DTVG_HOME", "~nobody-has-it")
    assert main(["runs", "show", "mine"]) == 2
