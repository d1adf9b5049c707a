"""Tasks whose rows need code, on rows made up in the hub's columns, expected by hand."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pytest

from dtvg.errors import DataError
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.families.superglue import without_markup
from dtvg.tasks.files import checked
from dtvg.tasks.metrics import score
from dtvg.tasks.spec import Example
from dtvg.tasks.text import examples_from, sharing_references


def read(name: str, *rows: dict[str, Any]) -> list[Example]:
    spec = find_task(name)
    return examples_from(spec, checked(pa.Table.from_pylist(list(rows)), spec, "f"), "f")


def wsc(text: str, first: tuple[str, Any], second: tuple[str, Any], label: int = 1) -> Example:
    (one,) = read("wsc", {
        "text": text, "span1_text": first[0], "span1_index": first[1],
        "span2_text": second[0], "span2_index": second[1], "label": label, "idx": 0,
    })  # fmt: skip
    return one


def test_wsc_marks_the_span_at_its_word_also_where_it_occurs_twice() -> None:
    made = wsc("Ann told Sue that Ann had won and she was glad.", ("Ann", 4), ("she", 8))
    assert made.source == "wsc text: Ann told Sue that * Ann * had won and # she # was glad."
    assert (made.target, made.label) == ("1", 1)


def test_wsc_marks_spans_of_several_words_in_either_order_and_leaves_the_full_stop() -> None:
    made = wsc("He sold it to the old man.", ("the old man", 4), ("it", 2), 0)
    assert made.source == "wsc text: He sold # it # to * the old man *."


def test_wsc_is_marked_by_t5s_expression_also_where_it_misses_a_span() -> None:
    """As in T5 and ATTEMPT: an index that is off, and spans that overlap."""
    made = wsc("you use it , but it breaks", ("you", 0), ("it", 3))
    assert made.source == "wsc text: * you * use it , but it breaks"
    made = wsc("She met their mothers there", ("their mothers", 2), ("their", 2))
    assert made.source == "wsc text: She met * their mothers * there"
    made = wsc("It  was it , not the cat", ("the cat", 5), ("It", 0))
    assert made.source == "wsc text: # It #  was it , not the cat"


def _attempts_marks(text: str, first: tuple[str, int], second: tuple[str, int]) -> str:
    """The two substitutions of ATTEMPT's processor, written out."""

    def marked(text: str, span: str, index: int, mark: str) -> str:
        pattern = r"^((?:\S+\s){N})(W)".replace("N", str(index)).replace("W", span)
        return re.sub(pattern, rf"\1{mark} \2 {mark}", text)

    text = marked(text, *first, "*")
    return marked(text, second[0], second[1] + 2 * int(first[1] < second[1]), "#")


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("Mr. Lee saw the U.S. team and it won.", ("Mr. Lee", 0), ("it", 7)),
        ("Was it Ann? Yes, it was her?", ("Ann?", 2), ("her?", 6)),
        ("a b a b a", ("a", 4), ("a", 0)),
        ("a (b) c d", ("(b)", 1), ("d", 3)),
        ("one two three", ("two three", 1), ("three", 2)),
        ("one two three", ("three", 2), ("two three", 1)),
    ],
)
def test_wsc_reads_as_attempts_processor_writes_it(text, first, second) -> None:
    assert wsc(text, first, second).source == f"wsc text: {_attempts_marks(text, first, second)}"


def test_wsc_with_a_span_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match=r"^f, row 1, column 'span2_text': got 'him'"):
        wsc("Ann slept.", ("Ann", 0), ("him", 1))
    for number in (None, "", "two"):  # as CSV and Parquet hold an empty cell
        with pytest.raises(DataError, match=r"^f, row 1, column 'span2_index': got .* number of"):
            wsc("Ann slept.", ("Ann", 0), ("slept", number))


def test_multirc_drops_html_and_groups_the_answers_of_a_question() -> None:
    base = {"paragraph": "<b>Sent 1: </b>Tom &lt; 3 <br>ran.", "question": "Who<br/> ran?"}
    rows = [{**base, "answer": a, "label": x, "idx": 0} for a, x in (("Tom", 1), ("", 0))]
    first, second, other = read("multirc", *rows, {**rows[0], "question": "Why?"})
    assert first.source == (
        "multirc question: Who  ran? answer: Tom paragraph: Sent 1: Tom &lt; 3  ran."
    )
    assert second.source.startswith("multirc question: Who  ran? answer:  paragraph:")
    assert first.group == second.group != other.group
    assert without_markup("a < b and c > d") == "a < b and c > d"


def test_record_has_an_example_per_answer_and_is_scored_against_all_of_them_once() -> None:
    rows = {"passage": "Bo met Al.\n@highlight\nBo left", "query": "@placeholder left",
            "entities": ["Bo", "Al"], "answers": ["Bo", "Bob", "Bo"]}  # fmt: skip
    first, second = read("record", rows)
    assert first.source == (
        "record query: @placeholder left entities: Bo, Al passage: Bo met Al. Bo left"
    )
    assert (first.target, second.target) == ("Bo", "Bob")
    assert first.references == second.references == ("Bo", "Bob")
    spec = find_task("record")
    assert score(spec, ["bob!", "nobody"], [first, second])["score"] == 1.0


@pytest.mark.parametrize(
    ("passage", "text"),
    [
        ("They ate.\n@highlight\nAnn slept\n@highlight\nBob \"left\"",
         'They ate. Ann slept. Bob "left"'),
        ("Who?\n@highlight\nShe said 'no'\n@highlight\nNo!\n@highlight\nEnd",
         "Who? She said 'no' No! End"),
        ("A @highlight here\n@highlight \nstays", "A @highlight here\n@highlight \nstays"),
    ],
)  # fmt: skip
def test_record_turns_the_summarys_marks_into_ends_of_sentences(passage: str, text: str) -> None:
    row = {"passage": passage, "query": "Q", "entities": ["Bo"], "answers": ["Bo"]}
    (one,) = read("record", row)
    assert one.source == f"record query: Q entities: Bo passage: {text}"


@pytest.mark.parametrize("width", [pa.float32(), pa.float64()])
@pytest.mark.parametrize(
    ("score", "word"),
    # halves of a fifth in T5's float32: 0.7 * 5 and 1.7 * 5 are halves, and halves go to even
    [(0.7, "0.8"), (1.7, "1.6"), (3.1, "3.2"), (0.1, "0.0"), (0.3, "0.4"), (4.9, "4.8")],
)
def test_stsb_reads_the_same_from_single_and_double_width(width, score, word) -> None:
    columns = {"sentence1": ["a"], "sentence2": ["b"], "label": pa.array([score], width)}
    (one,) = examples_from(find_task("stsb"), pa.table(columns), "f")
    assert one.target == word


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_a_row_without_text_is_refused_in_every_width_of_text(kind: pa.DataType) -> None:
    made = {"question": pa.array(["q", "r"], kind), "context": pa.array(["c", None], kind)}
    table = pa.table({**made, "answers": [{"text": ["c"]}] * 2})
    with pytest.raises(DataError, match=r"^f, row 2, column 'context': there is no text"):
        examples_from(find_task("squad"), table, "f")


def test_squad_and_mrqa_accept_every_answer_and_train_on_the_first() -> None:
    answers = {"text": ["1066", "in 1066", "1066"], "answer_start": [1, 2, 1]}
    (one,) = read("squad", {"question": "When?", "context": "In 1066.", "answers": answers})
    assert one.source == "squad question: When? context: In 1066."
    assert (one.target, one.references) == ("1066", ("1066", "in 1066"))
    row = {"question": "Q", "context": "C", "answers": ["a", "b"], "qid": "1"}
    two = read("nq", {**row, "subset": "SQuAD"}, {**row, "subset": "NaturalQuestionsShort"})
    assert [e.references for e in two] == [("a", "b")] and two[0].source.startswith("nq question:")
    with pytest.raises(DataError, match="has no row of task hotpotqa"):
        read("hotpotqa", {**row, "subset": "SQuAD"})
    with pytest.raises(DataError, match="at least one accepted answer"):
        read("squad", {"question": "Q", "context": "C", "answers": {"text": []}})


def test_winogrande_has_two_different_options() -> None:
    row = {"sentence": "A saw B so _ ran.", "option1": "A", "option2": "B", "answer": "2"}
    (one,) = read("winogrande", row)
    assert one.source == "winogrande sentence: A saw B so _ ran. option0: A option1: B"
    assert (one.target, one.label) == ("1", 1)
    with pytest.raises(DataError, match="allowed: 1 or 2"):
        read("winogrande", {**row, "answer": ""})


def test_snli_leaves_out_rows_without_a_gold_label() -> None:
    rows = [{"premise": "P", "hypothesis": "H", "label": x} for x in (-1, 2)]
    assert [e.target for e in read("snli", *rows)] == ["2"]


@pytest.mark.parametrize(
    ("name", "row", "source", "target"),
    [
        ("yelp", {"text": "Good\\n", "label": 1}, "yelp sentence: Good\\n", "1"),
        ("imdb", {"text": "Bad", "label": 0}, "imdb sentence: Bad", "0"),
        ("ag_news", {"text": "T", "label": 3}, "ag_news sentence: T", "3"),
        ("trec", {"text": "Who?", "coarse_label": 3}, "trec question: Who?", "3"),
        ("scitail", {"premise": "P", "hypothesis": "H", "label": "entails"},
         "scitail premise: P hypothesis: H", "0"),
        ("paws", {"sentence1": "A", "sentence2": "B", "label": 0},
         "paws sentence1: A sentence2: B", "0"),
        ("wnli", {"sentence1": "A", "sentence2": "B", "label": 1},
         "wnli sentence1: A sentence2: B", "1"),
        ("copa", {"premise": "P", "choice1": "A", "choice2": "B", "question": "cause", "label": 0},
         "copa premise: P choice1: A choice2: B question: cause", "0"),
        ("e2e", {"meaning_representation": "name[X]", "human_reference": "X is."},
         "e2e meaning_representation: name[X]", "X is."),
        ("common_gen", {"concepts": ["a", "b"], "target": "a b."},
         "common_gen concepts: a, b", "a b."),
        ("web_nlg", {"triples": ["s | p | o", "o | q | r"], "target": "T"},
         "web_nlg triples: s | p | o && o | q | r", "T"),
    ],
)  # fmt: skip
def test_a_row_becomes_the_text_written_by_hand(name, row, source, target) -> None:
    (one,) = read(name, row)
    assert (one.source, one.target) == (source, target)


def test_rows_with_one_input_accept_each_others_texts_and_are_asked_once() -> None:
    rows = [{"concepts": ["a", "b"], "target": t} for t in ("a b.", "b and a.")]
    made = sharing_references(read("common_gen", *rows, {"concepts": ["c"], "target": "c."}))
    assert [e.references for e in made] == [("a b.", "b and a.")] * 2 + [("c.",)]
    assert made[0].group == made[1].group != made[2].group
    found = score(find_task("common_gen"), ["b and a.", "nothing", "c."], made)
    assert found["rouge1"] == 1.0


def test_web_nlg_reads_the_hubs_nested_rows() -> None:
    spec = find_task("web_nlg")
    nested = pa.Table.from_pylist([{
        "category": "X", "modified_triple_sets": {"mtriple_set": [["s | p | o"]]},
        "lex": {"comment": ["good", "good"], "text": ["One.", "Two."]},
    }])  # fmt: skip
    assert spec.flatten is not None
    flat = spec.flatten(nested)
    assert [e.target for e in examples_from(spec, flat, "f")] == ["One.", "Two."]
    assert spec.flatten(flat) is flat
