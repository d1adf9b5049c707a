"""Where a launch begins: presets, another run, a file; chosen above the form, kept in the URL."""

from __future__ import annotations

import hashlib
from typing import Any

import streamlit as st

from dtvg.analysis import titles
from dtvg.config.presets import PRESETS, clone
from dtvg.errors import ConfigError, DtvgError
from dtvg.store.reader import Experiment
from dtvg.ui import address, cache, forms
from dtvg.ui.launch import draft, guide
from dtvg.ui.launch.draft import Draft
from dtvg.ui.runs import say_absent

STARTS = {
    **{p.name: p.title for p in PRESETS.values()},
    "guide": "My target",
    "clone": "Clone",
    "yaml": "YAML",
}
WHOLE = "whole experiment"
CLONED = "clone-asked"
AREA = "launch-yaml-area"
TEXT = "launch-yaml-text"


def choose() -> Draft | None:
    """Draw the choice of a start; return its draft, None where something is still to be given."""
    _older_addresses()
    address.recall("preset", address.one_of(list(STARTS)), "demo")
    before = st.session_state["preset"]
    kind = (
        st.segmented_control(
            "Start from",
            list(STARTS),
            key="preset",
            format_func=STARTS.__getitem__,
            label_visibility="collapsed",
        )
        or before
    )
    address.keep("preset", kind, "demo")
    if kind != "clone" and address.given("clone") is not None:
        address.put("clone", None)
    changes = draft.changes_in_address()
    if kind == "guide":
        return guide.choose(changes)
    if kind == "clone":
        return _clone(changes)
    if kind == "yaml":
        return _yaml(changes)
    st.caption(PRESETS[kind].summary)
    return draft.start(kind, PRESETS[kind].values(), changes)


def _older_addresses() -> None:
    """Let `?clone=…` alone choose cloning, and take addresses of earlier versions."""
    former = address.given("from")
    if former is not None:
        _take("yaml" if "YAML" in former else "demo")
        address.put("from", None)
    elif address.given("preset") is None and address.given("clone") is not None:
        _take("clone")


def _take(kind: str) -> None:
    """Begin with what an older address means."""
    address.put("preset", kind)
    st.session_state["preset"] = kind


def _clone(changes: dict[str, Any]) -> Draft | None:
    """Let one choose an experiment or a run to repeat."""
    found = cache.experiment_paths()
    if not found:
        st.info("Nothing has been recorded yet, so there is nothing to clone. Start the demo.")
        return None
    state = st.session_state
    wanted = address.recall("clone", str, next(iter(found)))
    name, _, run = wanted.partition("/")
    if wanted != state.get(CLONED) or "clone-name" not in state:
        state[CLONED] = wanted  # an address was opened, or one went back to it
        state["clone-name"] = name if name in found else None
        state.pop(f"clone-run-{name}", None)
    left, right = st.columns(2)
    with left:
        chosen = st.selectbox(
            "Experiment",
            list(found),
            None,
            key="clone-name",
            placeholder="Choose another experiment",
        )
    if chosen is None:
        say_absent("experiment", name, list(found))  # and the address stays
        return None
    name, run = chosen, run if chosen == name else ""
    experiment = cache.open_named(name)
    if experiment is None or experiment.config is None:
        why = (experiment.problem if experiment else None) or "It no longer exists."
        st.warning(forms.escape(why), icon=":material/warning:")
        return None
    options = [WHOLE, *(r.name for r in experiment.runs if r.role == "transfer" and not r.problem)]
    if run and run not in options:
        st.warning(
            f"Experiment '{forms.escape(name)}' has no transfer run '{forms.escape(run)}'; the "
            "whole experiment is cloned."
        )
    with right:
        first = options.index(run) if run in options else 0
        run = st.selectbox("Run", options, first, key=f"clone-run-{name}", format_func=titles.run)
    place = name if run == WHOLE else f"{name}/{run}"
    address.keep("clone", place)
    state["clone"] = state[CLONED] = place
    return draft.start(f"clone:{place}", _values_of(experiment, run), changes)


def _values_of(experiment: Experiment, run: str) -> dict[str, Any]:
    if run == WHOLE:
        if experiment.config is None:
            raise ConfigError(f"'{experiment.name}' has no readable configuration to clone.")
        return clone(experiment.config)
    config = next(r.config for r in experiment.runs if r.name == run)
    if config is None:
        raise ConfigError(f"'{run}' has no readable configuration; clone the whole experiment.")
    return clone(config, experiment.config)


def _yaml(changes: dict[str, Any]) -> Draft | None:
    """Fill the form from YAML that was pasted or uploaded."""
    st.session_state.setdefault(AREA, st.session_state.get(TEXT, ""))
    left, right = st.columns([3, 2])
    with left:
        text = st.text_area(
            "YAML of an experiment",
            key=AREA,
            height=140,
            placeholder="targets: [rte]\nsources: [mnli, qqp]\nmethods: [none, dtvg]",
        )
    st.session_state[TEXT] = text
    with right:
        st.file_uploader(
            "or a file", ["yaml", "yml"], key="launch-file", on_change=_upload, max_upload_size=1
        )
        if "launch-file-problem" in st.session_state:
            st.caption(f":red[{forms.escape(st.session_state['launch-file-problem'])}]")
    if not text.strip():
        if changes:
            return draft.start("yaml", draft.blank(), changes)
        if "yaml" in st.session_state.get("launch-drafts", {}):
            return draft.start("yaml", draft.blank())
        st.info("Paste a configuration, e.g. one downloaded here; it fills the form below.")
        return None
    try:
        values = draft.parse(text, "Pasted YAML")
    except DtvgError as error:
        forms.remark(str(error))
        return None
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return draft.start(f"yaml:{digest}", values, changes)


def _upload() -> None:
    """Put an uploaded file's text where pasted text goes."""
    file = st.session_state["launch-file"]
    st.session_state.pop("launch-file-problem", None)
    if file is None:
        return
    try:
        st.session_state[AREA] = file.getvalue().decode("utf-8")
    except UnicodeDecodeError:
        st.session_state["launch-file-problem"] = (
            f"{file.name} is not a text file; give a YAML file."
        )
