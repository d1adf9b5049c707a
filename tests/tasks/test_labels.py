"""Label words: the same class answered by a numeral, a readable word, or a word of your own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dtvg.config import DataConfig, build_config
from dtvg.errors import ConfigError
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.labels import label_words
from dtvg.tasks.metrics import score
from dtvg.tasks.reading import load_task

Write = Callable[..., DataConfig]
OWN = {"rte": ("ja", "nein")}


@pytest.mark.parametrize(
    ("labels", "own", "words"),
    [
        ("numerals", {}, ("0", "1")),
        ("words", {}, ("entailment", "not entailment")),
        ("numerals", OWN, ("ja", "nein")),
        ("words", OWN, ("ja", "nein")),
        ("words", {"cola": ("a", "b")}, ("entailment", "not entailment")),
    ],
)
def test_examples_answer_and_are_scored_in_the_chosen_words(
    rte_folder: Write, labels: str, own: dict[str, tuple[str, ...]], words: tuple[str, ...]
) -> None:
    chosen = rte_folder().model_copy(update={"labels": labels, "label_words": own})
    data = load_task("rte", chosen)
    assert [e.target for e in data.train[:2]] == list(words)
    assert all(e.references == (e.target,) for e in data.train)
    assert score(data.spec, [e.target for e in data.train], data.train)["score"] == 1
    assert data.spec.labels == words


def test_label_words_change_the_fingerprint_and_nothing_else(rte_folder: Write) -> None:
    base = rte_folder()
    plain = load_task("rte", base)
    worded = load_task("rte", base.model_copy(update={"labels": "words"}))
    own = load_task("rte", base.model_copy(update={"label_words": OWN}))
    assert len({d.fingerprint for d in (plain, worded, own)}) == 3
    assert [e.source for e in plain.validation] == [e.source for e in worded.validation]


def test_a_task_whose_code_writes_the_answer_is_reworded_too() -> None:
    for name in ("cb", "wic"):
        spec = find_task(name)
        assert label_words(spec, "words") == spec.label_titles


@pytest.mark.parametrize(
    ("own", "part"),
    [
        ({"rte": ["yes"]}, "got 1 words, task rte has 2 classes"),
        ({"rte": ["yes", "yes"]}, "no word may be empty or occur twice"),
        ({"rte": ["yes", " "]}, "no word may be empty or occur twice"),
        ({"stsb": ["a", "b"]}, "answers in free text"),
    ],
)
def test_words_that_do_not_fit_are_refused(
    rte_folder: Write, own: dict[str, list[str]], part: str
) -> None:
    with pytest.raises(ConfigError, match=part):
        label_words(find_task(next(iter(own))), "numerals", own)


def test_a_word_that_yaml_reads_as_true_is_refused_in_a_configuration() -> None:
    values = {
        "targets": ["rte"],
        "methods": ["none"],
        "data": {"label_words": {"rte": [True, "no"]}},
    }
    with pytest.raises(ConfigError, match="label_words"):
        build_config(values)
