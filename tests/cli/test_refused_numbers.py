"""What an option says is never passed over: a number that none can be is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtvg.cli import main

REFUSED = [
    (["prompts", "import", "FILE", "--score", "5"], "A score is a share from 0 to 1"),
    (["prompts", "import", "FILE", "--score", "nan"], "A score is a share from 0 to 1"),
    (["prompts", "import", "FILE", "--seed", "-1"], "A seed is a whole number from 0 on"),
    (["prompts", "export", "0a1b", "--out", "OUT", "--which", "final"], "--which chooses a prompt"),
    (["runs", "agreement", "demo-recorded/trip-mood.none.s0", "--max-examples", "0"], "1 or more"),
    (["runs", "agreement", "demo-recorded/trip-mood.none.s0", "--max-examples", "-1"], "1 or more"),
]

OF_TASKS = [
    (["check", "TASK", "--problems", "-1"], "give a whole number"),
    (["check", "TASK", "--max-source-tokens", "0"], "takes 1 or more, got 0"),
    (["format", "trip-mood", "--seed", "9" * 30], "'seed'"),
]


@pytest.mark.parametrize(("words", "sentence"), OF_TASKS)
def test_numbers_that_no_task_can_have_are_refused(
    words: list[str],
    sentence: str,
    own_home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "rows.csv").write_text("text,kind\nfine,good\ncold,bad\nodd,none\n")
    task = "files: {train: rows.csv, validation: rows.csv}\ntext: '{text}'\nlabel: kind\n"
    (tmp_path / "meals.yaml").write_text(task + "labels: [good, bad]\n")
    try:
        status = main(
            ["tasks", *(str(tmp_path / "meals.yaml") if w == "TASK" else w for w in words)]
        )
    except SystemExit as end:
        status = int(str(end.code))
    assert status == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(("words", "sentence"), REFUSED)
def test_what_no_such_number_can_be_is_refused(
    words: list[str],
    sentence: str,
    own_home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = "demo-recorded/trip-mood.dtvg.s0"
    assert main(["prompts", "export", run, "--out", str(tmp_path / "given")]) == 0
    places = {"FILE": str(tmp_path / "given"), "OUT": str(tmp_path / "out")}
    assert main([places.get(word, word) for word in words]) == 2
    assert sentence in capsys.readouterr().err
    assert not list((own_home / "prompts").glob("*/*")) and not (tmp_path / "out").exists()
