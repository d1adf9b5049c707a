"""What `--out` and `--to` name is refused before any work where it cannot be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dtvg import report
from dtvg.cli import compare, main
from dtvg.records import TABLES
from dtvg.store.bank import PromptBank
from dtvg.store.reader import Experiment
from tests.analysis.factory import config, record


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    made = config(methods=["none", "dtvg"], targets=["lake"], seeds=[0, 1])
    return record(tmp_path_factory.mktemp("runs"), made)


COMMANDS = {
    "claims": (["claims"], ["--format", "md", "--out"], "f.md"),
    "compare": (["runs", "compare"], ["--format", "csv", "--out"], "f.csv"),
    "compare, printed": (["runs", "compare"], ["--out"], "f.txt"),
    "report": (["runs", "report"], ["--views", "scores", "--out"], "f.html"),
    "a table": (["runs", "export"], ["--table", "evals", "--out"], "f.csv"),
    "as parquet": (["runs", "export"], ["--table", "evals", "--out"], "f.parquet"),
    "whole": (["runs", "export"], ["--to"], "f.zip"),
}


@pytest.mark.parametrize("table", TABLES)
def test_every_table_of_the_log_is_exported(
    experiment: Experiment, tmp_path: Path, table: str
) -> None:
    file = tmp_path / "f.csv"
    words = ["runs", "export", str(experiment.path), "--table", table, "--out", str(file)]
    assert main(words) == 0
    heads = [head.strip('"') for head in file.read_text().splitlines()[0].split(",")]
    assert heads == ["experiment", "run", *(column.name for column in TABLES[table])]


@pytest.mark.parametrize("name", COMMANDS)
def test_folders_are_not_made_and_what_cannot_be_written_says_what_to_do(
    experiment: Experiment,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    before, options, file = COMMANDS[name]
    words = [*before, str(experiment.path), *options]
    absent = tmp_path / "absent"
    assert main([*words, str(absent / file)]) == 2
    said = capsys.readouterr().err
    assert f"There is no folder '{absent}' for '{file}'; make it, or give another --" in said
    assert not absent.exists()
    (tmp_path / f"folder{Path(file).suffix}").mkdir()
    assert main([*words, str(tmp_path / f"folder{Path(file).suffix}")]) == 2
    assert "is a folder; --" in capsys.readouterr().err
    assert main([*words, str(tmp_path / file)]) == 0
    assert (tmp_path / file).stat().st_size > 100
    if name != "whole":
        long = f"{'x' * 300}{file}"  # no disk takes such a name
        assert main([*words, str(tmp_path / long)]) == 2
        said = capsys.readouterr().err
        assert "free some space, or give another --out." in said and "resume" not in said


def test_exported_prompts_go_to_a_folder_beside_others(
    own_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del own_home
    run = "demo-recorded/trip-mood.dtvg.s0"
    assert main(["prompts", "export", run, "--out", str(tmp_path / "a" / "b")]) == 2
    assert f"There is no folder '{tmp_path / 'a'}' for 'b'" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["prompts", "export", run, "--out", str(tmp_path / "file")]) == 2
    assert "is a file; --out takes the folder to write" in capsys.readouterr().err
    assert not PromptBank().list()
    if os.geteuid():
        (tmp_path / "closed").mkdir(mode=0o500)
        assert main(["prompts", "export", run, "--out", str(tmp_path / "closed" / "b")]) == 2
        said = capsys.readouterr().err
        assert "free some space, or give another folder." in said and "resume" not in said


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--out", "x.doc"], "'x.doc' ends in '.doc'; --out takes a file that ends in .html or"),
        (["--out", "x"], "'x' has no ending; --out takes a file that ends in .html or .pdf."),
        (["--out", "x.html", "--step", "999"], "has no step 999; choose one from 1 to 60."),
        (["--out", "x.html", "--step", "3", "--views", "scores"], "--step chooses the step of"),
    ],
)
def test_a_report_that_would_miss_what_was_asked_for_is_not_written(
    experiment: Experiment,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["runs", "report", str(experiment.path), *options]) == 2
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_report_of_several_runs_is_refused_and_one_named_twice_is_one(
    experiment: Experiment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (f"{experiment.path}/lake.dtvg.s{seed}" for seed in (0, 1))
    out = tmp_path / "x.html"
    options = ["--views", "story", "--out", str(out)]
    for places in ([first, second], [str(experiment.path), first, first, second]):
        assert main(["runs", "report", *places, *options]) == 2
        said = capsys.readouterr().err
        assert "one run, got 2 (trial/lake.dtvg.s0, trial/lake.dtvg.s1); name one of them" in said
        assert not out.exists()
    assert main(["runs", "report", second, str(experiment.path), second, *options]) == 0
    assert "seed 1" in out.read_text(encoding="utf-8").partition("</title>")[0]


def test_the_help_of_a_report_names_every_view(capsys: pytest.CaptureFixture[str]) -> None:
    assert tuple(report.VIEWS) == compare.VIEWS
    with pytest.raises(SystemExit):
        main(["runs", "report", "--help"])
    words = capsys.readouterr().out.replace(",", " ").split()
    assert set(report.VIEWS) <= set(words)
