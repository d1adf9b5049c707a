"""What stands out in the rows of a described task: usable, but worth a look.

Empty texts, texts with several answers, rows that occur often, splits with one class, answers in
which a metric finds nothing to compare.
docs/tasks.md "Your own task without code".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from dtvg.tasks.answer_metrics import normalise
from dtvg.tasks.converter import Converter
from dtvg.tasks.number_metrics import is_number
from dtvg.tasks.spec import Example, TaskSpec

_ROUGE_WORDS = re.compile("[a-z0-9]+")
NOTHING = {
    "pearson": "are no numbers, each of which pearson takes for 0",
    "spearman": "are no numbers, each of which spearman takes for 0",
    "squad_f1": "score 0 in squad_f1 even if given exactly: it leaves out articles and punctuation",
    "rouge1": "score 0 in rouge1 even if given exactly: it reads only Latin letters and digits",
    "rouge2": "score 0 in rouge2 even if given exactly: it reads only pairs of words in Latin "
    "letters and digits",
    "rougeL": "score 0 in rougeL even if given exactly: it reads only Latin letters and digits",
}
"""What is said of answers in which a metric finds nothing to compare."""


def remarks_on(spec: TaskSpec, split: str, examples: Sequence[Example]) -> list[str]:
    """Return what stands out in one split, a clause each.

    Args:
        spec: the task.
        split: its name, for the clauses.
        examples: its rows.
    """
    said = []
    total = len(examples)
    filled = [e for e in examples if not _is_blank(spec, e)]
    if len(filled) < total:
        said.append(f"{total - len(filled)} of {total} {split} texts are empty")
    answers: dict[str, set[str]] = {}
    for example in filled:
        answers.setdefault(example.source, set()).add(example.target)
    if spec.labels:
        torn = [text for text, given in answers.items() if len(given) > 1]
        if torn:
            said.append(
                f"{len(torn)} {split} {'text occurs' if len(torn) == 1 else 'texts occur'} with "
                "several labels, for example "
                f"{_quoted(torn[0])}"
            )
    said += _repeated(split, filled)
    for metric, what in NOTHING.items():
        if metric in spec.metrics:
            none = sum(all(_is_nothing(metric, r) for r in e.references) for e in examples)
            said += [f"{none} of {total} {split} answers {what}"] if none else []
    return said


def _is_nothing(metric: str, answer: str) -> bool:
    """Whether a metric finds nothing to compare in an answer."""
    if metric in ("pearson", "spearman"):
        return not is_number(answer)
    if metric == "squad_f1":
        return not normalise(answer)
    return len(_ROUGE_WORDS.findall(answer.lower())) < (2 if metric == "rouge2" else 1)


def single_classes(spec: TaskSpec, splits: Mapping[str, Sequence[Example]]) -> list[str]:
    """Name the splits whose rows all have one label, a clause each."""
    return [
        f"all {len(rows)} {split} rows have the label '{rows[0].target}'"
        for split, rows in splits.items()
        if spec.labels and len(rows) > 1 and len({e.target for e in rows}) == 1
    ]


def _is_blank(spec: TaskSpec, example: Example) -> bool:
    """Whether every column of an example's text is empty."""
    if not isinstance(spec.convert, Converter):
        return False
    return "".join(example.source.split()) == "".join(spec.convert.blank.split())


def _repeated(split: str, examples: Sequence[Example]) -> list[str]:
    """Say how many rows (text and answer) occur more than once, and how often."""
    counts = Counter((e.source, e.target) for e in examples)
    twice = {row: count for row, count in counts.items() if count > 1}
    if not twice:
        return []
    most = max(twice.values())
    what = "row occurs" if len(twice) == 1 else "rows occur"
    often = "twice" if most == 2 else f"{most} times"
    same = min(twice.values()) == most
    how = f"up to {often}" if not same else often if len(twice) == 1 else f"{often} each"
    return [f"{len(twice)} {split} {what} {how}, which makes {sum(twice.values())} rows"]


def _quoted(text: str) -> str:
    shown = text if len(text) <= 60 else text[:60] + "…"
    return f"'{shown}'"
