"""The launch form: what is trained, then how, each group closed until one wants it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import streamlit as st

from dtvg.analysis import titles
from dtvg.backbones.specs import BACKBONES, kept_here
from dtvg.config import ExperimentConfig, settings_path
from dtvg.config.settings_path import Leaf
from dtvg.jobs.devices import Device, pick
from dtvg.methods.specs import METHODS
from dtvg.tasks.catalogue import all_tasks
from dtvg.ui import folder, forms
from dtvg.ui.launch import methods, where
from dtvg.ui.launch.draft import SECTIONS, Draft, Entry, method_leaves

HOW = {
    "prompt": "Prompt",
    "optim": "Steps and learning rates",
    "data": "Data",
    "evaluation": "Evaluation",
    "logging": "Logging",
    "device": "Device",
    "scale": "Where",
}
SUMMARY_LENGTH = 58


def what(draft: Draft, problems: dict[str, str], notes: dict[str, str]) -> None:
    """Draw name, backbone, tasks, methods and seeds."""
    top = {leaf.name: leaf for leaf in _in_group("")}
    tasks = list(all_tasks())

    def field(name: str, **more: Any) -> None:
        key, value = draft.key(name), draft.values.get(name)
        forms.draw(top[name], key, value, problems.get(name, ""), notes.get(name, ""), **more)

    left, right = st.columns(2)
    with left:
        field("name")
    with right:
        backbone = _in_group("backbone")[0]
        _draw(
            draft,
            backbone,
            problems,
            notes,
            options=list(dict.fromkeys((*kept_here(), *BACKBONES))),
            show=_backbone,
            title="Backbone",
        )
    field("sources", options=tasks, show=titles.task)
    field("targets", options=tasks, show=titles.task)
    _methods(draft, problems, notes)
    left, right = st.columns(2)
    with left:
        field("seeds")
    with right:
        field("notes")


def how(
    draft: Draft, problems: dict[str, str], notes: dict[str, str], devices: list[Device]
) -> None:
    """Draw the other groups of settings, closed, with what is not at its default in the label."""
    for section in (name for name in SECTIONS if name != "backbone"):
        title = HOW.get(section, section.capitalize())
        wrong = _count(problems, section)
        said = _summary(draft, section, devices)
        if section == "device":
            body = partial(_device, draft, problems, notes, devices)
        else:
            made = _in_group(section)
            body = partial(_grid, draft, made, problems, notes)
        if section == "scale":
            body = partial(where.draw, draft, body)
        if section == "data":
            body = partial(_data, draft, problems, notes)
        fold(draft, section, title, said, wrong, body)
    rest = _in_group("backbone")[1:]
    wrong = sum(leaf.path in problems for leaf in rest)
    body = partial(_grid, draft, rest, problems, notes)
    fold(draft, "backbone", "Backbone", _summary(draft, "backbone", devices), wrong, body)


def _in_group(group: str) -> list[Leaf]:
    """Return the settings of a group, or with an empty name those of the whole experiment."""
    return [leaf for leaf in settings_path.leaves(ExperimentConfig) if leaf.group == group]


def _data(draft: Draft, problems: dict[str, str], notes: dict[str, str]) -> None:
    """Draw where the data are in a row of its own, since paths are long; then the rest."""
    made = {leaf.name: leaf for leaf in _in_group("data")}
    place = made.pop("folder")
    key = draft.key(place.path)
    st.session_state.setdefault(key, forms.shown(place, draft.values["data"].get("folder")))
    wanted = [*draft.values.get("sources", ()), *draft.values.get("targets", ())]
    folder.field(key, forms.label(place), wanted, place.description, quiet=True)
    forms.remark(problems.get(place.path, ""), notes.get(place.path, ""))
    _grid(draft, list(made.values()), problems, notes)
    _others(draft, problems)


def _others(draft: Draft, problems: dict[str, str]) -> None:
    """Draw the settings of the whole experiment that have no place of their own above."""
    placed = ("name", "notes", "sources", "targets", "methods", "seeds")
    for leaf in _in_group(""):
        if leaf.name not in placed:
            value = draft.values.get(leaf.name)
            forms.draw(leaf, draft.key(leaf.name), value, problems.get(leaf.name, ""))


def _methods(draft: Draft, problems: dict[str, str], notes: dict[str, str]) -> None:
    """Draw the choice of methods, and the settings of each row that has any."""
    methods.choose(draft, problems.get("methods", ""))
    for entry in draft.methods:
        made = method_leaves(entry)
        wrong = _count(problems, f"methods.{entry.number}")
        if made or wrong:
            _method(draft, entry, problems, notes, wrong)


def _method(
    draft: Draft, entry: Entry, problems: dict[str, str], notes: dict[str, str], wrong: int
) -> None:
    """Draw one row of the methods: its settings, a variant of it, away with it."""
    model = METHODS[entry.values["name"]]
    made = method_leaves(entry)
    changed = {
        forms.label(leaf): entry.values.get(leaf.name, leaf.left_out)
        for leaf in made
        if entry.values.get(leaf.name, leaf.left_out) not in (leaf.default, leaf.left_out)
    }
    said = _said(changed) or "default settings"
    number = entry.number

    def body() -> None:
        st.caption(f"{model.summary} {model.paper}.")
        forms.remark(problems.get(f"methods.{number}", ""), notes.get(f"methods.{number}", ""))
        _grid(draft, made, problems, notes)
        with st.container(horizontal=True):
            st.button(
                "Add a variant",
                icon=":material/add:",
                key=draft.key(f"methods.{number}:more"),
                help="Adds another row of the same method with its own settings.",
                on_click=_vary,
                args=(draft, entry),
            )
            st.button(
                "Remove",
                icon=":material/close:",
                key=draft.key(f"methods.{number}:away"),
                on_click=draft.methods.remove,
                args=(entry,),
            )

    fold(draft, f"methods.{number}", model.title, said, wrong, body)


def _vary(draft: Draft, entry: Entry) -> None:
    number = draft.add(entry.values["name"], entry.values, after=entry.number)
    draft.open.add(f"methods.{number}")


def _device(
    draft: Draft, problems: dict[str, str], notes: dict[str, str], devices: list[Device]
) -> None:
    """Draw the device's settings: only what is really there can be chosen."""
    titles = {d.name: f"{d.name}: {d.title}, {d.free_gib:.1f} GiB free" for d in devices}
    first = pick("auto", devices)
    titles["auto"] = f"automatic: {first.name if first else 'cpu'}"
    made = {leaf.name: leaf for leaf in _in_group("device")}
    chosen = pick(str(draft.values["device"].get("name")), devices)
    left, right = st.columns(2)
    with left:
        names = ["auto", *(d.name for d in devices)]
        _draw(
            draft,
            made.pop("name"),
            problems,
            notes,
            options=names,
            show=lambda name: titles.get(name, name),
            title="Device",
        )
    with right:
        possible = ["auto", *chosen.precisions] if chosen else None
        _draw(draft, made.pop("precision"), problems, notes, options=possible)
    _grid(draft, list(made.values()), problems, notes)


def _grid(
    draft: Draft, made: Sequence[Leaf], problems: dict[str, str], notes: dict[str, str]
) -> None:
    """Draw settings in rows, so that the tabulator goes through them as one reads."""
    for first in range(0, len(made), 3):
        for cell, leaf in zip(st.columns(3), made[first : first + 3], strict=False):
            with cell:
                _draw(draft, leaf, problems, notes)


def _draw(
    draft: Draft,
    leaf: Leaf,
    problems: dict[str, str],
    notes: dict[str, str],
    **more: Any,
) -> None:
    head, _, name = leaf.path.rpartition(".")
    if head.startswith("methods."):
        number = int(head.partition(".")[2])
        values = next(e.values for e in draft.methods if e.number == number)
    else:
        values = draft.values[head]
    problem, note = problems.get(leaf.path, ""), notes.get(leaf.path, "")
    forms.draw(leaf, draft.key(leaf.path), values.get(name), problem, note, **more)


def fold(
    draft: Draft, part: str, title: str, said: str, wrong: int, body: Callable[[], None]
) -> None:
    """Draw a group that opens by itself when something in it turns out to be wrong.

    Only an open one is drawn: what is entered in a closed one is in the draft. What is said
    beside the title of a closed one is left out of an open one, because a group with another
    label is another one to the browser, which would take the focus from the field one is in.
    """
    if wrong > draft.wrong.get(part, 0):
        draft.open.add(part)
    draft.wrong[part] = wrong
    is_open = part in draft.open
    label = f"**{title}**" if is_open else f"**{title}** :gray[{forms.escape(said)}]"
    if wrong and not is_open:
        mistakes = "1 setting" if wrong == 1 else f"{wrong} settings"
        label = f"**{title}** :red[:material/error: {mistakes} to fix]"
    group = st.expander(
        label,
        is_open,
        key=draft.key(f"{part}:{'open' if is_open else 'closed'}"),
        on_change=draft.open.symmetric_difference_update,
        args=({part},),
    )
    if is_open:
        with group:
            body()


def _summary(draft: Draft, section: str, devices: list[Device]) -> str:
    """Say what is not at its default in a group of settings."""
    values = draft.values[section]
    changed = {
        forms.label(leaf): values[leaf.name]
        for leaf in _in_group(section)
        if values.get(leaf.name, leaf.left_out) not in (leaf.default, leaf.left_out)
        and leaf.name not in ("name", "precision")
    }
    if section == "device":
        there = pick(str(values["name"]), devices)
        title = there.title if there else values["name"]
        changed = {"": title, " ": values["precision"]} | changed
    if section == "hypothesis":  # holds names of methods and a target
        changed = {k: titles.label(v) if isinstance(v, str) else v for k, v in changed.items()}
    return _said(changed) or "default settings"


def _said(changed: dict[str, Any]) -> str:
    parts = [f"{k[:1].lower()}{k[1:]} {_short(v)}".strip() for k, v in changed.items()]
    text = ", ".join(parts)
    return text if len(text) <= SUMMARY_LENGTH else f"{text[: SUMMARY_LENGTH - 1]}…"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, bool) or value is None:
        return {True: "on", False: "off", None: "automatic"}[value]
    return f"{len(value)} given" if isinstance(value, dict) else str(value)


def _count(paths: Iterable[str], part: str) -> int:
    return sum(path == part or path.startswith(f"{part}.") for path in paths)


def _backbone(name: str) -> str:
    row = BACKBONES.get(name)
    return name if row is None else f"{row.title}, {row.parameters} ({name})"
