"""Lists of runs, prompts and machines: names can be copied at any width, reasons stand once."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from dtvg.cli import main
from dtvg.cli.terminal import print_rows
from dtvg.store.reader import Experiment
from tests.analysis.factory import config, record

WHY = "CUDA ran out of memory in step 12: ask for fewer rows at a time, or for a smaller backbone."


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was printed, line by line, without bold and colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()


@pytest.fixture
def failed(own_home: Path) -> Experiment:
    """Two finished runs and six that failed for the same reason."""
    made = config("a-name-that-is-long", methods=["none", "dtvg"])
    bad = [run.name for run in made.runs() if run.role == "transfer" and run.target == "moor"]
    bad += [run.name for run in made.runs() if run.target == "lake" and run.seed == 2]
    experiment = record(own_home / "runs", made, unfinished=bad)
    for run in experiment.runs:
        if run.name in bad:
            known = json.loads(run.directory.status_path.read_text())
            known |= {"state": "failed", "message": WHY}
            run.directory.status_path.write_text(json.dumps(known))
    return experiment


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("terminal", [False, True])
def test_runs_can_be_copied_from_the_list_and_a_reason_stands_once(
    failed: Experiment,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    width: int,
    terminal: bool,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    assert main(["runs", "list"]) == 0
    lines = shown(capsys)
    words = {word for line in lines for word in line.split()}
    assert {f"{run.experiment}/{run.name}" for run in failed.runs} <= words
    assert "…" not in "".join(lines)
    (said,) = [line for line in lines if "CUDA" in line]
    assert said.endswith(f" and 5 more: {WHY}") and said == lines[-1]


def test_an_experiment_shows_why_its_runs_failed(
    failed: Experiment, capsys: pytest.CaptureFixture[str], own_home: Path
) -> None:
    assert main(["runs", "show", failed.name]) == 0
    said = capsys.readouterr().out
    assert said.count(WHY) == 1 and "Test score, mean ± std over seeds (percent)" in said
    made = config("nothing-done", methods=["none"], targets=["lake"], seeds=[0])
    record(own_home / "runs", made, unfinished=[run.name for run in made.runs()])
    assert main(["runs", "show", "nothing-done"]) == 0
    said = capsys.readouterr().out
    assert "No run has finished, so there are no test scores." in said
    assert "method" not in said and "Test score" not in said


def test_the_title_of_scores_is_not_wrapped_word_by_word(
    capsys: pytest.CaptureFixture[str], own_home: Path
) -> None:
    made = config("one", methods=["none"], targets=["lake"], seeds=[0])
    record(own_home / "runs", made)
    assert main(["runs", "show", "one"]) == 0
    assert "Test score, mean ± std over seeds (percent)" in capsys.readouterr().out.splitlines()


def test_a_cell_is_never_cut_where_a_terminal_is_narrow(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    identity, why = "0123456789abcdef" * 4, "several words that may stand in several lines"
    print_rows(("task", "health", "identity"), [("rte", why, identity), ("sst2", "", "short")])
    assert shown(capsys) == [
        "rte",
        f"  health {why}, identity {identity}",
        "sst2",
        "  identity short",
    ]
    print_rows(("task", "health"), [("rte", why)], "a title", wrapped=("health",))
    title, head, *rows = shown(capsys)
    assert (title, head.split()) == ("a title", ["task", "health"]) and len(rows) == 2
    assert " ".join(" ".join(rows).split()) == f"rte {why}"


def test_the_fleet_of_an_unknown_experiment_is_refused(
    failed: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fleet", "nope"]) == 2
    assert "Unknown experiment 'nope'" in capsys.readouterr().err
    assert main(["fleet", failed.name, "demo-recorded"]) == 2
    assert "lie in 2 folders" in capsys.readouterr().err
    assert main(["fleet", failed.name]) == 0
    assert capsys.readouterr().out == "Nothing trains, and nothing waits.\n"


@pytest.mark.parametrize("words", [["runs", "compare"], ["runs", "show"], ["claims"]])
def test_names_of_methods_are_whole_in_a_narrow_terminal(
    own_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    methods = ["none", "dtvg", "target_only", "all_sources", "primal_dual"]
    record(own_home / "runs", config("mine", methods=methods, targets=["lake", "moor"]))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    assert main([*words, "mine"]) == 0
    assert not re.search(r"\w…", "\n".join(shown(capsys)))
