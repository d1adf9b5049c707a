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
from dtvg.tasks import files, hub, places
from dtvg.tasks.remarks import remarks_on
from dtvg.tasks.spec import Example, TaskSpec
from dtvg.tasks.tables import finding_of
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
            given = Path(os.path.expandvars(folder))
            try:
                given = given.expanduser()
                there = given.is_dir()
            except (OSError, RuntimeError):  # a name too long, or of nobody's home folder
                there = False
            if not there:
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
        found = places.named_in(folder, names)
        if found:
            return found
        looked_for = " or ".join(f"'{name}.parquet'" for name in names)
        held = ", ".join(sorted(p.name for p in folder.glob("*"))) if folder.is_dir() else ""
        raise DataError(
            f"There is no file {looked_for} (or .csv, .jsonl) in '{folder}', which contains "
            f"{held or 'nothing'}; {self.advice}."
        )

    def missing(self, spec: TaskSpec, folder: Path) -> list[str]:
        """Return the splits whose files are not in the folder."""
        needed = ("train", "validation")
        return [split for split in needed if not self.holds(spec, folder, spec.split.names(split))]

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
            for name, _, _ in tuple(found):
                if (folder / name / places.STATE).is_file():
                    found += places.stamps(folder / name)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise DataError(f"'{folder}' cannot be listed ({error.strerror}).") from None
            return ()
        return tuple(sorted(found))

    def tables(
        self, spec: TaskSpec, folder: Path | None, places: Sequence[Path], split: str
    ) -> list[tuple[str, pa.Table]]:
        """Read one official split: how messages name each part, and its columns.

        How a text file was read stands in its table's metadata (`finding`).

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

    def remarks(
        self,
        spec: TaskSpec,
        split: str,
        tables: Sequence[tuple[str, pa.Table]],
        examples: Sequence[Example],
    ) -> list[str]:
        """Say how files were read where that is not what their names say."""
        words = {where: finding_of(table, noted=True) for where, table in tables}
        return [
            f"{where} is read as {words[where]}: {table.num_rows} rows"
            for where, table in tables
            if words[where]
        ]


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
        return [
            one
            for split, path in spec.files
            if split in names
            for one in files.own_files(spec, Path(path), split)
        ]

    def missing(self, spec: TaskSpec, folder: Path) -> list[str]:
        """Return the splits of which a named file is not there."""
        named = dict.fromkeys(split for split, _ in spec.files)
        return [split for split in named if not self.holds(spec, folder, (split,))]

    def signature(self, spec: TaskSpec, folder: Path) -> Signature:
        """Return path, size and time of every named file; they may lie in any folders."""
        return tuple(stamp for _, path in spec.files for stamp in places.stamps(Path(path)))

    def remarks(
        self,
        spec: TaskSpec,
        split: str,
        tables: Sequence[tuple[str, pa.Table]],
        examples: Sequence[Example],
    ) -> list[str]:
        """Say how files were read, how many rows are left out, and what stands out in the rest."""
        said = super().remarks(spec, split, tables, examples)
        rows = sum(table.num_rows for _, table in tables)
        if len(examples) < rows:
            said.append(
                f"{rows - len(examples)} of {rows} {split} rows have no label and are left out"
            )
        return [*said, *self._not_named(spec, split), *remarks_on(spec, split, examples)]

    def _not_named(self, spec: TaskSpec, split: str) -> list[str]:
        """Name splits of a folder that the description does not use."""
        said, named = [], {one for one, _ in spec.files}
        for path in (Path(path) for one, path in spec.files if one == split):
            held = places.splits_in(path)
            more = [one for one in GENERAL if one in held and one not in named]
            if more and split == "train":
                said.append(
                    f"'{path}' also holds {' and '.join(more)}, not read here; 'files: "
                    f"{path.name}' reads every split"
                )
        return said


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
    """Whether a published task's labelled official test split is at hand, beside validation; the
    hub has those named.

    Args:
        spec: the task.
        folder: as `find_folder` returns it.
    """
    if spec.split.test is None or folder is None:
        return spec.split.test is not None
    there = source_of(spec).holds(spec, folder, (spec.split.test, "test"))
    return there and not validation_is_test(spec, folder)


def validation_is_test(spec: TaskSpec, folder: Path | None) -> bool:
    """Whether the rows read as validation are the test split's, for want of others.

    Args:
        spec: the task.
        folder: as `find_folder` returns it.
    """
    if not spec.split.on_hub or folder is None:
        return bool(spec.split.on_hub)
    return not source_of(spec).holds(spec, folder, (spec.split.validation, "validation"))


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
