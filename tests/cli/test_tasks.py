"""`tasks list` and `tasks show` print what the task tables and files hold."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dtvg.cli import tasks
from dtvg.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTVG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def data(tmp_path: Path) -> Iterator[str]:
    """A data folder with a short name: a long one is cut in a table of eighty columns."""
    with tempfile.TemporaryDirectory(prefix="d") as home:
        _write(Path(home) / "d" / "glue_cola")
        yield str(Path(home) / "d")


def _write(folder: Path) -> None:
    folder.mkdir(parents=True)
    for split, count in {"train": 9, "validation": 6}.items():
        rows = {"sentence": [f"[bold]{split}[/] sentence {i}" for i in range(count)],
                "label": [1, 1, 0] * (count // 3)}  # fmt: skip
        pq.write_table(pa.table(rows), folder / f"{split}.parquet")


def run(*words: str) -> int:
    top = argparse.ArgumentParser()
    tasks.add(top.add_subparsers())
    arguments = top.parse_args(["tasks", *words])
    return int(arguments.do(arguments))


def test_list_prints_every_task_with_its_place(
    data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("list", "--data", data) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = ["name", "title", "family", "labels", "metrics", "offline", "where"]
    assert lines[0].split() == heads
    rte = next(line for line in lines if line.startswith("rte "))
    assert "no, only on the" in rte
    cola = next(line for line in lines if line.startswith("cola "))
    assert "unacceptable, acceptable" in cola and "matthews" in cola
    assert "hub: nyu-mll/glue (rte)" in next(line for line in lines if line.startswith("rte "))
    assert "glue_cola" in "".join(lines)


def test_show_prints_facts_splits_and_examples(
    data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("show", "cola", "--data", data, "--rows", "2") == 0
    out = capsys.readouterr().out
    assert "cola: Corpus of Linguistic Acceptability" in out
    assert "9 of 8551 official training rows are available" in out
    assert "6 (67%)" in out and "3 (33%)" in out
    assert "cola sentence: [bold]train[/] sentence 1" in out
    assert "target  1 (acceptable)" in out
    assert out.count("train row ") == 2


def test_show_without_rows_prints_no_example(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    run("show", "cola", "--data", data, "--rows", "0")
    assert "train row" not in capsys.readouterr().out


def test_show_says_nothing_that_a_task_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    described = tmp_path / "home" / "tasks"
    described.mkdir(parents=True)
    rows = "".join(f"plot {i},{'good' if i % 2 else 'bad'}\n" for i in range(40))
    (described / "reviews.csv").write_text("review,verdict\n" + rows)
    (described / "reviews.yaml").write_text(
        'files: reviews.csv\ntext: "{review}"\nlabel: verdict\nlabels: [bad, good]\n'
    )
    run("show", "reviews")
    own = capsys.readouterr().out
    assert "official" not in own and "their mean" not in own
    assert "  labels      bad, good\n" in own
    run("show", "trip-mood")
    demo = capsys.readouterr().out
    assert "  hub " not in demo and "  official    48 training rows" in demo


def test_show_of_an_unknown_task_names_the_nearest(data: str) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'cola'"):
        run("show", "colla", "--data", data)


def test_a_data_folder_that_is_none_is_named() -> None:
    with pytest.raises(DataError, match="There is no data folder 'nowhere'"):
        run("list", "--data", "nowhere")


def test_a_number_of_rows_that_is_none_is_refused(
    data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run("show", "cola", "--rows", "-1")
    assert "--rows" in capsys.readouterr().err


def test_prepared_says_what_is_kept_and_empties_it(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("show", "cola", "--data", data)
    capsys.readouterr()
    assert run("prepared") == 0
    out = capsys.readouterr().out
    assert str(tmp_path / "home" / "cache") in out and "10.0 GiB (DTVG_CACHE_GIB)" in out
    rows, tokens = out.splitlines()[1:3]
    assert rows.split()[:3] == ["rows", "1", "entry,"] and "last used" in rows
    assert tokens.split() == ["token", "ids", "0", "entries,", "0.0", "KiB"]
    assert " KiB" in rows and " 0.0" not in rows, "a few rows take a few KiB, not 0.0 MiB"
    assert run("prepared", "--empty") == 0
    assert capsys.readouterr().out.startswith("Removed: 1 entry, ")
    assert list((tmp_path / "home" / "cache" / "tasks").iterdir()) == []


def test_prepared_counts_what_other_versions_made(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("show", "cola", "--data", data)
    older = tmp_path / "home" / "cache" / "tasks" / "0"
    older.mkdir()
    (older / ".version").write_text("another")
    os.utime(older, (0, 0))
    capsys.readouterr()
    run("prepared")
    assert "1 made by other versions" in capsys.readouterr().out
