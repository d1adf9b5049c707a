"""What has been entered on the launch page, kept apart from the widgets that show it.

A draft outlives its widgets: reruns, mistakes, other pages, and, through the URL, the tab. Its
values are plain ones as in YAML; text that means no value stays text until the model refuses
it. Must not import torch. DESIGN.md "Core types".
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import streamlit as st
import yaml
from pydantic import ValidationError

from dtvg import paths
from dtvg.config import ExperimentConfig, Problem, explain, problems
from dtvg.config.sections import Section
from dtvg.errors import ConfigError
from dtvg.methods.specs import METHODS
from dtvg.store.layout import free_name
from dtvg.ui import address, forms

URL_LIMIT = 3_000
"""Characters of changes an address may carry; longer ones are shared as YAML."""
SECTIONS: dict[str, type[Section]] = {
    name: info.annotation
    for name, info in ExperimentConfig.model_fields.items()
    if isinstance(info.annotation, type) and issubclass(info.annotation, Section)
}
"""Groups of settings by name: backbone, prompt, optim, ..."""


@dataclass
class Entry:
    """One row of the methods: a method with its settings, and a number its widgets keep."""

    number: int
    values: dict[str, Any]


@dataclass
class Draft:
    """What a form holds."""

    source: str
    base: dict[str, Any]
    """What it started with."""
    values: dict[str, Any]
    """What is entered, methods apart."""
    methods: list[Entry]
    generation: int = 0
    """Raised where values change behind the widgets' back."""
    axes: list[dict[str, str]] = field(default_factory=list)
    """Of a grid: setting and values as typed."""
    open: set[str] = field(default_factory=set)
    """Groups of settings that are unfolded."""
    wrong: dict[str, int] = field(default_factory=dict)
    """How many settings of a group were to be mended when it was last drawn."""

    def key(self, path: str) -> str:
        """Return the key of a setting's widget."""
        return f"launch/{self.source}/{self.generation}/{path}"

    def plain(self) -> dict[str, Any]:
        """Return everything entered as it would stand in YAML."""
        found = copy.deepcopy(self.values)
        found["methods"] = [dict(entry.values) for entry in self.methods]
        return {key: found[key] for key in [*self.base, *(k for k in found if k not in self.base)]}

    def add(self, name: str, values: Mapping[str, Any] | None = None, after: int = -1) -> int:
        """Add a method, at the end or after an entry; return its number."""
        number = 1 + max((entry.number for entry in self.methods), default=0)
        numbers = [entry.number for entry in self.methods]
        place = numbers.index(after) + 1 if after in numbers else len(numbers)
        self.methods.insert(place, Entry(number, dict(values or defaults(name))))
        return number


def defaults(name: str) -> dict[str, Any]:
    """Return a method's settings as they are where nothing is given."""
    return METHODS[name].model_validate({"name": name}).model_dump(mode="json")


def start(source: str, base: dict[str, Any], changes: dict[str, Any] | None = None) -> Draft:
    """Return the draft of a source, made from its values at the first visit.

    Args:
        source: where the values come from, e.g. `demo` or `clone:walk`.
        base: complete values.
        changes: dotted settings that differ, e.g. from the URL.
    """
    drafts: dict[str, Draft] = st.session_state.setdefault("launch-drafts", {})
    generation = drafts[source].generation + 1 if source in drafts else 0
    if source not in drafts or changes:
        base = {**base, "name": free_name(str(base["name"]), paths.runs())}
        drafts[source] = _made(source, base, changes or {}, generation)
    return drafts[source]


def rename(source: str) -> None:
    """Give a draft a name that is free again, once its experiment was started."""
    draft = st.session_state.get("launch-drafts", {}).get(source)
    if draft is not None:
        name = free_name(str(draft.base["name"]), paths.runs())
        draft.base = {**draft.base, "name": name}
        draft.values["name"] = name
        draft.generation += 1


def reset(draft: Draft) -> None:
    """Put everything back to what the draft started with."""
    again = _made(draft.source, draft.base, {}, draft.generation + 1)
    st.session_state["launch-drafts"][draft.source] = again


def _made(source: str, base: dict[str, Any], changes: dict[str, Any], generation: int) -> Draft:
    values = copy.deepcopy(base)
    for path, value in changes.items():
        _put(values, path, value)
    axes = changes.get("grid", {})
    methods = values.pop("methods", [])
    draft = Draft(source, base, values, [], generation)
    if isinstance(axes, dict):
        draft.axes = [{"setting": str(k), "text": str(v)} for k, v in axes.items()]
        draft.open |= {"grid"} if draft.axes else set()
    for method in methods if isinstance(methods, list) else []:
        method = {"name": method} if isinstance(method, str) else method
        if isinstance(method, dict) and method.get("name") in METHODS:
            draft.add(method["name"], {**defaults(method["name"]), **method})
    return draft


def collect(draft: Draft) -> None:
    """Take over what stands in the widgets, before any is drawn."""
    for name, model in SECTIONS.items():
        for leaf in forms.leaves(model, name):
            draft.values[name][leaf.name] = _entered(draft, leaf, draft.values[name].get(leaf.name))
    for leaf in forms.leaves(ExperimentConfig):
        if leaf.name in draft.values:
            draft.values[leaf.name] = _entered(draft, leaf, draft.values[leaf.name])
    for entry in draft.methods:
        for leaf in method_leaves(entry):
            entry.values[leaf.name] = _entered(draft, leaf, entry.values.get(leaf.name))


def method_leaves(entry: Entry) -> list[forms.Leaf]:
    """Return the settings of a method's row, its name left out."""
    model = METHODS[entry.values["name"]]
    made = forms.leaves(model, f"methods.{entry.number}")
    return [leaf for leaf in made if leaf.name != "name"]


def _entered(draft: Draft, leaf: forms.Leaf, value: Any) -> Any:
    key = draft.key(leaf.path)
    return forms.read(leaf, st.session_state[key]) if key in st.session_state else value


def judge(draft: Draft) -> tuple[ExperimentConfig | None, dict[str, str], list[str]]:
    """Return the configuration, or what is wrong by setting, and what has no setting.

    The sentences are those of the command line.
    """
    try:
        return ExperimentConfig.model_validate(draft.plain()), {}, []
    except ValidationError as error:
        found = problems(error, ExperimentConfig)
    placed: dict[str, str] = {}
    loose: list[str] = []
    for problem in found:
        path = _setting(draft, problem)
        if path is None:
            loose.append(problem.sentence)
        else:
            placed[path] = (
                f"{placed[path]} {problem.sentence}" if path in placed else (problem.sentence)
            )
    return None, placed, loose


def _setting(draft: Draft, problem: Problem) -> str | None:
    """Return the widget a problem belongs beside; None where there is none."""
    place = problem.place
    if len(place) >= 2 and place[0] == "methods" and isinstance(place[1], int):
        entry = draft.methods[place[1]]
        known = {leaf.name for leaf in method_leaves(entry)}
        tail = f".{place[2]}" if len(place) > 2 and place[2] in known else ""
        return f"methods.{entry.number}{tail}"
    if len(place) >= 2 and place[0] in SECTIONS:
        known = set(SECTIONS[str(place[0])].model_fields)
        return f"{place[0]}.{place[1]}" if place[1] in known else None
    return str(place[0]) if place and place[0] in ExperimentConfig.model_fields else None


def parse(text: str, where: str = "This YAML") -> dict[str, Any]:
    """Return complete values from YAML someone pasted or uploaded.

    Settings with a value that is not allowed are kept, so that they can be mended in the form.

    Raises:
        ConfigError: no YAML, no mapping, or a key or shape that no form can show.
    """
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        sentence = " ".join(str(error).split())
        raise ConfigError(f"{where} cannot be read: {sentence}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{where} holds no settings; it starts with lines such as targets: [rte]")
    try:
        return ExperimentConfig.model_validate(found).model_dump(mode="json")
    except ValidationError as error:
        values = _mended(found)
        if values is None:
            raise ConfigError(explain(error, ExperimentConfig, where)) from None
        return values


def blank() -> dict[str, Any]:
    """Return every setting at its default, nothing chosen."""
    found: dict[str, Any] = {}
    for name, info in ExperimentConfig.model_fields.items():
        if name in SECTIONS:
            found[name] = SECTIONS[name]().model_dump(mode="json")
        else:
            default = [] if info.is_required() else info.default
            found[name] = list(default) if isinstance(default, tuple) else default
    return found


def _mended(found: dict[str, Any]) -> dict[str, Any] | None:
    """Complete values whose shapes a form can show; None where one it cannot."""
    values = blank()
    for key, value in found.items():
        if key == "backbone" and isinstance(value, str):
            value = {"name": value}
        if key in SECTIONS:
            if not isinstance(value, dict) or set(value) - set(SECTIONS[key].model_fields):
                return None
            values[key] = {**values[key], **value}
        elif key == "methods":
            if not isinstance(value, list) or not all(map(_is_method, value)):
                return None
            values[key] = value
        elif key in values and isinstance(value, list) == isinstance(values[key], list):
            values[key] = value
        else:
            return None
    return values


def _is_method(value: Any) -> bool:
    name = value.get("name") if isinstance(value, dict) else value
    if not isinstance(name, str) or name not in METHODS:
        return False
    return isinstance(value, str) or not set(value) - set(METHODS[name].model_fields)


def changes_in_address() -> dict[str, Any]:
    """Return the dotted settings an address carries; empty where none came from outside."""
    given = st.query_params.get("set", "")
    if given == st.session_state.get("url-set"):
        return {}
    try:
        found = yaml.safe_load(given)
    except yaml.YAMLError:
        return {}
    return {str(k): v for k, v in found.items()} if isinstance(found, dict) else {}


def keep_in_address(draft: Draft) -> None:
    """Write what differs from the draft's start into the URL, so that a link reopens the form."""
    changed = differences(draft.base, draft.plain())
    if draft.axes:
        changed["grid"] = {row["setting"]: row["text"] for row in draft.axes}
    text = yaml.safe_dump(changed, default_flow_style=True, width=100_000, sort_keys=False).strip()
    if changed and len(text) <= URL_LIMIT:
        address.keep("set", text)
    elif "set" in st.query_params:
        del st.query_params["set"]


def differences(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return the dotted settings whose value is another one, with the new value."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key in SECTIONS and isinstance(value, dict):
            old = base.get(key, {})
            found |= {f"{key}.{k}": v for k, v in value.items() if old.get(k) != v}
        elif base.get(key) != value:
            found[key] = value
    return found


def _put(values: dict[str, Any], path: str, value: Any) -> None:
    """Set a dotted setting an address names; unknown ones are left alone."""
    head, _, tail = path.partition(".")
    if not tail and head in values and head not in SECTIONS:
        fits = isinstance(value, list) == isinstance(values[head], list)
        values[head] = value if fits else values[head]
    elif head in SECTIONS and tail in SECTIONS[head].model_fields:
        values[head][tail] = value
