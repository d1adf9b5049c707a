"""What stands in one's own files becomes the text and the answers that were meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from dtvg.config import DataConfig
from dtvg.errors import ConfigError
from dtvg.tasks import drafting, own, sources
from dtvg.tasks.checking import Check, check_task
from dtvg.tasks.drafting import draft, look_at
from dtvg.tasks.metrics import per_example

ROWS = 40


def described(folder: Path, text: str) -> Any:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return own.read_description(path)


def check(folder: Path, text: str) -> Check:
    return check_task(described(folder, text), DataConfig())


@pytest.mark.parametrize("kind", [pa.float32(), pa.float16(), pa.float64()])
def test_numbers_of_any_precision_are_answered_as_they_are_written(
    tmp_path: Path, kind: Any
) -> None:
    numbers = np.array([0.1, 3.8] * (ROWS // 2), kind.to_pandas_dtype())
    table = {"text": [f"pair {i}" for i in range(ROWS)], "score": numbers}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    start = "files: a.parquet\ntext: '{text}: {score}'\nlabel: score\n"
    done = check(tmp_path, start + "metrics: [pearson]\n")
    assert {e.target for e in done.train} == {"0.1", "3.8"}
    assert done.train[0].source == "pair 0: 0.1"
    assert {e.label for e in check(tmp_path, start + "labels: [0.1, 3.8]\n").train} == {0, 1}
    (column,) = (c for c in look_at(tmp_path / "a.parquet").columns if c.name == "score")
    assert column.values == {"0.1": ROWS // 2, "3.8": ROWS // 2}


def test_a_label_that_was_given_with_all_digits_of_single_precision_still_names_its_class(
    tmp_path: Path,
) -> None:
    numbers = np.array([0.1, 0.5] * (ROWS // 2), np.float32)
    table = {"text": [f"pair {i}" for i in range(ROWS)], "score": numbers}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    labels = f"labels: [{float(numbers[0])!r}, 0.5]\n"
    done = check(tmp_path, f"files: a.parquet\ntext: '{{text}}'\nlabel: score\n{labels}")
    assert done.sound and {e.label for e in done.train} == {0, 1}


def test_a_column_of_categories_whose_names_are_text_views_is_text(tmp_path: Path) -> None:
    moods = pa.array(["dull", "bright"], pa.string_view())  # as polars writes categories to Arrow
    places = pa.array([0, 1] * (ROWS // 2), pa.uint32())
    table = {
        "text": pa.array([f"film {i}" for i in range(ROWS)], pa.string_view()),
        "mood": pa.DictionaryArray.from_arrays(places, moods),
    }
    pa.feather.write_feather(pa.table(table), str(tmp_path / "a.arrow"), "uncompressed")
    done = check(tmp_path, "files: a.arrow\ntext: '{text}'\nlabel: mood\nlabels: [dull, bright]\n")
    assert [e.target for e in done.train[:2]] == ["dull", "bright"]
    (column,) = (c for c in look_at(tmp_path / "a.arrow").columns if c.name == "mood")
    assert column.values == {"dull": ROWS // 2, "bright": ROWS // 2}


def test_a_glob_in_a_folder_with_brackets_in_its_name_is_followed(tmp_path: Path) -> None:
    folder = tmp_path / "films [2024]"
    folder.mkdir()
    yaml = "files: '{}*.csv'\ntext: '{{text}}'\nlabel: mood\nlabels: [dull, bright]\n"
    for place in ("", "parts/"):
        for part in range(2):
            rows = "".join(f"{part} film {i},{('dull', 'bright')[i % 2]}\n" for i in range(20))
            file = folder / f"{place}p-{part}.csv"
            file.parent.mkdir(exist_ok=True)
            file.write_text(f"text,mood\n{rows}")
        spec = described(folder, yaml.format(place))
        assert len(check_task(spec, DataConfig()).train) == 40
        assert len(sources.signature(spec, folder)) == 2


@pytest.mark.parametrize(
    ("answers", "metric", "part"),
    [
        (("3,5", "1.5"), "pearson", "20 of 40 train answers are no numbers"),
        (("3,5", "n/a"), "spearman", "40 of 40 train answers are no numbers"),
        (("да", "нет, 2"), "rougeL", "20 of 40 train answers score 0 in rougeL even if given"),
        (("yes", "not yet"), "rouge2", "20 of 40 train answers score 0 in rouge2 even if given"),
        (("A", "B"), "squad_f1", "20 of 40 train answers score 0 in squad_f1 even if given"),
        (("3.5", "-1e3"), "pearson", ""),
        (("A", "the"), "squad_em", ""),
        (("да", "нет"), "chrf", ""),
    ],
)
def test_answers_in_which_a_metric_finds_nothing_are_noted(
    tmp_path: Path, answers: tuple[str, str], metric: str, part: str
) -> None:
    rows = "".join(f"text {i};{answers[i % 2]}\n" for i in range(ROWS))
    (tmp_path / "a.csv").write_text(f"text;answer\n{rows}", encoding="utf-8")
    done = check(tmp_path, f"files: a.csv\ntext: '{{text}}'\nlabel: answer\nmetrics: [{metric}]\n")
    notes = [note for note in (done.data.notes if done.data else ()) if " answers " in note]
    assert [note.startswith(part) for note in notes] == ([True] if part else [])
    if part:  # it is so
        wanted = [e for e in done.train if e.target == answers[0]]
        assert per_example(done.spec, [e.target for e in wanted], wanted)[0] in (0.0, None)


def test_a_label_that_yaml_reads_as_true_is_named_with_what_to_write(tmp_path: Path) -> None:
    rows = "".join(f"text {i},{('Yes', 'No')[i % 2]}\n" for i in range(ROWS))
    (tmp_path / "a.csv").write_text(f"text,sure\n{rows}")
    start = "files: a.csv\ntext: '{text}'\nlabel: sure\nlabels: "
    problem = check(tmp_path, start + "[Yes, No]\n").problems[0]
    assert "got 'Yes', allowed: true, false (YAML reads yes as true or false" in problem
    assert check(tmp_path, start + "['Yes', 'No']\n").sound


def test_a_date_beyond_the_calendar_is_named_by_its_column(tmp_path: Path) -> None:
    days = pa.array([0, 2**31 - 1] * (ROWS // 2), pa.int32()).cast(pa.date32())  # `infinity`
    table = {"text": days, "mood": ["dull", "bright"] * (ROWS // 2)}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    done = check(
        tmp_path, "files: a.parquet\ntext: '{text}'\nlabel: mood\nlabels: [dull, bright]\n"
    )
    assert "column 'text' has a date or time outside of the years 1 to 9999" in done.problems[0]


@pytest.mark.parametrize(
    ("held", "proposed"),
    [
        (["é", "e\u0301", "a"], {"a", "é"}),
        (["true", "True", "false", "FALSE"], {"true", "false"}),
        (["1", "1.0", "0", "0.0"], {"0", "1"}),
        (["001", "002"], {"001", "002"}),
        (["12345678901234567890", "7"], {"12345678901234567890", "7"}),
        (["0.0", "1.0"], {"0", "1"}),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_what_is_proposed_for_a_column_is_each_of_its_labels_once_as_the_file_has_it(
    tmp_path: Path, held: list[str], proposed: set[str], kind: str
) -> None:
    rows = [(f"text number {i}", held[i % len(held)]) for i in range(ROWS)]
    if kind == "csv":
        text = "text,label\n" + "".join(f"{a},{b}\n" for a, b in rows)
    else:
        text = "".join(json.dumps({"text": a, "label": b}) + "\n" for a, b in rows)
    (tmp_path / f"a.{kind}").write_text(text, encoding="utf-8")
    made = draft(look_at(tmp_path / f"a.{kind}"))
    assert made.label == "label" and set(made.labels) == proposed
    written = drafting.description("", {"train": f"a.{kind}"}, made.text, "label", made.labels)
    assert check(tmp_path, written).sound


def test_a_text_without_quotation_marks_is_said_to_need_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'text': YAML takes braces for a mapping; put the text"):
        described(tmp_path, "files: a.csv\ntext: {review}\nlabels: [a, b]\n")


def test_a_number_that_yaml_reads_as_another_one_is_said_to_be(tmp_path: Path) -> None:
    rows = "".join(f"text {i},0{10 * (i % 2 + 1)}\n" for i in range(ROWS))
    (tmp_path / "a.csv").write_text(f"text,code\n{rows}")
    text = "files: a.csv\ntext: '{text}'\nlabel: code\nlabels: [%s]\n"
    problem = check(tmp_path, text % "010, 020").problems[0]
    assert problem.endswith("allowed: 8, 16 (YAML reads 010 as 8: write it in quotes).")
    assert check(tmp_path, text % "'010', '020'").sound
