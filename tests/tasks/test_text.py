"""Rows become text as the literature writes it, the golden real rows included.

`python -m tests.tasks.test_text` writes tests/golden/tasks.json anew from the
development data; a difference there means raising `TEXT_VERSION`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dtvg.config import DataConfig
from dtvg.errors import DataError
from dtvg.tasks.catalogue import all_tasks, find_task
from dtvg.tasks.files import read_file
from dtvg.tasks.metrics import score
from dtvg.tasks.reading import load_task
from dtvg.tasks.text import examples_from

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "tasks.json"
PLAIN = ["mnli", "qnli", "qqp", "sst2", "mrpc", "cola", "rte", "stsb", "boolq", "cb", "wic"]
TASKS = [*PLAIN, "wsc", "multirc", "record", "squad", "nq", "hotpotqa", "searchqa", "winogrande",
         "yelp", "paws", "e2e", "common_gen", "web_nlg"]  # fmt: skip
HASHED = {"qqp", "wic", "record", "searchqa", "yelp", "winogrande", "web_nlg", "multirc", "nq",
          "hotpotqa"}  # fmt: skip
"""Tasks whose terms forbid passing texts on, or with long texts: the file holds a SHA-256."""
PLACES = (("train", 1), ("train", 2), ("validation", 1))
OUTPUTS = ("0", "1", "neither")


def golden_entry(name: str, data: DataConfig) -> dict[str, Any]:
    """Return what the golden file holds for one task: three rows, their score, the splits."""
    spec = find_task(name)
    folder = Path(data.folder or "") / spec.folder
    examples = []
    for split, row in PLACES:
        path = next(path for path in sorted(folder.glob(f"{split}.*")) if path.is_file())
        examples.append(examples_from(spec, read_file(path, spec).slice(row - 1, 1), split)[0])
    rows = []
    for (split, row), e in zip(PLACES, examples, strict=True):
        digest = hashlib.sha256(e.source.encode()).hexdigest()
        text = {"source_sha256": digest} if name in HASHED else {"source": e.source}
        entry = {"split": split, "row": row, **text, "target": e.target, "label": e.label}
        if e.references != (e.target,):
            entry["references"] = list(e.references)
        if name in HASHED and e.label is None:
            entry = {k: v for k, v in entry.items() if k not in ("target", "references")}
            entry["answers_sha256"] = hashlib.sha256("\x1f".join(e.references).encode()).hexdigest()
        rows.append(entry)
    whole = load_task(name, data)
    scores = {k: round(v, 6) for k, v in score(spec, OUTPUTS, examples).items()}
    sizes = [len(whole.train), len(whole.validation), len(whole.test)]
    return {"rows": rows, "scores": scores, "sizes": sizes, "fingerprint": whole.fingerprint}


@pytest.mark.parametrize("name", TASKS)
def test_real_rows_read_as_the_golden_file_says(name: str, shared_data: DataConfig) -> None:
    assert golden_entry(name, shared_data) == json.loads(GOLDEN.read_text("utf-8"))[name]


EXPECTED = {
    "mnli": "mnli premise: P hypothesis: H",
    "qnli": "qnli question: Q sentence: S",
    "qqp": "qqp question1: A question2: B",
    "sst2": "sst2 sentence: S",
    "mrpc": "mrpc sentence1: S1 sentence2: S2",
    "cola": "cola sentence: S",
    "rte": "rte sentence1: S1 sentence2: S2",
    "stsb": "stsb sentence1: S1 sentence2: S2",
    "boolq": "boolq question: Q passage: T",
    "cb": "cb premise: P hypothesis: H",
    "wic": "wic sentence1: S1 sentence2: S2 word: W",
}
VALUES = dict(premise="P", hypothesis="H", question="Q", sentence="S", question1="A",
              question2="B", sentence1="S1", sentence2="S2", passage="T", word="W")  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_the_text_is_the_task_name_then_field_and_text_pairs(name: str) -> None:
    spec = find_task(name)
    row = {column: [VALUES.get(column, 1)] for column in spec.columns}
    (example,) = examples_from(spec, pa.table(row), "a file")
    assert example.source == EXPECTED[name]
    assert example.references == (example.target,)


def test_classes_become_label_words_by_index() -> None:
    table = pa.table({"premise": ["a"] * 3, "hypothesis": ["b"] * 3, "label": [2, 0, 1]})
    examples = examples_from(find_task("cb"), table, "a file")
    assert [e.target for e in examples] == ["2", "0", "1"]
    assert [e.label for e in examples] == [2, 0, 1]


@pytest.mark.parametrize(
    ("given", "word"), [(3.4, "3.4"), (3.25, "3.2"), (0, "0.0"), (4.91, "5.0"), (2.5, "2.4")]
)
def test_stsb_scores_are_rounded_to_the_nearest_fifth(given: float, word: str) -> None:
    table = pa.table({"sentence1": ["a"], "sentence2": ["b"], "label": [given]})
    assert examples_from(find_task("stsb"), table, "a file")[0].target == word


def test_braces_and_newlines_in_a_text_stay_as_they_are() -> None:
    table = pa.table({"sentence": ["{0} a\nb {x}"], "label": [0]})
    assert examples_from(find_task("sst2"), table, "f")[0].source == "sst2 sentence: {0} a\nb {x}"


@pytest.mark.parametrize("label", [2, -1, None, 0.5, "2", "entailment"])
def test_a_label_outside_the_set_is_named_by_file_row_and_column(label: object) -> None:
    table = pa.table({"sentence": ["a", "b"], "label": pa.array([label, label])})
    with pytest.raises(DataError) as caught:
        examples_from(find_task("sst2"), table, "'x/train.parquet'")
    assert str(caught.value) == (
        f"'x/train.parquet', row 1, column 'label': got {label!r}, "
        "allowed: 0 (negative), 1 (positive)."
    )


def test_a_score_outside_its_range_is_named_by_file_row_and_column() -> None:
    table = pa.table({"sentence1": ["a"] * 2, "sentence2": ["b"] * 2, "label": [5.0, 5.1]})
    with pytest.raises(DataError, match=r"^f, row 2, column 'label': got 5\.1, allowed: a score"):
        examples_from(find_task("stsb"), table, "f")


def test_a_row_without_text_is_named_by_file_row_and_column() -> None:
    table = pa.table({"sentence": ["a", "b", None], "label": [0, 1, 1]})
    with pytest.raises(DataError, match=r"^f, row 3, column 'sentence': there is no text"):
        examples_from(find_task("sst2"), table, "f")


def test_a_text_column_of_numbers_is_refused() -> None:
    table = pa.table({"sentence": [1, 2], "label": [0, 1]})
    with pytest.raises(DataError, match="column 'sentence' holds int64, but it has to hold text"):
        examples_from(find_task("sst2"), table, "f")


def test_every_task_of_this_file_is_in_the_list() -> None:
    assert set(TASKS) <= set(all_tasks())


if __name__ == "__main__":
    shared = Path(os.environ.get("DTVG_SHARED", GOLDEN.parents[2] / ".." / "shared"))
    settings = DataConfig(folder=str(shared / "datasets"))
    entries = json.loads(GOLDEN.read_text("utf-8"))
    for wanted in sys.argv[1:] or TASKS:
        entries[wanted] = golden_entry(wanted, settings)
    GOLDEN.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", "utf-8")
    sys.stdout.write(f"wrote {GOLDEN}\n")
