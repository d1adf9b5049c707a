"""A grid over any settings: one experiment for each combination of values, clearly named.

Works on plain values as they stand in YAML; what a value may be is the model's to say. Must not
import torch or streamlit.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from dtvg.config import ExperimentConfig, fingerprint
from dtvg.config.sections import Section
from dtvg.errors import ConfigError, unknown
from dtvg.methods.specs import METHODS

MOST = 500
"""Experiments of one grid; more is a slip of the finger."""
LISTS = ("sources", "targets", "seeds")
EACH, EACH_LEFT_OUT = "each", "each left out"
"""Words for a list's values: every entry alone; all, and all but each entry."""
_FIXED = ("name", "notes", "methods")


@dataclass(frozen=True)
class Axis:
    """One setting and the values it takes."""

    setting: str
    """Dotted, e.g. `optim.lr_scale`; of a method `methods.dtvg.threshold`."""
    values: tuple[Any, ...]


def settings(methods: Iterable[str] = METHODS) -> list[str]:
    """Return the dotted names that can vary.

    Args:
        methods: names of methods whose settings may vary.
    """
    found: list[str] = []
    for name, info in ExperimentConfig.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            found += [f"{name}.{field}" for field in info.annotation.model_fields]
        elif name not in _FIXED:
            found.append(name)
    first = [name for name in LISTS if name in found]
    found = [*first, *(name for name in found if name not in first)]
    for method in dict.fromkeys(methods):
        fields = METHODS[method].model_fields
        found += [f"methods.{method}.{field}" for field in fields if field != "name"]
    return found


def parse(setting: str, text: str, base: dict[str, Any]) -> Axis:
    """Return a setting's values from text such as `0.1, 0.01`.

    For lists `+` joins entries (`mnli+qqp, mnli`), `each` takes every entry of the base alone,
    and `each left out` all of them and all but each.

    Args:
        setting: dotted name.
        text: values, comma-separated; YAML lists may be used.
        base: the values the grid starts from.

    Raises:
        ConfigError: no such setting, nothing given, a value twice, or no YAML.
    """
    if setting not in settings():
        raise ConfigError(unknown("setting", setting, settings()))
    given = _lists(text, base.get(setting)) if setting in LISTS else _values(setting, text)
    if not given:
        raise ConfigError(f"'{setting}' has no values; write some, e.g. {_example(setting)}.")
    twice = [v for i, v in enumerate(given) if v in given[:i]]
    if twice:
        raise ConfigError(f"'{setting}' takes {_said(twice[0])} twice; write each value once.")
    return Axis(setting, tuple(given))


def _values(setting: str, text: str) -> list[Any]:
    try:
        found = yaml.safe_load(f"[{text}]")
    except yaml.YAMLError:
        raise ConfigError(
            f"'{setting}': '{text}' is no list of values; write {_example(setting)}."
        ) from None
    return [_number(value) for value in found]


def _lists(text: str, base: Any) -> list[Any]:
    words, whole = text.strip().lower(), list(base) if isinstance(base, list | tuple) else []
    if words == EACH:
        return [[entry] for entry in whole]
    if words == EACH_LEFT_OUT:
        return [whole, *([e for e in whole if e != entry] for entry in whole if len(whole) > 1)]
    if "[" in text:
        found = _values("list", text)
        return [entry if isinstance(entry, list) else [entry] for entry in found]
    parts = [part.strip() for part in text.split(",")]
    return [
        [_number(entry) for entry in re.split(r"[+\s]+", part) if entry] for part in parts if part
    ]


def _number(value: Any) -> Any:
    """Return a number for text YAML leaves as text, such as 1e-3."""
    if isinstance(value, str):
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                continue
    return value


def _example(setting: str) -> str:
    return {"sources": "mnli+qqp, mnli", "targets": "rte, cb", "seeds": "0, 1, 2"}.get(
        setting, "0.1, 0.01"
    )


def expand(base: dict[str, Any], axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Return the values of every combination, the last setting fastest.

    Args:
        base: complete values; its name is the first part of every name.
        axes: settings and values; none: the base alone.

    Raises:
        ConfigError: too many combinations, or a method's setting without the method.
    """
    count = 1
    for axis in axes:
        count *= len(axis.values)
    if count > MOST:
        raise ConfigError(f"The grid has {count:,} experiments; at most {MOST} at once.")
    made, names = [], set()
    for values in itertools.product(*(axis.values for axis in axes)):
        point = copy.deepcopy(base)
        chosen = list(zip(axes, values, strict=True))
        for axis, value in chosen:
            put(point, axis.setting, value)
        name = _name(base, [(axis.setting, value) for axis, value in chosen])
        if name in names:
            tail = fingerprint([repr(value) for value in values])[:6]
            name = f"{name[:73]}-{tail}"
        names.add(name)
        made.append({**point, "name": name})
    return made


def put(values: dict[str, Any], setting: str, value: Any) -> None:
    """Set a dotted setting; a method's in every row of that method.

    Raises:
        ConfigError: the method is not among the values'.
    """
    head, _, tail = setting.partition(".")
    if head == "methods":
        method, _, field = tail.partition(".")
        rows = [{"name": row} if isinstance(row, str) else row for row in values["methods"]]
        if not any(row.get("name") == method for row in rows):
            raise ConfigError(f"'{setting}' varies method '{method}', which is not chosen.")
        values["methods"] = [
            {**row, field: value} if row.get("name") == method else row for row in rows
        ]
    elif tail:
        values[head] = {**values[head], tail: value}
    else:
        values[head] = value


def _name(base: dict[str, Any], chosen: Sequence[tuple[str, Any]]) -> str:
    parts = [_part(setting, value, base.get(setting)) for setting, value in chosen]
    name = re.sub(r"[^a-z0-9._-]+", "_", "-".join([str(base["name"]), *parts]).lower())
    return name if len(name) <= 80 else f"{name[:73]}-{fingerprint(name)[:6]}"


def _part(setting: str, value: Any, whole: Any) -> str:
    """Return what a name says of one setting."""
    if isinstance(value, list) and isinstance(whole, list) and len(whole) > 2:
        left_out = [entry for entry in whole if entry not in value]
        if len(left_out) + len(value) == len(whole) and len(left_out) < 2:
            return f"without-{left_out[0]}" if left_out else f"all-{setting}"
    return f"{setting.rpartition('.')[2].replace('_', '')}{_said(value)}"


def _said(value: Any) -> str:
    if isinstance(value, list):
        text = ".".join(map(str, value))
        return text if len(text) <= 24 else f"{len(value)}of{fingerprint(value)[:4]}"
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
