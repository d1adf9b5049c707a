"""Which files a name stands for: one file, a glob, a folder, a folder of `save_to_disk`.

Endings count in any case, packed files as what is in them. docs/tasks.md "Files as people have
them".
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from dtvg import paths
from dtvg.errors import DataError, nearest
from dtvg.plain_text import load_json
from dtvg.tasks.contents import PACKED

TEXTS = (".csv", ".jsonl", ".tsv", ".ndjson", ".json")
"""Endings of text files; packed ones end with `.gz`, `.zst` or `.bz2` after it."""
ENDINGS = (".parquet", ".csv", ".jsonl", ".tsv", ".ndjson", ".json", ".arrow", ".feather")
"""What a task's rows may be written as."""
ALL_ENDINGS = (*ENDINGS, *(text + packed for text in TEXTS for packed in PACKED))
STATE, SPLITS_FILE = "state.json", "dataset_dict.json"
"""What marks a folder that `save_to_disk` of the library `datasets` wrote."""
WORDS = {"train": "train", "training": "train", "validation": "validation", "valid": "validation",
         "val": "validation", "dev": "validation", "test": "test"}  # fmt: skip
"""What files and folders of a split are called."""


def ending_of(path: Path) -> str:
    """Return a file's ending in small letters (`.csv.gz`), empty where it is none of ours."""
    name = path.name.lower()
    return next((e for e in sorted(ALL_ENDINGS, key=len, reverse=True) if name.endswith(e)), "")


def is_pattern(path: Path) -> bool:
    """Whether a name is a glob."""
    return any(sign in str(path) for sign in "*?[") and not path.exists()


def _matches(pattern: Path) -> list[Path]:
    """Return what matches a glob; signs in the names of folders that exist are no pattern."""
    there = next((folder for folder in pattern.parents if folder.is_dir()), Path())
    rest = str(pattern.relative_to(there))
    return sorted(there / one for one in glob.glob(rest, root_dir=there, recursive=True))


def expanded(path: Path, split: str, described_in: str) -> list[Path]:
    """Return the files that a name in a description stands for, in order.

    Args:
        path: a file, a glob or a folder.
        split: the split that it is named for; of a folder with several, this one is taken.
        described_in: the description, for messages.

    Raises:
        DataError: if there is no such file, or none of a known ending.
    """
    if is_pattern(path):
        files = [one for one in _matches(path) if one.is_file()]
        if not files:
            raise DataError(f"No file matches '{path}', named in '{described_in}'; put it there.")
        return [_known(one, described_in) for one in files]
    if path.is_dir():
        return _in_folder(path, split, described_in)
    _known(path, described_in)
    if not path.is_file():
        beside = [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else []
        match = nearest(path.name, beside)
        hint = f"; did you mean '{match}'?" if match else "; put it there."
        raise DataError(f"There is no file '{path}', which '{described_in}' names{hint}")
    return [path]


def _known(path: Path, described_in: str) -> Path:
    if not ending_of(path):
        raise DataError(
            f"'{path}', named in '{described_in}', is not one of {', '.join(ENDINGS)} (text files "
            f"also with {', '.join(PACKED)} after it); write the rows in one of these formats."
        )
    return path


def saved(folder: Path) -> list[Path]:
    """Return the Arrow files of a data set that `save_to_disk` wrote; empty for other folders.

    Raises:
        DataError: if its list of files cannot be read, or one of them is missing.
    """
    state = folder / STATE
    if not state.is_file():
        return []
    try:
        names = [str(one["filename"]) for one in load_json(state.read_text())["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"'{state}' does not list the data set's files; save it again.") from None
    files = [folder / Path(name).name for name in names]
    missing = [path for path in files if not path.is_file()]
    if missing or not files:
        lacking = f"'{missing[0]}' is missing" if missing else f"'{folder}' has no data files"
        raise DataError(f"{lacking}, which save_to_disk lists; save the data set again.")
    return files


def splits_in(folder: Path) -> dict[str, list[Path]]:
    """Return the files of each split that a folder holds by name; empty where none does."""
    found: dict[str, list[Path]] = {}
    if not folder.is_dir():
        return found
    for path in sorted(folder.iterdir()):
        split = _split_of(path.name)
        if split is None or path.name.startswith("."):
            continue
        if path.is_dir():
            inside = saved(path)
            if not inside:
                inside = [p for p in sorted(path.iterdir()) if p.is_file() and ending_of(p)]
            if inside:
                found.setdefault(split, []).extend(inside)
        elif ending_of(path):
            found.setdefault(split, []).append(path)
    return found


def _split_of(name: str) -> str | None:
    """Return the split that a file's or folder's name stands for, if any."""
    return WORDS.get(re.split(r"[-_.]", name.lower(), maxsplit=1)[0])


def _in_folder(folder: Path, split: str, described_in: str) -> list[Path]:
    """Return the files of a folder that a description names for a split."""
    files = saved(folder)
    if not files:
        by_split = splits_in(folder)
        if by_split and split not in by_split:
            raise DataError(
                f"'{folder}', named in '{described_in}', holds no {split} split but "
                f"{', '.join(by_split)}; name the files of this split."
            )
        files = by_split.get(split, [])
    if not files:
        files = [p for p in sorted(folder.iterdir()) if p.is_file() and ending_of(p)]
    if not files:
        raise DataError(
            f"'{folder}', named in '{described_in}', holds no file that ends with one of "
            f"{', '.join(ENDINGS)}; name the files that hold the rows."
        )
    kinds = sorted({ending_of(path) for path in files})
    if len(kinds) > 1:
        raise DataError(
            f"'{folder}', named in '{described_in}', holds files of several kinds "
            f"({', '.join(kinds)}); name those that are to be read, for example "
            f"'{folder.name}/*{kinds[0]}'."
        )
    return files


def named_in(folder: Path, names: Sequence[str]) -> list[Path]:
    """Return the files of one split in a data set's own folder.

    Args:
        folder: holds `train.parquet`, `train-00000-of-00002.csv`, or `train/` of save_to_disk.
        names: of the split, in order of preference.

    Returns:
        Empty where there are none.

    Raises:
        DataError: if a folder stands in a file's place.
    """
    if not folder.is_dir():
        return []
    held = sorted(folder.iterdir())
    lower = {path.name.lower(): path for path in reversed(held)}
    for name in names:
        inside = saved(folder / name) if (folder / name).is_dir() else []
        if inside:
            return inside
        for ending in ALL_ENDINGS:
            single = folder / f"{name}{ending}"
            single = single if single.exists() else lower.get(single.name.lower(), single)
            if single.is_file():
                return [single]
            if single.is_dir():
                raise DataError(f"'{single}' is a folder, not a file; put the file in its place.")
            start = f"{name}-".lower()
            parts = [
                path for path in held
                if path.name.lower().startswith(start) and path.name.lower().endswith(ending)
                and "-of-" in path.name
            ]  # fmt: skip
            if parts:
                return parts
    return []


def stamps(path: Path) -> list[tuple[str, int, int]]:
    """Return name, size and time of every file that a name may stand for."""
    if is_pattern(path):
        found = _matches(path)
    elif path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.is_file())
    else:
        found = [path]
    return [_stamp(str(one)) for one in found]


def _stamp(path: str) -> tuple[str, int, int]:
    try:
        stat = os.stat(path)
    except OSError:
        return (path, -1, 0)
    return (path, stat.st_size, stat.st_mtime_ns)


def local_instead(name: str, folder: Path) -> list[str]:
    """Say what is wrong where a data set of the hub is named by something on this machine.

    Args:
        name: as given under `hub`.
        folder: of the task's description.
    """
    by_path = name.startswith((".", "/", "~", "$")) or name.endswith(".py") or "\\" in name
    place = paths.expanded(os.path.expandvars(name))
    tried = [place] if place.is_absolute() else [folder / place, Path.cwd() / place]
    found = next((one for one in tried if one.exists()), None)
    script = name.endswith(".py") or _is_script(found)
    if script and (by_path or found is not None):
        return [
            f"'hub': '{name}' is a data set script, and no code of a data set is ever executed. "
            "Run the script once yourself, save its rows (`to_parquet` or `save_to_disk`), and "
            "name those under 'files'."
        ]
    if not by_path:
        return []
    if found is not None:
        return [
            f"'hub': '{name}' is on this machine, not on the hub; name it under 'files' instead."
        ]
    return [
        f"'hub': '{name}' is a path, but a data set of the hub is named OWNER/NAME; name files of "
        "this machine under 'files' instead."
    ]


def _is_script(place: Path | None) -> bool:
    """Whether a file or folder is a data set script: a folder holds one of its own name."""
    if place is None:
        return False
    return place.suffix == ".py" or (place / f"{place.name}.py").is_file()
