"""The cache of read tasks: a second start reads no data file; nothing stale is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dtvg.config import DataConfig
from dtvg.tasks import files, prepared, reading
from dtvg.tasks.reading import TaskData, load_task

Write = Callable[..., DataConfig]


def again(name: str, data: DataConfig) -> TaskData:
    """Load as a new process would."""
    reading._load.cache_clear()
    return load_task(name, data)


def kept(home: Path) -> list[Path]:
    return [p for p in (home / "cache" / "tasks").iterdir() if not p.name.startswith(".")]


def test_a_second_start_reads_no_data_file_and_gives_the_same(
    rte_folder: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = rte_folder()
    first = again("rte", data)
    monkeypatch.setattr(files, "read_file", lambda *_: pytest.fail("a data file was read"))
    second = again("rte", data)
    assert isinstance(second.train, prepared.StoredExamples)
    for split in ("train", "validation", "test"):
        assert second.split(split) == first.split(split)
    assert (second.fingerprint, second.notes, second.origin, second.spec) == (
        first.fingerprint, first.notes, first.origin, first.spec)  # fmt: skip
    assert second.train[-1] == first.train[-1] and second.train[2:5] == first.train[2:5]
    assert second.train[::3] == first.train[::3] and list(second.train) == list(first.train)
    with pytest.raises(IndexError):
        second.train[len(second.train)]


def test_whatever_decides_the_examples_makes_another_entry(
    rte_folder: Write, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = rte_folder()
    for change in ({}, {"seed": 1}, {"max_train_examples": 3}, {"labels": "words"},
                   {"label_words": {"rte": ("a", "b")}}):  # fmt: skip
        again("rte", data.model_copy(update=change))
    assert len(kept(own_home)) == 5
    monkeypatch.setattr(prepared, "code", lambda: "other code")
    again("rte", data)
    assert len(kept(own_home)) == 6


@pytest.mark.parametrize("harm", ["cut", "flipped", "gone", "no manifest", "half a manifest"])
def test_a_damaged_entry_is_made_anew(rte_folder: Write, own_home: Path, harm: str) -> None:
    data = rte_folder()
    first = again("rte", data)
    entry = kept(own_home)[0]
    path = entry / "train.arrow"
    content = path.read_bytes()
    if harm == "cut":
        path.write_bytes(content[:-40])
    elif harm == "flipped":
        path.write_bytes(content.replace(b"premise 3", b"premise 4"))
    elif harm == "gone":
        path.unlink()
    elif harm == "no manifest":
        (entry / prepared.MANIFEST).unlink()
    else:
        (entry / prepared.MANIFEST).write_text('{"facts"')
    assert again("rte", data).train == first.train
    assert path.read_bytes() == content
    assert isinstance(again("rte", data).train, prepared.StoredExamples)


def test_of_two_processes_writing_one_entry_the_first_wins(
    rte_folder: Write, own_home: Path
) -> None:
    again("rte", rte_folder())
    entry = kept(own_home)[0]
    before = (entry / "train.arrow").stat().st_ino
    assert prepared.keep_entry(entry, lambda folder: (folder / "x").touch() or None, {})
    assert (entry / "train.arrow").stat().st_ino == before
    assert [p.name for p in entry.parent.iterdir()] == [entry.name]


def test_a_home_that_cannot_be_written_costs_no_more_than_time(
    rte_folder: Write, own_home: Path
) -> None:
    data = rte_folder()
    (own_home / "cache").write_text("a file where the folder should be")
    assert len(again("rte", data).train) == len(again("rte", data).train) == 8


def test_hub_data_without_a_pinned_commit_is_not_kept() -> None:
    spec = reading.find_task("rte")
    assert prepared.key_of(spec, None, "choice", ())
    assert prepared.key_of(replace(spec, revision=None), None, "choice", ()) is None
