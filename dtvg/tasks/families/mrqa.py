"""Extractive question answering as rows of data: SQuAD and the MRQA tasks.

Question and context are read, the answer is free text; every accepted answer is a reference.
All MRQA tasks lie in one data set of the hub, told apart by its column `subset`. MRQA
2019, arXiv 1910.09753; docs/tasks.md "All tasks".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dtvg.tasks.spec import Example, FieldProblem, SplitPlan, TaskSpec
from dtvg.tasks.text import source_text

FIELDS = (("question", "question"), ("context", "context"))
METRICS = ("squad_f1", "squad_em")
ANSWER_TOKENS = 32
MRQA_HUB = "mrqa-workshop/mrqa"


def accepted_answers(value: Any, column: str = "answers") -> tuple[str, ...]:
    """Return the accepted answers of a row, each once, in order.

    Args:
        value: a list of texts, or SQuAD's record with such a list under `text`.
        column: for the message.

    Raises:
        FieldProblem: there is none.
    """
    texts = value.get("text") if isinstance(value, Mapping) else value
    found = [t for t in texts if isinstance(t, str)] if isinstance(texts, list | tuple) else []
    if not found:
        raise FieldProblem(column, value, "at least one accepted answer (a list of texts)")
    return tuple(dict.fromkeys(found))


def _convert(name: str) -> Any:
    """Return the conversion of a question-answering task: the first answer is trained on."""

    def convert(row: Mapping[str, Any]) -> list[Example]:
        answers = accepted_answers(row["answers"])
        return [Example(source_text(name, FIELDS, row), answers[0], answers)]

    return convert


def _mrqa(
    name: str, title: str, subset: str, rows: int, paper: str, licence: str = "see the corpus"
) -> TaskSpec:
    """Return one row of the MRQA collection."""
    return TaskSpec(
        name=name,
        title=title,
        family="MRQA",
        dataset=MRQA_HUB,
        config=None,
        folder=name,
        fields=FIELDS,
        labels=(),
        metrics=METRICS,
        split=SplitPlan(rows),
        label_column="answers",
        max_target_tokens=ANSWER_TOKENS,
        paper=paper,
        licence=licence,
        convert=_convert(name),
        more_columns=("subset",),
        only=("subset", subset),
    )


TASKS: tuple[TaskSpec, ...] = (
    TaskSpec(
        name="squad",
        title="Stanford Question Answering Dataset 1.1",
        family="SQuAD",
        dataset="rajpurkar/squad",
        config=None,
        folder="squad",
        fields=FIELDS,
        labels=(),
        metrics=METRICS,
        split=SplitPlan(87_599),
        label_column="answers",
        max_target_tokens=ANSWER_TOKENS,
        revision="7b6d24c440a36b6815f21b70d25016731768db1f",
        paper="Rajpurkar et al. 2016, arXiv 1606.05250",
        licence="CC BY-SA 4.0",
        convert=_convert("squad"),
        short="SQuAD",
    ),
    _mrqa("nq", "Natural Questions", "NaturalQuestionsShort", 104_071,
          "Kwiatkowski et al. 2019", "CC BY-SA 3.0"),
    _mrqa("hotpotqa", "HotpotQA", "HotpotQA", 72_928, "Yang et al. 2018, arXiv 1809.09600",
          "CC BY-SA 4.0"),
    _mrqa("searchqa", "SearchQA", "SearchQA", 117_384, "Dunn et al. 2017, arXiv 1704.05179"),
    _mrqa("newsqa", "NewsQA", "NewsQA", 74_160, "Trischler et al. 2017, arXiv 1611.09830"),
    _mrqa("triviaqa", "TriviaQA", "TriviaQA-web", 61_688, "Joshi et al. 2017, arXiv 1705.03551"),
)  # fmt: skip
