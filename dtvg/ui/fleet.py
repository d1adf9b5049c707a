"""What the fleet page draws: drivers, workers, what waits, machines, logs; stop and wait."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from dtvg import paths
from dtvg.analysis.overview.fleet import FleetInfo, fleet_info
from dtvg.jobs import launcher
from dtvg.store.layout import ExperimentDir
from dtvg.store.status import request
from dtvg.ui import address, people

PERCENT = st.column_config.ProgressColumn(format="percent", min_value=0.0, max_value=1.0)
SECONDS = st.column_config.NumberColumn("last sign", format="%.0f s ago")


def read() -> FleetInfo:
    """Look at all experiments."""
    return fleet_info(paths.runs())


def draw(info: FleetInfo) -> None:
    """Draw the tables that have rows."""
    st.markdown(info.sentence)
    for problem in info.problems:
        st.warning(problem)
    if info.drivers.empty and info.ended.empty:
        st.info(
            "`dtvg run FILE.yaml --on local` trains several cohorts at once, and so does Launch → "
            "Where."
        )
        return
    if not info.drivers.empty:
        st.header("Experiments", anchor=False)
        drivers = info.drivers.dropna(axis=1, how="all")  # nobody has measured slots yet
        _table(drivers, "fleet-drivers", {"used": PERCENT})
    if not info.working.empty:
        st.header("Training", anchor=False)
        _table(info.working, "fleet-working", {"done": PERCENT, "sign": SECONDS})
    if not info.waiting.empty:
        st.header("Waiting", anchor=False)
        _table(info.waiting, "fleet-waiting", {})
    if not info.machines.empty:
        st.header("Machines", anchor=False)
        st.dataframe(info.machines, hide_index=True, key="fleet-machines")
    if not info.ended.empty:
        st.header("Did not end well", anchor=False)
        _table(info.ended, "fleet-ended", {})


def _table(table: pd.DataFrame, key: str, columns: dict[str, Any]) -> None:
    """Show a table whose experiments are links to their live page."""
    there = [f"live?{urlencode({'experiment': name})}" for name in table["experiment"]]
    name = st.column_config.LinkColumn(
        display_text=r"[?&]experiment=([^&]*)", help="Opens Live in a new tab.", pinned=True
    )
    st.dataframe(
        table.assign(experiment=there),
        hide_index=True,
        column_config={"experiment": name, **columns},
        key=key,
    )


def cohort_panel(info: FleetInfo) -> None:
    """Draw the log of a cohort that trains, and what stops it."""
    if info.working.empty:
        return
    rows = info.working[["experiment", "cohort"]].itertuples(index=False)
    names = [f"{experiment}/{cohort}" for experiment, cohort in rows]
    address.recall("cohort", address.one_of(names), names[0])
    chosen = st.selectbox("Cohort", names, key="cohort")
    address.keep("cohort", chosen)
    experiment, _, cohort = str(chosen).partition("/")
    folder = ExperimentDir(paths.runs() / experiment)
    if people.button(
        "Stop this cohort",
        icon=":material/stop_circle:",
        help="It commits and stops at its next step, on whatever machine it trains; resuming the "
        "experiment continues it.",
    ):
        with people.acting("stop", what=f"{experiment}/{cohort}"):
            request(folder.cohort(cohort), "stop")
        st.toast(f"{cohort} was asked to stop.")
    with st.expander("Log of its worker"):
        text = launcher.tail_of(folder.cohort(cohort).log_path) or "Nothing was printed."
        st.code(text, language=None, height=240)
