"""Who reads a task's rows: published files or the hub, the demo's own files, or somebody's own.

`TaskSpec.reader` names one of `SOURCES`; whatever differs between them is asked of that object,
never decided by comparing names elsewhere. docs/tasks.md "Where rows come from".
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

from dtvg import paths
from dtvg.errors import DataError
from dtvg.tasks import files, hub
from dtvg.tasks.spec import Example, TaskSpec
from dtvg.tasks.text import examples_from, verbatim_examples

Signature = tuple[tuple[str, int, int], ...]
GENERAL = ("train", "validation", "test")


class Source:
    """Published rows: a folder per task, else a data set of the hub."""

    prefixed = True
    """Whether every input starts with the task's name."""
    on_hub = True
    """Whether `TaskSpec.dataset`, where it is given, is a data set of the hub."""
    advice = "put one there"
    """What to do if a file is missing."""

    def places(self, spec: TaskSpec, folder: str | None) -> list[Path]:
        """Return where the task's own folder is looked for, in this order.

        Raises:
            DataError: if the configured folder does not exist.
        """
        around = [paths.datasets()]
        if folder:
            given = Path(folder).expanduser()
            if not given.is_dir():
                raise DataError(
                    f"There is no data folder '{folder}'; give data.folder a folder with one "
                    f"sub-folder per data set, such as '{spec.folder}', or leave it empty."
                )
            around.insert(0, given)
        return [place / spec.folder for place in around]

    def find_folder(self, spec: TaskSpec, folder: str | None) -> Path | None:
        """Return the folder that holds the task's files, None where only the hub is left."""
        return next((place for place in self.places(spec, folder) if place.is_dir()), None)

    def split_files(self, spec: TaskSpec, folder: Path, names: Sequence[str]) -> list[Path]:
        """Return the files of one split; see the function of this name."""
        for name in names:
            for ending in files.ENDINGS:
                single = folder / f"{name}{ending}"
                if single.is_file():
                    return [single]
                if single.is_dir():
                    raise DataError(
                        f"'{single}' is a folder, not a file; put the file in its place."
                    )
                parts = sorted(folder.glob(f"{name}-*-of-*{ending}"))
                if parts:
                    return parts
        looked_for = " or ".join(f"'{name}.parquet'" for name in names)
        found = ", ".join(sorted(p.name for p in folder.glob("*"))) if folder.is_dir() else ""
        raise DataError(
            f"There is no file {looked_for} (or .csv, .jsonl) in '{folder}', which contains "
            f"{found or 'nothing'}; {self.advice}."
        )

    def missing(self, spec: TaskSpec, folder: Path) -> list[str]:
        """Return the splits whose files are not in the folder."""
        wanted = zip((spec.split.train, spec.split.validation), GENERAL, strict=False)
        return [which for name, which in wanted if not self.holds(spec, folder, (name, which))]

    def holds(self, spec: TaskSpec, folder: Path, names: Sequence[str]) -> bool:
        """Whether the folder has files of one split."""
        try:
            self.split_files(spec, folder, names)
        except DataError:
            return False
        return True

    def signature(self, spec: TaskSpec, folder: Path) -> Signature:
        """Return name, size and time of every file of the task."""
        try:
            with os.scandir(folder) as entries:
                found = [(e.name, e.stat().st_size, e.stat().st_mtime_ns) for e in entries]
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise DataError(f"'{folder}' cannot be listed ({error.strerror}).") from None
            return ()
        return tuple(sorted(found))

    def tables(
        self, spec: TaskSpec, folder: Path | None, places: Sequence[Path], split: str
    ) -> list[tuple[str, pa.Table]]:
        """Read one official split: how messages name each part, and its columns.

        Args:
            spec: the task.
            folder: as `find_folder` returns it.
            places: where files were looked for, for the hub's message.
            split: `train`, `validation` or `test`.
        """
        if folder is None:
            name = spec.split.hub_name(split)
            where = f"{hub.hub_name(spec)}, split {name}"
            return [(where, hub.read_hub(spec, name, places))]
        named = self.split_files(spec, folder, spec.split.names(split))
        return [(f"'{path}'", files.read_file(path, spec)) for path in named]

    def examples(self, spec: TaskSpec, table: pa.Table, where: str) -> list[Example]:
        """Turn the columns of one part into examples."""
        return examples_from(spec, table, where)


class Demo(Source):
    """The demo's files, which come with the package: text and answers as they stand."""

    prefixed = False
    on_hub = False
    advice = "`dtvg demo build` makes the demo's files"

    def places(self, spec: TaskSpec, folder: str | None) -> list[Path]:
        """Return the one place of the demo's files, whatever is configured."""
        return [paths.demo() / "tasks" / spec.folder]

    def find_folder(self, spec: TaskSpec, folder: str | None) -> Path | None:
        """Return the demo's folder, also where it is not there: no hub has these rows."""
        return self.places(spec, folder)[0]

    def examples(self, spec: TaskSpec, table: pa.Table, where: str) -> list[Example]:
        """Take source and target as they stand."""
        return verbatim_examples(spec, table, where)


class Own(Source):
    """The files or the hub's data set that a description in YAML names."""

    prefixed = False

    def places(self, spec: TaskSpec, folder: str | None) -> list[Path]:
        """Return nothing: a description names its files itself."""
        return []

    def find_folder(self, spec: TaskSpec, folder: str | None) -> Path | None:
        """Return the description's folder, None where it names a data set of the hub."""
        return Path(spec.described_in).parent if spec.files else None

    def split_files(self, spec: TaskSpec, folder: Path, names: Sequence[str]) -> list[Path]:
        """Return the files that the description names for a split."""
        return [files.own_file(spec, Path(path)) for split, path in spec.files if split in names]

    def missing(self, spec: TaskSpec, folder: Path) -> list[str]:
        """Return the splits of which a named file is not there."""
        named = dict.fromkeys(split for split, _ in spec.files)
        return [split for split in named if not self.holds(spec, folder, (split,))]

    def signature(self, spec: TaskSpec, folder: Path) -> Signature:
        """Return path, size and time of every named file; they may lie in any folders."""
        return tuple(_stamp(path) for _, path in spec.files)


def _stamp(path: str) -> tuple[str, int, int]:
    try:
        stat = os.stat(path)
    except OSError:
        return (path, -1, 0)
    return (path, stat.st_size, stat.st_mtime_ns)


SOURCES: Mapping[str, Source] = {"published": Source(), "demo": Demo(), "own": Own()}


def source_of(spec: TaskSpec) -> Source:
    """Return who reads a task's rows."""
    return SOURCES[spec.reader]


def find_folder(spec: TaskSpec, folder: str | None) -> Path | None:
    """Return the folder that holds the task's files, None where only the hub is left.

    Args:
        spec: the task; published files lie in a sub-folder called `spec.folder`.
        folder: the configured `data.folder`, looked at before `<home>/datasets`.

    Raises:
        DataError: if the configured folder does not exist.
    """
    return source_of(spec).find_folder(spec, folder)


@dataclass(frozen=True)
class AtHand:
    """Where a task's rows are, as far as this machine can tell without the hub."""

    place: Literal["folder", "cache", "hub"]
    """A folder of files, the hub's cache on this machine, or only the hub."""
    missing: tuple[str, ...] = ()
    """Splits whose files the folder lacks."""

    @property
    def in_folder(self) -> bool:
        """Whether every file lies in the folder."""
        return self.place == "folder" and not self.missing

    @property
    def words(self) -> str:
        """`yes`, or what is missing."""
        if self.missing:
            return f"no, {' and '.join(self.missing)} missing"
        return {
            "folder": "yes",
            "cache": "yes, in the hub's cache",
            "hub": "no, only on the hub",
        }[self.place]


def look_for(spec: TaskSpec, folder: Path | None) -> AtHand:
    """Look where a task's rows are.

    Args:
        spec: the task.
        folder: as `find_folder` returns it.
    """
    if folder is None:
        return AtHand("cache" if hub.cached(spec) else "hub")
    return AtHand("folder", tuple(source_of(spec).missing(spec, folder)))


def has_test(spec: TaskSpec, folder: Path | None) -> bool:
    """Whether a published task's labelled official test split is at hand; the hub has those named.

    Args:
        spec: the task.
        folder: as `find_folder` returns it.
    """
    if spec.split.test is None or folder is None:
        return spec.split.test is not None
    return source_of(spec).holds(spec, folder, (spec.split.test, "test"))


def at_hand(spec: TaskSpec, folder: Path | None) -> str:
    """Say whether a task can be used offline: `yes`, or what is missing; see `look_for`."""
    return look_for(spec, folder).words


def split_files(spec: TaskSpec, folder: Path, names: Sequence[str]) -> list[Path]:
    """Return the files of one split: `train.parquet`, or all of `train-00000-of-*.parquet`.

    Args:
        spec: the task.
        folder: the task's folder.
        names: the split's names in order of preference, e.g. validation_matched, validation.

    Raises:
        DataError: if there is none.
    """
    return source_of(spec).split_files(spec, folder, names)


def signature(spec: TaskSpec, folder: Path | None) -> Signature:
    """Return name, size and time of every file of a task, so that a change is noticed.

    Args:
        spec: the task.
        folder: the task's folder, None for the hub.
    """
    return () if folder is None else source_of(spec).signature(spec, folder)
