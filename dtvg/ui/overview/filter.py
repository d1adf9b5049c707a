"""Which runs the overview shows and how: filter, pickers, level, columns, order; all in the URL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from dtvg.analysis import titles
from dtvg.analysis.overview import table as overview
from dtvg.analysis.overview.filtering import parse
from dtvg.analysis.overview.table import RunRow
from dtvg.errors import ConfigError
from dtvg.records import RunState
from dtvg.ui import address, forms, runs

LEVELS = ("Runs", "Seeds together", "Experiments", "Settings")
"""Three tables, and the view of what runs differ in."""
ANY = "any"
STANDARD = (
    "state", "progress", "score curve", "validation", "test", "health", "loss curve", "left", "tag",
    "note",
)  # fmt: skip
MORE = (
    "target", "method", "seed", "loss", "step", "steps", "device", "memory", "started", "sources",
    "message", "role",
)  # fmt: skip
TITLES = {
    "newest": "newest experiment",
    "tag": "tags",
    "left": "time left",
    "memory": "memory (GiB)",
    "run": "run",
    "steps": "steps in all",
    "score curve": "score",
    "loss curve": "loss",
    "loss": "last loss",
    "message": "message",
}
HELP = (
    "Conditions separated by spaces, e.g. `method=dtvg seed<2 optim.lr_prompt>=0.1 state=failed "
    "tag=x`. Signs: = != < <= > >= and ~ (contains the text); a comma means or, * stands for any "
    "text. A bare word is searched for in names, tags and notes. Every setting can be named, also "
    "by the last part of its name (`lr_prompt`); `role=stage1` shows Stage I runs. The key `/` "
    "comes here from anywhere on the page."
)


SHOWN: dict[str, Callable[[str], str]] = {
    "state": str, "method": titles.method, "target": titles.task
}  # fmt: skip
"""How the choices of the pickers are read."""


@dataclass(frozen=True)
class View:
    """What the table shows."""

    level: str
    columns: tuple[str, ...]
    sort: str
    falling: bool
    text: str


def choose_text() -> str:
    """Draw the filter's text field."""
    address.recall("filter", str, "")
    text = st.text_input(
        "Filter",
        key="filter",
        placeholder="method=dtvg seed<2 state=failed tag=x, or part of a name",
        help=HELP,
    )
    address.keep("filter", text, "")
    return text.strip()


def choose_pickers(rows: Sequence[RunRow]) -> Callable[[RunRow], bool]:
    """Draw state, method and target pickers; return whether a row passes them."""
    there = {r.run.state.value for r in rows}
    states: list[str] = [s.value for s in RunState if s.value in there]
    options: dict[str, list[str]] = {
        "state": states,
        "method": list(dict.fromkeys(r.run.method for r in rows if r.run.method)),
        "target": list(dict.fromkeys(r.run.target for r in rows if r.run.target)),
    }
    chosen = {}
    for name, values in options.items():
        chosen[name] = runs.choose(name.capitalize(), [ANY, *values], name, show=SHOWN[name]) or ANY

    def passes(row: RunRow) -> bool:
        run = row.run
        own = {"state": run.state.value, "method": run.method, "target": run.target}
        return all(value in (ANY, own[name]) for name, value in chosen.items())

    return passes


def choose_view(text: str) -> View:
    """Draw level, columns and order."""
    with st.container(horizontal=True, vertical_alignment="center"):
        level = runs.tabs("Rows", LEVELS, "level")
        with st.popover("Columns and order", icon=":material/view_column:"):
            options: list[str] = [*STANDARD, *MORE, *overview.settings()]
            address.recall("columns", address.several(options), list(STANDARD))
            columns = st.multiselect(
                "Columns",
                options,
                key="columns",
                format_func=lambda c: TITLES.get(c, c),
                help="Every setting of a run can be a column.",
            )
            address.keep_several("columns", columns, STANDARD)
            keys = ["newest", *(c for c in overview.names() if c not in ("tag", "label"))]
            sort = runs.choose("Sort by", keys, "sort", show=lambda c: TITLES.get(c, c))
            address.recall("falling", address.truth, False)
            falling = st.toggle("Largest first", key="falling")
            address.keep("falling", falling, False)
    return View(level, tuple(columns), sort or "newest", falling, text)


def filtered(rows: Sequence[RunRow], view: View) -> list[RunRow]:
    """Return the rows the typed filter accepts; one that cannot be read is told and left out."""
    found = list(rows)
    try:
        terms = parse(view.text, overview.names(), overview.known_words(rows))
    except ConfigError as error:
        st.warning(
            f"{forms.escape(str(error))} Until this is fixed, the filter is not applied.",
            icon=":material/filter_alt_off:",
        )
        terms = ()
    if not any(t.key == "role" for t in terms):
        found = [r for r in found if r.run.role == "transfer" or r.run.problem]
    found = [r for r in found if all(t.accepts(r) for t in terms)]
    return found if view.sort == "newest" else overview.ordered(found, view.sort, view.falling)
