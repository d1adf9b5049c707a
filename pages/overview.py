"""What was learned, what trains now, and every run to filter, group and choose; a tour."""

from __future__ import annotations

import streamlit as st

from dtvg import paths
from dtvg.analysis.overview.table import RunRow
from dtvg.store.reader import Experiment, foreign_folders, foreign_sentence
from dtvg.ui import cache, look
from dtvg.ui.overview import actions, card, filter, settings_grid, training
from dtvg.ui.overview import table as overview_table
from dtvg.ui.overview.actions import restore_list
from dtvg.ui.overview.tour import tour
from dtvg.ui.page import guarded, link, page

REFRESH_SECONDS = 5.0


def body() -> None:
    """Show the tour, then the table; the table refreshes while something trains."""
    experiments, rows = overview_table.read()
    examples = [e for e in experiments if cache.is_example(e.path)]
    told: list[card.Told | None] = []
    guarded(lambda: told.append(card.draw(experiments)))
    training.draw(experiments)
    tour(examples, newcomer=len(examples) == len(experiments))
    if not experiments:
        st.info("Nothing has been recorded yet. Start the demo experiment on the launch page.")
        link("launch", "Go to Launch")
        return
    if len(examples) == len(experiments):
        st.caption("These are the recorded example's runs; yours will appear above them.")
    _table(experiments, rows)
    guarded(lambda: card.fill(told[0] if told else None))


def _table(experiments: list[Experiment], rows: list[RunRow]) -> None:
    """Draw filters and table."""
    with look.folding("Filters and columns", "overview"):
        text = filter.choose_text()
        with st.container(horizontal=True):
            passes = filter.choose_pickers(rows)
        view = filter.choose_view(text)
    going = bool(training.going())
    read = [(experiments, rows)]  # the first drawing takes what was read above

    @st.fragment(run_every=REFRESH_SECONDS if going else None)
    def table() -> None:
        def draw() -> None:
            found, listed = read.pop() if read else overview_table.read()
            shown = [r for r in filter.filtered(listed, view) if passes(r)]
            broken = [e for e in found if e.problem] if view.level == "Experiments" else []
            if not shown and not broken:
                st.info("No run matches; change the filter or the choices next to it.")
                return
            if view.level == "Settings":
                settings_grid.draw(shown)
                return
            bar = st.container()
            chosen = overview_table.draw(found, shown, view)
            with bar:
                tags = sorted({t for r in listed for t in r.tags}) if chosen else []
                actions.panel(chosen, tags, listed, view.level == "Experiments")

        guarded(draw)

    table()
    left_out = foreign_sentence(foreign_folders(paths.runs()))
    if left_out:
        st.caption(left_out)
    restore_list()


page("DTVG workbench", "Which sources help a target, decided again at every training step.", body)
