"""The choice of methods in the launch form: by kind, each with one line on what it does.

Kinds, titles and lines are the methods' own (`dtvg/methods/specs`).
"""

from __future__ import annotations

import streamlit as st

from dtvg.config import ExperimentConfig
from dtvg.methods.specs import METHODS, PROBLEMS, Kind, by_kind
from dtvg.ui import forms
from dtvg.ui.launch.draft import Draft, defaults, own_rates


def choose(draft: Draft, problem: str) -> None:
    """Draw the methods kind by kind; what is chosen goes into the draft.

    Args:
        draft: what is entered.
        problem: what is wrong with the choice; empty: nothing.
    """
    st.markdown("Methods", help=ExperimentConfig.model_fields["methods"].description)
    chosen = [entry.values["name"] for entry in draft.methods]
    for kind, names in by_kind().items():
        key = draft.key(f"methods:{kind}")
        st.session_state[key] = [name for name in names if name in chosen]
        st.pills(
            f"**{kind.capitalize()}** :gray[{forms.escape(kind.line)}]",
            names,
            selection_mode="multi",
            format_func=lambda name: METHODS[name].title,
            key=key,
            wrap=True,
            on_change=_take,
            args=(draft, kind, key),
        )
    forms.remark(problem)
    with st.popover("What each one does", type="tertiary", icon=":material/menu_book:"):
        st.markdown(_said())
    for sentence in PROBLEMS:
        forms.remark(note=sentence)


def _said() -> str:
    """Return every method by kind, with its line and its paper."""
    parts = []
    for kind, names in by_kind().items():
        lines = [f"- {_line(name)}" for name in names]
        parts.append("\n".join([f"**{kind.capitalize()}.** {kind.line}", "", *lines]))
    return "\n\n".join(parts)


def _line(name: str) -> str:
    spec = METHODS[name]
    said = f"**{forms.escape(spec.title)}** {forms.escape(spec.summary)}"
    return f"{said} :gray[{forms.escape(spec.paper)}]"


def _take(draft: Draft, kind: Kind, key: str) -> None:
    """Take over the choice among methods of one kind."""
    wanted = st.session_state[key] or []
    names = by_kind()[kind]
    draft.methods = [
        e for e in draft.methods if e.values["name"] not in names or e.values["name"] in wanted
    ]
    there = {e.values["name"] for e in draft.methods}
    for name in wanted:
        if name not in there:
            draft.add(name, {**defaults(name), **own_rates(name, draft.values["optim"])})
