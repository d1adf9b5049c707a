"""The curves page's view of two runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from dtvg.analysis import titles
from dtvg.analysis.run.pair import PairInfo
from dtvg.figures.pair import pair_figure
from dtvg.store.reader import Run
from dtvg.ui import cache, runs, show
from dtvg.ui.page import is_dark, link

SHOWN = 10
"""Places where the runs part or meet again that are listed with a link."""


def pair(chosen: Sequence[Run]) -> None:
    """Let one choose two of the runs that group sources; show them on one axis."""
    grouped = {f"{r.experiment}/{r.name}": r for r in chosen if _has_groups(r)}
    if len(grouped) < 2:
        st.info(
            "Choose at least two runs above that have sources to group, e.g. two seeds of `dtvg`.",
            icon=":material/info:",
        )
        return
    names = list(grouped)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        first = runs.choose("First run", names, "a", show=titles.run) or names[0]
        others = [name for name in names if name != first]
        second = runs.choose("Second run", others, "b", show=titles.run) or others[0]
    _show(grouped[first], grouped[second])


def _has_groups(run: Run) -> bool:
    config, begun = run.config, bool(run.step) or run.result is not None
    return config is not None and config.logs_sources and run.role == "transfer" and begun


def _show(a: Run, b: Run) -> None:
    names = (a.name, b.name) if a.name != b.name else (_full(a), _full(b))
    info = cache.pair(a, b, names)
    known = (*runs.names_in(a), *runs.names_in(b))
    st.markdown(f"**{titles.in_sentence(info.sentence, known)}**")
    panels = []
    for title, quantity in (("loss", "loss"), ("score", "score")):
        made = [
            replace(curve, name=name)
            for run, name in ((a, names[0]), (b, names[1]))
            for curve in cache.curves((run,), quantity=quantity, group_by="run").curves
        ]
        if made:
            shared = cache.curves((a,), quantity=quantity, group_by="run")
            panels.append((title, replace(shared, curves=tuple(made))))
    order = tuple(dict.fromkeys((*a.sources, *b.sources)))
    show.figure(
        pair_figure(info, panels, is_dark(), order),
        f"pair-{_full(a)}-{_full(b)}",
        f"Membership of each source in both runs over the same steps. {info.sentence}",
        info.table,
        f"{a.name}-beside-{b.name}",
    )
    st.caption(
        f"Upper bars: {titles.run(names[0])}; lower, hatched bars: {titles.run(names[1])}. Shaded: "
        "only one of them has the source. The stronger a bar's colour, the larger the share of its "
        "steps."
    )
    show.notes(info.notes, known)
    _moments(info, a, b)


def _full(run: Run) -> str:
    return f"{run.experiment}/{run.name}"


def _moments(info: PairInfo, a: Run, b: Run) -> None:
    """List where they part and meet again, each with links to both decisions."""
    table = info.moments
    if not len(table):
        return
    st.header("Where they part", anchor=False)
    for row in table.head(SHOWN).to_dict("records"):
        what = "they part" if row["event"] == "part" else "they meet again"
        said, *links = st.columns((8, 2, 2), vertical_alignment="top")
        said.markdown(
            f"Step {row['step']:,}: {what}. First run: {titles.label(row['a'])}; "
            f"second run: {titles.label(row['b'])}."
        )
        for place, run, which in zip(links, (a, b), ("first", "second"), strict=True):
            if run.config is not None and run.config.method.has_source_vectors:
                choices = {"experiment": run.experiment, "run": run.name}
                with place:
                    link("explain", f"Explain {which}", **choices, step=str(row["step"]))
    with st.expander(f"Every parting ({show.counted(len(table), 'row')})"):
        show.numbers(table, f"{a.name}-{b.name}-partings", f"pair-moments-{_full(a)}-{_full(b)}")
