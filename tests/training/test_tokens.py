"""Tokens are made once: by whom, for what, and what happens to damaged or foreign ones."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dtvg.backbones.base import Backbone, Encoded
from dtvg.backbones.loading import load_backbone
from dtvg.config import BackboneConfig, DataConfig
from dtvg.tasks import files, prepared, reading
from dtvg.tasks.spec import Example
from dtvg.training import batches, tokens
from dtvg.training.tokens import EncodedRows, place_for


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone(BackboneConfig())


EXAMPLES = tuple(Example(f"review {i} " + "good " * (i % 7), "yes", ("yes",)) for i in range(50))


class Counting:
    """A backbone that counts the rows it tokenises."""

    def __init__(self, inner: Backbone) -> None:
        self.inner, self.rows = inner, 0

    def encode(self, sources: list[str], *rest: Any) -> list[Encoded]:
        self.rows += len(sources)
        return self.inner.encode(sources, *rest)


def rows_at(place: Path | None, backbone: Any) -> EncodedRows:
    return EncodedRows(EXAMPLES, backbone, 16, 4, place)


def same(a: Encoded, b: Encoded) -> bool:
    return np.array_equal(a.source, b.source) and np.array_equal(a.target, b.target)


def test_a_second_start_tokenises_nothing_and_gives_the_same_ids(
    tmp_path: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EncodedRows, "BLOCK", 16)
    first, plain = rows_at(tmp_path / "train", backbone), rows_at(None, backbone)
    assert all(same(a, b) for a, b in zip(first, plain, strict=True))
    counting = Counting(backbone)
    second = rows_at(tmp_path / "train", counting)
    assert all(same(a, b) for a, b in zip(second, plain, strict=True))
    assert counting.rows == 0
    assert second[3].source.dtype == np.int64 and len(second[1:4]) == 3


def test_a_big_split_is_tokenised_as_far_as_it_is_read(
    tmp_path: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EncodedRows, "BLOCK", 16)
    counting = Counting(backbone)
    rows = rows_at(tmp_path / "train", counting)
    assert rows[20] and counting.rows == 16
    assert rows[49] and counting.rows == 18


@pytest.mark.parametrize("harm", ["cut", "flipped", "empty", "foreign", "other rows"])
def test_a_damaged_block_is_made_anew(tmp_path: Path, backbone: Backbone, harm: str) -> None:
    rows_at(tmp_path / "train", backbone)[0]
    path = next(tmp_path.glob("train-*.npy"))
    good = path.read_bytes()
    if harm == "flipped":
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    elif harm == "foreign":
        np.save(path, np.arange(9.0))
    elif harm == "other rows":
        EncodedRows(EXAMPLES[:9], backbone, 16, 4, tmp_path / "train")._block(0)
        path.write_bytes(good[:90] + good[94:])
    else:
        path.write_bytes(b"" if harm == "empty" else good[:-5])
    counting = Counting(backbone)
    assert same(rows_at(tmp_path / "train", counting)[7], rows_at(None, backbone)[7])
    assert counting.rows == 50 and path.read_bytes() == good


def test_a_disk_that_refuses_costs_no_more_than_time(tmp_path: Path, backbone: Backbone) -> None:
    (tmp_path / "file").write_text("no folder")
    assert len(rows_at(tmp_path / "file" / "train", backbone)[5].source) > 0


def test_limits_data_split_and_tokenizer_have_entries_of_their_own(backbone: Backbone) -> None:
    places = {
        place_for("a" * 16, "train", backbone, (16, 4)),
        place_for("b" * 16, "train", backbone, (16, 4)),
        place_for("a" * 16, "test", backbone, (16, 4)),
        place_for("a" * 16, "train", backbone, (17, 4)),
        place_for("a" * 16, "train", backbone, (16, 5)),
    }
    assert len(places) == 5


def test_a_split_on_disk_says_which_code_made_it_and_reading_it_counts_as_use(
    tmp_path: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DTVG_HOME", str(tmp_path))
    place = place_for("a" * 16, "train", backbone, (16, 4))
    rows_at(place, backbone)[0]
    (entry,) = prepared.entries()
    assert (entry.kind, entry.version, entry.place) == ("tokens", tokens._code(), place.parent)
    os.utime(place.parent, (0, 0))
    rows_at(place, backbone)[0]
    assert prepared.entries()[0].used > time.time() - 600


def test_the_tokenizers_identity_is_not_changed_by_using_it() -> None:
    first, second = load_backbone(BackboneConfig()), load_backbone(BackboneConfig())
    second.encode(["some words to cut"], ["yes"], 8, 4)
    assert tokens.tokenizer_identity(first) == tokens.tokenizer_identity(second)
    second.tokenizer.add_tokens(["<new>"])
    tokens._IDENTITIES.clear()
    assert tokens.tokenizer_identity(first) != tokens.tokenizer_identity(second)


def _fill(place: Path) -> int:
    counting = Counting(load_backbone(BackboneConfig()))
    return rows_at(place, counting)[0] is not None and counting.rows


@pytest.mark.slow
def test_of_two_processes_one_tokenises_and_both_have_the_rows(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        done = pool.map(_fill, [tmp_path / "train"] * 2)
    assert sorted(done) == [0, 50]


def test_a_task_starts_warm_without_reading_its_training_texts(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start() -> batches.TokenisedTask:
        reading._load.cache_clear()
        batches._CACHE.clear()
        return batches.tokenise("film-mood", backbone, DataConfig())

    cold = start()
    kept = [cold.train[i] for i in (0, 700)]
    assert len(cold.encoded["test"][:]) == len(cold.texts["test"])
    monkeypatch.setattr(backbone, "encode", lambda *_: pytest.fail("tokenised again"))
    monkeypatch.setattr(files, "read_file", lambda *_: pytest.fail("read again"))
    warm = start()
    assert len(warm.encoded["test"][:]) == len(warm.texts["test"])
    assert all(same(a, b) for a, b in zip(kept, (warm.train[0], warm.train[700]), strict=True))
    assert warm.texts["test"][0] == cold.texts["test"][0]


def test_answers_have_room_for_the_longest_label_word(backbone: Backbone) -> None:
    words = ("a rather long word for no at all", "another long word that says yes to it")
    data = DataConfig(label_words={"film-mood": words})
    task = batches.tokenise("film-mood", backbone, data)
    longest = max(len(backbone.tokenizer(w, add_special_tokens=False)["input_ids"]) for w in words)
    assert longest > 8 and task.spec.max_target_tokens == longest + 1
    assert len(task.train[0].target) in {
        len(backbone.tokenizer(w, add_special_tokens=False)["input_ids"]) + 1 for w in words
    }
