"""What people read in place of ids: titles of tasks, methods and runs, one vocabulary everywhere.

Ids stay where they are typed or copied: YAML, CSV, the command line and addresses.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Mapping
from functools import lru_cache

import pandas as pd

from dtvg.methods.specs import METHODS, Role
from dtvg.tasks.catalogue import all_tasks

SECONDS = 0.2
"""For which titles of tasks are kept."""
_RUN = re.compile(r"(?P<target>[a-z0-9_-][a-z0-9._-]*?)\.(?P<label>[^?/]+)\.s(?P<seed>\d+)")
_STAGE_ONE = "stage1"
"""What stands in place of the target in the name of a Stage I run."""
_FEW_SHOT = re.compile(r"(?P<task>.+)-k(?P<rows>\d+)")
_ON_MIXTURE = re.compile(r"(?P<method>.+)-(?P<which>[0-9a-f]{6})")
_PARTS = re.compile(r"-(?!\d)")
"""What stands between settings in a label; a minus is part of its number, as in `lr1e-05`."""
_PAPER = re.compile(r" \(\d{4}\.\d{4,5}\)")
_BETWEEN = re.compile(r"((?:<[^<>]*>)+ ?(?:\+ )?| \+ | → | · |, |: | \(|\))")
"""What stands between names in labels of charts and in cells of tables."""
_BY_METHOD = ("method", "methods", "baseline", "subject", "rival", "row")
"""Columns that hold names of methods."""
_AS_TYPED = ("experiment", "tag", "tags", "note", "message", "file", "setting", "fingerprint")
"""Columns whose cells are nobody's title."""


_EVENTS = {
    "answers": "answers not possible",
    "ban": "banned by hand",
    "best": "best so far",
    "contexts": "contexts chosen",
    "cut": "subset chosen",
    "early_end": "ended early",
    "fell_back": "fell back a commit",
    "few_shot": "rows drawn",
    "free": "freed by hand",
    "in_step": "in step again",
    "mirror": "tracker not reached",
    "moved_on": "met others later",
    "person": "changed by a person",
    "pin": "pinned by hand",
    "relations": "relations learned",
    "restarted": "began anew",
    "stale": "another run is late",
    "storage": "storage not reached",
}
"""Kinds of events whose words say more than their names; docs/run_files.md has all."""


class _Words(dict[str, str]):
    """Short titles of tasks by name, the same object until one changes: what is made is kept."""

    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__


_seen: tuple[str, float, _Words] | None = None


def task(name: str) -> str:
    """Return a task's short title, e.g. "SST-2"; the name where no such task is known."""
    return _titles_of_tasks().get(name, name)


def tasks(names: Collection[str]) -> str:
    """Return short titles of several tasks, with commas."""
    return ", ".join(task(name) for name in names)


def full(name: str) -> str:
    """Return a task's short title and its title, e.g. "RTE: Recognizing Textual Entailment"."""
    spec = all_tasks().get(name)
    if spec is None or spec.title == spec.short_title:
        return task(name)
    return f"{spec.short_title}: {spec.title}"


def method(label: str) -> str:
    """Return a method's title with what a label says of its settings.

    Args:
        label: as rows of comparisons and runs are named, e.g. `dtvg-similarity_only`.

    Returns:
        E.g. "DTVG, similarity only"; the label where no such method is known.
    """
    return _method(label, _titles_of_tasks())


def rule(name: str) -> str:
    """Return the title of a grouping rule, e.g. "similarity only"."""
    return name.replace("_", " ")


def event(kind: str) -> str:
    """Return what kind of event a row of the log is, in words."""
    return _EVENTS.get(kind, kind.replace("_", " "))


def run(name: str) -> str:
    """Return a run's title; the name where it is none.

    Args:
        name: of the run, with or without its experiment's name before a slash.

    Returns:
        E.g. "Trip mood · DTVG · seed 0", and of a Stage I run "Stage I · Trip mood · seed 0".
    """
    experiment, _, own = name.rpartition("/")
    found = _RUN.fullmatch(own)
    if not found:
        return name
    before = f"{experiment}: " if experiment else ""
    if found["target"] == _STAGE_ONE:
        return before + f"Stage I · {_of_stage_one(found['label'])} · seed {found['seed']}"
    target, label = _target_and_label(found["target"], found["label"])
    return before + f"{task(target)} · {method(label)} · seed {found['seed']}"


def _target_and_label(target: str, label: str) -> tuple[str, str]:
    """Return both parts of a run's name; a target may have dots too, a label begins with a method.

    Args:
        target: what stands before the first dot.
        label: the rest.
    """
    parts = label.split(".")
    for place in range(len(parts)):
        rest = ".".join(parts[place:])
        if _names_of_methods(rest):
            return ".".join([target, *parts[:place]]), rest
    return target, label


def _names_of_methods(label: str) -> list[str]:
    """Return the methods whose label this may be."""
    return [name for name in METHODS if label == name or label.startswith(f"{name}-")]


def _of_stage_one(label: str) -> str:
    """Return what a Stage I run tunes: a task, whole or few-shot, or the mixture of sources."""
    words = _titles_of_tasks()
    if label in words:
        return words[label]
    few = _FEW_SHOT.fullmatch(label)
    if few and few["task"] in words:
        return f"{words[few['task']]}, {few['rows']} row{'' if few['rows'] == '1' else 's'}"
    if mixed := _ON_MIXTURE.fullmatch(label):  # the digits tell one set of sources from another
        if mixed["method"] == "mixture":
            return f"Mixture of sources {mixed['which']}"
        if mixed["method"] in METHODS:
            return f"{method(mixed['method'])}, mixture of sources {mixed['which']}"
    return label


def label(text: str) -> str:
    """Return a label of a chart with titles in place of names of tasks, methods and runs."""
    return _label(text, _titles_of_tasks(), methods=True)


def in_sentence(text: str, names: Collection[str]) -> str:
    """Return a sentence with titles in place of names of tasks and methods.

    Args:
        text: any text; names of methods between backticks are always meant.
        names: tasks and rows of methods that it may speak of; other words stay.
    """
    text = re.sub(r"`([a-z][^`\s]*)`", lambda m: _meant(m[1]) or m[0], text)
    words = _titles_of_tasks()
    known = {name: words.get(name) or label(name) for name in names}
    if not known:
        return text
    longest = sorted(map(_spelled, known), key=len, reverse=True)
    found = re.compile(rf"(?<![\w./`-])({'|'.join(longest)})(?![\w`-]|\.\w|/)")
    return found.sub(lambda m: known[m[1]], text)


def _spelled(name: str) -> str:
    """Return a pattern of a name; the method `none` is a word too: "none of them", "have none"."""
    return r"(?<!have )none(?! of\b|\))" if name == "none" else re.escape(name)


def _meant(quoted: str) -> str:
    title = method(quoted)
    return title if title != quoted else ""


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table as it is read: titles in its cells, the columns as they were.

    Args:
        frame: as computed; its CSV keeps the names.
    """
    words = _titles_of_tasks()
    shown = frame.copy(deep=False)
    for column in frame.columns:
        values = frame[column]
        if column in _AS_TYPED or pd.api.types.is_numeric_dtype(values):
            continue
        if isinstance(values.dtype, pd.CategoricalDtype) or values.dtype == object:
            values = values.astype(object)
        elif not pd.api.types.is_string_dtype(values):
            continue
        texts = {v for v in values if isinstance(v, str)}
        named = {text: _cell(text, words, str(column)) for text in texts}
        if any(text != title for text, title in named.items()):
            shown[column] = [named.get(v, v) if isinstance(v, str) else v for v in values]
    return shown


def _cell(text: str, words: _Words, column: str) -> str:
    if column == "methods":
        return ", ".join(_method(part, words) for part in text.split(", "))
    return _label(text, words, column in _BY_METHOD)


def _titles_of_tasks() -> _Words:
    """Return the titles of tasks.

    Looking for described tasks takes as long as a thousand titles, so it is done now and then.
    """
    global _seen
    now, home = time.monotonic(), os.environ.get("DTVG_HOME", "")
    if _seen is None or _seen[0] != home or now - _seen[1] > SECONDS:
        words, taken = _Words(), set[str]()
        for name, spec in all_tasks().items():  # rows of a chart with one title would be one row
            title = name if spec.short_title in taken else spec.short_title
            words[name] = title
            taken.add(title)
        same = _seen is not None and dict.__eq__(_seen[2], words)
        _seen = (home, now, _seen[2] if same and _seen else words)
    return _seen[2]


@lru_cache(maxsize=4096)
def _method(text: str, words: _Words) -> str:
    plain = text.split(" (after ")[0]
    fitting = _names_of_methods(plain)
    if not fitting:
        return text
    name = max(fitting, key=len)
    title = METHODS[name].title
    if plain == text:  # what stands after an adaptation's name cites the paper
        title = _PAPER.sub("", title)
    rest = plain[len(name) + 1 :]
    if not rest:
        return title
    if rest in words:
        return f"{title}: {words[rest]}"
    fields = {key.replace("_", ""): key.replace("_", " ") for key in METHODS[name].model_fields}
    if METHODS[name].role is Role.SINGLE:  # what follows is a task, known here or not
        own, more, told_more = rest.partition(" (")
        setting = rf"(?:{'|'.join(fields)})-?\d"
        source, *given = re.split(rf"-(?={setting})", own)
        if source not in words and re.match(setting, source):  # all sources of a variant
            title = f"{title}, {_setting(source, fields)}"
        else:
            title = f"{title}: {words.get(source, source)}"
        told = [title, *(_setting(part, fields) for part in given)]
        return ", ".join(told) + more + told_more
    found = re.fullmatch(r"(?:(.+)-)?of-(.+)", rest)
    if not found:
        return ", ".join([title, *(_setting(part, fields) for part in _PARTS.split(rest))])
    settings = _PARTS.split(found[1]) if found[1] else []
    told = [re.sub(r" \(.*\)$", "", title), *(_setting(part, fields) for part in settings)]
    subset = " + ".join(words.get(s, s) for s in found[2].split("."))
    return f"{', '.join(told)}: {'no source' if found[2] == 'none' else subset}"


def _setting(part: str, fields: Mapping[str, str]) -> str:
    """Return a part of a label in words: `threshold0.1` is "threshold 0.1"."""
    found = re.fullmatch(r"([a-z]+?)(-?\d.*)", part)
    if found and found[1] in fields:
        return f"{fields[found[1]]} {found[2]}"
    return part.replace("_", " ")


@lru_cache(maxsize=16384)
def _label(text: str, words: _Words, methods: bool) -> str:
    if text in words:
        return words[text]
    if methods and (title := _method(text, words)) != text:
        return title
    if methods and (title := _method_with_more(text, words)):
        return title
    parts = _BETWEEN.split(text)
    if len(parts) == 1:
        return run(text)
    if methods and parts[-2] in (": ", "</span> "):
        parts[-1] = _method(parts[-1], words)
    return "".join(words.get(part) or run(part) for part in parts)


def _method_with_more(text: str, words: _Words) -> str:
    """Return the title of a method with what stands behind its name; empty: it is none."""
    if found := re.fullmatch(r"no transfer \(([^()]+)\)(.*)", text):
        title = _method(found[1], words)
        which = "" if title.casefold() == "no transfer" else f" ({title})"
        return f"no transfer{which}{found[2]}"
    if " − " in text:
        return " − ".join(_label(part, words, methods=True) for part in text.split(" − "))
    found = re.fullmatch(r"(\S+)((?: \([^()]*\))+| minus .*| seeds)", text)
    if not found or (title := _method(found[1], words)) == found[1]:
        return ""
    return re.sub(r" \(.*\)$", "", title) + found[2]
