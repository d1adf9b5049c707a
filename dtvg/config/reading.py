"""Judging a configuration: plain values → configuration, what is wrong, what is worth knowing.

Everything that reads settings comes through `check` (or `build`, which raises): YAML files,
`--set`, the launch form and its grid, presets, forks and stored runs. A problem knows its place,
so that a form shows it beside the setting, and its sentence, which is the same everywhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from dtvg import paths, plain_text
from dtvg.config import settings_path
from dtvg.config.experiment import MISFIT, ExperimentConfig
from dtvg.config.storage import SECRET
from dtvg.errors import ConfigError, shortened, unknown
from dtvg.methods.specs import METHODS
from dtvg.methods.specs.base import STORED
from dtvg.names import NAME_PATTERN, NAME_RULE, rule_for

Place = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Problem:
    """One thing a configuration's author has to change, or should know."""

    place: Place
    """Keys down to the setting, e.g. `("optim", "steps")`; empty: the whole."""
    kind: str
    """What is the matter: `unknown`, `missing`, `empty`, `value`, `misfit`; a note: `no_run`,
    `not_used`."""
    sentence: str

    @property
    def setting(self) -> str:
        """The place as a dotted path."""
        return ".".join(map(str, self.place))


@dataclass(frozen=True)
class Checked:
    """What became of values: a configuration, or problems."""

    config: ExperimentConfig | None
    problems: tuple[Problem, ...] = ()
    """What has to change first; empty where there is a configuration."""
    notes: tuple[Problem, ...] = ()
    """What is allowed and yet may surprise."""


def check(values: Any) -> Checked:
    """Judge the values of an experiment.

    Args:
        values: nested mappings as they stand in YAML.
    """
    config, problems = judge(ExperimentConfig, values)
    notes = () if config is None else tuple(notes_on(config))
    return Checked(config, problems, notes)


def judge(
    model: type[Model], values: Any, stored: bool = False
) -> tuple[Model | None, tuple[Problem, ...]]:
    """Return the configuration that values make, or everything that is wrong with them.

    Args:
        model: an experiment's, a run's, or a section's class.
        values: nested mappings as they stand in YAML.
        stored: whether they are of something that was made, and is to open whatever was allowed.
    """
    try:
        return model.model_validate(values, context=STORED if stored else None), ()
    except ValidationError as error:
        found = error.errors()
        return None, tuple(_problem(item, model) for item in found if not _follows(item, found))


def build(model: type[Model], values: Any, where: str, stored: bool = False) -> Model:
    """Build a configuration of any kind from plain values.

    Args:
        model: an experiment's, a run's, or a section's class.
        values: nested mappings as they stand in YAML.
        where: what to call the origin in messages, e.g. a file name.
        stored: as of `judge`.

    Raises:
        ConfigError: with one sentence per problem: key, what was given, what is allowed.
    """
    config, problems = judge(model, values, stored)
    if config is None:
        raise ConfigError(summary(problems, where))
    return config


def summary(problems: Iterable[Problem], where: str) -> str:
    """Return all problems in one text, after the name of what they stand in."""
    return f"{where}: " + " ".join(problem.sentence for problem in problems)


def build_config(values: Mapping[str, Any], where: str = "configuration") -> ExperimentConfig:
    """Build an experiment configuration from plain values; see `build`.

    Raises:
        ConfigError: with one sentence per problem: key, what was given, what is allowed.
    """
    return build(ExperimentConfig, values, where)


Overrides = str | Iterable[str] | Mapping[str, Any]
"""`optim.steps=300`, several such texts, or values by dotted name."""


def load_config(path: str | Path, overrides: Overrides = ()) -> ExperimentConfig:
    """Read an experiment configuration from YAML, then apply `a.b=value` overrides.

    Args:
        path: a YAML file with the fields of `ExperimentConfig`.
        overrides: settings that win over the file: texts such as `optim.steps=300`, or a mapping
            such as `{"optim.steps": 300}`.

    Raises:
        ConfigError: if the file is absent, is no YAML mapping, or holds something not allowed.
    """
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(f"A configuration is read from a YAML file, got {shortened(repr(path))}.")
    path = Path(path)
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(plain_text.MOST_CHARACTERS + 1)
    except FileNotFoundError:
        raise ConfigError(
            f"There is no configuration file '{path}'. Check the path, or start from a copy of "
            f"'{paths.demo() / 'experiment.yaml'}'."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"'{path}' cannot be read as text ({error}); give a YAML file.") from None
    values = read_yaml(text, f"'{path}'")
    return build_config(with_overrides(values, overrides), str(path))


YAML_ERRORS = (
    yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, OverflowError,
    RecursionError,
)  # fmt: skip
"""What PyYAML raises on text that is none: also for values such as `!!int x` or 2024-02-30."""


def read_yaml(text: str, where: str) -> dict[str, Any]:
    """Return the mapping that a YAML text holds.

    Args:
        text: of a configuration.
        where: what to call it in messages.

    Raises:
        ConfigError: it is not valid YAML, or no mapping.
    """
    try:
        values = plain_text.load_yaml(text)
    except YAML_ERRORS as error:
        raise ConfigError(
            f"{where} cannot be read; it is not valid YAML: {plain_text.why(error)}."
        ) from None
    if not isinstance(values, dict):
        raise ConfigError(
            f"{where} contains no settings; a configuration is a mapping with lines such "
            "as 'targets: [rte]'."
        )
    return values


def with_overrides(values: Mapping[str, Any], overrides: Overrides) -> dict[str, Any]:
    """Return the values with settings from texts such as `optim.steps=300`.

    Args:
        values: nested mappings as they stand in YAML.
        overrides: path and value; a text's value is read by the setting's type, a mapping's is
            taken as it is.

    Raises:
        ConfigError: a text has no `=`, or its path leads through a value that is not a group.
    """
    changed = dict(values)
    if isinstance(overrides, Mapping):
        for path, value in _flat(overrides):
            changed = settings_path.put(changed, path, value, ExperimentConfig)
        return changed
    for override in [overrides] if isinstance(overrides, str) else overrides:
        if not isinstance(override, str):
            raise ConfigError(
                f"An override is a text such as 'optim.steps=300', not {shortened(repr(override))}."
            )
        key, equals, text = override.partition("=")
        path = key.strip()
        if not equals or not path:
            hint = f" {settings_path.explain(path, ExperimentConfig)}" if path else ""
            raise ConfigError(
                f"Override '{override}' has no '='; write it as optim.steps=300.{hint}"
            )
        leaf = settings_path.find(path, ExperimentConfig)
        try:
            value = settings_path.parse(leaf, text)
            changed = settings_path.put(changed, path, value, ExperimentConfig)
        except ConfigError as error:
            raise ConfigError(f"Override '{override}': {error}") from None
    return changed


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Return settings by dotted name; a group that is given as a mapping is taken apart."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and settings_path.find(path, ExperimentConfig) is None:
            yield from _flat(value, f"{path}.")
        else:
            yield path, value


def notes_on(config: ExperimentConfig) -> Iterable[Problem]:
    """Say which targets have no run of some methods, and which settings nobody uses."""
    yield from _names_without_runs(config)
    for row, method in enumerate(config.methods):
        for key, why in method.idle.items():
            said = f"'{key}' has no effect on '{method.label}': {why}."
            yield Problem(("methods", row, key), "not_used", said)
    data = config.data
    for key, named, what in (
        ("label_words", data.label_words, "label words of '{}' are"),
        ("split_rules", data.split_rules, "split rule of '{}' is"),
    ):
        for task in [one for one in named if one not in {*config.sources, *config.targets}]:
            said = f"The {what.format(task)} not used: it is neither a source nor a target."
            yield Problem(("data", key, task), "not_used", said)
    if data.few_shot is None:
        for key in ("few_shot_per_class", "few_shot_validation"):
            if getattr(data, key) != type(data).model_fields[key].default:
                said = f"'data.{key}' has no effect: without 'data.few_shot' targets keep all rows."
                yield Problem(("data", key), "not_used", said)
    for row, target in enumerate(config.targets):
        idle = idle_methods(config, target)
        if idle:
            yield Problem(
                ("targets", row),
                "no_run",
                f"No run of {', '.join(idle)} on target '{target}': none of the listed sources can "
                "be used. A target is not its own source unless allow_self is on.",
            )


def _names_without_runs(config: ExperimentConfig) -> Iterable[Problem]:
    """Say which names are those of entries alone: the runs that such an entry stands for have
    other labels, so nothing is done for them."""
    named = (("seeds_of",), config.seeds_of), (("logging", "detail_of"), config.logging.detail_of)
    if not any(names for _, names in named):
        return
    made = [one for target in config.targets for one in config.methods_of(target)]
    known = {name for one in made for name in (one.name, one.label)}
    entries = {entry.label: entry.name for entry in config.methods}
    for place, names in named:
        for name in names:
            if name not in known and entries.get(name) in known:
                yield Problem(
                    (*place, name),
                    "not_used",
                    f"'{'.'.join(place)}' says nothing of any run with '{name}', since the runs of "
                    f"this entry have labels of their own; name '{entries[name]}' there.",
                )


def idle_methods(config: ExperimentConfig, target: str) -> list[str]:
    """Return the labels of the methods that have no run on a target, without making the runs."""
    sources = config.sources_of(target)
    return [
        method.label
        for method in config.methods
        if (not sources or set(method.named_sources()) - set(sources))
        and not method.expand(sources)
    ]


# ---- pydantic's errors as sentences

EMPTY = "the configuration is empty; give it settings, or restore the file from a copy."
_WORDS = {
    "int_parsing": "give a whole number",
    "int_type": "give a whole number",
    "int_from_float": "give a whole number",
    "int_parsing_size": "give a whole number that is not as large",
    "float_parsing": "give a number",
    "float_type": "give a number",
    "bool_parsing": "give true or false",
    "bool_type": "give true or false",
    "string_type": "give text",
    "dict_type": "give a mapping such as {name: value}",
    "tuple_type": "give a list such as [one, two]",
    "too_short": "list at least one",
}
"""What to give, by pydantic's kind of error; its own words are about parsing."""


def _problem(item: Any, model: type[BaseModel]) -> Problem:
    """Return one of pydantic's errors with its place, its kind and a sentence."""
    location = item["loc"]
    if item["type"] == MISFIT:
        return Problem(tuple(item["ctx"]["place"]), "misfit", item["ctx"]["sentence"])
    at = _tag_at(location)
    place = location if at is None else (*location[:at], *location[at + 1 :])
    if item["type"] == "extra_forbidden":
        method = None if at is None else METHODS.get(str(location[at]))
        parents = [str(part) for part in place[:-1]]
        known = list(method.model_fields) if method else settings_path.keys(model, parents)
        return Problem(place, "unknown", unknown("key", ".".join(map(str, place)), known))
    kind, sentence = _said(item, place)
    return Problem(place, kind, sentence[:-1] if sentence.endswith("..") else sentence)


def _follows(item: Any, found: Iterable[Any]) -> bool:
    """Whether a list is too short only because its entries were refused, which is said of them."""
    place = item["loc"]
    return item["type"] == "too_short" and any(
        other["loc"][: len(place)] == place for other in found if other["loc"] != place
    )


def _tag_at(location: Place) -> int | None:
    """Return where pydantic names the method that a row stands for; None where it does not."""
    at = {"methods": 2, "method": 1}.get(str(location[0])) if location else None
    return at if at is not None and len(location) > at else None


def _said(item: Any, place: Place) -> tuple[str, str]:
    """Return the kind and the sentence: key, what is allowed, what was given."""
    key = ".".join(map(str, place)) or "the whole"
    if item["type"] == "missing":
        return "missing", f"'{key}' is missing; add it."
    got = item.get("input")
    if got is None:
        return "empty", f"'{key}' is empty; give it a value." if place else EMPTY
    message = _WORDS.get(item["type"]) or item["msg"].removeprefix("Value error, ")
    if message.startswith("Unknown "):
        return "unknown", f"'{key}': {message}"
    if item["type"] == SECRET:
        return "value", f"'{key}': {message}"
    message = message.replace("Input should be", "must be").replace("String should", "must")
    if item["type"] == "string_pattern_mismatch" and NAME_PATTERN in message:
        message = rule_for(got) if isinstance(got, str) else NAME_RULE
    known = isinstance(got, str | int | float | bool)
    given = shortened(_with_short_numbers(repr(got))) if known else ""
    shown = f" (got {given})" if known else ""
    return "value", f"'{key}': {_with_short_numbers(message)}{shown}."


_LONG_NUMBER = re.compile(r"(?<![\w.])(\d{20,})(?![\w.])")


def _with_short_numbers(text: str) -> str:
    """Return a sentence in which whole numbers of twenty digits and more are as 1.23e+45."""

    def short(number: re.Match[str]) -> str:
        digits = number[1].lstrip("0") or "0"
        head = f"{digits[0]}.{digits[1:3]}".rstrip("0").rstrip(".")
        return f"{head}e+{len(digits) - 1:02}"

    return _LONG_NUMBER.sub(short, text)
