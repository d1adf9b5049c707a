"""What a task and an example are: frozen rows of data, without any code that looks them up.

A new task is a row in one of the modules of `families/`; code (`convert`) only for the odd
ones. `catalogue.py` finds a task by its name. docs/tasks.md.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from dtvg.tasks.dialect import Dialect


class FieldProblem(ValueError):
    """What a `convert` raises for a value it cannot use; reading adds file and row."""

    def __init__(self, column: str, got: Any, allowed: str) -> None:
        """Keep the column, the value found there and what would be allowed."""
        super().__init__(f"column '{column}': got {got!r}, allowed is {allowed}")
        self.column, self.got, self.allowed = column, got, allowed


@dataclass(frozen=True, slots=True)
class Example:
    """One text-to-text example.

    `source` is what the model reads, `target` what it is trained to answer, `references` all
    accepted answers, `label` the class index where the task has classes.
    """

    source: str
    target: str
    references: tuple[str, ...]
    label: int | None = None
    group: str | None = None
    """Rows scored together (MultiRC's question), else None."""


Rule = Literal["size", "halved", "official", "given", "own"]


@dataclass(frozen=True)
class SplitPlan:
    """Official sizes and names; the split rule works from these, never from what is available.

    What they become is said by `rule` (docs/tasks.md "Splits").
    """

    train_rows: int
    train: str = "train"
    validation: str = "validation"
    test: str | None = None
    """Name of a labelled official test split, used only with `data.split: official`."""
    on_hub: tuple[tuple[str, str], ...] = ()
    """Pairs (split, the hub's name of it) where the hub has no split of that name."""
    rule: Rule = "size"
    """`size`: under 10,000 official training rows the validation split is halved (seeded) into
    validation and test, otherwise 1,000 training rows become validation and the original
    validation split becomes test. `halved`: the validation split is halved whatever the size.
    `official`: the official train, validation and test splits, or `size` where the test split is
    not at hand. `given`: the three splits as they stand. `own`: what is given is taken, what is
    not is drawn from the rest."""

    def names(self, split: str) -> tuple[str, ...]:
        """Return what the files or the hub may call a split, in order of preference."""
        own = {"train": self.train, "validation": self.validation, "test": self.test}
        return tuple(dict.fromkeys([own[split] or split, split, *self._elsewhere(split)]))

    def hub_name(self, split: str) -> str:
        """Return the hub's name of a split."""
        return (*self._elsewhere(split), *self.names(split))[0]

    def _elsewhere(self, split: str) -> tuple[str, ...]:
        return tuple(name for which, name in self.on_hub if which == split)


SHORT = 24
"""Letters that a title may have to stand in tables and beside lines of charts."""
_PLAIN = re.compile(r"[\w .,&'()+/-]+")
"""A title with nothing that Markdown or a chart takes for more than a letter: somebody's own."""


def usual_answer(labels: Sequence[str]) -> int:
    """Return the tokens that an answer may have where a person's own task says nothing of it."""
    return 8 if labels else 64


@dataclass(frozen=True)
class TaskSpec:
    """One task: where its rows are, how they become text, and how answers are scored."""

    name: str
    title: str
    family: str
    dataset: str
    """Hub id, e.g. `nyu-mll/glue`; empty for own files."""
    config: str | None
    """Hub configuration, e.g. `rte`."""
    folder: str
    """Name of the sub-folder of Parquet files, e.g. `glue_rte`."""
    fields: tuple[tuple[str, str], ...]
    """Pairs (word before the colon, column), in order."""
    labels: tuple[str, ...]
    """Label words by class index, e.g. ("0", "1"); empty: free text."""
    metrics: tuple[str, ...]
    """Names of `dtvg.tasks.metrics.METRICS`; the task's score is their mean."""
    split: SplitPlan
    label_column: str = "label"
    max_target_tokens: int = 8
    revision: str | None = None
    label_titles: tuple[str, ...] = ()
    """Readable names of the classes, e.g. ("entailment", "not entailment")."""
    paper: str = ""
    licence: str = ""
    convert: Callable[[Mapping[str, Any]], list[Example]] | None = field(default=None, repr=False)
    """Replaces the generic text rule for the odd ones: row → examples.

    Raises `FieldProblem` for a value it cannot use.
    """
    more_columns: tuple[str, ...] = ()
    """Columns that `convert` reads besides those of `fields` and `label_column`."""
    list_columns: tuple[str, ...] = ()
    """Those of `fields` that hold a list of texts in each row."""
    only: tuple[str, str] | None = None
    """(column, value): rows with another value belong to another task of the same data set."""
    flatten: Callable[[Any], Any] | None = field(default=None, repr=False)
    """Turns the hub's nested table into one with this task's columns, one row per example."""
    shared_references: bool = False
    """Whether rows with the same input accept each other's answers (generation tasks)."""
    reader: str = "published"
    """Who reads the rows: a name of `dtvg.tasks.sources.SOURCES`."""
    files: tuple[tuple[str, str], ...] = ()
    """Pairs (split, absolute path) of a task described in YAML, empty for all others."""
    described_in: str = ""
    """The YAML file of a task without code."""
    text_version: int = 1
    """Raised when this task's text changes; part of its data fingerprint alone."""
    beside: tuple[str, ...] = ()
    """Metrics that are shown beside the score and are no part of it."""
    dialect: Dialect | None = None
    """What that description says about how text files are written."""
    label_values: tuple[str, ...] = ()
    """Labels as its label column holds them, by class."""
    short: str = ""
    """How tables and charts call it, e.g. "SST-2"; empty: the title, or the name where that is
    long."""

    @property
    def is_published(self) -> bool:
        """Whether its rows are those of a published data set, in a data folder or from the hub."""
        return {"published": True}.get(self.reader, False)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that a file of this task must have, each once."""
        named = [column for _, column in self.fields]
        return tuple(dict.fromkeys([*named, self.label_column, *self.more_columns]))

    @property
    def short_title(self) -> str:
        """What tables and charts call it."""
        title = self.short or self.title
        return title if len(title) <= SHORT and _PLAIN.fullmatch(title) else self.name

    def title_of(self, label: int) -> str:
        """Return the readable name of a class, or its label word where it has none."""
        titles = self.label_titles or self.labels
        return titles[label]


def example_fingerprint(example: Example) -> str:
    """Return what identifies an example by content: input, answer and accepted answers."""
    text = "\x1f".join((example.source, example.target, *example.references))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
