"""The start "My target": a target, its data and a difference to see; it proposes the rest.

The proposal fills the form below, where everything can be changed.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import streamlit as st

from dtvg.analysis import proposal, titles
from dtvg.analysis.compare.scores import SUBJECT
from dtvg.backbones.specs import BACKBONES, kept_here
from dtvg.config import DataConfig
from dtvg.errors import DtvgError
from dtvg.jobs.answers import quick_rows
from dtvg.tasks import data_folder
from dtvg.tasks.catalogue import all_tasks, find_task
from dtvg.tasks.sources import find_folder, look_for
from dtvg.ui import address, cache, folder, forms, prompts, runs
from dtvg.ui.launch import draft
from dtvg.ui.launch.draft import Draft
from dtvg.ui.page import link

FOLDER = "guide-folder"
EFFECT = 2.0
POINTS = (0.1, 100.0)
"""Least and most points to see."""


def choose(changes: dict[str, Any]) -> Draft | None:
    """Draw the questions; return the draft of what is proposed, None while one is open.

    Args:
        changes: settings that the address carries.
    """
    with st.container(border=True, key="guide"):
        target, backbone, effect = _questions()
        if target is None:
            return None
        place = _data(target)
        try:
            made = _proposed(target, backbone, effect, place)
        except DtvgError as error:
            forms.remark(str(error))
            return None
        names = (target, *made.values["sources"], SUBJECT)
        for sentence in made.why:
            st.markdown(f"- {forms.escape(titles.in_sentence(sentence, names))}")
        st.caption("The plan beside the form says what this costs; everything can be changed.")
    digest = hashlib.sha256(json.dumps(made.values, sort_keys=True).encode()).hexdigest()[:12]
    return draft.start(f"guide:{digest}", made.values, changes)


def _questions() -> tuple[str | None, str, float]:
    left, middle, right = st.columns([2, 2, 1])
    with left:
        target = runs.choose_there("target", list(all_tasks()), "target", "trip-mood", titles.full)
    with middle:
        names = list(dict.fromkeys(("demo", *kept_here(), *BACKBONES)))
        backbone = runs.choose("Backbone", names, "backbone") or "demo"
    with right:
        address.recall("effect", POINTS_READ, EFFECT)
        effect = st.number_input(
            "Points to see",
            *POINTS,
            step=0.5,
            key="effect",
            help="The difference of test scores to no transfer that the experiment is to show.",
        )
        address.keep("effect", effect, EFFECT)
    return target, backbone, float(effect)


def _points(text: str) -> float | None:
    found = address.number()(text)
    return found if found is not None and POINTS[0] <= found <= POINTS[1] else None


POINTS_READ = address.Parser(
    _points,
    address.number(*POINTS).allowed,
    lambda text: text if _points(text) is None else "",
)


def _data(target: str) -> str | None:
    """Ask where the rows are; return the folder, None for the usual places."""
    spec = find_task(target)
    if spec.is_published:
        before = data_folder.remembered()
        st.session_state.setdefault(FOLDER, before[0] if before else "")
        folder.field(FOLDER, "My files are in", [target])
        typed = str(st.session_state.get(FOLDER) or "").strip()
    else:
        typed = ""
    place = typed if typed and not data_folder.look_into(typed).problem else None
    there = look_for(spec, find_folder(spec, place))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"Rows of {forms.escape(titles.task(target))} on this machine: {there.words}.")
        link("tasks", "My files are something else: describe them as a task")
    return place


def _proposed(target: str, backbone: str, effect: float, place: str | None) -> proposal.Proposal:
    known = all_tasks()

    def here(name: str) -> bool:
        there = look_for(known[name], find_folder(known[name], place))
        return there.in_folder or there.place == "cache"

    found = prompts.bank().prompts
    spec = known[target]
    data = quick_rows(spec, DataConfig(folder=place), find_folder(spec, place))
    rows = len(data.train) if data else 0
    return proposal.propose(target, backbone, effect, cache.experiments(), found, here, place, rows)
