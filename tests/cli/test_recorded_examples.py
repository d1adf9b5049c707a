"""No command writes into the folder of recorded examples, which comes with the program."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dtvg import paths
from dtvg.cli import main
from dtvg.errors import StoreError
from dtvg.jobs import launcher, queue
from dtvg.store.labels import Labels, write_labels
from dtvg.store.layout import ExperimentDir
from dtvg.store.lease import release

NAME = "yelp-recorded"


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy in the place of the examples, so that a fault costs nothing."""
    folder = tmp_path / "examples"
    shutil.copytree(paths.examples() / NAME, folder / NAME)
    monkeypatch.setattr(paths, "examples", lambda: folder)
    return folder


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of everything in a folder, folders included."""
    found = [folder, *folder.rglob("*")]
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in found}


def _run(examples: Path) -> str:
    return next(p.parent.name for p in sorted((examples / NAME).glob("*.s0/result.json")))


@pytest.mark.parametrize(
    "words",
    [
        ["runs", "delete", NAME],
        ["runs", "delete", "RUN"],
        ["runs", "resume", NAME],
        ["runs", "resume", "RUN", "--quiet"],
        ["runs", "stop", NAME],
        ["runs", "stop", "RUN"],
        ["runs", "release", NAME],
        ["runs", "pin", "RUN", "sst2"],
        ["runs", "ban", "RUN", "sst2"],
        ["runs", "free", "RUN", "sst2"],
        ["runs", "mirror", NAME, "--to", "tensorboard"],
        ["runs", "push", NAME, "--to", "MIRROR"],
        ["queue", "add", NAME],
        ["queue", "add", "RUN", "--now"],
    ],
    ids=" ".join,
)
def test_what_would_change_an_example_is_refused(
    words: list[str], examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _files(examples)
    given = {"RUN": f"{NAME}/{_run(examples)}", "MIRROR": f"file://{tmp_path}/mirror"}
    assert main([given.get(word, word) for word in words]) == 2
    said = capsys.readouterr().err
    assert "can only be read, so nothing was changed" in said and "runs import" in said
    assert _files(examples) == before


def test_every_other_command_leaves_the_examples_as_they_are(
    examples: Path, tmp_path: Path, own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _files(examples)
    run = f"{NAME}/{_run(examples)}"
    for words in (
        ["runs", "list", NAME],
        ["runs", "show", NAME, run],
        ["runs", "story", NAME],
        ["runs", "verify", run],
        ["runs", "compare", NAME],
        ["claims", NAME],
        ["runs", "export", NAME, "--to", str(tmp_path / "a.zip")],
        ["runs", "import", str(tmp_path / "a.zip"), "--name", f"{NAME}-copy"],
        ["runs", "delete", f"{NAME}-copy"],
    ):
        assert main(words) == 0, words
    assert main(["runs", "fork", run]) == 2  # it has no commit
    assert main(["cohort", str(examples / NAME), "transfer-000"]) > 0
    capsys.readouterr()
    assert _files(examples) == before


def test_the_store_itself_refuses_to_write_among_the_examples(examples: Path) -> None:
    before, experiment = _files(examples), ExperimentDir(examples / NAME)
    for change in (
        lambda: experiment.lock().__enter__(),
        lambda: release(experiment.path),
        lambda: launcher.resume(experiment),
        lambda: launcher.give_free(experiment),
        lambda: queue.add(experiment),
        lambda: write_labels(experiment.path, Labels(("kept",))),
    ):
        with pytest.raises(StoreError, match="Recorded examples come with the program"):
            change()
    assert _files(examples) == before
