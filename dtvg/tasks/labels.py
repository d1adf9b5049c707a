"""Label words as a setting: numerals as in the literature, readable words, or your own.

`0` or `entailment` for the same class: the words are what a prompt is trained to say, so they
enter every data fingerprint. docs/tasks.md "Label words".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from dtvg.errors import ConfigError
from dtvg.tasks.scoring import normal
from dtvg.tasks.spec import Example, TaskSpec


def label_words(
    spec: TaskSpec, labels: str = "numerals", own: Mapping[str, Sequence[str]] | None = None
) -> tuple[str, ...]:
    """Return the words that answer for a task's classes.

    Args:
        spec: the task, with the words of its description.
        labels: `numerals` (as the description has them) or `words` (its readable names).
        own: words by task name, which win.

    Raises:
        ConfigError: if own words do not fit the task's classes.
    """
    given = (own or {}).get(spec.name)
    if given is not None:
        return _fitting(spec, tuple(trimmed(word) for word in given))
    return spec.label_titles or spec.labels if labels == "words" else spec.labels


def trimmed(word: str) -> str:
    """Return a label word without white space around it, but for one space in front.

    A leading space belongs to a word's first token in many tokenizers; where input and answer are
    one sequence it is there by itself.
    """
    bare = word.strip()
    return f" {bare}" if bare and word[:1].isspace() else bare


def _fitting(spec: TaskSpec, words: tuple[str, ...]) -> tuple[str, ...]:
    """Return own words, refusing a wrong number, empty ones and repeated ones."""
    key = f"data.label_words.{spec.name}"
    if not spec.labels:
        raise ConfigError(
            f"'{key}': task {spec.name} answers in free text; leave out its label words."
        )
    if len(words) != len(spec.labels):
        titles = ", ".join(spec.label_titles or spec.labels)
        raise ConfigError(
            f"'{key}': got {len(words)} words, task {spec.name} has {len(spec.labels)} classes "
            f"({titles}); give one word for each class, in this order."
        )
    if not all(words) or len({normal(word) for word in words}) != len(words):
        raise ConfigError(f"'{key}': got {', '.join(words)}; no word may be empty or occur twice.")
    return words


def with_words(spec: TaskSpec, words: tuple[str, ...]) -> TaskSpec:
    """Return the task answering in `words`."""
    return spec if words == spec.labels else replace(spec, labels=words)


def reworded(examples: Iterable[Example], words: Sequence[str]) -> list[Example]:
    """Return examples with each class answered by its word; answers without class stay."""
    return [
        e if e.label is None else replace(e, target=words[e.label], references=(words[e.label],))
        for e in examples
    ]
