"""Tags and a note that a person gives a run or an experiment: `tags.json` in its folder.

Beside the log, never part of it: no number depends on them, a resume does not touch them. Must
not import torch. docs/run_files.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dtvg.errors import StoreError
from dtvg.store.files import check_own, replace_json
from dtvg.store.formats import TagsFile, read_model, read_whole

FILE = "tags.json"
MAX_TAGS, MAX_NOTE = 20, 2000
_TAG = re.compile(r"[^\s,;'\"=<>~!]{1,40}")


@dataclass(frozen=True)
class Labels:
    """What a person wrote about a run or an experiment."""

    tags: tuple[str, ...] = ()
    note: str = ""


NONE = Labels()


def read_labels(folder: Path) -> Labels:
    """Return the labels of a folder; none where there is no file or it holds something else."""
    if not os.access(f"{folder}/{FILE}", os.F_OK):  # most have none, and there may be 10,000
        return NONE
    try:
        found = read_model(folder / FILE, TagsFile)
    except StoreError:  # `check_file` says what is wrong
        return NONE
    return NONE if found is None else Labels(tuple(found.tags), found.note)


def write_labels(folder: Path, labels: Labels) -> None:
    """Write the labels of a folder, atomically.

    Raises:
        StoreError: a tag or the note cannot be kept, no such folder, or the disk refuses.
    """
    problem = problem_of(labels)
    if problem:
        raise StoreError(problem)
    for above in folder.parents[:2]:
        check_own(above)
    if not folder.is_dir():
        raise StoreError(f"'{folder}' no longer exists, so nothing was written; reload the page.")
    replace_json(folder / FILE, {"tags": list(labels.tags), "note": labels.note})


def problem_of(labels: Labels) -> str | None:
    """Return why labels cannot be kept, as a sentence; None where they can."""
    for tag in labels.tags:
        if not _TAG.fullmatch(tag):
            return (
                f"'{tag[:60]}' cannot be used as a tag; use 1-40 characters without spaces, "
                "commas, quotes or any of ; = < > ~ !"
            )
    if len(labels.tags) > MAX_TAGS:
        return f"{len(labels.tags)} tags are too many; at most {MAX_TAGS} are allowed."
    if len(labels.note) > MAX_NOTE:
        return f"The note has {len(labels.note)} characters; at most {MAX_NOTE} are allowed."
    return None


def check_file(folder: Path) -> list[str]:
    """Return what is wrong with a folder's `tags.json`; nothing where there is none."""
    path = folder / FILE
    if not path.exists():
        return []
    try:
        read_whole(path, TagsFile, "Write tags and note again on the overview.")
    except StoreError as error:
        return [str(error)]
    problem = problem_of(read_labels(folder))
    return [f"{path}: {problem}"] if problem else []


def with_tags(labels: Labels, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Labels:
    """Return labels with tags added at the end and others taken out."""
    gone = set(remove)
    kept = [t for t in dict.fromkeys((*labels.tags, *add)) if t not in gone]
    return Labels(tuple(kept), labels.note)
