"""Files as people really have them: each fault is one sentence with file, line and what to do."""

from __future__ import annotations

import csv
import json
import resource
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dtvg.config import DataConfig
from dtvg.errors import DataError
from dtvg.tasks import prepared, tables
from dtvg.tasks.catalogue import find_task, shipped_tasks
from dtvg.tasks.files import read_file
from dtvg.tasks.reading import load_task
from dtvg.tasks.text import examples_from

HEAD = b"sentence1,sentence2,label\n"
GOOD = b"a,b,0\nc,d,1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "d" / "glue_rte"
    made.mkdir(parents=True)
    (made / "validation.csv").write_bytes(HEAD + GOOD * 3)
    return made


def refusal(folder: Path, name: str, content: bytes) -> str:
    """Return the sentence with which a file of these bytes is refused."""
    (folder / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        load_task("rte", DataConfig(folder=str(folder.parent)))
    message = str(caught.value)
    assert message.endswith(".") and ". " not in message and "\n" not in message
    assert name in message
    assert not list(prepared.root().glob("tasks/*")), "something was half imported"
    return message


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (HEAD + GOOD + b"only,two\n", "line 4: got 2 cells, the header has 3"),
        (HEAD + b'"two\nlines",b,0\na,b,c,0\n', "line 4: got 4 cells"),
        (HEAD + GOOD + b'"open,b,0\n' + GOOD, "line 4: a quotation mark that is opened here"),
        (HEAD + b'"a" x,b,0\n', "line 2: ',' expected after"),
        (HEAD + GOOD + b"caf\xe9,b,0\n", "line 4, byte 4 is 0xe9, which is not UTF-8"),
        (b"\xff\xfe" + (HEAD + GOOD).decode().encode("utf-16-le"), "is written in UTF-16"),
        (HEAD + b"a\x00b,c,0\n", "line 2, character 2 is a NUL"),
        (HEAD + GOOD + b"a,b,entailmnt\n", "row 3, column 'label': got 'entailmnt'"),
        (HEAD + GOOD + b"a,b,2\n", "row 3, column 'label': got 2, allowed: 0 (entailment)"),
        (b"sentence1,sentense2,label\na,b,0\n", "'sentense2' is the nearest to 'sentence2'"),
        (b"sentence1,label,label\na,0,0\n", "two columns 'label'"),
        (b"", "is empty (0 bytes)"),
        (b"\n\n", "is empty; it needs a header"),
        (HEAD, "has no rows"),
        (b"\x1f\x8b\x08rest", "is a gzip file, whatever its name says"),
        (b"PK\x03\x04rest", "is a zip or Excel file"),
    ],
)  # fmt: skip
def test_a_faulty_csv_is_named_with_its_line(folder: Path, content: bytes, part: str) -> None:
    assert part in refusal(folder, "train.csv", content)


LINE = b'{"sentence1": "a", "sentence2": "b", "label": 0}\n'


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (LINE + b"{'single': 1}\n", "line 2, character 2: not valid JSON"),
        (LINE + LINE[:20] + b"\n", "line 2, character 21: not valid JSON"),
        (LINE + b"[1, 2]\n", "line 2: got a list, but each line holds one object"),
        (LINE + b"null\n", "line 2: got null"),
        (LINE + LINE.replace(b"0", b'"0"'), "line 2, column 'label': got text ('0'), but line 1"),
        (LINE.replace(b'"a"', b"7") * 2, "column 'sentence1' holds int64, but it has to hold text"),
        (LINE + LINE.replace(b'"a"', b"null"), "row 2, column 'sentence1': there is no text"),
        (LINE.replace(b"sentence2", b"sentense2"), "'sentense2' is the nearest"),
        (LINE + LINE.replace(b'"a"', b'"a\x00"'), "line 2, character 17 is a NUL"),
        (LINE + LINE.replace(b'"a"', b'"a\\u0000"'), "row 2, column 'sentence1' contains a NUL"),
        (LINE + LINE.replace(b'"a"', b'"a\xe9"'), "line 2, byte 17 is 0xe9"),
        (LINE + LINE.replace(b'"a"', b'"a \\ud83d"'), r"column 'sentence1': \ud83d is half"),
        (LINE + LINE.replace(b'"a"', b'["\\ud83d"]'), r"column 'sentence1': \ud83d is half"),
        (LINE.replace(b"{", b'{"\\ud83d": 1, ', 1), r"line 1, column '\ud83d': \ud83d is half"),
        (LINE + b"[" * 100_000 + b"\n", "line 2: this JSON cannot be used"),
        (LINE.replace(b"0", b"9" * 40), "label"),
        (b"\n", "is empty; it needs one JSON object per line"),
    ],
)  # fmt: skip
def test_a_faulty_json_lines_file_is_named_with_its_line(
    folder: Path, content: bytes, part: str
) -> None:
    assert part in refusal(folder, "train.jsonl", content)


@pytest.mark.parametrize("name", ["train.csv", "train.jsonl", "train.parquet"])
def test_a_line_of_50_mb_is_refused_in_little_memory(folder: Path, name: str) -> None:
    big = "word " * 10_000_000
    if name.endswith("parquet"):
        rows = {"sentence1": ["a", big], "sentence2": ["b", "b"], "label": [0, 1]}
        pq.write_table(pa.table(rows), folder / name)
        content = (folder / name).read_bytes()
    elif name.endswith("csv"):
        content = HEAD + GOOD + f'"{big}",b,0\n'.encode()
    else:
        content = LINE + LINE.replace(b'"a"', f'"{big}"'.encode())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "longer than 4 MiB" in refusal(folder, name, content)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


def test_bytes_that_are_no_text_in_parquet_are_named_by_row(folder: Path) -> None:
    bad = pa.array([b"fine", b"caf\xe9"], pa.binary()).view(pa.string())
    table = pa.table({"sentence1": bad, "sentence2": ["a", "b"], "label": [0, 1]})
    pq.write_table(table, folder / "x.parquet")
    content = (folder / "x.parquet").read_bytes()
    (folder / "x.parquet").unlink()
    assert "row 2, column 'sentence1': this is not valid UTF-8" in refusal(
        folder, "train.parquet", content
    )


def test_a_folder_in_place_of_a_file_is_named(folder: Path) -> None:
    (folder / "train.csv").mkdir()
    with pytest.raises(DataError, match=r"train.csv' is a folder, not a file"):
        load_task("rte", DataConfig(folder=str(folder.parent)))


def test_label_names_numbers_as_text_and_blank_lines_are_understood(folder: Path) -> None:
    rows = b"a,b,entailment\n\nc,d, Not Entailment\n"
    (folder / "train.csv").write_bytes(b"\xef\xbb\xbf" + HEAD.replace(b"\n", b"\r\n") + rows)
    train = load_task("rte", DataConfig(folder=str(folder.parent))).train
    assert [e.label for e in train] == [0, 1]
    (folder / "train.csv").write_bytes((HEAD + b'a,b,"0"\nc,d,1\n').replace(b",", b"\t"))
    (folder / "train.csv").rename(folder / "train.tsv")
    assert [e.label for e in load_task("rte", DataConfig(folder=str(folder.parent))).train] == [
        0,
        1,
    ]


def test_all_faults_of_a_file_are_found_where_they_are_collected(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(HEAD + b"a,b\na\xe9,b,0\n" + GOOD + b"\x00,b,0\n\nc,d,0\n")
    found: list[DataError] = []
    table = tables.read_table(path, frozenset(), found)
    assert [str(f).split(":")[0].split(", byte")[0].rsplit(" ", 1)[1] for f in found[:2]] == [
        "2",
        "3",
    ]
    assert len(found) == 3
    assert table.column(tables.LINE).to_pylist() == [4, 5, 8]
    assert table.column(tables.ROW).to_pylist() == [2, 3, 4]


@pytest.mark.parametrize("name", [n for n, s in shipped_tasks().items() if s.dataset != "demo"])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_every_task_reads_the_same_from_text_files_as_from_parquet(
    name: str, kind: str, tmp_path: Path, shared_dir: Path
) -> None:
    spec = find_task(name)
    source = shared_dir / "datasets" / spec.folder / "validation.parquet"
    if not source.is_file():
        pytest.skip(f"no development data for {name}")
    table = pq.read_table(source, columns=list(spec.columns)).slice(0, 200)
    rows = table.to_pylist()
    path = tmp_path / f"validation.{kind}"
    with path.open("w", newline="", encoding="utf-8") as out:
        if kind == "csv":
            writer = csv.DictWriter(out, list(spec.columns))
            writer.writeheader()
            nested = {c for c in spec.columns if isinstance(rows[0][c], list | dict)}
            writer.writerows({c: json.dumps(v) if c in nested else v for c, v in row.items()}
                             for row in rows)  # fmt: skip
        else:
            out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    assert examples_from(spec, read_file(path, spec), "x") == examples_from(spec, table, "x")
