"""Methods of other packages: found through the entry-point group `dtvg.methods`.

An entry point names a `MethodConfig` class; its `code` names the module that trains it, so
that looking for methods imports no torch. What cannot be used is left out with one sentence.
docs/methods.md "A method of your own package".
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Collection, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from dtvg.methods.specs.base import MethodConfig

log = logging.getLogger(__name__)

GROUP = "dtvg.methods"
NAME = r"[a-z][a-z0-9_]{0,39}"


def found_methods(
    taken: Collection[str], points: Iterable[EntryPoint] | None = None
) -> tuple[dict[str, type[MethodConfig]], tuple[str, ...]]:
    """Load the configurations of other packages' methods.

    Args:
        taken: names that are ours.
        points: entry points; None: those of the installed packages.

    Returns:
        The classes by name, sorted, and a sentence for each entry that is left out or slow.
    """
    found: dict[str, type[MethodConfig]] = {}
    problems: list[str] = []
    owners: dict[str, str] = {}
    listed = entry_points(group=GROUP) if points is None else points
    for point in sorted(listed, key=lambda p: (p.name, _package(p))):
        who = f"Package '{_package(point)}' offers the transfer method '{point.name}'"
        had_torch = "torch" in sys.modules
        spec, why = _load(point)
        if not why and point.name in taken:
            why = "a method of that name is part of dtvg; choose another name"
        if not why and point.name in owners:
            why = f"package '{owners[point.name]}' offers it already; uninstall one of them"
        if not why and spec is not None:
            why = _clash(spec, {*taken, *owners})
        if why or spec is None:
            problems.append(f"{who}, which is left out: {why}.")
            continue
        found[point.name] = spec
        owners |= dict.fromkeys((point.name, *_prepared(spec)), _package(point))
        if not had_torch and "torch" in sys.modules:
            problems.append(
                f"{who}, whose configuration imports torch and slows every page down; import torch "
                f"only in '{spec.code}'."
            )
    return found, tuple(problems)


def warn(problems: Iterable[str]) -> None:
    """Log what is wrong with other packages' methods."""
    for sentence in problems:
        log.warning(sentence)


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value.partition(".")[0]


def _load(point: EntryPoint) -> tuple[type[MethodConfig] | None, str]:
    """Return an entry's class, or why it cannot be used."""
    try:
        spec: Any = point.load()
    except Exception as error:  # noqa: BLE001 - whatever another package raises
        return None, f"'{point.value}' cannot be imported ({_line(error)})"
    if not isinstance(spec, type) or not issubclass(spec, MethodConfig):
        return None, f"'{point.value}' is not a subclass of dtvg.methods.specs.MethodConfig"
    missing = [name for name in ("title", "paper", "summary") if not hasattr(spec, name)]
    missing += [] if spec.code else ["code"]
    if missing:
        return None, f"'{point.value}' lacks the class variables {', '.join(missing)}"
    if not re.fullmatch(NAME, point.name):
        return None, "a name has up to 40 characters of a-z, 0-9 and '_' and starts with a letter"
    try:
        made = spec.model_validate({"name": point.name})
        same = spec.model_json_schema()["properties"]["name"].get("const") == point.name
        made.model_dump(mode="json")
    except Exception as error:  # noqa: BLE001 - whatever another package raises
        return None, f"its settings have no usable defaults ({_line(error)})"
    if not same:
        return None, f'its field must read `name: Literal["{point.name}"] = "{point.name}"`'
    return spec, ""


def _prepared(spec: type[MethodConfig]) -> list[str]:
    """Return the names of what a method trains on mixtures."""
    return [str(one.model_fields["name"].default) for one in spec.prepares]


def _clash(spec: type[MethodConfig], taken: Collection[str]) -> str:
    """Return what is wrong with the classes a method trains on mixtures; empty: nothing."""
    for one, name in zip(spec.prepares, _prepared(spec), strict=True):
        if not one.code:
            return f"'{one.__name__}' lacks the class variable code"
        if name in taken:
            return f"a method named '{name}', which it trains on mixtures, exists already"
    return ""


def _line(error: Exception) -> str:
    """Return an error's text on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
