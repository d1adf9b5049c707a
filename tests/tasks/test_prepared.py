"""The cache of read tasks: a second start reads no data file; nothing stale is used."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dtvg.config import DataConfig
from dtvg.errors import DataError
from dtvg.tasks import files, prepared, reading
from dtvg.tasks.catalogue import find_task
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
    spec = find_task("rte")
    assert prepared.key_of(spec, None, "choice", ())
    assert prepared.key_of(replace(spec, revision=None), None, "choice", ()) is None


def test_the_code_of_the_families_is_part_of_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "tasks"
    shutil.copytree(Path(prepared.__file__).parent, package)
    monkeypatch.setattr(prepared, "__file__", str(package / "prepared.py"))
    before = prepared.code.__wrapped__()
    with (package / "families" / "glue.py").open("a") as file:
        file.write("# changed")
    assert prepared.code.__wrapped__() != before


def entry(kind: str, name: str, version: str, hours_ago: float, size: int = 1000) -> Path:
    """Make an entry of a given size that was last used some hours ago."""
    place = prepared.root() / kind / name
    place.mkdir(parents=True)
    (place / "rows").write_bytes(b"x" * (size - len(version)))
    (place / prepared.VERSION_FILE).write_text(version)
    used = time.time() - 3600 * hours_ago
    os.utime(place, (used, used))
    return place


def holds(monkeypatch: pytest.MonkeyPatch, count: float) -> None:
    """Let the bound be that many entries of 1,000 bytes."""
    monkeypatch.setenv(prepared.BOUND, str(count * 1000 / (1 << 30)))


def test_beyond_the_bound_older_code_goes_first_then_what_is_unused_longest(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = entry("tasks", "a", "new", 2)
    b = entry("tasks", "b", "new", 40)
    c = entry("tasks", "c", "old", 3)
    d = entry("tokens", "d", "other", 20)
    holds(monkeypatch, 4)
    assert prepared.prune() == []
    holds(monkeypatch, 3)
    assert prepared.prune() == [c]  # of older code, though used after b and d
    holds(monkeypatch, 1)
    assert prepared.prune() == [b, d]
    assert [p for p in (a, b, c, d) if p.exists()] == [a]


def test_what_was_just_made_or_used_within_the_hour_stays(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = entry("tasks", "made", "v", 5)
    recent = entry("tokens", "recent", "v", 0.5)
    entry("tokens", "gone", "v", 2)
    holds(monkeypatch, 0)
    assert [place.name for place in prepared.prune(made)] == ["gone"]
    assert made.exists() and recent.exists()


def test_loading_a_task_counts_as_use_and_making_one_prunes(
    rte_folder: Write, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = rte_folder()
    again("rte", data)
    mine = kept(own_home)[0]
    assert (mine / prepared.VERSION_FILE).read_text() == prepared.code()
    os.utime(mine, (0, 0))
    again("rte", data)
    assert time.time() - mine.stat().st_mtime < 600
    stale = entry("tasks", "stale", "old", 2)
    holds(monkeypatch, 0)
    again("rte", data.model_copy(update={"seed": 1}))
    assert not stale.exists() and len(kept(own_home)) == 2


def test_what_an_ended_process_left_half_made_is_removed_after_a_day(own_home: Path) -> None:
    old, fresh = entry("tasks", ".x.1.tmp", "v", 30), entry("tasks", ".y.2.gone", "v", 1)
    assert prepared.prune() == [] and not old.exists() and fresh.exists()
    assert prepared.entries() == []


def _refuse(*_: object) -> None:
    raise OSError(30, "Read-only file system")


def test_everything_can_be_removed_or_it_is_said(
    rte_folder: Write, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = rte_folder()
    again("rte", data)
    entry("tokens", "t", "v", 0)
    with monkeypatch.context() as read_only:
        read_only.setattr(Path, "rename", _refuse)
        with pytest.raises(DataError, match="2 of 2 entries cannot be removed"):
            prepared.empty()
    assert len(prepared.empty()) == 2
    assert prepared.entries() == [] and len(again("rte", data).train) == 8


@pytest.mark.parametrize("given", ["much", "-1", "nan", "inf"])
def test_a_bound_that_is_no_number_gives_way_to_the_default(
    given: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(prepared.BOUND, given)
    assert prepared.bound() == 10 << 30
    assert "not a number of GiB" in caplog.text
