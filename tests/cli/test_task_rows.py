"""`tasks format`, `score` and `check`: what is printed, and what is refused."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dtvg.cli import tasks
from dtvg.errors import ConfigError, DataError


@pytest.fixture
def data(tmp_path: Path) -> str:
    """A small CB: 9 training and 6 validation rows."""
    folder = tmp_path / "d" / "superglue_cb"
    folder.mkdir(parents=True)
    for split, count in {"train": 9, "validation": 6}.items():
        rows = {
            "premise": [f"{split} premise {i}" for i in range(count)],
            "hypothesis": ["h"] * count,
            "label": [0, 1, 2] * (count // 3),
        }
        pq.write_table(pa.table(rows), folder / f"{split}.parquet")
    return str(tmp_path / "d")


def run(*words: str) -> int:
    top = argparse.ArgumentParser()
    tasks.add(top.add_subparsers())
    arguments = top.parse_args(["tasks", *words])
    return int(arguments.do(arguments))


def rows(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, object]]:
    assert run("format", "cb", *words) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_format_prints_the_plans_split_or_the_file_as_it_stands(
    data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = rows(capsys, "--data", data)
    official = rows(capsys, "--data", data, "--split-rule", "official")
    assert (len(planned), len(official)) == (3, 6)
    assert official[1] == {
        "source": "cb premise: validation premise 1 hypothesis: h",
        "target": "1",
        "references": ["1"],
    }
    assert all(row in official for row in planned)
    assert (
        rows(capsys, "--data", data, "--split-rule", "official", "--rows", "1:3") == official[1:3]
    )
    assert rows(capsys, "--data", data, "--split-rule", "official", "--rows", "5") == official[5:]
    own = rows(capsys, "--data", data + "/superglue_cb", "--labels", "words", "--rows", ":1")
    assert own[0]["target"] in ("entailment", "contradiction", "neutral")


def test_the_official_split_needs_no_other_file(
    data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (Path(data) / "superglue_cb" / "train.parquet").unlink()
    assert len(rows(capsys, "--data", data, "--split-rule", "official")) == 6
    assert run("format", "cb", "--data", data) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 6 and "file is used unchanged" in printed.err


@pytest.mark.parametrize("given", ["9:", "2:1", "a:b", "-1", "", "1:2:3"])
def test_rows_that_are_none_are_refused(data: str, given: str) -> None:
    with pytest.raises(DataError, match="--rows"):
        run("format", "cb", "--data", data, f"--rows={given}")


def score(data: str, lines: list[str], *words: str) -> int:
    path = Path(data) / "answers.jsonl"
    path.write_text("\n".join(lines) + "\n")
    official = ("--split-rule", "official")
    return run("score", "cb", "--data", data, *official, "--predictions", str(path), *words)


def test_score_takes_strings_numbers_and_objects(
    data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ['"0"', "1", '{"prediction": "2", "id": 7}', '{"prediction": 0}', '"what?"', '"0"', ""]
    assert score(data, lines) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == 6 and found["no_label"] == 1
    assert found["metrics"]["accuracy"] == pytest.approx(4 / 6)
    assert {"macro_f1", "score"} <= set(found["metrics"])


@pytest.mark.parametrize(
    ("lines", "part"),
    [
        (['"0"'] * 5, "Got 5 predictions, but cb validation .official. has 6 rows"),
        (['"0"'] * 3 + ["entailment"], "line 4 is not valid JSON"),
        (['"0"', '{"answer": "0"}'], "line 2 has no 'prediction' .it holds 'answer'"),
        (['"0"', "null"], "line 2: got 'None' as an answer"),
        (['"0"', '{"prediction": [1]}'], "line 2: got '.1.' as an answer"),
    ],
)
def test_answers_that_cannot_be_scored_are_named(data: str, lines: list[str], part: str) -> None:
    with pytest.raises(DataError, match=part):
        score(data, lines)
    with pytest.raises(DataError, match="no file 'none.jsonl'"):
        run("score", "cb", "--data", data, "--predictions", "none.jsonl")


def test_what_format_prints_as_targets_scores_one(
    data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    targets = [
        json.dumps(r["target"]) for r in rows(capsys, "--data", data, "--split-rule=official")
    ]
    score(data, targets)
    assert set(json.loads(capsys.readouterr().out)["metrics"].values()) == {1.0}


YAML = """\
title: Mine
files: mine.csv
text: "text: {text}"
label: verdict
labels: {neg: negative, pos: positive}
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    lines = "".join(f"text {i},{'pos' if i % 4 else 'neg'}\n" for i in range(40))
    (tmp_path / "mine.csv").write_text("text,verdict\n" + lines)
    (tmp_path / "mine.yaml").write_text(YAML)
    return tmp_path / "mine.yaml"


def test_check_prints_examples_lengths_balance_and_majority(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("check", str(mine)) == 0
    out = capsys.readouterr().out
    assert out.count("  source  text: text") == 3 and "target  positive" in out
    assert "tokenizer of 'demo'" in out and "0 of 40 rows are truncated at 256" in out
    assert out.count("always giving 'positive', the commonest training answer scores") == 3
    assert "can be used" in out
    run("check", str(mine), "--max-source-tokens", "3")
    assert "40 of 40 rows are truncated at 3" in capsys.readouterr().out


def test_check_says_where_the_yaml_goes_only_where_it_is_not_there(
    mine: Path, own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("check", str(mine)) == 0
    assert f"put its YAML into '{own_home / 'tasks'}', then" in capsys.readouterr().out
    (own_home / "tasks").mkdir()
    there = own_home / "tasks" / mine.name
    there.write_text(mine.read_text().replace("mine.csv", str(mine.parent / "mine.csv")))
    for place in (str(there), "mine"):
        assert run("check", place) == 0
        said = capsys.readouterr().out
        assert "'mine' can be used: its name is known everywhere." in said and "put" not in said


def test_a_file_with_a_slip_in_its_name_is_asked_for(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine.write_text(mine.read_text().replace("mine.csv", "mien.csv"))
    assert run("check", str(mine)) == 1
    said = capsys.readouterr().out
    assert "did you mean 'mine.csv'?" in said and "'mine.csv'?." not in said


def test_check_names_every_problem_with_file_row_and_column(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = mine.parent / "mine.csv"
    table.write_text(table.read_text() + "x,pso\ny\nz,nneg\n")
    assert run("check", str(mine)) == 1
    problems = [x for x in capsys.readouterr().out.splitlines() if x.startswith("problem")]
    assert len(problems) == 3
    assert "line 43: got 1 cell, the header has 2" in problems[0]
    assert "row 41 (line 42), column 'verdict': got 'pso'" in problems[1]
    assert "row 43 (line 44), column 'verdict': got 'nneg'" in problems[2]
    assert run("check", str(mine), "--problems", "1") == 1
    assert "and 2 more problems" in capsys.readouterr().out


def test_check_finds_a_label_that_no_row_has(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine.write_text(YAML.replace("neg: negative", "neg: negative, neutral: fair"))
    assert run("check", str(mine)) == 1
    assert "Label 'neutral' of" in capsys.readouterr().out


def test_check_of_a_task_that_comes_with_the_workbench_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="tasks show cb"):
        run("check", "cb")


def test_a_described_task_is_formatted_and_scored_by_file_or_name(
    mine: Path, own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("format", str(mine), "--split", "test")
    by_file = capsys.readouterr().out
    (own_home / "tasks").mkdir()
    (own_home / "tasks" / "mine.yaml").write_text(
        YAML.replace("mine.csv", f"{mine.parent}/mine.csv")
    )
    run("format", "mine", "--split", "test")
    assert capsys.readouterr().out == by_file != ""
    (own_home / "tasks" / "off.yaml").write_text("files: 1")
    run("list")
    listed = capsys.readouterr().out
    assert "mine " in listed and "The description of 'off' cannot be used" in listed


def test_the_three_commands_need_no_torch(mine: Path) -> None:
    code = (
        "import sys; from dtvg.cli import main\nmain(['tasks', 'check', "
        f"{str(mine)!r}])\nmain(['tasks', 'format', {str(mine)!r}, '--rows', '0:1'])\nprint([m for "
        "m in ('torch', 'transformers', 'datasets') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_check_says_what_the_backbone_cannot_write_and_the_best_reachable_score(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("check", str(mine))
    out = capsys.readouterr().out
    assert "best reachable score with the tokenizer of 'demo': 100.0 %" in out
    assert "note: " not in out.split("best reachable")[0]
    table = mine.parent / "mine.csv"
    table.write_text(table.read_text().replace("text 1,", "\u4e00 1,"))
    mine.write_text(YAML.replace("negative", "'\u2639'").replace("positive", "'\u263a'"))
    assert run("check", str(mine)) == 0
    out = capsys.readouterr().out
    assert "cannot write the label words of task mine ('\u2639' becomes ''" in out
    assert "best reachable score with the tokenizer of 'demo': 0.0 %" in out
    assert "input tokens of task mine become the unknown token" in out
    assert "evaluation.mode generate" not in out


def test_label_words_that_differ_only_in_their_form_are_refused_and_values_match_in_any(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine.write_text(YAML.replace("negative", "'e\u0301te'").replace("positive", "'\u00e9te'"))
    with pytest.raises(ConfigError, match="differ only in white space or in how their letters"):
        run("check", str(mine))
    mine.write_text(YAML.replace("{neg:", "{'ne\u0301g':").replace("positive", "' yes'"))
    table = mine.parent / "mine.csv"
    table.write_text(table.read_text().replace("neg", "n\u00e9g"))
    assert run("check", str(mine)) == 0
    assert "target   yes" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--problems=-1", "--max-source-tokens=-5", "--problems=²"])
def test_a_number_that_counts_nothing_is_refused_by_check(
    mine: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run("check", str(mine), option)
    assert "give a whole number such as 3" in capsys.readouterr().err
