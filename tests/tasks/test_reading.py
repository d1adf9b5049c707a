"""Loading a task: where files are looked for, what identifies the rows, what is refused."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dtvg.config import DataConfig
from dtvg.errors import ConfigError, DataError
from dtvg.tasks import sources
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.reading import TaskData, fingerprint_of, limit_train, load_task
from dtvg.tasks.spec import Example, SplitPlan, TaskSpec
from dtvg.tasks.splits import Splits

Write = Callable[..., DataConfig]


def rte_rows(count: int, stem: str = "row") -> dict[str, list[Any]]:
    return {
        "sentence1": [f"{stem} premise {i}" for i in range(count)],
        "sentence2": [f"{stem} hypothesis {i}" for i in range(count)],
        "label": [i % 2 for i in range(count)],
    }


def refusal(data: DataConfig, name: str = "rte") -> str:
    """Return the message with which a task is refused, which must be one sentence."""
    with pytest.raises(DataError) as caught:
        load_task(name, data)
    message = str(caught.value)
    assert message.endswith(".") and ". " not in message and "\n" not in message
    return message


def test_a_small_task_is_read_and_split(rte_folder: Write) -> None:
    data = load_task("rte", rte_folder())
    assert (len(data.train), len(data.validation), len(data.test)) == (8, 3, 3)
    assert data.train[1].source == ("rte sentence1: train premise 1 sentence2: train hypothesis 1")
    assert data.train[1].target == "1"
    assert data.origin.endswith("glue_rte")
    assert data.notes == ("8 of 2490 official training rows are available",)
    assert data.split("test") == data.test
    with pytest.raises(DataError, match="no split 'dev'"):
        data.split("dev")


def test_the_configured_folder_comes_before_the_home_folder(
    rte_folder: Write, own_home: Path
) -> None:
    home = own_home / "datasets" / "glue_rte"
    home.mkdir(parents=True)
    for split in ("train", "validation"):
        pq.write_table(pa.table(rte_rows(20, "home")), home / f"{split}.parquet")
    assert len(load_task("rte", rte_folder()).train) == 8
    assert load_task("rte", DataConfig()).train[0].source.startswith("rte sentence1: home")


def test_a_task_the_configured_folder_lacks_is_taken_from_home(
    tmp_path: Path, own_home: Path
) -> None:
    (tmp_path / "empty").mkdir()
    home = own_home / "datasets" / "glue_rte"
    home.mkdir(parents=True)
    for split in ("train", "validation"):
        pq.write_table(pa.table(rte_rows(4, split)), home / f"{split}.parquet")
    assert len(load_task("rte", DataConfig(folder=str(tmp_path / "empty"))).train) == 4


def test_mnli_takes_the_matched_validation_split_or_plain_validation(tmp_path: Path) -> None:
    folder = tmp_path / "glue_mnli"
    folder.mkdir()
    rows = {"premise": ["p"] * 6, "hypothesis": [f"h{i}" for i in range(6)], "label": [0, 1, 2] * 2}
    pq.write_table(pa.table(rows), folder / "train.parquet")
    pq.write_table(pa.table(rows).slice(0, 2), folder / "validation.parquet")
    assert len(load_task("mnli", DataConfig(folder=str(tmp_path))).test) == 2
    pq.write_table(pa.table(rows).slice(0, 4), folder / "validation_matched.parquet")
    assert len(load_task("mnli", DataConfig(folder=str(tmp_path))).test) == 4


def test_csv_and_json_lines_give_the_same_rows_as_parquet(
    tmp_path: Path, rte_folder: Write
) -> None:
    tricky = ['a "quoted", text', "2024-01-01", "12", "two\nlines"]
    splits = {
        split: {"sentence1": tricky, "sentence2": [f"{split} {i}" for i in range(4)],
                "label": [0, 1, 0, 1]}
        for split in ("train", "validation")
    }  # fmt: skip
    expected = load_task("rte", rte_folder(**splits))
    for kind in ("csv", "jsonl"):
        folder = tmp_path / kind / "glue_rte"
        folder.mkdir(parents=True)
        for split, columns in splits.items():
            rows = [
                dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
            ]
            with (folder / f"{split}.{kind}").open("w", newline="", encoding="utf-8") as out:
                if kind == "csv":
                    writer = csv.DictWriter(out, list(columns))
                    writer.writeheader()
                    writer.writerows(rows)
                else:
                    out.writelines(json.dumps(row) + "\n" for row in rows)
        found = load_task("rte", DataConfig(folder=str(tmp_path / kind)))
        assert found.train == expected.train
        assert found.fingerprint == expected.fingerprint


def test_numbered_parts_of_a_split_are_read_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "glue_rte"
    folder.mkdir()
    table = pa.table(rte_rows(10))
    pq.write_table(table.slice(0, 5), folder / "train-00000-of-00002.parquet")
    pq.write_table(table.slice(5), folder / "train-00001-of-00002.parquet")
    pq.write_table(table.slice(0, 4), folder / "validation.parquet")
    train = load_task("rte", DataConfig(folder=str(tmp_path))).train
    assert [e.source.split()[4] for e in train] == [str(i) for i in range(10)]


def test_dictionary_coded_columns_are_read_as_text(rte_folder: Write) -> None:
    rows = {**rte_rows(4), "sentence1": pa.array(["x", "y", "x", "y"]).dictionary_encode()}
    assert load_task("rte", rte_folder(train=rows)).train[1].source.startswith("rte sentence1: y ")


def test_a_missing_column_is_named_with_its_file(rte_folder: Write) -> None:
    rows = rte_rows(4)
    message = refusal(rte_folder(train={"sentence1": rows["sentence1"], "label": rows["label"]}))
    assert "train.parquet' has no column 'sentence2'" in message
    assert "the file has 'sentence1', 'label'" in message


def test_a_column_missing_from_json_lines_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "glue_rte"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"sentence1": "a", "label": 0}\n')
    message = refusal(DataConfig(folder=str(tmp_path)))
    assert "train.jsonl' has no column 'sentence2'" in message


def test_an_empty_split_is_named(rte_folder: Write) -> None:
    empty = {"sentence1": pa.array([], pa.string()), "sentence2": pa.array([], pa.string()),
             "label": pa.array([], pa.int64())}  # fmt: skip
    assert "validation.parquet' has no rows" in refusal(rte_folder(validation=empty))


def test_a_label_outside_the_set_is_named_by_row(rte_folder: Write) -> None:
    rows = {**rte_rows(4), "label": [0, 1, 7, 1]}
    message = refusal(rte_folder(train=rows))
    assert "train.parquet', row 3, column 'label': got 7, allowed: 0 (entailment)" in message


def test_a_file_that_is_no_parquet_is_named(rte_folder: Write) -> None:
    data = rte_folder()
    path = Path(data.folder or "") / "glue_rte" / "train.parquet"
    path.write_text("sentence1,sentence2,label\n")
    assert f"'{path}' cannot be read as Parquet" in refusal(data)
    path.write_bytes(b"")
    assert f"'{path}' is empty (0 bytes)" in refusal(data)


def test_a_broken_csv_or_json_lines_file_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "glue_rte"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"sentence1": ')
    assert "train.jsonl', line 1, character 15: not valid JSON" in refusal(
        DataConfig(folder=str(tmp_path))
    )
    (folder / "train.jsonl").unlink()
    (folder / "train.csv").write_bytes(b"sentence1,sentence2,label\n\xff,b,0\n")
    assert "train.csv', line 2, byte 1 is 0xff, which is not UTF-8" in refusal(
        DataConfig(folder=str(tmp_path))
    )


def test_a_folder_without_a_split_says_what_it_holds(rte_folder: Write) -> None:
    data = rte_folder()
    (Path(data.folder or "") / "glue_rte" / "validation.parquet").unlink()
    message = refusal(data)
    assert "There is no file 'validation.parquet'" in message and "train.parquet" in message


def test_a_data_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    message = refusal(DataConfig(folder=str(tmp_path / "nowhere")))
    assert "There is no data folder" in message and "glue_rte" in message


def test_an_unknown_task_names_the_nearest_and_all() -> None:
    with pytest.raises(ConfigError, match=r"Unknown task 'rtee'\. Did you mean 'rte'\?.*sst2"):
        load_task("rtee", DataConfig())


def test_the_fingerprint_follows_content_split_and_limit(rte_folder: Write) -> None:
    base = load_task("rte", rte_folder()).fingerprint
    assert load_task("rte", rte_folder()).fingerprint == base
    other_seed = rte_folder().model_copy(update={"seed": 1})
    limited = rte_folder().model_copy(update={"max_train_examples": 5})
    changed = rte_folder(train={**rte_rows(8, "train"), "label": [1, *[0] * 7]})
    prints = {base, *(load_task("rte", d).fingerprint for d in (other_seed, limited, changed))}
    assert len(prints) == 4
    assert len(base) == 16


def test_every_part_of_the_splits_enters_the_fingerprint() -> None:
    spec = find_task("rte")
    a, b, c, d = (Example(word, "0", ("0",), 0) for word in "abcd")
    base = Splits((a, b), (c,), (d,))
    others = [
        Splits((a,), (b, c), (d,)),
        Splits((b, a), (c,), (d,)),
        Splits((a, b), (a,), (d,)),
        Splits((a, b), (c,), (a,)),
        Splits((a, replace(b, target="1")), (c,), (d,)),
        Splits((a, replace(b, references=("0", "1"))), (c,), (d,)),
    ]
    prints = {fingerprint_of(spec, splits) for splits in (base, *others)}
    assert len(prints) == 1 + len(others)
    assert fingerprint_of(replace(spec, labels=("yes", "no")), base) not in prints


def test_official_splits_take_the_labelled_test_file(tmp_path: Path) -> None:
    folder = tmp_path / "glue_mrpc"
    folder.mkdir()
    for split, count in {"train": 9, "validation": 6, "test": 5}.items():
        pq.write_table(pa.table(rte_rows(count, split)), folder / f"{split}.parquet")
    planned = load_task("mrpc", DataConfig(folder=str(tmp_path)))
    official = load_task("mrpc", DataConfig(folder=str(tmp_path), split="official"))
    assert [len(planned.validation), len(planned.test)] == [3, 3]
    assert [len(official.validation), len(official.test)] == [6, 5]
    assert official.fingerprint != planned.fingerprint


def test_a_test_split_in_the_place_of_validation_is_not_tested_on_as_well(tmp_path: Path) -> None:
    folder = tmp_path / "yelp_polarity"
    folder.mkdir()

    def write(split: str, count: int) -> None:
        rows = {
            "text": [f"{split} {i}" for i in range(count)],
            "label": [i % 2 for i in range(count)],
        }
        pq.write_table(pa.table(rows), folder / f"{split}.parquet")

    write("train", 20)
    write("test", 8)
    spec = find_task("yelp")
    assert not sources.has_test(spec, folder)
    assert sources.at_hand(spec, folder) == "yes"  # as the hub has it: without a validation split
    for settings in ({"split": "official"}, {"split_rules": {"yelp": "official"}}):
        data = load_task("yelp", DataConfig(folder=str(tmp_path), **settings))
        assert not {e.source for e in data.validation} & {e.source for e in data.test}
        assert len(data.test) == 8 and any("official test split" in note for note in data.notes)
    write("validation", 6)
    data = load_task("yelp", DataConfig(folder=str(tmp_path), split="official"))
    assert [len(data.validation), len(data.test)] == [6, 8]


def test_fewer_training_examples_are_a_part_of_more_in_file_order(rte_folder: Write) -> None:
    whole = load_task("rte", rte_folder()).train
    kept = [limit_train(whole, limit, 42) for limit in (2, 5, 8, 100, None)]
    assert [len(rows) for rows in kept] == [2, 5, 8, 8, 8]
    assert set(kept[0]) < set(kept[1]) < set(kept[2])
    assert list(kept[1]) == [e for e in whole if e in kept[1]]
    assert limit_train(whole, 4, 42) != limit_train(whole, 4, 43)


def test_a_loaded_task_is_kept_until_its_file_changes(rte_folder: Write) -> None:
    first = load_task("rte", rte_folder())
    data = DataConfig(folder=str(Path(first.origin).parent))
    assert load_task("rte", data) is load_task("rte", data)
    rte_folder(train=rte_rows(5, "new"))
    assert len(load_task("rte", data).train) == 5


def test_a_train_row_that_is_also_tested_on_is_reported(rte_folder: Write) -> None:
    data = load_task("rte", rte_folder(train=rte_rows(6, "same"), validation=rte_rows(4, "same")))
    assert "4 of 6 train rows also occur in an evaluation split" in data.notes[-1]


def demo_spec(labels: tuple[str, ...] = ("yes", "no")) -> TaskSpec:
    return TaskSpec("parity", "Parity", "demo", "", None, "parity", (("source", "source"),),
                    labels, ("accuracy",), SplitPlan(4, rule="given"), "target",
                    reader="demo")  # fmt: skip


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A demo folder with one task whose splits are as they stand."""
    folder = tmp_path / "demo" / "tasks" / "parity"
    folder.mkdir(parents=True)
    for split, count in {"train": 4, "validation": 2, "test": 3}.items():
        rows = {
            "source": [f"{split} {i}" for i in range(count)],
            "target": ["yes", "no", "yes", "no"][:count],
        }
        pq.write_table(pa.table(rows), folder / f"{split}.parquet")
    monkeypatch.setattr(sources.paths, "demo", lambda: tmp_path / "demo")
    monkeypatch.setattr("dtvg.tasks.reading.find_task", lambda name: demo_spec())
    return folder


def load_demo() -> TaskData:
    return load_task("parity", DataConfig())


def test_demo_tasks_keep_their_text_and_splits(demo: Path) -> None:
    data = load_demo()
    assert [len(data.train), len(data.validation), len(data.test)] == [4, 2, 3]
    assert data.train[1].source == "train 1"
    assert (data.train[1].target, data.train[1].label) == ("no", 1)
    assert data.notes == ()


def test_a_demo_answer_outside_the_label_words_is_named(demo: Path) -> None:
    rows = {"source": ["a", "b"], "target": ["yes", "maybe"]}
    pq.write_table(pa.table(rows), demo / "train.parquet")
    with pytest.raises(DataError, match=r"row 2, column 'target': got 'maybe', allowed: yes, no"):
        load_demo()


def test_a_demo_that_was_not_built_says_how_to_build_it(demo: Path) -> None:
    for path in demo.iterdir():
        path.unlink()
    with pytest.raises(DataError, match="`dtvg demo build` makes the demo's files"):
        load_demo()


def test_rows_are_read_in_columns_with_a_few_calls_each(tmp_path: Path) -> None:
    """The cost of reading, counted in calls of Python functions, which no busy machine changes."""
    folder = tmp_path / "glue_sst2"
    folder.mkdir()
    rows = {"sentence": [f"a sentence of some words, the {i}th" for i in range(20_000)],
            "label": [i % 2 for i in range(20_000)]}  # fmt: skip
    pq.write_table(pa.table(rows), folder / "train.parquet")
    pq.write_table(pa.table(rows).slice(0, 800), folder / "validation.parquet")
    calls = [0]

    def count(frame: object, event: str, argument: object) -> None:
        calls[0] += event == "call"

    sys.setprofile(count)
    try:
        load_task("sst2", DataConfig(folder=str(tmp_path)))
    finally:
        sys.setprofile(None)
    assert calls[0] < 8 * 20_800  # 4.1 now


def test_reading_tasks_imports_neither_torch_nor_pandas_nor_datasets() -> None:
    code = (
        "import sys, dtvg.tasks.reading, dtvg.tasks.metrics, dtvg.tasks.summary as _;"
        "print([m for m in ('torch','pandas','datasets','transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
