"""One scrubber over a run's decisions: timeline, slider and keys move every picture of a step.

A fragment: choosing a step draws the decision alone again, not the page. The step stands in the
address, unless it is the newest.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from dtvg.analysis import titles
from dtvg.analysis.run.explain import ExplainInfo
from dtvg.analysis.run.groups import GroupInfo
from dtvg.errors import DtvgError
from dtvg.figures import explain as draw
from dtvg.store.reader import Experiment, Run
from dtvg.ui import address, cache, forms, runs, show
from dtvg.ui.page import guarded, is_dark

KEY = "step"
BEST = "best step"
Drawn = Callable[..., go.Figure]
"""Draws with a function of figures, once for each step."""


def scrubber(experiment: Experiment, run: Run) -> bool:
    """Draw the choice of a step and everything that depends on it.

    Returns:
        Whether a step is shown; not where the address names one that is not recorded.
    """
    info = cache.groups(run)
    key = f"{experiment.name}-{run.name}"
    asked = _asked(info, key)
    if asked is not None:
        _say_absent(asked, info)
        return False

    @st.fragment
    def moving() -> None:
        guarded(lambda: _draw(experiment, run, info, key))

    moving()
    return True


def _draw(experiment: Experiment, run: Run, info: GroupInfo, key: str) -> None:
    """Draw timeline, buttons and slider, then the decision of the chosen step."""
    dark, order = is_dark(), runs.order_of(experiment, run)
    first, last = int(info.steps[0]), int(info.steps[-1])
    step = address.recall(KEY, address.whole(first, last), last)
    beside = cache.beside(run, experiment.runs)
    stamp = (cache.stamp(run, "sources", "events", "evals"), tuple(beside.right.items()))
    drawn = cache.drawer((*stamp, dark, tuple(order)))
    everyones = drawn(draw.scrubber_figure, info, last, dark, order, beside)
    timeline = go.Figure(everyones)  # other sessions look at other steps
    draw.mark_step(timeline, step, dark)
    point = show.figure(
        timeline,
        f"picker-{key}",
        "Membership of each source over steps; a click chooses the step to explain",
        clicks=True,
    )
    if point is not None:
        at = point.x if point.at is None else point.at
        if isinstance(at, int | float):
            st.session_state[KEY] = _nearest(info, at)
            _again()
    best = beside.marks[beside.marks["kind"] == BEST]["step"]
    _jumps(info, step, int(best.iloc[-1]) if len(best) else None)
    if first != last:
        step = int(st.slider("Step", first, last, key=KEY))
    kept = int(info.steps[np.searchsorted(info.steps, step, side="right") - 1])
    if first != last:
        address.keep(KEY, kept, last)  # an address of a step that is not recorded opens nothing
    if kept != step:
        st.caption(f"Step {step:,} is not in this run's thinned log; step {kept:,} is shown.")
    _decision(run, kept, dark, order, key)


def _again() -> None:
    """Run the fragment again; where the whole page runs, the page."""
    if address.gathering():
        st.rerun()
    st.rerun(scope="fragment")


def _nearest(info: GroupInfo, at: float) -> int:
    return int(info.steps[int(np.argmin(np.abs(info.steps - at)))])


def _jumps(info: GroupInfo, step: int, best: int | None) -> None:
    """Offer the neighbouring steps and changes of the group, each also by a key."""
    changes = info.steps[np.flatnonzero(info.churn)]
    before, after = info.steps[info.steps < step], info.steps[info.steps > step]
    earlier, later = changes[changes < step], changes[changes > step]
    with st.container(horizontal=True):
        _jump("First", int(info.steps[0]), step, ":material/first_page:", "Home")
        _jump("Previous change", _end(earlier, -1), step, ":material/skip_previous:", "Shift+B")
        _jump("Previous step", _end(before, -1), step, ":material/chevron_left:", "B")
        _jump("Next step", _end(after, 0), step, ":material/chevron_right:", "N")
        _jump("Next change", _end(later, 0), step, ":material/skip_next:", "Shift+N")
        _jump("Newest step", int(info.steps[-1]), step, ":material/last_page:", "End")
        if best is not None and best >= info.steps[0]:
            _jump("Best step", _nearest(info, best), step, ":material/star:", "S", "is shown")


def _end(steps: np.ndarray, at: int) -> int | None:
    return int(steps[at]) if len(steps) else None


def _jump(
    label: str, to: int | None, step: int, icon: str, keys: str | None = None, there: str = ""
) -> None:
    """Offer a step; `there` is added to the label where it is the shown one, for keys too."""

    def go() -> None:
        st.session_state[KEY] = to

    st.button(
        f"{label} {there}" if there and to == step else label,
        icon=icon,
        on_click=go,
        disabled=to is None or to == step,
        key=f"jump {label}",
        shortcut=keys,
    )


def _decision(run: Run, step: int, dark: bool, order: tuple[str, ...], key: str) -> None:
    """Show one decision: in words, then in pictures."""
    info = cache.explain(run, step)
    st.header(f"The decision at step {info.step:,}", anchor=False)
    names = runs.names_in(run)
    st.markdown(f"**{titles.in_sentence(info.headline, names)}**")
    for row in info.table.to_dict("records"):
        mark = ":green-badge[in the group]" if row["member"] else ":gray-badge[left out]"
        if row["by_hand"]:
            mark = f":orange-badge[{row['by_hand']} by hand] {mark}"
        why = titles.in_sentence(_reason(row), names)
        st.markdown(f"{row['rank']}. **{titles.task(str(row['source']))}** {mark}  {why}")
    stem = f"{run.name}-step{info.step}"
    drawn = cache.drawer((*cache.stamp(run, *cache.EVERY_TABLE), step, dark, order))
    left, right = st.columns(2)
    with left:
        _ranking(info, drawn, dark, order, key, stem)
    with right:
        _prefix(info, drawn, dark, key, stem)
    left, right = st.columns(2)
    with left:
        _gram(info, drawn, dark, key, stem)
    with right:
        _path(run, info.step, drawn, dark, order, key)
    show.notes(info.notes, names)


def _reason(row: Mapping[Hashable, Any]) -> str:
    """Return why a source is in or out, without its name and state, which stand before it."""
    why = str(row["why"])
    for state in ("is in", "is out"):
        why = why.removeprefix(f"{row['source']} {state}: ")
    return f"{why[:1].upper()}{why[1:]}"


def _ranking(
    info: ExplainInfo, drawn: Drawn, dark: bool, order: tuple[str, ...], key: str, stem: str
) -> None:
    st.header("Ranking by similarity, with the cut", anchor=False)
    show.figure(
        drawn(draw.ranking_figure, info, dark, order),
        f"ranking-{key}",
        "Sources by similarity; filled bars are in the group. "
        + titles.in_sentence(info.headline, (*info.sources, info.target)),
        info.table,
        f"{stem}-ranking",
    )


def _prefix(info: ExplainInfo, drawn: Drawn, dark: bool, key: str, stem: str) -> None:
    st.header("Consistency of the first k candidates", anchor=False)
    show.figure(
        drawn(draw.prefix_figure, info, dark),
        f"prefix-{key}",
        "Consistency by prefix; the chosen one is filled",
        info.prefix_table,
        f"{stem}-consistency",
    )


def _gram(info: ExplainInfo, drawn: Drawn, dark: bool, key: str, stem: str) -> None:
    st.header("Gram matrix the decision rests on", anchor=False)
    show.figure(
        drawn(draw.gram_figure, info, dark),
        f"gram-{key}",
        "Inner products of all scaled pooled vectors, target first",
        info.gram_table,
        f"{stem}-gram",
    )


def _path(run: Run, step: int, drawn: Drawn, dark: bool, order: tuple[str, ...], key: str) -> None:
    st.header("Path of the target's vector up to here", anchor=False)
    try:
        info = cache.trajectory(run)
    except DtvgError as error:
        st.info(forms.escape(str(error)))
        return
    show.figure(
        drawn(draw.path_figure, info, step, dark, order),
        f"path-at-{key}",
        "Path of the target's vector among the sources' vectors, up to the chosen step",
        info.table,
        f"{run.name}-path",
    )


# -- steps that are not there ---------------------------------------------------------------


def _asked(info: GroupInfo, run: str) -> str | None:
    """Return the step that an address names although it is not recorded; None: all is well."""
    if address.given(KEY) is None:
        return None
    return address.absent(KEY, _Recorded(info), run)


class _Recorded(Sequence[str]):
    """The recorded steps as texts, without writing them all out."""

    def __init__(self, info: GroupInfo) -> None:
        self.steps = info.steps

    def __contains__(self, text: object) -> bool:
        try:
            step = int(str(text))
        except ValueError:
            return False
        place = int(np.searchsorted(self.steps, step))
        return place < len(self.steps) and int(self.steps[place]) == step

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, place: Any) -> Any:
        return str(self.steps[place])


def _say_absent(asked: str, info: GroupInfo) -> None:
    """Say that a step is not recorded, and offer the nearest one; the address stays."""
    first, last = int(info.steps[0]), int(info.steps[-1])
    st.warning(
        f"Step '{forms.escape(asked[:40])}' of this run is not recorded, so no decision is shown. "
        f"Its recorded steps go from {first:,} to {last:,}; while a run trains, later ones are "
        "added.",
        icon=":material/search_off:",
    )
    address.leave()
    wanted = float(asked) if asked.removeprefix("-").isdecimal() else float(last)
    near = _nearest(info, wanted)
    _jump(f"Show step {near:,}", near, -1, ":material/search:")
