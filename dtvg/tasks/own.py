"""Your own task without code: a YAML description becomes a `TaskSpec`, used by name everywhere.

Descriptions are read from `<home>/tasks/*.yaml` (and the shipped `data/tasks`), or given by
path; relative files resolve against the description's folder. The template and the converter
are frozen data, so that a described task is equal to itself after being read again.
docs/tasks.md "Your own task".
"""

from __future__ import annotations

import functools
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from dtvg import paths
from dtvg.errors import ConfigError, nearest, unknown
from dtvg.names import NAME_RULE, is_name
from dtvg.tasks.metrics import METRICS
from dtvg.tasks.spec import Example, FieldProblem, SplitPlan, TaskSpec

FAMILY = "your own"
SPLITS = ("train", "validation", "test")
Split = Literal["train", "validation", "test"]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _one_file(value: Any) -> Any:
    return {"train": value} if isinstance(value, str | list) else value


class Hub(BaseModel):
    """A data set of the hub."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1, description="OWNER/NAME")
    config: str | None = Field(None, description="Configuration of the data set.")
    revision: str | None = Field(None, description="Commit, tag or branch; give a commit.")
    train: str = "train"
    validation: str = "validation"
    test: str | None = Field(None, description="A labelled test split, where there is one.")


def _hub(value: Any) -> Any:
    return {"id": value} if isinstance(value, str) else value


class Description(BaseModel):
    """The keys of a task's YAML."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str | None = Field(None, description="What it is called; default: the file's name.")
    title: str = Field("", description="One line on what the task is.")
    files: Annotated[
        dict[Split, Annotated[list[str], BeforeValidator(_as_list)]] | None,
        BeforeValidator(_one_file),
    ] = Field(None, description="Parquet, CSV or JSON-lines files by split, or only one file.")
    hub: Annotated[Hub | None, BeforeValidator(_hub)] = Field(
        None, description="A hub data set in place of files."
    )
    text: str | None = Field(None, description="Template: text with columns in braces.")
    fields: list[str | dict[str, str]] | None = Field(
        None, description="In place of text: columns, or 'word: column' pairs, in order."
    )
    label: str = Field("label", description="Column of the answer.")
    labels: dict[Any, Any] | list[Any] | None = Field(
        None, description="Labels in class order, or 'label: word' pairs; none: free text."
    )
    metrics: list[str] = Field(["accuracy"], min_length=1, description="Names of metrics.")
    max_target_tokens: int | None = Field(None, ge=2, le=1024)
    train_rows: int | None = Field(
        None, ge=1, description="Official training rows; default: as many as there are."
    )
    licence: str = ""
    paper: str = ""


def folders() -> tuple[Path, ...]:
    """Return where descriptions are looked for, in this order."""
    return tuple(dict.fromkeys([paths.home() / "tasks", paths.shipped() / "tasks"]))


def described(taken: Iterable[str]) -> tuple[dict[str, TaskSpec], dict[str, str]]:
    """Read all descriptions.

    Args:
        taken: names of tasks that come with the package.

    Returns:
        Tasks by name, and what is wrong with the others by name.
    """
    tasks: dict[str, TaskSpec] = {}
    problems: dict[str, str] = {}
    for path in _paths():
        try:
            stat = path.stat()
            spec = _read(path, stat.st_mtime_ns, stat.st_size)
        except (ConfigError, OSError) as error:
            problems.setdefault(path.stem, str(error))
            continue
        if spec.name in taken:
            problems[spec.name] = _already(path, spec.name)
        else:
            tasks.setdefault(spec.name, spec)
    return tasks, problems


def _already(path: Path, name: str) -> str:
    return f"'{path}': task '{name}' comes with the workbench; give yours another name."


def _paths() -> list[Path]:
    """Return the description files there are, the person's own first."""
    found: list[Path] = []
    for folder in folders():
        if folder.is_dir():
            found += [p for p in sorted(folder.glob("*.y*ml")) if p.suffix in (".yaml", ".yml")]
    return [path for path in found if not path.name.startswith(".")]


@functools.lru_cache(maxsize=256)
def _read(path: Path, changed: int, size: int) -> TaskSpec:
    """Read one description; the other arguments make a changed file a new entry."""
    return read_description(path)


def read_description(path: str | Path) -> TaskSpec:
    """Read a task's YAML file.

    Raises:
        ConfigError: with one sentence per problem: key, what was given, what is allowed.
    """
    path = Path(path).expanduser().absolute()
    if path.is_dir():
        raise ConfigError(f"'{path}' is a folder; give the YAML file that describes a task.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"There is no file '{path}'; give the YAML file that describes a task."
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"'{path}' is not UTF-8 text (byte {error.start} is {error.object[error.start]:#04x}); "
            "save it as UTF-8."
        ) from None
    except OSError as error:
        raise ConfigError(f"'{path}' cannot be read ({error.strerror}).") from None
    return parse_description(text, path)


def parse_description(text: str, path: Path) -> TaskSpec:
    """Turn the text of a description into a task.

    Args:
        text: YAML.
        path: the file it is or will be; its folder is where relative files lie.

    Raises:
        ConfigError: with one sentence per problem.
    """
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"'{path}' is not valid YAML: {' '.join(str(error).split())[:300]}."
        ) from None
    except RecursionError:
        raise ConfigError(f"'{path}' is not a task description: it is nested too deeply.") from None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        why = " ".join(str(error).split())[:200]  # such as `!!int x` or 2024-02-30
        raise ConfigError(f"'{path}' contains a value that cannot be read ({why}).") from None
    if not isinstance(values, dict):
        raise ConfigError(
            f"'{path}' has no keys; a description has lines such as 'files: {{train: my.csv}}', "
            "'text: \"premise: {premise}\"' and 'labels: [...]'."
        )
    try:
        description = Description.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"'{path}': {' '.join(_sentences(error))}") from None
    return _spec(description, path)


def _sentences(error: ValidationError) -> list[str]:
    """Return one sentence per problem that pydantic found."""
    sentences = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"] if "[" not in str(part))
        if item["type"] == "extra_forbidden":
            known = Hub.model_fields if key.startswith("hub.") else Description.model_fields
            sentences.append(unknown("key", key.rpartition(".")[2], known))
            continue
        message = item["msg"].removeprefix("Value error, ")
        sentences.append(f"'{key}': {message} (got {str(item.get('input'))[:80]!r}).")
    return list(dict.fromkeys(sentences))


def _spec(given: Description, path: Path) -> TaskSpec:
    """Check what pydantic cannot, and build the task."""
    wrong: list[str] = []
    name = given.name or path.stem.lower()
    if not is_name(name):
        wrong.append(f"'name': got '{name}'; {NAME_RULE}.")
    pieces = _pieces(given, name, wrong)
    values, words = _classes(given.labels, wrong)
    _metrics(given.metrics, len(words), wrong)
    if (given.files is None) == (given.hub is None):
        wrong.append("Give either 'files' or 'hub', but not both, to say where the rows are.")
    elif given.files is not None and "train" not in given.files:
        wrong.append("'files' has no 'train'; name the training file.")
    if wrong:
        raise ConfigError(f"'{path}': {' '.join(wrong)}")
    hub = given.hub or Hub(id="files")
    columns = columns_of(pieces)
    return TaskSpec(
        name=name,
        title=given.title or name,
        family=FAMILY,
        dataset=hub.id if given.hub else "",
        config=hub.config,
        folder=name,
        fields=tuple((column, column) for column in columns),
        labels=words,
        metrics=tuple(given.metrics),
        split=SplitPlan(given.train_rows or 0, hub.train, hub.validation, hub.test, rule="own"),
        label_column=given.label,
        max_target_tokens=given.max_target_tokens or (8 if words else 64),
        revision=hub.revision,
        paper=given.paper,
        licence=given.licence,
        convert=Converter(pieces, given.label, values, words),
        reader="own",
        files=_files(given.files or {}, path.parent),
        described_in=str(path),
    )


def _files(files: Mapping[Split, list[str]], folder: Path) -> tuple[tuple[str, str], ...]:
    """Return (split, absolute path) for each file."""
    return tuple(
        (split, str((folder / Path(one).expanduser()).absolute()))
        for split, several in files.items()
        for one in several
    )


def _pieces(given: Description, name: str, wrong: list[str]) -> Pieces:
    """Return the template: as written, or the literature's way from a list of fields."""
    if (given.text is None) == (not given.fields):
        wrong.append(
            "Give either 'text' (a template such as \"premise: {premise}\") or 'fields' "
            "(columns in order)."
        )
        return ()
    if given.text is not None:
        try:
            return parse_template(given.text)
        except ValueError as error:
            wrong.append(f"'text': {error}.")
            return ()
    pairs = []
    for entry in given.fields or []:
        pairs += [(entry, entry)] if isinstance(entry, str) else list(entry.items())
    front = [f"{name} ", *[" "] * (len(pairs) - 1)]
    return tuple(
        (f"{gap}{word}: ", column) for gap, (word, column) in zip(front, pairs, strict=True)
    )


def _classes(labels: Any, wrong: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return labels as the column holds them, and the words answered for them."""
    if labels is None:
        return (), ()
    pairs = list(labels.items()) if isinstance(labels, dict) else [(one, one) for one in labels]
    values, words = tuple(key_of(a) for a, _ in pairs), tuple(key_of(b) for _, b in pairs)
    yes_no = any(isinstance(one, bool) for pair in pairs for one in pair)
    hint = " (YAML reads yes and no as true and false: write them in quotes)" if yes_no else ""
    if len(values) < 2:
        wrong.append(f"'labels': got {len(values)}, a classification task needs at least two.")
    for what in (values, words):
        twice = [one for one in dict.fromkeys(what) if what.count(one) > 1]
        if twice:
            wrong.append(f"'labels': '{twice[0]}' occurs twice{hint}.")
            break
    if any(not one or isinstance(v, dict | list) for pair in zip(values, words, strict=True)
           for one in pair for v in (one,)):  # fmt: skip
        wrong.append("'labels': a label or its word is empty; write each as text or a number.")
    return values, words


def _metrics(names: list[str], classes: int, wrong: list[str]) -> None:
    """Refuse metrics that do not exist, or that cannot score such a task."""
    for name in names:
        if name not in METRICS:
            wrong.append(unknown("metric", name, METRICS))
            continue
        misfit = METRICS[name].misfit(classes, groups=False)
        if misfit:
            wrong.append(f"'metrics': {misfit}; choose another metric, such as accuracy.")


Pieces = tuple[tuple[str, str | None], ...]
"""Literal text, then the column that follows it (None at the end)."""


def parse_template(text: str) -> Pieces:
    """Cut `premise: {premise} hypothesis: {hypothesis}` into literal text and columns.

    A column's name is taken as it stands, spaces and dots included; `{{` is a brace.

    Raises:
        ValueError: one sentence without its full stop.
    """
    try:
        parsed = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"the braces of '{text}' do not match ({error})") from None
    pieces = []
    for literal, column, form, conversion in parsed:
        if form or conversion:
            raise ValueError(f"'{{{column}}}' may contain only the name of a column")
        if column == "":
            raise ValueError("empty braces; write a column's name, such as {premise}")
        pieces.append((literal, column))
    if not any(column for _, column in pieces):
        raise ValueError(f"'{text}' names no column; write a column in braces, such as {{premise}}")
    return tuple(pieces)


def columns_of(pieces: Pieces) -> tuple[str, ...]:
    """Return the columns a template needs, each once."""
    return tuple(dict.fromkeys(column for _, column in pieces if column))


def key_of(value: Any) -> str:
    """Return a label as it is compared: 1, 1.0 and " 1 " are one label, true is `true`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


@dataclass(frozen=True)
class Converter:
    """What a described task does with a row; called as `TaskSpec.convert`."""

    pieces: Pieces
    label: str
    """Column of the answer."""
    values: tuple[str, ...] = ()
    """Labels as the column holds them, by class; empty: free text."""
    words: tuple[str, ...] = ()
    """What is answered for each class."""

    def __call__(self, row: Mapping[str, Any]) -> list[Example]:
        """Turn one row into its example.

        Raises:
            FieldProblem: the first of `problems`.
        """
        found = self.problems(row)
        if found:
            raise found[0]
        source = "".join(
            literal + (_text(row[column]) or "" if column else "")
            for literal, column in self.pieces
        )
        if not self.values:
            answers = tuple(_answers(row[self.label]))
            return [Example(source, answers[0], answers)]
        index = self.values.index(key_of(row[self.label]))
        word = self.words[index]
        return [Example(source, word, (word,), index)]

    def problems(self, row: Mapping[str, Any]) -> list[FieldProblem]:
        """Return everything in a row that cannot be used."""
        found = []
        for column in columns_of(self.pieces):
            if _text(row[column]) is None:
                found.append(FieldProblem(column, _shown(row[column]), "text"))
        value = row[self.label]
        if not self.values:
            if not _answers(value):
                found.append(FieldProblem(self.label, _shown(value), "an answer in words"))
        elif value is None or key_of(value) not in self.values:
            found.append(
                FieldProblem(self.label, _shown(value), allowed_labels(value, self.values))
            )
        return found


def allowed_labels(value: Any, values: Sequence[str]) -> str:
    """List the labels there are, the nearest one to what was found asked for first."""
    listing = ", ".join(values)
    match = nearest(key_of(value), values) if isinstance(value, str) else None
    return f"{listing} (did you mean '{match}'?)" if match else listing


def _shown(value: Any) -> Any:
    """Return a value short enough for a message."""
    return value[:60] + "…" if isinstance(value, str) and len(value) > 61 else value


def _text(value: Any) -> str | None:
    """Return a value as it is read in a text, None where it is none."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return key_of(value) if value == value else None
    if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        return ", ".join(value)
    return None


def _answers(value: Any) -> list[str]:
    """Return all accepted answers of a free-text column, empty where there is none."""
    if isinstance(value, list | tuple):
        return [v for v in value if isinstance(v, str) and v.strip()]
    text = _text(value)
    return [text] if text and text.strip() else []
