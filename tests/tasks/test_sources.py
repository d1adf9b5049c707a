"""Who reads a task's rows: each kind of source answers for itself, and nobody compares names."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from dtvg.tasks.catalogue import find_task, shipped_tasks
from dtvg.tasks.sources import SOURCES, at_hand, find_folder, signature, source_of

PACKAGE = Path(__file__).resolve().parents[2] / "dtvg"


@pytest.mark.parametrize("name", list(shipped_tasks()))
def test_every_task_names_a_source(name: str) -> None:
    spec = find_task(name)
    assert spec.reader in SOURCES
    assert (spec.split.rule == "given") == (spec.reader == "demo") == (spec.family == "demo")


def test_no_module_decides_by_the_name_of_a_data_set() -> None:
    compared = re.compile(r"\.(dataset|reader)\s*(==|!=|in|not in)\s*[\"'(]")
    found = [str(path) for path in PACKAGE.rglob("*.py") if compared.search(path.read_text())]
    assert found == []


def test_the_demo_is_found_whatever_folder_is_configured(tmp_path: Path) -> None:
    spec = find_task("film-mood")
    assert find_folder(spec, str(tmp_path)) == find_folder(spec, None)
    gone = replace(spec, folder="nowhere")
    assert at_hand(gone, find_folder(gone, None)) == "no, train and validation missing"


def test_published_files_are_looked_for_in_the_configured_folder_first(
    tmp_path: Path, own_home: Path
) -> None:
    spec = find_task("rte")
    assert find_folder(spec, str(tmp_path)) is None
    (own_home / "datasets" / "glue_rte").mkdir(parents=True)
    assert find_folder(spec, str(tmp_path)) == own_home / "datasets" / "glue_rte"
    (tmp_path / "glue_rte").mkdir()
    assert find_folder(spec, str(tmp_path)) == tmp_path / "glue_rte"


def test_own_files_may_lie_anywhere_and_each_is_watched(tmp_path: Path) -> None:
    train, other = tmp_path / "a" / "train.csv", tmp_path / "b" / "dev.csv"
    for path in (train, other):
        path.parent.mkdir()
        path.write_text("text,label\n")
    spec = replace(
        find_task("rte"),
        reader="own",
        described_in=str(tmp_path / "mine.yaml"),
        files=(("train", str(train)), ("validation", str(other))),
    )
    folder = find_folder(spec, "/not/looked/at")
    assert folder == tmp_path and source_of(spec).places(spec, "/not/looked/at") == []
    assert at_hand(spec, folder) == "yes"
    before = signature(spec, folder)
    other.unlink()
    assert signature(spec, folder) != before
    assert at_hand(spec, folder) == "no, validation missing"
    assert signature(spec, None) == ()
