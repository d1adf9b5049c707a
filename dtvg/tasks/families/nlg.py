"""Generation tasks as rows of data: E2E, CommonGen, WebNLG.

Each reference text is one training example; all references of an input are accepted, and an
evaluation asks every input once. docs/tasks.md "All tasks".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from dtvg.tasks.spec import Example, FieldProblem, SplitPlan, TaskSpec

PARQUET = "refs/convert/parquet"
"""The hub's own Parquet copy of a data set whose original is a script, which is never run."""
METRICS = ("rouge1", "rouge2", "rougeL", "bleu", "meteor_stem")
BESIDE = ("bleu_lower", "cider")
"""What the scripts of E2E and WebNLG print; the score stays the mean of METRICS."""


def _texts(row: Mapping[str, Any], column: str) -> list[str]:
    """Return a column's list of texts.

    Raises:
        FieldProblem: it is not a list of texts, or empty.
    """
    value = row[column]
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise FieldProblem(column, value, "a list of texts")
    return value


def _text(row: Mapping[str, Any], column: str) -> str:
    value = row[column]
    if not isinstance(value, str):
        raise FieldProblem(column, value, "text")
    return value


def _example(source: str, target: str) -> list[Example]:
    return [Example(source, target, (target,))]


def e2e_example(row: Mapping[str, Any]) -> list[Example]:
    """`e2e meaning_representation: name[…], …` → the human reference."""
    source = f"e2e meaning_representation: {_text(row, 'meaning_representation')}"
    return _example(source, _text(row, "human_reference"))


def common_gen_example(row: Mapping[str, Any]) -> list[Example]:
    """`common_gen concepts: field, look, stand` → a sentence with all of them."""
    source = f"common_gen concepts: {', '.join(_texts(row, 'concepts'))}"
    return _example(source, _text(row, "target"))


def web_nlg_example(row: Mapping[str, Any]) -> list[Example]:
    """`web_nlg triples: subject | predicate | object && …` → a text that says all of them."""
    source = f"web_nlg triples: {' && '.join(_texts(row, 'triples'))}"
    return _example(source, _text(row, "target"))


def flat_web_nlg(table: pa.Table) -> pa.Table:
    """Turn the hub's nested rows (one per triple set) into one row per text.

    Args:
        table: with `modified_triple_sets` and `lex`, as in the 2017 challenge's data set; any
            other table is returned as it is.
    """
    if not {"modified_triple_sets", "lex"} <= set(table.column_names):
        return table
    triples: list[list[str]] = []
    texts: list[str] = []
    for row in table.select(["modified_triple_sets", "lex"]).to_pylist():
        sets = row["modified_triple_sets"]["mtriple_set"]
        for text in row["lex"]["text"]:
            triples.append(list(sets[0]))
            texts.append(text)
    columns = {"triples": pa.array(triples, pa.list_(pa.string())), "target": pa.array(texts)}
    return pa.table(columns)


def _nlg(
    name: str,
    title: str,
    dataset: str,
    config: str | None,
    column: str,
    target: str,
    split: SplitPlan,
    tokens: int,
    convert: Callable[[Mapping[str, Any]], list[Example]],
    paper: str,
    licence: str,
    flatten: Callable[[pa.Table], pa.Table] | None = None,
    revision: str | None = PARQUET,
    short: str = "",
) -> TaskSpec:
    """Return one row of a generation task."""
    return TaskSpec(
        name=name,
        title=title,
        family="Generation",
        dataset=dataset,
        config=config,
        folder=name,
        fields=((column, column),),
        labels=(),
        metrics=METRICS,
        split=split,
        beside=BESIDE,
        label_column=target,
        max_target_tokens=tokens,
        paper=paper,
        licence=licence,
        convert=convert,
        flatten=flatten,
        shared_references=True,
        list_columns=() if column == "meaning_representation" else (column,),
        revision=revision,
        short=short,
    )


TASKS: tuple[TaskSpec, ...] = (
    _nlg("e2e", "E2E restaurant descriptions", "tuetschek/e2e_nlg", None, "meaning_representation",
         "human_reference", SplitPlan(42_061, test="test"), 96, e2e_example,
         "Novikova et al. 2017, arXiv 1706.09254", "CC BY-SA 4.0", short="E2E"),
    _nlg("common_gen", "CommonGen", "allenai/common_gen", None, "concepts", "target",
         SplitPlan(67_389), 48, common_gen_example, "Lin et al. 2020, arXiv 1911.03705", "MIT",
         revision=None),
    _nlg("web_nlg", "WebNLG 2017", "web-nlg/web_nlg", "webnlg_challenge_2017", "triples", "target",
         SplitPlan(18_102, validation="dev", test="test"), 128, web_nlg_example,
         "Gardent et al. 2017", "CC BY-NC-SA 4.0", flat_web_nlg),
)  # fmt: skip
