"""Intervals over examples: equal to resampling by hand, groups drawn whole, fast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dtvg.tasks.catalogue import find_task
from dtvg.tasks.metrics import METRICS, _weights, per_example, score, score_with_intervals
from dtvg.tasks.scoring import answers_of
from dtvg.tasks.spec import Example

RNG = np.random.default_rng(7)
WORDS = ["the", "red", "dog", "ran", "to", "a", "big", "house", "and", "sat", "on", "old", "stones"]


def _class_task(metric: str):
    spec = replace(
        find_task("cb" if METRICS[metric].fits == "classes" else "mrpc"), metrics=(metric,)
    )
    classes = len(spec.labels)
    labels = RNG.integers(0, classes, 60)
    said = [str(x) if RNG.random() < 0.7 else str(RNG.integers(0, classes + 1)) for x in labels]
    examples = [Example("", str(x), (str(x),), int(x), f"q{i // 3}") for i, x in enumerate(labels)]
    if not metric.startswith("multirc"):
        examples = [replace(e, group=None) for e in examples]
    return spec, said, examples


def _text_task(metric: str):
    spec = replace(find_task("stsb"), metrics=(metric,))
    if metric in ("pearson", "spearman"):
        right = [f"{x:.1f}" for x in RNG.integers(0, 26, 40) / 5]
        said = [f"{float(x) + RNG.normal():.1f}" for x in right]
        return spec, said, [Example("", r, (r,)) for r in right]
    texts = [" ".join(RNG.choice(WORDS, 8)) for _ in range(40)]
    said = [" ".join(w if RNG.random() < 0.8 else "x" for w in t.split()) for t in texts]
    return spec, said, [Example("", t, (t, t[:20])) for t in texts]


CLASSES = ("accuracy", *(name for name, metric in METRICS.items() if metric.fits != "any"))


def test_resamples_of_cider_keep_the_weights_of_all_references() -> None:
    spec, said, examples = _text_task("cider")
    answers = answers_of(spec, said, examples)
    weights = _weights(examples, 0, 12)
    values = np.array(METRICS["cider"].per_example(answers))
    found = METRICS["cider"].scorer(answers)(weights)
    assert found == pytest.approx(weights @ values / weights.sum(axis=1))


@pytest.mark.parametrize("answer", ["1e30", "1e200"])
def test_a_huge_number_among_the_answers_is_weighed_as_it_is_scored(answer: str) -> None:
    spec = find_task("stsb")
    right = [f"{x:.1f}" for x in (0.2, 1.4, 1.6, 3.0, 3.2, 4.8)]
    examples = [Example(r, r, (r,)) for r in right]
    said = ["0.2", "x", "1.8", answer, "2.0", "5.0"]
    answers = answers_of(spec, said, examples)
    for name, value in score(spec, said, examples).items():
        if name in METRICS:
            (found,) = METRICS[name].scorer(answers)(np.ones((1, len(right))))
            assert found == pytest.approx(value)


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("far", [5.0, 1e4, 1e6, 1e9, 1e30, 1e120])
def test_a_sample_without_the_far_answer_is_scored_as_if_there_were_none(
    metric: str, unit: float, far: float
) -> None:
    right, said = [0.2, 1.4, 1.6, 3.0, 3.2, 4.8], [0.4, 1.0, 1.8, far, 2.0, 5.0]
    rows = [Example("", f"{unit * x!r}", (f"{unit * x!r}",)) for x in right]
    texts = [f"{unit * x!r}" for x in said]
    spec, kept = replace(find_task("stsb"), metrics=(metric,)), [0, 1, 1, 4, 5, 5]
    weights = np.array([[1.0, 2.0, 0.0, 0.0, 1.0, 2.0], [0.0, 3.0, 0.0, 0.0, 0.0, 0.0]])
    found = METRICS[metric].scorer(answers_of(spec, texts, rows))(weights)
    alone = answers_of(spec, [texts[i] for i in kept], [rows[i] for i in kept])
    assert found == pytest.approx([METRICS[metric].score(alone), 0.0], abs=1e-6)


@pytest.mark.parametrize("metric", [name for name in METRICS if name != "cider"])
def test_every_resample_is_the_metric_of_the_sample_written_out(metric: str) -> None:
    spec, said, examples = _class_task(metric) if metric in CLASSES else _text_task(metric)
    if metric.startswith("multirc"):  # questions of 1, 3, 5, ... answers
        examples = [replace(e, group=f"q{int(i**0.5)}") for i, e in enumerate(examples)]
    weights = _weights(examples, 0, 12)
    found = METRICS[metric].scorer(answers_of(spec, said, examples))(weights)
    units = [e.group or str(i) for i, e in enumerate(examples)]
    for row, value in zip(weights.astype(int), found, strict=True):
        rows, copies = [], {}
        for i, times in enumerate(row):
            for k in range(times):
                rows.append((said[i], replace(examples[i], group=f"{units[i]}-{k}")))
                copies[units[i]] = times
        if not metric.startswith("multirc"):
            rows = [(p, replace(e, group=None)) for p, e in rows]
        by_hand = METRICS[metric].score(
            answers_of(spec, [p for p, _ in rows], [e for _, e in rows])
        )
        assert value == pytest.approx(by_hand, abs=1e-9)


def test_values_are_those_of_score_and_lie_within_their_intervals() -> None:
    spec, said, examples = _class_task("f1")
    spec = replace(spec, metrics=("f1", "accuracy"))
    found = score_with_intervals(spec, said, examples)
    assert {k: v.value for k, v in found.items()} == score(spec, said, examples)
    assert all(v.low <= v.value <= v.high for v in found.values())
    assert found == score_with_intervals(spec, said, examples)
    assert found != score_with_intervals(spec, said, examples, seed=1)


def test_the_interval_of_accuracy_is_about_the_binomial_one() -> None:
    spec, _, _ = _class_task("accuracy")
    examples = [Example("", "1", ("1",), 1)] * 400
    said = ["1"] * 300 + ["0"] * 100
    found = score_with_intervals(spec, said, examples, resamples=4000)["accuracy"]
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert found.low == pytest.approx(0.75 - half, abs=0.005)
    assert found.high == pytest.approx(0.75 + half, abs=0.005)


def test_questions_are_drawn_whole() -> None:
    _, _, examples = _class_task("multirc_em")
    weights = _weights(examples, 0, 50).reshape(50, -1, 3)
    assert (weights == weights[:, :, :1]).all() and (weights.sum((1, 2)) == len(examples)).all()


def test_an_examples_own_value_is_the_mean_of_the_metrics_that_have_one() -> None:
    spec = replace(find_task("stsb"), metrics=("squad_f1", "squad_em"))
    examples = [Example("", "red dog", ("red dog",)), Example("", "x", ("x", "y"))]
    assert per_example(spec, ["red", "Y"], examples) == [pytest.approx(1 / 3), 1.0]
    assert per_example(find_task("stsb"), ["1", "2"], examples) == [None, None]
