"""The overview's view of runs that differ in settings: what matters, one by one and together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from dtvg.analysis.overview.settings_grid import Score, SettingsInfo, readable, settings_info
from dtvg.analysis.overview.table import RunRow
from dtvg.analysis.words import counted, percent
from dtvg.figures import settings_grid as draw_grid
from dtvg.ui import cache, runs, show
from dtvg.ui.page import is_dark

SCORES: tuple[Score, ...] = ("test", "validation")


def _key(rows: Sequence[RunRow], score: Score) -> tuple[str, int]:
    """Return what the view depends on; of 10,000 runs as one number, or asking takes a second."""
    return score, hash(repr(tuple(map(_state, rows))))


@cache.remember(8, "Comparing settings", key=_key)
def _info(rows: Sequence[RunRow], score: Score) -> SettingsInfo:
    return settings_info(rows, score)


def _state(row: RunRow) -> tuple[object, ...]:
    """Return what a run's line depends on."""
    return (str(row.run.path), row.run.score, row.run.test_score, hash(repr(row.run.method)))


def draw(rows: Sequence[RunRow]) -> None:
    """Show importance, parallel coordinates and a slice of the runs that are filtered."""
    chosen = runs.choose("Score", SCORES, "by-score")
    score = next((one for one in SCORES if one == chosen), SCORES[0])
    info = _info(tuple(r for r in rows if r.run.role == "transfer"), score)
    if not len(info.table):
        st.info(f"None of these runs has a {score} score yet.", icon=":material/info:")
        return
    if not len(info.importance):
        st.info(
            "These runs do not differ in any setting. Start a grid on Launch, or choose more runs.",
            icon=":material/info:",
        )
        return
    if info.warning:
        st.warning(info.warning, icon=":material/warning:")
    show.notes(info.notes)
    dark, place = is_dark(), f"{score}-{len(info.table)}"
    best = info.importance.iloc[0]
    st.header("Which settings matter", anchor=False)
    st.caption(
        "Share of the variance of scores that each setting accounts for by itself (adjusted for "
        "the number of its values). Settings that were changed together share what they account "
        "for."
    )
    called = readable(list(info.importance["setting"]))
    known, most = best["share"] == best["share"], called[best["setting"]]
    words = f"{most} accounts for most: {percent(best['share'])}" if known else "Not known yet"
    show.figure(
        draw_grid.importance_figure(info, dark), f"importance-{place}", words, info.importance,
        "settings-importance",
    )  # fmt: skip
    st.header("All runs", anchor=False)
    st.caption(
        "A line is a run, the darker the higher its score. The filter above keeps some of them."
    )
    show.figure(
        draw_grid.parallel_figure(info, dark),
        f"parallel-{place}",
        f"{counted(len(info.table), 'run')} as lines through their settings to their score",
        info.table,
        "settings-runs",
    )
    _slice(info, place, called, dark)


def _slice(info: SettingsInfo, place: str, called: Mapping[str, str], dark: bool) -> None:
    """Show the scores by one setting's value."""
    st.header("One setting", anchor=False)
    name = runs.choose(
        "Setting", list(info.importance["setting"]), "slice", show=lambda s: called.get(s, s)
    )
    if name is not None:
        part = info.slices[info.slices["setting"] == name]
        show.figure(
            draw_grid.slice_figure(info, name, dark),
            f"slice-{place}-{name}",
            f"Mean and range of the {info.score} score by {name}",
            part,
            "settings-slice",
        )
