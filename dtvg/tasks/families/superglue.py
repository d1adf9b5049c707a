"""SuperGLUE as rows of data, and the code of its odd ones: WSC, MultiRC, ReCoRD.

Sizes, columns and label numbers are those of the hub's `aps/super_glue`; the odd
ones read as in T5 (arXiv 1910.10683). docs/tasks.md "All tasks".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dtvg.tasks.families.mrqa import accepted_answers
from dtvg.tasks.spec import Example, FieldProblem, SplitPlan, TaskSpec
from dtvg.tasks.text import group_name, source_text

HUB = "aps/super_glue"
REVISION = "3de24cf8022e94f4ee4b9d55a6f539891524d646"


_SHORT = {"boolq": "BoolQ", "wic": "WiC", "multirc": "MultiRC", "record": "ReCoRD"}
"""As the benchmark writes them; the others are capitals."""


def _superglue(
    name: str,
    title: str,
    fields: tuple[str, ...],
    classes: tuple[str, ...],
    metrics: tuple[str, ...],
    split: SplitPlan,
    paper: str,
    licence: str = "see the corpus",
) -> TaskSpec:
    """Return one row, with what all of SuperGLUE has in common filled in."""
    return TaskSpec(
        name=name,
        title=title,
        family="SuperGLUE",
        dataset=HUB,
        config=name,
        folder=f"superglue_{name}",
        fields=tuple((column, column) for column in fields),
        labels=tuple(str(index) for index in range(len(classes))),
        metrics=metrics,
        split=split,
        revision=REVISION,
        label_titles=classes,
        paper=paper,
        licence=licence,
        short=_SHORT.get(name, name.upper()),
    )


MULTIRC_FIELDS = (("question", "question"), ("answer", "answer"), ("paragraph", "paragraph"))
RECORD_FIELDS = (("query", "query"), ("entities", "entities"), ("passage", "passage"))
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")


def without_markup(text: str) -> str:
    """Remove HTML tags; a line break becomes a space."""
    return _TAG.sub("", _BREAK.sub(" ", text))


def mark_span(text: str, span: str, index: int, mark: str) -> str:
    """Mark a span where its first word stands, by T5's expression (arXiv 1910.10683).

    Args:
        text: words, each followed by one white space character.
        span: one or more words; what follows in the last word (a full stop) is not part of it.
        index: number of its first word, from 0; where another word stands there, the text stays
            as it is.
        mark: put before and behind the span.
    """
    place = rf"^((?:\S+\s){{{index}}})"
    try:
        pattern = re.compile(f"{place}({span})")  # T5 takes the span itself as an expression
    except re.error:
        pattern = re.compile(f"{place}({re.escape(span)})")
    found = pattern.match(text)
    if found is None:
        return text
    return f"{found[1]}{mark} {found[2]} {mark}{text[found.end() :]}"


def _span(row: Mapping[str, Any], number: int) -> tuple[str, int]:
    """Return a span and the number of its first word.

    Raises:
        FieldProblem: the text does not hold the span, or the number is none.
    """
    column = f"span{number}_text"
    words = str(row[column]).split()
    pattern = r"(?<!\S)" + r"\s+".join(re.escape(word) for word in words)
    if not words or re.search(pattern, row["text"]) is None:
        raise FieldProblem(column, row[column], "words that stand in the text")
    index = f"span{number}_index"
    try:
        return str(row[column]), int(row[index])
    except (TypeError, ValueError):
        raise FieldProblem(index, row[index], "the number of a word, from 0") from None


def wsc_example(row: Mapping[str, Any]) -> list[Example]:
    """Turn a row of WSC into text as T5 does: `* span1 *` and `# span2 #` where they stand.

    The second span is looked for in the text with the first one's marks, which are two more
    words where the first span comes first; a span that overlaps the first stays unmarked.

    Raises:
        FieldProblem: a span is not in the text, or the label is neither 0 nor 1.
    """
    (first, at), (second, then) = _span(row, 1), _span(row, 2)
    text = mark_span(row["text"], first, at, "*")
    text = mark_span(text, second, then + 2 * (at < then), "#")
    label = _binary(row["label"])
    return [Example(f"wsc text: {text}", str(label), (str(label),), label)]


def multirc_example(row: Mapping[str, Any]) -> list[Example]:
    """Turn a row of MultiRC into text without HTML; answers of one question are one group.

    Raises:
        FieldProblem: the label is neither 0 nor 1.
    """
    clean = {column: without_markup(row[column] or "") for _, column in MULTIRC_FIELDS}
    label = _binary(row["label"])
    question = group_name(row["paragraph"], row["question"])
    source = source_text("multirc", MULTIRC_FIELDS, clean)
    return [Example(source, str(label), (str(label),), label, question)]


_ENDED = re.compile(r"([.?!\"'])\n@highlight\n")
_NOT_ENDED = re.compile(r"\n@highlight\n")


def with_sentences(passage: str) -> str:
    """Turn a passage's marks of its summary's sentences into ends of sentences, as T5 does."""
    return _NOT_ENDED.sub(". ", _ENDED.sub(r"\1 ", passage))


def record_example(row: Mapping[str, Any]) -> list[Example]:
    """Turn a row of ReCoRD into one example per gold answer, each scored against all of them.

    Raises:
        FieldProblem: there is no answer, or the entities are no list.
    """
    entities = row["entities"]
    if not isinstance(entities, list) or not all(isinstance(one, str) for one in entities):
        raise FieldProblem("entities", entities, "a list of texts")
    answers = accepted_answers(row["answers"])
    shown = {
        **row,
        "entities": ", ".join(entities),
        "passage": with_sentences(row["passage"]),
    }
    source = source_text("record", RECORD_FIELDS, shown)
    query = group_name(row["passage"], row["query"])
    return [Example(source, answer, answers, None, query) for answer in answers]


def _binary(value: Any) -> int:
    """Return 0 or 1."""
    if value not in (0, 1, "0", "1"):
        raise FieldProblem("label", value, "0 (false) or 1 (true)")
    return int(value)


TASKS: tuple[TaskSpec, ...] = (
    _superglue("boolq", "Boolean Questions", ("question", "passage"), ("false", "true"),
               ("accuracy",), SplitPlan(9_427), "Clark et al. 2019, arXiv 1905.10044",
               "CC BY-SA 3.0"),
    _superglue("cb", "CommitmentBank", ("premise", "hypothesis"),
               ("entailment", "contradiction", "neutral"), ("macro_f1", "accuracy"),
               SplitPlan(250), "de Marneffe et al. 2019"),
    _superglue("wic", "Word in Context", ("sentence1", "sentence2", "word"),
               ("different sense", "same sense"), ("accuracy",), SplitPlan(5_428),
               "Pilehvar and Camacho-Collados 2019, arXiv 1808.09121", "CC BY-NC 4.0"),
    _superglue("copa", "Choice of Plausible Alternatives",
               ("premise", "choice1", "choice2", "question"), ("choice 1", "choice 2"),
               ("accuracy",), SplitPlan(400), "Roemmele et al. 2011", "BSD 2-Clause"),
    replace(
        _superglue("wsc", "Winograd Schema Challenge", ("text",), ("false", "true"),
                   ("accuracy",), SplitPlan(554), "Levesque et al. 2012"),
        config="wsc.fixed", folder="superglue_wsc.fixed", convert=wsc_example, text_version=2,
        more_columns=("span1_text", "span1_index", "span2_text", "span2_index"),
    ),
    replace(
        _superglue("multirc", "Multi-Sentence Reading Comprehension", (), ("false", "true"),
                   ("multirc_f1a", "multirc_em"), SplitPlan(27_243, rule="halved"),
                   "Khashabi et al. 2018"),
        fields=MULTIRC_FIELDS, convert=multirc_example,
    ),
    replace(
        _superglue("record", "Reading Comprehension with Commonsense Reasoning", (), (),
                   ("squad_f1", "squad_em"), SplitPlan(100_730),
                   "Zhang et al. 2018, arXiv 1810.12885"),
        fields=RECORD_FIELDS, label_column="answers", max_target_tokens=32,
        list_columns=("entities",), convert=record_example, text_version=2,
    ),
)  # fmt: skip
