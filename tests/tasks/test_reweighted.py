"""Scores of weighted examples equal the task's own metrics on the sample written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtvg.tasks.catalogue import all_tasks
from dtvg.tasks.metrics import METRICS as TASK_METRICS
from dtvg.tasks.reweighted import METRICS, Answers, mean_scorer, scorer
from dtvg.tasks.spec import Example

WORDS = {"f1": ("0", "1"), "pearson": (), "spearman": ()}


def test_every_metric_of_the_tasks_without_a_per_example_value_is_known() -> None:
    assert {"accuracy", "f1", "macro_f1", "matthews", "pearson", "spearman"} <= set(METRICS)


@pytest.mark.parametrize("metric", sorted(METRICS))
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
    made = scorer(metric, Answers(tuple(gold), tuple(said), hit, hit, words))
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
    want = TASK_METRICS[metric]([said[i] for i in rows], examples, plain)
    assert made(np.array([weights], dtype=float))[0] == pytest.approx(want, abs=1e-9)


def test_an_unknown_metric_or_words_that_do_not_fit_give_no_scorer() -> None:
    answers = Answers(("yes",), ("no",), np.zeros(1), np.zeros(1), ("0", "1"))
    assert mean_scorer(("accuracy", "rouge"), answers) is None
    assert scorer("f1", answers) is None
