"""Everything that is wrong with a described task's rows; taking in a task given as text and files.

Unlike loading, which stops at the first problem, all rows are looked at. What is given on the
tasks page is checked in a folder of its own first, so that nothing is half imported.
docs/tasks.md "Your own task without code".
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dtvg import paths
from dtvg.errors import ConfigError, DataError, DtvgError
from dtvg.names import is_name, rule_for
from dtvg.tasks import files, hub
from dtvg.tasks.catalogue import all_tasks
from dtvg.tasks.own import Converter, name_in, parse_description
from dtvg.tasks.places import ENDINGS, ending_of
from dtvg.tasks.reading import DataSettings, TaskData, load_fresh
from dtvg.tasks.spec import Example, TaskSpec
from dtvg.tasks.tables import LINE, ROW, finding_of


@dataclass(frozen=True)
class Check:
    """What came of looking at every row."""

    spec: TaskSpec
    problems: tuple[str, ...]
    """One sentence each, with file, row and column; at most as many as asked for."""
    more: int
    """Problems beyond those."""
    usable: dict[str, int]
    """Rows without a problem by split."""
    balance: dict[str, dict[str, int]]
    """Rows by answer, by split; empty for free text."""
    train: tuple[Example, ...]
    """Usable training rows."""
    data: TaskData | None
    """The task as it would be used; None where there are problems."""
    found: tuple[str, ...] = ()
    """How each file was read and how many of its rows can be used, a sentence each."""

    @property
    def sound(self) -> bool:
        """Whether the task can be used as it is."""
        return self.data is not None


def check_task(spec: TaskSpec, data: DataSettings, limit: int = 20) -> Check:
    """Look at every row of a described task.

    Args:
        spec: the task, as `custom.read_description` returns it.
        data: data seed and label words, as for a run.
        limit: problems listed at most.
    """
    problems: list[str] = []
    usable: dict[str, list[Example]] = {}
    said: list[str] = []
    for split, name in _named(spec):
        rows = usable.setdefault(split, [])
        try:
            for where, read in _parts(spec, split, name):
                found: list[str] = []
                before = len(rows)
                try:
                    for example in _examples(spec, where, read, found, said):
                        rows.append(example)
                except DtvgError as error:
                    found.append(str(error))
                if found and said:
                    said[-1] += f", {len(rows) - before} usable"
                problems += found
        except DtvgError as error:
            problems.append(str(error))
    for split, rows in usable.items():
        if not rows and not problems:
            problems.append(f"Split '{split}' has no rows; give it at least one.")
    problems += _missing_classes(spec, usable.get("train", []))
    loaded = None
    if not problems:
        try:
            loaded = load_fresh(spec, data)
        except DtvgError as error:
            problems.append(str(error))
    return Check(
        spec=spec,
        problems=tuple(problems[:limit]),
        more=max(0, len(problems) - limit),
        usable={split: len(rows) for split, rows in usable.items()},
        balance={split: _balance(spec, rows) for split, rows in usable.items()},
        train=tuple(usable.get("train", [])),
        data=loaded,
        found=tuple(said),
    )


def _balance(spec: TaskSpec, rows: list[Example]) -> dict[str, int]:
    counts = Counter(e.target for e in rows)
    return {word: counts[word] for word in spec.labels}


def _missing_classes(spec: TaskSpec, train: list[Example]) -> list[str]:
    """Name labels that no training row has: most likely misspelt in the description."""
    if not train or not isinstance(spec.convert, Converter):
        return []
    held = {e.label for e in train}
    return [
        f"Label '{value}' of '{spec.described_in}' occurs in no training row; is it spelled as in "
        f"column '{spec.label_column}'?"
        for index, value in enumerate(spec.convert.values)
        if index not in held
    ]


def _named(spec: TaskSpec) -> list[tuple[str, str]]:
    """Return split and file, glob, folder or hub split of everything a task reads."""
    if spec.files:
        return list(spec.files)
    names = {"train": spec.split.train, "validation": spec.split.validation}
    if spec.split.test:
        names["test"] = spec.split.test
    return list(names.items())


def _parts(spec: TaskSpec, split: str, name: str) -> Iterator[tuple[str, Path | str]]:
    """Yield name for messages, and file or hub split, of all that a name stands for."""
    if not spec.files:
        yield f"{hub.hub_name(spec)}, split {name}", name
        return
    for path in files.own_files(spec, Path(name), split):
        yield f"'{path}'", path


def _examples(
    spec: TaskSpec, where: str, place: Path | str, found: list[str], said: list[str]
) -> Iterator[Example]:
    """Yield the usable rows of one file; add what is wrong with the others to `found`."""
    if isinstance(place, str):
        table = hub.read_hub(spec, place, ())
    else:
        collected: list[DataError] = []
        try:
            table = files.read_file(place, spec, collected)
        finally:
            found += [str(problem) for problem in collected]
    words = finding_of(table) or "a data set of the hub"
    said.append(f"{where} is read as {words}: {table.num_rows} rows")
    convert = spec.convert
    if not isinstance(convert, Converter):
        return
    for number, row in enumerate(table.to_pylist(), start=1):
        wrong = convert.problems(row)
        at = f"row {row.get(ROW, number)}" + (f" (line {row[LINE]})" if LINE in row else "")
        found += [
            f"{where}, {at}, column '{p.column}': got {p.got!r}, allowed: {p.allowed}."
            for p in wrong
        ]
        if not wrong:
            yield from convert(row)


FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._ -]{0,99}")


def check_given(
    name: str, text: str, uploads: Mapping[str, bytes], data: DataSettings, limit: int = 20
) -> Check:
    """Check a description and the files given with it; nothing is kept.

    Args:
        name: of the task; its description may say otherwise, and must where this is empty.
        text: the YAML.
        uploads: files by name, which lie beside the description.
        data: data seed and label words.
        limit: problems listed at most.

    Raises:
        ConfigError, DataError: for a description or name that cannot be used.
    """
    name = name or name_in(text)
    _allowed(name, uploads)
    with tempfile.TemporaryDirectory() as folder:
        for file, content in uploads.items():
            (Path(folder) / file).write_bytes(content)
        if not uploads:  # then the files lie in the folder of descriptions already
            for there in (paths.home() / "tasks").glob("*"):
                if ending_of(there) or there.is_dir():
                    (Path(folder) / there.name).symlink_to(there)
        try:
            spec = parse_description(text, Path(folder) / f"{name}.yaml")
        except ConfigError as error:
            raise ConfigError(str(error).replace(f"{folder}/", "")) from None
        done = check_task(spec, data, limit)
        named = tuple(problem.replace(f"{folder}/", "") for problem in done.problems)
        found = tuple(words.replace(f"{folder}/", "") for words in done.found)
        return replace(done, problems=named, found=found)


def keep_checked(name: str, text: str, uploads: Mapping[str, bytes]) -> Path:
    """Keep a description and files that were found sound; their rows are not read again.

    A task with files gets a folder of its own, so that files of one name never meet.

    Args:
        name: as its description says.
        text: the YAML.
        uploads: files by name.

    Raises:
        ConfigError, DataError: something of that name is there, or the disk refuses.
    """
    _allowed(name, uploads)
    root = paths.home() / "tasks"
    path = root / name / f"{name}.yaml" if uploads else root / f"{name}.yaml"
    if name in all_tasks() or (root / f"{name}.yaml").exists() or (root / name).exists():
        raise ConfigError(f"A task '{name}' exists already; give yours another name.")
    try:
        root.mkdir(parents=True, exist_ok=True)
        if uploads:
            _fill(root, name, text, uploads)
        else:
            replace_text(path, text)
    except OSError as error:
        raise DataError(f"'{root}' cannot be written ({error.strerror}).") from None
    return path


def _fill(root: Path, name: str, text: str, uploads: Mapping[str, bytes]) -> None:
    """Make a task's folder aside and put it in its place whole."""
    aside = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root))
    try:
        for file, content in uploads.items():
            (aside / file).write_bytes(content)
        (aside / f"{name}.yaml").write_text(text, encoding="utf-8")
        aside.chmod(0o755)
        aside.rename(root / name)
    except OSError:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def replace_text(path: Path, text: str) -> None:
    """Write a description so that nobody reads half of it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def check_edited(spec: TaskSpec, text: str, data: DataSettings, limit: int = 20) -> Check:
    """Check another description of a task that is there; nothing is kept.

    Args:
        spec: the task as it is.
        text: the new YAML.
        data: data seed and label words.
        limit: problems listed at most.

    Raises:
        ConfigError, DataError: the description cannot be used, or names another task.
    """
    made = parse_description(text, Path(spec.described_in))
    if made.name != spec.name:
        raise ConfigError(
            f"The description names the task '{made.name}'; it has to stay '{spec.name}'. Add "
            "another task instead."
        )
    return check_task(made, data, limit)


def _allowed(name: str, uploads: Mapping[str, bytes]) -> None:
    """Refuse names that leave the folder or are no data files."""
    if not name:
        raise ConfigError("The task has no name; give it one, such as my-reviews.")
    if not is_name(name):
        raise ConfigError(f"Task name '{name}' cannot be used; {rule_for(name)}.")
    for file in uploads:
        check_file_name(file)


def check_file_name(file: str) -> None:
    """Refuse the name of a file that leaves its folder or is no data file.

    Raises:
        DataError: with what is allowed.
    """
    if not FILE.fullmatch(file) or not ending_of(Path(file)):
        raise DataError(
            f"'{file[:100]}' cannot be used; give files with names such as train.csv, of type "
            f"{', '.join(ENDINGS)}."
        )
