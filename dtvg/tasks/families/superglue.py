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
    )


MULTIRC_FIELDS = (("question", "question"), ("answer", "answer"), ("paragraph", "paragraph"))
RECORD_FIELDS = (("query", "query"), ("entities", "entities"), ("passage", "passage"))
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")


def without_markup(text: str) -> str:
    """Remove HTML tags; a line break becomes a space."""
    return _TAG.sub("", _BREAK.sub(" ", text))


def span_place(text: str, span: str, index: int, column: str) -> tuple[int, int]:
    """Return where a span stands: begin and end in characters.

    Args:
        text: words separated by white space.
        span: one or more words; what follows in the last word (a full stop) is not part of it.
        index: number of its first word, from 0, which tells repeated words apart; where another
            word stands there, the nearest occurrence counts.
        column: for the message.

    Raises:
        FieldProblem: the text does not hold the span.
    """
    begins = [match.start() for match in re.finditer(r"\S+", text)]
    words = span.split()
    pattern = re.compile(r"\s+".join(re.escape(word) for word in words)) if words else None
    found = [i for i, at in enumerate(begins) if pattern is not None and pattern.match(text, at)]
    if pattern is None or not found:
        raise FieldProblem(column, span, "words that stand in the text")
    begin = begins[min(found, key=lambda i: abs(i - index))]
    match = pattern.match(text, begin)
    return begin, begin if match is None else match.end()


def wsc_example(row: Mapping[str, Any]) -> list[Example]:
    """Turn a row of WSC into text: `* span1 *` and `# span2 #` marked where they stand.

    Raises:
        FieldProblem: a span is not in the text, or the label is neither 0 nor 1.
    """
    text = row["text"]
    marks: list[tuple[int, int, str]] = []
    for number, mark in ((1, "*"), (2, "#")):
        column = f"span{number}_text"
        place = span_place(text, str(row[column]), int(row[f"span{number}_index"]), column)
        # at one place, what ends stands before what begins
        marks += [(place[0], 1, f"{mark} "), (place[1], 0, f" {mark}")]
    for at, _, mark in sorted(marks, reverse=True):
        text = text[:at] + mark + text[at:]
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


def record_example(row: Mapping[str, Any]) -> list[Example]:
    """Turn a row of ReCoRD into one example per gold answer, each scored against all of them.

    Raises:
        FieldProblem: there is no answer, or the entities are no list.
    """
    if not isinstance(row["entities"], list):
        raise FieldProblem("entities", row["entities"], "a list of texts")
    answers = accepted_answers(row["answers"])
    shown = {**row, "entities": ", ".join(row["entities"])}
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
        config="wsc.fixed", folder="superglue_wsc.fixed", convert=wsc_example,
        more_columns=("span1_text", "span1_index", "span2_text", "span2_index"),
    ),
    replace(
        _superglue("multirc", "Multi-Sentence Reading Comprehension", (), ("false", "true"),
                   ("multirc_f1a", "multirc_em"), SplitPlan(27_243), "Khashabi et al. 2018"),
        fields=MULTIRC_FIELDS, convert=multirc_example,
    ),
    replace(
        _superglue("record", "Reading Comprehension with Commonsense Reasoning", (), (),
                   ("squad_f1", "squad_em"), SplitPlan(100_730),
                   "Zhang et al. 2018, arXiv 1810.12885"),
        fields=RECORD_FIELDS, label_column="answers", max_target_tokens=32,
        list_columns=("entities",), convert=record_example,
    ),
)  # fmt: skip
