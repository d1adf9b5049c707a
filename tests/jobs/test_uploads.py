"""What is uploaded is read with limits, in a process of its own, never in the app's."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dtvg.errors import DataError
from dtvg.jobs import uploads
from dtvg.jobs.uploads import check_upload, look_at_upload
from dtvg.tasks.limits import UPLOAD, check_size

YAML = 'files: {train: m.csv}\ntext: "r: {a}"\nlabel: b\nlabels: [good, b\u00e4d]\n'
LABELS = ("good", "b\u00e4d")
ROWS = "a,b\n" + "".join(f"text {i},{LABELS[i % 2]}\n" for i in range(60))


def _bomb(path: Path, as_dictionary: bool = False) -> None:
    """A small file of many rows that name one long cell."""
    cells = pa.array(["x" * (1 << 20)])
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), cells)
    pq.write_table(pa.table({"a": column}), path, compression="zstd", store_schema=as_dictionary)
    assert path.stat().st_size < 10_000


def _wide(path: Path) -> None:
    path.write_text(",".join(f"c{i}" for i in range(5000)) + "\n")


def _unclosed(path: Path) -> None:
    path.write_bytes(b'a,b\n"' + b"x" * (5 << 20))


def _packed(path: Path) -> None:
    path.write_bytes(gzip.compress(b"a,b\n" + b"x,good\n" * (2 << 20)))


def _long(path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([0] * (UPLOAD.rows + 1), pa.int8())}), path)


TOO_MUCH = {
    "m.parquet": (_bomb, "unpacked bytes"),
    "d.parquet": (partial(_bomb, as_dictionary=True), "unpacked bytes"),
    "n.parquet": (_long, "rows"),
    "m.csv": (_wide, "columns"),
    "n.csv": (_unclosed, "in one line"),
    "m.csv.gz": (_packed, "lines"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_file_that_holds_too_much_is_refused_piece_by_piece(tmp_path: Path, name: str) -> None:
    make, what = TOO_MUCH[name]
    make(tmp_path / name)
    with pytest.raises(DataError, match=f"has more than .*{what}.*dtvg tasks check"):
        check_size(tmp_path / name)
    if what != "unpacked bytes":
        check_size(tmp_path / name, replace(UPLOAD, rows=10**9, columns=10**9, line=10**9))


@pytest.mark.parametrize(
    ("name", "between"), [("m.json", ","), ("m.jsonl", "\n"), ("m.ndjson", "\n")]
)
def test_commas_of_json_are_no_columns(tmp_path: Path, name: str, between: str) -> None:
    rows = between.join(json.dumps({"r": "so, so, " * 600, "v": i % 2}) for i in range(2_000))
    (tmp_path / name).write_text(f"[{rows}]" if between == "," else rows)
    check_size(tmp_path / name)


def test_an_upload_is_checked_elsewhere_with_its_round_trip(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dtvg.tasks.checking.check_task", None)  # not in this process
    found = check_upload("m", YAML, {"m.csv": ROWS.encode()}, "demo")
    assert found.sound and found.name == "m" and found.usable == {"train": 60}
    assert found.examples[0].source == "r: text 0" and len(found.examples) == 3
    assert any("b\u00e4d" in sentence for sentence in found.trip)
    assert found.reachable is not None and found.reachable < 1
    with pytest.raises(DataError, match="columns"):
        check_upload("m", YAML, {"m.csv": ("c," * 5000 + "\n").encode()}, "demo")


def test_a_check_that_takes_too_long_is_ended(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "SECONDS", 0.01)
    with pytest.raises(DataError, match="took longer than"):
        check_upload("m", YAML, {"m.csv": ROWS.encode()}, "demo")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.csv", b"", "'empty.csv' is empty"),
        ("deep.json", b"[" * 100_000, "it is nested too deeply"),
        ("m.parquet", b"PAR1xxxx", "'m.parquet' cannot be read"),
        ("m.csv", b"a;b\nx;y;z\n", "'m.csv', line 2: got 3 cells"),
        ("one.csv", b"a;b\nx\n", "line 2: got 1 cell, the header has 2"),
    ],
)
def test_a_file_is_called_as_it_was_uploaded(name: str, content: bytes, words: str) -> None:
    with pytest.raises(DataError) as told:
        look_at_upload(name, content)
    assert words in str(told.value)
    assert "/tmp" not in str(told.value) and "unicode" not in str(told.value)


def test_a_description_s_mistake_is_said_without_the_reader_s_words() -> None:
    with pytest.raises(DataError) as told:
        check_upload("mine", "a: [", {"m.csv": ROWS.encode()}, "demo")
    assert str(told.value).endswith("but found the end of the text (line 1, column 5).")
    done = check_upload("mine", YAML.replace("m.csv", "n.csv"), {"m.csv": ROWS.encode()}, "demo")
    assert done.problems[0].endswith("names; did you mean 'm.csv'?")


@pytest.mark.parametrize("name", ["asked.json", "found.json"])
def test_a_file_may_be_called_as_one_of_the_process(name: str) -> None:
    rows = [{"a": f"text {i}", "b": LABELS[i % 2]} for i in range(60)]
    content = json.dumps(rows).encode()
    assert [column.name for column in look_at_upload(name, content).columns] == ["a", "b"]
    assert check_upload("mine", YAML.replace("m.csv", name), {name: content}, "demo").sound
    with pytest.raises(DataError, match=f"^'{name}', line 1"):
        look_at_upload(name, b"[{]")


def test_a_description_may_name_its_task_itself() -> None:
    files = {"m.csv": ROWS.encode()}
    assert check_upload("", f"name: mine\n{YAML}", files, "demo").name == "mine"
    with pytest.raises(DataError, match="The task has no name; give it one"):
        check_upload("", YAML, files, "demo")
