"""The compare page's view of who helped whom, and whether the rule is right."""

from __future__ import annotations

import streamlit as st

from dtvg.analysis import titles
from dtvg.figures.helped import FACETS, membership_figure, right_figure
from dtvg.ui import cache, show
from dtvg.ui.compare.pick import Choice

_membership = cache.once(32)(membership_figure)
_right = cache.once(64)(right_figure)


def helped(choice: Choice, dark: bool) -> None:
    """Show every run's membership beside the gain of each source, and how they go together."""
    info = cache.helped(choice.runs)
    key = f"helped-{choice.name}"
    st.header("Who helped whom", anchor=False)
    st.caption(
        "Bars: what each source gained alone in points, mean over seeds, the highest at the top; "
        "whiskers: from the lowest to the highest seed. Cells: a column per run; the "
        "stronger the colour, the more steps the source was in its group. Where the rule is right, "
        "cells are filled from the top. Methods stand in the order in which their groups agree "
        "with the gains, then seed with seed. A click on a cell opens the run on Groups."
    )
    clicked = show.figure(
        _membership(info, dark),
        key,
        "Gain of each single source, and the share of steps each run had it in the group",
        info.membership,
        f"{choice.name}-who-helped",
        clicks=True,
    )
    where = str(clicked.custom[0]) if clicked is not None and clicked.custom else ""
    if "/" in where:
        experiment, _, run = where.partition("/")
        st.switch_page("pages/groups.py", query_params={"experiment": experiment, "run": run})
    if len(info.gains):
        with st.expander(f"Gains ({show.counted(len(info.gains), 'row')})"):
            show.numbers(info.gains, f"{choice.name}-gains", f"gains-{key}")
    st.header("Is the rule right?", anchor=False)
    for sentence in info.sentences():
        st.markdown(titles.in_sentence(sentence, (*choice.order, *info.targets)))
    measured = [t for t in info.targets if (info.points["target"] == t).any()]
    means = f"; means over {titles.method(info.subject)}'s runs" if info.subject else ""
    for start in range(0, len(measured), FACETS):
        some = tuple(measured[start : start + FACETS])
        st.caption(f"Each point is a source; up: its gain alone{means}.")
        show.figure(
            _right(info, dark, choice.order, some),
            f"right-{key}-{start}",
            "Gain of each source over its similarity and over its share of steps",
            info.points[info.points["target"].isin(some)],
            f"{choice.name}-rule-{start}",
        )
    if len(info.correlations):
        with st.expander("Rank correlations with the gain"):
            show.numbers(info.correlations, f"{choice.name}-correlations", f"rho-{key}")
    show.notes(info.notes, (*choice.order, *info.targets))
