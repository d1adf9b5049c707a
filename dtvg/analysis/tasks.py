"""A task for its page: facts, sizes, label balance, and its answers under numerals and words.

Reads a task only where that asks nobody on the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from dtvg.backbones.specs import token_counts, token_pieces
from dtvg.config import DataConfig
from dtvg.errors import DtvgError
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.hub import hub_name
from dtvg.tasks.labels import label_words, reworded, with_words
from dtvg.tasks.reading import TaskData, is_kept, load_task
from dtvg.tasks.sources import find_folder, look_for, source_of
from dtvg.tasks.spec import Example, TaskSpec
from dtvg.tasks.summary import summarise


@dataclass(frozen=True)
class TaskInfo:
    """One task as its page shows it."""

    spec: TaskSpec
    offline: str
    """`yes`, or what is missing; from `sources.look_for`."""
    facts: pd.DataFrame
    """fact, value."""
    data: TaskData | None
    """The rows; None where they are missing or cannot be used."""
    problem: str | None
    """Why the rows cannot be used."""
    splits: pd.DataFrame
    """split, rows, words (mean of a source), majority (score of the commonest answer)."""
    balance: pd.DataFrame
    """split, answer, title, rows, share; empty for free text."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know about the rows."""
        return (
            tuple(note[:1].upper() + note[1:] + "." for note in self.data.notes)
            if self.data
            else ()
        )


def task_info(name: str, folder: str | None = None) -> TaskInfo:
    """Collect what is known of a task.

    Args:
        name: of the task.
        folder: `data.folder`; looked at first.

    Raises:
        ConfigError, DataError: for a task or folder that does not exist.
    """
    spec, settings = find_task(name), DataConfig(folder=folder)
    place = find_folder(spec, folder)
    there = look_for(spec, place)
    offline = there.words
    data, problem = None, None
    if there.in_folder or is_kept(spec, settings):
        try:
            data = load_task(name, settings)
        except DtvgError as error:
            problem = str(error)
    splits, balance = _splits(data)
    return TaskInfo(spec, offline, _facts(spec, offline, data), data, problem, splits, balance)


def _facts(spec: TaskSpec, offline: str, data: TaskData | None) -> pd.DataFrame:
    """Return what a person asks first, without what is not known."""
    hub = f"{hub_name(spec)} at {spec.revision[:10]}" if spec.revision else hub_name(spec)
    official = f"{spec.split.train_rows:,} training rows" if spec.split.train_rows else ""
    facts = {
        "name in YAML and commands": spec.name,
        "title": spec.title,
        "family": spec.family,
        "available offline": offline,
        "rows from": data.origin if data else "",
        "hub": hub if spec.dataset and source_of(spec).on_hub else "",
        "described in": spec.described_in,
        "columns": ", ".join(spec.columns),
        "metrics": ", ".join(spec.metrics) + ("; score is their mean" if spec.metrics[1:] else ""),
        "official size": official,
        "answer, at most": f"{spec.max_target_tokens} tokens",
        "paper": spec.paper,
        "licence": spec.licence,
        "fingerprint": data.fingerprint if data else "",
    }
    return pd.DataFrame([(k, v) for k, v in facts.items() if v], columns=["fact", "value"])


def _splits(data: TaskData | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    sizes, shares = [], []
    for split in summarise(data) if data else ():
        sizes.append((split.name, split.rows, split.mean_source_words, split.majority["score"]))
        for index, (word, rows) in enumerate(split.balance.items()):
            title = data.spec.title_of(index) if data else word
            shares.append((split.name, word, title, rows, rows / split.rows))
    return (
        pd.DataFrame(sizes, columns=["split", "rows", "words", "majority"]),
        pd.DataFrame(shares, columns=["split", "answer", "title", "rows", "share"]),
    )


def words_table(spec: TaskSpec, backbone: str = "demo") -> pd.DataFrame:
    """Compare the answers of each class: label, its tokens and pieces, under both settings.

    Returns:
        class, numeral, numeral_tokens, word, word_tokens, word_pieces; without end marks.

    Raises:
        ConfigError: if the backbone's tokenizer is not on disk.
    """
    words = label_words(spec, "words")
    counts = [token_counts(side, backbone, special=False) for side in (spec.labels, words)]
    rows = [
        (
            i,
            spec.labels[i],
            counts[0][i],
            words[i],
            counts[1][i],
            " ".join(token_pieces(words[i], backbone)),
        )
        for i in range(len(words))
    ]
    columns = ["class", "numeral", "numeral_tokens", "word", "word_tokens", "word_pieces"]
    return pd.DataFrame(rows, columns=columns)


@dataclass(frozen=True)
class Shown:
    """One example as it reads, with its answer under both settings."""

    row: int
    source: str
    numeral: str
    word: str
    tokens: int | None
    """Source tokens, special ones included; None without a tokenizer."""
    references: tuple[str, ...]


def shown_examples(
    data: TaskData, split: str, first: int, count: int = 3, backbone: str = "demo"
) -> list[Shown]:
    """Return examples `first` (from 0) and following of a split."""
    rows: Sequence[Example] = data.split(split)[first : first + count]
    worded = with_words(data.spec, label_words(data.spec, "words"))
    answers = reworded(rows, worded.labels)
    try:
        tokens: list[int | None] = [*token_counts([e.source for e in rows], backbone)]
    except DtvgError:
        tokens = [None] * len(rows)
    return [
        Shown(first + i, e.source, e.target, answers[i].target, tokens[i], e.references)
        for i, e in enumerate(rows)
    ]
