"""Scores of weighted examples equal the task's own metrics on the sample written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtvg.tasks.catalogue import all_tasks, find_task
from dtvg.tasks.metrics import METRICS, mean_scorer, value_scorer
from dtvg.tasks.scoring import Answers, Metric, answers_of
from dtvg.tasks.spec import Example

WORDS = {"f1": ("0", "1"), "pearson": (), "spearman": ()}
STORED = ("accuracy", "f1", "macro_f1", "matthews", "pearson", "spearman")
"""Those that can be told from stored answers, without references and groups."""


def test_only_metrics_that_need_no_references_can_be_told_from_stored_answers() -> None:
    for name, metric in METRICS.items():
        hit = np.array([1.0, 0.0])
        stored = Answers(("0", "1"), ("0", "0"), hit, ("0", "1"))
        assert (metric.scorer(stored) is not None) == (name in STORED), name


@pytest.mark.parametrize("metric", STORED)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_weights_equal_repeating_the_examples(metric: str, data: st.DataObject) -> None:
    words = WORDS.get(metric, ("0", "1", "2"))
    spec = [t for t in all_tasks().values() if metric in t.metrics][0]
    gold_words = st.sampled_from(words or ("1.0", "2.2", "3.4", "5.0"))
    said_words = st.sampled_from((*(words or ("1.0", "2.2", "3.4", "5.0")), "?"))
    n = data.draw(st.integers(2, 12))
    gold = data.draw(st.lists(gold_words, min_size=n, max_size=n))
    said = data.draw(st.lists(said_words, min_size=n, max_size=n))
    weights = data.draw(
        st.lists(st.integers(0, 3), min_size=n, max_size=n).filter(lambda w: sum(w) > 0)
    )
    hit = np.array([s == g for s, g in zip(said, gold, strict=True)], dtype=float)
    made = METRICS[metric].scorer(Answers(tuple(gold), tuple(said), hit, words))
    assert made is not None
    rows = [i for i, w in enumerate(weights) for _ in range(w)]
    examples = [
        Example(
            source="",
            target=gold[i],
            references=(gold[i],),
            label=words.index(gold[i]) if words else None,
        )
        for i in rows
    ]
    plain = type(spec)(**{**spec.__dict__, "labels": words})
    want = METRICS[metric].score(answers_of(plain, [said[i] for i in rows], examples))
    assert made(np.array([weights], dtype=float))[0] == pytest.approx(want, abs=1e-9)


def test_an_unknown_metric_or_words_that_do_not_fit_give_no_scorer() -> None:
    answers = Answers(("yes",), ("no",), np.zeros(1), ("0", "1"))
    assert mean_scorer(("accuracy", "rouge"), answers) is None
    assert METRICS["f1"].scorer(answers) is None
    assert mean_scorer((), answers) is None


def test_the_mean_of_several_metrics_is_their_mean_under_every_weighting() -> None:
    hit = np.array([1.0, 0.0, 1.0])
    answers = Answers(("0", "1", "1"), ("0", "0", "1"), hit, ("0", "1"), hit / 2)
    weights = np.array([[1.0, 1.0, 1.0], [0.0, 3.0, 1.0]])
    both = mean_scorer(("f1", "accuracy"), answers)(weights)
    apart = [METRICS[name].scorer(answers)(weights) for name in ("f1", "accuracy")]
    assert both == pytest.approx(np.mean(apart, axis=0))
    assert value_scorer(answers)(weights) == pytest.approx([1 / 3, 1 / 8])
    assert value_scorer(Answers(("0",), ("0",), np.ones(1), ("0", "1"))) is None


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_every_metric_says_what_it_is(metric: Metric) -> None:
    ranges = ((0.0, 10.0),) if metric.name == "cider" else ((0.0, 1.0), (-1.0, 1.0))
    assert metric.title and metric.range in ranges and metric.higher_is_better
    assert METRICS[metric.name] is metric


def test_a_metric_says_which_tasks_it_does_not_fit() -> None:
    assert METRICS["accuracy"].misfit(0, False) is None
    assert METRICS["f1"].misfit(2, False) is None
    assert METRICS["f1"].misfit(3, False) == "f1 needs a task with two classes, and the task has 3"
    assert "the task has none" in METRICS["matthews"].misfit(0, False)
    assert "belong to questions" in METRICS["multirc_em"].misfit(2, False)
    assert METRICS["multirc_em"].misfit(2, True) is None
    assert "goes from 0 to 10" in METRICS["cider"].misfit(0, False)


def test_a_mean_is_added_up_as_recorded_intervals_were_to_the_last_digit() -> None:
    rng = np.random.default_rng(0)
    spec = find_task("squad")
    examples = [Example("", t := " ".join(rng.choice(list("abcdefg"), 7)), (t,)) for _ in range(99)]
    answers = answers_of(spec, [e.target[: rng.integers(1, 13)] for e in examples], examples)
    weights = rng.multinomial(99, np.full(99, 1 / 99), size=200).astype(float)
    values = np.array(METRICS["squad_f1"].per_example(answers))
    expected = (weights @ values) / (weights @ np.ones(99))
    assert METRICS["squad_f1"].scorer(answers)(weights).tolist() == expected.tolist()
