"""Every metric against values computed by hand, outputs that are no label included."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtvg.errors import DataError
from dtvg.tasks.catalogue import find_task, shipped_tasks
from dtvg.tasks.metrics import METRICS, first_asked, score, score_with_intervals, versions
from dtvg.tasks.scoring import answers_of
from dtvg.tasks.spec import Example


def gold(labels: Sequence[int]) -> list[Example]:
    return [Example("", str(label), (str(label),), label) for label in labels]


def numbers(values: Sequence[str]) -> list[Example]:
    return [Example("", value, (value,)) for value in values]


def value(metric: str, task: str, predictions: Sequence[str], labels: Sequence[int]) -> float:
    return METRICS[metric].score(answers_of(find_task(task), predictions, gold(labels)))


def test_accuracy_is_the_share_of_equal_answers_white_space_aside() -> None:
    assert value("accuracy", "rte", ["0", " 1\n", "1", "entailment"], [0, 1, 0, 1]) == 0.5


def test_accuracy_of_free_text_accepts_any_reference() -> None:
    examples = [Example("", "a b", ("a b", "ab")), Example("", "c", ("c",))]
    assert METRICS["accuracy"].score(answers_of(find_task("stsb"), ["a  b", "d"], examples)) == 0.5
    assert METRICS["accuracy"].score(answers_of(find_task("stsb"), ["ab", "c"], examples)) == 1.0


def test_f1_is_that_of_class_1() -> None:
    # true positives 2, false positives 1, false negatives 1: 2·2 / (2·2 + 1 + 1)
    assert value("f1", "mrpc", ["1", "1", "1", "0", "0"], [1, 1, 0, 1, 0]) == pytest.approx(4 / 6)


def test_f1_counts_an_invalid_output_as_the_opposite_label() -> None:
    assert value("f1", "mrpc", ["1", "maybe", "?"], [1, 1, 0]) == value(
        "f1", "mrpc", ["1", "0", "1"], [1, 1, 0]
    )
    assert value("f1", "mrpc", ["1", "maybe", "?"], [1, 1, 0]) == pytest.approx(2 / 4)


def test_f1_without_any_positive_is_0() -> None:
    assert value("f1", "qqp", ["0", "0"], [0, 0]) == 0.0


def test_macro_f1_is_the_mean_over_all_classes_of_the_task() -> None:
    # class 0: tp 2, fp 1, fn 0 → 4/5; class 1: tp 1, fp 0, fn 1 → 2/3; class 2: tp 0, fn 1 → 0
    found = value("macro_f1", "cb", ["0", "0", "1", "0", "nothing"], [0, 0, 1, 1, 2])
    assert found == pytest.approx((4 / 5 + 2 / 3 + 0) / 3)


def test_macro_f1_leaves_out_a_class_that_is_neither_right_nor_answered() -> None:
    assert value("macro_f1", "cb", ["0", "1", "1"], [0, 1, 1]) == 1.0
    # class 0: 2/3, class 1: 2/3; no row is of class 2 and none is answered so
    assert value("macro_f1", "cb", ["0", "0", "1"], [0, 1, 1]) == pytest.approx(2 / 3)
    # an answered class counts, with F1 0: (1 + 2/3 + 0) / 3
    assert value("macro_f1", "cb", ["0", "2", "1"], [0, 1, 1]) == pytest.approx((1 + 2 / 3) / 3)
    assert value("macro_f1", "cb", ["x", "y"], [0, 1]) == 0.0


@pytest.mark.parametrize("metric", ["accuracy", "f1", "macro_f1", "matthews", "multirc_f1a",
                                    "multirc_em"])  # fmt: skip
@pytest.mark.parametrize(
    "words",
    [
        ("very  bad", "very  good"),
        ("e\u0301te\u0301", "tre\u0300s bon"),
        ("\u00e9t\u00e9", " tr\u00e8s bon"),
    ],
)
def test_a_right_answer_scores_1_however_its_words_are_written(metric: str, words) -> None:
    """Double spaces and decomposed letters come back from a tokenizer in another form."""
    spec = replace(find_task("rte"), labels=words, metrics=(metric,))
    rows = [Example("s", words[i], (words[i],), i, f"q{i}") for i in (0, 1, 1)]
    written = [" ".join(unicodedata.normalize("NFC", e.target).split()) for e in rows]
    found = score_with_intervals(spec, written, rows, resamples=20)
    assert found[metric].value == 1.0
    assert METRICS[metric].scorer(answers_of(spec, written, rows))(np.ones((1, 3)))[0] == 1.0
    assert ("normal" in versions(spec)) == (metric != "accuracy")


@pytest.mark.parametrize("metric", ["f1", "macro_f1", "matthews"])
def test_a_metric_of_classes_refuses_answers_without_a_class_in_a_sentence(metric: str) -> None:
    spec, rows = find_task("rte"), [Example("s", "0", ("0",), 0), Example("s", "x", ("x",))]
    with pytest.raises(DataError, match="has answers without a class"):
        METRICS[metric].score(answers_of(spec, ["0", "0"], rows))


def test_numbers_are_read_in_their_normal_form() -> None:
    spec, examples = find_task("stsb"), numbers(["0.0", "1.0", "2.0"])
    assert METRICS["pearson"].score(answers_of(spec, [" 0.0", "1.0\n", "2.0 "], examples)) == (
        pytest.approx(1.0)
    )


def test_equal_answers_of_a_question_are_judged_each() -> None:
    spec = find_task("multirc")
    twice = [Example("multirc q", str(y), (str(y),), y, "q") for y in (1, 0)]
    found = score(spec, ["1", "1"], twice)
    assert found["multirc_em"] == 0.0 and found["multirc_f1a"] == pytest.approx(2 / 3)
    assert len(first_asked(twice)) == 2
    free = [Example("record q", word, ("Bo", "Bob"), None, "q") for word in ("Bo", "Bob")]
    assert first_asked(free) == [0]


def test_only_tasks_whose_metric_changed_say_so() -> None:
    changed = {name for name, spec in shipped_tasks().items() if versions(spec)}
    assert changed == {"cb", "multirc"}


def test_what_is_shown_beside_the_score_is_no_part_of_it() -> None:
    spec = find_task("e2e")
    rows = [Example("e2e x", "The Mill is nice.", ("The Mill is nice.",), None, "x"),
            Example("e2e y", "A pub by a river.", ("A pub by a river.",), None, "y")]  # fmt: skip
    found = score_with_intervals(spec, ["the mill is nice.", "A pub by a river."], rows, 0, 50)
    assert set(found) == {*spec.metrics, *spec.beside, "score"}
    mean = sum(found[name].value for name in spec.metrics) / len(spec.metrics)
    assert found["score"].value == pytest.approx(mean)
    assert found["bleu_lower"].value == pytest.approx(1.0)
    assert found["bleu"].value < 0.9
    assert found["cider"].value == pytest.approx(10.0)


def test_matthews_of_a_two_by_two_table() -> None:
    # tp 3, tn 2, fp 1, fn 2: (3·2 − 1·2) / sqrt(4·5·3·4)
    predictions = ["1"] * 3 + ["0"] * 2 + ["1"] + ["0"] * 2
    labels = [1] * 3 + [0] * 2 + [0] + [1] * 2
    assert value("matthews", "cola", predictions, labels) == pytest.approx(4 / 240**0.5)


def test_matthews_takes_an_invalid_output_as_a_class_of_its_own() -> None:
    # Gorodkin's R_K with classes 0, 1, invalid: c = 2 right of s = 4; t = (2, 2, 0), p = (1, 1, 2)
    found = value("matthews", "cola", ["0", "x", "1", "y"], [0, 0, 1, 1])
    assert found == pytest.approx((2 * 4 - 4) / ((16 - 6) ** 0.5 * (16 - 8) ** 0.5))


def test_matthews_of_a_constant_answer_is_0() -> None:
    assert value("matthews", "cola", ["1", "1", "1"], [1, 0, 1]) == 0.0


def test_pearson_and_spearman_of_four_numbers() -> None:
    examples = numbers(["0.0", "1.0", "2.0", "5.0"])
    spec = find_task("stsb")
    outputs = ["1.0", "0.0", "2.0", "3.0"]
    # gold − 2 = (−2, −1, 0, 3); found − 1.5 = (−.5, −1.5, .5, 1.5): 7 / sqrt(14 · 5)
    assert METRICS["pearson"].score(answers_of(spec, outputs, examples)) == pytest.approx(
        7 / 70**0.5
    )
    # one pair of neighbours swapped: 1 − 6·2 / (4·15)
    assert METRICS["spearman"].score(answers_of(spec, outputs, examples)) == pytest.approx(0.8)


@pytest.mark.parametrize("output", ["good", "", "nan", "inf", "3,4"])
def test_an_output_that_is_no_number_counts_as_minus_1(output: str) -> None:
    examples, spec = numbers(["0.0", "1.0", "2.0"]), find_task("stsb")
    for metric in ("pearson", "spearman"):
        assert METRICS[metric].score(answers_of(spec, [output, "1", "2"], examples)) == METRICS[
            metric
        ].score(answers_of(spec, ["-1", "1", "2"], examples))


def test_an_undefined_correlation_is_0() -> None:
    examples, spec = numbers(["0.0", "1.0"]), find_task("stsb")
    assert METRICS["pearson"].score(answers_of(spec, ["2.0", "2.0"], examples)) == 0.0
    assert METRICS["spearman"].score(answers_of(spec, ["x", "y"], examples)) == 0.0
    assert METRICS["pearson"].score(answers_of(spec, ["2.0"], examples[:1])) == 0.0


def test_the_score_is_the_mean_of_the_tasks_metrics() -> None:
    found = score(find_task("mrpc"), ["1", "1", "1", "0"], gold([1, 1, 0, 0]))
    assert found["f1"] == pytest.approx(4 / 5)
    assert found["accuracy"] == 0.75
    assert found["score"] == pytest.approx((4 / 5 + 0.75) / 2)


@settings(deadline=None)  # the first call imports scikit-learn
@given(st.lists(st.tuples(st.sampled_from(["0", "1", "no"]), st.integers(0, 1)), min_size=1))
def test_every_value_stays_in_its_range(rows: list[tuple[str, int]]) -> None:
    predictions, labels = [p for p, _ in rows], [g for _, g in rows]
    for name in ("mrpc", "cola", "cb"):
        for metric, found in score(find_task(name), predictions, gold(labels)).items():
            of = [metric] if metric in METRICS else find_task(name).metrics  # the mean of these
            lowest = min(METRICS[one].range[0] for one in of)
            assert lowest - 1e-12 <= found <= 1.0 + 1e-12


@pytest.mark.parametrize("name", list(shipped_tasks()))
def test_every_task_names_known_metrics_and_scores_its_own_answers_1(name: str) -> None:
    spec = find_task(name)
    examples = (
        gold([i % len(spec.labels) for i in range(12)])
        if spec.labels
        else numbers([f"{i}.0 and several more words" if spec.shared_references else f"{i}.0"
                      for i in range(5)])
    )  # fmt: skip
    examples = [
        e if e.label is None else Example(str(i), w := spec.labels[e.label], (w,), e.label, "q")
        for i, e in enumerate(examples)
    ]
    found = score(spec, [e.target for e in examples], examples)
    assert set(found) == {*spec.metrics, *spec.beside, "score"}
    # METEOR's penalty for one chunk of six words or so: 0.5 / 6³ or less
    assert found["score"] == pytest.approx(1.0, abs=1e-3)


def test_outputs_and_examples_of_different_number_are_refused() -> None:
    with pytest.raises(DataError, match="got 1 outputs for 2 examples"):
        score(find_task("rte"), ["0"], gold([0, 1]))
    with pytest.raises(DataError, match="got 0 outputs for 0 examples"):
        score(find_task("rte"), [], [])


def test_the_documentation_names_every_metric() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
    table = text[text.index("## Metrics") :]
    assert [name for name in METRICS if f"`{name}`" not in table] == []
