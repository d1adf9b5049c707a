"""The demo family: reproducible, true to its texts, disjoint, and its relatedness complete."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from dtvg import paths
from dtvg.config import load_config
from dtvg.tasks.families import demo
from dtvg.tasks.families import demo_world as world

KIND = set(world.KIND_WORDS)
HARSH = set(world.HARSH_WORDS)
HASHES = {
    "film-mood": "22fdb98e5b9a1c9b",
    "meal-mood": "a02758b0b90b648a",
    "stay-gripe": "8981d11a39003433",
    "who-gave": "40e97ef89da1f03b",
    "who-sold": "791cac79dc9ffc64",
    "who-borrowed": "32a0918e9b23f87b",
    "count-things": "47c3547b331689e4",
    "where-things": "86d375e46b1c3eb0",
    "trip-mood": "c3d967e5ab61aa5e",
    "who-sent": "3e0efa36d01a5801",
}
"""Digest of all rows of a task, split after split."""

by_name = pytest.mark.parametrize("task", demo.FAMILY, ids=lambda task: task.name)


def shipped_rows(task: demo.DemoTask, split: str) -> list[tuple[str, str]]:
    """Read one split as the repository ships it."""
    table = pq.read_table(paths.demo() / "tasks" / task.name / f"{split}.parquet")
    return list(zip(table["source"].to_pylist(), table["target"].to_pylist(), strict=True))


def mood_by_reading(text: str) -> bool:
    """Decide a verdict from its words alone: the part after `but`, negations turn it."""
    part = text.split(" but ")[-1]
    first = re.split(r" and ", part)[0]
    words = re.findall(r"[a-z]+", first)
    kind = [word in KIND for word in words if word in KIND or word in HARSH]
    assert len(kind) == 1, text
    return kind[0] != ("not" in words or "never" in words)


def deal_by_reading(text: str) -> tuple[str, str]:
    """Find giver and taker by the small words around their names."""
    words = re.findall(r"[a-z]+", text.split(": ")[1])
    if "by" in words:
        return words[words.index("by") + 1], words[words.index("to") + 1]
    if "from" in words:
        return words[words.index("from") + 1], words[0]
    return words[0], words[words.index("to") + 1]


def answer_by_reading(task: demo.DemoTask, text: str) -> str:
    """Work out a row's answer without the code that made it."""
    if task.skill == "giver":
        return deal_by_reading(text)[task.name == "who-borrowed"]
    if task.skill == "count":
        return {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}[text.count(" a ")]
    if task.skill == "where":
        return text.split(": ")[1].removeprefix("in the ")
    return "yes" if mood_by_reading(text) != (task.name == "stay-gripe") else "no"


@by_name
def test_generating_again_gives_the_rows_of_the_shipped_files(
    task: demo.DemoTask,
) -> None:
    made = demo.rows(task)
    assert {split: shipped_rows(task, split) for split in demo.SPLITS} == made


@by_name
def test_rows_have_the_checked_in_hash(task: demo.DemoTask) -> None:
    pairs = [pair for split in demo.SPLITS for pair in shipped_rows(task, split)]
    assert demo.digest(pairs) == HASHES[task.name]


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for place in ("one", "two"):
        demo.write_tasks(tmp_path / place)
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 3 * len(demo.FAMILY) + 2
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@by_name
def test_every_answer_follows_from_its_text(task: demo.DemoTask) -> None:
    for split in demo.SPLITS:
        for text, answer in shipped_rows(task, split):
            assert answer_by_reading(task, text) == answer, text


@by_name
def test_splits_share_no_text_and_answers_are_balanced(task: demo.DemoTask) -> None:
    parts = {split: shipped_rows(task, split) for split in demo.SPLITS}
    texts = [text for part in parts.values() for text, _ in part]
    assert len(texts) == len(set(texts))
    assert len(parts["validation"]) >= 200
    assert len(parts["test"]) >= 200
    labels = demo.labels_of(task)
    for part in parts.values():
        counts = [sum(answer == label for _, answer in part) for label in labels]
        assert max(counts) - min(counts) <= 1


def test_the_truth_table_names_every_pair_once_and_follows_from_the_definition() -> None:
    table = demo.truth_table()
    pairs = [(r.target, r.source) for r in table]
    assert pairs == [(t, s) for t in demo.TARGETS for s in demo.SOURCES]
    for target in demo.TARGETS:
        relations = [r.relation for r in table if r.target == target]
        assert relations.count("helpful") == 2
        assert relations.count("harmful") == 1


def test_the_shipped_truth_table_is_the_one_in_the_code() -> None:
    with (paths.demo() / "truth.csv").open(encoding="utf-8") as file:
        shipped = [tuple(row.values()) for row in csv.DictReader(file)]
    made = [(r.target, r.source, r.relation, r.skills, r.reason) for r in demo.truth_table()]
    assert shipped == made


def test_the_shipped_experiment_is_a_valid_configuration_over_this_family() -> None:
    path = paths.demo() / "experiment.yaml"
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == demo.experiment()
    config = load_config(path, [])
    assert config.sources == demo.SOURCES
    assert config.targets == demo.TARGETS


def test_the_backbone_loads_offline_and_is_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = paths.demo() / "backbone"
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 8_000_000
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert model.config.decoder_start_token_id == tokenizer.pad_token_id == 0
    assert len(tokenizer) == model.get_input_embeddings().weight.shape[0]


@by_name
def test_the_tokenizer_knows_every_word_of_the_family(task: demo.DemoTask) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(paths.demo() / "backbone")
    known = tokenizer.get_vocab()
    for text, answer in shipped_rows(task, "test"):
        ids = [known[word] for word in world.words_of(text)]
        assert tokenizer(text)["input_ids"] == [*ids, tokenizer.eos_token_id]
        assert tokenizer.decode(tokenizer(answer)["input_ids"], skip_special_tokens=True) == answer


def test_pretraining_sees_no_text_of_the_family_under_a_skill() -> None:
    tiny = pytest.importorskip("dtvg.backbones.tiny")
    tokenizer = tiny.make_tokenizer()
    stream = tiny.Stream(tokenizer)
    rng_texts = {stream.instructed()[0] for _ in range(3000)}
    assert not rng_texts & demo.all_texts()
