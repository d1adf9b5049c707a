"""Where an experiment trains: this machine's devices, a Ray cluster, Slurm, with what is free."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from dtvg.errors import DtvgError
from dtvg.extras import command, missing
from dtvg.jobs import launcher
from dtvg.ui import forms
from dtvg.ui.launch.draft import Draft

WHERE = {
    "inline": "one process on this machine, cohort after cohort",
    "local": "several processes on this machine, one per device or group of cores",
    "ray": "a Ray cluster",
    "slurm": "Slurm jobs",
}


def draw(draft: Draft, body: Callable[[], None]) -> None:
    """Draw the settings, and what the chosen engine has.

    Args:
        draft: what is entered.
        body: draws the settings themselves.
    """
    body()
    on = str(draft.values["scale"].get("on") or "inline")
    engine = on if on in WHERE else "ray"
    st.caption(f"Trains in {WHERE[engine]} (docs/scale.md).")
    if engine in ("ray", "slurm") and missing(engine):
        forms.remark(f"This needs `{command(engine)}`.")
        return
    if engine == "inline":
        return
    try:
        for line in _there(on):
            st.caption(f":material/dns: {forms.escape(line)}")
    except DtvgError as error:
        forms.remark(str(error))


@st.cache_data(ttl=30, max_entries=16, show_spinner="Asking what is free")
def _there(on: str) -> list[str]:
    return launcher.places_text(on)
