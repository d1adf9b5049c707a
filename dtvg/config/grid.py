"""A grid over any settings: one experiment for each combination of values, clearly named.

Works on plain values as they stand in YAML; what a value may be is the model's to say.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dtvg.config import settings_path
from dtvg.config.experiment import ExperimentConfig, fingerprint
from dtvg.config.settings_path import Leaf, get, put
from dtvg.errors import ConfigError, unknown
from dtvg.methods.specs import METHODS

MOST = 500
"""Experiments of one grid; more is most likely a mistake."""
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
    found = [leaf.path for leaf in settings_path.leaves(ExperimentConfig)]
    found = [*LISTS, *(path for path in found if path not in (*LISTS, *_FIXED))]
    for method in dict.fromkeys(methods):
        found += [leaf.path for leaf in settings_path.method_leaves(method)]
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
    leaf = settings_path.find(setting, ExperimentConfig)
    if leaf is None or setting in _FIXED:
        raise ConfigError(unknown("setting", setting, settings()))
    given = _values(leaf, text, get(base, setting, model=ExperimentConfig))
    if not given:
        raise ConfigError(f"'{setting}' has no values; give some, e.g. {_example(setting)}.")
    twice = [v for i, v in enumerate(given) if v in given[:i]]
    if twice:
        raise ConfigError(f"'{setting}' takes {_said(twice[0])} twice; give each value once.")
    return Axis(setting, tuple(given))


def _values(leaf: Leaf, text: str, whole: Any) -> list[Any]:
    words, entries = text.strip().lower(), list(whole) if isinstance(whole, list | tuple) else []
    if leaf.entry is not None and words == EACH:
        return [[entry] for entry in entries]
    if leaf.entry is not None and words == EACH_LEFT_OUT:
        some = [[e for e in entries if e != entry] for entry in entries if len(entries) > 1]
        return [entries, *some]
    try:
        return settings_path.parse_several(leaf, text)
    except ConfigError:
        raise ConfigError(
            f"'{leaf.path}': '{text}' is not a list of values; write {_example(leaf.path)}."
        ) from None


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
        raise ConfigError(
            f"The grid has {count:,} experiments; at most {MOST} are allowed at once."
        )
    made, names = [], set()
    for values in itertools.product(*(axis.values for axis in axes)):
        point = base
        chosen = list(zip(axes, values, strict=True))
        for axis, value in chosen:
            point = put(point, axis.setting, value, ExperimentConfig)
        name = _name(base, [(axis.setting, value) for axis, value in chosen])
        if name in names:
            tail = fingerprint([repr(value) for value in values])[:6]
            name = f"{name[:73]}-{tail}"
        names.add(name)
        made.append(copy.deepcopy({**point, "name": name}))
    return made


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
