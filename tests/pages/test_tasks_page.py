"""The tasks page: what it shows of a task, choices in the URL, and adding a task without code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from streamlit.testing.v1 import AppTest

from dtvg.config import DataConfig, build_config
from dtvg.errors import ConfigError, DataError
from dtvg.jobs import uploads
from dtvg.store import trash
from dtvg.store.layout import create_experiment
from dtvg.tasks import checking, drafting
from dtvg.tasks.catalogue import all_tasks
from dtvg.ui import own_tasks

ROOT = Path(__file__).resolve().parents[2]


def draw(**choices: str) -> AppTest:
    made = AppTest.from_file(str(ROOT / "pages" / "tasks.py"), default_timeout=60)
    for key, value in choices.items():
        made.query_params[key] = value
    made.run()
    assert not made.exception
    return made


@pytest.fixture
def checked_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploads are checked in this process; in one of their own: tests/jobs/test_uploads.py."""
    monkeypatch.setattr(uploads, "_run", lambda folder, tell: uploads.work(folder))


@pytest.fixture
def cb(tmp_path: Path) -> str:
    folder = tmp_path / "d" / "superglue_cb"
    folder.mkdir(parents=True)
    for split, count in {"train": 30, "validation": 12}.items():
        rows = {"premise": [f"{split} {i}" for i in range(count)], "hypothesis": ["h"] * count,
                "label": [0, 1, 2] * (count // 3)}  # fmt: skip
        pq.write_table(pa.table(rows), folder / f"{split}.parquet")
    return str(tmp_path / "d")


def test_a_task_shows_sizes_answers_under_both_settings_and_rows(cb: str) -> None:
    made = draw(task="cb", folder=cb, split="validation", row="2")
    assert [m.value for m in made.metric] == ["30", "6", "6"]
    assert "majority score" in made.metric[0].delta
    assert made.selectbox(key="task").value == "cb"
    shown = [c.value for c in made.code]
    assert shown[0].startswith("cb premise: validation ")
    assert shown[1] in ("0", "1", "2")
    assert shown[2] == {"0": "entailment", "1": "contradiction", "2": "neutral"}[shown[1]]
    assert any("30 of 250 official training rows" in c.value for c in made.caption)
    words = next(d.value for d in made.dataframe if "word_tokens" in d.value.columns)
    assert list(words["word"]) == ["entailment", "contradiction", "neutral"]
    assert (words["word_tokens"] >= words["numeral_tokens"]).all()


def test_a_task_whose_rows_are_not_at_hand_says_how_to_get_them() -> None:
    made = draw(task="cb")
    assert "dtvg tasks show cb" in made.info[0].value
    assert not made.metric


def test_rows_that_cannot_be_used_and_folders_that_are_none_are_said(cb: str) -> None:
    path = Path(cb) / "superglue_cb" / "train.parquet"
    rows = pq.read_table(path).to_pydict()
    pq.write_table(pa.table({**rows, "label": [9] * 30}), path)
    assert "got 9, allowed" in draw(task="cb", folder=cb).error[0].value
    assert "There is no data folder" in draw(task="cb", folder=cb + "/none").error[0].value


def test_a_tokenizer_that_is_not_here_is_said_and_the_rest_stays(cb: str) -> None:
    made = draw(task="cb", folder=cb, **{"with": "google-t5/t5-base"})
    assert "not in the hub's cache" in made.info[0].value
    assert len(made.metric) == 3


def test_the_row_stands_in_the_url_and_one_beyond_the_end_gives_way(cb: str) -> None:
    made = draw(task="cb", folder=cb, row="20")
    assert made.number_input(key="row").value == 20
    assert any("train row 20" in caption.value for caption in made.caption)
    made.selectbox(key="split").select("test").run()
    assert made.number_input(key="row").value == 5 and not made.exception
    assert draw(task="cb", folder=cb, split="test", row="900").number_input(key="row").value == 5


YAML = """\
files: mine.csv
text: "text: {text}"
label: verdict
labels: [good, bad]
"""
ROWS = b"text,verdict\n" + b"".join(
    f"t {i},{'good' if i % 3 else 'bad'}\n".encode() for i in range(40)
)


def test_a_task_typed_on_the_page_is_checked_and_kept(own_home: Path, checked_here: None) -> None:
    (own_home / "tasks").mkdir()
    (own_home / "tasks" / "mine.csv").write_bytes(ROWS)
    made = draw(task="film-mood")
    made.text_input(key="own-name").input("my-own")
    made.text_area(key="own-text").input(YAML.replace("[good, bad]", "[good, bat]"))
    made.button(key="own-check").click().run()
    assert made.error[0].value.startswith("15 problems")
    first = next(t.value for t in made.table if t.value.index.name == "problem").index[0]
    assert first.startswith("'mine.csv', row 1 (line 2), column 'verdict': got 'bad'")
    assert "my-own" not in all_tasks()
    made.text_area(key="own-text").input(YAML)
    made.button(key="own-check").click().run()
    assert not made.error and "can be used" in made.success[0].value
    assert "my-own" not in all_tasks()
    made.button(key="own-keep").click().run()
    assert "my-own.yaml" in made.success[0].value and "my-own" in all_tasks()
    made.button(key="own-keep").click().run()
    assert "A task 'my-own' exists already" in made.error[0].value


def keep_given(name: str, text: str, uploads: dict[str, bytes], data: DataConfig) -> None:
    """Check what is given, and keep it, as the page does."""
    done = checking.check_given(name, text, uploads, data)
    if not done.sound:
        raise DataError(done.problems[0])
    checking.keep_checked(done.spec.name, text, uploads)


def test_files_given_with_a_description_are_kept_with_it_or_not_at_all(own_home: Path) -> None:
    data, folder = DataConfig(), own_home / "tasks"
    with pytest.raises(DataError, match="column 'verdict': got 'bad', allowed: good, ugly"):
        keep_given("m", YAML.replace("bad", "ugly"), {"mine.csv": ROWS}, data)
    assert not folder.exists()
    keep_given("m", YAML, {"mine.csv": ROWS}, data)
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*.*")) == [
        "m/m.yaml",
        "m/mine.csv",
    ]
    with pytest.raises(ConfigError, match="'m' exists already"):
        keep_given("m", YAML, {"mine.csv": ROWS}, data)
    keep_given("n", YAML, {"mine.csv": ROWS.replace(b"t 1,", b"u 1,")}, data)
    assert (folder / "m" / "mine.csv").read_bytes() == ROWS  # files of one name do not meet
    assert {"m", "n"} <= set(all_tasks())


FILE = b"id,review,verdict\n" + b"".join(
    f"{i},a film of number {i},{'good' if i % 3 else 'bad'}\n".encode() for i in range(60)
)


def test_a_files_columns_become_a_task_that_is_edited_and_deleted(
    own_home: Path, checked_here: None
) -> None:
    made = draw(task="film-mood")
    made.text_input(key="own-name").input("films")
    made.file_uploader(key="own-files").upload("reviews.csv", FILE).run()
    assert not made.exception and not made.error
    described = yaml.safe_load(made.text_area(key="own-text").value)
    assert described == {
        "files": {"train": "reviews.csv"},
        "text": "review: {review}",
        "label": "verdict",
        "labels": {"bad": "bad", "good": "good"},
        "metrics": ["accuracy"],
    }
    made.button(key="own-keep").click().run()
    assert not made.error and "films.yaml" in made.success[0].value
    made = draw(task="films")
    area = next(a for a in made.text_area if a.key.startswith("own-edit-films"))
    area.input(area.value.replace("bad: bad", "bad: poor"))
    made.button(key="own-edit-save").click().run()
    assert not made.error and all_tasks()["films"].labels == ("poor", "good")
    used = build_config({"name": "uses", "targets": ["films"], "methods": ["none"]})
    create_experiment(used, own_home / "runs")
    made = draw(task="film-mood")
    made.button(key="own-delete").click().run()
    assert "is used by uses" in made.error[0].value and "films" in all_tasks()
    gone = trash.delete_task("films")
    assert "films" not in all_tasks()
    trash.restore(gone.name)
    assert all_tasks()["films"].labels == ("poor", "good")


@pytest.mark.parametrize(
    ("files", "part"),
    [
        ([("a.csv", FILE), ("a.csv", FILE[:200])], "Two files are called 'a.csv'"),
        ([("m.yaml", YAML.encode()), ("n.YML", b"a: b")], "Both 'm.yaml' and 'n.YML' are"),
        ([("m.yaml", "title: größe".encode("latin-1"))], "not UTF-8 text (byte 9 is 0xf6)"),
    ],
)
def test_uploads_of_which_something_would_be_lost_are_refused(
    own_home: Path, files: list[tuple[str, bytes]], part: str
) -> None:
    made = draw(task="film-mood")
    made.text_area(key="own-text").input("label: mine")
    uploaded = [(name, content, "text/plain") for name, content in files]
    made.file_uploader(key="own-files").set_value(uploaded).run()
    assert part in made.error[0].value.replace("\\", "") and not made.exception
    assert made.button(key="own-check").disabled and made.button(key="own-keep").disabled
    assert made.text_area(key="own-text").value == "label: mine"


@pytest.mark.parametrize(
    "file", ["../up.csv", ".hidden.csv", "a/b.csv", "evil.py", "x" * 200 + ".csv"]
)
def test_a_file_whose_name_leaves_the_folder_is_refused(own_home: Path, file: str) -> None:
    with pytest.raises(DataError, match="cannot be used; give files with names"):
        checking.check_given("m", YAML, {file: ROWS}, DataConfig())
    with pytest.raises(ConfigError, match="cannot be used"):
        checking.check_given("../m", YAML, {}, DataConfig())


@pytest.mark.slow  # all pages without a data folder: test_fresh_process.py
def test_the_page_brings_neither_torch_nor_transformers_nor_datasets(cb: str) -> None:
    code = (
        "import sys\nfrom streamlit.testing.v1 import AppTest\n"
        "made = AppTest.from_file('pages/tasks.py', default_timeout=60)\n"
        f"made.query_params['task'] = 'cb'\nmade.query_params['folder'] = {cb!r}\nmade.run()\n"
        "assert len(made.metric) == 3\n"
        "print([m for m in ('torch', 'transformers', 'datasets') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr[-500:]


def test_an_answer_that_is_emptied_is_the_proposed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reviews.csv").write_text("review,verdict\n" + "a,bad\nb,good\n" * 10)
    look = drafting.look_at(tmp_path / "reviews.csv")

    def emptied(table: pd.DataFrame, **more: object) -> pd.DataFrame:
        return table.assign(answered=[None, "fine"])

    monkeypatch.setattr(own_tasks.st, "data_editor", emptied)
    proposed = drafting.labels_of(next(c for c in look.columns if c.name == "verdict"))
    first, second = proposed
    found = own_tasks._labels(look, "verdict", "0")
    assert found == {first: proposed[first], second: "fine"}
