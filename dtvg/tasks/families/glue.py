"""GLUE as rows of data: nine tasks, one row each.

Sizes, columns and label numbers are those of the hub's `nyu-mll/glue`; field order is the
literature's (T5, arXiv 1910.10683). STS-B alone needs code, because its label is a score that
becomes text. docs/tasks.md "All tasks".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from dtvg.tasks.spec import Example, FieldProblem, SplitPlan, TaskSpec
from dtvg.tasks.text import source_text

HUB = "nyu-mll/glue"
REVISION = "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"
LICENCE = "see the corpus; GLUE itself CC BY 4.0"
PAIR = (("sentence1", "sentence1"), ("sentence2", "sentence2"))
NLI = ("entailment", "not entailment")


_SHORT = {"sst2": "SST-2", "cola": "CoLA", "stsb": "STS-B"}
"""As the benchmark writes them; the others are capitals."""


def _glue(
    name: str,
    title: str,
    fields: tuple[tuple[str, str], ...],
    classes: tuple[str, ...],
    metrics: tuple[str, ...],
    split: SplitPlan,
    paper: str,
) -> TaskSpec:
    """Return one row, with what all of GLUE has in common filled in."""
    return TaskSpec(
        name=name,
        title=title,
        family="GLUE",
        dataset=HUB,
        config=name,
        folder=f"glue_{name}",
        fields=fields,
        labels=tuple(str(index) for index in range(len(classes))),
        metrics=metrics,
        split=split,
        revision=REVISION,
        label_titles=classes,
        paper=paper,
        licence=LICENCE,
        short=_SHORT.get(name, name.upper()),
    )


def stsb_example(row: Mapping[str, Any]) -> list[Example]:
    """Turn a row of STS-B into text: the score rounded to the nearest 0.2, one decimal.

    Raises:
        FieldProblem: if the score is outside 0 to 5.
    """
    score = row["label"]
    if not isinstance(score, int | float) or not 0 <= score <= 5:
        raise FieldProblem("label", score, "a score from 0 to 5")
    # in float32 as in T5, so that a score reads the same from a file of either width
    fifths = np.rint(np.float32(score) * np.float32(5))
    target = f"{fifths / 5:.1f}"
    return [Example(source_text("stsb", PAIR, row), target, (target,))]


MNLI_SPLIT = SplitPlan(392_702, validation="validation_matched")

TASKS: tuple[TaskSpec, ...] = (
    _glue("mnli", "Multi-Genre Natural Language Inference",
          (("premise", "premise"), ("hypothesis", "hypothesis")),
          ("entailment", "neutral", "contradiction"), ("accuracy",), MNLI_SPLIT,
          "Williams et al. 2018, arXiv 1704.05426"),
    _glue("qnli", "Question-answering NLI", (("question", "question"), ("sentence", "sentence")),
          NLI, ("accuracy",), SplitPlan(104_743), "Wang et al. 2019, arXiv 1804.07461"),
    _glue("qqp", "Quora Question Pairs", (("question1", "question1"), ("question2", "question2")),
          ("not duplicate", "duplicate"), ("f1", "accuracy"), SplitPlan(363_846),
          "Iyer et al. 2017"),
    _glue("sst2", "Stanford Sentiment Treebank", (("sentence", "sentence"),),
          ("negative", "positive"), ("accuracy",), SplitPlan(67_349), "Socher et al. 2013"),
    _glue("mrpc", "Microsoft Research Paraphrase Corpus", PAIR,
          ("not equivalent", "equivalent"), ("f1", "accuracy"), SplitPlan(3_668, test="test"),
          "Dolan and Brockett 2005"),
    _glue("cola", "Corpus of Linguistic Acceptability", (("sentence", "sentence"),),
          ("unacceptable", "acceptable"), ("matthews",), SplitPlan(8_551),
          "Warstadt et al. 2019, arXiv 1805.12471"),
    _glue("rte", "Recognizing Textual Entailment", PAIR, NLI, ("accuracy",), SplitPlan(2_490),
          "Dagan et al. 2006; Bentivogli et al. 2009"),
    _glue("wnli", "Winograd NLI", PAIR, ("not entailment", "entailment"), ("accuracy",),
          SplitPlan(635), "Levesque et al. 2012"),
    replace(
        _glue("stsb", "Semantic Textual Similarity Benchmark", PAIR, (),
              ("pearson", "spearman"), SplitPlan(5_749, test="test"),
              "Cer et al. 2017, arXiv 1708.00055"),
        convert=stsb_example, text_version=2,
    ),
)  # fmt: skip
