"""What a task's examples look like at a glance: sizes, label balance, what guessing scores.

Pure functions on `TaskData` for the command line and the tasks page. docs/tasks.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from dtvg.tasks.metrics import score
from dtvg.tasks.reading import TaskData
from dtvg.tasks.spec import Example, TaskSpec

SPLIT_NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class SplitSummary:
    """One split: how many rows, which answers how often, what the commonest answer scores."""

    name: str
    rows: int
    balance: dict[str, int]
    """Rows by answer, for tasks with label words; empty otherwise."""
    majority: dict[str, float]
    """Metrics and `score` of always giving the commonest training answer."""
    mean_source_words: float


def summarise(data: TaskData) -> tuple[SplitSummary, ...]:
    """Summarise the three splits of a task."""
    answer = commonest_answer(data.train)
    return tuple(_split(data.spec, name, data.split(name), answer) for name in SPLIT_NAMES)


def commonest_answer(examples: Sequence[Example]) -> str:
    """Return the target that occurs most often (ties: the one seen first)."""
    return Counter(e.target for e in examples).most_common(1)[0][0]


def _split(spec: TaskSpec, name: str, examples: Sequence[Example], answer: str) -> SplitSummary:
    counts = Counter(e.target for e in examples)
    words = sum(e.source.count(" ") + 1 for e in examples)
    return SplitSummary(
        name=name,
        rows=len(examples),
        balance={word: counts[word] for word in spec.labels},
        majority=score(spec, [answer] * len(examples), examples),
        mean_source_words=words / len(examples),
    )


@dataclass(frozen=True)
class LengthSummary:
    """Token lengths of some texts, and how many are longer than a limit."""

    rows: int
    median: float
    longest: int
    cut: int


def length_summary(counts: Sequence[int], limit: int | None) -> LengthSummary:
    """Summarise how many tokens texts have.

    Args:
        counts: tokens of each text, special tokens included.
        limit: tokens that are read; None where nothing is cut.
    """
    longer = sum(limit is not None and count > limit for count in counts)
    return LengthSummary(len(counts), float(median(counts)), max(counts), longer)
