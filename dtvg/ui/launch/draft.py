"""What has been entered on the launch page, kept apart from the widgets that show it.

A draft outlives its widgets: reruns, mistakes, other pages, and, through the URL, the tab. Its
values are plain ones as in YAML; text that means no value stays text until the model refuses
it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import streamlit as st
import yaml

from dtvg import paths
from dtvg.config import ExperimentConfig, Problem, check, settings_path
from dtvg.config.rates import settings_of
from dtvg.config.reading import YAML_ERRORS, read_yaml, summary
from dtvg.config.settings_path import Leaf
from dtvg.errors import ConfigError
from dtvg.methods.specs import METHODS, MethodConfig
from dtvg.methods.specs.rates import ENTRY_FIELDS, RATE_FIELDS
from dtvg.plain_text import load_yaml
from dtvg.store.layout import free_name
from dtvg.ui import address, forms

URL_LIMIT = 3_000
"""Characters of changes an address may carry; longer ones are shared as YAML."""
FAR = 10
"""Times that a rate of optim may be from a method's own before a new entry states its own."""
SECTIONS = settings_path.groups(ExperimentConfig)
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
    """How many settings of a group had to be fixed when it was last drawn."""

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


def own_rates(name: str, optim: Mapping[str, Any]) -> dict[str, Any]:
    """Return a newly chosen method's own rates where its paper's are far from those of optim.

    Args:
        name: the method's.
        optim: that section as entered; where a rate is empty, methods take their own anyway.
    """
    method = METHODS[name].model_validate({"name": name})
    own = {
        ENTRY_FIELDS[what]: (getattr(method.own, what), optim.get(setting))
        for what, setting in settings_of(method).items()
        if what != "decay"
    }
    far = any(
        isinstance(given, int | float) and max(rate, given) >= FAR * min(rate, given)
        for rate, given in own.values()
    )
    papers = method.own is not MethodConfig.own
    return {field: rate for field, (rate, _) in own.items()} if far and papers else {}


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
        if _is_known(values, path, value):
            values = settings_path.put(values, path, value)
        elif path != "grid":
            address.note("set", path, "settings by their paths, and lists where one stands.", "")
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


_ABSENT = object()
"""Stands for a setting that YAML leaves out."""


def collect(draft: Draft) -> None:
    """Take over what stands in the widgets, before any is drawn."""
    for leaf in settings_path.leaves(ExperimentConfig):
        if leaf.path != settings_path.METHOD_ROWS:
            before = settings_path.get(draft.values, leaf.path, _ABSENT)
            value = _entered(draft, leaf, leaf.left_out if before is _ABSENT else before)
            if before is not _ABSENT or value != leaf.left_out:
                draft.values = settings_path.put(draft.values, leaf.path, value)
    for entry in draft.methods:
        for leaf in method_leaves(entry):
            before = entry.values.get(leaf.name, _ABSENT)
            value = _entered(draft, leaf, leaf.left_out if before is _ABSENT else before)
            entry.values[leaf.name] = value
            if before is _ABSENT and value == leaf.left_out:  # what came later stays unsaid
                del entry.values[leaf.name]
                continue
            if leaf.name in RATE_FIELDS and entry.values[leaf.name] is None:
                del entry.values[leaf.name]


def method_leaves(entry: Entry) -> tuple[Leaf, ...]:
    """Return the settings of a method's row, its name left out."""
    return settings_path.method_leaves(entry.values["name"], f"methods.{entry.number}")


def _entered(draft: Draft, leaf: Leaf, value: Any) -> Any:
    key = draft.key(leaf.path)
    return forms.read(leaf, st.session_state[key]) if key in st.session_state else value


@dataclass(frozen=True)
class Judged:
    """What becomes of a draft: a configuration, or sentences beside its settings."""

    config: ExperimentConfig | None
    problems: dict[str, str]
    """What has to change, by the setting it is shown at."""
    notes: dict[str, str]
    """What may surprise, by setting."""
    loose: list[str]
    """Problems that no setting of the form shows."""


def judge(draft: Draft) -> Judged:
    """Judge what is entered; the sentences are those of the command line."""
    checked = check(draft.plain())
    loose = [p.sentence for p in checked.problems if _setting(draft, p) is None]
    return Judged(
        checked.config, placed(draft, checked.problems), placed(draft, checked.notes), loose
    )


def placed(draft: Draft, found: Iterable[Problem]) -> dict[str, str]:
    """Return sentences by the setting of the form they are shown at."""
    made: dict[str, str] = {}
    for problem in found:
        path = _setting(draft, problem)
        if path is not None:
            made[path] = f"{made.get(path, '')} {problem.sentence}".strip()
    return made


def _setting(draft: Draft, problem: Problem) -> str | None:
    """Return the widget a problem belongs beside; None where there is none."""
    place = problem.place
    if len(place) >= 2 and place[0] == "methods" and isinstance(place[1], int):
        entry = draft.methods[place[1]]
        known = {leaf.name for leaf in method_leaves(entry)}
        tail = f".{place[2]}" if len(place) > 2 and place[2] in known else ""
        return f"methods.{entry.number}{tail}"
    leaves = settings_path.leaves(ExperimentConfig)
    inside = f"{problem.setting}."
    return next((leaf.path for leaf in leaves if inside.startswith(f"{leaf.path}.")), None)


def parse(text: str, where: str = "This YAML") -> dict[str, Any]:
    """Return complete values from YAML someone pasted or uploaded.

    Settings with a value that is not allowed are kept, so that they can be fixed in the form.

    Raises:
        ConfigError: no YAML, no mapping, or a key or shape that no form can show.
    """
    found = read_yaml(text, where)
    checked = check(found)
    if checked.config is not None:
        return checked.config.to_values()
    values = _completed(found)
    if values is None:
        raise ConfigError(summary(checked.problems, where))
    return values


def blank() -> dict[str, Any]:
    """Return every setting at its default, nothing chosen."""
    found: dict[str, Any] = {}
    for leaf in settings_path.leaves(ExperimentConfig):
        default = [] if leaf.info.is_required() else leaf.default
        value = list(default) if isinstance(default, tuple) else copy.deepcopy(default)
        found = settings_path.put(found, leaf.path, value)
    return found


def _completed(found: dict[str, Any]) -> dict[str, Any] | None:
    """Complete values whose shapes a form can show; None where one it cannot."""
    values = blank()
    for key, value in found.items():
        if key == "backbone" and isinstance(value, str):
            value = {"name": value}
        if key in SECTIONS:
            if not isinstance(value, dict) or set(value) - set(SECTIONS[key].model_fields):
                return None
            values[key] = {**values[key], **value}
        elif key == settings_path.METHOD_ROWS:
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
    given = address.given("set") or ""
    if given == st.session_state.get("url-set"):
        return {}
    try:
        found = load_yaml(given) or {}
        if not isinstance(found, dict):
            raise ConfigError("no mapping")
    except (*YAML_ERRORS, ConfigError):
        address.note("set", given, "YAML such as {optim.steps: 300}.", "")
        return {}
    return {str(k): v for k, v in found.items()}


def keep_in_address(draft: Draft) -> None:
    """Write what differs from the draft's start into the URL, so that a link reopens the form."""
    changed = differences(draft.base, draft.plain())
    if draft.axes:
        changed["grid"] = {row["setting"]: row["text"] for row in draft.axes}
    text = yaml.safe_dump(changed, default_flow_style=True, width=100_000, sort_keys=False).strip()
    if changed and len(text) <= URL_LIMIT:
        address.keep("set", text)
    elif address.given("set") is not None:
        address.put("set", None)


def differences(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return the dotted settings whose value is another one, with the new value."""
    return settings_path.differences(base, values, ExperimentConfig)


def _is_known(values: dict[str, Any], path: str, value: Any) -> bool:
    """Whether an address names a setting, and gives a list where one stands."""
    known = {leaf.path for leaf in settings_path.leaves(ExperimentConfig)}
    before = settings_path.get(values, path)
    return path in known and ("." in path or isinstance(value, list) == isinstance(before, list))
