"""Files as people have them: how they are written is found and said; no row is lost in silence."""

from __future__ import annotations

import bz2
import csv
import datetime
import decimal
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from dtvg.config import DataConfig
from dtvg.errors import ConfigError, DataError
from dtvg.tasks import own
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.checking import Check, check_task
from dtvg.tasks.files import read_file
from dtvg.tasks.reading import TaskData, load_fresh
from dtvg.tasks.tables import finding_of

WORDS = ("dull", "bright")
ROWS = [(f"the film number {i} was seen", WORDS[i % 2]) for i in range(40)]
YAML = 'text: "text: {text}"\nlabel: mood\nlabels: [dull, bright]\n'


def described(folder: Path, files: str, more: str = "", text: str = YAML) -> Any:
    path = folder / "moods.yaml"
    path.write_text(f"files: {files}\n{text}{more}", encoding="utf-8")
    return own.read_description(path)


def load(folder: Path, files: str, more: str = "", text: str = YAML) -> TaskData:
    return load_fresh(described(folder, files, more, text), DataConfig())


def check(folder: Path, files: str, more: str = "", text: str = YAML) -> Check:
    return check_task(described(folder, files, more, text), DataConfig())


def rows_of(data: TaskData) -> set[tuple[str, str]]:
    found = [e for split in ("train", "validation", "test") for e in data.split(split)]
    return {(e.source.removeprefix("text: "), e.target) for e in found}


def table(delimiter: str, head: str = "text{}mood\n", rows: Any = ROWS, end: str = "\n") -> str:
    lines = (f"{text}{delimiter}{mood}{end}" for text, mood in rows)
    return head.replace("{}", delimiter).replace("\n", end) + "".join(lines)


# --- delimiters, quoting, headers, encodings ------------------------------------------------


@pytest.mark.parametrize(
    ("name", "delimiter", "head", "words"),
    [
        ("a.csv", ";", "text{}mood\n", "semicolon-separated, quoted"),
        ("a.csv", "|", "text{}mood\n", "pipe-separated, quoted"),
        ("a.csv", "\t", "text{}mood\n", "tab-separated, quoted"),
        ("a.tsv", ",", "text{}mood\n", "comma-separated, quoted"),
        ("a.csv", ";", "sep=;\ntext{}mood\n", "semicolon-separated, quoted"),
        ("a.csv", "|", '"sep=|"\ntext{}mood\n', "pipe-separated, quoted"),
        ("a.csv", ";", "id, year;text{}mood\n", None),
    ],
)
def test_a_delimiter_is_found_by_the_columns_and_said(
    tmp_path: Path, name: str, delimiter: str, head: str, words: str | None
) -> None:
    if words is None:  # the header holds a comma; both words stand in semicolons
        lines = "".join(f"{i}, x;{t};{m}\n" for i, (t, m) in enumerate(ROWS))
        (tmp_path / name).write_text(head.replace("{}", ";") + lines)
    else:
        (tmp_path / name).write_text(table(delimiter, head))
    data = load(tmp_path, name)
    assert rows_of(data) == set(ROWS)
    expected = words or "semicolon-separated, quoted"
    assert any(f"is read as {expected}: 40 rows" in note for note in data.notes)


def test_cells_with_the_other_delimiter_stay_whole(tmp_path: Path) -> None:
    rows = [(f"{text}, really, {i}", mood) for i, (text, mood) in enumerate(ROWS)]
    (tmp_path / "a.csv").write_text(table(";", rows=rows))
    assert rows_of(load(tmp_path, "a.csv")) == set(rows)


def test_a_file_as_its_name_says_gets_no_note(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(table(","))
    assert not [note for note in load(tmp_path, "a.csv").notes if "is read as" in note]
    found = check(tmp_path, "a.csv").found
    assert found[0].endswith("a.csv' is read as comma-separated, quoted: 40 rows")


def test_a_quote_in_an_unquoted_tsv_swallows_no_row(tmp_path: Path) -> None:
    rows = list(ROWS)
    rows[7] = ('"the film was cold', "dull")
    rows[27] = ('the film was warm"', "bright")
    for order in ("text\tmood", "mood\ttext"):
        flip = order.startswith("mood")
        lines = "".join(f"{m}\t{t}\n" if flip else f"{t}\t{m}\n" for t, m in rows)
        (tmp_path / "a.tsv").write_text(order + "\n" + lines)
        data = load(tmp_path, "a.tsv")
        assert rows_of(data) == set(rows)
        assert any("is read as tab-separated, unquoted: 40 rows" in note for note in data.notes)


def test_a_quotation_at_the_start_of_a_cell_of_a_tsv_is_text(tmp_path: Path) -> None:
    rows = [('"Great" said the guest', "bright"), ('"never closed', "dull"), *ROWS]
    (tmp_path / "a.tsv").write_text(table("\t", rows=rows))
    assert rows_of(load(tmp_path, "a.tsv")) == set(rows)


def test_published_tasks_as_unquoted_tsv_lose_no_row(tmp_path: Path) -> None:
    spec = find_task("mrpc")
    lines = [f"{i % 2}\ta {i}\tb {i}" for i in range(30)]
    lines[5], lines[20] = '1\t"a quote\tb', '0\tthe end"\tb'
    path = tmp_path / "train.tsv"
    path.write_text("label\tsentence1\tsentence2\n" + "\n".join(lines) + "\n")
    read = read_file(path, spec)
    assert read.num_rows == 30 and finding_of(read) == "tab-separated, unquoted"
    assert read.column("sentence1")[5].as_py() == '"a quote'


def test_a_quoted_tsv_is_read_as_before_with_cells_of_several_lines(tmp_path: Path) -> None:
    rows = [('one "word"\nand\ttwo', "dull"), ("x\ny", "bright"), *ROWS]
    with (tmp_path / "a.tsv").open("w", newline="") as out:
        csv.writer(out, delimiter="\t").writerows([("text", "mood"), *rows])
    data = load(tmp_path, "a.tsv")
    assert {(t.replace("\r\n", "\n"), m) for t, m in rows_of(data)} == set(rows)
    assert not [note for note in data.notes if "is read as" in note]


def test_a_cell_that_swallows_rows_of_a_csv_is_named(tmp_path: Path) -> None:
    rows = list(ROWS)
    rows[7] = ('"the film was cold', "dull")
    rows[27] = ('the film was warm"', "bright")
    lines = "".join(f"{mood},{text}\n" for text, mood in rows)
    (tmp_path / "a.csv").write_text("mood,text\n" + lines)
    part = (
        "line 9: a quoted cell of column 'text' goes on to line 29, and these 21 lines look like "
        "rows of their own, which would be lost;"
    )
    with pytest.raises(DataError, match=part):
        load(tmp_path, "a.csv")
    done = check(tmp_path, "a.csv")
    assert not done.sound and part in done.problems[0] and "quoting: none" in done.problems[0]
    assert rows_of(load(tmp_path, "a.csv", "dialect: {quoting: none}\n")) == set(rows)


def test_a_cell_that_swallows_the_label_is_named_with_its_last_line(tmp_path: Path) -> None:
    rows = list(ROWS)
    rows[7] = ('"the film was cold', "dull")
    rows[27] = ("the film was warm", 'bright"')
    (tmp_path / "a.csv").write_text(table(",", rows=rows))
    with pytest.raises(DataError, match="line 9: got 1 cell.*a quoted cell goes on to line 29;"):
        load(tmp_path, "a.csv")


def test_a_cell_of_several_lines_with_commas_is_a_cell(tmp_path: Path) -> None:
    rows = [("good, but\nlong, said all", "dull"), ("a, b\nc", "bright"), *ROWS]
    with (tmp_path / "a.csv").open("w", newline="") as out:
        csv.writer(out).writerows([("text", "mood"), *rows])
    assert rows_of(load(tmp_path, "a.csv")) == set(rows)


def test_a_long_cell_is_mentioned(tmp_path: Path) -> None:
    rows = [("\n".join(f"line, {i}, of many" for i in range(9)), "dull"), *ROWS]
    with (tmp_path / "a.csv").open("w", newline="") as out:
        csv.writer(out).writerows([("text", "mood"), *rows])
    data = load(tmp_path, "a.csv")
    assert any("the row in line 2 has a cell of 9 lines" in note for note in data.notes)
    assert rows_of(data) == set(rows)


def test_empty_columns_without_a_name_are_nobodys(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,mood,,\n" + "".join(f"{t},{m},,\n" for t, m in ROWS))
    assert rows_of(load(tmp_path, "a.csv")) == set(ROWS)
    ragged = "".join(f"{t},{m}{',' * (i % 3)}\n" for i, (t, m) in enumerate(ROWS))
    (tmp_path / "a.csv").write_text("text,mood\n" + ragged)
    assert rows_of(load(tmp_path, "a.csv")) == set(ROWS)
    (tmp_path / "a.csv").write_text(",text,mood\n" + "".join(
        f"{i},{t},{m}\n" for i, (t, m) in enumerate(ROWS)))  # fmt: skip
    assert rows_of(load(tmp_path, "a.csv")) == set(ROWS)
    (tmp_path / "a.csv").write_text("text,mood,\n" + "".join(f"{t},{m},x\n" for t, m in ROWS))
    with pytest.raises(DataError, match="line 2: got 3 cells, the header has 2"):
        load(tmp_path, "a.csv")


@pytest.mark.parametrize(
    ("content", "more"),
    [
        (table("#"), "dialect: {delimiter: '#'}\n"),
        (table(";"), "dialect: {delimiter: semicolon}\n"),
        (table(";", head=""), "dialect: {header: [text, mood]}\n"),
        ("".join(f"{i};{t};{m}\n" for i, (t, m) in enumerate(ROWS)),
         "dialect: {header: [id, text, mood], delimiter: ';'}\n"),
        (table(",").replace(" was", "\\, was"), "dialect: {escape: '\\'}\n"),
        ("text,mood\n" + "".join(f"'{t}, x',{m}\n" for t, m in ROWS),
         "dialect: {quote: \"'\"}\n"),
    ],
    ids=["hash", "semicolon", "no header", "no header, three", "escape", "single quotes"],
)  # fmt: skip
def test_a_dialect_in_the_description_is_followed(tmp_path: Path, content: str, more: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    found = rows_of(load(tmp_path, "a.csv", more))
    plain = {(t.replace(", was", " was").removesuffix(", x"), m) for t, m in found}
    assert plain == set(ROWS)


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ("dialect: {delimeter: tab}\n", "Did you mean 'delimiter'?"),
        ("dialect: {delimiter: ',,'}\n", "dialect.delimiter"),
        ("dialect: {encoding: utf-9}\n", "not an encoding"),
        ("dialect: {encoding: zip}\n", "not an encoding"),
        ("dialect: {encoding: undefined}\n", "not an encoding"),
        ("dialect: {quoting: some}\n", "dialect.quoting"),
        ("unlabelled: drop\n", "unlabelled"),
    ],
)
def test_a_wrong_dialect_is_refused(tmp_path: Path, more: str, part: str) -> None:
    (tmp_path / "a.csv").write_text(table(","))
    with pytest.raises(ConfigError, match=part.replace("?", r"\?")):
        load(tmp_path, "a.csv", more)


def test_utf_16_is_read_and_windows_1252_is_named_or_read(tmp_path: Path) -> None:
    rows = [(f"{text}, the café", mood) for text, mood in ROWS]
    (tmp_path / "a.tsv").write_bytes(table("\t", rows=rows, end="\r\n").encode("utf-16"))
    data = load(tmp_path, "a.tsv")
    assert rows_of(data) == set(rows)
    assert any("tab-separated, quoted, utf-16" in note for note in data.notes)
    (tmp_path / "b.tsv").write_bytes(table("\t", rows=rows).encode("windows-1252"))
    with pytest.raises(DataError, match=r"line 2, byte 36 is 0xe9.*encoding: windows-1252"):
        load(tmp_path, "b.tsv")
    assert rows_of(load(tmp_path, "b.tsv", "dialect: {encoding: windows-1252}\n")) == set(rows)
    with pytest.raises(DataError, match="byte 46 is not ascii; give the encoding"):
        load(tmp_path, "b.tsv", "dialect: {encoding: ascii}\n")


def test_line_ends_of_old_macintosh_files_are_line_ends(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(table(",", end="\r").encode())
    assert rows_of(load(tmp_path, "a.csv")) == set(ROWS)


def test_a_carriage_return_within_a_line_makes_no_row(tmp_path: Path) -> None:
    rows = [("one,dull\rtwo", "bright"), *ROWS]
    (tmp_path / "a.csv").write_bytes(table(",", rows=rows).encode())
    with pytest.raises(DataError, match="line 2: a carriage return stands in a cell"):
        load(tmp_path, "a.csv")
    assert "line 2: a carriage return" in check(tmp_path, "a.csv").problems[0]


def test_columns_under_another_delimiter_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(table(";", head="txt{}mood\n"))
    with pytest.raises(DataError, match=r"'txt' is the nearest.*read as semicolon-separated"):
        load(tmp_path, "a.csv")


# --- formats --------------------------------------------------------------------------------


def _objects() -> list[dict[str, str]]:
    return [{"text": t, "mood": m} for t, m in ROWS]


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()


FORMATS = {
    "a.csv.gz": lambda: gzip.compress(table(",").encode()),
    "A.CSV.GZ": lambda: gzip.compress(table(",").encode()),
    "a.tsv.bz2": lambda: bz2.compress(table("\t").encode()),
    "a.jsonl.zst": lambda: pa.compress(
        b"".join(json.dumps(o).encode() + b"\n" for o in _objects()), "zstd", asbytes=True),
    "A.CSV": lambda: table(",").encode(),
    "a.Parquet": lambda: _parquet(),
    "a.json": lambda: _json(_objects()),
    "b.json": lambda: _json({"version": "1", "data": _objects()}),
    "c.json": lambda: _json({"text": [t for t, _ in ROWS], "mood": [m for _, m in ROWS]}),
    "d.json": lambda: _json({"text": {str(i): t for i, (t, _) in enumerate(ROWS)},
                             "mood": {str(i): m for i, (_, m) in enumerate(ROWS)}}),
    "e.json": lambda: b"".join(json.dumps(o).encode() + b"\n" for o in _objects()),
    "a.ndjson": lambda: b"".join(json.dumps(o).encode() + b"\n" for o in _objects()),
    "a.arrow": lambda: _arrow(pa.ipc.new_file),
    "b.arrow": lambda: _arrow(pa.ipc.new_stream),
    "a.feather": lambda: _arrow(pa.ipc.new_file),
}  # fmt: skip


def _frame() -> pa.Table:
    return pa.table({"text": [t for t, _ in ROWS], "mood": [m for _, m in ROWS]})


def _parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(_frame(), sink)
    return bytes(sink.getvalue())


def _arrow(open_writer: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with open_writer(sink, _frame().schema) as writer:
        writer.write_table(_frame())
    return bytes(sink.getvalue())


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FORMATS[name]())
    assert rows_of(load(tmp_path, name)) == set(ROWS)
    done = check(tmp_path, name)
    assert done.sound and done.usable == {"train": 40}


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("a.jsonl", _json(_objects()), "line 1, character 3: not valid JSON .*call it .json"),
        ("a.jsonl", b"".join(json.dumps(o).encode() + b",\n" for o in _objects()),
         "line 1, character .*without the comma"),
        ("a.json", b'[{"text": "a"},]', "line 1, character 1[56]: not valid JSON"),
        ("a.json", b'{"a": 1, "b": [1, 2]}', "holds no array of rows but 'a', 'b'"),
        ("a.json", b"[1, 2]", "row 1: got a number"),
        ("a.csv.gz", b"text,mood\n", "cannot be read as CSV"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "is empty; it needs a header"),
        ("a.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("a.csv", gzip.compress(b"text,mood\n", mtime=0), "is a gzip file"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_by_load_and_by_check(
    tmp_path: Path, name: str, content: bytes, part: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=part):
        load(tmp_path, name)
    done = check(tmp_path, name)
    with pytest.raises(DataError, match=part):
        raise DataError(done.problems[0])
    assert not [p for p in done.problems if "is empty" in p and "empty" not in part]


def test_check_says_what_was_found_where_no_line_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"{'text': 'a'}\n" * 30)
    done = check(tmp_path, "a.jsonl")
    assert done.found == (f"'{tmp_path}/a.jsonl' is read as JSON lines: 0 rows, 0 usable",)
    assert len(done.problems) == 20 and done.more == 10


# --- places ---------------------------------------------------------------------------------


def _saved(folder: Path, names: tuple[str, ...] = ("train", "validation", "test")) -> None:
    """Write what `DatasetDict.save_to_disk` writes, with labels as a ClassLabel."""
    features = {"mood": {"names": list(WORDS), "_type": "ClassLabel"}}
    facts = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    for place, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        rows = [(f"{name} {t}", WORDS.index(m)) for t, m in ROWS[: 40 - 10 * place]]
        made = pa.table({"text": [t for t, _ in rows], "mood": [m for _, m in rows]})
        made = made.replace_schema_metadata(facts)
        parts = ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
        for part, piece in zip(parts, (made.slice(0, 7), made.slice(7)), strict=True):
            with pa.ipc.new_stream(str(folder / name / part), made.schema) as writer:
                writer.write_table(piece)
        state = {"_data_files": [{"filename": part} for part in parts]}
        (folder / name / "state.json").write_text(json.dumps(state))
        (folder / name / "dataset_info.json").write_text("{}")
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(names)}))


def test_a_folder_of_save_to_disk_is_read_split_by_split(tmp_path: Path) -> None:
    _saved(tmp_path / "kept")
    data = load(tmp_path, "kept")
    assert [len(data.split(s)) for s in ("train", "validation", "test")] == [40, 30, 20]
    assert data.train[0].source == "text: train the film number 0 was seen"
    assert data.train[0].target == "dull"
    only = load(tmp_path, "{train: kept}")
    assert len(only.train) == 32
    assert any("also holds validation and test" in note for note in only.notes)
    one = load(tmp_path, "{train: kept/train, test: kept/test}")
    assert len(one.test) == 20
    (tmp_path / "kept" / "train" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(DataError, match=r"00001-of-00002.arrow' is missing"):
        load(tmp_path, "kept")


def test_a_published_task_may_lie_in_a_folder_of_save_to_disk(tmp_path: Path) -> None:
    import datasets

    rows = {"sentence1": ["a", "b"] * 5, "sentence2": ["c"] * 10, "label": [0, 1] * 5}
    features = datasets.Features({
        "sentence1": datasets.Value("string"), "sentence2": datasets.Value("string"),
        "label": datasets.ClassLabel(names=["entailment", "not_entailment"])})  # fmt: skip
    made = datasets.Dataset.from_dict(rows, features=features)
    made = datasets.DatasetDict({"train": made, "validation": made})
    made.save_to_disk(str(tmp_path / "glue_rte"))
    data = load_fresh(find_task("rte"), DataConfig(folder=str(tmp_path)))
    assert (len(data.train), len(data.validation)) == (10, 5)
    assert [e.label for e in data.train[:2]] == [0, 1]


def test_globs_folders_and_variables_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "parts"
    place.mkdir()
    for number in range(4):
        rows = ROWS[10 * number : 10 * number + 10]
        (place / f"train-{number}.csv").write_text(table(",", rows=rows))
    assert rows_of(load(tmp_path, "'parts/train-*.csv'")) == set(ROWS)
    assert rows_of(load(tmp_path, "parts")) == set(ROWS)
    monkeypatch.setenv("MY_ROWS", str(place))
    assert rows_of(load(tmp_path, "'$MY_ROWS/train-*.csv'")) == set(ROWS)
    assert len(rows_of(load(tmp_path, "'${MY_ROWS}/train-[01].csv'"))) == 20
    with pytest.raises(DataError, match=r"No file matches .*dev-\*.csv"):
        load(tmp_path, "'parts/dev-*.csv'")
    with pytest.raises(ConfigError, match="the environment variable NOT_THERE, which is not set"):
        load(tmp_path, "'$NOT_THERE/a.csv'")
    (place / "dev.csv").write_text(table(",", rows=ROWS[:10]))
    assert [len(load(tmp_path, "parts").split(s)) for s in ("train", "validation")] == [40, 5]
    (place / "train-5.jsonl").write_text('{"text": "a", "mood": "dull"}\n')
    with pytest.raises(DataError, match=r"several kinds \(.csv, .jsonl\)"):
        load(tmp_path, "{train: parts}")


def test_a_new_file_of_a_glob_is_noticed(tmp_path: Path) -> None:
    from dtvg.tasks.reading import load_spec

    (tmp_path / "a-1.csv").write_text(table(",", rows=ROWS[:20]))
    spec = described(tmp_path, "'a-*.csv'")
    assert len(rows_of(load_spec(spec, DataConfig()))) == 20
    (tmp_path / "a-2.csv").write_text(table(",", rows=ROWS[20:]))
    assert len(rows_of(load_spec(spec, DataConfig()))) == 40


# --- columns and labels ---------------------------------------------------------------------


def test_nested_columns_are_named_with_dots(tmp_path: Path) -> None:
    rows = [{"q": f"q {i}", "answers": {"text": [f"a {i}", f"b {i}"], "start": [1, 2]},
             "meta": {"deep": {"who": f"w {i}"}}, "list": [{"x": "l"}, {"x": f"m {i}"}]}
            for i in range(40)]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = 'text: "q: {q} by {meta.deep.who} of {list.x}"\nlabel: answers.text\n'
    for name in ("a.parquet", "a.jsonl"):
        first = load(tmp_path, name, text=text).train[0]
        number = first.target.split()[1]
        assert first.references == (f"a {number}", f"b {number}")
        assert first.source == f"q: q {number} by w {number} of l, m {number}"
    with pytest.raises(DataError, match=r"no column 'answers.txt'; 'answers.text' is the nearest"):
        load(tmp_path, "a.parquet", text=text.replace("answers.text", "answers.txt"))


def test_names_in_the_files_own_metadata_are_labels(tmp_path: Path) -> None:
    features = {"mood": {"names": list(WORDS), "_type": "ClassLabel"}}
    facts = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    numbers = [WORDS.index(m) for _, m in ROWS]
    made = pa.table({"text": [t for t, _ in ROWS], "mood": numbers})
    pq.write_table(made.replace_schema_metadata(facts), tmp_path / "a.parquet")
    assert rows_of(load(tmp_path, "a.parquet")) == set(ROWS)
    by_number = YAML.replace("[dull, bright]", "{0: dull, 1: bright}")
    assert rows_of(load(tmp_path, "a.parquet", text=by_number)) == set(ROWS)


def test_dates_decimals_and_binary_text_are_text(tmp_path: Path) -> None:
    made = pa.table({
        "text": pa.array([t.encode() for t, _ in ROWS], pa.large_binary()),
        "day": [datetime.datetime(2024, 1, 1 + i % 9) for i in range(40)],
        "at": [datetime.datetime(2024, 1, 1, 10, 30)] * 40,
        "date": [datetime.date(2024, 2, 1)] * 40,
        "price": [decimal.Decimal("1.50")] * 40,
        "mood": pa.array([m.encode() for _, m in ROWS]).dictionary_encode(),
    })  # fmt: skip
    pq.write_table(made, tmp_path / "a.parquet")
    text = YAML.replace("{text}", "{text} {day} {at} {date} {price}")
    found = {text.split(" seen ")[1] for text, _ in rows_of(load(tmp_path, "a.parquet", text=text))}
    assert found == {f"2024-01-0{day} 2024-01-01 10:30:00 2024-02-01 1.50" for day in range(1, 10)}
    broken = pa.table({"text": [b"fine", b"caf\xe9"] * 20, "mood": [m for _, m in ROWS]})
    pq.write_table(broken, tmp_path / "b.parquet")
    with pytest.raises(DataError, match="row 2, column 'text': this is not valid UTF-8"):
        load(tmp_path, "b.parquet")


@pytest.mark.parametrize("labels", ["[0, 1]", "['0', '1']", "[false, true]", "{0.0: a, 1.0: b}"])
@pytest.mark.parametrize(
    "values",
    [[0.0, 1.0], [False, True], ["0", "1"], ["0.0", "1.0"], ["False", "True"], [0, 1],
     ["false", "TRUE"]],
)  # fmt: skip
def test_labels_of_any_type_are_one_in_csv_and_parquet(
    tmp_path: Path, labels: str, values: list[Any]
) -> None:
    column = [values[WORDS.index(m)] for _, m in ROWS]
    made = pa.table({"text": [t for t, _ in ROWS], "mood": column})
    pq.write_table(made, tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text(table(",", rows=zip([t for t, _ in ROWS], column, strict=True)))
    text = YAML.replace("[dull, bright]", labels)
    first, second = (load(tmp_path, name, text=text) for name in ("a.parquet", "a.csv"))
    assert first.fingerprint == second.fingerprint
    assert [e.label for e in first.train[:4]] == [
        WORDS.index(dict(ROWS)[e.source[6:]]) for e in first.train[:4]
    ]


def test_a_label_that_could_be_two_is_refused(tmp_path: Path) -> None:
    rows = [(t, "1" if m == "dull" else "true") for t, m in ROWS]
    (tmp_path / "a.csv").write_text(table(",", rows=rows))
    text = YAML.replace("[dull, bright]", "['1', 'true']")
    assert {e.label for e in load(tmp_path, "a.csv", text=text).train} == {0, 1}
    (tmp_path / "a.csv").write_text(table(",", rows=[*rows, ("x", "1.0")]))
    with pytest.raises(DataError, match="row 41, column 'mood': got '1.0'"):
        load(tmp_path, "a.csv", text=text)


@pytest.mark.parametrize("missing", ["-1", "", "-1.0"])
def test_rows_without_a_label_can_be_left_out_and_are_counted(tmp_path: Path, missing: str) -> None:
    rows = [("nobody knows", missing), *ROWS, ("nor this", missing)]
    (tmp_path / "a.csv").write_text(table(",", rows=rows))
    with pytest.raises(DataError, match=r"row 1.*'unlabelled: leave_out' leaves out"):
        load(tmp_path, "a.csv")
    data = load(tmp_path, "a.csv", "unlabelled: leave_out\n")
    assert rows_of(data) == set(ROWS)
    assert "2 of 42 train rows have no label and are left out" in data.notes
    done = check(tmp_path, "a.csv", "unlabelled: leave_out\n")
    assert done.sound and done.usable == {"train": 40}


def test_other_words_for_no_label_nulls_and_nan(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(table(",", rows=[("x", "n/a"), ("y", "-"), *ROWS]))
    data = load(tmp_path, "a.csv", "unlabelled: ['n/a', '-']\n")
    assert rows_of(data) == set(ROWS)
    numbers = [None, float("nan"), -1.0, *[float(WORDS.index(m)) for _, m in ROWS]]
    made = pa.table({"text": [None, "b", "c", *[t for t, _ in ROWS]], "mood": numbers})
    pq.write_table(made, tmp_path / "a.parquet")
    text = YAML.replace("[dull, bright]", "{0: dull, 1: bright}")
    data = load(tmp_path, "a.parquet", "unlabelled: leave_out\n", text)
    assert rows_of(data) == set(ROWS)
    assert "3 of 43 train rows have no label and are left out" in data.notes
    kept = YAML.replace("[dull, bright]", "{-1: none, 0: dull, 1: bright}")
    rows = [("z", -1), *[(t, WORDS.index(m)) for t, m in ROWS]]
    (tmp_path / "b.csv").write_text(table(",", rows=rows))
    data = load(tmp_path, "b.csv", "unlabelled: leave_out\n", kept)
    assert len(rows_of(data)) == 41


# --- remarks --------------------------------------------------------------------------------


def test_empty_contradicting_and_repeated_rows_get_a_note(tmp_path: Path) -> None:
    rows = [("", "dull")] * 4 + [("both ways", "dull"), ("both ways", "bright")]
    rows += [("again", "dull")] * 3 + ROWS
    (tmp_path / "a.csv").write_text(table(",", rows=rows))
    notes = load(tmp_path, "a.csv").notes
    assert "4 of 49 train texts are empty" in notes
    assert "1 train text occurs with several labels, for example 'text: both ways'" in notes
    assert "1 train row occurs 3 times, which makes 3 rows" in notes


def test_a_split_with_one_class_gets_a_note(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(table(","))
    (tmp_path / "b.csv").write_text(table(",", rows=[(t, "dull") for t, _ in ROWS[:6]]))
    notes = load(tmp_path, "{train: a.csv, validation: a.csv, test: b.csv}").notes
    assert "all 6 test rows have the label 'dull'" in notes
    assert not [n for n in notes if n.startswith("all") and "train" in n]


def test_what_reads_as_before_keeps_its_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(table(","))
    assert load(tmp_path, "a.csv").fingerprint == "b6f2145df8237bb8"
