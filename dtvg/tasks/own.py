"""Your own task without code: a YAML description becomes a `TaskSpec`, used by name everywhere.

Descriptions are read from `<home>/tasks/*.yaml` (and the shipped `data/tasks`), or given by
path; relative files resolve against the description's folder. The template and the converter
are frozen data, so that a described task is equal to itself after being read again.
docs/tasks.md "Your own task without code".
"""

from __future__ import annotations

import codecs
import functools
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from dtvg import paths, plain_text
from dtvg.errors import ConfigError, unknown
from dtvg.names import is_name, rule_for
from dtvg.tasks.converter import (
    UNLABELLED,
    Converter,
    Pieces,
    columns_of,
    key_of,
    parse_template,
)
from dtvg.tasks.dialect import DELIMITERS, Dialect
from dtvg.tasks.labels import trimmed
from dtvg.tasks.metrics import METRICS
from dtvg.tasks.places import local_instead, splits_in
from dtvg.tasks.scoring import normal
from dtvg.tasks.spec import SplitPlan, TaskSpec, usual_answer

__all__ = ["Converter", "Description", "described", "parse_description", "parse_template",
           "read_description"]  # fmt: skip
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


def _delimiter(value: Any) -> Any:
    names = {name: sign for sign, name in DELIMITERS.items()}
    return names.get(value, value) if isinstance(value, str) else value


class Written(BaseModel):
    """How text files are written; what is not given is found in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    delimiter: Annotated[str, BeforeValidator(_delimiter)] = Field(
        "", max_length=1, description="A character, or comma, semicolon, tab, pipe, space."
    )
    quoting: Literal["standard", "none"] | None = Field(
        None, description="none: quotation marks are ordinary characters."
    )
    quote: str = Field('"', min_length=1, max_length=1, description="The quotation mark.")
    escape: str = Field("", max_length=1, description="Character before one meant as it stands.")
    header: list[str] | Literal[True] = Field(
        True, description="Names of the columns, in order, where no line gives them."
    )
    encoding: str = Field("", description="Such as utf-8, utf-16, windows-1252.")

    @field_validator("encoding")
    @classmethod
    def known(cls, value: str) -> str:
        """Refuse an encoding that Python does not know."""
        try:
            "a".encode(value or "utf-8")  # some that Python knows, such as zip, are none of text
            return codecs.lookup(value).name if value else ""
        except (LookupError, UnicodeError):
            raise ValueError(
                "not an encoding; allowed are utf-8, utf-16, windows-1252, latin-1 and others"
            ) from None

    @field_validator("delimiter", "quote", "escape")
    @classmethod
    def one_byte(cls, value: str) -> str:
        """Refuse what cannot separate cells."""
        if value and (ord(value) > 127 or value in "\r\n\0"):
            raise ValueError("one ASCII character, which is no line break")
        return value

    def as_dialect(self) -> Dialect:
        """Return the same as plain data."""
        header = () if self.header is True else tuple(self.header)
        return Dialect(
            self.delimiter, self.quoting or "", self.quote, self.escape, header, self.encoding
        )


class Description(BaseModel):
    """The keys of a task's YAML."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str | None = Field(None, description="What it is called; default: the file's name.")
    title: str = Field("", description="One line on what the task is.")
    files: Annotated[
        dict[Split, Annotated[list[str], BeforeValidator(_as_list)]] | None,
        BeforeValidator(_one_file),
    ] = Field(
        None,
        description="Files by split, or only one; a glob, or a folder such as save_to_disk writes.",
    )
    dialect: Written | None = Field(None, description="How text files are written.")
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
    unlabelled: Literal["refuse", "leave_out"] | list[Any] = Field(
        "refuse",
        description="leave_out: rows without a label (empty, null, -1) are left out; a list of "
        "further values that stand for no label.",
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
    roots = [root.absolute() for root in folders()]
    for path in _paths():
        try:
            stat = path.stat()
            given, bare = _kept(path.absolute(), stat.st_mtime_ns, stat.st_size)
            spec = _spec(given, path.absolute(), bare)  # anew: what a folder holds may change
        except (ConfigError, OSError) as error:
            problems.setdefault(path.stem, str(error))
            continue
        if spec.name in taken:
            problems[spec.name] = _already(path, spec.name, "comes with the workbench")
            continue
        other = tasks.setdefault(spec.name, spec).described_in
        same_root = _root_of(roots, Path(other)) == _root_of(roots, path)
        if other != spec.described_in and same_root:
            problems[path.stem] = _already(path, spec.name, f"is described in '{other}'")
    return tasks, problems


def _already(path: Path, name: str, why: str) -> str:
    return f"'{path}': task '{name}' {why}; give yours another name."


def _root_of(roots: Sequence[Path], path: Path) -> Path | None:
    """Return in which of the folders of descriptions a file lies; of two, the first one wins."""
    return next((root for root in roots if root in path.absolute().parents), None)


def _paths() -> list[Path]:
    """Return the description files there are, the person's own first."""
    found: list[Path] = []
    for folder in folders():
        if folder.is_dir():
            found += [p for p in sorted(folder.glob("*.y*ml")) if p.suffix in (".yaml", ".yml")]
            inside = (place / f"{place.name}.yaml" for place in sorted(folder.iterdir()))
            found += [path for path in inside if path.is_file() and path.parent.name[0] != "."]
    return [path for path in found if not path.name.startswith(".")]


@functools.lru_cache(maxsize=256)
def _kept(path: Path, changed: int, size: int) -> tuple[Description, bool]:
    """Read one description; the other arguments make a changed file a new entry."""
    return _parsed(_text_of(path), path)


def read_description(path: str | Path) -> TaskSpec:
    """Read a task's YAML file.

    Raises:
        ConfigError: with one sentence per problem: key, what was given, what is allowed.
    """
    path = paths.expanded(path).absolute()
    return parse_description(_text_of(path), path)


def _text_of(path: Path) -> str:
    """Return the text of a description's file."""
    if path.is_dir():
        raise ConfigError(f"'{path}' is a folder; give the YAML file that describes a task.")
    try:
        return path.read_bytes().decode("utf-8-sig")
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


def parse_description(text: str, path: Path) -> TaskSpec:
    """Turn the text of a description into a task.

    Args:
        text: YAML.
        path: the file it is or will be; its folder is where relative files lie.

    Raises:
        ConfigError: with one sentence per problem.
    """
    given, bare = _parsed(text, path)
    return _spec(given, path, bare)


def name_in(text: str) -> str:
    """Return the name that a description gives its task, empty where it leaves it to its file's.

    Raises:
        ConfigError: with one sentence per problem.
    """
    return _parsed(text, Path("description"))[0].name or ""


def _parsed(text: str, path: Path) -> tuple[Description, bool]:
    """Return what a description says, and whether it names one file or folder for all splits."""
    try:
        values = plain_text.load_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"'{path}' is not valid YAML: {plain_text.why(error)}.") from None
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
    return description, isinstance(values.get("files"), str)


def _sentences(error: ValidationError) -> list[str]:
    """Return one sentence per problem that pydantic found."""
    sentences = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"] if "[" not in str(part))
        if item["type"] == "extra_forbidden":
            parts: dict[str, type[BaseModel]] = {"hub": Hub, "dialect": Written}
            within = parts.get(key.partition(".")[0] if "." in key else "", Description)
            sentences.append(unknown("key", key.rpartition(".")[2], within.model_fields))
            continue
        message = item["msg"].removeprefix("Value error, ")
        if key == "text" and isinstance(item.get("input"), dict):
            message = "YAML takes braces for a mapping; put the text in quotation marks"
        sentences.append(f"'{key}': {message} (got {str(item.get('input'))[:80]!r}).")
    return list(dict.fromkeys(sentences))


def _spec(given: Description, path: Path, bare: bool) -> TaskSpec:
    """Check what pydantic cannot, and build the task; `bare`: one file or folder for all splits."""
    wrong: list[str] = []
    name = given.name or path.stem.lower()
    if not is_name(name):
        wrong.append(f"'name': got '{name}'; {rule_for(name)}.")
    pieces = _pieces(given, name, wrong)
    values, words = _classes(given.labels, wrong)
    _metrics(given.metrics, len(words), wrong)
    if (given.files is None) == (given.hub is None):
        wrong.append("Give either 'files' or 'hub', but not both, to say where the rows are.")
    elif given.files is not None and "train" not in given.files:
        wrong.append("'files' has no 'train'; name the training file.")
    if given.hub is not None:
        wrong += local_instead(given.hub.id, path.parent)
    files = _files(given.files or {}, path.parent, bare, wrong)
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
        metrics=tuple(dict.fromkeys(given.metrics)),
        split=SplitPlan(given.train_rows or 0, hub.train, hub.validation, hub.test, rule="own"),
        label_column=given.label,
        max_target_tokens=given.max_target_tokens or usual_answer(words),
        revision=hub.revision,
        paper=given.paper,
        licence=given.licence,
        convert=Converter(pieces, given.label, values, words, _unlabelled(given, values)),
        reader="own",
        files=files,
        described_in=str(path),
        dialect=given.dialect.as_dialect() if given.dialect else None,
        label_values=values,
    )


def _unlabelled(given: Description, values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the values that stand for no label; a label of the task is none of them."""
    if given.unlabelled == "refuse":
        return ()
    more = given.unlabelled if isinstance(given.unlabelled, list) else []
    return tuple(dict.fromkeys([*[v for v in UNLABELLED if v not in values], *map(key_of, more)]))


def _files(
    files: Mapping[Split, list[str]], folder: Path, bare: bool, wrong: list[str]
) -> tuple[tuple[str, str], ...]:
    """Return (split, absolute path) for each name; a bare folder gives every split it holds."""
    named = [
        (split, str((folder / paths.expanded(_place(one, wrong))).absolute()))
        for split, several in files.items()
        for one in several
    ]
    if bare and len(named) == 1:
        held = splits_in(Path(named[0][1]))
        if "train" in held:
            return tuple((split, str(path)) for split in SPLITS for path in held.get(split, []))
    return tuple(named)


def _place(name: str, wrong: list[str]) -> str:
    """Return a file's name with environment variables put in."""
    put_in = os.path.expandvars(name)
    left = re.search(r"\$\{?(\w+)\}?", put_in)
    if left and not Path(put_in).exists():
        wrong.append(
            f"'files': '{name}' names the environment variable {left[1]}, which is not set; set "
            "it, or write the folder out."
        )
    return put_in


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


def _word(value: Any) -> str:
    """Return the word that is answered for a label; text keeps a space in front."""
    return trimmed(value) if isinstance(value, str) else key_of(value)


def _classes(labels: Any, wrong: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return labels as the column holds them, and the words answered for them."""
    if labels is None:
        return (), ()
    pairs = list(labels.items()) if isinstance(labels, dict) else [(one, one) for one in labels]
    values, words = tuple(key_of(a) for a, _ in pairs), tuple(_word(b) for _, b in pairs)
    yes_no = any(isinstance(one, bool) for pair in pairs for one in pair)
    hint = " (YAML reads yes and no as true and false: write them in quotes)" if yes_no else ""
    if len(values) < 2:
        wrong.append(f"'labels': got {len(values)}, a classification task needs at least two.")
    for what in (values, words):
        twice = [one for one, count in Counter(what).items() if count > 1]
        if twice:
            wrong.append(f"'labels': '{twice[0]}' occurs twice{hint}.")
            break
        forms: dict[str, str] = {}
        alike = [(forms.setdefault(normal(one), one), one) for one in what]
        pair = next((pair for pair in alike if pair[0] != pair[1]), None)
        if pair:
            wrong.append(
                f"'labels': '{pair[0]}' and '{pair[1]}' differ only in white space or in how their "
                "letters are encoded (Unicode form), which answers are compared without."
            )
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
