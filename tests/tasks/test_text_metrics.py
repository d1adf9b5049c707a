"""SQuAD, MultiRC, ROUGE, BLEU, METEOR and chrF against published or hand-computed values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtvg.errors import DataError
from dtvg.tasks.answer_metrics import answer_f1, normalise
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.metrics import METRICS
from dtvg.tasks.scoring import answers_of
from dtvg.tasks.spec import Example

SPEC = find_task("stsb")


def free(*references: str) -> Example:
    return Example("", references[0], references)


def value(metric: str, predictions: list[str], examples: list[Example]) -> float:
    return METRICS[metric].score(answers_of(SPEC, predictions, examples))


def test_squad_normalisation_drops_case_punctuation_articles_and_white_space() -> None:
    assert normalise("  The U.S.A.'s  an  answer, a-b!") == "usas answer ab"
    assert normalise("Theater of another") == "theater of another"


def test_squad_f1_counts_shared_words_with_repetition() -> None:
    # 2 of 3 words right, 2 of 2 found: 2·(2/3)·1 / (2/3 + 1)
    assert answer_f1("the cat sat down", "cat sat") == pytest.approx(0.8)
    assert answer_f1("cat cat", "cat") == pytest.approx(2 / 3)
    assert answer_f1("dog", "cat") == 0.0
    assert answer_f1("the", "a") == 0.0  # as the official v1.1 script has it


def test_squad_takes_the_best_of_all_accepted_answers() -> None:
    examples = [free("Denver Broncos", "The Denver Broncos", "Broncos"), free("1066")]
    assert value("squad_em", ["the Broncos!", "in 1066"], examples) == 0.5
    assert value("squad_f1", ["the Broncos!", "in 1066"], examples) == pytest.approx(
        (1 + 2 / 3) / 2
    )


def judged(question: str, label: int) -> Example:
    return Example("", str(label), (str(label),), label, question)


def test_multirc_by_hand() -> None:
    spec = find_task("boolq")
    examples = [judged("q1", 1), judged("q1", 0), judged("q2", 1), judged("q2", 1), judged("q3", 0)]
    said = ["1", "0", "1", "0", "maybe"]
    # tp 2, fn 1, fp 1 (an output that is not a label counts as the opposite): 4 / (4 + 1 + 1)
    assert METRICS["multirc_f1a"].score(answers_of(spec, said, examples)) == pytest.approx(4 / 6)
    assert METRICS["multirc_em"].score(answers_of(spec, said, examples)) == pytest.approx(1 / 3)


def test_multirc_em_without_questions_is_refused() -> None:
    with pytest.raises(DataError, match="needs the question of every answer"):
        value("multirc_em", ["1"], [Example("", "1", ("1",), 1)])


def test_rouge_of_the_classical_example() -> None:
    # police killed the gunman / police kill the gunman: unigrams 3 of 4 (4 of 4 stemmed)
    assert value("rouge1", ["police kill the gunman"], [free("police killed the gunman")]) == 1.0
    swapped = [free("police kill the gunman")]
    assert value("rougeL", ["the gunman kill police"], swapped) == pytest.approx(0.5)
    assert value("rouge2", ["the gunman kill police"], swapped) == pytest.approx(1 / 3)
    assert value("rouge1", ["a b c"], [free("x y z", "a b d")]) == pytest.approx(2 / 3)


def test_bleu_equals_its_formula() -> None:
    # 7 words, the last one changed: n-grams 6/7, 5/6, 4/5, 3/4; no brevity penalty
    said, right = "one two three four five six seven", "one two three four five six eight"
    expected = math.exp(sum(math.log(x) for x in (6 / 7, 5 / 6, 4 / 5, 3 / 4)) / 4)
    assert value("bleu", [said], [free(right)]) == pytest.approx(expected)
    short = "one two three four five six"
    penalty = math.exp(1 - 7 / 6)
    assert value("bleu", [short], [free(right)]) == pytest.approx(penalty)


def test_bleu_uses_every_reference_and_examples_may_have_different_numbers() -> None:
    examples = [free("a b c d e", "v w x y z"), free("k l m n o")]
    assert value("bleu", ["v w x y z", "k l m n o"], examples) == pytest.approx(1.0)


def test_meteor_by_its_formula() -> None:
    # 6 of 6 words match in one chunk, as in the paper's form: 1 · (1 − 0.5 · (1/6)³)
    text = "the cat sat on the mat"
    assert value("meteor_stem", [text], [free(text)]) == pytest.approx(1 - 0.5 / 6**3)
    # stems: cats/cat and sits/sit match; 2 of 2 words, one chunk: 1 − 0.5/8
    assert value("meteor_stem", ["cats sit"], [free("cat sits")]) == pytest.approx(1 - 0.5 / 8)
    assert value("meteor_stem", ["big"], [free("large")]) == 0.0  # no synonyms


def test_chrf_of_equal_texts_is_1_and_of_disjoint_ones_0() -> None:
    assert value("chrf", ["hello there"], [free("hello there")]) == pytest.approx(1.0)
    assert value("chrf", ["aaaa"], [free("bbbb")]) == 0.0


def test_bleu_lower_does_not_mind_the_case() -> None:
    said, right = ["The Mill is near the river."], [free("the mill is near the River.")]
    assert value("bleu", said, right) < 0.6
    assert value("bleu_lower", said, right) == pytest.approx(1.0)


def test_cider_by_hand() -> None:
    # three inputs: each n-gram of the first stands in one of them, so that it weighs log 3
    examples = [free("a b"), free("c d"), free("e f")]
    # "a b": both orders it has have cosine 1, those of 3 and 4 words are empty: 10 · 2 / 4
    assert value("cider", ["a b", "x", "y"], examples) == pytest.approx(5.0 / 3)
    # "a a" has a twice, clipped to once: log²3 / (2 log 3 · √2 log 3); one bigram, not shared
    twice = 10 * (1 / (2 * math.sqrt(2))) / 4
    assert value("cider", ["a a", "x", "y"], examples) == pytest.approx(twice / 3)
    # two words too many: the penalty exp(−2² / (2 · 6²)); unigrams a b of four, bigram 1 of 3
    longer = 10 * math.exp(-4 / 72) * (2 / math.sqrt(2 * 4) + 1 / math.sqrt(3)) / 4
    assert value("cider", ["a b x y", "x", "y"], examples) == pytest.approx(longer / 3)


def test_cider_weighs_what_many_inputs_have_less_and_means_over_references() -> None:
    examples = [free("the cat"), free("the dog"), free("a cow", "the calf")]
    # "the" stands in all three: log 1 = 0; "cat" and "the cat" in one
    assert value("cider", ["the", "the", "the"], examples) == 0.0
    # one of two references is met: unigrams calf (the weighs 0) and the bigram, cosine 1
    assert value("cider", ["x", "x", "the calf"], examples) == pytest.approx(10 * 2 / 4 / 2 / 3)
    repeated = [examples[0], *examples]
    assert value("cider", ["the cat", "the cat", "x", "x"], repeated) == pytest.approx(2.5)


@pytest.mark.parametrize("metric", ["rouge1", "rougeL", "bleu", "meteor_stem", "chrf", "squad_em",
                                    "squad_f1", "accuracy"])  # fmt: skip
def test_texts_compare_in_one_unicode_form_and_with_single_spaces(metric: str) -> None:
    composed, apart = "caf\u00e9 d\u00e9j\u00e0 vu ici", "cafe\u0301  de\u0301ja\u0300 vu\nici "
    for said, right in ((composed, apart), (apart, composed)):
        found = value(metric, [said], [free(right)])
        assert found == value(metric, [composed], [free(composed)]) > 0.9, metric


TEXT = st.text(alphabet="ab c.The1", max_size=12)
FREE = ("squad_f1", "squad_em", "rouge1", "rouge2", "rougeL", "bleu", "bleu_lower", "meteor_stem",
        "chrf", "cider")  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
def test_every_value_is_from_0_to_1_and_the_order_of_examples_does_not_matter(pairs) -> None:
    said, right = [p for p, _ in pairs], [free(r) for _, r in pairs]
    for metric in FREE:
        found = value(metric, said, right)
        low, high = METRICS[metric].range
        assert low <= found <= high + 1e-9, metric
        assert value(metric, said[::-1], right[::-1]) == pytest.approx(found), metric
