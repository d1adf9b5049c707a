"""`dtvg run`: what cannot start is said before a folder is made, and by `--dry-run`."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dtvg import paths
from dtvg.cli import main
from dtvg.config.presets import demo

SMALL = {
    "name": "small",
    "sources": ["film-mood", "meal-mood"],
    "targets": ["trip-mood"],
    "methods": ["none", "dtvg"],
    "seeds": [0],
    "optim": {"steps": 2, "stage1_steps": 2},
}


@pytest.fixture
def file(tmp_path: Path, own_home: Path) -> str:
    """A small experiment on the demo's tasks."""
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({**demo(), **SMALL}))
    return str(path)


REFUSED = [
    ("backbone=nope", "Unknown backbone 'nope'"),
    ("backbone=google-t5/t5-large", "is not on this machine, and HF_HUB_OFFLINE forbids"),
    ("data.few_shot=1000", "Target 'trip-mood' has 48 training rows, fewer than data.few_shot"),
    ("targets=rte", "No data here for rte"),
    ("prompt.vocabulary=4", "10 tokens cannot be drawn from 4 (prompt.vocabulary); lower"),
]


@pytest.mark.parametrize(("change", "sentence"), REFUSED, ids=[c for c, _ in REFUSED])
def test_what_cannot_start_is_refused_before_a_folder_is_made(
    change: str, sentence: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", file, "--set", change]) == 2
    said = capsys.readouterr().err
    assert "cannot start on this machine, so nothing was written" in said and sentence in said
    assert not (paths.runs() / "small").exists()


@pytest.mark.parametrize(("change", "sentence"), REFUSED, ids=[c for c, _ in REFUSED])
def test_a_dry_run_prints_the_plan_and_ends_with_2_where_it_cannot_start(
    change: str, sentence: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", file, "--dry-run", "--set", change]) == 2
    said = capsys.readouterr()
    assert "Plan of 'small'" in said.out
    assert sentence in said.err and "Traceback" not in said.err


def test_rows_of_a_class_are_counted_before_a_start(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ["--set", "data.few_shot=40", "--set", "data.few_shot_per_class=true"]
    assert main(["run", file, "--dry-run", *changes]) == 2
    said = capsys.readouterr().err
    assert "training rows of class 'no', fewer than data.few_shot asks for of each class" in said


def test_one_may_plan_for_a_device_of_another_machine_but_not_start_on_it(
    file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = ["--set", "device.name=cuda:77"]
    assert main(["run", file, "--dry-run", *changes]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "It cannot start on this machine: Device 'cuda:77' is not on this machine." in said
    assert main(["run", file, *changes]) == 2
    assert "Device 'cuda:77' is not on this machine" in capsys.readouterr().err
    assert not (paths.runs() / "small").exists()


def test_trained_parameters_are_unknown_where_the_width_is(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["run", file, "--dry-run", "--set", "backbone=nope"])
    said = " ".join(capsys.readouterr().out.split())
    assert "Trained parameters, time and memory: unknown" in said
    assert "Trained parameters per run" not in said


def test_a_plan_without_runs_is_refused(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    changes = ["--set", "sources=film-mood", "--set", "targets=film-mood", "--set", "methods=dtvg"]
    for more in ([], ["--dry-run"]):
        assert main(["run", file, *changes, *more]) == 2
        assert "This experiment has no runs" in capsys.readouterr().err
    assert not (paths.runs() / "small").exists()


def test_the_corrected_call_starts(file: str) -> None:
    assert main(["run", file, "--set", "backbone=nope"]) == 2
    assert main(["run", file]) == 0
    assert main(["run", file]) == 0  # finished: prints its table again


def test_one_is_said_in_the_singular(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    changes = ["--set", "methods=none", "--set", "sources=film-mood"]
    assert main(["run", file, "--dry-run", *changes]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "1 transfer run and at most 1 Stage I run (those already" in said
    assert "Trained parameters per run: 1,280. " in said
    assert main(["run", file, "--dry-run"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "2 transfer runs and at most 3 Stage I runs (those already" in said
    assert "Trained parameters per run: 1,280 to " in said
