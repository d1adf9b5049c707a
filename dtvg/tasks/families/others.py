"""Classification tasks outside the benchmarks, as rows of data.

WinoGrande, Yelp-2, SciTail and PAWS-Wiki are targets of the paper; SNLI, IMDB, AG News and TREC
are used in this line of work. Data sets without a validation split give their test split in its
place. docs/tasks.md "All tasks".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dtvg.tasks.spec import Example, FieldProblem, SplitPlan, TaskSpec
from dtvg.tasks.text import source_text

PAIR = (("sentence1", "sentence1"), ("sentence2", "sentence2"))
NLI_FIELDS = (("premise", "premise"), ("hypothesis", "hypothesis"))
OPTIONS = (("sentence", "sentence"), ("option0", "option1"), ("option1", "option2"))
TEST_AS_VALIDATION = (("validation", "test"),)


def winogrande_example(row: Mapping[str, Any]) -> list[Example]:
    """Turn a row of WinoGrande into text with its two different options; answer 1 is class 0.

    Raises:
        FieldProblem: the answer is neither 1 nor 2.
    """
    answer = str(row["answer"]).strip()
    if answer not in ("1", "2"):
        raise FieldProblem("answer", row["answer"], "1 or 2")
    label = int(answer) - 1
    word = str(label)
    return [Example(source_text("winogrande", OPTIONS, row), word, (word,), label)]


def snli_example(row: Mapping[str, Any]) -> list[Example]:
    """Turn a row of SNLI into text; rows without a gold label (-1) are left out.

    Raises:
        FieldProblem: the label is none of -1, 0, 1, 2.
    """
    label = row["label"]
    if label == -1:
        return []
    if label not in (0, 1, 2):
        raise FieldProblem("label", label, "0 (entailment), 1 (neutral), 2 (contradiction) or -1")
    word = str(int(label))
    return [Example(source_text("snli", NLI_FIELDS, row), word, (word,), int(label))]


def _task(
    name: str,
    title: str,
    dataset: str,
    config: str | None,
    fields: tuple[tuple[str, str], ...],
    classes: tuple[str, ...],
    split: SplitPlan,
    paper: str,
    licence: str,
    **more: Any,
) -> TaskSpec:
    """Return one row, with numerals as label words and accuracy as metric."""
    return TaskSpec(
        name=name,
        title=title,
        family="Others",
        dataset=dataset,
        config=config,
        folder=more.pop("folder", name),
        fields=fields,
        labels=tuple(str(index) for index in range(len(classes))),
        metrics=("accuracy",),
        split=split,
        label_titles=classes,
        paper=paper,
        licence=licence,
        **more,
    )


TASKS: tuple[TaskSpec, ...] = (
    _task("winogrande", "WinoGrande", "allenai/winogrande", "winogrande_xl", OPTIONS,
          ("option 1", "option 2"), SplitPlan(40_398), "Sakaguchi et al. 2020, arXiv 1907.10641",
          "none stated", label_column="answer", convert=winogrande_example,
          revision="85ac5b5a3b7a930e22d590176e39460400d19e41"),
    _task("yelp", "Yelp-2", "fancyzhx/yelp_polarity", None, (("sentence", "text"),),
          ("negative", "positive"), SplitPlan(560_000, test="test", on_hub=TEST_AS_VALIDATION),
          "Zhang et al. 2015, arXiv 1509.01626", "Yelp dataset agreement",
          folder="yelp_polarity"),
    _task("scitail", "SciTail", "allenai/scitail", "tsv_format", NLI_FIELDS,
          ("entails", "neutral"), SplitPlan(23_097, test="test", rule="halved"), "Khot et al. 2018",
          "Apache-2.0 (repository)", revision="0cc4353235b289165dfde1c7c5d1be983f99ce44"),
    _task("paws", "PAWS-Wiki", "google-research-datasets/paws", "labeled_final", PAIR,
          ("not a paraphrase", "paraphrase"), SplitPlan(49_401, test="test", rule="official"),
          "Zhang et al. 2019, arXiv 1904.01130", "free for any purpose, acknowledgement asked",
          revision="161ece9501cf0a11f3e48bd356eaa82de46d6a09"),
    _task("snli", "Stanford NLI", "stanfordnlp/snli", None, NLI_FIELDS,
          ("entailment", "neutral", "contradiction"), SplitPlan(550_152, test="test"),
          "Bowman et al. 2015, arXiv 1508.05326", "CC BY-SA 4.0", convert=snli_example,
          revision="cdb5c3d5eed6ead6e5a341c8e56e669bb666725b", short="SNLI"),
    _task("imdb", "IMDB reviews", "stanfordnlp/imdb", None, (("sentence", "text"),),
          ("negative", "positive"), SplitPlan(25_000, on_hub=TEST_AS_VALIDATION),
          "Maas et al. 2011", "see the corpus", short="IMDB",
          revision="e6281661ce1c48d982bc483cf8a173c1bbeb5d31"),
    _task("ag_news", "AG News", "fancyzhx/ag_news", None, (("sentence", "text"),),
          ("world", "sports", "business", "science and technology"),
          SplitPlan(120_000, on_hub=TEST_AS_VALIDATION), "Zhang et al. 2015, arXiv 1509.01626",
          "see the corpus", revision="eb185aade064a813bc0b7f42de02595523103ca4"),
    _task("trec", "TREC question classes", "CogComp/trec", None, (("question", "text"),),
          ("abbreviation", "entity", "description", "human", "location", "number"),
          SplitPlan(5_452, on_hub=TEST_AS_VALIDATION), "Li and Roth 2002", "see the corpus",
          label_column="coarse_label", revision="refs/convert/parquet", short="TREC"),
)  # fmt: skip
