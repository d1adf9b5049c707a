"""The overview's table: runs, runs by seeds or experiments, a page at a time, rows to choose.

Curves are read for the rows on the page only, so that 1,000 runs cost what 50 do. Must not
import torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from dtvg.analysis import titles
from dtvg.analysis.overview import table as overview
from dtvg.analysis.overview.settings_grid import written
from dtvg.analysis.overview.table import ExperimentRow, Group, RunRow
from dtvg.export import plain_cells
from dtvg.plan.estimate import duration
from dtvg.records import RunState
from dtvg.store.reader import Experiment
from dtvg.ui import address, cache, runs
from dtvg.ui.overview.filter import TITLES, View
from dtvg.ui.page import is_dark
from dtvg.ui.show import counted, percent

S = TypeVar("S", Group, ExperimentRow)
T = TypeVar("T")
PAGE = 50
"""Rows drawn at once."""
OPENS = "run"
"""Page that a run's name links to."""
_PERCENT = ("validation", "test")
_CURVES: dict[str, overview.Quantity] = {"score curve": "score", "loss curve": "loss"}


def read() -> tuple[list[Experiment], list[RunRow]]:
    """Return all experiments and their runs as they are now."""
    found = cache.experiments()
    return found, overview.run_rows(found, everything=True)


def draw(experiments: Sequence[Experiment], rows: Sequence[RunRow], view: View) -> list[RunRow]:
    """Show a page of the table; return the runs of the rows chosen.

    Args:
        experiments: all there are.
        rows: runs to show, filtered and in order.
        view: what is shown of them.
    """
    if view.level == "Runs":
        return _page(list(rows), view, _run_record, lambda r: [r], "run")
    if view.level == "Seeds together":
        groups = _in_order(overview.grouped(rows), view)
        return _page(groups, view, _group_record, lambda g: list(g.rows), "row")
    made = _in_order(overview.experiment_rows(experiments, rows), view)
    return _page(made, view, _experiment_record, lambda e: list(e.rows), "experiment")


def _in_order(made: list[S], view: View) -> list[S]:
    """Return groups or experiments in the order of what stands in their rows."""
    return made if view.sort == "newest" else overview.ordered(made, view.sort, view.falling)


def _page(
    items: list[T],
    view: View,
    record: Callable[[T, View, bool], dict[str, Any]],
    members: Callable[[T], list[RunRow]],
    what: str,
) -> list[RunRow]:
    """Show one page of items as a table with its download; return the runs chosen."""
    pages = max(1, -(-len(items) // PAGE))
    number = _number(pages, view) if pages > 1 else 1
    shown = items[(number - 1) * PAGE : number * PAGE]
    table = titles.table(pd.DataFrame([record(item, view, True) for item in shown]))
    names = [[r.key for r in members(item)] for item in shown]
    key = hashlib.sha256(repr((view.level, names)).encode()).hexdigest()[:12]
    event: Any = st.dataframe(
        _coloured(table),
        hide_index=True,
        column_config=_config(table),
        on_select="rerun",
        selection_mode="multi-row",
        key=f"runs-{key}",
        placeholder="",
        height=min(38 + 35 * len(table), 640),
        alt=f"{counted(len(items), what)} with state, progress and scores",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Download CSV",
            lambda: plain_cells(pd.DataFrame([record(i, view, False) for i in items])).to_csv(
                index=False
            ),
            "runs.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
        st.caption(f"{counted(len(items), what)}.")
    return [r for at in event.selection.rows if at < len(shown) for r in members(shown[at])]


COLOURS = {
    RunState.RUNNING: ("#0B63B0", "#6CB8FF"),
    RunState.STOPPING: ("#9A5B00", "#FFB454"),
    RunState.STOPPED: ("#9A5B00", "#FFB454"),
    RunState.FINISHED: ("#1B7340", "#5FD38D"),
    RunState.FAILED: ("#B3261E", "#FF8A80"),
    RunState.LOST: ("#B3261E", "#FF8A80"),
    RunState.UNKNOWN: ("#6F42A8", "#C9A7FF"),
}
"""Ink of a state on light and on dark paper, with a contrast above 4.5:1."""


def _coloured(table: pd.DataFrame) -> Any:
    """Return a table with states in colour and scores with one digit; its values stay."""
    if not len(table):
        return table
    shares: list[Any] = [c for c in table.columns if c.removesuffix(" ±") in _PERCENT]
    percents: dict[Any, Any] = dict.fromkeys(shares, percent)
    written = table.style.format(percents)
    if "state" not in table.columns:
        return written
    inks = {runs.BADGES[s][0]: pair[is_dark()] for s, pair in COLOURS.items()}

    def ink(state: object) -> str:
        colour = inks.get(str(state))
        return f"color: {colour}; font-weight: 600" if colour else ""

    return written.map(ink, subset=["state"])


def _number(pages: int, view: View) -> int:
    """Let one turn pages; another filter, level or order begins at the first."""
    key = f"pages-{hashlib.sha256(repr((view, pages)).encode()).hexdigest()[:12]}"
    if f"first-{key}" not in st.session_state:
        seen = any(str(k).startswith("first-pages-") for k in st.session_state)
        st.session_state[f"first-{key}"] = (
            1 if seen else address.recall("page", address.whole(1, pages), 1)
        )
    number = st.pagination(pages, default=st.session_state[f"first-{key}"], key=key)
    address.keep("page", number, 1)
    return number


def _config(table: pd.DataFrame) -> dict[str, Any]:
    """Say how columns are shown."""
    kinds = st.column_config
    found: dict[str, Any] = {
        "progress": kinds.ProgressColumn(format="percent", min_value=0, max_value=1, width=110),
        "score": kinds.LineChartColumn(
            help="Validation score over the run; of seeds together the mean of the first 20.",
            y_min=0,
            y_max=1,
            width=110,
        ),
        "loss": kinds.LineChartColumn(
            help="Training loss, averaged over intervals of steps.", width=110
        ),
        "memory (GiB)": kinds.NumberColumn(format="%.2f"),
        "last loss": kinds.NumberColumn(format="%.3f"),
        "tags": kinds.ListColumn(width=110),
        "health": kinds.ListColumn(
            help="What is wrong with its training: no gradient, no movement from the start, a "
            "loss that never fell, saturated validation, no better than guessing."
        ),
        "run": kinds.LinkColumn(
            pinned=True, display_text=r"[?&]called=([^&]*)", help="Opens the run in a new tab."
        ),
        "n": kinds.NumberColumn(help="Seeds with a test score."),
    }
    for name in _PERCENT:
        found[name] = kinds.NumberColumn(width=90)
        about = f"Standard deviation of {name} over seeds."
        found[f"{name} ±"] = kinds.NumberColumn(width=90, help=about)
    return {name: kind for name, kind in found.items() if name in table.columns}


def _run_record(row: RunRow, view: View, drawn: bool) -> dict[str, Any]:
    """Return a run as a row of the table."""
    run = row.run
    called = titles.run(run.name)
    there = urlencode({"experiment": run.experiment, "called": called, "run": run.name})
    named = f"{OPENS}?{there}" if drawn else run.name
    record: dict[str, Any] = {"experiment": run.experiment, "run": named}
    for column in view.columns:
        title = TITLES.get(column, column)
        if column in _CURVES:
            if drawn:
                record[title] = list(overview.spark(run, _CURVES[column]))
        else:
            record[title] = _shown(row, column, drawn)
    if run.problem and "message" not in view.columns:
        record["message"] = run.problem
    return record


def _shown(row: RunRow, column: str, drawn: bool) -> Any:
    """Return a value as it stands in the table; numbers stay numbers."""
    if column == "state":
        return runs.BADGES[row.run.state][0]
    if column == "method":
        return row.run.method
    if column == "step" and row.run.state is RunState.WAITING:
        return None
    value = row.value(column)
    if column == "left" and drawn:
        return duration(value)
    if column == "started":
        return overview.age(value)
    if column in ("tag", "health"):
        return list(value) if drawn else " ".join(value)
    return _cell(value)


def _cell(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value


def _group_record(group: Group, view: View, drawn: bool) -> dict[str, Any]:
    """Return runs that differ in their seed as one row: mean, spread, how many."""
    first = group.first.run
    record: dict[str, Any] = {"target": first.target, "method": first.method}
    record |= {"experiment": first.experiment, "seeds": ", ".join(map(str, group.seeds))}
    for column in (c for c in view.columns if c not in ("target", "method", "seed")):
        title = TITLES.get(column, column)
        if column in _CURVES:
            if drawn:
                record[title] = list(group.curve(_CURVES[column]))
        elif column in _PERCENT:
            mean, std, count = group.over_seeds(column)
            record |= {title: mean, f"{title} ±": std}
            if column == "test":
                record["n"] = count
        elif column == "state":
            record[title] = group.states()
        elif column == "health":
            words = overview.health_words(group.rows)
            record[title] = words if drawn else "; ".join(words)
        elif column in ("progress", "loss", "memory", "step"):
            record[title] = group.over_seeds(column)[0]
        elif column == "left":
            record[title] = duration(group.left) if drawn else group.left
        elif column in ("tag", "note", "started", "message", "device"):
            found = dict.fromkeys(v for r in group.rows for v in _several(r.value(column)))
            texts = [overview.age(v) if column == "started" else str(v) for v in found if v]
            record[title] = texts if column == "tag" and drawn else "; ".join(texts)
        else:
            record[title] = _shown(group.first, column, drawn)
    return record


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _experiment_record(row: ExperimentRow, view: View, drawn: bool) -> dict[str, Any]:
    """Return an experiment as a row."""
    config, labels = row.experiment.config, row.labels
    shared, words = [r.run for r in row.rows], overview.health_words(row.rows)
    record: dict[str, Any] = {
        "experiment": row.experiment.name,
        "runs": len(row.rows),
        "state": overview.states_of(shared),
        "progress": round(row.progress, 2),
        "time left": duration(row.left) if drawn else row.left,
        "targets": ", ".join(dict.fromkeys(r.target for r in shared if r.target)),
        "methods": ", ".join(dict.fromkeys(r.method for r in shared if r.method)),
        "seeds": ", ".join(str(s) for s in sorted({r.seed for r in shared})),
        "started": overview.age(row.started),
        "health": words if drawn else "; ".join(words),
        "tags": list(labels.tags) if drawn else " ".join(labels.tags),
        "note": " ".join(filter(None, (labels.note, config.notes if config else ""))),
    }
    for column in (c for c in view.columns if "." in c):
        found = list(dict.fromkeys(r.value(column) for r in row.rows if r.has(column)))
        one = _cell(found[0]) if found else None
        record[column] = one if len(found) < 2 else ", ".join(map(written, found))
    if row.experiment.problem:
        record["message"] = row.experiment.problem
    return record
