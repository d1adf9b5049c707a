"""A task described in YAML: every key, what is refused, and use by name like any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dtvg.config import DataConfig
from dtvg.errors import ConfigError, DataError
from dtvg.tasks import drafting, own
from dtvg.tasks.catalogue import all_tasks, find_task
from dtvg.tasks.metrics import score_with_intervals
from dtvg.tasks.own import Converter, parse_template
from dtvg.tasks.reading import load_split, load_task

NLI = """\
title: My own NLI
files: {train: rows/train.csv, validation: rows/dev.jsonl}
text: "premise: {premise} hypothesis: {the claim}"
label: gold
labels: [entailment, neutral, contradiction]
metrics: [macro_f1, accuracy]
licence: CC0
paper: none yet
"""


def describe(own_home: Path, text: str = NLI, name: str = "my-nli") -> Path:
    """Write a description with its rows; 40 for training, 12 for validation."""
    folder = own_home / "tasks"
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    labels = ("entailment", "neutral", "contradiction")
    head = "premise,the claim,gold\n"
    cells = "".join(f'"p, {i}",c {i},{labels[i % 3]}\n' for i in range(40))
    (folder / "rows" / "train.csv").write_text(head + cells)
    rows = [{"premise": f"v {i}", "the claim": f"d {i}", "gold": labels[i % 3]} for i in range(12)]
    (folder / "rows" / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def wrong(own_home: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        own.read_description(describe(own_home, text))
    return str(caught.value)


def test_a_described_task_is_read_split_and_scored_by_its_name(own_home: Path) -> None:
    describe(own_home)
    data = load_task("my-nli", DataConfig())
    assert "my-nli" in all_tasks()
    assert [len(data.split(s)) for s in ("train", "validation", "test")] == [40, 6, 6]
    first = data.train[1]
    assert first.source == "premise: p, 1 hypothesis: c 1"
    assert (first.target, first.references, first.label) == ("neutral", ("neutral",), 1)
    assert data.spec.metrics == ("macro_f1", "accuracy") and data.spec.licence == "CC0"


def test_a_changed_description_or_file_is_noticed(own_home: Path) -> None:
    path = describe(own_home)
    before = load_task("my-nli", DataConfig()).fingerprint
    path.write_text(NLI.replace("premise: {", "first: {"))
    assert load_task("my-nli", DataConfig()).train[0].source.startswith("first: p, 0")
    path.write_text(NLI)
    assert load_task("my-nli", DataConfig()).fingerprint == before
    rows = own_home / "tasks" / "rows" / "train.csv"
    rows.write_text(rows.read_text().replace("c 7,", "another claim,"))
    assert load_task("my-nli", DataConfig()).fingerprint != before


def test_a_new_file_of_a_folder_is_noticed_by_whoever_read_the_task_before(own_home: Path) -> None:
    folder = own_home / "tasks" / "rows"
    describe(own_home, NLI.replace("{train: rows/train.csv, validation: rows/dev.jsonl}", "rows"))
    folder.joinpath("dev.jsonl").unlink()
    before = load_task("my-nli", DataConfig())
    folder.joinpath("test.csv").write_text(folder.joinpath("train.csv").read_text())
    data = load_task("my-nli", DataConfig())
    assert len(before.test) == 4 and len(data.test) == 40
    assert data.fingerprint != before.fingerprint


def test_fields_in_place_of_a_template_read_as_the_literature_writes(own_home: Path) -> None:
    describe(own_home, NLI.replace('text: "premise: {premise} hypothesis: {the claim}"',
                                   "fields: [premise, {claim: the claim}]"))  # fmt: skip
    assert load_task("my-nli", DataConfig()).train[0].source == "my-nli premise: p, 0 claim: c 0"


def test_one_file_is_divided_and_the_note_says_so(own_home: Path) -> None:
    describe(own_home, NLI.replace("{train: rows/train.csv, validation: rows/dev.jsonl}",
                                   "rows/train.csv"))  # fmt: skip
    data = load_task("my-nli", DataConfig())
    assert [len(data.split(s)) for s in ("train", "validation", "test")] == [32, 4, 4]
    assert "8 training rows are validation and test" in data.notes[0]
    everything = {e.source for s in ("train", "validation", "test") for e in data.split(s)}
    assert len(everything) == 40


def test_the_official_size_of_a_description_decides_how_its_rows_are_split(own_home: Path) -> None:
    describe(own_home, NLI + "train_rows: 9999\n", "small")
    describe(own_home, NLI + "train_rows: 10000\n", "large")
    for name, sizes in (("small", [40, 6, 6]), ("large", [20, 20, 12])):
        data = load_task(name, DataConfig())
        assert [len(data.split(s)) for s in ("train", "validation", "test")] == sizes


def test_a_test_file_is_the_test_split_as_it_stands(own_home: Path) -> None:
    describe(own_home, NLI.replace("dev.jsonl}", "dev.jsonl, test: rows/dev.jsonl}"))
    data = load_task("my-nli", DataConfig())
    assert [len(data.validation), len(data.test)] == [12, 12]


def test_a_mapping_of_labels_gives_the_words_that_are_answered(own_home: Path) -> None:
    words = "{entailment: 'yes', neutral: maybe, contradiction: 'no'}"
    describe(own_home, NLI.replace("[entailment, neutral, contradiction]", words))
    assert [e.target for e in load_task("my-nli", DataConfig()).train[:3]] == ["yes", "maybe", "no"]


def test_free_text_takes_a_text_or_a_list_of_accepted_answers(own_home: Path) -> None:
    folder = own_home / "tasks"
    folder.mkdir()
    rows = [{"q": f"q {i}", "a": [f"a {i}", f"b {i}"]} for i in range(20)]
    (folder / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "qa.yaml").write_text("files: qa.jsonl\ntext: 'question: {q}'\nlabel: a\n")
    first = load_task("qa", DataConfig()).train[0]
    assert first.references == (first.target, first.target.replace("a", "b"))
    assert find_task("qa").max_target_tokens == 64


def test_a_label_typo_names_file_row_column_and_the_nearest(own_home: Path) -> None:
    describe(own_home)
    rows = own_home / "tasks" / "rows" / "train.csv"
    rows.write_text(rows.read_text().replace("c 4,neutral", "c 4,nuetral"))
    with pytest.raises(
        DataError, match=r"train.csv', row 5, column 'gold': got 'nuetral', .*'neutral'"
    ):
        load_task("my-nli", DataConfig())


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (NLI + "metric: f1\n", "Did you mean 'metrics'?"),
        (NLI.replace("[macro_f1, accuracy]", "[acuracy]"), "Did you mean 'accuracy'?"),
        (NLI.replace("[macro_f1, accuracy]", "[f1]"), "f1 needs a task with two classes, and"),
        (NLI.replace("[macro_f1, accuracy]", "[multirc_em]"), "needs answers that belong to"),
        (NLI.replace("{premise}", "{premise"), "the braces of"),
        (NLI.replace("{premise}", "{}"), "empty braces"),
        (NLI.replace("{premise}", "{premise!r}"), "may contain only the name of a column"),
        (NLI.replace("[entailment, neutral,", "[yes, 'true',"), "write them in quotes"),
        (NLI.replace("[entailment, neutral, contradiction]", "[one]"), "task needs at least two"),
        (NLI + "hub: a/b\n", "either 'files' or 'hub'"),
        (NLI + "fields: [premise]\n", "either 'text'"),
        (NLI + "name: ../up\n", "'name': got '../up'"),
        (NLI.replace("train:", "tran:"), "tran"),
        ("[1, 2", "is not valid YAML"),
        ("just words", "has no keys"),
        ("a: !!python/object/apply:os.system ['true']", "is not valid YAML"),
    ],
)  # fmt: skip
def test_a_wrong_description_is_refused_with_what_to_write(
    own_home: Path, text: str, part: str
) -> None:
    assert part in wrong(own_home, text)


def test_all_problems_of_a_description_are_named_at_once(own_home: Path) -> None:
    message = wrong(own_home, "name: Bad Name\nlabels: [a, a]\nmetrics: [rogue]\n")
    parts = ("'name'", "occurs twice", "metric 'rogue'", "either 'files'", "either 'text'")
    assert [part for part in parts if part not in message] == []


def test_a_broken_description_hides_no_other_task_and_says_why_when_asked_for(
    own_home: Path,
) -> None:
    describe(own_home)
    (own_home / "tasks" / "broken.yaml").write_text("files: [")
    (own_home / "tasks" / "rte.yaml").write_text(NLI)
    assert "my-nli" in all_tasks() and find_task("rte").family == "GLUE"
    with pytest.raises(ConfigError, match="is not valid YAML"):
        find_task("broken")
    assert "comes with the workbench" in own.described(("rte",))[1]["rte"]


def test_a_second_description_of_one_name_is_said_and_changes_nothing(
    own_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    describe(own_home)
    first = find_task("my-nli")
    describe(own_home, f"name: my-nli\n{NLI}", "other-nli")
    tasks, problems = own.described(())
    assert tasks["my-nli"] == first
    assert "task 'my-nli' is described in" in problems["other-nli"]
    (own_home / "tasks" / "other-nli.yaml").unlink()
    shipped = tmp_path / "checkout"
    (shipped / "tasks").mkdir(parents=True)
    (shipped / "tasks" / "my-nli.yaml").write_text(NLI)
    monkeypatch.setattr("dtvg.paths.shipped", lambda: shipped)
    assert own.described(()) == ({"my-nli": first}, {})  # the person's own comes first


def test_where_descriptions_lie_is_asked_as_often_for_many_as_for_one(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, folders = [], own.folders
    monkeypatch.setattr(own, "folders", lambda: asked.append(1) or folders())
    counts = []
    for name in ("one-nli", "two-nli", "three-nli"):
        describe(own_home, NLI, name)
        asked.clear()
        own.described(())
        counts.append(len(asked))
    assert len(set(counts)) == 1


def test_a_split_without_a_file_cannot_be_taken_as_it_stands(own_home: Path) -> None:
    describe(own_home)
    spec = find_task("my-nli")
    assert len(load_split(spec, DataConfig(), "validation", "official").validation) == 12
    with pytest.raises(DataError, match="my-nli has no test rows in a file of their own; take"):
        load_split(spec, DataConfig(), "test", "official")


def test_a_metric_that_is_named_twice_counts_once(own_home: Path) -> None:
    describe(own_home, NLI.replace("[macro_f1, accuracy]", "[accuracy, macro_f1, accuracy]"))
    spec, train = find_task("my-nli"), load_task("my-nli", DataConfig()).train
    rows = [*[e for e in train if e.label == 0] * 20, next(e for e in train if e.label == 1)]
    found = score_with_intervals(spec, ["entailment"] * len(rows), rows)["score"]
    assert found.low <= found.value <= found.high


def test_a_column_without_a_name_is_not_proposed(tmp_path: Path) -> None:
    """As pandas writes its index."""
    rows = "".join(f"{i},w{i},{'good' if i % 2 else 'bad'}\n" for i in range(20))
    (tmp_path / "a.csv").write_text(f",word,label\n{rows}")
    look = drafting.look_at(tmp_path / "a.csv")
    made = drafting.draft(look)
    assert made.text == ("word",)
    text = drafting.description("t", {"train": "a.csv"}, made.text, made.label, made.labels)
    assert own.parse_description(text, tmp_path / "b.yaml").labels == ("bad", "good")


@pytest.mark.parametrize(("named", "part"), [
    ("rows/tran.csv", "did you mean 'train.csv'"), ("../tasks", "holds no file that ends with"),
    ("rows/train.xlsx", "is not one of"),
])  # fmt: skip
def test_a_file_that_is_not_there_is_named_with_the_nearest(
    own_home: Path, named: str, part: str
) -> None:
    describe(own_home, NLI.replace("rows/train.csv", named))
    with pytest.raises(DataError, match=part):
        load_task("my-nli", DataConfig())


def test_descriptions_that_are_no_files_of_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("title: caf\xe9".encode("latin-1"))
    for path, part in ((tmp_path, "is a folder"), (tmp_path / "none.yaml", "no file"),
                       (tmp_path / "latin.yaml", "not UTF-8")):  # fmt: skip
        with pytest.raises(ConfigError, match=part):
            own.read_description(path)


def test_a_template_takes_names_as_they_stand_and_doubled_braces_as_braces() -> None:
    convert = Converter(parse_template("{{x}} {a.b[0]} {c d}"), "y")
    example = convert({"a.b[0]": "one", "c d": "two", "y": "three"})[0]
    assert (example.source, example.target) == ("{x} one two", "three")
